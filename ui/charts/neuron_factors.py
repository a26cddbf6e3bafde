"""Factors as what the view draws, as highlighted text, as tables, and as charts."""

from __future__ import annotations

from collections.abc import Sequence

import altair as alt
import numpy as np
from jaxtyping import Float

from analyzers.ablation import Ablation
from analyzers.common.languages import Language
from analyzers.common.tokens import SPACE, label_token, show_whitespace
from analyzers.neuron_factors import NeuronFactors, match_factors
from ui.charts.spreadsheet import Sheet
from ui.charts.style import apply_theme
from ui.charts.token_strip import draw_glyphs, pack_float32
from ui.texts import quote, say
from ui.theme import FOR_HEX, RANDOM_HEX
from ui.values import Cells, Row, Value

COLOURS = ("#e6761b", "#3b82f6", "#16a34a", "#c026d3", "#ca8a04", "#0d9488", "#e11d48", "#7c6cf0")
"""Fixed: factor 1 is always orange. From the ninth on they come again, and the number tells them apart."""

NAMED_IN_ROW, NAMED_IN_READING = 3, 6
"""Tokens that a factor is called by."""


def colour_of(number: int) -> str:
    """Colour of a factor, counted from 0."""
    return COLOURS[number % len(COLOURS)]


def activations(result: NeuronFactors) -> Float[np.ndarray, "factor position"]:
    """float32, NaN where a token was left out."""
    return np.stack([factor.activations for factor in result.factors]).astype(np.float32)


def view_value(result: NeuronFactors, language: Language, pinned: int) -> Value:
    """What the factor view draws: every factor's activations over its own largest, and its share per layer."""
    rows = activations(result)
    scaled = rows / np.maximum(np.nanmax(rows, axis=1, keepdims=True), 1e-12)
    factors = []
    for number, factor in enumerate(result.factors):
        order = np.argsort(-rows[number], kind="stable")
        named = list(dict.fromkeys(label_token(result.tokens[i]) for i in order if rows[number, i] > 0))
        tokens = say("comma", language).join(quote(name, language) for name in named[:NAMED_IN_READING])
        factors.append(
            {
                "label": say("factor", language, number=number + 1),
                "named": " · ".join(
                    list(dict.fromkeys(name.removeprefix(SPACE) or name for name in named))[:NAMED_IN_ROW]
                ),
                "colour": colour_of(number),
                "shares": [round(float(share), 5) for share in factor.layer_shares],
                "reading": say("factor_strongest", language, number=number + 1, tokens=tokens),
            }
        )
    return {
        "glyphs": draw_glyphs(result.tokens, (), language),
        "names": [label_token(token) for token in result.tokens],
        "width": len(result.tokens),
        "matrix": pack_float32(scaled),
        "factors": factors,
        "pinned": pinned,
        "words": {
            "help": say("factor_help", language),
            "quoted": say("quoted", language),
            "shares": say("factor_shares", language),
            "token": say("factor_of_token", language),
            "left_out": say("factor_left_out", language),
        },
    }


def name_settings(result: NeuronFactors, language: Language) -> str:
    """What the settings of a factorisation are, in one line."""
    parts = (
        say("settings_factors", language, n=len(result.factors)),
        say("settings_layers", language, first=result.layers[0], last=result.layers[-1]),
        say(f"parts_{result.parts}", language),
    )
    return say("settings_hold", language, what=" · ".join(parts))


def line(result: NeuronFactors, language: Language) -> str:
    """What was factorised, how well, and what was left out."""
    return say(
        "factors_line",
        language,
        first=result.layers[0],
        last=result.layers[-1],
        parts=say(f"parts_{result.parts}", language),
        scaling=say("scaled_line" if result.scaled else "unscaled_line", language),
        error=f"{result.error:.3f}",
        iterations=result.iterations,
        converged=say("converged_line" if result.converged else "not_converged_line", language),
        left_out=say("comma", language).join(label_token(result.tokens[i]) for i in result.left_out)
        or say("nothing", language),
    )


def highlight_tokens(result: NeuronFactors) -> tuple[list[tuple[str, str | None]], dict[str, str]]:
    """Each token with the number of its leading factor, and the colour of each number."""
    rows = activations(result)
    leading = np.nan_to_num(rows, nan=-1.0).argmax(axis=0)
    pairs: list[tuple[str, str | None]] = [
        (label_token(token), str(int(leading[i]) + 1) if rows[leading[i], i] > 0 else None)
        for i, token in enumerate(result.tokens)
    ]
    return pairs, {str(number + 1): colour_of(number) for number in range(len(result.factors))}


def neuron_rows(result: NeuronFactors) -> Cells:
    """Cells of the table: factor (from 1), layer, neuron, part, weight."""
    return [
        [number, neuron.layer, neuron.neuron, neuron.part, float(f"{neuron.weight:.4g}")]
        for number, factor in enumerate(result.factors, 1)
        for neuron in factor.top_neurons
    ]


