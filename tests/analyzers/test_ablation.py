"""Turning neurons down or up changes the next token as the model itself says, and leaves nothing behind."""

from __future__ import annotations

import pytest
import torch
from conftest import completed

from analyzers.ablation import Ablation, ablate_neurons, scale_neurons
from analyzers.common.errors import InputError
from analyzers.common.progress import finish
from analyzers.common.settings import AblationSettings, FactorNeuron, Part
from analyzers.models.language_model import LanguageModel
from analyzers.models.neurons import record_activations


def neurons(*places: tuple[int, int], part: Part = "positive") -> tuple[FactorNeuron, ...]:
    return tuple(FactorNeuron(layer, neuron, part, 1.0) for layer, neuron in places)


def ablate(model: LanguageModel, chosen: tuple[FactorNeuron, ...], scale: float, top: int = 5) -> Ablation:
    return finish(ablate_neurons(model, completed(model), AblationSettings(chosen, scale, top)))


def test_a_scale_of_one_changes_nothing(any_model: LanguageModel) -> None:
    result = ablate(any_model, neurons((0, 1), (2, 5)), 1.0)
    assert result.kl == 0.0
    assert len(result.changes) == 5
    assert all(change.before == change.after for change in result.changes)
    assert [c.before for c in result.changes] == sorted((c.before for c in result.changes), reverse=True)


def test_silencing_both_halves_equals_a_model_whose_columns_are_zero(llama: LanguageModel) -> None:
    places = ((0, 1), (1, 7), (1, 8), (2, 5))
    result = ablate(llama, neurons(*places) + neurons(*places, part="negative"), 0.0)
    ids = torch.tensor([completed(llama).ids])
    before = llama.module(input_ids=ids).logits[0, -1].double().softmax(-1)
    kept = [layer.mlp.down_proj.weight.clone() for layer in llama.module.model.layers]
    try:
        for layer, neuron in places:
            llama.module.model.layers[layer].mlp.down_proj.weight[:, neuron] = 0
        after = llama.module(input_ids=ids).logits[0, -1].double().softmax(-1)
    finally:
        for layer, weight in zip(llama.module.model.layers, kept, strict=True):
            layer.mlp.down_proj.weight.copy_(weight)
    assert result.kl == pytest.approx(float((before * (before / after).log()).sum()), rel=1e-3, abs=1e-7)
    assert result.kl > 1e-5
    expected = {*before.topk(5).indices.tolist(), *after.topk(5).indices.tolist()}
    assert {change.id for change in result.changes} == expected
    for change in result.changes:
        assert change.before == pytest.approx(float(before[change.id]), rel=1e-3)
        assert change.after == pytest.approx(float(after[change.id]), rel=1e-3)
        assert change.text == llama.reader.text_of(change.id)


def test_only_the_half_that_belongs_to_the_factor_is_scaled(llama: LanguageModel) -> None:
    ids = torch.tensor([completed(llama).ids])

    def activations() -> torch.Tensor:
        seen: list[torch.Tensor] = []
        handle = llama.down_projections()[0].register_forward_pre_hook(lambda _m, args: seen.append(args[0][0].clone()))
        llama.module(input_ids=ids)
        handle.remove()
        return seen[0]

    (before, *_) = record_activations(llama.down_projections(), lambda: llama.module(input_ids=ids))
    for part, half in (("positive", before > 0), ("negative", before < 0)):
        with scale_neurons(llama.down_projections(), neurons((0, 4), part=part), 2.0):  # type: ignore[arg-type]
            after = activations()
        wanted = before.clone()
        wanted[:, 4] = torch.where(half[:, 4], 2 * before[:, 4], before[:, 4])
        assert torch.equal(after, wanted)
        assert bool(half[:, 4].any())


def test_no_hook_is_left_even_when_the_run_is_stopped_or_fails(gpt2: LanguageModel) -> None:
    completion = completed(gpt2)
    before = gpt2.next_logits(completion.ids)[0]
    steps = ablate_neurons(gpt2, completion, AblationSettings(neurons((1, 2)), 0.0))
    next(steps), next(steps)
    steps.close()  # type: ignore[attr-defined]
    ablate(gpt2, neurons((1, 2)), 0.0)
    with pytest.raises(MemoryError), scale_neurons(gpt2.down_projections(), neurons((1, 2)), 0.0):
        raise MemoryError
    assert not any(part._forward_hooks or part._forward_pre_hooks for part in gpt2.module.modules())
    assert torch.equal(before, gpt2.next_logits(completion.ids)[0])


@pytest.mark.parametrize(
    ("chosen", "scale", "sentence"),
    [
        (neurons((0, 1)), -0.1, "scale must be a number from 0 to 2; this is -0.1"),
        (neurons((0, 1)), 2.1, "scale must be a number from 0 to 2"),
        (neurons((0, 1)), float("nan"), "scale must be a number from 0 to 2"),
        ((), 0.0, "no neuron to scale"),
        (neurons((3, 1)), 0.0, "no neuron 1 in layer 3 of tiny-gpt2"),
        (neurons((0, 128)), 0.0, "no neuron 128 in layer 0"),
        (neurons((-1, 0)), 0.0, "no neuron 0 in layer -1"),
    ],
)
def test_what_cannot_be_scaled_is_refused_with_a_way_out(
    gpt2: LanguageModel, chosen: tuple[FactorNeuron, ...], scale: float, sentence: str
) -> None:
    with pytest.raises(InputError, match=sentence):
        ablate(gpt2, chosen, scale)
