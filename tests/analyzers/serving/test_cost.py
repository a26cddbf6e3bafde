"""The estimate grows as the work does, and is said where it is worth saying."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from analyzers.common.errors import InputError
from analyzers.common.settings import AblationSettings, FactorNeuron, LayerSimilaritySettings, MapComparisonSettings
from analyzers.models.language_model import LanguageModel
from analyzers.models.prompt import read_prompt
from analyzers.serving import cost
from analyzers.serving.cost import Cost
from analyzers.serving.request import AnyRequest, Request, parse_request

TEXT = "the keys to the cabinet"


def asked(analysis: str = "saliency", text: str = TEXT, **settings: Any) -> AnyRequest:
    return parse_request(analysis, {"text": text} | settings)


def estimate(model: LanguageModel, request: AnyRequest) -> Cost:
    return cost.estimate(model, request, read_prompt(model, request.text, request.generation))


def operations(model: LanguageModel, request: AnyRequest) -> float:
    return estimate(model, request).operations


def test_occlusion_runs_the_blocks_once_for_each_token(llama: LanguageModel) -> None:
    n = len(llama.encode(TEXT))
    weights, head = llama.n_block_parameters, llama.facts.vocab * llama.facts.d_model
    expected = 2 * weights * n + (n + 1) * (2 * weights * (n + 1) + 2 * head)
    assert estimate(llama, asked()) == Cost(float(expected), 2)


def test_integrated_gradients_cost_what_their_points_and_explained_tokens_do(llama: LanguageModel) -> None:
    n, weights = len(llama.encode(TEXT)), llama.n_block_parameters
    request = asked(method="integrated-gradients", points=50, generate=3)
    assert estimate(llama, request) == Cost(float(2 * weights * n + 75 * 4 * 2 * weights * (n + 3)), 4)


@pytest.mark.parametrize("analysis", ["saliency", "layer-predictions", "rankings", "neuron-factors"])
def test_a_longer_text_costs_more(llama: LanguageModel, analysis: str) -> None:
    short, long = asked(analysis), asked(analysis, text=TEXT * 4)
    assert operations(llama, long) > 2 * operations(llama, short)


@pytest.mark.parametrize(
    ("less", "more"),
    [
        (dict(method="gradient"), dict(method="integrated-gradients")),
        (dict(method="integrated-gradients", points=8), dict(method="integrated-gradients", points=80)),
        (dict(generate=1), dict(generate=9)),
        (dict(target_text=" a"), dict(target_text=" a b c d")),
    ],
)
def test_more_is_expected_to_take_longer(llama: LanguageModel, less: dict[str, Any], more: dict[str, Any]) -> None:
    assert estimate(llama, asked(**more)).seconds(llama) > 1.2 * estimate(llama, asked(**less)).seconds(llama)


def test_fewer_layers_and_factors_cost_less(llama: LanguageModel) -> None:
    everything = operations(llama, asked("neuron-factors", factors=4))
    assert operations(llama, asked("neuron-factors", factors=2)) < everything
    assert operations(llama, asked("neuron-factors", factors=4, first_layer=1, last_layer=1)) < 0.5 * everything


def test_a_continuation_that_is_given_is_not_generated(llama: LanguageModel) -> None:
    assert estimate(llama, asked(target_text=" a b")).calls == 1
    assert estimate(llama, asked(generate=2)).calls == 3


def test_every_analysis_of_the_page_has_an_estimate(llama: LanguageModel) -> None:
    base = asked(generate=2)
    for analysis, settings in (
        ("map-comparison", MapComparisonSettings()),
        ("layer-similarity", LayerSimilaritySettings(measure="svcca")),
        ("layer-overview", asked("layer-predictions").settings),
        ("ablation", AblationSettings((FactorNeuron(0, 1, "positive", 1.0),))),
    ):
        request = Request(analysis, None, TEXT, base.generation, "cpu", settings)
        assert estimate(llama, request).operations > 0


@pytest.mark.parametrize(("device", "seconds"), [("cpu", 1.2 + 3 * 0.5), ("cuda", 0.015 + 3 * 0.03)])
def test_operations_and_calls_become_seconds_of_a_device(device: str, seconds: float) -> None:
    model: Any = SimpleNamespace(facts=SimpleNamespace(device=device), n_bytes=5 * 10**9)
    assert Cost(12e10, 3).seconds(model) == pytest.approx(seconds)


def test_what_cannot_be_encoded_is_refused(llama: LanguageModel) -> None:
    with pytest.raises(InputError, match="half of a character"):
        estimate(llama, asked(text="\ud800"))
