"""Factors of a model's neurons: the right matrix, the right labels, and a sentence for what cannot be."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from conftest import completed
from families import tiny_model, tiny_module, tiny_tokenizer
from scipy.optimize import nnls
from torch import Tensor

from analyzers.common.errors import InputError
from analyzers.common.progress import finish
from analyzers.common.settings import NeuronFactorsSettings
from analyzers.models.completion import Completion
from analyzers.models.language_model import LanguageModel
from analyzers.models.neurons import record_activations
from analyzers.neuron_factors import NeuronFactors, activation_matrix, factorize_neurons, match_factors


def run(model: LanguageModel, completion: Completion | None = None, **settings: object) -> NeuronFactors:
    given = completion if completion is not None else completed(model, generate=4)
    return finish(factorize_neurons(model, given, NeuronFactorsSettings(**settings)))  # type: ignore[arg-type]


def signed(model: LanguageModel, completion: Completion) -> list[Tensor]:
    ids = torch.tensor([completion.ids])
    return record_activations(model.down_projections(), lambda: model.module(input_ids=ids))


def test_raw_settings_give_the_matrix_that_ecco_factorised(llama: LanguageModel) -> None:
    completion = completed(llama)
    activations = signed(llama, completion)
    raw = NeuronFactorsSettings(scale_layers=False, include_first_token=True, include_special=True)
    matrix = activation_matrix(activations, range(completion.n_positions), raw)
    ecco = np.concatenate([layer.numpy().clip(min=0) for layer in activations], axis=1)
    np.testing.assert_array_equal(matrix.values.numpy(), ecco)
    assert matrix.scales == (1.0, 1.0, 1.0)


def test_layers_are_scaled_to_unit_norm_and_split_parts_stand_side_by_side() -> None:
    layers = [torch.tensor([[9.0, 9.0], [3.0, -4.0], [0.0, 0.0]]), torch.tensor([[1.0], [-2.0], [0.0]])]
    positive = activation_matrix(layers, (1, 2), NeuronFactorsSettings())
    torch.testing.assert_close(positive.values, torch.tensor([[1.0, 0.0, 0.0], [0.0, 0.0, 0.0]]))
    assert positive.scales == (3.0, 1.0)
    split = activation_matrix(layers, (1, 2), NeuronFactorsSettings(parts="split"))
    torch.testing.assert_close(split.values[0], torch.tensor([0.6, 0.0, 0.0, 0.8, 0.0, 1.0]))
    assert split.widths == (4, 2)
    assert split.scales == (5.0, 2.0)


def test_a_result_speaks_of_the_matrix_it_came_from(any_model: LanguageModel) -> None:
    completion = completed(any_model, generate=4)
    result = run(any_model, completion, factors=5)
    kept = [p for p in range(completion.n_positions) if p not in result.left_out]
    activations = signed(any_model, completion)
    matrix = activation_matrix(activations, kept, NeuronFactorsSettings()).values.double().numpy()
    width = activations[0].shape[1]
    assert result.layers == (0, 1, 2)
    assert 0 < result.error < 1
    energies = [factor.energy for factor in result.factors]
    assert energies == sorted(energies, reverse=True)
    rows = np.array([[factor.activations[p] for p in kept] for factor in result.factors], dtype=float)
    for number, (factor, row) in enumerate(zip(result.factors, rows, strict=True)):
        assert np.flatnonzero(np.isnan(factor.activations)).tolist() == list(result.left_out)
        assert np.linalg.norm(row) == pytest.approx(factor.energy, rel=1e-5)
        assert factor.layer_shares.sum() == pytest.approx(1)
        weights = [one.weight for one in factor.top_neurons]
        assert weights == sorted(weights, reverse=True)
        # A neuron's weights in all factors are the non-negative least squares of its column: wrong labels would not fit.
        for one in factor.top_neurons[:5]:
            best, _ = nnls(rows.T, matrix[:, one.layer * width + one.neuron])
            assert best[number] == pytest.approx(one.weight, rel=0.02)


def test_a_planted_group_is_found_with_its_layer_and_neurons(gpt2: LanguageModel) -> None:
    """Neurons 3 of layer 0 and 7 of layer 2 are made to fire on two tokens only, all others never."""
    completion = completed(gpt2, generate=0)
    chosen = {0: 3, 2: 7}

    def force(layer: int):  # type: ignore[no-untyped-def]
        def hook(_module: torch.nn.Module, args: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
            forced = torch.zeros_like(args[0])
            if layer in chosen and forced.dim() == 3:  # in the model's run, not when its columns are read
                forced[:, [2, 5], chosen[layer]] = torch.tensor([1.0, 2.0])
            return (forced,)

        return hook

    found = gpt2.down_projections()
    handles = [projection.register_forward_pre_hook(force(layer)) for layer, projection in enumerate(found)]
    try:
        result = run(gpt2, completion, factors=1)
    finally:
        for handle in handles:
            handle.remove()
    (factor,) = result.factors
    assert {(one.layer, one.neuron, one.part) for one in factor.top_neurons} == {(0, 3, "positive"), (2, 7, "positive")}
    np.testing.assert_allclose(factor.layer_shares, [0.5, 0.0, 0.5], atol=1e-6)
    fired = {p: a for p, a in enumerate(factor.activations) if a > 0}
    assert set(fired) == {2, 5}
    assert fired[5] == pytest.approx(2 * fired[2], rel=1e-5)
    assert result.error < 1e-6


def test_split_parts_name_the_half_that_fires(llama: LanguageModel) -> None:
    completion = completed(llama, generate=0)
    result = run(llama, completion, factors=6, parts="split", scale_layers=False)
    activations = signed(llama, completion)
    named = [one for factor in result.factors for one in factor.top_neurons[:3]]
    assert {one.part for one in named} == {"positive", "negative"}
    for one in named:
        column = activations[one.layer][1:, one.neuron]
        strongest = column.max() if one.part == "positive" else (-column).max()
        assert float(strongest) > 0


def test_the_first_token_is_left_out_and_special_ones_too_unless_asked_for(gpt2: LanguageModel) -> None:
    completion = completed(gpt2, "the keys<|end|> to the cabinet", generate=0)
    end = next(token.position for token in completion.tokens if token.special)
    assert run(gpt2, completion, factors=2).left_out == (0, end)
    assert run(gpt2, completion, factors=2, include_first_token=True).left_out == (end,)
    assert run(gpt2, completion, factors=2, include_special=True).left_out == (0,)
    assert run(gpt2, completion, factors=2, include_special=True, include_first_token=True).left_out == ()


def test_a_range_of_layers_is_inclusive_and_in_numeric_order(gpt2: LanguageModel) -> None:
    result = run(gpt2, factors=3, first_layer=1, last_layer=2)
    assert result.layers == (1, 2)
    assert all(len(factor.layer_shares) == 2 for factor in result.factors)
    assert {one.layer for factor in result.factors for one in factor.top_neurons} <= {1, 2}


def test_a_layers_is_one_layer_and_a_range_goes_before_it(gpt2: LanguageModel) -> None:
    layers = {layers: run(gpt2, factors=2, layers=layers).layers for layers in ("first", "middle", "last", "all")}
    assert layers == {"first": (0,), "middle": (1,), "last": (2,), "all": (0, 1, 2)}
    assert run(gpt2, factors=2, layers="first", first_layer=2).layers == (2,)


def test_promoted_tokens_are_the_heads_answer_to_the_neurons_columns(llama: LanguageModel) -> None:
    completion = completed(llama, generate=0)
    result = run(llama, completion, factors=2)
    kept = [p for p in range(completion.n_positions) if p not in result.left_out]
    scales = activation_matrix(signed(llama, completion), kept, NeuronFactorsSettings()).scales
    inner = llama.module.model
    for factor in result.factors:
        direction = sum(
            one.weight * scales[one.layer] * inner.layers[one.layer].mlp.down_proj.weight[:, one.neuron]
            for one in factor.top_neurons
        )
        logits = llama.module.lm_head(inner.norm(direction))
        wanted = logits.topk(10)
        assert [token.id for token in factor.promoted] == wanted.indices.tolist()
        np.testing.assert_allclose([token.logit for token in factor.promoted], wanted.values, rtol=1e-3)
        assert factor.promoted[0].text == llama.reader.text_of(factor.promoted[0].id)


def test_the_same_input_twice_gives_the_same_numbers(gpt2: LanguageModel) -> None:
    first, second = run(gpt2, factors=4), run(gpt2, factors=4)
    assert first.error == second.error
    for a, b in zip(first.factors, second.factors, strict=True):
        np.testing.assert_array_equal(a.activations, b.activations)
    assert [f.top_neurons for f in first.factors] == [f.top_neurons for f in second.factors]


def test_by_default_there_are_eight_factors_or_as_many_as_tokens(gpt2: LanguageModel) -> None:
    assert len(run(gpt2).factors) == 8
    short = completed(gpt2, "the keys", generate=0)
    assert len(run(gpt2, short, include_first_token=True).factors) == short.n_positions < 8


def test_factors_of_two_runs_are_paired_by_the_tokens_they_fire_on(gpt2: LanguageModel) -> None:
    result = run(gpt2, factors=4)
    turned = replace(result, factors=tuple(reversed(result.factors)))
    matches = match_factors(result, turned)
    assert {(match.first, match.second) for match in matches} == {(0, 3), (1, 2), (2, 1), (3, 0)}
    assert all(match.cosine == pytest.approx(1) for match in matches)
    fewer = replace(result, factors=result.factors[2:3], left_out=(0, 1, 2))
    (match,) = match_factors(fewer, result)
    assert (match.first, match.second) == (0, 2)


def test_the_pairing_maximises_the_sum_not_each_pair() -> None:
    model = tiny_model("gpt2")
    base = run(model, factors=2)
    tail = (None,) * (base.tokens[-1].position - 1)

    def with_rows(*rows: tuple[float, float]) -> NeuronFactors:
        factors = tuple(replace(base.factors[0], activations=np.array([*row, *tail], dtype=float)) for row in rows)
        left_out = tuple(range(2, len(base.tokens)))
        return replace(base, factors=factors, left_out=left_out)

    first, second = (
        with_rows((1.0, 0.08), (1.0, 0.0)),
        with_rows((1.0, 0.2), (1.0, 0.0)),
    )  # each is closest to the second
    pairs = {(match.first, match.second) for match in match_factors(first, second)}
    assert pairs == {(0, 0), (1, 1)}


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        (dict(factors=33), "factors must be a whole number from 1 to 32"),
        (dict(factors=0), "factors must be a whole number from 1 to"),
        (dict(first_layer=2, last_layer=1), "no layers 2 to 1 in tiny-gpt2; they go from 0 to 2"),
        (dict(first_layer=-1), "first_layer must be a whole number from 0"),
        (dict(last_layer=3), "no layers 0 to 3"),
    ],
)
def test_settings_that_cannot_be_are_refused_with_a_way_out(
    gpt2: LanguageModel, settings: dict[str, int], sentence: str
) -> None:
    with pytest.raises(InputError, match=sentence) as error:
        run(gpt2, **settings)
    assert error.value.say("ja")


def test_more_factors_than_tokens_and_a_text_of_one_token_are_refused(gpt2: LanguageModel) -> None:
    short = completed(gpt2, "the keys to", generate=0)
    n = short.n_positions - 1
    with pytest.raises(InputError, match=f"{n + 1} factors cannot be told apart in {n} tokens"):
        run(gpt2, short, factors=n + 1)
    one = completed(gpt2, "t", generate=0)
    with pytest.raises(InputError, match="0 of 1 tokens are left to factorise; at least 2 are needed"):
        run(gpt2, one)
    with pytest.raises(InputError, match="1 of 1 tokens"):
        run(gpt2, one, include_first_token=True)


def test_neurons_that_never_fire_and_numbers_that_are_not_finite_are_refused() -> None:
    module = tiny_module("opt")
    model = LanguageModel(module, tiny_tokenizer(), "tiny-opt")
    completion = completed(model, generate=0)
    assert model.down_projections()
    up = module.model.decoder.layers[1].fc1
    up.weight.zero_()
    up.bias.fill_(-1.0)
    with pytest.raises(InputError, match="No neuron of layers 1 to 1 fires above zero"):
        run(model, completion, first_layer=1, last_layer=1)
    run(model, completion, factors=2)  # a silent layer among others is no error
    up.bias.fill_(float("inf"))
    with pytest.raises(InputError, match="activation is not finite"):
        run(model, completion, first_layer=1, last_layer=1)


def test_no_hook_is_left_and_the_model_answers_with_the_same_bits(gpt2: LanguageModel) -> None:
    completion = completed(gpt2)
    ids = torch.tensor([completion.ids])
    before = gpt2.module(input_ids=ids).logits
    steps = factorize_neurons(gpt2, completion, NeuronFactorsSettings(factors=3))
    next(steps), next(steps), next(steps)
    steps.close()  # type: ignore[attr-defined]
    assert not any(part._forward_hooks or part._forward_pre_hooks for part in gpt2.module.modules())
    run(gpt2, completion, factors=3)
    assert torch.equal(before, gpt2.module(input_ids=ids).logits)
