"""Files that a visitor may save."""

from __future__ import annotations

import shutil
import tempfile
from collections import deque
from pathlib import Path

KEPT_FILES = 64
"""Downloads kept; Gradio copies each into its own cache, which it empties by age."""


class Downloads:
    """A folder of texts to save, removed with the process."""

    def __init__(self) -> None:
        self._home = tempfile.TemporaryDirectory(prefix="eccolens-")
        self._folders: deque[Path] = deque()

    def save(self, name: str, text: str) -> str | None:
        """Path of a file to download, or None where the disk takes no more. Old ones are removed."""
        try:
            folder = Path(tempfile.mkdtemp(dir=self._home.name))
            self._folders.append(folder)
            while len(self._folders) > KEPT_FILES:
                shutil.rmtree(self._folders.popleft(), ignore_errors=True)
            (folder / name).write_text(text, encoding="utf-8")
        except OSError:
            return None
        return str(folder / name)


DOWNLOADS = Downloads()
