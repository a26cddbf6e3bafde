"""Saliency of one explained token as rows, as a bar chart, as highlighted text. Pure: result in, picture out."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

import altair as alt

from analyzers.common.languages import Language
from analyzers.common.methods import METHODS
from analyzers.common.tokens import label_group, label_token, show_whitespace
from analyzers.methods.integrated_gradients import Completeness
from analyzers.saliency import Saliency
from ui.charts.spreadsheet import Sheet
from ui.charts.style import apply_theme, wrap_line
from ui.charts.token_strip import objective_name
from ui.texts import quote, say, text_keys
from ui.theme import AGAINST_HEX, FOR_HEX, INTERVAL_HEX
from ui.values import Cells, Row

MOST_BARS = 40
NEAR = 0.01
"""Parts that add up to the whole within this share of it do."""
MOST_SAID = 8
"""Bars that are read out to who does not see them; all stand in the table."""


def rows(result: Saliency, position: int) -> list[Row]:
    """One row per token that an explained one rests on, or per word where whole words were hidden: position of its first
    token, token, id (None for several), score, share (−1 to 1, or None), effect (+1 supports, −1 works against, None for
    a method without a sign), the target's value when it is hidden (occlusion, else None), and the error of what is drawn,
    share or score (Shapley values, else None)."""
    row = result.row_of(position)
    errors = result.errors if result.shares is None else result.share_errors
    found: list[Row] = []
    for group in result.seen_groups(row):
        first, places = group[0], list(group)
        effect = int(result.signs[row, first])
        found.append(
            {
                "position": first,
                "token": label_group([result.tokens[p] for p in group]),
                "id": result.tokens[first].id if len(group) == 1 else None,
                "score": float(result.scores[row, places].sum()),
                "share": None if result.shares is None else effect * float(result.shares[row, places].sum()),
                "effect": effect if result.is_signed else None,
                "hidden": None if result.hidden_values is None else float(result.hidden_values[row, first]),
                "error": None if errors is None else float(errors[row, places].sum()),
            }
        )
    return found


def saliency_chart(result: Saliency, position: int, language: Language) -> alt.Chart:
    """Bars in text order, one per earlier token (the strongest 40 of a long text): shares in percent, or signed scores.
    Zero is fixed; colour says which way a token works."""
    data = rows(result, position)
    strongest = sorted(data, key=lambda row: -abs(row["score"]))[:MOST_BARS]
    kept = sorted(strongest, key=lambda row: row["position"])
    is_share = result.shares is not None
    effects = {1: say("effect_for", language), -1: say("effect_against", language)}
    values = [
        {
            # The position makes each label its own: two "the" never merge.
            "label": f"{row['position']} {row['token']}",
            "value": 100 * row["share"] if is_share else row["score"],
            "effect": effects[row["effect"] or 1],
            "score": row["score"],
            "id": row["id"],
            "error": (row["error"] or 0.0) * (100 if is_share else 1),
        }
        for row in kept
    ]
    token = label_token(result.explained_tokens[result.row_of(position)])
    title = say("chart_title", language, method=method_name(result.method, language), token=token)
    subtitle = wrap_line(describe(result, position, language), 56)
    if len(kept) < len(data):
        subtitle.append(say("chart_first", language, n=len(kept), total=len(data)))
    most = sorted(values, key=lambda row: -abs(row["value"]))[:MOST_SAID]
    ends = [row["value"] + way * row["error"] for row in values for way in (-1, 1)]
    base = alt.Chart(alt.InlineData(values=values)).encode(
        y=alt.Y("label:N", sort=[row["label"] for row in values], title=None),
        x=value_axis(ends, language, is_share=is_share),
        tooltip=[
            alt.Tooltip("label:N", title=say("column_token", language)),
            alt.Tooltip("value:Q", format=".3g", title=say("column_share" if is_share else "column_score", language)),
            alt.Tooltip("score:Q", format=".4g", title=say("column_score", language)),
            alt.Tooltip("effect:N", title=say("effect", language)),
        ],
    )
    colour = alt.Color(
        "effect:N",
        scale=alt.Scale(domain=[effects[1], effects[-1]], range=[FOR_HEX, AGAINST_HEX]),
        legend=alt.Legend(title=None, orient="top") if result.is_signed else None,
    )
    shown = alt.Text("value:Q", format=".1f" if is_share else ".3g")
    chart = base.mark_bar().encode(color=colour)
    if any(row["error"] for row in values):
        chart += _intervals(base)
    for is_left, way in ((False, alt.datum.value >= 0), (True, alt.datum.value < 0)):
        if any((row["value"] < 0) == is_left for row in values):
            beside = {"align": "right", "dx": -4} if is_left else {"align": "left", "dx": 4}
            end = "datum.value - datum.error" if is_left else "datum.value + datum.error"
            text = base.transform_filter(way).transform_calculate(end=end).mark_text(fontSize=12, **beside)
            chart += text.encode(text=shown, x=alt.X("end:Q"))
    return apply_theme(
        chart.properties(
            width="container", height=alt.Step(24), title=alt.TitleParams(textwrap.wrap(title, 44), subtitle=subtitle)
        ),
        say("comma", language).join(f"{row['label']}: {row['value']:.3g}" for row in most),
    )


def value_axis(ends: Sequence[float], language: Language, *, is_share: bool) -> alt.X:
    """The axis of bars that end there: shares in percent, or scores. Zero is on it, and room for a number beside the longest."""
    low, high = min([0.0, *ends]), max([0.0, *ends])
    room = 0.09 * ((high - low) or 1.0)
    return alt.X(
        "value:Q",
        title=say("axis_share" if is_share else "axis_score", language),
        scale=alt.Scale(domain=[low - room if low < 0 else 0.0, high + room if high > 0 else 0.0], nice=False),
        axis=alt.Axis(tickCount=6),
    )


def _intervals(bars: alt.Chart) -> alt.Chart:
    """A line from the least to the most that a value may be, sampling considered."""
    return (
        bars.transform_calculate(low="datum.value - datum.error", high="datum.value + datum.error")
        .mark_rule(strokeWidth=2, color=INTERVAL_HEX)
        .encode(x=alt.X("low:Q"), x2=alt.X2("high:Q"))
    )


def describe(result: Saliency, position: int, language: Language) -> str:
    """Method, target and its value, baseline, points and errors: the line that stands on the chart."""
    row = result.row_of(position)
    value = float(result.values[row])
    shown = f"{value:.1%}" if result.objective == "probability" else f"{value:.4g}"
    parts = [method_name(result.method, language), f"{objective_name(result, language)} {shown}"]
    method = METHODS[result.method]
    if method.uses_baseline:
        baseline = say(f"baseline_{result.baseline}", language)
        if result.baseline_text is not None:
            baseline += f" {quote(show_whitespace(result.baseline_text), language)}"
        parts.append(say("baseline_line", language, baseline=baseline))
    if method.hides_tokens and result.whole_words:
        parts.append(say("whole_words_line", language))
    if not method.hides_tokens and not method.shares_out:
        parts.append(say(f"aggregate_{result.aggregate}", language))
    found = result.completeness[row]
    if found is not None:
        relative = say("undefined", language) if found.relative is None else f"{found.relative:.1%}"
        if method.shares_out:
            return " · ".join([*parts, say("conservation_line", language, relative=relative)])
        if method.samples:
            return " · ".join([*parts, _say_sampling(found, language)])
        parts.append(say("points_line", language, points=found.points))
        parts.append(say("completeness_line", language, relative=relative))
        parts.append(say("map_change_line", language, change=f"{found.map_change:.1%}"))
        if not found.converged:
            parts.append(say("rough_line" if found.rough else "not_converged_line", language))
    return " · ".join(parts)


def _say_sampling(found: Completeness, language: Language) -> str:
    n = f"{found.points:,}"
    if found.exact:
        return say("exact_line", language, n=n)
    parts = [say("orders_line", language, n=n, error=f"{found.map_change:.1%}")]
    if not found.converged:
        parts.append(say("rough_orders_line" if found.rough else "not_converged_line", language))
    return " · ".join(parts)


def tell_check(result: Saliency, position: int, language: Language) -> tuple[list[str], bool]:
    """How far the map adds up, in sentences, and whether that is near enough. Nothing for a method that promises no sum."""
    found = result.completeness[result.row_of(position)]
    if found is None:
        return [], False
    relative = say("undefined", language) if found.relative is None else f"{found.relative:.1%}"
    numbers = {"relative": relative, "change": f"{found.map_change:.1%}", "points": found.points}
    if METHODS[result.method].shares_out:
        numbers = {"sum": f"{found.total + found.error:.3g}", "total": f"{found.total:.3g}", "relative": relative}
        return [say("check_conserved", language, **numbers)], found.relative is not None and found.relative <= NEAR
    if METHODS[result.method].samples:
        numbers = {"n": f"{found.points:,}", "total": f"{found.total:.3g}", "error": f"{found.map_change:.1%}"}
        keys = ["check_exact" if found.exact else "check_sampled"]
        if not found.converged:
            keys.append("check_rough_orders" if found.rough else "check_few_orders")
    else:
        keys = ["check_complete"]
        if not found.converged:
            keys.append("check_rough" if found.rough else "check_not_converged")
    return [say(key, language, **numbers) for key in keys], found.converged


def name_settings(result: Saliency, language: Language) -> str:
    """What the settings of a map are, in one line."""
    parts = [method_name(result.method, language), objective_name(result, language)]
    if METHODS[result.method].uses_baseline:
        parts.append(say("baseline_line", language, baseline=say(f"baseline_{result.baseline}", language)))
    return say("settings_hold", language, what=" · ".join(parts))


def method_name(method: str, language: Language) -> str:
    """As the page calls it; one without a text of its own by its id."""
    key = f"method_{method}"
    return say(key, language) if key in text_keys() else method


def highlight_tokens(result: Saliency, position: int) -> list[tuple[str, float | None]]:
    """`gr.HighlightedText` pairs: each earlier token with its signed share (or its score over the largest), then the
    explained token without a number."""
    data = rows(result, position)
    largest = max((abs(row["score"]) for row in data), default=0.0) or 1.0
    pairs: list[tuple[str, float | None]] = []
    for row in data:
        number = row["share"] if row["share"] is not None else row["score"] / largest
        pairs.append((row["token"], round(float(number), 4)))
    return [*pairs, (label_token(result.explained_tokens[result.row_of(position)]), None)]


def table_rows(result: Saliency, position: int) -> Cells:
    """Cells of the table: position, token, id, score, share in percent, value when hidden."""
    return [
        [
            row["position"],
            row["token"],
            row["id"],
            float(f"{row['score']:.5g}"),
            None if row["share"] is None else round(100 * row["share"], 2),
            None if row["hidden"] is None else float(f"{row['hidden']:.5g}"),
        ]
        for row in rows(result, position)
    ]


def sheet(result: Saliency) -> Sheet:
    """Every explained token's rows: `value` is the explained token's own number, `share` has the sign of `effect`."""
    columns = ("position", "token", "id", "score", "share", "effect", "hidden", "error")
    return Sheet(
        ("explained_position", "explained_token", "value", *columns),
        [
            [
                explained,
                label_token(result.explained_tokens[i]),
                float(result.values[i]),
                *(row[name] for name in columns),
            ]
            for i, explained in enumerate(result.explained)
            for row in rows(result, explained)
        ],
    )
