"""Rows, chart, table, CSV and grid of the layer predictions, from results whose numbers were put in by hand."""

from __future__ import annotations

import json
from dataclasses import replace
from types import MappingProxyType
from typing import Any

import numpy as np
import pytest
from conftest import completed
from families import tiny_model

from analyzers.common.progress import finish
from analyzers.common.settings import LayerPredictionsSettings
from analyzers.layer_predictions import (
    LayerOverview,
    LayerPredictions,
    Prediction,
    overview_of_each_layer,
    predict_from_each_layer,
)
from ui.charts.layer_predictions import (
    MOST_COLUMNS,
    finding,
    layer_name,
    line,
    name_settings,
    overview_grid,
    predictions_chart,
    rows,
    sheet,
    table_rows,
)


@pytest.fixture(scope="module")
def made() -> LayerPredictions:
    """the the to → the (id 259), with two predictions at each of the embedding row and three layers."""
    model = tiny_model("gpt2")
    completion = completed(model, "the the to", target_text=" the")
    result = finish(predict_from_each_layer(model, completion, LayerPredictionsSettings(top=2)))
    said = (
        (Prediction(342, " to", 0.5), Prediction(259, " the", 0.25)),
        (Prediction(158, "⟨E1⟩", 0.125), Prediction(202, "\r", 0.0625)),
        (Prediction(29, "=1+1", 0.75), Prediction(342, " to", 0.125)),
        (Prediction(259, " the", 0.875), Prediction(3, "<b>", 0.0625)),
    )
    return replace(
        result,
        predictions=said,
        entropy=np.array([1.5, 1.25, 1.0, 0.5]),
        kl=np.array([3.0, 2.0, 1.0, 0.0]),
        self_check=0.0,
    )


def drawn_rows(chart: dict[str, Any], *keys: str) -> list[tuple[Any, ...]]:
    """Values of the first data set that has all the keys, as they are given to the browser."""
    for values in chart["datasets"].values():
        if all(key in values[0] for key in keys):
            return [tuple(value[key] for key in keys) for value in values]
    raise AssertionError(f"no data set has {keys}")


def grid_of(chart: dict[str, Any]) -> dict[str, Any]:
    """The layered part: cells, outlines, words."""
    found: dict[str, Any] = chart["hconcat"][0] if "hconcat" in chart else chart
    return found


def test_the_finding_says_from_which_layer_the_token_stays_first(made: LayerPredictions) -> None:
    def say_for(*ranks: int) -> str:
        return finding(replace(made, chosen_rank=np.array(ranks)), "en").removeprefix(
            "Position 3, read at position 2: "
        )

    assert say_for(1, 2, 2, 1) == "“␣the” is first from layer 2 on (the last is 2); 87.5% in the end."
    assert say_for(9, 1, 1, 1).startswith("“␣the” is first from layer 0 on")
    assert say_for(1, 1, 1, 1).startswith("“␣the” is first from layer embedding on")
    assert say_for(1, 1, 1, 1234).startswith("“␣the” is not first in the end, it stands at rank 1,234; first is “␣the”")
    bare = replace(made, chosen=None, chosen_rank=None)
    assert finding(bare, "en").endswith("the model would say “␣the” here, 87.5%.")
    row = slice(1, 2)
    one = replace(
        made,
        layers=made.layers[row],
        predictions=made.predictions[row],
        entropy=made.entropy[row],
        kl=made.kl[row],
        chosen_rank=np.array([3]),
        chosen_ties=np.array([0]),
    )
    assert finding(one, "ja") == "位置 3（位置 2 で読み取り）：層 0 が言うのは「⟨E1⟩」、12.5%。"


def test_rows_are_the_result(made: LayerPredictions) -> None:
    assert [tuple(row.values()) for row in rows(made)] == [
        (-1, 1, "␣to", 342, 0.5, False),
        (-1, 2, "␣the", 259, 0.25, True),
        (0, 1, "⟨E1⟩", 158, 0.125, False),
        (0, 2, "␍", 202, 0.0625, False),
        (1, 1, "=1+1", 29, 0.75, False),
        (1, 2, "␣to", 342, 0.125, False),
        (2, 1, "␣the", 259, 0.875, True),
        (2, 2, "<b>", 3, 0.0625, False),
    ]
    assert list(rows(made)[0]) == ["layer", "rank", "token", "id", "probability", "is_chosen"]


