"""Rows, heat map, lines, strip and chips of the rankings, from results whose numbers were put in by hand."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from conftest import completed
from families import tiny_model

from analyzers.common.progress import finish
from analyzers.common.settings import RankingsSettings
from analyzers.rankings import Rankings, rank_at_each_layer
from ui.charts.rankings import (
    APART,
    _fill,
    chips,
    commitment_strip,
    line,
    name_settings,
    rankings_chart,
    rows,
    sheet,
    table_rows,
    watch_chart,
)
from ui.theme import AGAINST_HEX, FOR_HEX


@pytest.fixture(scope="module")
def made() -> Rankings:
    """the the to → the, =, the: the same word twice, with ranks put in by hand at three layers."""
    model = tiny_model("gpt2")
    completion = completed(model, "the the to", target_text=" the= the")
    settings = RankingsSettings(watch=(" the", " to"))
    result = finish(rank_at_each_layer(model, completion, settings))
    assert result.watch is not None
    watch = replace(
        result.watch,
        ranks=np.array([[40, 3], [1, 2], [1, 5]]),
        ties=np.array([[0, 1], [0, 0], [0, 2]]),
        probability=np.array([[0.125, 0.25], [0.5, 0.25], [0.75, 0.0625]]),
    )
    return replace(
        result,
        ranks=np.array([[1, 300, 12_345], [2, 20, 1], [1, 4, 1]]),
        ties=np.array([[0, 2, 0], [0, 0, 0], [0, 1, 0]]),
        commitment=(2, None, 1),
        commitment_all=(0, None, 2, None, 1),
        log_probability_all=np.array([-0.5, -6.25, -0.125, -3.0, -1.0]),
        watch=watch,
        self_check=0.0,
    )


def data(chart: dict[str, Any]) -> list[dict[str, Any]]:
    (values,) = chart["datasets"].values()
    found: list[dict[str, Any]] = values
    return found


def test_rows_are_the_result(made: Rankings) -> None:
    assert [tuple(row.values()) for row in rows(made)] == [
        (0, 3, "␣the", 1, 0),
        (0, 4, "=", 300, 2),
        (0, 5, "␣the", 12_345, 0),
        (1, 3, "␣the", 2, 0),
        (1, 4, "=", 20, 0),
        (1, 5, "␣the", 1, 0),
        (2, 3, "␣the", 1, 0),
        (2, 4, "=", 4, 1),
        (2, 5, "␣the", 1, 0),
    ]
    assert list(rows(made)[0]) == ["layer", "position", "token", "rank", "ties"]


def test_two_equal_tokens_keep_their_own_columns(made: Rankings) -> None:
    chart = rankings_chart(made, "en").to_dict()
    assert chart["layer"][0]["encoding"]["y"]["sort"] == ["3 ␣the", "4 =", "5 ␣the"]
    assert [row["label"] for row in data(chart)[:3]] == ["3 ␣the", "4 =", "5 ␣the"]


def test_the_rank_is_written_in_its_cell(made: Rankings) -> None:
    chart = rankings_chart(made, "en").to_dict()
    assert [row["shown"] for row in data(chart)] == ["1", "300", "12k", "2", "20", "1", "1", "4", "1"]
    (words,) = [layer for layer in chart["layer"] if layer["mark"]["type"] == "text"]
    assert words["encoding"]["text"]["field"] == "shown"
    shown = data(rankings_chart(replace(made, ranks=np.full((3, 3), 9_999)), "en").to_dict())
    assert {row["shown"] for row in shown} == {"10k"}
    long = data(rankings_chart(replace(made, ranks=np.full((3, 3), 999)), "en").to_dict())
    assert {row["shown"] for row in long} == {"999"}


def test_rank_1_cannot_be_taken_for_another(made: Rankings) -> None:
    others, first, words = rankings_chart(made, "en").to_dict()["layer"]
    assert first["transform"] == [{"filter": "(datum.rank === 1)"}]
    assert first["mark"]["fill"] == FOR_HEX
    assert "opacity" not in first["encoding"]
    assert others["transform"] == [{"filter": "(datum.rank > 1)"}]
    assert others["mark"]["fill"] == AGAINST_HEX
    assert max(others["encoding"]["opacity"]["scale"]["range"]) < 0.7
    assert words["encoding"]["color"]["condition"] == {"test": "datum.rank == 1", "value": "white"}


def test_the_colours_are_the_same_for_every_text(made: Rankings) -> None:
    other = replace(made, ranks=np.full((3, 3), 2))
    scales = [
        rankings_chart(result, "en").to_dict()["layer"][0]["encoding"]["opacity"]["scale"] for result in (made, other)
    ]
    assert scales[0] == scales[1]
    assert scales[0]["domain"] == [2, 50_000]
    assert scales[0]["type"] == "log"
    assert scales[0]["clamp"] is True


def test_watched_tokens_are_lines_with_their_ids(made: Rankings) -> None:
    chart = watch_chart(made, "en")
    assert chart is not None
    lines, ends = chart.to_dict()["layer"]
    drawn = chart.to_dict()["datasets"]
    assert [tuple(row.values()) for row in drawn[lines["data"]["name"]]] == [
        (0, "␣the (259)", 40, 0, 0.125),
        (0, "␣to (342)", 3, 1, 0.25),
        (1, "␣the (259)", 1, 0, 0.5),
        (1, "␣to (342)", 2, 0, 0.25),
        (2, "␣the (259)", 1, 0, 0.75),
        (2, "␣to (342)", 5, 2, 0.0625),
    ]
    assert [tuple(row.values()) for row in drawn[ends["data"]["name"]]] == [
        (2, 1.0, "␣the (259)", "␣the  1"),
        (2, 5.0, "␣to (342)", "␣to  5"),
    ]
    assert lines["encoding"]["color"] == ends["encoding"]["color"]
    assert "position 3" in chart.to_dict()["title"]["text"]


def test_names_of_lines_that_end_together_are_written_under_one_another(made: Rankings) -> None:
    assert made.watch is not None
    even = replace(made.watch, ranks=np.full((3, 2), 7))
    chart = watch_chart(replace(made, watch=even), "en")
    assert chart is not None
    _, ends = chart.to_dict()["layer"]
    places = [row["at"] for row in chart.to_dict()["datasets"][ends["data"]["name"]]]
    assert places == [7.0, 7.0 * APART]


def test_rank_1_is_on_top_and_the_axis_is_the_same_for_every_text(made: Rankings) -> None:
    assert made.watch is not None
    low = replace(made, watch=replace(made.watch, ranks=np.full((3, 2), 9_000)))
    charts = [watch_chart(result, "en") for result in (made, low)]
    scales = [chart.to_dict()["layer"][0]["encoding"]["y"]["scale"] for chart in charts if chart is not None]
    assert scales == [{"domain": [1, 50_000], "nice": False, "reverse": True, "type": "log"}] * 2


def test_no_rank_falls_off_the_axis(made: Rankings) -> None:
    assert made.watch is not None
    chart = watch_chart(replace(made, watch=replace(made.watch, ranks=np.full((3, 2), 200_000))), "en")
    assert chart is not None
    assert chart.to_dict()["layer"][0]["encoding"]["y"]["scale"]["domain"][1] >= 200_000


def test_nothing_watched_is_no_chart_and_no_chip(made: Rankings) -> None:
    assert watch_chart(replace(made, watch=None), "en") is None
    assert chips(replace(made, watch=None), "en") == []


def test_a_chip_says_what_each_word_resolved_to(made: Rankings) -> None:
    assert chips(made, "en") == ["“␣the” = id 259 · “␣to” = id 342"]


def test_the_strip_is_dark_where_the_model_settles_late(made: Rankings) -> None:
    strip = commitment_strip(made, "en", 4)
    assert strip["explained"] == [1, 2, 3, 4, 5]
    assert strip["pinned"] == 4
    assert {position: round(fill, 6) for position, fill in strip["fills"].items()} == {"1": 0.04, "3": 1.0, "5": 0.36}
    assert strip["readings"]["1"] == "“␣the” (position 1): first from layer 0 on; log-probability −0.50"
    assert strip["readings"]["2"] == "“␣to” (position 2): not first at the last layer; log-probability −6.25"
    assert strip["readings"]["3"].endswith("first from layer 2 on; log-probability −0.12")


def test_the_legend_of_the_strip_runs_over_the_layers(made: Rankings) -> None:
    strip = commitment_strip(made, "en", None)
    assert [(mark["label"], round(mark["fill"], 6)) for mark in strip["legend"]] == [
        ("not first", 0.0),
        ("0", 0.04),
        ("1", 0.36),
        ("2", 1.0),
    ]
    assert strip["words"]["legend"] == "first layer from which it stays first"


def test_an_early_result_says_where_each_token_is_but_not_when_it_settled(made: Rankings) -> None:
    early = replace(made, commitment_all=None, log_probability_all=None)
    strip = commitment_strip(early, "en", None)
    assert strip["fills"] == {}
    assert strip["readings"]["4"] == "“=” (position 4), predicted from position 3"
    assert "log-probability" not in " ".join(strip["readings"].values())
    rankings_chart(early, "en").to_dict()


def test_the_line_says_how_it_is_read(made: Rankings) -> None:
    assert line(made, "en") == (
        "Lens: each layer through the model's own final norm and head · last layer − model's logits: max difference 0"
    )
    assert "WITHOUT the final norm" in line(replace(made, final_norm=False), "en")
    for chart in (rankings_chart(made, "en"), watch_chart(made, "en")):
        assert chart is not None
        assert "final norm and head" in " ".join(chart.to_dict()["title"]["subtitle"])


def test_the_table_ends_with_the_watched_tokens(made: Rankings) -> None:
    cells = table_rows(made)
    assert len(cells) == 9 + 6
    assert cells[0] == [0, 3, "␣the", 1, 0]
    assert cells[9:] == [
        [0, 3, "␣the", 40, 0],
        [1, 3, "␣the", 1, 0],
        [2, 3, "␣the", 1, 0],
        [0, 3, "␣to", 3, 1],
        [1, 3, "␣to", 2, 0],
        [2, 3, "␣to", 5, 2],
    ]
    assert len(table_rows(replace(made, watch=None))) == 9


def test_a_sheet_has_the_outputs_and_the_watched_tokens(made: Rankings) -> None:
    found = sheet(made)
    assert found.columns == ("layer", "position", "token", "rank", "ties", "final_norm")
    assert found.rows[1] == [0, 4, "=", 300, 2, True]
    assert len(found.rows) == 9 + 6


@pytest.mark.parametrize("language", ["en", "ja"])
def test_a_real_result_is_a_valid_chart(language: Any) -> None:
    model = tiny_model("llama")
    completion = completed(model, generate=3)
    result = finish(rank_at_each_layer(model, completion, RankingsSettings(watch=(" is", " are", "zebra"))))
    for chart in (rankings_chart(result, language), watch_chart(result, language)):
        assert chart is not None
        json.dumps(chart.to_dict(), allow_nan=False)
    json.dumps(commitment_strip(result, language, None), allow_nan=False)


def test_a_word_stands_in_the_languages_own_quotation_marks(made: Rankings) -> None:
    assert chips(made, "ja") == ["「␣the」 = id 259 · 「␣to」 = id 342"]


def test_the_settings_say_what_is_watched(made: Rankings) -> None:
    assert name_settings(made, "en") == "Settings: watching “␣the”, “␣to”"
    assert name_settings(replace(made, watch=None), "ja") == "設定：追跡なし"


def test_two_heat_maps_have_names_and_the_same_width(made: Rankings) -> None:
    n_layers = len(made.ranks)
    twice = replace(
        made,
        layers=tuple(range(2 * n_layers)),
        ranks=np.repeat(made.ranks, 2, axis=0),
        ties=np.repeat(made.ties, 2, axis=0),
    )
    widths = [
        rankings_chart(one, "en", name="tiny", deepest=2 * n_layers).to_dict()["width"]["step"] * len(one.ranks)
        for one in (made, twice)
    ]
    assert widths[0] == widths[1]
    chart = rankings_chart(made, "en", name="tiny (float32) · 3 layers")
    assert chart.to_dict()["title"]["subtitle"][0] == "tiny (float32) · 3 layers"


@pytest.mark.parametrize("language", ["en", "ja"])
def test_rows_after_attention_stand_between_the_layers(language: str) -> None:
    model = tiny_model("llama")
    completion = completed(model, generate=2)
    settings = RankingsSettings(watch=(" the",), after_attention=True)
    result = finish(rank_at_each_layer(model, completion, settings))
    assert [row["layer"] for row in rows(result)][::2] == [-0.5, 0, 0.5, 1, 1.5, 2]
    heat, lines = rankings_chart(result, language).to_dict(), watch_chart(result, language)
    assert lines is not None
    drawn = lines.to_dict()
    assert "½" in heat["layer"][0]["encoding"]["x"]["title"]
    assert drawn["layer"][0]["encoding"]["x"]["scale"]["domain"][0] == -0.5
    ends = drawn["datasets"][drawn["layer"][1]["data"]["name"]]
    assert {row["layer"] for row in ends} == {2}
    assert [cells[0] for cells in table_rows(result)][::2][:6] == [-0.5, 0, 0.5, 1, 1.5, 2]
    marks = commitment_strip(result, language, None)["legend"]
    assert [mark["label"] if isinstance(mark, dict) else mark[0] for mark in marks][1:] == ["0", "1", "2"]


@pytest.mark.parametrize("n_layers", [1, 2, 3, 30])
def test_what_settles_earliest_is_fainter_than_what_settles_late_and_never_blank(n_layers: int) -> None:
    strengths = [_fill(layer, n_layers) for layer in (-0.5, 0, *range(1, n_layers))]
    assert strengths == sorted(strengths)
    assert strengths[0] == strengths[1] > 0.03
