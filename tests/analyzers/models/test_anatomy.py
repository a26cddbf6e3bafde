"""The parts of each family are found by structure and proved by number."""

from __future__ import annotations

import pytest
import torch
from conftest import TEXT
from families import tiny_model, tiny_module
from torch import Tensor, nn
from toys import copy_module, linear_module, loaded

from analyzers.models.anatomy import observe_blocks, unembed
from analyzers.models.language_model import LanguageModel


def ids_of(model: LanguageModel) -> Tensor:
    return torch.tensor([model.encode(TEXT)])


def block_outputs(model: LanguageModel, ids: Tensor) -> dict[int, Tensor]:
    seen: dict[int, Tensor] = {}
    with torch.no_grad(), observe_blocks(model.anatomy, lambda layer, hidden: seen.update({layer: hidden})):
        model.module(input_ids=ids, use_cache=False)
    return seen


def own_logits(model: LanguageModel, ids: Tensor) -> Tensor:
    with torch.no_grad():
        logits: Tensor = model.module(input_ids=ids, use_cache=False).logits
    return logits


def hooks_of(module: nn.Module) -> int:
    return sum(
        len(part._forward_hooks) + len(part._forward_pre_hooks) + len(part._backward_hooks) for part in module.modules()
    )


def test_the_self_check_is_exactly_zero(any_model: LanguageModel) -> None:
    assert any_model.anatomy.max_difference == 0.0
    assert any_model.facts.self_check == 0.0


def test_the_parts_are_the_ones_the_family_is_made_of(any_model: LanguageModel) -> None:
    anatomy = any_model.anatomy
    assert len(anatomy.blocks) == any_model.module.config.num_hidden_layers == any_model.facts.n_layers
    assert anatomy.embedding is any_model.module.get_input_embeddings()
    assert anatomy.final_norm is not None
    assert "norm" in type(anatomy.final_norm).__name__.lower()
    assert not any(anatomy.final_norm in set(block.modules()) for block in anatomy.blocks)


def test_read_out_of_the_last_block_is_the_models_own_output(any_model: LanguageModel) -> None:
    ids = ids_of(any_model)
    last = block_outputs(any_model, ids)[any_model.facts.n_layers - 1]
    with torch.no_grad():
        lens = unembed(any_model.module, any_model.anatomy, last)
    assert torch.equal(lens, own_logits(any_model, ids))


def test_each_row_is_read_on_its_own(any_model: LanguageModel) -> None:
    hidden = block_outputs(any_model, ids_of(any_model))[1]
    with torch.no_grad():
        together = unembed(any_model.module, any_model.anatomy, hidden)
        alone = unembed(any_model.module, any_model.anatomy, hidden[:, 3:4])
    torch.testing.assert_close(together[:, 3:4], alone, rtol=1e-5, atol=1e-5)


def test_without_the_final_norm_the_logits_are_other_ones(any_model: LanguageModel) -> None:
    hidden = block_outputs(any_model, ids_of(any_model))[0]
    with torch.no_grad():
        normed = unembed(any_model.module, any_model.anatomy, hidden)
        raw = unembed(any_model.module, any_model.anatomy, hidden, final_norm=False)
    assert float((normed - raw).abs().max()) > 0.1


@pytest.mark.parametrize("family", ["gpt2", "llama", "gpt_neox"])
def test_without_the_final_norm_the_head_alone_is_left(family: str) -> None:
    model = tiny_model(family)
    hidden = block_outputs(model, ids_of(model))[0]
    with torch.no_grad():
        raw = unembed(model.module, model.anatomy, hidden, final_norm=False)
        by_hand = hidden @ model.anatomy.head.weight.T
    torch.testing.assert_close(raw, by_hand, rtol=1e-5, atol=1e-5)


def test_layers_are_seen_in_order_from_the_embedding_on(any_model: LanguageModel) -> None:
    seen = block_outputs(any_model, ids_of(any_model))
    assert list(seen) == list(range(-1, any_model.facts.n_layers))
    assert len({tuple(hidden.shape) for hidden in seen.values()}) == 1


def test_nothing_is_left_on_the_model(any_model: LanguageModel) -> None:
    ids = ids_of(any_model)
    before = own_logits(any_model, ids)
    hidden = block_outputs(any_model, ids)[0]
    for final_norm in (True, False):
        with torch.no_grad():
            unembed(any_model.module, any_model.anatomy, hidden, final_norm=final_norm)
    assert torch.equal(own_logits(any_model, ids), before)
    assert not [part for part in any_model.module.modules() if "forward" in part.__dict__]
    assert hooks_of(any_model.module) == 0


def test_nothing_is_left_on_the_model_after_a_failure(llama: LanguageModel) -> None:
    with pytest.raises(RuntimeError):
        unembed(llama.module, llama.anatomy, torch.zeros(1, 2, 5), final_norm=False)

    def stumble(_layer: int, _hidden: Tensor) -> None:
        raise RuntimeError("stumbled")

    with pytest.raises(RuntimeError, match="stumbled"), observe_blocks(llama.anatomy, stumble):
        llama.module(input_ids=ids_of(llama))
    assert not [part for part in llama.module.modules() if "forward" in part.__dict__]
    assert hooks_of(llama.module) == 0


def test_a_forward_that_was_there_before_is_put_back() -> None:
    module = tiny_module("gpt2")
    block = module.transformer.h[1]
    own = block.forward
    block.forward = own  # as accelerate's hooks do
    model = LanguageModel(module, tiny_model("gpt2").tokenizer, "wrapped")
    assert model.facts.self_check == 0.0
    assert block.__dict__["forward"] == own


def test_weights_are_frozen_and_the_model_is_in_evaluation_mode(any_model: LanguageModel) -> None:
    assert not any(weight.requires_grad for weight in any_model.module.parameters())
    assert not any(part.training for part in any_model.module.modules())


def test_the_toys_are_read_too_and_have_no_final_norm() -> None:
    assert loaded(linear_module()).anatomy.final_norm is None
    assert loaded(copy_module(1)).facts.self_check == 0.0
