"""GGUF files broken, odd, or made to crash, hang or fill the memory: a name, and what is done to a good one's bytes.

A file is `GGUF`, a version (u32), the numbers of tensors and of values (u64 each), the values (name, type, value), the
tensors (name, dimensions, type, place), and the weights.
"""

from __future__ import annotations

import struct
from collections.abc import Callable

Edit = Callable[[bytes], bytes]
STRING, ARRAY = 8, 9
STARTS = {"version": (4, "<I"), "tensors": (8, "<Q"), "values": (16, "<Q")}


def put(place: int, new: bytes) -> Edit:
    return lambda whole: whole[:place] + new + whole[place + len(new) :]


def start(name: str, value: int) -> Edit:
    place, form = STARTS[name]
    return put(place, struct.pack(form, value))


def text(value: str) -> bytes:
    return struct.pack("<Q", len(value.encode())) + value.encode()


def _after(whole: bytes, key: str) -> int:
    """Where the value's type stands."""
    return whole.index(text(key)) + len(text(key))


def number(key: str, value: int) -> Edit:
    """Instead of a u32."""

    def edit(whole: bytes) -> bytes:
        place = _after(whole, key) + 4
        return whole[:place] + struct.pack("<I", value) + whole[place + 4 :]

    return edit


def words(key: str, value: str) -> Edit:
    """Instead of a string; what comes after it moves, and the weights with it, by a multiple of their alignment."""

    def edit(whole: bytes) -> bytes:
        place = _after(whole, key) + 4
        (length,) = struct.unpack_from("<Q", whole, place)
        return whole[:place] + text(value) + whole[place + 8 + length :]

    return edit


def kind(key: str, value: int) -> Edit:
    """Another type for the same bytes."""
    return lambda whole: put(_after(whole, key), struct.pack("<I", value))(whole)


def count(key: str, value: int, *, of: int | None = None) -> Edit:
    """Another length, and type, of a list."""

    def edit(whole: bytes) -> bytes:
        place = _after(whole, key) + 4
        return put(place, struct.pack("<I", STRING if of is None else of) + struct.pack("<Q", value))(whole)

    return edit


def renamed(key: str, new: str) -> Edit:
    assert len(key.encode()) == len(new.encode())
    return lambda whole: whole.replace(text(key), text(new))


def tensor(name: str, dimension: int | None = None, kind: int | None = None, place: int | None = None) -> Edit:
    """Another first dimension, type or place of a tensor of two dimensions."""

    def edit(whole: bytes) -> bytes:
        at = whole.index(text(name)) + len(text(name)) + 4
        for value, form, offset in ((dimension, "<Q", 0), (kind, "<I", 16), (place, "<Q", 20)):
            if value is not None:
                whole = put(at + offset, struct.pack(form, value))(whole)
        return whole

    return edit


def last_weight(value: float) -> Edit:
    """Instead of the last number of all."""
    return lambda whole: whole[:-4] + struct.pack("<f", value)


FIRST = "blk.0.attn_q.weight"
ODD_GGUFS: dict[str, Edit] = {
    "nothing": lambda whole: b"",
    "zeros": lambda whole: bytes(4_096),
    "no-magic": put(0, b"GGML"),
    "pickle": lambda whole: b"\x80\x04" + whole,
    "repeated": lambda whole: whole[:24] * 50,
    **{f"cut-{share}": lambda whole, share=share: whole[: len(whole) * share // 100] for share in (1, 5, 20, 50, 90)},
    "cut-last-byte": lambda whole: whole[:-1],
    "version-0": start("version", 0),
    "version-1": start("version", 1),
    "version-99": start("version", 99),
    "other-order": start("version", 0x03000000),
    "tensors-huge": start("tensors", 2**60),
    "tensors-none": start("tensors", 0),
    "tensors-fewer": start("tensors", 3),
    "values-huge": start("values", 2**60),
    "values-none": start("values", 0),
    "value-type": kind("llama.block_count", 99),
    "value-list": kind("llama.block_count", ARRAY),
    "name-is-number": kind("general.architecture", 4),
    "vocabulary-huge": count("tokenizer.ggml.tokens", 2**62),
    "vocabulary-short": count("tokenizer.ggml.tokens", 3),
    "vocabulary-of-lists": count("tokenizer.ggml.tokens", 3, of=ARRAY),
    "vocabulary-of-numbers": count("tokenizer.ggml.tokens", 3, of=10),
    "types-huge": count("tokenizer.ggml.token_type", 2**40, of=5),
    "merges-huge": count("tokenizer.ggml.merges", 2**50),
    "architecture-unknown": words("general.architecture", "sphin"),
    "architecture-script": words("general.architecture", "<svg onload=alert(1)>"),
    "architecture-of-pictures": words("general.architecture", "clip"),
    "vocabulary-missing": renamed("tokenizer.ggml.tokens", "tokenizer.ggml.tokenz"),
    "merges-missing": renamed("tokenizer.ggml.merges", "tokenizer.ggml.mergez"),
    "tokenizer-unknown": words("tokenizer.ggml.model", "rwkv7"),
    "tokenizer-none": renamed("tokenizer.ggml.model", "tokenizer.ggml.modem"),
    "split-unknown": words("tokenizer.ggml.pre", "sphinx"),
    **{f"blocks-{n}": number("llama.block_count", n) for n in (0, 1, 1_999, 2**32 - 1)},
    **{f"heads-{n}": number("llama.attention.head_count", n) for n in (0, 3, 99_999)},
    **{f"heads-kv-{n}": number("llama.attention.head_count_kv", n) for n in (0, 3, 5_000)},
    **{f"width-{n}": number("llama.embedding_length", n) for n in (0, 7, 900_000, 2**31)},
    **{f"inner-{n}": number("llama.feed_forward_length", n) for n in (0, 999_999)},
    **{f"words-{n}": number("llama.vocab_size", n) for n in (0, 19_000_000)},
    **{f"positions-{n}": number("llama.context_length", n) for n in (0, 2**32 - 1)},
    "end-beyond": number("tokenizer.ggml.eos_token_id", 2**31),
    "tensor-huge": tensor(FIRST, dimension=2**62),
    "tensor-zero": tensor(FIRST, dimension=0),
    "tensor-other-shape": tensor(FIRST, dimension=31),
    "tensor-type-unknown": tensor(FIRST, kind=250),
    "tensor-type-quantized": tensor(FIRST, kind=12),
    "tensor-beyond": tensor(FIRST, place=2**50),
    "tensor-askew": tensor(FIRST, place=3),
    "tensor-renamed": renamed(FIRST, "blk.0.attn_z.weight"),
    "tensor-twice": renamed(FIRST, "blk.1.attn_q.weight"),
    "nan": last_weight(float("nan")),
    "infinite": last_weight(float("-inf")),
}
