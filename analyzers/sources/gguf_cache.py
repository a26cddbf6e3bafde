"""Where the converted copies of GGUF models and the examples' answers lie, and whether one is whole. No torch, so that asking takes no time."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import zlib
from pathlib import Path

NOTE = "whole.json"
READER = 4
"""Version of what makes the copies: one that an earlier one made is not used, since it may read otherwise."""

CHUNK = 2**20


def cache_folder() -> Path:
    """Where converted models are kept: `ECCOLENS_CACHE`, else `~/.cache/eccolens`."""
    given = os.environ.get("ECCOLENS_CACHE")
    return Path(given) if given else Path.home() / ".cache" / "eccolens"


def answers_folder() -> Path:
    """Where the examples' answers are kept, beside the models."""
    return cache_folder() / "answers"


def find_converted_folder(folder: Path, gguf_file: str, reader: int | None = None) -> Path:
    """The folder of a GGUF file's converted copy, made or not; of a `reader`'s own, where one is named. Another file of the
    same name has another folder."""
    source = folder / gguf_file
    stat = source.stat()
    made_by = READER if reader is None else reader
    key = hashlib.sha256(f"{source.name} {stat.st_size} {stat.st_mtime_ns} {made_by}".encode()).hexdigest()[:16]
    return cache_folder() / f"{source.stem}-{key}"


def forget_old(folder: Path, gguf_file: str) -> None:
    """Remove the copies of a GGUF file that earlier readers made: hundreds of megabytes each, and never read again."""
    for reader in range(READER):
        shutil.rmtree(find_converted_folder(folder, gguf_file, reader), ignore_errors=True)


def is_complete(target: Path) -> bool:
    """Whether every file of a copy has the size that was noted when it was made. Reads none of them."""
    try:
        return all((target / name).stat().st_size == size for name, (size, _) in _noted(target).items())
    except (OSError, ValueError):
        return False


def is_undamaged(target: Path) -> bool:
    """Whether every file of a copy is what was written: about 0.1 s for half a gigabyte."""
    try:
        return is_complete(target) and all(
            _checksum(target / name) == noted for name, (_, noted) in _noted(target).items()
        )
    except (OSError, ValueError):
        return False


def note_whole(folder: Path) -> None:
    """Note the size and the checksum of each file, once all of them are on the disk."""
    noted = {}
    for path in sorted(folder.iterdir()):
        noted[path.name] = (path.stat().st_size, _checksum(path))
        with path.open("rb") as stream:
            os.fsync(stream.fileno())
    with (folder / NOTE).open("w", encoding="utf-8") as stream:
        json.dump(noted, stream)
        stream.flush()
        os.fsync(stream.fileno())


def _noted(target: Path) -> dict[str, tuple[int, int]]:
    """Size and checksum by name. Raises OSError or ValueError where there is no such note."""
    found = json.loads((target / NOTE).read_text(encoding="utf-8"))
    if not isinstance(found, dict) or not found:
        raise ValueError("no note")
    return {str(name): (int(size), int(checksum)) for name, (size, checksum) in found.items()}


def _checksum(path: Path) -> int:
    """CRC-32, which sees every single damaged stretch of up to 32 bits, and others but for one in 4 billion.

    It guards against a failing disk, not against a person: who can write the copy can write its note as well. SHA-256
    took as long as two thirds of the load itself.
    """
    checksum, chunk = 0, memoryview(bytearray(CHUNK))
    with path.open("rb", buffering=0) as stream:
        while n := stream.readinto(chunk):
            checksum = zlib.crc32(chunk[:n], checksum)
    return checksum
