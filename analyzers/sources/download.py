"""Fetching a model of the Hugging Face Hub into the Hub's own cache, in sight and until it is to stop. No token is sent."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import wait
from dataclasses import dataclass
from pathlib import Path

from analyzers.common.errors import InputError
from analyzers.common.memory import format_bytes, free_disk
from analyzers.common.threads import start
from analyzers.sources.catalog import OFFLINE_MODEL
from analyzers.sources.hub import SECONDS, HubModel
from analyzers.sources.hub_errors import is_lost_connection, to_input_error
from analyzers.sources.hub_probe import endpoint
from analyzers.sources.model_files import check_config, read_config

# Read when huggingface_hub is imported. Its other way of fetching (Xet) neither hears Stop nor tells a full disk.
os.environ.setdefault("HF_HUB_DISABLE_XET", "1")

STALLED_SECONDS = 20.0
"""Without another byte, a download has failed; without the first one, after `SECONDS`. Files that came whole are kept."""
CHUNK_BYTES = 2**18
"""Read at once. huggingface_hub reads 10 MB, and hears of nothing meanwhile: neither of bytes nor of Stop."""
SPARE_BYTES = 200 * 10**6
"""What a download leaves free on the disk."""


@dataclass(frozen=True)
class Transfer:
    """How far a download is, in bytes."""

    done: int
    total: int


class Stopped(Exception):
    """Nobody waits for this download any more."""


def fetch(model: HubModel, report: Callable[[Transfer], None], stop: threading.Event) -> Path:
    """The snapshot's folder, in the Hub's own cache; `report` hears of the bytes. The configuration comes first.

    Raises InputError where the disk is too small or the Hub fails, and `Stopped` once `stop` is set.
    """
    from huggingface_hub import constants

    free = free_disk(Path(constants.HF_HUB_CACHE))
    if model.n_bytes + SPARE_BYTES > free:
        raise InputError("disk_too_small", model=model.id, size=format_bytes(model.n_bytes), free=format_bytes(free))
    progress = _Progress(model.n_bytes, report, stop)
    download = start(lambda: _fetch(model, progress), "download")
    while not download.done():  # a read has a time-out of its own, but is tried again five times
        wait([download], 0.1)
        if stop.is_set():
            raise Stopped
        silence = time.monotonic() - progress.heard
        if progress.done == 0 and silence > SECONDS:
            progress.stop.set()
            raise InputError("hub_slow", model=model.id, seconds=int(SECONDS), fallback=OFFLINE_MODEL)
        if silence > STALLED_SECONDS:
            progress.stop.set()
            raise InputError("download_stalled", model=model.id, seconds=int(STALLED_SECONDS), fallback=OFFLINE_MODEL)
    try:
        return download.result()
    except (Stopped, InputError):
        raise
    except Exception as error:
        raise to_input_error(model.id, model.commit, SECONDS, error) from error


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

        def __init__(self, *_args: object, initial: int = 0, **_kwargs: object) -> None:
            super().__init__(disable=True)
            progress.add(initial)

        def update(self, n: int | float | None = 1) -> None:
            progress.add(n or 0)

    folder = None
    for name, n_bytes in model.files:
        before = progress.done
        file = _with_one_retry(
            lambda name=name: hf_hub_download(  # type: ignore[misc]
                model.repository,
                name,
                revision=model.commit,
                token=False,
                endpoint=endpoint(),
                etag_timeout=SECONDS,
                tqdm_class=Counting,
            )
        )
        progress.add(n_bytes - (progress.done - before))  # it was there already, or was sent compressed
        folder = Path(file).parent
        if name == "config.json":
            check_config(read_config(folder, model.id), model.id)
    if folder is None:
        raise InputError("model_no_weights", model=model.id)
    # Files come by commit, so that all are of one; the name is noted once they are all here, for when the Hub is not.
    reference = folder.parent.parent / "refs" / model.revision
    reference.parent.mkdir(parents=True, exist_ok=True)
    reference.write_text(model.commit)
    return folder


def _with_one_retry(download: Callable[[], str]) -> str:
    """A connection that breaks off is no reason to give up: what came is kept, and the rest is asked for once more."""
    try:
        return download()
    except Exception as error:
        if not is_lost_connection(error):
            raise
        return download()
