"""Which models are in memory, and who may use them: one job at a time, whatever the queue in front of it does."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from analyzers import catalog
from analyzers.errors import InputError
from analyzers.limits import LIMITS
from analyzers.sentences import quoted

if TYPE_CHECKING:
    from analyzers.model import LanguageModel

POLL_SECONDS = 0.2
LOADED_KINDS = ("causal", "masked", "seq2seq", "encoder")
"""Kinds of models that can be loaded; which analysis serves which is the dispatcher's to say."""
DOWNLOADED = ["*.json", "*.safetensors", "*.txt", "*.model"]


@dataclass(frozen=True)
class Source:
    """Where one model is loaded from."""

    id: str
    folder: Path | None
    """None where it has to be downloaded first."""
    hub_id: str | None = None
    gguf_file: str | None = None
    kind: str | None = None
    """None where only the folder itself can tell."""


class ModelStore:
    """Loads models by id, keeps the most recently used, and hands one out to one job at a time."""

    def __init__(
        self, *, models_folder: Path | None = None, any_folder: bool = False, default: str | None = None
    ) -> None:
        """`models_folder`: the operator's folder whose sub-folders are on offer; `any_folder`: any path may be named
        (the command line, where whoever types is the operator)."""
        self._models_folder = models_folder
        self._any_folder = any_folder
        self._default = default
        self._loaded: OrderedDict[tuple[str, str], LanguageModel] = OrderedDict()
        self._lock = threading.Lock()  # of the two tables, held for no longer than a look-up
        self._loading: dict[tuple[str, str], threading.Lock] = {}
        self._job = threading.Lock()  # not re-entrant on purpose: a generator may end in another thread than it began

    def default_id(self) -> str:
        """The model of a request that names none."""
        if self._default is None:
            self._default = catalog.default_model()
        return self._default

    def set_default(self, model: str) -> None:
        """Raises InputError where the id is not on offer."""
        self._default = self.find(model).id

    def local_names(self) -> tuple[str, ...]:
        """Sub-folders of the operator's models folder that hold a model, by name."""
        if self._models_folder is None or not self._models_folder.is_dir():
            return ()
        return tuple(sorted(p.parent.name for p in self._models_folder.glob("*/config.json")))

    def names(self) -> tuple[str, ...]:
        """Ids that can be loaded, catalog first."""
        return (*(row.id for row in catalog.CATALOG if row.kind in LOADED_KINDS), *self.local_names())

    def find(self, model: str) -> Source:
        """Where a model id leads. The same refusal whether or not a path of that name exists. Raises InputError."""
        row = catalog.find_row(model)
        if row is not None:
            folder = catalog.bundled_folder(row) if row.bundled else catalog.cached_folder(row)
            if folder is None and row.bundled:
                raise InputError("bundled_missing", model=row.label)
            return Source(row.id, folder, row.hub_id, row.gguf_file, row.kind)
        if model in self.local_names() and self._models_folder is not None:
            return Source(model, self._models_folder / model)
        if self._any_folder and ("/" in model or "\\" in model or model.startswith(".") or _is_folder(model)):
            try:
                named = Path(model).expanduser().resolve()
                found = (named / "config.json").is_file()
            except (OSError, ValueError, RuntimeError):  # a name no file can have, or ~nobody
                found = False
            if not found:
                raise InputError("no_such_folder", model=quoted(model))
            return Source(named.name, named)
        raise InputError("unknown_model", model=quoted(model), choices=", ".join(self.names()))

    def is_loaded(self, model: str, device: str = "auto") -> bool:
        """Raises InputError where the id is not on offer."""
        from analyzers.model import pick_device

        return _key(self.find(model), pick_device(device)) in self._loaded

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

    def load(self, model: str, device: str = "auto") -> LanguageModel:
        """The model, from memory or from disk or the Hub. A failed load leaves what is loaded as it was. Raises InputError."""
        from analyzers.model import kind_of_folder, load_model, pick_device  # torch loads behind the first page

        source = self.find(model)
        key = _key(source, pick_device(device))
        with self._lock:
            if key in self._loaded:
                self._loaded.move_to_end(key)
                return self._loaded[key]
            loading = self._loading.setdefault(key, threading.Lock())
        with loading:  # one load of a model at a time; a long download keeps nobody else waiting
            with self._lock:
                if key in self._loaded:
                    return self._loaded[key]
            folder = source.folder or _download(source)
            kind = source.kind or kind_of_folder(folder, source.id)
            loaded = load_model(folder, source.id, kind=kind, device=device, gguf_file=source.gguf_file)
            with self._lock:
                self._loaded[key] = loaded
                while len(self._loaded) > LIMITS.models:
                    self._loaded.popitem(last=False)
            return loaded

    def load_in_steps(self, model: str, device: str = "auto") -> Iterator[LanguageModel | None]:
        """None while loading, every fifth of a second; the model last. Raises InputError as `load` does."""
        result: list[LanguageModel] = []
        failure: list[BaseException] = []

        def work() -> None:
            try:
                result.append(self.load(model, device))
            except BaseException as error:  # carried to the thread that asked, whatever it is
                failure.append(error)

        thread = threading.Thread(target=work, name="model-load", daemon=True)
        thread.start()
        while thread.is_alive():
            thread.join(POLL_SECONDS)
            if thread.is_alive():
                yield None
        if failure:
            raise failure[0]
        yield result[0]


def _is_folder(name: str) -> bool:
    try:
        return Path(name).is_dir()
    except (OSError, ValueError):  # a name no file can have
        return False


def _key(source: Source, device: str) -> tuple[str, str]:
    """Two folders of the same name are two models; a download changes no key."""
    return source.hub_id or str(source.folder), device


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


def _download(source: Source) -> Path:
    """Fetch a catalog model's safetensors and tokenizer from the Hub, never with the operator's token."""
    if not catalog.HUB.answers():
        raise InputError("hub_unreachable", model=source.id, fallback=catalog.FALLBACK)
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError

    try:
        return Path(snapshot_download(str(source.hub_id), allow_patterns=DOWNLOADED, token=False))
    except HfHubHTTPError as error:
        reason = f"the Hub answered {error.response.status_code}"
        raise InputError("download_failed", model=source.id, reason=reason) from error
    except Exception as error:  # the HTTP client's own errors share no base class with anything else
        reason = getattr(error, "strerror", None) or type(error).__name__
        raise InputError("download_failed", model=source.id, reason=reason) from error
