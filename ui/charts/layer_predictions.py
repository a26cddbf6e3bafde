"""What each layer would have said: as rows, as a chart of tokens, and as the grid of the whole text."""

from __future__ import annotations

from collections.abc import Sequence

import altair as alt

from analyzers.common.languages import Language
from analyzers.common.tokens import Token, label_token, show_whitespace
from analyzers.layer_predictions import LayerOverview, LayerPredictions
from analyzers.models.completion import Completion
from ui.charts.spreadsheet import Sheet
from ui.charts.style import apply_theme, format_self_check, percent, text_width, wrap_line
from ui.charts.token_strip import label_tokens
from ui.texts import quote, say
from ui.theme import AGAINST_HEX, FOR_HEX
from ui.values import Cells, Row, Value

MOST_COLUMNS = 60
COMPACT_RANKS = 5
"""Of two pictures side by side, so that whole cells of both stand on the page."""
CELL = 58
"""Width of a cell in pixels: ten of them, the layers' names, entropy and KL stand on the page without scrolling."""


def layer_name(layer: float, language: Language) -> str:
    """Layer −1 by its name, the others by their number, the stream after the attention of block l (l − 0.5) by that."""
    if layer % 1:
        return say("layer_after_attention", language, layer=round(layer + 0.5))
    return say("layer_embedding", language) if layer < 0 else str(layer)


def rows(result: LayerPredictions) -> list[Row]:
    """One row per layer and prediction: layer, rank (1 first), token, id, probability, and whether it is the token that
    stands there."""
    chosen = None if result.chosen is None else result.chosen.id
    return [
        {
            "layer": layer,
            "rank": rank,
            "token": show_whitespace(prediction.text),
            "id": prediction.id,
            "probability": prediction.probability,
            "is_chosen": prediction.id == chosen,
        }
        for layer, predictions in zip(result.layers, result.predictions, strict=True)
        for rank, prediction in enumerate(predictions, 1)
    ]


def predictions_chart(
    result: LayerPredictions, language: Language, *, compact: bool = False, name: str = "", deepest: int = 0
) -> alt.HConcatChart | alt.LayerChart:
    """Layers down, predictions across, the background their probability (0 to 1, fixed); beside it entropy and KL,
    unless `compact`, for two pictures side by side, which then have a `name`. Each is as high as one of the `deepest` number of
    layers, so that the same relative depth is at the same height."""
    names = {layer: layer_name(layer, language) for layer in result.layers}
    values = [
        row | {"layer": names[row["layer"]], "token": _short(row["token"])} | {"size": _font(_short(row["token"]))}
        for row in rows(result)
        if not compact or row["rank"] <= COMPACT_RANKS
    ]
    order = list(names.values())[::-1]  # the last layer on top, where the answer is
    layers = alt.Y("layer:N", sort=order, title=say("axis_layer", language))
    bare = alt.Y("layer:N", sort=order, title=None, axis=None)
    base = alt.Chart(alt.InlineData(values=values)).encode(
        x=alt.X("rank:O", title=say("axis_rank_order", language), axis=alt.Axis(orient="top", labelAngle=0)),
        y=layers,
        tooltip=[
            alt.Tooltip("layer:N", title=say("axis_layer", language)),
            alt.Tooltip("rank:O", title=say("rank", language)),
            alt.Tooltip("token:N", title=say("column_token", language)),
            alt.Tooltip("id:O", title="id"),
            alt.Tooltip("probability:Q", format=".4f", title=say("probability", language)),
        ],
    )
    cells = base.mark_rect(fill=FOR_HEX).encode(
        opacity=alt.Opacity(
            "probability:Q",
            title=say("probability", language),
            scale=alt.Scale(type="sqrt", domain=[0, 1], range=[0, 0.85]),
            legend=alt.Legend(orient="bottom", values=[0, 0.01, 0.1, 0.5, 1], symbolFillColor=FOR_HEX, format=".0%"),
        )
    )
    outlined = base.transform_filter(alt.datum.is_chosen).mark_rect(fillOpacity=0, stroke="currentColor", strokeWidth=2)
    words = base.mark_text(fontSize=alt.expr("datum.size"), fill="currentColor").encode(text="token:N")
    row = 26 * max(1.0, deepest / len(result.layers))
    cell = CELL - 2 if _has_halves(result) else CELL  # whose names are wider
    grid = (cells + outlined + words).properties(width=alt.Step(cell), height=alt.Step(row))
    if compact:
        return apply_theme(grid.properties(title=_title(result, language, compact, name)), finding(result, language))
    numbers = [
        {"layer": names[layer], "entropy": float(entropy), "kl": float(kl)}
        for layer, entropy, kl in zip(result.layers, result.entropy, result.kl, strict=True)
    ]
    beside = [
        alt.Chart(alt.InlineData(values=numbers))
        .mark_bar(fill=colour)
        .encode(
            x=alt.X(f"{name}:Q", title=_in_two(say(name, language)), axis=alt.Axis(orient="top", tickCount=3)),
            y=bare,
            tooltip=[alt.Tooltip("layer:N"), alt.Tooltip(f"{name}:Q", format=".3f", title=say(name, language))],
        )
        .properties(width=58, height=alt.Step(26))
        for name, colour in (("entropy", "#8b8b94"), ("kl", AGAINST_HEX))
    ]
    return apply_theme(
        alt.hconcat(grid, *beside, spacing=14, title=_title(result, language)), finding(result, language)
    )


