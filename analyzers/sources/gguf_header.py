"""What a GGUF file says of itself before its weights: walked in a tenth of a second, where gguf's own reader takes seven."""

from __future__ import annotations

import math
import re
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, NoReturn

from analyzers.common.errors import InputError

FIXED = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
"""Type number → struct format; 8 is a string, 9 an array."""
STRING, ARRAY = 8, 9
LONGEST_STRING = 2**20
MOST_TENSORS = 100_000
MOST_IN_A_BYTE = 8
"""Weights; no type takes less than a bit and a half of each."""
MOST = {
    "block_count": 2_000,
    "embedding_length": 1_000_000,
    "feed_forward_length": 1_000_000,
    "attention.head_count": 100_000,
    "expert_count": 100_000,
    "vocab_size": 20_000_000,
}
"""Of what a file may say of a model, under its architecture's name."""


@dataclass(frozen=True)
class GgufHeader:
    """A GGUF model in figures."""

    architecture: str
    n_parameters: int
    tokenizer: str = "?"
    """`gpt2` merges bytes, `llama` sentencepiece."""
    split: str = ""
    """How text is cut before bytes are merged; `""` where the file does not say."""
    puts_space: bool = True
    """Whether a sentencepiece vocabulary has a space put before every text."""


def read_gguf_header(file: Path, id: str) -> GgufHeader:
    """Raises InputError for a file that is none, is cut short, or says what no model has."""
    try:
        with file.open("rb") as stream:
            values, shapes, names, last = _walk(stream)
            n_parameters = sum(math.prod(shape) for shape in shapes)
            is_cut = max(stream.tell() + last, n_parameters / MOST_IN_A_BYTE) > file.stat().st_size
    except (OSError, ValueError, struct.error, MemoryError, OverflowError) as error:
        reason = f"{file.name} is not a whole GGUF file"
        raise InputError("model_broken", model=id, reason=reason) from error
    if is_cut:
        raise InputError("model_cut_short", model=id, file=file.name, n=f"{file.stat().st_size:,}")
    architecture = str(values.get("general.architecture", "?"))[:40]
    for name, most in MOST.items():
        value = values.get(f"{architecture}.{name}", 0)
        if isinstance(value, (int, float)) and value > most:
            raise InputError("model_absurd", model=id, name=name, value=f"{value:,}"[:30], most=f"{most:,}")
    _check_blocks(values, names, architecture, id)
    _check_positions(values, names, architecture, id)
    of = {name: values.get(f"tokenizer.ggml.{name}") for name in ("model", "pre", "add_space_prefix")}
    return GgufHeader(
        architecture,
        n_parameters,
        str(of["model"] or "?")[:40],
        str(of["pre"] or "")[:40],
        of["add_space_prefix"] is not False,
    )


def _check_blocks(values: dict[str, object], names: list[str], architecture: str, id: str) -> None:
    """Refuse a file that says another number of blocks than it holds: what is not there would be drawn at random, what is
    not asked for dropped. Raises InputError."""
    held = {int(found[1]): name for name in names if (found := re.match(r"blk\.(\d{1,9})\.", name))}
    described = values.get(f"{architecture}.block_count")
    if held and described == max(held) + 1 == len(held):
        return
    example = held[max(held)][:80] if held else "—"
    shown = f"{described:,}" if isinstance(described, int) else "—"
    raise InputError("model_more_layers", model=id, held=len(held), example=example, described=shown)


def _check_positions(values: dict[str, object], names: list[str], architecture: str, id: str) -> None:
    """Refuse rotary positions that are stretched: what the file says of it is dropped on the way. Raises InputError."""
    stretched = next((name for name in names if name.startswith("rope_")), None)
    if architecture != "gpt-oss":  # there it is carried over
        kind = values.get(f"{architecture}.rope.scaling.type")
        factors = (values.get(f"{architecture}.rope.{name}") for name in ("scaling.factor", "scale_linear"))
        if kind not in (None, "none"):
            stretched = stretched or f"rope.scaling.type = {str(kind)[:40]}"
        elif kind is None and any(factor not in (None, 0, 1) for factor in factors):
            stretched = stretched or "rope.scaling.factor"
    if stretched is not None:
        raise InputError("gguf_positions", model=id, name=stretched)


def _walk(stream: BinaryIO) -> tuple[dict[str, object], list[tuple[int, ...]], list[str], int]:
    """Single values by name, the shape and name of each tensor, and how far behind the header the last tensor begins."""
    if stream.read(4) != b"GGUF":
        raise ValueError("no GGUF file")
    version, n_tensors, n_values = struct.unpack("<IQQ", _read(stream, 20))
    if version not in (2, 3) or n_tensors > MOST_TENSORS or n_values > MOST_TENSORS:
        raise ValueError("another version, or no header at all")
    values: dict[str, object] = {}
    for _ in range(n_values):
        name = _read_string(stream)
        values[name] = _read_value(stream, _read_number(stream, "I"))
    shapes = []
    names = []
    last = 0
    for _ in range(n_tensors):
        names.append(_read_string(stream))
        n_dimensions = _read_number(stream, "I")
        if n_dimensions > 8:
            raise ValueError("a tensor of many dimensions")
        shapes.append(struct.unpack(f"<{n_dimensions}Q", _read(stream, 8 * n_dimensions)))
        _read_number(stream, "I")
        last = max(last, _read_number(stream, "Q"))
    return values, shapes, names, last


def _read_value(stream: BinaryIO, kind: int) -> object:
    """A value; of an array, None: only its length is needed to get past it."""
    if kind == STRING:
        return _read_string(stream)
    if kind != ARRAY:
        return _unpack(stream, FIXED[kind]) if kind in FIXED else _refuse_type(kind)
    of = _read_number(stream, "I")
    n = _read_number(stream, "Q")
    if of == STRING:
        for _ in range(n):  # the vocabulary
            _skip(stream, _read_number(stream, "Q"))
    elif of in FIXED:
        _skip(stream, n * struct.calcsize(f"<{FIXED[of]}"))
    else:
        _refuse_type(of)
    return None


def _refuse_type(kind: int) -> NoReturn:
    raise ValueError(f"value type {kind}")


def _read_string(stream: BinaryIO) -> str:
    length = _read_number(stream, "Q")
    if length > LONGEST_STRING:
        stream.seek(length, 1)  # a chat template, say
        return ""
    return _read(stream, length).decode("utf-8", "replace")


def _read_number(stream: BinaryIO, form: str) -> int:
    return int(_unpack(stream, form))


def _unpack(stream: BinaryIO, form: str) -> int | float:
    number: int | float
    (number,) = struct.unpack(f"<{form}", _read(stream, struct.calcsize(f"<{form}")))
    return number


def _read(stream: BinaryIO, n_bytes: int) -> bytes:
    found = stream.read(n_bytes)
    if len(found) < n_bytes:
        raise ValueError("the file ends in its header")
    return found


def _skip(stream: BinaryIO, n_bytes: int) -> None:
    """Raises ValueError where that much is not there: a seek past the end succeeds."""
    if n_bytes > 2**40:
        raise ValueError("longer than any file")
    stream.seek(n_bytes, 1)
