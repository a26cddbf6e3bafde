"""The logit lens: equal to a lens written out by hand, bounded, and leaving no trace in the model."""

from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import torch
from conftest import TEXT, completed
from families import CAUSAL, tiny_model, tiny_module, tiny_tokenizer
from lens_by_hand import lens_by_hand, min_rank

from analyzers.common.errors import InputError
from analyzers.methods import lens
from analyzers.methods.lens import entropy, kl_divergence, log_probability, rank_and_ties, stream_logits
from analyzers.models.language_model import LanguageModel


def stream(model: LanguageModel, ids: Any, rows: Any, layers: Any, **settings: Any) -> Any:
    """Chunks of whole logits."""
    return stream_logits(model, ids, rows, layers, lambda _rows, logits: logits, **settings)


def lens_logits(model: LanguageModel, ids: tuple[int, ...], **settings: Any) -> torch.Tensor:
    """All chunks joined, (layer, position, vocab), the embedding row first."""
    layers = range(-1, model.facts.n_layers)
    chunks = [chunk.value for chunk in stream(model, ids, range(len(ids)), layers, **settings)]
    return torch.cat(chunks).transpose(0, 1)


def own_logits(model: LanguageModel, ids: tuple[int, ...]) -> torch.Tensor:
    with torch.no_grad():
        return model.module(input_ids=torch.tensor([list(ids)]), use_cache=False).logits[0]


def fresh(family: str = "gpt2", module: Any = None) -> LanguageModel:
    """A model of the test's own, which it may break."""
    return LanguageModel(module or tiny_module(family), tiny_tokenizer(), f"broken-{family}")


def handles(module: Any) -> list[Any]:
    return [h for part in module.modules() for h in (*part._forward_hooks, *part._forward_pre_hooks)]


# --- worked by hand


def test_rank_counts_the_higher_logits_and_ties_the_other_equal_ones() -> None:
    #                 id:    0    1    2    3    4
    logits = torch.tensor([[2.0, 5.0, 2.0, 2.0, -1.0], [0.0, 0.0, 0.0, 0.0, 0.0]])
    for id, rank, ties in [(1, 1, 0), (0, 2, 2), (3, 2, 2), (4, 5, 0)]:
        found = rank_and_ties(logits[0], torch.tensor(id))
        assert (int(found[0]), int(found[1])) == (rank, ties)
    ranks, ties = rank_and_ties(logits, torch.tensor([2, 2]))
    assert ranks.tolist() == [2, 1]
    assert ties.tolist() == [2, 4]


def test_entropy_divergence_and_log_probability_of_a_small_table() -> None:
    sure, even = torch.tensor([0.5, 0.25, 0.25]).log(), torch.full((3,), 1 / 3).log()
    assert float(entropy(even)) == pytest.approx(math.log(3))
    assert float(entropy(sure)) == pytest.approx(1.5 * math.log(2))
    kl = 0.5 * math.log(0.5 * 3) + 0.5 * math.log(0.25 * 3)
    assert kl_divergence(sure, torch.stack([even, sure])).tolist() == pytest.approx([kl, 0.0])
    assert float(log_probability(sure + 7, torch.tensor(0))) == pytest.approx(math.log(0.5), abs=1e-6)


# --- against the model and the lens by hand


def test_last_layer_is_the_models_own_output(any_model: LanguageModel) -> None:
    """Between chunks of other shapes only rounding is allowed, 2e-6 here."""
    ids = completed(any_model, generate=4).ids
    own = own_logits(any_model, ids)
    assert float((lens_logits(any_model, ids)[-1] - own).abs().max()) <= 2e-6
    chunks = list(stream(any_model, ids, range(len(ids)), [any_model.facts.n_layers - 1]))
    assert float((torch.cat([chunk.value[:, 0] for chunk in chunks]) - own).abs().max()) <= 2e-6
    assert chunks[-1].self_check <= 2e-6


@pytest.mark.parametrize("norm", [True, False])
@pytest.mark.parametrize("family", sorted(CAUSAL))
def test_every_layer_equals_the_lens_written_out_by_hand(family: str, norm: bool) -> None:
    model = tiny_model(family)
    ids = completed(model, generate=4).ids
    expected = lens_by_hand(family, model.module, ids, norm=norm)
    torch.testing.assert_close(lens_logits(model, ids, final_norm=norm).double(), expected, rtol=1e-4, atol=2e-5)


def test_leaving_the_norm_out_changes_every_layer_but_the_last(any_model: LanguageModel) -> None:
    ids = completed(any_model, generate=2).ids
    change = (lens_logits(any_model, ids) - lens_logits(any_model, ids, final_norm=False)).abs().amax((1, 2))
    assert (change[:-1] > 1e-2).all()
    assert float(change[-1]) <= 2e-6


def test_the_real_model_agrees_with_the_lens_by_hand(smollm2: LanguageModel) -> None:
    ids = completed(smollm2, "The capital of France is", generate=1).ids
    expected = lens_by_hand("llama", smollm2.module, ids)
    found = lens_logits(smollm2, ids)
    torch.testing.assert_close(found.double(), expected, rtol=1e-3, atol=1e-3)
    logits = found.numpy()
    for layer in range(0, 31, 6):
        ranks, ties = rank_and_ties(found[layer], torch.tensor(ids))
        assert [min_rank(logits[layer, i], id) for i, id in enumerate(ids)] == list(
            zip(ranks.tolist(), ties.tolist(), strict=True)
        )


# --- chunks


