"""Models by id: found, fetched, loaded once, and handed out to one run at a time."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from concurrent.futures import TimeoutError as NotYet
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from analyzers.common.errors import InputError
from analyzers.common.kinds import Kind
from analyzers.common.stopping import always
from analyzers.common.threads import start
from analyzers.models import trial
from analyzers.models.placement import Placement
from analyzers.models.room import POLL_SECONDS, Room
from analyzers.models.turns import Turn, Turns
from analyzers.sources import catalog, download, hub, hub_probe
from analyzers.sources.download import Transfer
from analyzers.sources.hub import HubId, HubModel
from analyzers.sources.model_files import ModelFiles
from analyzers.sources.resolver import Resolver
from analyzers.sources.source import Key, Source, inspect_files, key_of

if TYPE_CHECKING:
    from analyzers.models.language_model import LanguageModel

LOAD_SECONDS = 600
"""A load that takes longer is given up by whoever waits for it."""
ASKED_SECONDS = 120
"""What the Hub said of a model counts so long: the page shows it, then Run uses it."""


@dataclass(frozen=True)
class ModelSummary:
    """A model in figures, before anything is fetched or loaded."""

    kind: Kind
    n_parameters: int
    to_fetch: int
    """Bytes; 0 for a model that is on this machine."""
    placement: Placement
    free: int
    """Bytes that it can have on its device, those of models that would make room included."""


@runtime_checkable
class Store(Protocol):
    """What hands out models: `ModelStore`, or the `PreloadedStore` of a shared GPU."""

    resolver: Resolver

    precision: str
    """In which weights are held, as the operator asked for it: see `placement.place`."""

    def turn(
        self, expected: int | float = 0.0, is_wanted: Callable[[], bool] = always
    ) -> AbstractContextManager[Turn]: ...

    def load(self, model: Source | str, device: str = "auto") -> LanguageModel: ...

    def load_in_steps(self, model: Source | str, device: str = "auto") -> Iterator[LanguageModel | Transfer | None]: ...

    def describe(self, model: Source | str, device: str = "auto") -> ModelSummary: ...

    def kind_of(self, model: str) -> Kind | None: ...

    def holds(self, model: Source | str, device: str = "auto") -> bool: ...

    def check_room(self, first: Source, second: Source, device: str = "auto") -> None: ...

    def release(self) -> None: ...


class ModelStore:
    """Loads models and keeps the most recently used within a budget of bytes."""

    def __init__(
        self,
        resolver: Resolver | None = None,
        *,
        precision: str = "auto",
        offload_folder: Path | None = None,
        tries_first: bool = False,
    ) -> None:
        """`resolver`: which models may be named, by default those of the catalog; `precision`: see `placement.place`;
        `offload_folder`: what fits in no memory is kept there, which is slow; `tries_first`: files that are not of the
        catalog are opened in another process before they are opened in this one, as a server must."""
        self._tries_first = tries_first
        self.resolver = resolver or Resolver()
        self.precision = precision
        self._room = Room(precision, may_use_disk=offload_folder is not None)
        self._offload_folder = offload_folder
        self._transfers: dict[Key, Transfer] = {}
        self._asked: OrderedDict[HubId, tuple[float, HubModel]] = OrderedDict()
        self._lock = threading.Lock()  # of these tables, held for no longer than a look-up
        self._loading: dict[Key, threading.Lock] = {}
        self._turns = Turns()

    def describe(self, model: Source | str, device: str = "auto") -> ModelSummary:
        """What the model is, what it needs, and whether it can be had; the Hub is asked where it is not on this machine.

        Raises InputError where it cannot be loaded, with the figures where it is too large.
        """
        from analyzers.models.language_model import pick_device
        from analyzers.models.loading import check_kind, count_model_parameters  # torch loads behind the first page

        source, device = self._find(model), pick_device(device)
        if source.folder is not None:
            files, to_fetch = self._inspect(source, source.folder), 0
        else:
            asked = self._ask(source)
            files, to_fetch = asked.model_files, asked.n_bytes
        kind, n_parameters = check_kind(source, files), count_model_parameters(source, files)
        placement = self._room.place(source.id, n_parameters, device)
        return ModelSummary(kind, n_parameters, to_fetch, placement, self._room.could_be_free(device))

    def kind_of(self, model: str) -> Kind | None:
        """Kind of a model, from the catalog or its files; None where it is not known before it is fetched."""
        from analyzers.models.loading import check_kind  # torch loads behind the first page

        try:
            source = self.resolver.find(model)
            if source.kind is not None:
                return source.kind
            return None if source.folder is None else check_kind(source, self._inspect(source, source.folder))
        except InputError:  # said when it is run
            return None

    def check_room(self, first: Source, second: Source, device: str = "auto") -> None:
        """Raises InputError, with the figures, where the second does not fit into memory beside the first."""
        from analyzers.models.language_model import pick_device

        device = pick_device(device)
        if key_of(first, device) != key_of(second, device):
            kept = first.id, self.describe(first, device).placement.weights
            self._room.place(second.id, self.describe(second, device).n_parameters, device, beside=kept)

    def holds(self, model: Source | str, device: str = "auto") -> bool:
        """Whether the model is in memory. Raises InputError for one that may not be named."""
        from analyzers.models.language_model import pick_device

        return key_of(self._find(model), pick_device(device)) in self._room

    def release(self) -> None:
        """Forget every model; those in use go when their run ends."""
        self._room.clear()

    def turn(self, expected: int | float = 0.0, is_wanted: Callable[[], bool] = always) -> AbstractContextManager[Turn]:
        """The right to run on a model: see `Turns.turn`."""
        return self._turns.turn(expected, is_wanted)

    def load(self, model: Source | str, device: str = "auto", *, stop: threading.Event | None = None) -> LanguageModel:
        """The model, from memory or from disk or the Hub. A failed load leaves those in use as they are.

        Raises InputError, and `download.Stopped` where `stop` is set while it downloads.
        """
        from analyzers.models.language_model import pick_device  # torch loads behind the first page

        source = self._find(model)
        key = key_of(source, pick_device(device))
        held = self._room.get(key)
        if held is not None:
            return held
        with self._lock:
            loading = self._loading.setdefault(key, threading.Lock())
        with loading:  # one load of a model at a time; a long download keeps nobody else waiting
            held = self._room.get(key)
            if held is not None:
                return held
            stop = stop or threading.Event()
            try:
                folder = source.folder or self._fetch(source, key, stop)
                try:
                    return self._load(source, folder, key)
                except InputError as error:
                    if source.hub_id is None or error.sentence.key != "model_cut_short":
                        raise
                    download.forget(folder / str(error.sentence.values["file"]))
                return self._load(source, self._fetch(source, key, stop), key)  # once: what came first was cut short
            finally:
                self._room.release(key)
                self._transfers.pop(key, None)

    def load_in_steps(self, model: Source | str, device: str = "auto") -> Iterator[LanguageModel | Transfer | None]:
        """Every tenth of a second how far a download is, or None while loading; the model last. Closing the iterator
        ends a download. Raises InputError as `load` does."""
        from analyzers.models.language_model import pick_device

        source, stop = self._find(model), threading.Event()
        key = key_of(source, pick_device(device))
        loading = start(lambda: self.load(source, device, stop=stop), "model-load")
        since = time.monotonic()
        try:
            while True:
                try:
                    yield loading.result(POLL_SECONDS)
                    return
                except NotYet:
                    if loading.done():  # a time-out of the load itself
                        raise
                    transfer = self._transfers.get(key)
                    since = since if transfer is None else time.monotonic()  # a download has no limit but Stop
                    if time.monotonic() - since > LOAD_SECONDS:
                        raise InputError("load_slow", model=source.id, seconds=LOAD_SECONDS) from None
                    yield transfer
        finally:
            stop.set()

    def _find(self, model: Source | str) -> Source:
        return self.resolver.find(model) if isinstance(model, str) else model

    def _inspect(self, source: Source, folder: Path) -> ModelFiles:
        """What the files say of a model, once it is known that they can be opened. Raises InputError."""
        if self._tries_first and catalog.find_row(source.id) is None:
            trial.try_files(source, folder)
        return inspect_files(source, folder)

    def _ask(self, source: Source) -> HubModel:
        """What the Hub says, or said a short while ago. Raises InputError."""
        assert source.hub_id is not None
        with self._lock:
            asked_at, known = self._asked.get(source.hub_id, (0.0, None))
        if known is not None and time.monotonic() - asked_at < ASKED_SECONDS:
            return known
        started = time.monotonic()
        if not hub_probe.HUB.answers():
            raise InputError("hub_unreachable", model=source.id, fallback=catalog.OFFLINE_MODEL)
        asked = hub.ask(source.id, source.hub_id, max(1.0, hub.SECONDS - (time.monotonic() - started)))
        if self._tries_first and catalog.find_row(source.id) is None and asked.model_files.config is not None:
            trial.try_config(source, asked.model_files.config)
        with self._lock:
            self._asked[source.hub_id] = (time.monotonic(), asked)
            while len(self._asked) > 64:
                self._asked.popitem(last=False)
        return asked

    def _fetch(self, source: Source, key: Key, stop: threading.Event) -> Path:
        """Download what is worth it: a model that can be used, and fits. Raises InputError."""
        from analyzers.models.loading import count_model_parameters

        asked = self._ask(source)
        self._room.place(source.id, count_model_parameters(source, asked.model_files), key[1])

        def report(transfer: Transfer) -> None:
            self._transfers[key] = transfer

        folder = download.fetch(asked, report, stop)
        self._transfers.pop(key, None)
        return folder

    def _load(self, source: Source, folder: Path, key: Key) -> LanguageModel:
        from analyzers.models.loading import check_kind, count_model_parameters, load_model

        files = self._inspect(source, folder)
        kind = check_kind(source, files)
        placement = self._room.reserve(source.id, count_model_parameters(source, files), key)
        loaded = load_model(
            folder,
            source.id,
            kind=kind,
            gguf_file=source.gguf_file,
            placement=placement,
            offload_folder=self._offload_folder,
            alone=self._turns.whole(),
        )
        self._room.put(key, loaded)
        return loaded
