"""Factors as pictures and tables, with numbers worked by hand."""

from __future__ import annotations

import base64
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from analyzers.ablation import Ablation, TokenChange
from analyzers.common.settings import FactorNeuron
from analyzers.common.tokens import Token
from analyzers.neuron_factors import Factor, NeuronFactors, PromotedToken
from ui.charts.neuron_factors import (
    COLOURS,
    ablation_chart,
    activations,
    colour_of,
    comparison_chart,
    describe_promoted,
    highlight_tokens,
    line,
    name_settings,
    neuron_rows,
    sheet,
    view_value,
)

TEXTS = ("<|end|>", "the", " the", "=b", " <b>")
A, B = (np.nan, 4.0, 2.0, 0.0, 1.0), (np.nan, 0.0, 3.0, 0.0, 6.0)


def factor(row: tuple[float, ...], shares: tuple[float, ...] = (0.25, 0.75)) -> Factor:
    energy = float(np.sqrt(np.nansum(np.square(row))))
    neurons = (FactorNeuron(0, 7, "positive", 0.123456), FactorNeuron(1, 3, "negative", 0.05))
    promoted = (PromotedToken(5, " cat", 2.0), PromotedToken(6, "<i>", 1.0))
    return Factor(np.array(row), energy, np.array(shares), neurons, promoted)


def run_of(*rows: tuple[float, ...], **values: Any) -> NeuronFactors:
    """Five tokens, the first (special) left out; one factor for each row."""
    tokens = tuple(Token(i, 10 + i, text, i == 0, i, text) for i, text in enumerate(TEXTS))
    made = NeuronFactors(
        tokens=tokens,
        n_prompt=5,
        layers=(0, 1),
        left_out=(0,),
        scaled=True,
        parts="positive",
        side=None,
        error=0.24681,
        iterations=37,
        converged=True,
        factors=tuple(factor(row) for row in rows),
        notes=(),
    )
    return replace(made, **values)


@pytest.fixture
def made() -> NeuronFactors:
    return run_of(A, B)