def line(result: LayerPredictions, language: Language) -> str:
    """Where it is read, how, and the live self-check."""
    return say(
        "lens_line",
        language,
        position=result.position,
        before=result.position - result.offset,
        norm=say("without_norm" if not result.final_norm else "with_norm", language),
        check=format_self_check(result.self_check, language),
    )


def finding(result: LayerPredictions, language: Language) -> str:
    """What there is to see, in a sentence: from which layer on the token that stands there is first, or what is first."""
    top = result.predictions[-1][0]
    said = {"top": quote(show_whitespace(top.text), language), "probability": percent(top.probability)}
    ranks = None if result.chosen_rank is None else [int(rank) for rank in result.chosen_rank]
    last = layer_name(result.layers[-1], language)
    if len(result.layers) == 1:
        found = say("finding_layer", language, layer=last, **said)
    elif ranks is None or result.chosen is None:
        found = say("finding_next", language, **said)
    elif ranks[-1] > 1:
        token = quote(label_token(result.chosen), language)
        found = say("finding_not_first", language, token=token, rank=f"{ranks[-1]:,}", **said)
    else:
        first = max((row for row, rank in enumerate(ranks) if rank > 1), default=-1) + 1
        layer = layer_name(result.layers[first], language)
        token = quote(label_token(result.chosen), language)
        found = say("finding_first", language, token=token, layer=layer, last=last, probability=said["probability"])
    place = say("finding_place", language, position=result.position, before=result.position - result.offset)
    return place + found


def name_settings(result: LayerPredictions, language: Language) -> str:
    """What the settings of a reading are, in one line."""
    top = say("settings_top", language, n=len(result.predictions[0]))
    layer = layer_name(result.layers[-1], language)
    read = say("layer_all", language) if len(result.layers) > 1 else say("settings_layer", language, layer=layer)
    if _has_halves(result):
        read += " · " + say("after_attention", language)
    return say("settings_hold", language, what=f"{top} · {read}")


def _has_halves(result: LayerPredictions) -> bool:
    """Whether the stream after attention is among the rows."""
    return any(layer % 1 for layer in result.layers)


def table_rows(result: LayerPredictions, language: Language) -> Cells:
    """Cells of the table: layer, rank, token, id, probability."""
    return [
        [layer_name(row["layer"], language), row["rank"], row["token"], row["id"], float(f"{row['probability']:.5g}")]
        for row in rows(result)
    ]


