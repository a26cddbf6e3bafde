"""Models on the Hugging Face Hub that anyone may name: what one is, before anything is fetched, and fetching it.

No token is ever sent: what a visitor names is read as anybody could read it. Nothing here looks at a path.
"""

from __future__ import annotations

import json
import os
import re
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from analyzers.common.errors import InputError
from analyzers.common.memory import format_bytes, free_disk
from analyzers.sources import model_files
from analyzers.sources.catalog import OFFLINE_MODEL
from analyzers.sources.hub_errors import to_input_error
from analyzers.sources.model_files import ModelFiles

# Read when huggingface_hub is imported. Its other way of fetching (Xet) neither hears Stop nor tells a full disk.
os.environ.setdefault("HF_HUB_DISABLE_XET", "1")

SECONDS = 5.0
"""All questions about one model together."""
STALLED_SECONDS = 20.0
"""Without another byte, a download has failed; without the first one, after `SECONDS`. Files that came whole are kept."""
CHUNK_BYTES = 2**18
"""Read at once. huggingface_hub reads 10 MB, and hears of nothing meanwhile: neither of bytes nor of Stop."""
SPARE_BYTES = 200 * 10**6
"""What a download leaves free on the disk."""
GGUF_BITS = 4.5
"""A parameter of a GGUF file, where the Hub does not say how many there are."""
LARGEST_GGUF_NAME = 200

Result = TypeVar("Result")


SMALL = re.compile(r"(?!(pytorch_model|tf_model|flax_model)\b).*\.(json|model|spm|tiktoken)|(vocab|merges)\.txt")
"""Names of files beside the weights that a model is read from."""


@dataclass(frozen=True)
class HubId:
    """`owner/name`, `owner/name@revision`, `owner/name/file.gguf` or both, taken apart."""

    repository: str
    revision: str | None = None
    gguf_file: str | None = None


@dataclass(frozen=True)
class HubModel:
    """What the Hub says of one model at one commit."""

    id: str
    """As it was asked for."""
    repository: str
    revision: str
    commit: str
    model_files: ModelFiles
    files: tuple[tuple[str, int], ...]
    """What loading needs, name and bytes, the small files first."""
    gguf_file: str | None = None

    @property
    def n_bytes(self) -> int:
        return sum(n for _, n in self.files)


@dataclass(frozen=True)
class Transfer:
    """How far a download is, in bytes."""

    done: int
    total: int


class Stopped(Exception):
    """Nobody waits for this download any more."""


def parse_id(model: str) -> HubId | None:
    """A Hub id taken apart; None for anything else. Asks neither the disk nor the Hub."""
    if len(model) > 400 or not model.isascii() or not model.isprintable():
        return None
    name, at, revision = model.partition("@")
    parts = name.split("/")
    gguf_file = parts.pop() if len(parts) == 3 and parts[2].lower().endswith(".gguf") else None
    if len(parts) != 2 or (at and not re.fullmatch(r"[\w][\w.\-/]{0,119}", revision)) or ".." in revision:
        return None
    if gguf_file is not None and not re.fullmatch(r"[\w][\w.\-]*", gguf_file[:LARGEST_GGUF_NAME]):
        return None
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id

    try:
        validate_repo_id("/".join(parts))
    except HFValidationError:
        return None
    return HubId("/".join(parts), revision or None, gguf_file)


def endpoint() -> str:
    return os.environ.get("HF_ENDPOINT", "https://huggingface.co").rstrip("/")


def ask(id: str, hub_id: HubId, seconds: float = SECONDS) -> HubModel:
    """What the Hub says of a model, within `seconds`, nothing fetched but its configuration.

    Raises InputError where there is none that can be used: unknown, private, gated, without safetensors, needing code.
    """
    try:
        return _within(seconds, lambda: _ask(id, hub_id, seconds))
    except InputError:
        raise
    except Exception as error:
        raise to_input_error(id, hub_id.revision, SECONDS, error) from error


