"""Where the converted copies of GGUF models and the examples' answers lie, and whether one is whole. No torch, so that asking takes no time."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

READER = 2
"""Version of what makes the copies: one that an earlier one made is not used, since it may read otherwise."""


def cache_folder() -> Path:
    """Where converted models are kept: `ECCOLENS_CACHE`, else `~/.cache/eccolens`."""
    given = os.environ.get("ECCOLENS_CACHE")
    return Path(given) if given else Path.home() / ".cache" / "eccolens"


def answers_folder() -> Path:
    """Where the examples' answers are kept, beside the models."""
    return cache_folder() / "answers"


def find_converted_folder(folder: Path, gguf_file: str) -> Path:
    """The folder of a GGUF file's converted copy, made or not. Another file of the same name has another folder."""
    source = folder / gguf_file
    stat = source.stat()
    key = hashlib.sha256(f"{source.name} {stat.st_size} {stat.st_mtime_ns} {READER}".encode()).hexdigest()[:16]
    return cache_folder() / f"{source.stem}-{key}"


def is_complete(target: Path) -> bool:
    """Whether every file of a copy has the size that was noted when it was made."""
    try:
        sizes = json.loads((target / "whole.json").read_text())
        return bool(sizes) and all((target / name).stat().st_size == size for name, size in sizes.items())
    except (OSError, ValueError):
        return False
