"""What is to be said of how a tokenizer read a text."""

from __future__ import annotations

from analyzers.common.sentences import Sentence
from analyzers.common.tokens import is_kana, is_unspaced, show_whitespace
from analyzers.models.language_model import LanguageModel
from analyzers.sources.catalog import CATALOG

FEWEST_FOREIGN = 3
"""Characters of a script without spaces, below which nothing is said of them."""
MOST_BROKEN = 0.25
"""Share of them that a model which knows the script may read in pieces: rare characters."""


def note_reading(model: LanguageModel, text: str, ids: list[int]) -> tuple[Sentence, ...]:
    """What is to be said of how a text was read as `ids`: a closing token left out, an opening one that stands there twice,
    characters that the tokenizer drops."""
    opening, closing = model.around
    notes = []
    if closing and model.facts.kind.continues_its_text:
        closed = "".join(model.reader.text_of(id) for id in closing)
        notes.append(Sentence.of("closing_left_out", tokens=closed, model=model.facts.id))
    if opening and tuple(ids[: 2 * len(opening)]) == 2 * opening:
        notes.append(Sentence.of("opening_twice", token="".join(model.reader.text_of(id) for id in opening)))
    dropped = model.find_dropped(text)
    if dropped:
        shown = " ".join(show_whitespace(character) for character in dropped[:16])
        notes.append(Sentence.of("characters_dropped", characters=shown, model=model.facts.id))
    return (*notes, *_note_pieces(model, ids))


def _note_pieces(model: LanguageModel, ids: list[int]) -> tuple[Sentence, ...]:
    """Said where many characters of a script without spaces, such as Japanese, reach the model in pieces only."""
    glyphs = [token for token in model.tokens_of(ids) if token.glyph_start == token.position and not token.special]
    pieces = {token.glyph_start for token in model.tokens_of(ids) if token.glyph_start != token.position}
    foreign = [token for token in glyphs if any(map(is_unspaced, token.glyph_text))]
    n = sum(sum(map(is_unspaced, token.glyph_text)) for token in foreign)
    broken = sum(sum(map(is_unspaced, token.glyph_text)) for token in foreign if token.position in pieces)
    if n < FEWEST_FOREIGN or broken < MOST_BROKEN * n:
        return ()
    said = Sentence.of("characters_in_pieces", n=broken, total=n, model=model.facts.id)
    kana = any(is_kana(character) for token in foreign for character in token.glyph_text)
    better = next((row for row in CATALOG if row.reads_japanese and row.kind is model.facts.kind), None)
    if not kana or better is None:
        return (said,)
    return said, Sentence.of("reads_japanese_better", model=better.label)
