"""Where the converted copies of GGUF models lie, and whether one is whole. No torch, so that asking takes no time."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

READER = 2
"""Version of what makes the copies: one that an earlier one made is not used, since it may read otherwise."""


def cache_folder() -> Path:
    """Where converted models are kept: `ECCOLENS_CACHE`, else `~/.cache/eccolens`."""
    given = os.environ.get("ECCOLENS_CACHE")
    return Path(given) if given else Path.home() / ".cache" / "eccolens"


def converted_folder(folder: Path, gguf_file: str) -> Path:
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


def write_copy(module: Any, tokenizer: Any, target: Path) -> None:
    """A module and its tokenizer as a folder, all of it or nothing: it is written under another name first."""
    from safetensors.torch import save_file  # brings torch

    target.parent.mkdir(parents=True, exist_ok=True)
    fresh = Path(tempfile.mkdtemp(dir=target.parent, prefix=".converting-"))
    try:
        config = module.config.to_dict()
        config.pop("quantization_config", None)
        config["architectures"] = [type(module).__name__]
        (fresh / "config.json").write_text(json.dumps(config, indent=1, default=str))
        module.generation_config.save_pretrained(fresh)
        tokenizer.save_pretrained(fresh)
        tied = set(getattr(module, "all_tied_weights_keys", None) or ())
        weights = {name: weight.contiguous() for name, weight in module.state_dict().items() if name not in tied}
        save_file(weights, fresh / "model.safetensors", metadata={"format": "pt"})
        (fresh / "whole.json").write_text(json.dumps({p.name: p.stat().st_size for p in fresh.iterdir()}))
        try:
            fresh.rename(target)
        except OSError:  # another process was quicker
            if not is_complete(target):
                raise
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
