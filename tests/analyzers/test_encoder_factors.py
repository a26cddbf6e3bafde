"""Neuron factors of the real bundled encoder, on the paragraph that the page offers as an example."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from analyzers.models.store import ModelStore
from analyzers.neuron_factors import NeuronFactors
from analyzers.serving.dispatch import Answer, Dispatcher, answer
from analyzers.serving.document import document
from analyzers.serving.request import parse_request
from analyzers.serving.table import table
from ui.examples import WILDLIFE

KEEP_ALL = {"include_special": True, "include_first_token": True}
ARTICLES = (" the", " a")


@pytest.fixture(scope="module")
def dispatcher() -> Dispatcher:
    return Dispatcher(ModelStore())


def ask(dispatcher: Dispatcher, **settings: Any) -> Answer:
    raw = {"text": WILDLIFE, "model": "minilm-l6", "device": "cpu", "factors": 8} | settings
    return answer(dispatcher, parse_request("neuron-factors", raw))


@pytest.fixture(scope="module", params=[{}, KEEP_ALL], ids=["as-it-is", "with-cls-and-sep"])
def wildlife(dispatcher: Dispatcher, request: pytest.FixtureRequest) -> Answer:
    return ask(dispatcher, **request.param)


def leading(result: NeuronFactors, *texts: str) -> list[int]:
    """The leading factor of every token with one of these texts, in the order of the text."""
    return [
        max(
            range(len(result.factors)),
            key=lambda number: np.nan_to_num(result.factors[number].activations)[token.position],
        )
        for token in result.tokens
        if token.text in texts
    ]


def test_verbs_of_perception_share_a_leading_factor(wildlife: Answer) -> None:
    verbs = leading(wildlife.result, " heard", " saw", " see", " thought")
    assert len(verbs) == 4
    assert len(set(verbs)) == 1
    assert not set(verbs) & set(leading(wildlife.result, " bees", " birds", *ARTICLES))


def test_every_i_has_the_same_leading_factor_and_no_noun_has_it(wildlife: Answer) -> None:
    spoken = leading(wildlife.result, " i")
    assert len(spoken) == 4
    assert len(set(spoken)) == 1
    assert not set(spoken) & set(leading(wildlife.result, " bees", " birds", " flowers", " road", *ARTICLES))


def test_articles_and_full_stops_are_apart_from_nouns(wildlife: Answer) -> None:
    nouns = leading(wildlife.result, " grass", " lizards", " bees", " birds", " crows", " flowers", " animals", " road")
    small = leading(wildlife.result, *ARTICLES, ".")
    assert len(nouns) == 9
    assert len(small) >= 8
    assert not set(nouns) & set(small)
    assert len(set(nouns)) == 1


def test_the_first_and_the_last_token_are_left_out_unless_asked_for(dispatcher: Dispatcher) -> None:
    text = "I heard a sound."
    tokens = ask(dispatcher, text=text, factors=2).result.tokens
    last = len(tokens) - 1
    assert [(tokens[i].text, tokens[i].special) for i in (0, last)] == [("[CLS]", True), ("[SEP]", True)]
    for settings, left_out in [
        ({}, (0, last)),
        ({"include_first_token": True}, (last,)),
        ({"include_special": True}, (0,)),
        (KEEP_ALL, ()),
    ]:
        found = document(ask(dispatcher, text=text, factors=2, **settings))
        assert found["left_out"] == list(left_out)
        for factor in found["factors"]:
            assert [i for i, value in enumerate(factor["activations"]) if value is None] == list(left_out)


def test_tokens_are_words_as_a_reader_knows_them(wildlife: Answer) -> None:
    texts = [token.text for token in wildlife.result.tokens]
    everything = [*texts, *(token.glyph_text for token in wildlife.result.tokens)]
    assert not [text for text in everything if "�" in text or "##" in text or "Ġ" in text or "⟨" in text]
    assert "’" in texts
    assert "".join(texts[1:-1]) == WILDLIFE.lower()


def test_an_encoder_generates_nothing_and_promotes_nothing(wildlife: Answer) -> None:
    found = document(wildlife)
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert (found["kind"], found["n_layers"], found["layers"]) == ("encoder", 6, [0, 1, 2, 3, 4, 5])
    assert found["n_prompt"] == len(found["tokens"])
    assert [factor["promoted"] for factor in found["factors"]] == [[]] * 8
    assert found["converged"]
    assert "promotes" not in table(wildlife)


def test_a_pair_of_layers_of_the_encoder_is_a_pair(dispatcher: Dispatcher) -> None:
    assert ask(dispatcher, first_layer=4, last_layer=5).result.layers == (4, 5)