def test_where_nothing_was_written_nothing_is_chosen(made: LayerPredictions) -> None:
    unwritten = replace(made, chosen=None)
    assert not any(row["is_chosen"] for row in rows(unwritten))
    said = " ".join(predictions_chart(unwritten, "en").to_dict()["title"]["subtitle"])
    assert "outlined" not in said


def test_the_embedding_row_has_a_name_and_the_last_layer_stands_on_top(made: LayerPredictions) -> None:
    assert [layer_name(layer, "en") for layer in (-1, 0, 11)] == ["embedding", "0", "11"]
    assert layer_name(-1, "ja") == "埋め込み"
    chart = predictions_chart(made, "en").to_dict()
    for layer in grid_of(chart)["layer"]:
        assert layer["encoding"]["y"]["sort"] == ["2", "1", "0", "embedding"]
    assert [row[0] for row in drawn_rows(chart, "layer", "rank")][::2] == ["embedding", "0", "1", "2"]


def test_layers_are_in_numeric_order_even_past_nine(made: LayerPredictions) -> None:
    layers = tuple(range(-1, 12))
    deep = replace(
        made,
        layers=layers,
        predictions=made.predictions[:1] * 13,
        entropy=np.ones(13),
        kl=np.ones(13),
        chosen_rank=None,
        chosen_ties=None,
    )
    sort = grid_of(predictions_chart(deep, "en").to_dict())["layer"][0]["encoding"]["y"]["sort"]
    assert sort == [*(str(n) for n in reversed(range(12))), "embedding"]


@pytest.mark.parametrize("compact", [False, True])
def test_the_colour_is_the_probability_on_a_fixed_scale(made: LayerPredictions, compact: bool) -> None:
    pale = replace(
        made, predictions=tuple(tuple(replace(p, probability=0.001) for p in row) for row in made.predictions)
    )
    scales = [
        grid_of(predictions_chart(result, "en", compact=compact).to_dict())["layer"][0]["encoding"]["opacity"]["scale"]
        for result in (made, pale)
    ]
    assert scales[0]["domain"] == [0, 1]
    assert scales[0]["range"][0] == 0
    assert scales[0] == scales[1]


def test_the_colour_has_a_legend_in_percent(made: LayerPredictions) -> None:
    opacity = grid_of(predictions_chart(made, "en").to_dict())["layer"][0]["encoding"]["opacity"]
    assert opacity["title"] == "probability"
    assert opacity["legend"]["values"] == [0, 0.01, 0.1, 0.5, 1]
    assert opacity["legend"]["format"] == ".0%"


def test_only_the_token_that_stands_there_is_outlined(made: LayerPredictions) -> None:
    chart = predictions_chart(made, "en").to_dict()
    outlined = [layer for layer in grid_of(chart)["layer"] if layer["mark"].get("stroke")]
    assert [layer["transform"] for layer in outlined] == [[{"filter": "datum.is_chosen"}]]
    assert drawn_rows(chart, "token", "is_chosen") == [
        ("␣to", False),
        ("␣the", True),
        ("⟨E1⟩", False),
        ("␍", False),
        ("=1+1", False),
        ("␣to", False),
        ("␣the", True),
        ("<b>", False),
    ]
    assert "outlined: “␣the”, the token that stands there" in chart["title"]["subtitle"]


def test_entropy_and_divergence_stand_beside_each_layer(made: LayerPredictions) -> None:
    chart = predictions_chart(made, "en").to_dict()
    assert drawn_rows(chart, "layer", "entropy", "kl") == [
        ("embedding", 1.5, 3.0),
        ("0", 1.25, 2.0),
        ("1", 1.0, 1.0),
        ("2", 0.5, 0.0),
    ]
    fields = [part["encoding"]["x"] for part in chart["hconcat"][1:]]
    assert [(x["field"], x["title"]) for x in fields] == [
        ("entropy", ["entropy", "(nats)"]),
        ("kl", ["KL to final", "(nats)"]),
    ]


def test_side_by_side_only_the_tokens_are_drawn(made: LayerPredictions) -> None:
    chart = predictions_chart(made, "en", compact=True).to_dict()
    assert "hconcat" not in chart
    assert chart["title"]["text"] == "What each layer would say at position 3"


