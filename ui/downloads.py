"""Files that a visitor may save."""

from __future__ import annotations

import os
import secrets
import shutil
import threading
from collections import deque
from dataclasses import dataclass
from pathlib import Path

import gradio as gr
from gradio.context import LocalContext
from gradio.utils import get_upload_folder

MOST_BYTES = 256 * 10**6
"""Of all files kept; the oldest make room."""
LEFT_SECONDS = 10.0
"""A session's files stay so long after its page was closed: a connection can break while somebody reads on."""


@dataclass(frozen=True)
class Kept:
    """A file in a folder of its own."""

    folder: Path
    n_bytes: int
    session: str | None


class Downloads:
    """A folder of texts to save, removed with the process, each with its session. Each has a name of its own that nobody
    guesses: a name made of its contents, as Gradio makes them, tells who knows a text whether somebody ran it."""

    def __init__(self) -> None:
        # Inside Gradio's own folder: files there are served where they lie, all others copied.
        self._home = Path(get_upload_folder()) / f"eccolens-{os.getpid()}-{secrets.token_urlsafe(8)}"
        self._files: deque[Kept] = deque()
        self._lock = threading.Lock()

    def save(self, name: str, text: str, session: str | None = None) -> str | None:
        """Path of a file to download, or None where the disk takes no more. Old ones are removed."""
        folder, content = self._home / secrets.token_urlsafe(24), text.encode("utf-8")
        try:
            folder.mkdir(parents=True)
            (folder / name).write_bytes(content)
        except OSError:
            shutil.rmtree(folder, ignore_errors=True)
            return None
        with self._lock:
            self._files.append(Kept(folder, len(content), session or _session()))
            while sum(kept.n_bytes for kept in self._files) > MOST_BYTES and len(self._files) > 1:
                shutil.rmtree(self._files.popleft().folder, ignore_errors=True)
        return str(folder / name)

    def forget(self, session: str | None) -> None:
        """Remove a session's files."""
        with self._lock:
            for kept in [one for one in self._files if session is not None and one.session == session]:
                self._files.remove(kept)
                shutil.rmtree(kept.folder, ignore_errors=True)

    def forget_soon(self, session: str | None) -> None:
        """Likewise, in a while."""
        later = threading.Timer(LEFT_SECONDS, self.forget, [session])
        later.daemon = True
        later.start()

    def remove(self) -> None:
        """Leave nothing behind."""
        shutil.rmtree(self._home, ignore_errors=True)


def _session() -> str | None:
    """Of the visitor whose event this is."""
    session: str | None = getattr(LocalContext.request.get(None), "session_hash", None)
    return session


def say_goodbye(request: gr.Request) -> None:
    """A page was closed."""
    DOWNLOADS.forget_soon(request.session_hash)


DOWNLOADS = Downloads()