def sheet(result: NeuronFactors) -> Sheet:
    """Activation of every factor on every token; empty where a token was left out."""
    names = (f"factor_{n}" for n in range(1, len(result.factors) + 1))
    return Sheet(
        ("position", "token", "id", *names),
        [
            [i, label_token(token), token.id, *(None if np.isnan(value) else float(value) for value in values)]
            for i, token in enumerate(result.tokens)
            for values in [[factor.activations[i] for factor in result.factors]]
        ],
    )


def describe_promoted(result: NeuronFactors, number: int, language: Language) -> list[str]:
    """The tokens that a factor's neurons promote; none for an encoder."""
    tokens = " ".join(quote(show_whitespace(token.text), language) for token in result.factors[number].promoted)
    return [say("promoted", language, number=number + 1, tokens=tokens)] if tokens else []


def ablation_chart(result: Ablation, number: int, language: Language) -> alt.Chart:
    """The next-token distribution before and after, side by side; probability in percent from 0."""
    names = {"before": say("before", language), "after": say("after", language)}
    kept = result.changes[:12]
    labels = [f"{show_whitespace(change.text)} ({change.id})" for change in kept]
    values = [
        {"token": label, "when": names[when], "probability": 100 * getattr(change, when)}
        for label, change in zip(labels, kept, strict=True)
        for when in ("before", "after")
    ]
    most = 1.05 * max((value["probability"] for value in values), default=1.0)
    title = say(
        "cause_title",
        language,
        n=result.n_neurons,
        number=number + 1,
        scale=f"{result.scale:g}",
        kl=f"{result.kl:.3g}",
    )
    chart = (
        alt.Chart(alt.InlineData(values=values))
        .mark_bar()
        .encode(
            y=alt.Y("token:N", sort=labels, title=None),
            yOffset=alt.YOffset("when:N", sort=list(names.values())),
            x=alt.X(
                "probability:Q",
                title=f"{say('probability', language)} (%)",
                scale=alt.Scale(domain=[0, most], nice=False),
                axis=alt.Axis(tickCount=6),
            ),
            color=alt.Color(
                "when:N",
                title=None,
                scale=alt.Scale(domain=list(names.values()), range=[RANDOM_HEX, FOR_HEX]),
                legend=alt.Legend(orient="top"),
            ),
            tooltip=["token:N", "when:N", alt.Tooltip("probability:Q", format=".3f")],
        )
        .properties(width="container", height=alt.Step(13), title=title)
    )
    return apply_theme(chart)


def comparison_chart(runs: Sequence[NeuronFactors], language: Language) -> alt.Chart:
    """Rows are factors of the first run, columns the runs; each cell the matched factor's activation over the tokens,
    over its own largest, with the cosine of the match."""
    columns = [say("layer_error", language, layer=run.layers[0], error=f"{run.error:.2f}") for run in runs]
    values: list[Row] = []
    for column, run in zip(columns, runs, strict=True):
        matches = {match.first: match for match in match_factors(runs[0], run)}
        for number in range(len(runs[0].factors)):
            match = matches.get(number)
            if match is None:
                continue
            shape = run.factors[match.second].activations
            largest = float(np.nanmax(shape)) or 1.0
            values += [
                {
                    "factor": say("factor", language, number=number + 1),
                    "column": column,
                    "position": i,
                    "token": label_token(run.tokens[i]),
                    "activation": float(np.nan_to_num(value)) / largest,
                    "cosine": f"{match.cosine:.2f}" if i == 0 and run is not runs[0] else "",
                }
                for i, value in enumerate(shape)
            ]
    order = [say("factor", language, number=number + 1) for number in range(len(runs[0].factors))]
    base = alt.Chart().encode(x=alt.X("position:Q", title=say("axis_position", language), axis=alt.Axis(grid=False)))
    area = base.mark_area(interpolate="step", opacity=0.85).encode(
        y=alt.Y("activation:Q", title=None, scale=alt.Scale(domain=[0, 1]), axis=None),
        color=alt.Color("factor:N", sort=order, scale=alt.Scale(domain=order, range=_colours(len(order))), legend=None),
        tooltip=["position:Q", "token:N", alt.Tooltip("activation:Q", format=".2f")],
    )
    cosine = alt.Chart().mark_text(align="right", dy=8).encode(x=alt.value(208), y=alt.value(0), text="cosine:N")
    chart = alt.layer(area, cosine, data=alt.InlineData(values=values)).properties(width=210, height=44)
    return apply_theme(
        chart.facet(
            row=alt.Row("factor:N", sort=order, title=None, header=alt.Header(labelAngle=0, labelAlign="left")),
            column=alt.Column("column:N", sort=columns, title=None),
            spacing=6,
        ).properties(title=say("compare_layers_title", language))
    )


def _colours(n: int) -> list[str]:
    return [colour_of(number) for number in range(n)]
