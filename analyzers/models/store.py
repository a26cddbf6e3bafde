"""Which models are in memory, and who may use them: one job at a time, whatever the queue in front of it does."""

from __future__ import annotations

import gc
import threading
import time
import weakref
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from analyzers.common.errors import InputError
from analyzers.common.limits import LIMITS
from analyzers.common.memory import format_bytes, free_memory, free_of_each_gpu
from analyzers.models.placement import Placement, place
from analyzers.sources import catalog, hub
from analyzers.sources.hub import HubId, HubModel, Transfer
from analyzers.sources.resolver import Resolver
from analyzers.sources.source import Key, Source, inspect_files, key_of

if TYPE_CHECKING:
    from analyzers.models.language_model import LanguageModel

POLL_SECONDS = 0.2
ASKED_SECONDS = 120
"""What the Hub said of a model counts so long: the page shows it, then Run uses it."""


@dataclass(frozen=True)
class ModelSummary:
    """A model on offer in figures, before anything is fetched or loaded."""

    kind: str
    n_parameters: int
    to_fetch: int
    """Bytes; 0 for a model that is at hand."""
    placement: Placement
    free: int
    """Bytes that it can have on its device, those of models that would make room included."""


class ModelStore(Resolver):
    """Loads models by id, keeps the most recently used within a budget of bytes, and hands one out to one job at a time."""

    def __init__(
        self,
        *,
        models_folder: Path | None = None,
        any_folder: bool = False,
        any_hub_id: bool = False,
        default: str | None = None,
        precision: str = "auto",
        offload_folder: Path | None = None,
    ) -> None:
        """`precision`: see `placement.place`; `offload_folder`: what fits in no memory is kept there, which is slow; the
        others: see `Resolver`."""
        super().__init__(models_folder=models_folder, any_folder=any_folder, any_hub_id=any_hub_id, default=default)
        self._precision = precision
        self._offload_folder = offload_folder
        self._loaded: OrderedDict[Key, LanguageModel] = OrderedDict()
        self._reserved: dict[Key, int] = {}
        self._transfers: dict[Key, Transfer] = {}
        self._asked: OrderedDict[HubId, tuple[float, HubModel]] = OrderedDict()
        self._lock = threading.Lock()  # of these tables, held for no longer than a look-up
        self._loading: dict[Key, threading.Lock] = {}
        self._job = threading.Lock()  # not re-entrant on purpose: a generator may end in another thread than it began

    def describe(self, model: str, device: str = "auto") -> ModelSummary:
        """What the model is, what it needs, and whether it can be had; the Hub is asked where it is not at hand.

        Raises InputError where it cannot be loaded, with the figures where it is too large.
        """
        from analyzers.models.language_model import pick_device
        from analyzers.models.loading import checked_kind, n_parameters_of  # torch loads behind the first page

        source, device = self.find(model), pick_device(device)
        if source.folder is not None:
            figures, to_fetch = inspect_files(source, source.folder), 0
        else:
            asked = self._ask(source)
            figures, to_fetch = asked.model_files, asked.n_bytes
        kind, n_parameters = checked_kind(source, figures), n_parameters_of(source, figures)
        placement = self._place(source.id, n_parameters, device)
        return ModelSummary(kind, n_parameters, to_fetch, placement, self._could_be_free(device))

    def kind_of(self, model: str) -> str | None:
        """Kind of a model, from the catalog or its files; None where it is not known before it is fetched."""
        from analyzers.models.loading import checked_kind  # torch loads behind the first page

        try:
            source = self.find(model)
            if source.kind is not None:
                return source.kind
            return None if source.folder is None else checked_kind(source, inspect_files(source, source.folder))
        except InputError:  # said when it is run
            return None

    def is_loaded(self, model: str, device: str = "auto") -> bool:
        """Raises InputError where the id is not on offer."""
        from analyzers.models.language_model import pick_device

        return key_of(self.find(model), pick_device(device)) in self._loaded

    def release(self) -> None:
        """Forget every model; those in use go when their run ends."""
        with self._lock:
            self._loaded.clear()

    @contextmanager
    def job(self) -> Iterator[_Releasing]:
        """The right to run on a model: `acquire` the yielded lock, in slices if you wish; it is released at the end."""
        lock = _Releasing(self._job)
        try:
            yield lock
        finally:
            lock.release_if_held()

    def load(self, model: str, device: str = "auto", *, stop: threading.Event | None = None) -> LanguageModel:
        """The model, from memory or from disk or the Hub. A failed load leaves those in use as they are.

        Raises InputError, and `hub.Stopped` where `stop` is set while it downloads.
        """
        from analyzers.models.language_model import pick_device  # torch loads behind the first page

        source, device = self.find(model), pick_device(device)
        key = key_of(source, device)
        with self._lock:
            if key in self._loaded:
                self._loaded.move_to_end(key)
                return self._loaded[key]
            loading = self._loading.setdefault(key, threading.Lock())
        with loading:  # one load of a model at a time; a long download keeps nobody else waiting
            with self._lock:
                if key in self._loaded:
                    return self._loaded[key]
            stop = stop or threading.Event()
            try:
                folder = source.folder or self._fetch(source, key, stop)
                try:
                    return self._load(source, folder, key)
                except InputError as error:
                    if source.hub_id is None or error.sentence.key != "model_cut_short":
                        raise
                    hub.forget(folder / str(error.sentence.values["file"]))
                return self._load(source, self._fetch(source, key, stop), key)  # once: what came first was cut short
            finally:
                with self._lock:
                    self._reserved.pop(key, None)
                    self._transfers.pop(key, None)

    def load_in_steps(self, model: str, device: str = "auto") -> Iterator[LanguageModel | Transfer | None]:
        """Every fifth of a second how far a download is, or None while loading; the model last. Closing the iterator
        ends a download. Raises InputError as `load` does."""
        from analyzers.models.language_model import pick_device

        result: list[LanguageModel] = []
        failure: list[BaseException] = []
        stop = threading.Event()
        key = key_of(self.find(model), pick_device(device))

        def work() -> None:
            try:
                result.append(self.load(model, device, stop=stop))
            except BaseException as error:  # carried to the thread that asked, whatever it is
                failure.append(error)

        thread = threading.Thread(target=work, name="model-load", daemon=True)
        thread.start()
        try:
            while thread.is_alive():
                thread.join(POLL_SECONDS)
                if thread.is_alive():
                    yield self._transfers.get(key)
        finally:
            stop.set()
        if failure:
            raise failure[0]
        yield result[0]

    def _ask(self, source: Source) -> HubModel:
        """What the Hub says, or said a short while ago. Raises InputError."""
        assert source.hub_id is not None
        with self._lock:
            asked_at, known = self._asked.get(source.hub_id, (0.0, None))
        if known is not None and time.monotonic() - asked_at < ASKED_SECONDS:
            return known
        started = time.monotonic()
        if not catalog.HUB.answers():
            raise InputError("hub_unreachable", model=source.id, fallback=catalog.OFFLINE_MODEL)
        asked = hub.ask(source.id, source.hub_id, max(1.0, hub.SECONDS - (time.monotonic() - started)))
        with self._lock:
            self._asked[source.hub_id] = (time.monotonic(), asked)
            while len(self._asked) > 64:
                self._asked.popitem(last=False)
        return asked

    def _fetch(self, source: Source, key: Key, stop: threading.Event) -> Path:
        """Download what is worth it: a model that can be used, and fits. Raises InputError."""
        from analyzers.models.loading import n_parameters_of

        asked = self._ask(source)
        self._place(source.id, n_parameters_of(source, asked.model_files), key[1])

        def report(transfer: Transfer) -> None:
            self._transfers[key] = transfer

        folder = hub.fetch(asked, report, stop)
        self._transfers.pop(key, None)
        return folder

    def _load(self, source: Source, folder: Path, key: Key) -> LanguageModel:
        from analyzers.models.loading import checked_kind, load_model, n_parameters_of

        figures = inspect_files(source, folder)
        kind = checked_kind(source, figures)
        placement = self._make_room(source.id, n_parameters_of(source, figures), key)
        loaded = load_model(
            folder,
            source.id,
            kind=kind,
            gguf_file=source.gguf_file,
            placement=placement,
            offload_folder=self._offload_folder,
            alone=self._job,
        )
        with self._lock:
            self._loaded[key] = loaded
            self._evict(key[1], _budget(key[1]), keep=key)
        return loaded

    def _place(self, id: str, n_parameters: int, device: str) -> Placement:
        """How the model would be held if every model that is in memory made room. Raises InputError with the figures."""
        could, budget = self._could_be_free(device), _budget(device)
        found = place(
            n_parameters,
            device,
            self._precision,
            could,
            budget=budget,
            everywhere=sum(free_of_each_gpu()) + free_memory() if device != "cpu" else 0,
            may_use_disk=self._offload_folder is not None,
        )
        if found is None:
            least = place(n_parameters, device, self._precision, 2**200)
            assert least is not None
            raise InputError(
                "model_too_large",
                model=id,
                needed=format_bytes(least.needed),
                parameters=f"{n_parameters:,}",
                precision=least.precision,
                free=format_bytes(min(could, budget)),
                device=device,
            )
        return found

    def _could_be_free(self, device: str) -> int:
        """Free bytes of a device if every model on it went, less what is promised to those that are being loaded."""
        with self._lock:
            held = sum(model.n_bytes for (_, where), model in self._loaded.items() if where == device)
            coming = sum(n for (_, where), n in self._reserved.items() if where == device)
        return free_memory(device) + held - coming

    def _make_room(self, id: str, n_parameters: int, key: Key) -> Placement:
        """Let the least recently used models go until a new one fits; its bytes are reserved then. None goes where it
        cannot fit even so. Raises InputError."""
        device = key[1]
        placement = self._place(id, n_parameters, device)
        with self._lock:
            self._reserved[key] = placement.weights
            gone = self._evict(
                device, _budget(device) - sum(n for (_, on), n in self._reserved.items() if on == device)
            )
            free = free_memory(device)
            while (placement.spread or free < placement.needed) and (oldest := self._oldest(device)) is not None:
                free += self._loaded[oldest].n_bytes
                gone.append(weakref.ref(self._loaded.pop(oldest)))
        if gone:
            _wait_until_gone(gone)
        return placement

    def _evict(self, device: str, most: int, keep: Key | None = None) -> list[weakref.ref[LanguageModel]]:
        """Least recently used first, until the models on a device hold at most so many bytes. The caller has the lock."""
        gone = []
        while sum(m.n_bytes for (_, where), m in self._loaded.items() if where == device) > most:
            oldest = self._oldest(device)
            if oldest is None or oldest == keep:
                break
            gone.append(weakref.ref(self._loaded.pop(oldest)))
        return gone

    def _oldest(self, device: str) -> Key | None:
        return next((key for key in self._loaded if key[1] == device), None)


def _budget(device: str) -> int:
    """Bytes of weights that may be held on a device: of main memory what the limit says, of a GPU all it has."""
    return LIMITS.model_megabytes * 10**6 if device == "cpu" else 2**63


def _wait_until_gone(models: list[weakref.ref[LanguageModel]]) -> None:
    """A model that was let go is in memory until the run that uses it ends, which takes no longer than a job may."""
    deadline = time.monotonic() + LIMITS.seconds
    while time.monotonic() < deadline:
        gc.collect()
        if all(model() is None for model in models):
            return
        time.sleep(POLL_SECONDS)


class _Releasing:
    """A lock that knows whether it is held by this use of it, and may be released from another thread."""

    def __init__(self, lock: threading.Lock) -> None:
        self._lock = lock
        self._held = False

    def acquire(self, timeout: float = -1) -> bool:
        self._held = self._lock.acquire(timeout=timeout)
        return self._held

    def release_if_held(self) -> None:
        if self._held:
            self._held = False
            self._lock.release()
