"""Files that a visitor may save."""

from __future__ import annotations

import os
import secrets
import shutil
from collections import deque
from pathlib import Path

from gradio.utils import get_upload_folder

MOST_BYTES = 256 * 10**6
"""Of all files kept; the oldest make room."""


class Downloads:
    """A folder of texts to save, removed with the process. Each has a name of its own that nobody guesses: a name made of its
    contents, as Gradio makes them, tells who knows a text whether somebody ran it."""

    def __init__(self) -> None:
        # Inside Gradio's own folder: files there are served where they lie, all others copied.
        self._home = Path(get_upload_folder()) / f"eccolens-{os.getpid()}-{secrets.token_urlsafe(8)}"
        self._files: deque[tuple[Path, int]] = deque()
        self._n_bytes = 0

    def save(self, name: str, text: str) -> str | None:
        """Path of a file to download, or None where the disk takes no more. Old ones are removed."""
        folder, content = self._home / secrets.token_urlsafe(24), text.encode("utf-8")
        try:
            folder.mkdir(parents=True)
            (folder / name).write_bytes(content)
        except OSError:
            shutil.rmtree(folder, ignore_errors=True)
            return None
        self._files.append((folder, len(content)))
        self._n_bytes += len(content)
        while self._n_bytes > MOST_BYTES and len(self._files) > 1:
            old, n_bytes = self._files.popleft()
            self._n_bytes -= n_bytes
            shutil.rmtree(old, ignore_errors=True)
        return str(folder / name)

    def remove(self) -> None:
        """Leave nothing behind."""
        shutil.rmtree(self._home, ignore_errors=True)


DOWNLOADS = Downloads()
