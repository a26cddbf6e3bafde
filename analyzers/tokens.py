"""Which characters a token stands for. Ids come in, text goes out; nothing is ever tokenised again.

A vocabulary string is not text: byte-level vocabularies spell `café` as `cafÃ©`, and most tokens of a Japanese
sentence are parts of characters. So every id is turned into bytes, and bytes are read as UTF-8 over the
smallest run of neighbours that forms whole characters (a glyph run).
"""

from __future__ import annotations

import codecs
import json
import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Token:
    """One token of a text."""

    position: int
    """0 is the first token."""
    id: int
    text: str
    """Its characters, leading space included; a part of a character is its bytes, as `⟨E6 9D⟩`."""
    special: bool
    glyph_start: int
    """Position of the first token of its glyph run; equal to `position` for most tokens."""
    glyph_text: str
    """The characters that the whole run spells; equal to `text` for a run of one."""
    side: str | None = None
    """`source` or `target` in an encoder-decoder model, else None."""


class TokenReader:
    """Reads ids of one tokenizer (a Hugging Face fast tokenizer) as `Token`s."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self._special = set(tokenizer.all_special_ids)
        self._added = {id: str(added.content) for id, added in tokenizer.added_tokens_decoder.items()}
        self._special |= {id for id, added in tokenizer.added_tokens_decoder.items() if added.special}
        self._steps = _decoder_steps(tokenizer)
        self._kinds = {step["type"] for step in self._steps}
        self.is_word_piece = "WordPiece" in self._kinds
        """Whether the vocabulary marks continuations instead of spaces (BERT)."""

    def read(
        self, ids: Sequence[int], first_position: int = 0, *, spaced: Sequence[bool] | None = None
    ) -> tuple[Token, ...]:
        """Tokens for ids that follow each other. Raises nothing: bytes that are no text are shown as bytes.

        `spaced` says which ids have white space before them, for a vocabulary that cannot know (WordPiece)."""
        spelled: list[tuple[int, bytes | None]] = []
        first = True
        for i, id in enumerate(ids):
            if id in self._special:
                spelled.append((id, None))
                continue
            raw = self.bytes_of(id, first=first)
            if spaced is not None:
                raw = b" " * spaced[i] + raw.removeprefix(b" ")
            spelled.append((id, raw))
            first = False
        tokens: list[Token] = []
        runs = [(run, self._text([spelled[i] for i in run])) for run in _glyph_runs([raw for _, raw in spelled])]
        for run, glyph_text in _joined_graphemes(runs, {i for i, (_, raw) in enumerate(spelled) if raw is None}):
            start = first_position + run[0]
            for i in run:
                text = self._text([spelled[i]])
                tokens.append(Token(first_position + i, spelled[i][0], text, spelled[i][1] is None, start, glyph_text))
        return tuple(tokens)

    def text_of(self, id: int) -> str:
        """The characters of one id as it stands inside a text: a leading space is kept, whatever opens a text."""
        return self._text([(id, None if id in self._special else self.bytes_of(id))])

    def _text(self, spelled: Sequence[tuple[int, bytes | None]]) -> str:
        if len(spelled) == 1 and spelled[0][1] is None:
            id = spelled[0][0]
            return self._added.get(id) or str(self._tokenizer.convert_ids_to_tokens(id))
        return readable(b"".join(raw or b"" for _, raw in spelled))

    def bytes_of(self, id: int, *, first: bool = False) -> bytes:
        """The bytes an id stands for; `first` where it opens the text (some tokenizers add a space there)."""
        if id in self._added:
            return self._added[id].encode()
        piece = self._tokenizer.convert_ids_to_tokens(int(id))
        if piece is None:  # a row of the embedding matrix beyond the tokenizer's vocabulary
            return f"⟨unused {id}⟩".encode()
        if "ByteLevel" in self._kinds:
            return bytes(_BYTE_OF[c] for c in piece) if all(c in _BYTE_OF for c in piece) else piece.encode()
        if "ByteFallback" in self._kinds and len(piece) == 6 and piece.startswith("<0x") and piece.endswith(">"):
            return bytes([int(piece[3:5], 16)])
        for step in self._steps:
            if step["type"] == "Metaspace":
                piece = piece.replace(step["replacement"], " ")
                if first and step.get("prepend_scheme", "always") != "never":
                    piece = piece.removeprefix(" ")
            elif step["type"] == "Replace" and "String" in step["pattern"]:
                piece = piece.replace(step["pattern"]["String"], step["content"])
            elif step["type"] == "Strip" and first and step.get("start"):
                piece = piece.removeprefix(step["content"])
            elif step["type"] == "WordPiece":
                piece = (
                    piece.removeprefix(step["prefix"])
                    if piece.startswith(step["prefix"])
                    else " " * (not first) + piece
                )
        return str(piece).encode()


_BYTES = re.compile(r"(⟨[0-9A-F]{2}(?: [0-9A-F]{2})*⟩)")


def readable(raw: bytes) -> str:
    """UTF-8 as text, every byte that is part of no whole character in hex: `b" \\xe6\\x9d"` → `" ⟨E6 9D⟩"`."""
    pieces: list[str] = []
    while raw:
        try:
            pieces.append(raw.decode())
            break
        except UnicodeDecodeError as error:
            good, bad, raw = raw[: error.start], raw[error.start : error.end], raw[error.end :]
            if good or not pieces or not pieces[-1].startswith("⟨"):
                pieces.append(good.decode())
                pieces.append(f"⟨{bad.hex(' ').upper()}⟩")
            else:
                pieces[-1] = f"{pieces[-1][:-1]} {bad.hex(' ').upper()}⟩"
    return "".join(pieces)


def visible(text: str) -> str:
    """White space that can be seen: `·` space, `↵` newline, `⇥` tab, `⍽` non-breaking space; control characters as `⟨00⟩`."""
    shown = {" ": "·", "\n": "↵", "\t": "⇥", "\u00a0": "⍽", "\r": "␍", "\u3000": "□"}
    if _BYTES.search(text):  # the space between the bytes of a part of a character is ours, not the text's
        pieces = _BYTES.split(text)
        return "".join(piece if i % 2 else visible(piece) for i, piece in enumerate(pieces))
    out = []
    for character in text:
        if character in shown:
            out.append(shown[character])
        elif unicodedata.category(character) in ("Cc", "Cf", "Zl", "Zp") and character not in "\u200d\ufe0f":
            out.append(f"⟨{ord(character):02X}⟩")
        else:
            out.append(character)
    return "".join(out)


def named(token: Token) -> str:
    """A token as a label: its visible text, and for a part of a character the character too: `東⟨E6 9D⟩`."""
    own = visible(token.text)
    if token.special or token.text == token.glyph_text:
        return own
    return f"{visible(token.glyph_text)}{own.removeprefix('·')}"


def word_numbers(tokens: Sequence[Token]) -> tuple[int, ...]:
    """Which word each token belongs to, counted from 0: `He·ath·row airport` → 0 0 0 1.

    A word starts at white space; punctuation and special tokens stand alone; a script written without spaces
    (Chinese, Japanese, Thai) has no such border, so there each run of whole characters is its own word.
    """
    numbers: list[int] = []
    current = -1
    previous: Token | None = None
    for token in tokens:
        joined = (
            previous is not None
            and not token.special
            and not previous.special
            and (
                token.glyph_start == previous.glyph_start
                or (
                    not token.glyph_text[:1].isspace()
                    and _is_spaced_word(token.glyph_text)
                    and _is_spaced_word(previous.glyph_text.strip())
                )
            )
        )
        current += not joined
        numbers.append(current)
        previous = token
    return tuple(numbers)


def _is_spaced_word(text: str) -> bool:
    return bool(text) and all(
        (c.isalnum() or c in "'’_" or unicodedata.combining(c)) and not _is_unspaced(c) for c in text
    )


def _is_unspaced(character: str) -> bool:
    point = ord(character)
    return 0x0E00 <= point <= 0x0EFF or 0x3040 <= point <= 0x30FF or 0x3400 <= point <= 0x9FFF or point >= 0x20000


def _glyph_runs(spelled: Sequence[bytes | None]) -> Iterable[list[int]]:
    """Indices grouped so that the bytes of each group are whole characters, where that can be had."""
    reader = codecs.getincrementaldecoder("utf-8")("strict")
    run: list[int] = []
    for i, raw in enumerate(spelled):
        if raw is None:
            yield from ([j] for j in run)  # a character that never ended
            run = []
            reader.reset()
            yield [i]
            continue
        try:
            reader.decode(raw)
        except UnicodeDecodeError:
            yield from ([j] for j in run)
            run = []
            reader.reset()
            try:
                reader.decode(raw)
            except UnicodeDecodeError:
                reader.reset()
                yield [i]
                continue
        run.append(i)
        if not reader.getstate()[0]:
            yield run
            run = []
    yield from ([j] for j in run)


def _joined_graphemes(runs: Sequence[tuple[list[int], str]], special: set[int]) -> list[tuple[list[int], str]]:
    """Runs that a reader sees as one picture made one run: joined emoji, flags, marks above a letter (16 ids at most).
    A special token stands alone."""
    joined: list[tuple[list[int], str]] = []
    for run, text in runs:
        if (
            joined
            and text
            and joined[-1][1]
            and len(joined[-1][0]) + len(run) <= 16
            and special.isdisjoint((joined[-1][0][-1], run[0]))
        ):
            before, after = joined[-1][1], text[0]
            extends = (
                unicodedata.combining(after) != 0
                or after in "\u200d\ufe0f\ufe0e"
                or "\U0001f3fb" <= after <= "\U0001f3ff"
            )
            flags = sum("\U0001f1e6" <= c <= "\U0001f1ff" for c in before)
            closes_flag = "\U0001f1e6" <= after <= "\U0001f1ff" and flags % 2 == 1
            if extends or before[-1] == "\u200d" or closes_flag:
                joined[-1] = (joined[-1][0] + run, before + text)
                continue
        joined.append((run, text))
    return joined


def _decoder_steps(tokenizer: Any) -> list[dict[str, Any]]:
    decoder = getattr(getattr(tokenizer, "backend_tokenizer", None), "decoder", None)
    if decoder is None:
        return []
    state = json.loads(decoder.__getstate__())
    return list(state["decoders"]) if state["type"] == "Sequence" else [state]


def _byte_level_alphabet() -> dict[str, int]:
    """The printable character that stands for each byte in byte-level vocabularies (Radford et al. 2019)."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printable]
    return {chr(b): b for b in printable} | {chr(256 + i): b for i, b in enumerate(others)}


_BYTE_OF = _byte_level_alphabet()
