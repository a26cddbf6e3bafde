"""What a model is asked: a text as its ids, what is to be predicted in it, and the words that the user names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from analyzers.common.errors import InputError
from analyzers.common.limits import LIMITS
from analyzers.common.sentences import Sentence
from analyzers.common.settings import Generation
from analyzers.common.tokens import Token
from analyzers.models.language_model import LanguageModel
from analyzers.models.reading_notes import note_reading


@dataclass(frozen=True)
class Prompt:
    """A text as a model reads it, before anything is predicted."""

    text: str
    ids: tuple[int, ...]
    """The text's, less what closes it; a seq2seq model's source, then what its decoder starts from; with a mask where a
    token is hidden."""
    n_source: int = 0
    continuation: tuple[int, ...] | None = None
    """What is scored instead of what the model would write."""
    tokens: tuple[Token, ...] = ()
    """A masked model's, with a mask where one is hidden."""
    masks: tuple[int, ...] = ()
    """Positions that a masked model predicts."""
    answers: Mapping[int, int] = field(default_factory=dict)
    """Ids that were given for them."""
    second: tuple[Token, ...] = ()
    """The text that an encoder compares with."""
    unhidden: tuple[Token, ...] = ()
    """The text's own tokens, where one of them is hidden."""
    notes: tuple[Sentence, ...] = ()
    """How the text was read, where that is not as it was written."""


def read_prompt(model: LanguageModel, text: str, generation: Generation) -> Prompt:
    """The text through the tokenizer, once. No forward of the model.

    Raises InputError for a text that is empty or too long for the model or the limits, and for settings that this kind
    of model does not have.
    """
    kind = model.facts.kind
    ids = model.encode(text)
    if generation.hide is not None and not kind.fills_masks:
        raise InputError("hides_nothing", model=model.facts.id)
    if not kind.writes:
        _check_length(model, len(ids), 0)
        read = _read_masked if kind.fills_masks else _read_compared
        return read(model, text, ids, generation)
    n_source = len(ids) if kind.has_source else 0
    notes = note_reading(model, text, ids)
    ids = [*ids, *model.opening]
    continuation: tuple[int, ...] | None = None
    if generation.target_text is not None:
        if kind.has_source:
            words = model.encode(generation.target_text, name="target_text", opening=False, is_target=True)
        else:
            words = model.encode_word(generation.target_text, "target_text", before=text)
        _check_score(len(words))
        continuation = tuple(words)
    _check_length(model, len(ids), generation.generate if continuation is None else len(continuation))
    return Prompt(text, tuple(ids), n_source, continuation, notes=notes)


def _check_score(n: int) -> None:
    if n > LIMITS.new_tokens:
        raise InputError("too_many_to_score", n=n, limit=LIMITS.new_tokens)


def _check_length(model: LanguageModel, n: int, wanted: int) -> None:
    limit = min(LIMITS.tokens(model.device.type), model.max_positions)
    if n + wanted > limit:
        raise InputError("too_many_tokens", n=n, limit=limit, wanted=wanted)


def _read_masked(model: LanguageModel, text: str, ids: list[int], generation: Generation) -> Prompt:
    """A masked model's text: its masks, or the token that `hide` takes away, or the words of `target_text`."""
    assert model.mask_id is not None
    notes = note_reading(model, text, ids)
    tokens = model.tokens_of(ids, text=text)
    answers: dict[int, int] = {}
    if generation.hide is not None:
        able = [token.position for token in tokens if not token.special]
        if generation.hide not in able:
            raise InputError("cannot_hide", position=generation.hide, model=model.facts.id)
        answers[generation.hide] = ids[generation.hide]
        ids = [model.mask_id if p == generation.hide else id for p, id in enumerate(ids)]
    masks = tuple(p for p, id in enumerate(ids) if id == model.mask_id)
    if len(masks) > LIMITS.new_tokens:
        raise InputError("too_many_masks", n=len(masks), limit=LIMITS.new_tokens)
    if generation.target_text is not None:
        words = _words_for(model, text, tokens, generation)
        if len(words) != len(masks):
            raise InputError("masks_and_words", n=len(words), masks=len(masks))
        answers = dict(zip(masks, words, strict=True))
    mask = model.tokens_of([model.mask_id])[0]
    shown = tuple(
        replace(mask, position=t.position, glyph_start=t.position) if t.position == generation.hide else t
        for t in tokens
    )
    unhidden = () if generation.hide is None else tokens
    return Prompt(text, tuple(ids), tokens=shown, masks=masks, answers=answers, unhidden=unhidden, notes=notes)


def _read_compared(model: LanguageModel, text: str, ids: list[int], generation: Generation) -> Prompt:
    """An encoder's text, and the second one that it is compared with, if any."""
    second: tuple[Token, ...] = ()
    if generation.target_text is not None:
        other = model.encode(generation.target_text, name="target_text")
        _check_length(model, len(other), 0)
        second = model.tokens_of(other, text=generation.target_text)
    return Prompt(text, tuple(ids), second=second, notes=note_reading(model, text, ids))


def _words_for(model: LanguageModel, text: str, tokens: tuple[Token, ...], generation: Generation) -> list[int]:
    """Ids of `target_text` as it would stand where the first mask is, or the hidden token: with the white space that is
    there, which many a mask takes with it."""
    word = generation.target_text or ""
    if generation.hide is not None:
        hidden = tokens[generation.hide].text
        space = hidden[: len(hidden) - len(hidden.lstrip())]
        runs = {token.glyph_start: token.glyph_text for token in tokens[: generation.hide] if not token.special}
        before = "".join(runs.values())
    else:
        before, mask, _ = model.with_mask(text).partition(model.tokenizer.mask_token)
        bare = before.rstrip()
        takes_space = bool(bare) and model.encode(bare + mask) == model.encode(before + mask)
        space = before[len(bare) :] if takes_space else ""
        before = bare if takes_space else before
    return model.encode_word(word if word[:1].isspace() else space + word, "target_text", before=before)


@dataclass(frozen=True)
class NamedToken:
    """What a word that the user wrote resolved to."""

    id: int
    text: str
    note: Sentence | None
    """Said when the word is several tokens and only its first counts, or its other spacing is a token too."""


def resolve_token(model: LanguageModel, word: str, name: str) -> NamedToken:
    """The token a word names, its leading space included: `London`, ` London` and `london` differ.

    A word of several tokens is its first one, and says so; where the other spacing would be one token, it is
    named. Raises InputError for a word that is empty or becomes no token.
    """
    if not word:
        raise InputError("empty_setting", name=name)
    ids = model.encode_word(word, name)
    first = model.reader.text_of(ids[0])
    other = word[1:] if word.startswith(" ") else f" {word}"
    other_ids = model.encode_word(other, name) if other.strip() else []
    is_other = len(other_ids) == 1 and other_ids != ids
    if len(ids) == 1:
        is_chosen = word.startswith(" ")  # with its space the word is what it was meant to be
        values = {"text": word, "id": ids[0], "other": other, "other_id": other_ids[0] if is_other else None}
        note = Sentence.of("token_other_spelling", **values) if is_other and not is_chosen else None
        return NamedToken(ids[0], first, note)
    values = {"text": word, "n": len(ids), "first": first, "id": ids[0]}
    if is_other:
        note = Sentence.of("token_other_spacing", **values, other=other, other_id=other_ids[0])
        return NamedToken(ids[0], first, note)
    return NamedToken(ids[0], first, Sentence.of("token_of_several", **values))
