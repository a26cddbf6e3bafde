"""The models of a server whose runs happen in forked copies of it: loaded once, before the first fork, and no others."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING

from analyzers.common.errors import InputError
from analyzers.common.sentences import quote
from analyzers.models.placement import Placement
from analyzers.models.store import ModelStore, ModelSummary
from analyzers.sources import catalog
from analyzers.sources.source import Source

if TYPE_CHECKING:
    from analyzers.models.language_model import LanguageModel


class PreloadedStore(ModelStore):
    """A store that holds what it loaded at start. A model loaded later would be seen by one copy only, for one run."""

    _listed: dict[str, LanguageModel] | None = None
    """None before they are loaded."""

    def preload(self) -> None:
        """Load every model on offer that is at hand or can be downloaded: proven on the CPU, then moved to where runs
        happen. One that fails is told to whoever runs the app, and is not on offer."""
        from analyzers.models.language_model import pick_device

        device = pick_device("auto")
        listed: dict[str, LanguageModel] = {}
        for id in super().names():
            row = catalog.find_row(id)
            if row is not None and not catalog.is_on_this_machine(row) and (row.bundled or not catalog.HUB.answers()):
                continue
            try:
                listed[id] = super().load(id, "cpu")
            except InputError as error:
                print(f"Not on offer: {error}", file=sys.stderr, flush=True)
                continue
            super().release()  # what it keeps besides; here nothing is ever let go
            listed[id].move(device)
        self._listed = listed

    def names(self) -> tuple[str, ...]:
        return super().names() if self._listed is None else tuple(self._listed)

    def default_id(self) -> str:
        chosen = super().default_id()
        return chosen if chosen in self.names() else next(iter(self.names()), chosen)

    def find(self, model: str) -> Source:
        source = super().find(model)
        if source.id not in self.names():
            raise InputError("unknown_model", model=quote(model), choices=", ".join(self.names()))
        return source

    def is_loaded(self, model: str, device: str = "auto") -> bool:
        return self.find(model).id in (self._listed or ())

    def load(self, model: str, device: str = "auto", *, stop: threading.Event | None = None) -> LanguageModel:
        """The model, where it is: `device` is not asked. Raises InputError where the id is not on offer."""
        assert self._listed is not None, "load_listed comes first"
        return self._listed[self.find(model).id]

    def load_in_steps(self, model: str, device: str = "auto") -> Iterator[LanguageModel | None]:
        yield self.load(model, device)

    def describe(self, model: str, device: str = "auto") -> ModelSummary:
        """From what is loaded: nothing is asked of a GPU that is not held here."""
        loaded = self.load(model)
        n_parameters = sum(weight.numel() for weight in loaded.module.parameters())
        placement = Placement(loaded.facts.device, loaded.facts.dtype, loaded.n_bytes, loaded.n_bytes)
        return ModelSummary(loaded.facts.kind, n_parameters, 0, placement, loaded.n_bytes)

    def release(self) -> None:
        """Nothing is forgotten: it could not be loaded again."""