def sheet(result: LayerPredictions) -> Sheet:
    """Every row, with the layer's entropy and KL, and how it was read."""
    beside = {layer: (float(e), float(k)) for layer, e, k in zip(result.layers, result.entropy, result.kl, strict=True)}
    names = ("layer", "rank", "token", "id", "probability")
    return Sheet(
        ("position", *names, "entropy", "kl", "final_norm"),
        [
            [result.position, *(row[name] for name in names), *beside[row["layer"]], result.final_norm]
            for row in rows(result)
        ],
    )


def overview_grid(overview: LayerOverview, language: Language, around: int | None) -> Value:
    """The grid's value: layers down, positions across (at most 60, those around the one looked at)."""
    total = len(overview.positions)
    columns = _columns(overview.positions, around)
    heads = _heads([overview.positions[j] for j in columns], overview.tokens, overview.answers, language)
    body = [
        {
            "layer": layer,
            "label": layer_name(layer, language),
            "cells": [
                {
                    "text": _short(show_whitespace(overview.texts[int(overview.ids[i, j])])),
                    "probability": round(float(overview.probability[i, j]), 4),
                    "is_actual": bool(overview.is_actual[i, j]),
                }
                for j in columns
            ],
        }
        for i, layer in enumerate(overview.layers)
    ]
    note = say("overview_note", language)
    if len(columns) < total:
        note += " " + say(
            "overview_window", language, first=heads[0]["position"], last=heads[-1]["position"], total=total
        )
    return {"heads": heads, "body": body, "note": note, "around": around, **_grid_words(language)}


def grid_outline(result: LayerPredictions, completion: Completion, language: Language) -> Value:
    """The grid's value while it is read: its place and its columns, without a cell's word."""
    positions = completion.predictable_positions
    shown = [positions[j] for j in _columns(positions, result.position)]
    heads = _heads(shown, completion.tokens, completion.answers, language)
    body: list[Value] = [{"layer": layer, "label": layer_name(layer, language), "cells": []} for layer in result.layers]
    return {"heads": heads, "body": body, "note": "", "around": result.position, **_grid_words(language)}


def _columns(positions: Sequence[int], around: int | None) -> range:
    """Which of the positions are drawn: at most `MOST_COLUMNS`, in the middle the one that is looked at."""
    total, first = len(positions), 0
    if total > MOST_COLUMNS:
        middle = total - 1 if around is None else positions.index(around)
        first = min(max(0, middle - MOST_COLUMNS // 2), total - MOST_COLUMNS)
    return range(first, min(total, first + MOST_COLUMNS))


def _heads(
    positions: Sequence[int], tokens: Sequence[Token], answers: Sequence[Token], language: Language
) -> list[Value]:
    called, after = label_tokens(tokens, answers), say("strip_next", language)
    return [{"position": one, "label": called[one] if one < len(tokens) else after} for one in positions]


def _grid_words(language: Language) -> Value:
    names = {"title": "overview_title", "corner": "axis_layer", "probability": "probability", "cell": "cell_title"}
    switches = {
        "all": "overview_all",
        "last": "overview_last",
        "words": "overview_words",
        "reading": "overview_reading",
    }
    return {name: say(key, language) for name, key in (names | switches).items()}


def _title(result: LayerPredictions, language: Language, compact: bool = False, name: str = "") -> alt.TitleParams:
    # Two pictures side by side have one part per line, or a longer number would shift one against the other.
    subtitle = wrap_line(name, 44) if name else []
    subtitle += wrap_line(line(result, language), 0 if compact else 70)
    if result.chosen is not None:
        subtitle.append(say("chosen_outlined", language, token=quote(label_token(result.chosen), language)))
    return alt.TitleParams(say("predictions_title", language, position=result.position), subtitle=subtitle)


def _in_two(title: str) -> list[str]:
    """A name and its unit, on two lines."""
    for bracket in ("(", "（"):
        name, found, unit = title.partition(bracket)
        if found:
            return [name.strip(), found + unit]
    return [title]


def _font(text: str) -> int:
    """Size of a cell's letters: what is long is written smaller, so that it stays in its cell."""
    width = text_width(text)
    return 14 if width <= 7 else 11 if width <= 9 else 10


def _short(text: str, most: int = 12) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"
