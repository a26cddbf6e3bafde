"""Which layers are alike, beside what noise would show: result in, picture out."""

from __future__ import annotations

import altair as alt
import numpy as np
from jaxtyping import Float

from analyzers.common.languages import Language
from analyzers.layer_similarity import LayerSimilarity
from ui.charts.layer_predictions import layer_name
from ui.charts.spreadsheet import Sheet
from ui.charts.style import apply_theme, name_model, wrap_line
from ui.texts import say
from ui.theme import FOR_HEX
from ui.values import Cells, Row

MOST_PIXELS = 310
"""Of one map's side."""
LOUD = 0.5
"""A noise floor above it leaves little to read."""


def finding(result: LayerSimilarity, language: Language) -> tuple[list[str], bool]:
    """Between which neighbours most changes, or which layers of two models are most alike; how far noise reaches, and
    whether that leaves anything to read."""
    floor = float(np.nanmean(result.floor)) if np.isfinite(result.floor).any() else float("nan")
    lines, is_quiet = [], not floor > LOUD
    steps = np.diagonal(result.similarity, 1)
    if result.second is not None:
        if np.isfinite(result.similarity).any():
            i, j = np.unravel_index(np.nanargmax(result.similarity), result.similarity.shape)
            lines.append(
                say(
                    "similarity_closest",
                    language,
                    one=layer_name(result.layers[i], language),
                    other=layer_name(result.column_layers[j], language),
                    second=result.second.model.id,
                    value=f"{result.similarity[i, j]:.2f}",
                    n=result.n_kept,
                )
            )
    elif np.isfinite(steps).any():
        at = int(np.nanargmin(steps))
        names = [layer_name(result.layers[i], language) for i in (at, at + 1)]
        lines.append(
            say("similarity_step", language, one=names[0], other=names[1], value=f"{steps[at]:.2f}", n=result.n_kept)
        )
    if np.isfinite(floor):
        lines.append(
            say("similarity_floor" if is_quiet else "similarity_loud", language, floor=f"{floor:.2f}".replace("-", "−"))
        )
    return lines, is_quiet


def similarity_chart(result: LayerSimilarity, language: Language) -> alt.HConcatChart:
    """Two maps on one scale, 0 to 1 fixed: every layer beside every other, and the same with one side's tokens shuffled."""
    maps = [
        _map(result, numbers, say(key, language), language)
        for key, numbers in (("similarity_map", result.similarity), ("similarity_noise", result.floor))
    ]
    parts = [say(f"measure_{result.measure}", language), say(f"representation_{result.representation}", language)]
    if result.components is not None:
        parts.append(say("components_line", language, n=result.components))
    parts.append(say("similarity_tokens", language, n=result.n_kept))
    if result.second is not None:
        parts.append(say("similarity_columns", language, model=name_model(result.second.model)))
    title = alt.TitleParams([say("similarity_title", language)], subtitle=wrap_line(" · ".join(parts), 90))
    return apply_theme(alt.hconcat(*maps, spacing=24, title=title), " ".join(finding(result, language)[0]))


def _map(
    result: LayerSimilarity, numbers: Float[np.ndarray, "layer layer"], name: str, language: Language
) -> alt.Chart:
    names, others = (
        [layer_name(layer, language) for layer in layers] for layers in (result.layers, result.column_layers)
    )
    values: list[Row] = [
        {"one": names[i], "other": others[j], "value": float(value), "shown": min(1.0, max(0.0, float(value)))}
        for (i, j), value in np.ndenumerate(numbers)
        if np.isfinite(value)
    ]
    width, height = (alt.Step(max(9, min(40, MOST_PIXELS // len(side)))) for side in (others, names))
    title = say("axis_layer", language)
    beside = title if result.second is None else say("axis_layer_of", language, model=result.second.model.id)
    axis = {"labelOverlap": True, "labelAngle": 0, "ticks": False}
    return (
        alt.Chart(alt.InlineData(values=values), title=alt.TitleParams(name, fontSize=13))
        .mark_rect(fill=FOR_HEX)
        .encode(
            x=alt.X("other:N", sort=others, title=beside, axis=alt.Axis(**axis)),
            y=alt.Y("one:N", sort=names[::-1], title=title, axis=alt.Axis(**axis)),
            opacity=alt.Opacity(
                "shown:Q",
                title=say("similarity", language),
                scale=alt.Scale(domain=[0, 1], range=[0, 0.95]),
                legend=alt.Legend(orient="bottom", values=[0, 0.2, 0.4, 0.6, 0.8, 1], symbolFillColor=FOR_HEX),
            ),
            tooltip=[
                alt.Tooltip("one:N", title=title),
                alt.Tooltip("other:N", title=beside),
                alt.Tooltip("value:Q", format=".3f", title=say("similarity", language)),
            ],
        )
        .properties(width=width, height=height)
    )


def table_rows(result: LayerSimilarity, language: Language) -> Cells:
    """Cells of the table: a layer, its similarity to the next and to the last one, and the noise floor of the first. With a
    second model: a layer, the one of the second that is most like it, how much, and the noise floor of that."""
    if result.second is not None:
        closest = [int(np.nan_to_num(row, nan=-2.0).argmax()) for row in result.similarity]
        return [
            [
                layer_name(layer, language),
                layer_name(result.column_layers[j], language),
                _cell(result.similarity[i, j]),
                _cell(result.floor[i, j]),
            ]
            for i, (layer, j) in enumerate(zip(result.layers, closest, strict=True))
        ]
    return [
        [
            layer_name(layer, language),
            None if i + 1 == len(result.layers) else _cell(result.similarity[i, i + 1]),
            _cell(result.similarity[i, -1]),
            None if i + 1 == len(result.layers) else _cell(result.floor[i, i + 1]),
        ]
        for i, layer in enumerate(result.layers)
    ]


def sheet(result: LayerSimilarity) -> Sheet:
    """Every two layers, the other one being the second model's if there is one; −1 is the input of the first block."""
    return Sheet(
        ("layer", "other_layer", "similarity", "floor"),
        [
            [layer, other, _cell(result.similarity[i, j], 6), _cell(result.floor[i, j], 6)]
            for i, layer in enumerate(result.layers)
            for j, other in enumerate(result.column_layers)
        ],
    )


def _cell(value: float, digits: int = 3) -> float | None:
    return round(float(value), digits) if np.isfinite(value) else None