def fetch(model: HubModel, report: Callable[[Transfer], None], stop: threading.Event) -> Path:
    """The snapshot's folder, in the Hub's own cache; `report` hears of the bytes. The configuration comes first.

    Raises InputError where the disk is too small or the Hub fails, and `Stopped` once `stop` is set.
    """
    from huggingface_hub import constants

    free = free_disk(Path(constants.HF_HUB_CACHE))
    if model.n_bytes + SPARE_BYTES > free:
        raise InputError("disk_too_small", model=model.id, size=format_bytes(model.n_bytes), free=format_bytes(free))
    progress = _Progress(model.n_bytes, report, stop)
    folder: list[Path] = []
    failure: list[Exception] = []

    def work() -> None:
        try:
            folder.append(_fetch(model, progress))
        except Exception as error:
            failure.append(error)

    thread = threading.Thread(target=work, name="download", daemon=True)
    thread.start()
    while thread.is_alive():  # a read has a time-out of its own, but is tried again five times
        thread.join(0.1)
        if stop.is_set():
            raise Stopped
        silence = time.monotonic() - progress.heard
        if progress.done == 0 and silence > SECONDS:
            progress.stop.set()
            raise InputError("hub_slow", model=model.id, seconds=int(SECONDS), fallback=OFFLINE_MODEL)
        if silence > STALLED_SECONDS:
            progress.stop.set()
            raise InputError("download_stalled", model=model.id, seconds=int(STALLED_SECONDS), fallback=OFFLINE_MODEL)
    if failure:
        if isinstance(failure[0], (Stopped, InputError)):
            raise failure[0]
        raise to_input_error(model.id, model.commit, SECONDS, failure[0]) from failure[0]
    return folder[0]


def forget(file: Path) -> None:
    """Have a file of the cache fetched anew."""
    for path in (file.resolve(), file):
        path.unlink(missing_ok=True)


class _Progress:
    """Counts bytes, and ends the download when it is to stop."""

    def __init__(self, total: int, report: Callable[[Transfer], None], stop: threading.Event) -> None:
        self.done = 0
        self.total = total
        self.stop = stop
        self.heard = time.monotonic()
        self._report = report

    def add(self, n_bytes: int | float) -> None:
        if self.stop.is_set():
            raise Stopped
        if n_bytes:
            self.heard = time.monotonic()
        self.done += int(n_bytes)
        self._report(Transfer(min(self.done, self.total), self.total))


def _fetch(model: HubModel, progress: _Progress) -> Path:
    from huggingface_hub import constants, hf_hub_download
    from tqdm import tqdm

    constants.DOWNLOAD_CHUNK_SIZE = CHUNK_BYTES

    class Counting(tqdm):  # type: ignore[misc]
        """What huggingface_hub tells how many bytes came."""

        def __init__(self, *_args: Any, initial: int = 0, **_kwargs: Any) -> None:
            super().__init__(disable=True)
            progress.add(initial)

        def update(self, n: int | float | None = 1) -> None:
            progress.add(n or 0)

    folder = None
    for name, n_bytes in model.files:
        before = progress.done
        file = hf_hub_download(
            model.repository,
            name,
            revision=model.commit,
            token=False,
            endpoint=endpoint(),
            etag_timeout=SECONDS,
            tqdm_class=Counting,
        )
        progress.add(n_bytes - (progress.done - before))  # it was there already, or was sent compressed
        folder = Path(file).parent
        if name == "config.json":
            model_files.check_config(model_files.read_config(folder, model.id), model.id)
    if folder is None:
        raise InputError("model_no_weights", model=model.id)
    # Files come by commit, so that all are of one; the name is noted once they are all here, for when the Hub is not.
    reference = folder.parent.parent / "refs" / model.revision
    reference.parent.mkdir(parents=True, exist_ok=True)
    reference.write_text(model.commit)
    return folder


