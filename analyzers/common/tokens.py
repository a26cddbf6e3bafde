"""A token, and how its text is shown: white space and bytes that can be seen, words, labels."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass


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


SPACE = "␣"
"""A space that can be seen. The middle dot is left to what separates the parts of a line."""

SPACES = {" ": SPACE, "\n": "↵", "\t": "⇥", "\u00a0": "⍽", "\r": "␍", "\u3000": "□"}
"""How each kind of white space is shown."""

_BYTES = re.compile(r"(⟨[0-9A-F]{2}(?: [0-9A-F]{2})*⟩)")


def decode_utf8(raw: bytes) -> str:
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


def is_spelled(text: str) -> bool:
    """Whether what `decode_utf8` gave holds whole characters alone."""
    return _BYTES.search(text) is None


def show_whitespace(text: str) -> str:
    """White space that can be seen: `␣` space, `↵` newline, `⇥` tab, `⍽` non-breaking space; control characters as `⟨00⟩`."""
    if _BYTES.search(text):  # the space between the bytes of a part of a character is ours, not the text's
        pieces = _BYTES.split(text)
        return "".join(piece if i % 2 else show_whitespace(piece) for i, piece in enumerate(pieces))
    out = []
    for character in text:
        if character in SPACES:
            out.append(SPACES[character])
        elif unicodedata.category(character) in ("Cc", "Cf", "Zl", "Zp") and character not in "\u200d\ufe0f":
            out.append(f"⟨{ord(character):02X}⟩")
        else:
            out.append(character)
    return "".join(out)


def label_token(token: Token) -> str:
    """A token as a label: its visible text, and for a part of a character the character too: `東⟨E6 9D⟩`."""
    own = show_whitespace(token.text)
    if token.special or token.text == token.glyph_text:
        return own
    return f"{show_whitespace(token.glyph_text)}{own.removeprefix(SPACE)}"


def label_group(tokens: Sequence[Token]) -> str:
    """Tokens that stand for one thing, such as a word, as one label."""
    if len(tokens) == 1:
        return label_token(tokens[0])
    return show_whitespace("".join(token.glyph_text for token in tokens if token.glyph_start == token.position))


def word_numbers(tokens: Sequence[Token]) -> tuple[int, ...]:
    """Which word each token belongs to, counted from 0: `He|ath|row| airport` → 0 0 0 1.

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
                    and not previous.glyph_text[-1:].isspace()
                    and _is_spaced_word(token.glyph_text)
                    and _is_spaced_word(previous.glyph_text.strip())
                )
            )
        )
        current += not joined
        numbers.append(current)
        previous = token
    return tuple(numbers)


def group_by_word(tokens: Sequence[Token]) -> list[list[int]]:
    """Positions of the tokens of each word."""
    groups: dict[int, list[int]] = {}
    for token, number in zip(tokens, word_numbers(tokens), strict=True):
        groups.setdefault(number, []).append(token.position)
    return list(groups.values())


def _is_spaced_word(text: str) -> bool:
    return bool(text) and all(
        (c.isalnum() or c in "'’_" or unicodedata.combining(c)) and not is_unspaced(c) for c in text
    )


def is_kana(character: str) -> bool:
    """Whether a character is of the Japanese syllabaries."""
    return "\u3041" <= character <= "\u30ff"


def is_unspaced(character: str) -> bool:
    """Whether a character is of a script that is written without spaces (Chinese, Japanese, Thai, Lao)."""
    point = ord(character) if character else 0
    return 0x0E00 <= point <= 0x0EFF or 0x3040 <= point <= 0x30FF or 0x3400 <= point <= 0x9FFF or point >= 0x20000