def test_chunks_hold_whole_positions_in_order_and_few_cells(
    gpt2: LanguageModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = completed(gpt2, TEXT, generate=2).ids
    whole = lens_logits(gpt2, ids)
    monkeypatch.setattr(lens, "CELLS", 9)
    chunks = list(stream(gpt2, ids, range(len(ids)), range(-1, 3)))
    assert [chunk.rows.start for chunk in chunks] == list(range(0, len(ids), 2))
    assert all(chunk.value.shape[:2].numel() <= 9 for chunk in chunks)
    assert [chunk.fraction for chunk in chunks] == sorted(chunk.fraction for chunk in chunks)
    assert chunks[-1].fraction == 1
    torch.testing.assert_close(torch.cat([c.value for c in chunks]).transpose(0, 1), whole, rtol=1e-5, atol=1e-5)


def test_a_large_vocabulary_makes_the_chunks_smaller(gpt2: LanguageModel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lens, "NUMBERS", 8 * gpt2.facts.vocab)
    ids = completed(gpt2, TEXT, generate=2).ids
    assert all(c.value.shape[:2].numel() <= 8 for c in stream(gpt2, ids, range(len(ids)), range(-1, 3)))


@pytest.mark.parametrize("family", ["gpt2", "opt"])
def test_more_cells_than_the_model_has_positions_can_be_read(family: str) -> None:
    model = tiny_model(family)
    ids = completed(model, TEXT * 4, generate=1).ids
    assert len(ids) * 4 > lens.CELLS > model.max_positions >= len(ids)
    torch.testing.assert_close(lens_logits(model, ids)[-1], own_logits(model, ids), rtol=1e-5, atol=2e-6)


def test_only_the_asked_rows_and_layers_are_read_in_the_asked_order(llama: LanguageModel) -> None:
    ids = completed(llama, generate=2).ids
    whole = lens_logits(llama, ids)
    (chunk,) = stream(llama, ids, [7, 3], [0, 2])
    torch.testing.assert_close(chunk.value, whole[[1, 3]][:, [7, 3]].transpose(0, 1), rtol=1e-5, atol=2e-6)
    with pytest.raises(ValueError, match="last block last"):
        next(stream(llama, ids, [3], [0, 1]))


# --- traces


def test_nothing_is_left_in_the_model(any_model: LanguageModel) -> None:
    ids = completed(any_model, generate=2).ids
    hooks, before = handles(any_model.module), own_logits(any_model, ids)
    abandoned = stream(any_model, ids, range(len(ids)), range(-1, 3), final_norm=False)
    next(abandoned)
    assert torch.equal(own_logits(any_model, ids), before), "others are not touched while a chunk is looked at"
    abandoned.close()
    assert handles(any_model.module) == hooks
    assert not any("forward" in part.__dict__ for part in any_model.module.modules())
    assert torch.equal(own_logits(any_model, ids), before)


def test_nothing_is_left_in_the_model_after_an_error() -> None:
    model = fresh()
    ids = completed(model, generate=2).ids
    model.module.transformer.ln_f.weight[0] = float("nan")
    with pytest.raises(InputError):
        list(stream(model, ids, [0], [-1, 2]))
    assert handles(model.module) == []
    assert not any("forward" in part.__dict__ for part in model.module.modules())


def test_gradients_are_off_inside_and_untouched_outside() -> None:
    gpt2 = fresh()
    ids = completed(gpt2, generate=2).ids

    def run() -> list[bool]:
        modes: list[bool] = []
        block = gpt2.module.transformer.h[0]
        block.register_forward_hook(lambda *_: modes.append(not torch.is_grad_enabled()))
        for chunk in stream(gpt2, ids, range(len(ids)), range(-1, 3)):
            modes += [torch.is_grad_enabled(), not chunk.value.requires_grad]
        return modes

    gpt2.module.requires_grad_(True)  # what a gradient would flow from
    with ThreadPoolExecutor(1) as threads:  # grad mode is per thread
        assert all(threads.submit(run).result())


# --- refusals


def adds_something_for_ids(module: Any) -> Any:
    """After the head, and only where ids come in: no lens on `inputs_embeds` can know of it."""
    forward = module.forward

    def changed(input_ids: Any = None, **others: Any) -> Any:
        out = forward(input_ids=input_ids, **others)
        if input_ids is not None:
            out.logits = out.logits + torch.linspace(0, 1, out.logits.shape[-1])
        return out

    module.forward = changed
    return module


def test_a_model_whose_anatomy_is_wrong_is_refused_by_name_at_load() -> None:
    with pytest.raises(InputError, match=r"broken-gpt2 .* differs from its own logits by 1"):
        fresh(module=adds_something_for_ids(tiny_module("gpt2")))


def test_a_model_that_turns_wrong_is_refused_by_name_at_the_reading() -> None:
    model = fresh("llama")
    ids = completed(model, generate=2).ids
    adds_something_for_ids(model.module)
    with pytest.raises(InputError, match=r"broken-llama cannot be read for this text: .* by 1\b") as refusal:
        list(stream(model, ids, range(len(ids)), range(-1, 3)))
    assert "broken-llama" in refusal.value.say("ja")


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_logits_that_are_not_finite_are_refused_with_their_place(value: float) -> None:
    model = fresh()
    ids = completed(model, generate=2).ids
    block = model.module.transformer.h[2]

    def spoil(_module: Any, _args: Any, output: Any) -> Any:
        hidden = (output[0] if isinstance(output, tuple) else output).clone()
        if hidden.shape[1] > 5:  # the model's own forward, not the reading cell by cell
            hidden[0, 5] = value
        return (hidden, *output[1:]) if isinstance(output, tuple) else hidden

    block.register_forward_hook(spoil)
    with pytest.raises(InputError, match=r"logit \(layer 2, position 5\) is not finite"):
        list(stream(model, ids, range(len(ids)), range(-1, 3)))
