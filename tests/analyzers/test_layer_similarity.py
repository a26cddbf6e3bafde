"""All layers of a model compared: on every family, over the tokens of Neuron Factors, beside shuffled ones."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from conftest import TEXT, completed
from families import FAMILIES, tiny_model, tiny_module

from analyzers.common.errors import InputError
from analyzers.common.progress import finish
from analyzers.common.settings import LayerSimilaritySettings, NeuronFactorsSettings
from analyzers.layer_similarity import LayerSimilarity, compare_all_layers
from analyzers.models.completion import Completion
from analyzers.models.language_model import LanguageModel
from analyzers.models.neurons import record_activations
from analyzers.neuron_factors import factorize_neurons


def compare(model: LanguageModel, completion: Completion, **settings: Any) -> LayerSimilarity:
    return finish(compare_all_layers(model, completion, LayerSimilaritySettings(**settings)))


def read(family: str) -> tuple[LanguageModel, Completion]:
    model = tiny_model(family)
    if model.facts.kind.writes:
        return model, completed(model, TEXT, target_text=" the café and the keys to the cabinet")
    return model, completed(model, TEXT, generate=0)


def cka(first: np.ndarray, second: np.ndarray) -> float:
    a, b = first - first.mean(0), second - second.mean(0)
    return float(np.linalg.norm(a.T @ b) ** 2 / (np.linalg.norm(a.T @ a) * np.linalg.norm(b.T @ b)))


@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_block_outputs_of_every_family_against_the_models_own_hidden_states(family: str) -> None:
    model, completion = read(family)
    result = compare(model, completion, measure="cka")
    assert result.layers == tuple(range(-1, model.facts.n_layers))
    assert result.similarity.shape == result.floor.shape == (model.facts.n_layers + 1,) * 2
    np.testing.assert_allclose(result.similarity, result.similarity.T, atol=1e-12)
    np.testing.assert_allclose(np.diagonal(result.similarity), 1.0)
    kept = [p - completion.n_source for p in range(completion.n_positions) if p not in result.left_out]
    ids = torch.tensor([completion.ids])
    given = {"input_ids": ids}
    if completion.n_source:
        given = {"input_ids": ids[:, : completion.n_source], "decoder_input_ids": ids[:, completion.n_source :]}
    with torch.no_grad():
        states = tiny_module(family)(**given, output_hidden_states=True)  # its own: the library leaves hooks there
    hidden = states.decoder_hidden_states if completion.n_source else states.hidden_states
    # Not the last: most models norm it. Not all have every block's output there.
    begins = 1 if family == "mamba" else 0  # whose states begin after the first block
    layers = [layer[0, kept].double().numpy() for layer in hidden][: model.facts.n_layers - begins]
    if len(layers) == model.facts.n_layers - begins:
        for i, first in enumerate(layers):
            for j, second in enumerate(layers):
                assert result.similarity[i + begins, j + begins] == pytest.approx(cka(first, second), abs=1e-5)


def test_neurons_are_those_of_neuron_factors(gpt2: LanguageModel) -> None:
    completion = completed(gpt2, TEXT, generate=2)
    result = compare(gpt2, completion, measure="cka", representation="neurons")
    ids = torch.tensor([completion.ids])
    activations = record_activations(gpt2.down_projections(), lambda: gpt2.run(ids))
    kept = [p for p in range(completion.n_positions) if p not in result.left_out]
    layers = [layer[kept].double().numpy() for layer in activations]
    assert result.layers == tuple(range(gpt2.facts.n_layers))
    assert result.similarity[0, 1] == pytest.approx(cka(layers[0], layers[1]), rel=1e-6)


def test_tokens_are_left_out_as_in_neuron_factors(gpt2: LanguageModel) -> None:
    completion = completed(gpt2, TEXT, generate=2)
    factors = finish(factorize_neurons(gpt2, completion, NeuronFactorsSettings(factors=1)))
    assert compare(gpt2, completion).left_out == factors.left_out == (0,)
    assert compare(gpt2, completion, include_first_token=True).left_out == ()


def test_the_floor_is_the_mean_over_shuffled_tokens(gpt2: LanguageModel) -> None:
    completion = completed(gpt2, TEXT, generate=2)
    steps = [s.result for s in compare_all_layers(gpt2, completion, LayerSimilaritySettings()) if s.result is not None]
    assert len(steps) == 10
    assert all(np.array_equal(step.similarity, steps[-1].similarity) for step in steps)
    assert [step.missing is None for step in steps] == [False] * 9 + [True]
    again = compare(gpt2, completion)
    assert np.array_equal(again.floor, steps[-1].floor)
    assert not np.array_equal(steps[0].floor, steps[1].floor)
    assert abs(np.diagonal(again.floor)).max() < 0.5  # a layer beside itself shuffled is not alike
    plain = compare(gpt2, completion, measure="cka").floor
    assert 0.05 < plain.min() < plain.max() < 1


def test_too_few_tokens_are_refused_with_the_way_out(gpt2: LanguageModel) -> None:
    short = completed(gpt2, "the keys to", generate=0)
    with pytest.raises(InputError, match="at least 4 are needed here"):
        compare(gpt2, short)
    completion = completed(gpt2, TEXT, generate=2)
    n = completion.n_positions - 1
    with pytest.raises(InputError, match=f"{n} tokens are left to compare the layers over; at least {n + 1}"):
        compare(gpt2, completion, measure="svcca", components=n)
    assert np.isfinite(compare(gpt2, completion, measure="pwcca", components=n - 1).similarity).all()
