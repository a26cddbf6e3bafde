"""Several maps of one token as strips under one another, with their agreement and their test: result in, picture out."""

from __future__ import annotations

import altair as alt
import numpy as np
from jaxtyping import Float

from analyzers.common.languages import Language
from analyzers.common.tokens import label_group, label_token
from analyzers.map_comparison import NOTHING, MapComparison, mean_with_error
from analyzers.methods.deletion import Curves
from ui.charts.neuron_factors import colour_of
from ui.charts.saliency import method_name
from ui.charts.spreadsheet import Sheet
from ui.charts.style import apply_theme, wrap_line
from ui.charts.token_strip import objective_name
from ui.texts import quote, say
from ui.theme import AGAINST_HEX, FOR_HEX, RANDOM_HEX
from ui.values import Cells, Row

MOST_CELLS = 40
"""Of a strip, the strongest on any of them."""
CELL, LINE = 34, 28
CURVE = {"width": 280, "height": 210}
SIDES = ("deletion", "insertion")


def verdict(result: MapComparison, language: Language) -> tuple[list[str], bool]:
    """Which map to believe first and which last, how far they agree, and whether any is told from chance."""
    tested, n_random = result.of_methods, len(result.of_random_orders or ())
    if tested is None:
        return [say("verdict_untested", language)], False
    order = np.argsort(-tested.gain, kind="stable")
    best, worst = int(order[0]), int(order[-1])
    equal = [i for i in order if tested.gain[best] - tested.gain[i] < NOTHING]
    said = {
        "best": say("comma", language).join(method_name(result.methods[i], language) for i in equal),
        "token": quote(label_token(result.explained), language),
        "gain": _in_units(tested.gain[best], result, language),
        "chance": f"{result.chance:.2f}",
        "n": int(result.n_beaten[best]),
        "orders": n_random,
    }
    is_told = bool(result.beats_chance[best])
    lines = [say("verdict_best" if is_told else "verdict_chance", language, **said)]
    if tested.gain[best] - tested.gain[worst] >= NOTHING:
        name, gain = method_name(result.methods[worst], language), _in_units(tested.gain[worst], result, language)
        lines.append(
            say("verdict_worst", language, worst=name, gain=gain, n=int(result.n_beaten[worst]), orders=n_random)
        )
    return [*lines, *_say_agreement(result, language)], is_told


def _in_units(gain: float, result: MapComparison, language: Language) -> str:
    return f"{gain:.2f}" if result.objective == "similarity" else say("in_nats", language, n=f"{gain:.2f}")


def _say_agreement(result: MapComparison, language: Language) -> list[str]:
    """The two maps that agree least."""
    pairs = result.agreement[np.triu_indices(len(result.methods), 1)]
    if not np.isfinite(pairs).any():
        return []
    least = int(np.nanargmin(pairs))
    one, other = (method_name(result.methods[i[least]], language) for i in np.triu_indices(len(result.methods), 1))
    key = "agreement_two" if len(result.methods) == 2 else "agreement_least"
    return [say(key, language, one=one, other=other, rho=f"{pairs[least]:.2f}")]


def strip_rows(result: MapComparison, language: Language) -> list[Row]:
    """A row for each method and each token (or word), the strongest 40: method, label, share in percent with its sign."""
    strongest = np.sort(np.argsort(-abs(result.maps).max(0), kind="stable")[:MOST_CELLS])
    return [
        {
            "method": method_name(method, language),
            # The position makes each label its own: two "the" never merge.
            "label": f"{result.groups[i][0]} {label_group([result.tokens[p] for p in result.groups[i]])}",
            "share": 100 * float(shares[i]),
            "effect": say("effect_against" if shares[i] < 0 else "effect_for", language),
            "size": abs(100 * float(shares[i])),
        }
        for method, shares in zip(result.methods, result.maps, strict=True)
        for i in strongest
    ]


