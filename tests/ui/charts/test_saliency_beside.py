"""Two models' maps of one token as one chart: every share is in a bar, and both have the same."""

from __future__ import annotations

import json
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from conftest import completed
from families import byte_tokenizer, tiny_model, tiny_module

from analyzers.common.progress import finish
from analyzers.common.settings import SaliencySettings
from analyzers.common.tokens import label_token
from analyzers.models.language_model import LanguageModel
from analyzers.saliency import compute_saliency
from ui.charts import saliency_beside
from ui.charts.saliency_beside import beside_chart, find_second_position, rows

TEXT, WRITTEN = "the keys to the café", " keys"


def answer_of(model: LanguageModel, **settings: Any) -> Any:
    completion = completed(model, TEXT, target_text=WRITTEN)
    result = finish(compute_saliency(model, completion, SaliencySettings(**settings)))
    return SimpleNamespace(model=model.facts, completion=completion, result=result)


@pytest.fixture(scope="module")
def letters() -> LanguageModel:
    return LanguageModel(tiny_module("llama"), byte_tokenizer(), "letters")


@pytest.mark.parametrize("method", ["occlusion", "gradient", "attn-lrp"])
def test_every_share_of_both_is_in_a_row(method: str, letters: LanguageModel) -> None:
    first, second = answer_of(tiny_model("gpt2"), method=method), answer_of(letters, method=method)
    (position,) = first.result.explained
    made = rows(first, second, position)
    assert "".join(row["text"] for row in made) == TEXT.replace(" ", "␣")
    for side, one, explained in (("first", first, position), ("second", second, second.result.explained[0])):
        row = one.result.row_of(explained)
        expected = (one.result.shares * one.result.signs)[row, list(one.result.seen[row])]
        assert sum(given[side] for given in made) == pytest.approx(float(expected.sum()))
    (keys,) = [row for row in made if row["text"] == "␣keys"]
    places = [p for p, token in enumerate(second.completion.tokens) if 3 <= p < 8 and token.text in " keys"]
    signed = (second.result.shares * second.result.signs)[0, places]
    assert keys["second"] == pytest.approx(float(signed.sum()))


def test_a_model_beside_itself_has_equal_bars() -> None:
    one = answer_of(tiny_model("gpt2"))
    assert all(row["first"] == row["second"] for row in rows(one, one, one.result.explained[0]))


@pytest.mark.parametrize("language", ["en", "ja"])
@pytest.mark.parametrize("aggregate", ["l2", "sum"])
def test_a_chart_of_both_names_them_with_method_and_value(
    language: str, aggregate: str, letters: LanguageModel
) -> None:
    settings = {"method": "input-x-gradient", "aggregate": aggregate}
    first, second = answer_of(tiny_model("gpt2"), **settings), answer_of(letters, **settings)
    chart = beside_chart(first, second, first.result.explained[0], language).to_dict()
    json.dumps(chart, allow_nan=False)
    said = " ".join(chart["title"]["subtitle"])
    assert "tiny-gpt2 (float32)" in said
    assert "letters (float32)" in said
    values = chart["datasets"][chart["data"]["name"]]
    assert {row["model"] for row in values} == {"tiny-gpt2 (float32)", "letters (float32)"}
    (domain,) = {tuple(layer["encoding"]["x"]["scale"]["domain"]) for layer in chart["layer"]}
    assert domain[0] <= 0 <= domain[1]


def test_where_no_token_begins_at_the_same_character_the_one_that_holds_it_is_named(letters: LanguageModel) -> None:
    second = answer_of(tiny_model("gpt2"))
    first = answer_of(letters)
    keys = first.result.explained
    assert len(keys) > len(second.result.explained) == 1
    assert find_second_position(first, second, keys[0]) == (second.result.explained[0], True)
    assert find_second_position(first, second, keys[1]) == (second.result.explained[0], False)
    said = " ".join(beside_chart(first, second, keys[1], "en").to_dict()["title"]["subtitle"])
    assert "No token of the second model begins at this place: “␣keys” holds it." in said


def test_a_map_that_is_not_known_yet_is_said_to_be_missing(letters: LanguageModel) -> None:
    first, second = answer_of(tiny_model("gpt2")), answer_of(letters)
    second.result = replace(
        second.result,
        explained=second.result.explained[1:],
        explained_tokens=second.result.explained_tokens[1:],
        seen=second.result.seen[1:],
        scores=second.result.scores[1:],
        shares=np.asarray(second.result.shares)[1:],
        values=second.result.values[1:],
        hidden_values=np.asarray(second.result.hidden_values)[1:],
    )
    position = first.result.explained[0]
    assert find_second_position(first, second, position) is None
    assert all(row["second"] is None for row in rows(first, second, position))
    said = " ".join(beside_chart(first, second, position, "en").to_dict()["title"]["subtitle"])
    assert "letters has no map of this token" in said


def test_another_token_that_the_second_explains_is_named() -> None:
    found = []
    for family in ("bert", "roberta"):
        model = tiny_model(family)
        completion = completed(model, "the <mask> are")
        result = finish(compute_saliency(model, completion, SaliencySettings()))
        found.append(SimpleNamespace(model=model.facts, completion=completion, result=result))
    first, second = found
    (position,) = first.result.explained
    one, other = (label_token(answer.result.explained_tokens[0]) for answer in found)
    assert one != other
    chart = beside_chart(first, second, position, "en").to_dict()
    assert one in " ".join(chart["title"]["text"])
    assert f"The second model explains “{other}” here." in chart["title"]["subtitle"]


def test_a_long_text_says_how_many_of_its_stretches_are_drawn(letters: LanguageModel, monkeypatch: Any) -> None:
    monkeypatch.setattr(saliency_beside, "MOST_BARS", 3)
    first, second = answer_of(tiny_model("gpt2")), answer_of(letters)
    position = first.result.explained[0]
    subtitle = beside_chart(first, second, position, "en").to_dict()["title"]["subtitle"]
    assert subtitle[-1] == f"the 3 largest of {len(rows(first, second, position))}, in text order"
