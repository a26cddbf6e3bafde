"""Ranks over layers: the heat map of the generated tokens, the lines of the watched ones, the commitment strip."""

from __future__ import annotations

import altair as alt
import numpy as np

from analyzers.common.languages import Language
from analyzers.common.tokens import label_token, show_whitespace
from analyzers.rankings import Rankings, Watch
from ui.charts.layer_predictions import layer_name
from ui.charts.spreadsheet import Sheet
from ui.charts.style import apply_theme, format_self_check, wrap_line
from ui.charts.token_strip import build_reading_strip, position_reading
from ui.texts import quote, say
from ui.theme import AGAINST_HEX, FOR_HEX
from ui.values import Cells, Row, Value

WIDE = 700
"""Pixels that the heat map may take before it has to be scrolled."""
NARROWEST = 24
"""Pixels of a cell, in which a rank of three letters stands."""
ROOM, ROOM_BESIDE = 0.2, 0.5
"""Of the lines' width, for the names at their ends; where another picture stands beside."""
APART = 1.75
"""Two names at the lines' ends lie at least this factor of a rank from one another: the height of a line of text."""

LOWEST = 50_000
"""The rank axis reaches at least so far down, so that two pictures can be compared."""


def rows(result: Rankings) -> list[Row]:
    """One row per layer and output: layer, position, token, rank (1 is the likeliest), ties."""
    return [
        {
            "layer": layer,
            "position": token.position,
            "token": label_token(token),
            "rank": int(result.ranks[row, column]),
            "ties": int(result.ties[row, column]),
        }
        for row, layer in enumerate(result.layers)
        for column, token in enumerate(result.outputs)
    ]


def n_blocks(result: Rankings) -> int:
    """Layers, those after attention not counted."""
    return int(result.layers[-1]) + 1


