"""Model folders made to crash, hang or fill the memory of whoever opens them: a name, and what is done to a good one."""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any


def _json(name: str, change: Callable[[dict[str, Any]], None]) -> Callable[[Path], None]:
    def do(folder: Path) -> None:
        path = folder / name
        found = json.loads(path.read_text(encoding="utf-8"))
        change(found)
        path.write_text(json.dumps(found), encoding="utf-8")

    return do


def config(**values: object) -> Callable[[Path], None]:
    return _json("config.json", lambda found: found.update(values))


def tokenizer(**parts: object) -> Callable[[Path], None]:
    return _json("tokenizer.json", lambda found: found.update(parts))


def replace(pattern: dict[str, str], content: str) -> dict[str, Any]:
    return {"type": "Replace", "pattern": pattern, "content": content}


def sequence(*steps: dict[str, Any]) -> dict[str, Any]:
    return {"type": "Sequence", "normalizers": list(steps)}


def split(pattern: str) -> dict[str, Any]:
    return {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False}


def pipe(name: str) -> Callable[[Path], None]:
    def do(folder: Path) -> None:
        (folder / name).unlink(missing_ok=True)
        os.mkfifo(folder / name)

    return do


def link(name: str, to: str) -> Callable[[Path], None]:
    def do(folder: Path) -> None:
        (folder / name).unlink(missing_ok=True)
        (folder / name).symlink_to(to)

    return do


def header(value: object) -> Callable[[Path], None]:
    """A safetensors file whose header says so."""

    def do(folder: Path) -> None:
        text = json.dumps(value).encode()
        (folder / "model.safetensors").write_bytes(struct.pack("<Q", len(text)) + text)

    return do


def many_words(folder: Path) -> None:
    def change(found: dict[str, Any]) -> None:
        found["model"]["vocab"] = {f"w{i}": i for i in range(3_000_000)}
        found["model"]["merges"] = []

    _json("tokenizer.json", change)(folder)


ODD: dict[str, Callable[[Path], None]] = {
    "replace-bomb": tokenizer(normalizer=sequence(*[replace({"String": "z"}, "z" * 40)] * 8)),
    "replace-bomb-rare-letter": tokenizer(normalizer=sequence(*[replace({"String": "ß"}, "ß" * 40)] * 8)),
    "replace-bomb-regex": tokenizer(normalizer=sequence(*[replace({"Regex": "[a-z]"}, "abcdefgh" * 9)] * 6)),
    "regex-nested": tokenizer(pre_tokenizer=split("(x+x+)+y")),
    "regex-nested-rare-letter": tokenizer(pre_tokenizer=split("(ж+ж+)+щ")),
    "regex-normalizer": tokenizer(normalizer=replace({"Regex": "(a|aa)+$"}, "")),
    "precompiled-bad": tokenizer(normalizer={"type": "Precompiled", "precompiled_charsmap": "AAAA"}),
    "fixed-length-zero": tokenizer(pre_tokenizer={"type": "FixedLength", "length": 0}),
    "many-labels": config(num_labels=300_000_000),
    "many-positions": config(n_positions=30_000_000, max_position_embeddings=30_000_000),
    "many-experts": config(model_type="mixtral", num_local_experts=100_000, num_hidden_layers=32),
    "many-layers": config(n_layer=2_000, num_hidden_layers=2_000),
    "sinusoids": config(model_type="distilbert", sinusoidal_pos_embds=True, max_position_embeddings=30_000_000),
    "deep-config": lambda folder: (folder / "config.json").write_text('{"a":' * 100_000 + "1" + "}" * 100_000) and None,
    "pipe-config": pipe("config.json"),
    "pipe-tokenizer": pipe("tokenizer.json"),
    "pipe-weights": pipe("model.safetensors"),
    "pipe-beside": pipe("tokenizer_config.json"),
    "device-config": link("config.json", "/dev/zero"),
    "device-weights": link("model.safetensors", "/dev/zero"),
    "link-out": link("config.json", "/etc/hostname"),
    "link-loop": link("config.json", "config.json"),
    "long-shape": header({"wte": {"dtype": "F32", "shape": [1] * 3_000_000, "data_offsets": [0, 4]}}),
    "many-words": many_words,
}
"""What the outside attack found, and siblings."""
