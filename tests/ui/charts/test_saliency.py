from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from conftest import completed
from families import tiny_model

from analyzers.common.errors import InputError
from analyzers.common.progress import finish
from analyzers.methods.integrated_gradients import Completeness
from analyzers.saliency import Saliency, SaliencySettings, compute_saliency
from ui.charts.saliency import (
    describe,
    highlight_tokens,
    rows,
    saliency_chart,
    sheet,
    table_rows,
    tell_check,
    wrap_line,
)
from ui.charts.token_strip import strip_value


@pytest.fixture(scope="module")
def made() -> Saliency:
    """Numbers put in by hand into a real result: the keys to → the."""
    model = tiny_model("gpt2")
    result = finish(compute_saliency(model, completed(model, "the the to", target_text=" the"), SaliencySettings()))
    scores = np.array([[0.1, 0.3, 0.6]])
    hidden = np.array([[0.4, 0.8, 0.1]])
    return replace(result, scores=scores, shares=scores.copy(), values=np.array([0.5]), hidden_values=hidden)


def test_rows_are_the_result(made: Saliency) -> None:
    assert [
        (row["position"], row["token"], row["score"], row["share"], row["effect"], row["hidden"])
        for row in rows(made, 3)
    ] == [
        (0, "the", 0.1, 0.1, 1, 0.4),
        (1, "␣the", 0.3, -0.3, -1, 0.8),
        (2, "␣to", 0.6, 0.6, 1, 0.1),
    ]


def test_rows_of_a_token_that_is_not_explained_are_refused(made: Saliency) -> None:
    with pytest.raises(InputError, match="Position 1"):
        rows(made, 1)


def test_two_equal_tokens_keep_their_own_bars(made: Saliency) -> None:
    chart = saliency_chart(made, 3, "en").to_dict()
    values = next(iter(chart["datasets"].values())) if "datasets" in chart else chart["data"]["values"]
    assert [value["label"] for value in values] == ["0 the", "1 ␣the", "2 ␣to"]
    assert [round(value["value"], 6) for value in values] == [10, -30, 60]
    assert [value["effect"] for value in values] == ["supports it", "works against it", "supports it"]


def test_the_chart_says_its_method_target_and_baseline(made: Saliency) -> None:
    for language, words in (
        ("en", ["Occlusion", "probability", "absence"]),
        ("ja", ["遮蔽法", "確率", "ベースライン"]),
    ):
        title = saliency_chart(made, 3, language).to_dict()["title"]  # type: ignore[arg-type]
        said = " ".join([*title["text"], *title["subtitle"]])
        assert all(word in said for word in words)


def test_bars_of_a_method_without_a_sign_start_at_zero(made: Saliency) -> None:
    unsigned = replace(made, method="gradient", hidden_values=None)
    low, high = saliency_chart(unsigned, 3, "en").to_dict()["layer"][0]["encoding"]["x"]["scale"]["domain"]
    assert low == 0
    assert high > 60


@pytest.fixture(scope="module")
def sampled() -> Saliency:
    """Shapley values of more tokens than are enumerated."""
    model = tiny_model("gpt2")
    completion = completed(model, "the café: the keys are on it", generate=1)
    return finish(compute_saliency(model, completion, SaliencySettings(method="shapley", tolerance=0.2)))


def test_a_sampled_value_has_its_error_on_the_bar_in_the_table_and_in_words(sampled: Saliency) -> None:
    (position,), (found,) = sampled.explained, sampled.completeness
    assert found is not None
    assert found.map_change > 0
    assert sampled.share_errors is not None
    errors = [row["error"] for row in rows(sampled, position)]
    np.testing.assert_allclose(errors, sampled.share_errors[0])
    assert max(errors) == pytest.approx(found.map_change)
    chart = saliency_chart(sampled, position, "en").to_dict()
    intervals = [layer for layer in chart["layer"] if layer["mark"]["type"] == "rule"]
    assert [layer["encoding"]["x2"]["field"] for layer in intervals] == ["high"]
    low, high = chart["layer"][0]["encoding"]["x"]["scale"]["domain"]
    for row in rows(sampled, position):
        assert low < 100 * (row["share"] - row["error"])
        assert high > 100 * (row["share"] + row["error"])
    assert sheet(sampled).columns[-1] == "error"
    assert [line[-1] for line in sheet(sampled).rows] == errors
    said = f"{found.points} random orders · error of a share up to {found.map_change:.1%}"
    assert said in describe(sampled, position, "en")
    (line,), passed = tell_check(sampled, position, "en")
    assert "random orders" in line
    assert passed