def test_the_title_says_where_how_and_how_well_it_checks(made: LayerPredictions) -> None:
    assert line(made, "en") == (
        "Position 3, read at position 2 · each layer through the model's own final norm and head · "
        "last layer − model's logits: max difference 0"
    )
    assert "WITHOUT the final norm" in line(replace(made, final_norm=False), "en")
    assert "最終正規化なし" in line(replace(made, final_norm=False), "ja")
    said = " ".join(predictions_chart(made, "en").to_dict()["title"]["subtitle"])
    assert "read at position 2" in said
    assert "max difference 0" in said


def test_a_long_token_is_cut_in_the_picture_only(made: LayerPredictions) -> None:
    long = replace(made, predictions=((Prediction(1, "x" * 40, 0.5),), *made.predictions[1:]))
    assert drawn_rows(predictions_chart(long, "en").to_dict(), "token")[0] == ("x" * 11 + "…",)
    assert rows(long)[0]["token"] == "x" * 40


def test_text_reaches_the_chart_as_data_only(made: LayerPredictions) -> None:
    chart = predictions_chart(made, "en").to_dict()
    assert ("<b>",) in drawn_rows(chart, "token")
    chart.pop("datasets")
    assert "<b>" not in json.dumps(chart)
    assert "1+1" not in json.dumps(chart)


def test_the_table_rounds_and_names_the_embedding_row(made: LayerPredictions) -> None:
    precise = replace(made, predictions=((Prediction(342, " to", 0.123456789),), *made.predictions[1:]))
    assert table_rows(precise, "en")[:2] == [["embedding", 1, "␣to", 342, 0.12346], ["0", 1, "⟨E1⟩", 158, 0.125]]


def test_a_sheet_holds_every_number(made: LayerPredictions) -> None:
    found = sheet(made)
    assert found.columns == ("position", "layer", "rank", "token", "id", "probability", "entropy", "kl", "final_norm")
    assert found.rows[0] == [3, -1, 1, "␣to", 342, 0.5, 1.5, 3.0, True]
    assert found.rows[4] == [3, 1, 1, "=1+1", 29, 0.75, 1.0, 1.0, True]
    assert len(found.rows) == 8


def test_side_by_side_the_first_five_ranks_stand_in_whole_cells(made: LayerPredictions) -> None:
    many = replace(made, predictions=tuple(tuple(Prediction(i, f" {i}", 0.1) for i in range(10)) for _ in made.layers))
    for compact, ranks in ((True, 5), (False, 10)):
        drawn = predictions_chart(many, "en", compact=compact).to_dict()
        assert {rank for (rank,) in drawn_rows(drawn, "rank")} == set(range(1, ranks + 1))


@pytest.fixture(scope="module")
def overview() -> LayerOverview:
    """Two layers over “the the to”: what they say after each token is put in by hand."""
    model = tiny_model("gpt2")
    completion = completed(model, "the the to", generate=0)
    result = finish(overview_of_each_layer(model, completion, LayerPredictionsSettings()))
    return replace(
        result,
        layers=(-1, 0),
        ids=np.array([[259, 342, 7], [8, 342, 259]]),
        texts=MappingProxyType({259: " the", 342: " to", 7: "<img src=x>", 8: "a very long token"}),
        probability=np.array([[0.5, 0.25, 0.12345678], [1.0, 0.0, 0.75]]),
        is_actual=np.array([[True, True, False], [False, True, False]]),
    )


def test_the_grid_is_the_overview(overview: LayerOverview) -> None:
    grid = overview_grid(overview, "en", None)
    assert grid["heads"] == [
        {"position": 1, "label": "␣the"},
        {"position": 2, "label": "␣to"},
        {"position": 3, "label": "next token"},
    ]
    assert [(row["layer"], row["label"]) for row in grid["body"]] == [(-1, "embedding"), (0, "0")]
    assert [[tuple(cell.values()) for cell in row["cells"]] for row in grid["body"]] == [
        [("␣the", 0.5, True), ("␣to", 0.25, True), ("<img␣src=x>", 0.1235, False)],
        [("a␣very␣long…", 1.0, False), ("␣to", 0.0, True), ("␣the", 0.75, False)],
    ]
    assert "positions" not in grid["note"]
    json.dumps(grid, allow_nan=False)


