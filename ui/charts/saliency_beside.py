"""Saliency of one token by two models: what each gives every stretch of the text whose ends both have."""

from __future__ import annotations

import textwrap
from typing import TypeAlias

import altair as alt

from analyzers.common.alignment import align_tokens
from analyzers.common.languages import Language
from analyzers.common.settings import SaliencySettings
from analyzers.common.tokens import label_token, show_whitespace
from analyzers.saliency import Saliency
from analyzers.serving.dispatch import Answer
from ui.charts.saliency import MOST_BARS, MOST_SAID, describe, value_axis
from ui.charts.style import apply_theme, name_model, wrap_line
from ui.texts import quote, say
from ui.theme import AGAINST_HEX, FOR_HEX
from ui.values import Row

SaliencyAnswer: TypeAlias = Answer[SaliencySettings, Saliency]
SECOND_OPACITY = 0.4
"""Of the second model's bars, which have the first's colours."""
BAR = 13
"""Pixels of one."""


def find_second_position(first: SaliencyAnswer, second: SaliencyAnswer, position: int) -> tuple[int, bool] | None:
    """The second model's explained token for one of the first, and whether it begins at the same character; None where none is
    known."""
    there, begins_alike = align_tokens(first.completion.tokens, second.completion.tokens).counterparts[position]
    return (there, begins_alike) if there in second.result.explained else None


def first_positions(first: SaliencyAnswer, second: SaliencyAnswer) -> list[int | None]:
    """For each explained token of the second model the first's; None where the first has none."""
    counterparts = align_tokens(second.completion.tokens, first.completion.tokens).counterparts
    found = [counterparts[position][0] for position in second.result.explained]
    return [position if position in first.result.explained else None for position in found]


def rows(first: SaliencyAnswer, second: SaliencyAnswer, position: int) -> list[Row]:
    """One row per stretch of the text that either rests on: the position of its first token (of the second model's, marked ²,
    where the first has none), its text, and what each model gives it, share (−1 to 1) or score; None where a model has
    nothing there."""
    found = find_second_position(first, second, position)
    given = [_signed(first.result, position), {} if found is None else _signed(second.result, found[0])]
    made: list[Row] = []
    for segment in align_tokens(first.completion.tokens, second.completion.tokens).segments:
        sums = [
            sum(numbers[p] for p in places if p in numbers) if any(p in numbers for p in places) else None
            for numbers, places in zip(given, (segment.first, segment.second), strict=True)
        ]
        if any(number is not None for number in sums):
            at = str(segment.first[0]) if segment.first else f"²{segment.second[0]}"
            made.append({"position": at, "text": show_whitespace(segment.text), "first": sums[0], "second": sums[1]})
    return made


def beside_chart(first: SaliencyAnswer, second: SaliencyAnswer, position: int, language: Language) -> alt.LayerChart:
    """Two bars per stretch, in text order (the strongest 40 of a long text): the first model's solid, the second's pale. Zero is
    fixed; colour says which way a token works."""
    is_share = first.result.shares is not None
    names = [name_model(first.model), name_model(second.model)]
    if names[0] == names[1]:
        names[1] += " ²"
    data = rows(first, second, position)
    strongest = sorted(data, key=lambda row: -max(abs(row["first"] or 0), abs(row["second"] or 0)))[:MOST_BARS]
    kept = sorted(strongest, key=data.index)
    subtitle = _subtitle(first, second, position, language)
    if len(kept) < len(data):
        subtitle.append(say("chart_first", language, n=len(kept), total=len(data)))
    effects = {True: say("effect_for", language), False: say("effect_against", language)}
    labels = [f"{row['position']} {row['text']}" for row in kept]
    values = [
        {
            "label": label,
            "model": name,
            "value": (100 if is_share else 1) * row[side],
            "effect": effects[row[side] >= 0],
        }
        for label, row in zip(labels, kept, strict=True)
        for name, side in zip(names, ("first", "second"), strict=True)
        if row[side] is not None
    ]
    base = alt.Chart(alt.InlineData(values=values)).encode(
        y=alt.Y("label:N", sort=labels, title=None),
        yOffset=alt.YOffset("model:N", sort=names),
        x=value_axis([row["value"] for row in values], language, is_share=is_share),
        tooltip=[
            alt.Tooltip("label:N", title=say("column_token", language)),
            alt.Tooltip("model:N", title=say("model", language)),
            alt.Tooltip("value:Q", format=".3g", title=say("column_share" if is_share else "column_score", language)),
        ],
    )
    is_signed = first.result.is_signed or second.result.is_signed
    chart = base.mark_bar().encode(
        color=alt.Color(
            "effect:N",
            scale=alt.Scale(domain=list(effects.values()), range=[FOR_HEX, AGAINST_HEX]),
            legend=alt.Legend(title=None, orient="top") if is_signed else None,
        ),
        opacity=alt.Opacity(
            "model:N",
            scale=alt.Scale(domain=names, range=[1.0, SECOND_OPACITY]),
            legend=None,  # said in the subtitle: the symbol of a pale black is seen on no dark page
        ),
    )
    shown = alt.Text("value:Q", format=".1f" if is_share else ".3g")
    for is_left, way in ((False, alt.datum.value >= 0), (True, alt.datum.value < 0)):
        if any((row["value"] < 0) == is_left for row in values):
            beside = {"align": "right", "dx": -4} if is_left else {"align": "left", "dx": 4}
            chart += base.transform_filter(way).mark_text(fontSize=10, **beside).encode(text=shown)
    return apply_theme(
        chart.properties(
            width="container",
            height=alt.Step(BAR, **{"for": "offset"}),
            title=alt.TitleParams(_title(first, position, language), subtitle=subtitle),
        ),
        say("comma", language).join(
            f"{row['label']} {row['model']}: {row['value']:.3g}"
            for row in sorted(values, key=lambda row: -abs(row["value"]))[:MOST_SAID]
        ),
    )


def _title(first: SaliencyAnswer, position: int, language: Language) -> list[str]:
    return textwrap.wrap(say("saliency_beside_title", language, token=_explained(first, position)), 44)


def _explained(answer: SaliencyAnswer, position: int) -> str:
    return label_token(answer.result.explained_tokens[answer.result.row_of(position)])


def _subtitle(first: SaliencyAnswer, second: SaliencyAnswer, position: int, language: Language) -> list[str]:
    solid, pale = (
        say(key, language, model=name_model(one.model)) for key, one in (("bars_solid", first), ("bars_pale", second))
    )
    lines = wrap_line(f"{solid} · {describe(first.result, position, language)}", 56)
    found = find_second_position(first, second, position)
    if found is None:
        return [*lines, say("saliency_beside_none", language, model=second.model.id)]
    lines += wrap_line(f"{pale} · {describe(second.result, found[0], language)}", 56)
    own, token = _explained(first, position), _explained(second, found[0])
    if not found[1] or token != own:
        key = "saliency_beside_differs" if found[1] else "saliency_beside_other"
        lines.append(say(key, language, token=quote(token, language)))
    return lines


def _signed(result: Saliency, position: int) -> dict[int, float]:
    """What an explained token gives each that it rests on, by its position."""
    row = result.row_of(position)
    numbers = result.scores if result.shares is None else result.shares * result.signs
    return {p: float(numbers[row, p]) for p in result.seen[row]}
