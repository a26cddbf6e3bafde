"""The hover strip's value: the text in glyphs, and one row of numbers per explained token. No HTML."""

from __future__ import annotations

import base64
from collections.abc import Collection, Mapping, Sequence

import numpy as np

from analyzers.common.languages import Language
from analyzers.common.tokens import (
    SPACE,
    SPACES,
    Token,
    group_by_word,
    label_group,
    label_token,
    show_whitespace,
    word_numbers,
)
from analyzers.map_comparison import MapComparison
from analyzers.models.completion import Completion
from analyzers.saliency import Saliency
from ui.texts import quote, say
from ui.values import Value


def strip_value(result: Saliency, language: Language, pinned: int | None, *, beside: Saliency | None = None) -> Value:
    """What the strip draws. `matrix` is (explained, position) float32, base64, little-endian: signed shares −1 to 1,
    or signed scores divided by `scale`. Where another map is shown `beside` it, colours mean the same in both."""
    if result.shares is not None:
        numbers, scale = result.shares * result.signs, 1.0
    else:
        both = (result,) if beside is None else (result, beside)
        scale = max(float(np.abs(one.scores).max()) for one in both) or 1.0
        numbers = result.scores / scale
    is_joined = any(len(group) > 1 for group in result.groups)
    return {
        "glyphs": draw_glyphs(
            result.tokens,
            result.explained_tokens,
            language,
            written=[token.position for token in result.explained_tokens],
            groups=result.groups if is_joined else (),
        ),
        "is_joined": is_joined,
        "is_compared": beside is not None,
        "word_of": list(word_numbers(result.tokens)),
        "word_names": name_words(result.tokens, language),
        "names": label_tokens(result.tokens, result.explained_tokens),
        "explained": list(result.explained),
        "values": [float(value) for value in result.values],
        "width": int(numbers.shape[1]),
        "matrix": pack_float32(numbers),
        "hidden": None if result.hidden_values is None else pack_float32(result.hidden_values),
        "scale": scale,
        "is_share": result.shares is not None,
        "is_percent": result.objective == "probability",
        "is_signed": result.is_signed,
        "seen": [list(seen) for seen in result.seen],
        "pinned": pinned,
        "words": {
            "label": say("strip_label", language),
            "quoted": say("quoted", language),
            "help": say("strip_help", language),
            "legend": say("legend_share" if result.shares is not None else "legend_score", language),
            "for": say("legend_for", language),
            "against": say("legend_against", language),
            "target": objective_name(result, language),
            "fixed": say("strip_fixed", language),
            "output": say("reading_output", language),
            "finding": say("reading_finding", language),
            "flat": say("reading_flat", language),
            "share": say("reading_share", language),
            "score": say("reading_score", language),
            "hidden": say("reading_hidden", language),
        },
    }


def build_reading_strip(
    tokens: Sequence[Token],
    readings: Mapping[int, str],
    language: Language,
    *,
    pinned: int | None,
    answers: Sequence[Token] = (),
    written: Collection[int] = (),
    fills: Mapping[int, float] | None = None,
    legend: Sequence[tuple[str, float]] = (),
    legend_title: str = "",
    next_token: bool = False,
) -> Value:
    """A strip whose colours stay: each position of `readings` can be chosen, and says its line when it is looked at.

    `fills` are −1 to 1 per position; `legend` is (label, fill). With `next_token` a place for the token that was not
    written stands at the end."""
    drawn = draw_glyphs(tokens, answers, language, written=written)
    if next_token:
        n = len(tokens)
        drawn.append({"text": say("strip_next", language), "parts": [n], "special": True, "breaks": 0, "starts": True})
    return {
        "glyphs": drawn,
        "names": label_tokens(tokens, answers) + [say("strip_next", language)] * next_token,
        "explained": sorted(readings),
        "readings": {str(position): line for position, line in readings.items()},
        "fills": {str(position): fill for position, fill in (fills or {}).items()},
        "legend": [{"label": label, "fill": fill} for label, fill in legend],
        "pinned": pinned,
        "words": {
            "label": say("strip_label", language),
            "quoted": say("quoted", language),
            "help": say("strip_choose", language),
            "legend": legend_title,
        },
    }