def rankings_chart(result: Rankings, language: Language, name: str = "", deepest: int = 0) -> alt.LayerChart:
    """Generated tokens down, layers across, the rank written in the cell. Rank 1 is solid orange; the others are blue,
    fainter on a fixed logarithmic scale. With another under it, it has a `name`, and is as wide as one of the `deepest` number
    of layers, so that the same relative depth is at the same place."""
    values = [
        row | {"label": f"{row['position']} {row['token']}", "shown": _short(row["rank"])} for row in rows(result)
    ]
    labels = [f"{token.position} {label_token(token)}" for token in result.outputs]
    base = alt.Chart(alt.InlineData(values=values)).encode(
        x=alt.X(
            "layer:O",
            title=say("axis_layer" if len(result.layers) == n_blocks(result) else "axis_layer_half", language),
            axis=alt.Axis(
                orient="top", titleAnchor="start", labelAngle=0, labelExpr="datum.value % 1 ? '½' : datum.value"
            ),
        ),
        y=alt.Y("label:N", sort=labels, title=None, axis=alt.Axis(minExtent=80 if name else 0)),
        tooltip=[
            alt.Tooltip("layer:O", title=say("axis_layer", language)),
            alt.Tooltip("label:N", title=say("column_token", language)),
            alt.Tooltip("rank:Q", format=",", title=say("rank", language)),
            alt.Tooltip("ties:Q", format=",", title=say("column_ties", language)),
        ],
    )
    others = base.transform_filter(alt.datum.rank > 1).mark_rect(fill=AGAINST_HEX)
    others = others.encode(
        opacity=alt.Opacity(
            "rank:Q",
            title=say("rank", language),
            scale=alt.Scale(type="log", domain=[2, 50_000], range=[0.65, 0.0], clamp=True),
            legend=alt.Legend(orient="bottom", values=[2, 10, 100, 1_000, 10_000], symbolFillColor=AGAINST_HEX),
        )
    )
    first = base.transform_filter(alt.datum.rank == 1).mark_rect(fill=FOR_HEX)
    numbers = base.mark_text(fontSize=11, fontWeight=alt.expr("datum.rank == 1 ? 'bold' : 'normal'")).encode(
        text="shown:N",
        color=alt.condition("datum.rank == 1", alt.value("white"), alt.value("currentColor")),
        opacity=alt.value(1),
    )
    title = alt.TitleParams(say("rankings_title", language), subtitle=_subtitle(result, language, name))
    n_layers = max(deepest, len(result.ranks))
    step = min(46, max(NARROWEST, WIDE // n_layers)) * n_layers / len(result.ranks)
    chart = (others + first + numbers).properties(width=alt.Step(step), height=alt.Step(26), title=title)
    ends = [f"{label}: {rank:,}" for label, rank in zip(labels, result.ranks[-1], strict=True)]
    return apply_theme(chart, say("comma", language).join(ends))


def watch_chart(result: Rankings, language: Language, name: str = "") -> alt.LayerChart | None:
    """A line per watched token over the layers, named where it ends; a logarithmic axis with rank 1 on top. None where
    none is watched."""
    watch = result.watch
    if watch is None:
        return None
    names = [f"{show_whitespace(token.text)} ({token.id})" for token in watch.tokens]
    values = [
        {
            "layer": layer,
            "token": names[column],
            "rank": int(watch.ranks[row, column]),
            "ties": int(watch.ties[row, column]),
        }
        | {"probability": float(watch.probability[row, column])}
        for row, layer in enumerate(result.layers)
        for column in range(len(names))
    ]
    lowest, last = max(LOWEST, int(watch.ranks.max())), n_blocks(result) - 1
    axis = alt.Axis(values=list(range(0, last + 1, max(1, last // 15))), format="d")
    colour = alt.Color("token:N", title=None, sort=names, legend=None)
    lines = (
        alt.Chart(alt.InlineData(values=values))
        .mark_line(point=True, strokeWidth=2.5)
        .encode(
            x=alt.X(
                "layer:Q",
                title=say("axis_layer", language),
                axis=axis,
                scale=alt.Scale(
                    domain=[min(0, result.layers[0]), (last or 1) * (1 + (ROOM_BESIDE if name else ROOM))], nice=False
                ),
            ),
            y=alt.Y(
                "rank:Q",
                title=say("rank", language),
                scale=alt.Scale(type="log", reverse=True, domain=[1, lowest], nice=False),
                axis=alt.Axis(values=[1, 2, 5, 10, 100, 1_000, 10_000, 100_000], format=","),
            ),
            color=colour,
            strokeDash=alt.StrokeDash("token:N", sort=names, legend=None),
            tooltip=[
                alt.Tooltip("layer:Q", title=say("axis_layer", language)),
                alt.Tooltip("token:N", title=say("column_token", language)),
                alt.Tooltip("rank:Q", format=",", title=say("rank", language)),
                alt.Tooltip("ties:Q", format=",", title=say("column_ties", language)),
                alt.Tooltip("probability:Q", format=".4f", title=say("probability", language)),
            ],
        )
    )
    ends = _ends(watch, names, last)
    named = (
        alt.Chart(alt.InlineData(values=ends))
        .mark_text(align="left", dx=9, fontSize=14, fontWeight="bold")
        .encode(
            x=alt.X("layer:Q", title=say("axis_layer", language)),
            y=alt.Y("at:Q", title=say("rank", language)),
            text="named:N",
            color=colour,
        )
    )
    title = say("watch_title", language, position=watch.position)
    chart = (lines + named).properties(
        width="container",
        height=320,
        title=alt.TitleParams(title, subtitle=_subtitle(result, language, name)),
    )
    return apply_theme(chart, say("comma", language).join(str(row["named"]) for row in ends))


def commitment_strip(result: Rankings, language: Language, pinned: int | None) -> Value:
    """Every predicted token coloured by the first layer from which it stays first: light early, dark late."""
    n_layers = n_blocks(result)
    layers, numbers = result.commitment_all, result.log_probability_all
    readings: dict[int, str] = {}
    fills: dict[int, float] = {}
    for i, token in enumerate(result.predicted):
        if layers is None or numbers is None:
            readings[token.position] = position_reading(label_token(token), token.position, result.offset, language)
            continue
        values = {
            "token": quote(label_token(token), language),
            "position": token.position,
            "log_probability": f"{numbers[i]:.2f}".replace("-", "−"),
        }
        settled = layers[i]
        if settled is None:
            readings[token.position] = say("reading_never", language, **values)
        else:
            readings[token.position] = say(
                "reading_commitment", language, layer=layer_name(settled, language), **values
            )
            fills[token.position] = _fill(settled, n_layers)
    marks = sorted({0, n_layers // 4, n_layers // 2, 3 * n_layers // 4, n_layers - 1})
    return build_reading_strip(
        result.tokens,
        readings,
        language,
        pinned=pinned,
        answers=[token for token in result.outputs if result.offset == 0],
        written=[token.position for token in result.outputs],
        fills=fills,
        legend=[(say("commitment_never", language), 0.0), *((str(layer), _fill(layer, n_layers)) for layer in marks)],
        legend_title=say("commitment_legend", language),
    )


def name_settings(result: Rankings, language: Language) -> str:
    """What the settings of a reading are, in one line."""
    words = [] if result.watch is None else [show_whitespace(token.text) for token in result.watch.tokens]
    tokens = say("comma", language).join(quote(word, language) for word in words)
    watched = say("settings_watched", language, tokens=tokens) if words else say("settings_unwatched", language)
    if len(result.layers) > n_blocks(result):
        watched += " · " + say("after_attention", language)
    return say("settings_hold", language, what=watched)


def chips(result: Rankings, language: Language) -> list[str]:
    """What each watched word resolved to, with its id."""
    if result.watch is None:
        return []
    return [
        " · ".join(f"{quote(show_whitespace(token.text), language)} = id {token.id}" for token in result.watch.tokens)
    ]


def line(result: Rankings, language: Language) -> str:
    """How it is read, and the live self-check."""
    return say(
        "lens_line_all",
        language,
        norm=say("without_norm" if not result.final_norm else "with_norm", language),
        check=format_self_check(result.self_check, language),
    )


def table_rows(result: Rankings) -> Cells:
    """Cells of the table: layer, position, token, rank, ties; watched tokens after the outputs."""
    cells = [[row["layer"], row["position"], row["token"], row["rank"], row["ties"]] for row in rows(result)]
    watch = result.watch
    if watch is not None:
        for column, token in enumerate(watch.tokens):
            for row, layer in enumerate(result.layers):
                ranks = int(watch.ranks[row, column]), int(watch.ties[row, column])
                cells.append([layer, watch.position, show_whitespace(token.text), *ranks])
    return cells


def sheet(result: Rankings) -> Sheet:
    """The table, and how each row was read."""
    return Sheet(
        ("layer", "position", "token", "rank", "ties", "final_norm"),
        [[*cells, result.final_norm] for cells in table_rows(result)],
    )


def _subtitle(result: Rankings, language: Language, name: str) -> list[str]:
    return [*(wrap_line(name, 60) if name else []), *wrap_line(line(result, language), 60)]


def _ends(watch: Watch, names: list[str], layer: int) -> list[Row]:
    """The name of each line and its last rank, `at` the rank where it is written: below the one before it, where both would
    lie upon one another."""
    found, lowest = [], 0.0
    for column in np.argsort(watch.ranks[-1], kind="stable"):
        rank = int(watch.ranks[-1, column])
        lowest = max(float(rank), lowest * APART)
        named = f"{show_whitespace(watch.tokens[column].text)}  {rank:,}"
        found.append({"layer": layer, "at": lowest, "token": names[column], "named": named})
    return found


def _fill(layer: float, n_layers: int) -> float:
    """Strength for the strip, whose colour is the square root of it: evenly spaced over the layers."""
    return float((0.2 + 0.8 * max(0.0, layer) / max(1, n_layers - 1)) ** 2)


def _short(rank: int) -> str:
    return str(rank) if rank < 1_000 else f"{rank / 1000:.0f}k"