def _ask(id: str, hub_id: HubId, seconds: float) -> HubModel:
    from huggingface_hub import HfApi

    api = HfApi(endpoint=endpoint(), token=False)
    info = api.model_info(
        hub_id.repository, revision=hub_id.revision, files_metadata=True, timeout=seconds, token=False
    )
    if info.gated:
        raise InputError("hub_gated", model=id)
    if info.private or info.disabled:
        raise InputError("hub_not_found", model=id)
    commit = str(info.sha)
    revision = hub_id.revision or "main"
    if not re.fullmatch(r"[0-9a-f]{40}", commit):
        raise InputError("download_failed", model=id, reason="the Hub names no commit")
    sizes = {file.rfilename: int(file.size or 0) for file in info.siblings or () if "/" not in file.rfilename}
    if hub_id.gguf_file is not None:
        figures = _gguf_figures(id, hub_id.gguf_file, sizes, getattr(info, "gguf", None))
        only = ((hub_id.gguf_file, figures.n_bytes),)
        return HubModel(id, hub_id.repository, revision, commit, figures, only, hub_id.gguf_file)
    if "config.json" not in sizes:
        is_gguf = any(name.lower().endswith(".gguf") for name in sizes)
        raise InputError("hub_name_the_file" if is_gguf else "model_no_config", model=id)
    config = _get_json(hub_id.repository, commit, "config.json", model_files.LARGEST_CONFIG, seconds, id)
    model_files.check_config(config, id)
    index = None
    if model_files.INDEX in sizes and "model.safetensors" not in sizes:
        index = _get_json(hub_id.repository, commit, model_files.INDEX, model_files.LARGEST_HEADER, seconds, id)
    weights = model_files.choose_weights(sizes, index, id)
    model_files.check_tokenizer(sizes, id, config)
    small = [name for name in sizes if SMALL.fullmatch(name) and name != "config.json"]
    n_by_type = info.safetensors.parameters if info.safetensors is not None else None
    if not n_by_type:
        headers = api.get_safetensors_metadata(hub_id.repository, revision=commit, token=False, timeout=seconds)
        n_by_type = headers.parameter_count
    model_files.check_types(n_by_type, config, id)
    n_bytes = sum(sizes[name] for name in weights)
    figures = ModelFiles(model_files.kind_of(config), sum(n_by_type.values()), n_bytes, config)
    files = tuple((name, sizes[name]) for name in ("config.json", *sorted(small), *weights))
    return HubModel(id, hub_id.repository, revision, commit, figures, files)


def _gguf_figures(id: str, name: str, sizes: dict[str, int], told: Any) -> ModelFiles:
    """Of one file that holds everything. Raises InputError where it is not there."""
    if name not in sizes:
        offered = ", ".join(sorted(file for file in sizes if file.lower().endswith(".gguf"))[:8])
        raise InputError("hub_no_file", model=id, choices=offered or "—")
    total = told.get("total") if isinstance(told, dict) else None
    is_known = isinstance(total, int) and not isinstance(total, bool) and total > 0
    n_parameters = int(total or 0) if is_known else int(sizes[name] * 8 / GGUF_BITS)
    return ModelFiles("causal", n_parameters, sizes[name])


def _get_json(repository: str, commit: str, name: str, most: int, seconds: float, id: str) -> Any:
    """A small file of a repository, read but not kept. Raises InputError where it is no object or larger than `most`."""
    url = f"{endpoint()}/{repository}/resolve/{commit}/{name}"
    with urllib.request.urlopen(url, timeout=seconds) as reply:
        text = reply.read(most + 1)
    if len(text) > most:
        raise InputError("model_broken", model=id, reason=f"{name} is larger than {most:,} bytes")
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError("model_broken", model=id, reason=f"{name} is not JSON") from error
    return model_files.as_mapping(found, name, id)


def _within(seconds: float, work: Callable[[], Result]) -> Result:
    """The result of `work`, or TimeoutError: a name look-up and a slow trickle have no time-out of their own."""
    results: list[Result] = []
    failures: list[BaseException] = []

    def do() -> None:
        try:
            results.append(work())
        except BaseException as error:  # carried to the thread that asked, whatever it is
            failures.append(error)

    thread = threading.Thread(target=do, name="hub-question", daemon=True)
    thread.start()
    thread.join(seconds)
    if failures:
        raise failures[0]
    if not results:
        raise TimeoutError
    return results[0]
