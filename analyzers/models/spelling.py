"""What bytes a tokenizer's ids stand for: its own decoder's steps, asked a token at a time.

A vocabulary string is not text: byte-level vocabularies spell `café` as `cafÃ©`, sentencepiece marks a space by `▁`, BPE
ends a word by `</w>`, WordPiece goes on with `##`. Which of these a tokenizer does stands in its decoder, whose steps
the library itself takes here, so that no mark is guessed. A Python tokenizer has one function from tokens to text.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from tokenizers import decoders

from analyzers.models.library import Tokenizer

WINDOW = 8
"""How many tokens before one a Python tokenizer is shown with it."""
STEPS = ("Replace", "Metaspace", "WordPiece", "BPEDecoder", "Strip", "CTC")
"""What may change a piece as text; bytes are told apart after them."""


class Speller:
    """Spells the ids of one tokenizer. Joined, what it gives is the tokenizer's own decoding, as UTF-8."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._added = {id: str(added.content) for id, added in tokenizer.added_tokens_decoder.items()}
        backend = getattr(tokenizer, "backend_tokenizer", None)
        self._is_python = backend is None
        self._decoder = None if backend is None else backend.decoder
        self._steps = _steps_of(self._decoder)
        self._is_of_bytes = self._is_python and self._join(["Ã", "©"]) == "é"
        goes_on = self._is_python and not self._is_of_bytes and self._join(["x", "##y"]) == "xy"
        self.is_word_piece = "WordPiece" in {kind for kind, _, _ in self._steps} or goes_on
        """Whether the vocabulary marks continuations instead of spaces (BERT)."""
        self._spelled = lru_cache(maxsize=2**16)(self._spell)

    def spell(self, ids: Sequence[int]) -> list[bytes]:
        """The bytes of each of the ids of a text, special tokens left out; each in its place: what opens a text may lose
        a space, what ends it one that stands after a word."""
        if self._is_python and not self._is_of_bytes:
            return self._in_windows(ids)
        last = len(ids) - 1
        return [self._spelled(int(id), i == 0, i == last) for i, id in enumerate(ids)]

    def inside(self, id: int) -> bytes:
        """The bytes of one id as it stands inside a text."""
        if self._is_python and not self._is_of_bytes:
            piece = self._piece(id)
            return self._added.get(id, self._join(["x", piece]).removeprefix("x")).encode()
        return self._spelled(int(id), False, False)

    def _piece(self, id: int) -> str:
        if id in self._added:
            return self._added[id]
        piece = self._tokenizer.convert_ids_to_tokens(int(id))
        return f"⟨unused {id}⟩" if piece is None else str(piece)  # a row of the embedding beyond the vocabulary

    def _spell(self, id: int, first: bool, last: bool) -> bytes:
        piece = self._piece(id)
        if self._is_of_bytes:
            is_byte = len(piece) == 1 and ord(piece) < 256 and id not in self._added
            return bytes([ord(piece)]) if is_byte else piece.encode()
        if piece.startswith("⟨unused ") and id not in self._added:
            return piece.encode()
        if self._decoder is None:  # the library joins such tokens by spaces
            return (" " * (not first) + piece).encode()
        for kind, decoder, step in self._steps:
            if kind == "Fused Strip":
                for side, ends in (("start", first), ("stop", last)):
                    for _ in range(step[side] * ends):
                        cut = piece.removeprefix if side == "start" else piece.removesuffix
                        piece = cut(step["content"])
            elif kind == "Metaspace":
                piece = decoder.decode([piece]) if first else decoder.decode(["x", piece])[1:]
            elif kind == "WordPiece":
                prefix = step["prefix"]
                piece = piece.removeprefix(prefix) if first else decoder.decode(["x", piece])[1:]
            elif kind == "BPEDecoder":
                piece = decoder.decode([piece]) if last else decoder.decode([piece, "x"])[:-1]
            elif kind in STEPS:
                piece = decoder.decode([piece])
            elif kind == "ByteLevel" and id not in self._added:
                return bytes(_BYTE_OF[c] for c in piece) if all(c in _BYTE_OF for c in piece) else piece.encode()
            elif kind == "ByteFallback" and _is_byte(piece):
                return bytes([int(piece[3:5], 16)])
        return piece.encode()

    def _in_windows(self, ids: Sequence[int]) -> list[bytes]:
        """What each token adds to the text of those shortly before it."""
        pieces = [self._piece(id) for id in ids]
        spelled = []
        for i in range(len(pieces)):
            before = pieces[max(0, i - WINDOW) : i]
            text, whole = self._join(before), self._join([*before, pieces[i]])
            shared = next((n for n, (a, b) in enumerate(zip(text, whole, strict=False)) if a != b), len(text))
            spelled.append(whole[min(shared, len(whole)) :].encode())
        return spelled

    def _join(self, pieces: list[str]) -> str:
        return str(self._tokenizer.convert_tokens_to_string(pieces)) if pieces else ""


def _steps_of(decoder: Any) -> list[tuple[str, Any, dict[str, Any]]]:
    """Kind of step, the library's own decoder of that step alone, and its settings; sequences laid flat."""
    if decoder is None:
        return []
    steps: list[tuple[str, Any, dict[str, Any]]] = []
    waiting = [json.loads(decoder.__getstate__())]
    is_fused = False
    while waiting:
        step = waiting.pop(0)
        if step["type"] == "Sequence":
            waiting = [*step["decoders"], *waiting]
            continue
        alone = decoders.Fuse()
        alone.__setstate__(json.dumps(step).encode())
        is_fused = is_fused or step["type"] == "Fuse"
        kind = "Fused Strip" if is_fused and step["type"] == "Strip" else step["type"]
        steps.append((kind, alone, step))
    return steps


def _is_byte(piece: str) -> bool:
    if len(piece) != 6 or not (piece.startswith("<0x") and piece.endswith(">")):
        return False
    return all(c in "0123456789abcdefABCDEF" for c in piece[3:5])


def _byte_level_alphabet() -> dict[str, int]:
    """The printable character that stands for each byte in byte-level vocabularies (Radford et al. 2019)."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printable]
    return {chr(b): b for b in printable} | {chr(256 + i): b for i, b in enumerate(others)}


_BYTE_OF = _byte_level_alphabet()