def inline(chart: Any) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The valid specification, and the rows that it draws."""
    spec = chart.to_dict()
    return spec, next(iter(spec["datasets"].values())) if "datasets" in spec else spec["data"]["values"]


def unpacked(value: dict[str, Any]) -> list[list[float]]:
    numbers = np.frombuffer(base64.b64decode(value["matrix"]), dtype="<f4")
    found: list[list[float]] = numbers.reshape(-1, value["width"]).tolist()
    return found


def test_a_token_that_was_left_out_is_not_a_number_and_never_zero(made: NeuronFactors) -> None:
    np.testing.assert_array_equal(activations(made), [[np.nan, 4, 2, 0, 1], [np.nan, 0, 3, 0, 6]])


def test_the_view_draws_each_factor_over_its_own_largest(made: NeuronFactors) -> None:
    value = view_value(made, "en", 1)
    np.testing.assert_array_equal(unpacked(value), [[np.nan, 1, 0.5, 0, 0.25], [np.nan, 0, 0.5, 0, 1]])
    assert (value["width"], value["pinned"]) == (5, 1)
    assert value["names"] == ["<|end|>", "the", "␣the", "=b", "␣<b>"]
    assert [glyph["parts"] for glyph in value["glyphs"]] == [[0], [1], [2], [3], [4]]
    assert [one["shares"] for one in value["factors"]] == [[0.25, 0.75]] * 2
    assert [one["colour"] for one in value["factors"]] == ["#e6761b", "#3b82f6"]
    assert [one["label"] for one in value["factors"]] == ["Factor 1", "Factor 2"]
    assert [one["named"] for one in value["factors"]] == ["the · <b>", "<b> · the"]


def test_a_reading_names_the_strongest_tokens_and_none_at_zero(made: NeuronFactors) -> None:
    first, second = (one["reading"] for one in view_value(made, "en", 0)["factors"])
    assert first == "Factor 1: “the”, “␣the”, “␣<b>”"
    assert second == "Factor 2: “␣<b>”, “␣the”"
    assert view_value(made, "ja", 0)["factors"][1]["reading"].startswith("因子 2：「␣<b>」、「␣the」")


def test_a_factor_that_never_fires_is_drawn_flat() -> None:
    silent = view_value(run_of((np.nan, 0.0, 0.0, 0.0, 0.0)), "en", 0)
    np.testing.assert_array_equal(unpacked(silent), [[np.nan, 0, 0, 0, 0]])
    assert silent["factors"][0]["reading"] == "Factor 1: "


def test_colours_are_fixed_by_number_and_come_again_from_the_ninth_on() -> None:
    assert len(set(COLOURS)) == 8
    assert [colour_of(number) for number in (0, 7, 8, 31)] == [COLOURS[0], COLOURS[7], COLOURS[0], COLOURS[7]]


def test_the_line_says_what_was_factorised_how_well_and_without_what(made: NeuronFactors) -> None:
    assert line(made, "en") == (
        "NMF · layers 0 to 1 · positive part (as ecco) · each layer scaled alike · relative error ‖X−WH‖/‖X‖ = 0.247 "
        "· 37 iterations, converged · left out: <|end|>"
    )
    other = replace(made, scaled=False, parts="split", converged=False, left_out=())
    said = line(other, "en")
    for words in ("positive and negative parts", "layers as they are", "not converged", "left out: nothing"):
        assert words in said


def test_the_line_is_said_in_japanese_too(made: NeuronFactors) -> None:
    assert line(made, "ja") == (
        "NMF・層 0〜1・正の部分（ecco と同じ）・層の大きさを揃える・相対誤差 ‖X−WH‖/‖X‖ = 0.247・37 反復、収束・除外：<|end|>"
    )
    assert line(replace(made, converged=False, left_out=()), "ja").endswith("収束していない・除外：なし")


def test_each_token_has_its_leading_factor_or_none(made: NeuronFactors) -> None:
    pairs, colours = highlight_tokens(made)
    assert pairs == [("<|end|>", None), ("the", "1"), ("␣the", "2"), ("=b", None), ("␣<b>", "2")]
    assert colours == {"1": "#e6761b", "2": "#3b82f6"}


def test_the_table_has_a_line_per_neuron_with_its_weight_in_four_figures(made: NeuronFactors) -> None:
    first = [[1, 0, 7, "positive", 0.1235], [1, 1, 3, "negative", 0.05]]
    assert neuron_rows(made) == first + [[2, *row[1:]] for row in first]


def test_a_sheet_is_empty_where_a_token_was_left_out(made: NeuronFactors) -> None:
    found = sheet(made)
    assert found.columns == ("position", "token", "id", "factor_1", "factor_2")
    assert [row[1] for row in found.rows] == ["<|end|>", "the", "␣the", "=b", "␣<b>"]
    assert [row[2] for row in found.rows] == [10, 11, 12, 13, 14]
    assert found.rows[0][3:] == [None, None]
    assert [[row[n] for row in found.rows[1:]] for n in (3, 4)] == [list(A[1:]), list(B[1:])]


def test_promoted_tokens_are_quoted_and_an_encoder_has_none(made: NeuronFactors) -> None:
    (said,) = describe_promoted(made, 1, "en")
    assert said.startswith("Factor 2: its strongest neurons promote “␣cat” “<i>” (")
    assert describe_promoted(made, 0, "ja")[0].startswith("因子 1：")
    encoder = replace(made, factors=tuple(replace(one, promoted=()) for one in made.factors))
    assert describe_promoted(encoder, 0, "en") == []


def ablation(n: int = 2) -> Ablation:
    two = (TokenChange(5, " cat", 0.5, 0.1), TokenChange(6, " cat", 0.2, 0.3))
    more = tuple(TokenChange(10 + i, f"w{i}", 0.01, 0.0) for i in range(n - 2))
    return Ablation(0.5, 10, two + more, 0.12345)


def test_the_next_token_is_drawn_before_and_after_in_percent_from_zero() -> None:
    spec, values = inline(ablation_chart(ablation(), 2, "en"))
    assert [(value["token"], value["when"], value["probability"]) for value in values] == [
        ("␣cat (5)", "before", 50),
        ("␣cat (5)", "after", 10),
        ("␣cat (6)", "before", 20),
        ("␣cat (6)", "after", 30),
    ]
    assert spec["title"] == "The next token, with 10 neurons of factor 3 × 0.5: KL 0.123 nats"
    assert spec["encoding"]["x"]["scale"] == {"domain": [0, 1.05 * 50], "nice": False}
    assert spec["encoding"]["x"]["title"] == "probability (%)"
    assert spec["encoding"]["y"]["sort"] == ["␣cat (5)", "␣cat (6)"]


def test_the_next_token_chart_keeps_the_twelve_likeliest_and_speaks_japanese() -> None:
    spec, values = inline(ablation_chart(ablation(15), 0, "ja"))
    assert len({value["token"] for value in values}) == 12
    assert values[-1]["token"] == "w9 (19)"
    assert "因子 1 の 10 ニューロン" in spec["title"]
    assert {value["when"] for value in values} == {"変更前", "変更後"}


def test_three_layers_stand_side_by_side_with_their_matched_factors() -> None:
    """(3, 4, 0, 0) against A = (4, 2, 0, 1) is 20 / (5 √21) = 0.87, against B = (0, 3, 0, 6) only 0.36."""
    third = (np.nan, 3.0, 4.0, 0.0, 0.0)
    runs = [
        run_of(A, B, layers=(0,), error=0.101),
        run_of(B, A, layers=(4,), error=0.2),
        run_of(third, layers=(9,), error=0.3),
    ]
    spec, values = inline(comparison_chart(runs, "en"))
    columns = ["layer 0, error 0.10", "layer 4, error 0.20", "layer 9, error 0.30"]
    assert spec["facet"]["column"]["sort"] == columns
    assert spec["facet"]["row"]["sort"] == ["Factor 1", "Factor 2"]
    drawn = {
        (column, row): [v["activation"] for v in values if (v["column"], v["factor"]) == (column, row)]
        for column in columns
        for row in ("Factor 1", "Factor 2")
    }
    first, second = [0, 1, 0.5, 0, 0.25], [0, 0, 0.5, 0, 1]
    assert [drawn[column, "Factor 1"] for column in columns] == [first, first, [0, 0.75, 1, 0, 0]]
    assert [drawn[column, "Factor 2"] for column in columns] == [second, second, []]
    said = {(v["column"], v["factor"]): v["cosine"] for v in values if v["position"] == 0}
    assert [said[column, "Factor 1"] for column in columns] == ["", "1.00", "0.87"]
    assert {v["cosine"] for v in values if v["position"] > 0} == {""}
    assert [v["token"] for v in values[:5]] == ["<|end|>", "the", "␣the", "=b", "␣<b>"]


def test_factors_keep_their_colours_in_the_comparison(made: NeuronFactors) -> None:
    spec, _ = inline(comparison_chart([made, made], "ja"))
    colour = spec["spec"]["layer"][0]["encoding"]["color"]["scale"]
    assert colour == {"domain": ["因子 1", "因子 2"], "range": ["#e6761b", "#3b82f6"]}
    assert spec["spec"]["layer"][0]["encoding"]["y"]["scale"]["domain"] == [0, 1]


def test_the_settings_say_factors_layers_and_parts(made: NeuronFactors) -> None:
    assert name_settings(made, "en") == "Settings: 2 factors · layers 0 to 1 · positive part (as ecco)"
