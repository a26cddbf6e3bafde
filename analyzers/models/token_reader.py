"""Which characters a token stands for. Ids come in, text goes out; nothing is ever tokenised again.

Most tokens of a Japanese sentence are parts of characters. So every id is spelled as bytes (`spelling`), and bytes are
read as UTF-8 over the smallest run of neighbours that forms whole characters (a glyph run).
"""

from __future__ import annotations

import codecs
import unicodedata
from collections.abc import Iterable, Sequence

from analyzers.common.tokens import Token, decode_utf8, is_unspaced
from analyzers.models.library import Tokenizer
from analyzers.models.spelling import Speller


class TokenReader:
    """Reads ids of one tokenizer as `Token`s."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._speller = Speller(tokenizer)
        added = tokenizer.added_tokens_decoder
        self._names = {id: str(token.content) for id, token in added.items()}
        self._special = {*tokenizer.all_special_ids, *(id for id, token in added.items() if token.special)}
        self.is_word_piece = self._speller.is_word_piece
        """Whether the vocabulary marks continuations instead of spaces (BERT)."""

    def tokens_of(
        self, ids: Sequence[int], first_position: int = 0, *, spaced: Sequence[bool] | None = None
    ) -> tuple[Token, ...]:
        """Tokens for ids that follow each other. Raises nothing: bytes that are no text are shown as bytes.

        The glyphs of all but special tokens are, joined, the tokenizer's own decoding of them. Where a vocabulary does not
        know white space (WordPiece), `spaced` says which of the first ids have some before them; after those, none stands
        between two characters of a script without spaces."""
        plain = [i for i, id in enumerate(ids) if id not in self._special]
        spelled: list[bytes | None] = [None] * len(ids)
        before = ""
        for i, raw in zip(plain, self._speller.spell([ids[i] for i in plain]), strict=True):
            bare = raw.removeprefix(b" ")
            if spaced is not None and i < len(spaced):
                raw = b" " * spaced[i] + bare
            elif self.is_word_piece and is_unspaced(before[-1:]) and is_unspaced(decode_utf8(bare)[:1]):
                raw = bare
            spelled[i], before = raw, decode_utf8(raw)
        tokens: list[Token] = []
        runs = [(run, self._text(run, ids, spelled)) for run in _glyph_runs(spelled)]
        for run, glyph_text in _join_graphemes(runs, {i for i, raw in enumerate(spelled) if raw is None}):
            start = first_position + run[0]
            for i in run:
                text = self._text([i], ids, spelled)
                tokens.append(Token(first_position + i, ids[i], text, spelled[i] is None, start, glyph_text))
        return tuple(tokens)

    def find_spaces(self, text: str) -> list[bool] | None:
        """Before which tokens of a text white space stands, as far as its tokens can be found in it; None for a vocabulary
        that says so itself."""
        if not self.is_word_piece:
            return None
        if self._tokenizer.is_fast:
            offsets = self._tokenizer(text, return_offsets_mapping=True).offset_mapping
            return [start > 0 and text[start - 1].isspace() for start, _ in offsets]
        spaced: list[bool] = []
        place = 0
        for token in self.tokens_of(self._tokenizer(text).input_ids):
            rest, bare = text[place:].lstrip(), token.text.strip()
            if rest.casefold().startswith(bare.casefold()):
                spaced.append(place > 0 and len(rest) < len(text) - place)
                place = len(text) - len(rest) + len(bare)
            elif token.special:
                spaced.append(False)
            else:  # a token that is spelled otherwise than the text: from here on as the tokenizer decodes
                break
        return spaced

    def text_of(self, id: int) -> str:
        """The characters of one id as it stands inside a text: a leading space is kept, whatever opens a text."""
        return self._name(id) if id in self._special else decode_utf8(self._speller.inside(id))

    def _text(self, run: Sequence[int], ids: Sequence[int], spelled: Sequence[bytes | None]) -> str:
        if len(run) == 1 and spelled[run[0]] is None:
            return self._name(ids[run[0]])
        return decode_utf8(b"".join(spelled[i] or b"" for i in run))

    def _name(self, id: int) -> str:
        return self._names.get(id) or str(self._tokenizer.convert_ids_to_tokens(id))


def _glyph_runs(spelled: Sequence[bytes | None]) -> Iterable[list[int]]:
    """Indices grouped so that the bytes of each group are whole characters, where that can be had."""
    reader = codecs.getincrementaldecoder("utf-8")("replace")
    run: list[int] = []
    for i, raw in enumerate(spelled):
        if run and (raw is None or not _continues(reader.getstate()[0], raw)):
            yield from _part(run, spelled)  # a character that never ended
            run = []
            reader.reset()
        if raw is None:
            yield [i]
            continue
        run.append(i)
        reader.decode(raw)
        if not reader.getstate()[0]:
            yield run
            run = []
    yield from _part(run, spelled)


def _continues(part: bytes, raw: bytes) -> bool:
    """Whether a part of a character goes on with the first of these bytes."""
    for n in range(1, min(4, len(raw)) + 1):
        try:
            (part + raw[:n]).decode()
            return True
        except UnicodeDecodeError as error:
            if error.reason != "unexpected end of data":
                return False
    return True


def _part(run: list[int], spelled: Sequence[bytes | None]) -> Iterable[list[int]]:
    """A run whose last character never ended: in one where it holds others that need all of it, else each by itself."""
    whole = b"".join(spelled[i] or b"" for i in run).decode(errors="ignore")
    alone = "".join((spelled[i] or b"").decode(errors="ignore") for i in run)
    return [run] if run and whole != alone else ([i] for i in run)


def _join_graphemes(runs: Sequence[tuple[list[int], str]], special: set[int]) -> list[tuple[list[int], str]]:
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
