"""Where a model is loaded from, once its id is understood, and what its files there say of it."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from analyzers.common.errors import InputError
from analyzers.common.kinds import Kind
from analyzers.sources.gguf_cache import find_converted_folder, is_complete
from analyzers.sources.hub import HubId
from analyzers.sources.model_files import ModelFiles, inspect_folder, inspect_gguf

Key = tuple[str, str]
"""Where a model comes from, and the device that it is on."""


@dataclass(frozen=True)
class Source:
    """Where one model is loaded from."""

    id: str
    folder: Path | None
    """None where it has to be downloaded first."""
    hub_id: HubId | None = None
    gguf_file: str | None = None
    kind: Kind | None = None
    """None where only its files can tell."""


def inspect_files(source: Source, folder: Path) -> ModelFiles:
    """Of a model on this machine. A GGUF file that was converted before is read from its copy. Raises InputError."""
    if source.gguf_file is None:
        return inspect_folder(folder, source.id)
    copy = find_converted_folder(folder, source.gguf_file)
    if is_complete(copy):
        with suppress(InputError):  # a damaged copy is made anew when it is loaded
            return inspect_folder(copy, source.id)
    return inspect_gguf(folder / source.gguf_file, source.id)


def is_path(name: str) -> bool:
    """Whether a name on the command line is meant as a path."""
    try:
        is_there = Path(name).is_dir() or Path(name).is_file()
    except (OSError, ValueError):  # a name no file can have
        is_there = False
    return "/" in name or "\\" in name or name.startswith((".", "~")) or is_there


def find_by_path(name: str) -> Source | None:
    """The model at a path, or None."""
    try:
        path = Path(name).expanduser().resolve()
        is_model = path.is_file() if path.suffix.lower() == ".gguf" else (path / "config.json").is_file()
    except (OSError, ValueError, RuntimeError):  # a name no file can have, or ~nobody
        return None
    return source_at(path, path.name) if is_model else None


def source_at(path: Path, id: str) -> Source:
    """Of a model folder or a GGUF file."""
    if path.suffix.lower() == ".gguf" and path.is_file():
        return Source(id, path.parent, gguf_file=path.name)
    return Source(id, path)


def key_of(source: Source, device: str) -> Key:
    """Two folders of the same name are two models; a download changes no key."""
    if source.hub_id is not None:
        hub_id = source.hub_id
        return "/".join((hub_id.repository, hub_id.gguf_file or "")) + f"@{hub_id.revision or ''}", device
    return str(source.folder) + (f"/{source.gguf_file}" if source.gguf_file else ""), device
