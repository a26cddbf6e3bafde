"""The models of a server whose runs happen in forked copies of it: loaded once, before the first fork, and no others."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

from analyzers.common.errors import InputError
from analyzers.common.kinds import Kind
from analyzers.common.stopping import always
from analyzers.models.placement import Placement
from analyzers.models.store import ModelStore, ModelSummary
from analyzers.models.turns import Turn, Turns
from analyzers.sources import catalog, hub_probe, local_files
from analyzers.sources.resolver import Resolver
from analyzers.sources.source import Source

if TYPE_CHECKING:
    from analyzers.models.language_model import LanguageModel


class PreloadedStore:
    """Models held from the start: one loaded later would be seen by one copy only, for one run."""

    def __init__(self, resolver: Resolver) -> None:
        """`preload` comes before anything is asked."""
        self.resolver = resolver
        self.precision = "auto"
        self._models: dict[str, LanguageModel] = {}
        self._turns = Turns()

    def preload(self) -> None:
        """Load every model that is on this machine or can be downloaded: proven on the CPU, then moved to where runs
        happen. One that fails is told to whoever runs the app, and cannot be chosen."""
        from analyzers.models.language_model import pick_device

        device = pick_device("auto")
        for id in self.resolver.names():
            row = catalog.find_row(id)
            if (
                row is not None
                and not local_files.is_on_this_machine(row)
                and (row.bundled or not hub_probe.HUB.answers())
            ):
                continue
            try:
                # A store for each, since one would let models go to make room; here nothing is ever let go.
                self._models[id] = ModelStore(self.resolver).load(id, "cpu")
            except InputError as error:
                print(f"Left out: {error}", file=sys.stderr, flush=True)
                continue
            self._models[id].move(device)
        self.resolver.restrict_to(tuple(self._models))

    def load(self, model: Source | str, device: str = "auto") -> LanguageModel:
        """The model, where it is: `device` is not asked. Raises InputError for one that was not loaded."""
        return self._models[(self.resolver.find(model) if isinstance(model, str) else model).id]

    def load_in_steps(self, model: Source | str, device: str = "auto") -> Iterator[LanguageModel | None]:
        yield self.load(model, device)

    def turn(self, expected: int | float = 0.0, is_wanted: Callable[[], bool] = always) -> AbstractContextManager[Turn]:
        """As `ModelStore.turn`, of one copy of the server."""
        return self._turns.turn(expected, is_wanted)

    def describe(self, model: Source | str, device: str = "auto") -> ModelSummary:
        """From what is loaded: nothing is asked of a GPU that is not held here."""
        loaded = self.load(model)
        n_parameters = sum(weight.numel() for weight in loaded.module.parameters())
        placement = Placement(loaded.facts.device, loaded.facts.dtype, loaded.n_bytes, loaded.n_bytes)
        return ModelSummary(loaded.facts.kind, n_parameters, 0, placement, loaded.n_bytes)

    def kind_of(self, model: str) -> Kind | None:
        """Kind of a model; None where it was not loaded."""
        try:
            return self.load(model).facts.kind
        except InputError:  # said when it is run
            return None

    def holds(self, model: Source | str, device: str = "auto") -> bool:
        """Every model that may be named is in memory."""
        return True

    def check_room(self, first: Source, second: Source, device: str = "auto") -> None:
        """All are in memory."""

    def release(self) -> None:
        """Nothing is forgotten: it could not be loaded again."""