def comparison_chart(result: MapComparison, language: Language) -> alt.VConcatChart:
    """One picture: the maps as strips on one scale, their rank agreement, and each one's deletion and insertion curve
    beside those of random orders (their middle, and from the least to the most that they reach)."""
    names = [method_name(method, language) for method in result.methods]
    maps = alt.hconcat(_strips(result, names, language), _agreement(result, names, language), spacing=24)
    parts = [maps.resolve_scale(color="independent", opacity="independent")]
    if result.curves is not None:
        curves = alt.hconcat(*(_curves(result, names, side, language) for side in SIDES), spacing=24)
        parts.append(curves.resolve_scale(color="shared", strokeDash="shared"))
    token = quote(label_token(result.explained), language)
    baseline = say(f"baseline_{result.baseline}", language)
    if result.baseline_text is not None:
        baseline += f" {quote(result.baseline_text, language)}"
    subtitle = [objective_name(result, language), say("baseline_line", language, baseline=baseline)]
    if len(result.groups) > MOST_CELLS:
        subtitle.append(say("chart_first", language, n=MOST_CELLS, total=len(result.groups)))
    title = alt.TitleParams(
        [say("comparison_title", language, token=token)], subtitle=wrap_line(" · ".join(subtitle), 90)
    )
    chart = alt.vconcat(*parts, spacing=22, title=title).resolve_scale(color="independent", opacity="independent")
    return apply_theme(chart, " ".join(verdict(result, language)[0]))


def _strips(result: MapComparison, names: list[str], language: Language) -> alt.LayerChart:
    values = strip_rows(result, language)
    largest = max((row["size"] for row in values), default=0.0) or 1.0
    effects = [say("effect_for", language), say("effect_against", language)]
    base = alt.Chart(alt.InlineData(values=values)).encode(
        x=alt.X("label:N", sort=[row["label"] for row in values], title=None, axis=alt.Axis(labelAngle=-40)),
        y=alt.Y("method:N", sort=names, title=None),
        tooltip=[
            alt.Tooltip("method:N", title=say("method", language)),
            alt.Tooltip("label:N", title=say("column_token", language)),
            alt.Tooltip("share:Q", format=".3g", title=say("column_share", language)),
            alt.Tooltip("effect:N", title=say("effect", language)),
        ],
    )
    cells = base.mark_rect().encode(
        color=alt.Color(
            "effect:N",
            scale=alt.Scale(domain=effects, range=[FOR_HEX, AGAINST_HEX]),
            legend=alt.Legend(title=None, orient="top") if any(result.is_signed) else None,
        ),
        opacity=alt.Opacity("size:Q", scale=alt.Scale(domain=[0, largest], range=[0, 0.85]), legend=None),
    )
    words = base.mark_text(fontSize=11).encode(text=alt.Text("share:Q", format=".0f"))
    title = alt.TitleParams(say("strips_title", language), fontSize=13)
    return (cells + words).properties(width=alt.Step(CELL), height=alt.Step(LINE), title=title)


def _agreement(result: MapComparison, names: list[str], language: Language) -> alt.LayerChart:
    values = [
        {"one": names[i], "other": names[j], "rho": float(rho), "size": abs(float(rho)), "is_negative": bool(rho < 0)}
        for (i, j), rho in np.ndenumerate(result.agreement)
        if np.isfinite(rho)
    ]
    base = alt.Chart(alt.InlineData(values=values)).encode(
        x=alt.X("other:N", sort=names, title=None, axis=alt.Axis(labelAngle=-40), scale=alt.Scale(domain=names)),
        y=alt.Y("one:N", sort=names, title=None, axis=None, scale=alt.Scale(domain=names)),
        tooltip=["one:N", "other:N", alt.Tooltip("rho:Q", format=".3f", title="ρ")],
    )
    cells = base.mark_rect().encode(
        opacity=alt.Opacity("size:Q", scale=alt.Scale(domain=[0, 1], range=[0, 0.85]), legend=None),
        color=alt.condition(alt.datum.is_negative, alt.value(AGAINST_HEX), alt.value(FOR_HEX)),
    )
    words = base.mark_text(fontSize=11).encode(text=alt.Text("rho:Q", format=".2f"))
    title = alt.TitleParams(say("agreement_title", language), fontSize=13)
    return (cells + words).properties(width=alt.Step(40), height=alt.Step(LINE), title=title)


