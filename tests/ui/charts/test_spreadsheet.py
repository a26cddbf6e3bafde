"""What a spreadsheet reads of a tab's numbers."""

from __future__ import annotations

import csv
import io
from functools import partial
from typing import Any

import pytest
from conftest import completed
from families import tiny_model

from analyzers.common.progress import finish
from analyzers.common.settings import (
    LayerPredictionsSettings,
    NeuronFactorsSettings,
    RankingsSettings,
    SaliencySettings,
)
from analyzers.layer_predictions import predict_from_each_layer
from analyzers.neuron_factors import factorize_neurons
from analyzers.rankings import rank_at_each_layer
from analyzers.saliency import compute_saliency
from analyzers.serving.dispatch import Answer
from analyzers.serving.request import parse_request
from ui.charts import layer_predictions, neuron_factors, rankings, saliency
from ui.charts.spreadsheet import MARK, Sheet, write_csv


def answer_to(text: str) -> Any:
    model = tiny_model("gpt2")
    return Answer(parse_request("saliency", {"text": text}), model.facts, completed(model), None, {})


def read(*sheets: tuple[str, Sheet]) -> list[list[str]]:
    written = write_csv([(answer_to(text), sheet) for text, sheet in sheets])
    assert written.startswith(MARK), "Excel would take it for something else"
    return list(csv.reader(io.StringIO(written.removeprefix(MARK))))


@pytest.mark.parametrize("token", ["=1+1", "+to", "-5", "@a", "\t=1", "\r=1"])
def test_no_cell_is_a_formula(token: str) -> None:
    sheet = Sheet(("token", "score"), [[token, -0.5]])
    assert read((token, sheet))[1] == [f"'{token}", "-0.5", "tiny-gpt2", "occlusion", f"'{token}"]


def test_the_header_is_in_the_language_and_every_column_has_a_name() -> None:
    sheet = Sheet(("position", "factor_1", "factor_12"), [[0, 0.5, 0.25]])
    written = write_csv([(answer_to("a"), sheet)], "ja")
    assert next(csv.reader(io.StringIO(written.removeprefix(MARK)))) == [
        "位置",
        "因子_1",
        "因子_12",
        "モデル",
        "手法",
        "テキスト",
    ]


def test_every_line_says_its_model_and_its_text_and_what_is_not_known_is_empty() -> None:
    text = 'a, "quoted"\nline 東京 👩‍🚀'
    rows = read((text, Sheet(("token", "share"), [["the", None]])))
    assert rows == [["token", "share", "model", "method", "text"], ["the", "", "tiny-gpt2", "occlusion", text]]


def test_both_runs_of_a_comparison_stand_in_it() -> None:
    one, other = (Sheet(("rank", "final_norm"), [[1, is_normed]]) for is_normed in (True, False))
    assert [row[:2] + row[4:] for row in read(("a", one), ("b", other))[1:]] == [
        ["1", "True", "a"],
        ["1", "False", "b"],
    ]


@pytest.mark.parametrize("language", ["en", "ja"])
@pytest.mark.parametrize(
    ("make", "sheet"),
    [
        (partial(compute_saliency, settings=SaliencySettings()), saliency.sheet),
        (partial(compute_saliency, settings=SaliencySettings(method="shapley")), saliency.sheet),
        (partial(predict_from_each_layer, settings=LayerPredictionsSettings()), layer_predictions.sheet),
        (partial(rank_at_each_layer, settings=RankingsSettings()), rankings.sheet),
        (partial(factorize_neurons, settings=NeuronFactorsSettings(factors=2)), neuron_factors.sheet),
    ],
    ids=["saliency", "shapley", "layer-predictions", "rankings", "neuron-factors"],
)
def test_every_tabs_numbers_can_be_written_in_every_language(make: Any, sheet: Any, language: Any) -> None:
    """A column without a name ends the whole answer: the file is written with the picture."""
    model = tiny_model("gpt2")
    result = finish(make(model, completed(model, "a, é")))
    written = list(csv.reader(io.StringIO(write_csv([(answer_to("a, é"), sheet(result))], language))))
    assert len(written) > 1
    assert len({len(line) for line in written}) == 1
    assert all(written[0])