def long_overview(n: int) -> LayerOverview:
    model = tiny_model("gpt2")
    result = finish(overview_of_each_layer(model, completed(model, " the" * n, generate=0), LayerPredictionsSettings()))
    assert len(result.positions) == n
    return result


@pytest.mark.parametrize(
    ("around", "first", "last"), [(1, 1, 60), (31, 1, 60), (32, 2, 61), (50, 20, 79), (100, 41, 100), (None, 41, 100)]
)
def test_of_a_long_text_sixty_positions_around_the_chosen_one_are_drawn(
    around: int | None, first: int, last: int
) -> None:
    grid = overview_grid(long_overview(100), "en", around)
    positions = [head["position"] for head in grid["heads"]]
    assert positions == list(range(first, last + 1))
    assert len(positions) == MOST_COLUMNS == 60
    assert all(len(row["cells"]) == 60 for row in grid["body"])
    assert f"positions {first} to {last} of 100" in grid["note"]


def test_cells_of_the_window_are_those_of_their_positions() -> None:
    overview = long_overview(100)
    grid = overview_grid(overview, "en", 50)
    row, column = 2, 30
    position = grid["heads"][column]["position"]
    place = overview.positions.index(position)
    cell = grid["body"][row]["cells"][column]
    assert cell["probability"] == round(float(overview.probability[row, place]), 4)
    assert cell["is_actual"] == bool(overview.is_actual[row, place])


def test_sixty_positions_are_drawn_whole() -> None:
    grid = overview_grid(long_overview(60), "en", 60)
    assert [head["position"] for head in grid["heads"]] == list(range(1, 61))
    assert "positions" not in grid["note"]


@pytest.mark.parametrize("compact", [False, True])
@pytest.mark.parametrize("language", ["en", "ja"])
def test_a_real_result_is_a_valid_chart(language: Any, compact: bool) -> None:
    model = tiny_model("llama")
    completion = completed(model, generate=2)
    for position in (1, completion.n_prompt, completion.n_positions):
        result = finish(predict_from_each_layer(model, completion, LayerPredictionsSettings(position=position)))
        chart = predictions_chart(result, language, compact=compact).to_dict()
        json.dumps(chart, allow_nan=False)
        assert len(drawn_rows(chart, "token")) == (20 if compact else 40)


def test_two_pictures_have_names_and_the_same_height(made: LayerPredictions) -> None:
    chart = predictions_chart(made, "en", compact=True, name="tiny (float32) · 4 layers", deepest=10).to_dict()
    assert chart["title"]["subtitle"][0] == "tiny (float32) · 4 layers"
    assert chart["height"]["step"] * len(made.layers) == 26 * 10
    alone = predictions_chart(made, "en", compact=True, deepest=len(made.layers)).to_dict()
    assert alone["height"]["step"] == 26
    assert not alone["title"]["subtitle"][0].startswith("tiny")


def test_what_is_left_of_the_self_check_in_float32_is_called_rounding(made: LayerPredictions) -> None:
    assert line(replace(made, self_check=3e-5), "en").endswith("max difference 0.00003 (float32 rounding)")
    assert line(replace(made, self_check=0.5), "en").endswith("max difference 0.5")


def test_the_settings_say_how_many_and_which_layers(made: LayerPredictions) -> None:
    assert name_settings(made, "en") == "Settings: top 2 · all layers"
    one = replace(made, layers=made.layers[-1:], predictions=made.predictions[-1:])
    assert name_settings(one, "ja") == "設定：上位 2 個 · 層 2"


@pytest.mark.parametrize(
    ("language", "names"), [("en", ["embedding", "0 attn", "0"]), ("ja", ["埋め込み", "0 注意", "0"])]
)
def test_rows_after_attention_have_names(language: str, names: list[str]) -> None:
    model = tiny_model("llama")
    settings = LayerPredictionsSettings(position=2, after_attention=True)
    result = finish(predict_from_each_layer(model, completed(model, generate=2), settings))
    assert [layer_name(layer, language) for layer in result.layers][:3] == names
    chart = predictions_chart(result, language).to_dict()
    json.dumps(chart, allow_nan=False)
    assert chart["hconcat"][0]["layer"][0]["encoding"]["y"]["sort"][::-1][:3] == names
    assert [row[1] for row in sheet(result).rows][:: len(result.predictions[0])] == list(result.layers)