def _curves(result: MapComparison, names: list[str], side: str, language: Language) -> alt.LayerChart:
    tested, random = result.of_methods, result.of_random_orders
    assert tested is not None
    assert random is not None
    random_name = say("order_random", language)
    heights: Float[np.ndarray, "order step"] = getattr(random, side)
    values = [
        {"n": int(n), "value": float(y), "map": name}
        for name, line in [*zip(names, getattr(tested, side), strict=True), (random_name, heights.mean(0))]
        for n, y in zip(result.counts, line, strict=True)
    ]
    band = [
        {"n": int(n), "low": float(low), "high": float(high)}
        for n, low, high in zip(result.counts, heights.min(0), heights.max(0), strict=True)
    ]
    x = alt.X("n:Q", title=say(f"axis_{side}", language), axis=alt.Axis(tickMinStep=1))
    what, scale = objective_name(result, language), alt.Scale(zero=False)
    area = (
        alt.Chart(alt.InlineData(values=band))
        .mark_area(color=RANDOM_HEX, opacity=0.22)
        .encode(x=x, y=alt.Y("low:Q", title=what, scale=scale), y2="high:Q")
    )
    colours = [*(colour_of(number) for number in range(len(names))), RANDOM_HEX]
    domain = [*names, random_name]
    lines = (
        alt.Chart(alt.InlineData(values=values))
        .mark_line(point=True)
        .encode(
            x=x,
            y=alt.Y("value:Q", title=what, scale=scale),
            color=alt.Color(
                "map:N",
                title=None,
                scale=alt.Scale(domain=domain, range=colours),
                legend=alt.Legend(orient="bottom", columns=3, labelLimit=260),
            ),
            strokeDash=alt.StrokeDash(
                "map:N", legend=None, scale=alt.Scale(domain=domain, range=[*([[1, 0]] * len(names)), [5, 4]])
            ),
            tooltip=["map:N", "n:Q", alt.Tooltip("value:Q", format=".3f")],
        )
    )
    title = alt.TitleParams(say(f"curve_{side}", language), fontSize=13)
    return alt.layer(area, lines).properties(**CURVE, title=title)


def table_rows(result: MapComparison, language: Language) -> Cells:
    """Cells of the table: method, gain, comprehensiveness, sufficiency, how many random orders it is above; the last row
    has what the best of the random orders gains, and the means of the rest with the error of each."""
    tested, random = result.of_methods, result.of_random_orders
    if tested is None or random is None:
        return [[method_name(method, language), None, None, None, None] for method in result.methods]
    rows: Cells = [
        [method_name(method, language), *_numbers(tested, row), f"{result.n_beaten[row]} / {len(random)}"]
        for row, method in enumerate(result.methods)
    ]
    means = [_with_error(values) for values in (random.comprehensiveness, random.sufficiency)]
    return [*rows, [say("order_random", language), f"≤ {result.chance:.3f}", *means, None]]


def _numbers(curves: Curves, row: int) -> list[str]:
    return [f"{numbers[row]:.3f}" for numbers in (curves.gain, curves.comprehensiveness, curves.sufficiency)]


def _with_error(values: Float[np.ndarray, " order"]) -> str:
    mean, error = mean_with_error(values)
    return f"{mean:.3f}" if error is None else f"{mean:.3f} ± {error:.3f}"


def sheet(result: MapComparison) -> Sheet:
    """Every map's rows, with the map's own test at the end of each; `beaten`: of how many random orders."""
    tested = result.of_methods
    tests: Cells = [[None] * 4] * len(result.methods)
    if tested is not None:
        numbers = (tested.gain, tested.comprehensiveness, tested.sufficiency)
        tests = [[*(float(values[i]) for values in numbers), int(n)] for i, n in enumerate(result.n_beaten)]
    return Sheet(
        ("map", "position", "token", "share", "gain", "comprehensiveness", "sufficiency", "beaten"),
        [
            [method, group[0], label_group([result.tokens[p] for p in group]), float(share), *test]
            for method, shares, test in zip(result.methods, result.maps, tests, strict=True)
            for group, share in zip(result.groups, shares, strict=True)
        ],
    )
