from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from conftest import TEXT, completed
from families import tiny_model

from analyzers.common.progress import finish
from analyzers.common.settings import LayerSimilaritySettings
from analyzers.layer_similarity import LayerSimilarity, SecondModel, compare_all_layers
from ui.charts.layer_similarity import finding, sheet, similarity_chart, table_rows


@pytest.fixture(scope="module")
def made() -> LayerSimilarity:
    """Numbers put in by hand: between layer 0 and 1 most changes."""
    model = tiny_model("gpt2")
    result = finish(compare_all_layers(model, completed(model, TEXT, generate=2), LayerSimilaritySettings()))
    numbers = np.array([[1.0, 0.9, 0.1], [0.9, 1.0, 0.3], [0.1, 0.3, 1.0]])
    return replace(result, layers=(-1, 0, 1), similarity=numbers, floor=np.full((3, 3), 0.02))


def drawn(chart: dict[str, Any], part: dict[str, Any]) -> list[Any]:
    """The rows of one map."""
    data = part["data"]
    return list(data["values"] if "values" in data else chart["datasets"][data["name"]])


def test_it_says_where_most_changes_and_what_noise_would_show(made: LayerSimilarity) -> None:
    lines, is_quiet = finding(made, "en")
    assert is_quiet
    assert lines[0] == f"Most changes from layer 0 to layer 1: their similarity is 0.30 over {made.n_kept} tokens."
    assert lines[1] == "Of layers that have nothing in common this measure would show 0.02 here."
    assert "層 0 から層 1" in finding(made, "ja")[0][0]


def test_a_loud_floor_is_warned_of(made: LayerSimilarity) -> None:
    lines, is_quiet = finding(replace(made, floor=np.full((3, 3), 0.97)), "en")
    assert not is_quiet
    assert "0.97 here: with so few tokens it says little" in lines[1]


def test_what_is_not_finite_never_draws(made: LayerSimilarity) -> None:
    numbers = made.similarity.copy()
    numbers[2] = numbers[:, 2] = np.nan
    flat = replace(made, similarity=numbers, floor=np.full((3, 3), np.nan))
    chart = similarity_chart(flat, "en").to_dict()
    assert [len(drawn(chart, part)) for part in chart["hconcat"]] == [4, 0]
    assert [line for line in finding(flat, "en")[0] if "nan" in line] == []
    assert sheet(flat).rows[2] == [-1, 1, None, None]


@pytest.mark.parametrize("language", ["en", "ja"])
def test_both_maps_have_one_fixed_scale(made: LayerSimilarity, language: str) -> None:
    chart = similarity_chart(made, language).to_dict()  # type: ignore[arg-type]
    assert len(chart["hconcat"]) == 2
    for part in chart["hconcat"]:
        assert part["encoding"]["opacity"]["scale"]["domain"] == [0, 1]
        assert len(drawn(chart, part)) == 9


def test_table_and_sheet(made: LayerSimilarity) -> None:
    assert table_rows(made, "en") == [
        ["embedding", 0.9, 0.1, 0.02],
        ["0", 0.3, 0.3, 0.02],
        ["1", None, 1.0, None],
    ]
    assert sheet(made).rows[1] == [-1, 0, 0.9, 0.02]
    assert len(sheet(made).rows) == 9


@pytest.fixture(scope="module")
def of_two(made: LayerSimilarity) -> LayerSimilarity:
    """Three layers of one beside two of another."""
    other = tiny_model("llama")
    second = SecondModel(other.facts, made.tokens, (-1, 0), tuple(range(len(made.tokens))))
    numbers = np.array([[0.2, 0.1], [0.3, 0.8], [np.nan, 0.4]])
    return replace(made, second=second, similarity=numbers, floor=np.full((3, 2), 0.02))


def test_two_models_are_told_by_their_most_alike_layers(of_two: LayerSimilarity) -> None:
    lines, is_quiet = finding(of_two, "en")
    assert is_quiet
    expected = "Most alike are layer 0 of the first model and layer 0 of tiny-llama: 0.80 over"
    assert lines[0].startswith(expected)
    assert table_rows(of_two, "en") == [
        ["embedding", "embedding", 0.2, 0.02],
        ["0", "0", 0.8, 0.02],
        ["1", "0", 0.4, 0.02],
    ]
    assert [row[:3] for row in sheet(of_two).rows] == [
        [-1, -1, 0.2],
        [-1, 0, 0.1],
        [0, -1, 0.3],
        [0, 0, 0.8],
        [1, -1, None],
        [1, 0, 0.4],
    ]


@pytest.mark.parametrize("language", ["en", "ja"])
def test_the_columns_are_the_second_models_layers(of_two: LayerSimilarity, language: str) -> None:
    chart = similarity_chart(of_two, language).to_dict()
    json.dumps(chart, allow_nan=False)
    assert "tiny-llama (float32)" in " ".join(chart["title"]["subtitle"])
    for part in chart["hconcat"]:
        assert "tiny-llama" in part["encoding"]["x"]["title"]
        assert len(part["encoding"]["x"]["sort"]) == 2
        assert len(part["encoding"]["y"]["sort"]) == 3
    assert len(drawn(chart, chart["hconcat"][0])) == 5