def test_what_is_exact_says_so_and_has_no_interval() -> None:
    model = tiny_model("gpt2")
    completion = completed(model, "the café", generate=1)
    exact = finish(compute_saliency(model, completion, SaliencySettings(method="shapley")))
    (position,) = exact.explained
    assert f"exact: all {2**position} sets of tokens" in describe(exact, position, "en")
    assert "厳密" in describe(exact, position, "ja")
    chart = saliency_chart(exact, position, "en").to_dict()
    assert not [layer for layer in chart["layer"] if layer["mark"]["type"] == "rule"]
    assert tell_check(exact, position, "en")[1]


@pytest.mark.parametrize(("is_rough", "said"), [(True, "more orders"), (False, "hide whole words")])
def test_of_orders_it_is_never_said_that_points_are_missing(sampled: Saliency, is_rough: bool, said: str) -> None:
    (found,) = sampled.completeness
    assert found is not None
    early = replace(sampled, completeness=(replace(found, converged=False, rough=is_rough),))
    lines, passed = tell_check(early, sampled.explained[0], "en")
    assert not passed
    assert said in lines[-1]
    assert "points" not in " ".join([*lines, describe(early, sampled.explained[0], "en")])


def test_not_converged_is_said(made: Saliency) -> None:
    failed = Completeness(error=0.1, total=0.2, relative=0.5, map_change=0.01, points=512, converged=False)
    line = describe(replace(made, method="integrated-gradients", completeness=(failed,)), 3, "en")
    assert "completeness error 50.0%" in line
    assert "not converged" in line
    undefined = replace(failed, relative=None, total=0.0)
    assert "undefined" in describe(replace(made, completeness=(undefined,)), 3, "en")


def test_highlighted_text_carries_signed_shares(made: Saliency) -> None:
    assert highlight_tokens(made, 3) == [("the", 0.1), ("␣the", -0.3), ("␣to", 0.6), ("␣the", None)]


def test_the_table_rounds_and_signs(made: Saliency) -> None:
    assert [row[3:] for row in table_rows(made, 3)] == [[0.1, 10.0, 0.4], [0.3, -30.0, 0.8], [0.6, 60.0, 0.1]]


def test_a_sheet_has_the_sign_and_the_explained_number(made: Saliency) -> None:
    found = sheet(made)
    table = [dict(zip(found.columns, row, strict=True)) for row in found.rows if row[0] == 3]
    assert [(row["share"], row["effect"]) for row in table] == [(0.1, 1), (-0.3, -1), (0.6, 1)]
    assert {row["value"] for row in table} == {float(made.values[made.row_of(3)])}
    assert sum(abs(row["share"]) for row in table) == pytest.approx(1)


def test_bars_for_and_against_go_to_both_sides_of_zero(made: Saliency) -> None:
    drawn = saliency_chart(made, 3, "en").to_dict()
    values = next(iter(drawn["datasets"].values())) if "datasets" in drawn else drawn["data"]["values"]
    assert [value["value"] for value in values] == pytest.approx([10, -30, 60])
    low, high = drawn["layer"][0]["encoding"]["x"]["scale"]["domain"]
    assert low < -30
    assert high > 60


def test_a_word_that_was_hidden_whole_is_one_block_with_one_bar() -> None:
    model = tiny_model("gpt2")
    completion = completed(model, "the cabinets to", target_text=" the")
    result = finish(compute_saliency(model, completion, SaliencySettings(whole_words=True)))
    (together,) = [group for group in result.groups if len(group) > 1]
    position = result.explained[0]
    (word,) = [row for row in rows(result, position) if row["position"] == together[0]]
    assert word["token"].strip("␣") == "cabinets"
    assert word["score"] == pytest.approx(float(result.scores[0, list(together)].sum()))
    assert sum(abs(row["share"]) for row in rows(result, position)) == pytest.approx(1)
    value = strip_value(result, "en", None)
    assert value["is_joined"]
    assert list(together) in [glyph["parts"] for glyph in value["glyphs"]]


def test_a_long_text_shows_its_strongest_forty_in_text_order() -> None:
    model = tiny_model("gpt2")
    completion = completed(model, "the keys to the cabinet " * 10, target_text=" the")
    result = finish(compute_saliency(model, completion, SaliencySettings()))
    chart = saliency_chart(result, result.explained[0], "en").to_dict()
    values = next(iter(chart["datasets"].values())) if "datasets" in chart else chart["data"]["values"]
    positions = [int(value["label"].split()[0]) for value in values]
    assert len(positions) == 40
    assert positions == sorted(positions)
    assert "40 largest" in " ".join(chart["title"]["subtitle"])


def test_a_line_is_broken_at_its_own_dots_in_both_languages() -> None:
    assert wrap_line("one · two · three", 9) == ["one · two", "three"]
    assert wrap_line("一二・三四・五", 9) == ["一二・三四", "五"]