def position_readings(completion: Completion, language: Language) -> dict[int, str]:
    """A line for every position that can be read, a token that was not written included."""
    called = [*label_tokens(completion.tokens, completion.answers), say("strip_next", language)]
    return {
        position: position_reading(called[position], position, completion.offset, language)
        for position in completion.predictable_positions
    }


def position_reading(name: str, position: int, offset: int, language: Language) -> str:
    """Which token it is, and where it is read."""
    key = "reading_position" if offset else "reading_own_position"
    return say(key, language, token=quote(name, language), position=position, before=position - offset)


def label_tokens(tokens: Sequence[Token], answers: Sequence[Token]) -> list[str]:
    """Each token as a label; at a hidden position what is said there, after the last one the similarity of two texts."""
    at = {token.position: token for token in answers}
    labels = [label_token(at.pop(token.position, token)) for token in tokens]
    return labels + [label_token(token) for token in at.values()]


def name_words(tokens: Sequence[Token], language: Language) -> list[str]:
    """Each word of a text as it is spoken of, without the space before it."""
    names = [label_group([tokens[position] for position in group]) for group in group_by_word(tokens)]
    return [quote(name.removeprefix(SPACE) or name, language) for name in names]


def draw_glyphs(
    tokens: Sequence[Token],
    answers: Sequence[Token],
    language: Language,
    *,
    written: Collection[int] = (),
    groups: Sequence[Sequence[int]] = (),
) -> list[Value]:
    """What is drawn, in order: each run of tokens that share characters, and each of `groups`, once, with the positions
    of its parts. A hidden token is a chip with what is said there; a source and a target are named and stand apart; what
    the model wrote, `written`, is framed."""
    at = {token.position: token for token in answers}
    words = word_numbers(tokens)
    group_of = {position: group[0] for group in groups for position in group}
    drawn: list[Value] = []
    side: str | None = None
    for token in (*tokens, *(token for token in answers if token.position >= len(tokens))):
        answer = at.get(token.position, token)
        last = drawn[-1]["parts"] if drawn else []
        shown = show_whitespace(token.text if token.special else token.glyph_text)
        if last and side == token.side and last[0] == token.glyph_start:
            last.append(token.position)
            continue
        if last and group_of.get(token.position, token.position) == group_of.get(last[0]):
            if token.glyph_start == token.position:
                drawn[-1]["text"] += shown
            last.append(token.position)
            continue
        text = shown
        if answer.id != token.id:
            text += f" → {show_whitespace(answer.text)}"
        glyph = {
            "text": text,
            "parts": [token.position],
            "special": token.special,
            "breaks": (0 if token.special else token.glyph_text.count("\n")),
            "starts": token.special or token.glyph_text[:1].isspace() or token.position == 0,
            "written": token.position in written,
        }
        # The distance between two words is the space between them; one more, and one at the beginning, is drawn.
        glyph["gap"] = (
            token.position > 0 and glyph["starts"] and text[:1] == SPACE and text[1:2] not in ("", *SPACES.values())
        )
        same_word = 0 < token.position < len(words) and words[token.position] == words[token.position - 1]
        glyph["joined"] = same_word and not glyph["starts"]
        glyph["arrow"] = bool(written) and bool(drawn) and token.position == min(written) and token.position > 0
        if side != token.side:
            side = token.side
            glyph["side"] = say(f"side_{side}", language)
        drawn.append(glyph)
    return drawn


def objective_name(result: Saliency | MapComparison, language: Language) -> str:
    """The explained number, in words."""
    if result.contrast is not None:
        return say("target_contrast", language, text=show_whitespace(result.contrast.text), id=result.contrast.id)
    return say(f"target_{result.objective}", language)


def pack_float32(numbers: np.ndarray) -> str:
    """float32, little-endian, base64: how arrays travel to the browser."""
    return base64.b64encode(np.ascontiguousarray(numbers, dtype="<f4").tobytes()).decode()
