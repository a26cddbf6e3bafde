"""The neurons are where each family keeps them, found without being told."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import transformers
from conftest import TEXT, completed
from families import CAUSAL, FAMILIES, LLAMA_LIKE, SMALL, tiny_model, tiny_module
from torch import Tensor, nn

from analyzers.common.errors import InputError
from analyzers.models.neurons import find_down_projections, record_activations, write_through

IDS = torch.arange(7, 19)[None]
ENCODER = dict(vocab_size=384, hidden_size=32, num_hidden_layers=3, num_attention_heads=4, intermediate_size=64)
T5 = dict(vocab_size=384, d_model=32, d_kv=8, d_ff=64, num_layers=3, num_heads=4, pad_token_id=0)
OTHERS: dict[str, tuple[str, dict[str, Any]]] = {
    "phi3": ("Phi3ForCausalLM", LLAMA_LIKE),
    "phi": ("PhiForCausalLM", LLAMA_LIKE | dict(num_key_value_heads=4)),
    "falcon": ("FalconForCausalLM", SMALL | dict(hidden_size=32, num_hidden_layers=3, num_attention_heads=4)),
    "opt_post_norm": ("OPTForCausalLM", FAMILIES["opt"].values | dict(do_layer_norm_before=False)),
    "bert": ("BertModel", ENCODER),
    "distilbert": ("DistilBertModel", dict(vocab_size=384, dim=32, n_layers=3, n_heads=4, hidden_dim=64)),
    "t5": ("T5Model", T5),
    "t5_gated": ("T5Model", T5 | dict(feed_forward_proj="gated-gelu")),
    "mixtral": ("MixtralForCausalLM", LLAMA_LIKE | dict(num_local_experts=4)),
    "shared_expert": (
        "Qwen2MoeForCausalLM",
        LLAMA_LIKE | dict(num_experts=4, moe_intermediate_size=16, shared_expert_intermediate_size=16),
    ),
    "mamba": ("MambaForCausalLM", SMALL | dict(hidden_size=32, num_hidden_layers=3)),
    "albert": ("AlbertModel", ENCODER),
}
WHERE = {
    "gpt2": ("transformer.h", "mlp.c_proj"),
    "llama": ("model.layers", "mlp.down_proj"),
    "gpt_neox": ("gpt_neox.layers", "mlp.dense_4h_to_h"),
    "opt": ("model.decoder.layers", "fc2"),
    "opt_post_norm": ("model.decoder.layers", "fc2"),
    "qwen3": ("model.layers", "mlp.down_proj"),
    "gemma2": ("model.layers", "mlp.down_proj"),
    "cohere": ("model.layers", "mlp.down_proj"),
    "granite": ("model.layers", "mlp.down_proj"),
    "phi3": ("model.layers", "mlp.down_proj"),
    "phi": ("model.layers", "mlp.fc2"),
    "falcon": ("transformer.h", "mlp.dense_4h_to_h"),
    "bert": ("encoder.layer", "output.dense"),
    "distilbert": ("transformer.layer", "ffn.lin2"),
    "t5": ("encoder.block", "layer.1.DenseReluDense.wo"),
    "t5_gated": ("encoder.block", "layer.1.DenseReluDense.wo"),
    "t5 decoder": ("decoder.block", "layer.2.DenseReluDense.wo"),
}
"""Family → its list of blocks, and its down projection within a block, as read off its source by a person."""


def build(family: str) -> Any:
    if family in CAUSAL:
        return tiny_module(family)
    name, values = OTHERS[family]
    kind = getattr(transformers, name)
    torch.manual_seed(0)
    return kind(kind.config_class(**values)).eval()


def forward_of(module: Any, ids: Tensor = IDS) -> Callable[[], Any]:
    if module.config.is_encoder_decoder:
        return lambda: module(input_ids=ids, decoder_input_ids=ids[:, :9])
    return lambda: module(input_ids=ids)


def blocks_of(module: Any, path: str) -> tuple[nn.Module, ...]:
    return tuple(module.get_submodule(path))


@pytest.mark.parametrize("family", sorted(WHERE))
def test_the_neurons_are_what_a_hook_on_the_named_module_sees(family: str) -> None:
    module = build(family.split()[0])
    path, name = WHERE[family]
    blocks = blocks_of(module, path)
    projections = find_down_projections(blocks, forward_of(module), family)
    other = torch.arange(30, 45)[None]
    recorded = record_activations(projections, forward_of(module, other))

    by_hand: list[Tensor] = []
    handles = [
        block.get_submodule(name).register_forward_pre_hook(lambda _module, args: by_hand.append(args[0].clone()))
        for block in blocks
    ]
    with torch.no_grad():
        forward_of(module, other)()
    for handle in handles:
        handle.remove()
    assert len(recorded) == len(by_hand) == 3
    for found, wanted in zip(recorded, by_hand, strict=True):
        assert torch.equal(found, wanted.reshape(-1, wanted.shape[-1]))


@pytest.mark.parametrize("family", sorted(WHERE))
def test_afterwards_no_hook_is_left_and_the_outputs_are_the_same_bits(family: str) -> None:
    module = build(family.split()[0])
    with torch.no_grad():
        before = forward_of(module)()[0].clone()
        projections = find_down_projections(blocks_of(module, WHERE[family][0]), forward_of(module), family)
        record_activations(projections, forward_of(module))
        after = forward_of(module)()[0]
    assert torch.equal(before, after)
    assert not any(part._forward_hooks or part._forward_pre_hooks for part in module.modules())


def test_hooks_are_removed_when_the_forward_fails() -> None:
    module = tiny_module("gpt2")

    def fail() -> None:
        raise MemoryError

    with pytest.raises(MemoryError):
        find_down_projections(tuple(module.transformer.h), fail, "gpt2")
    with pytest.raises(MemoryError):
        record_activations([module.transformer.h[0].mlp.c_proj], fail)
    assert not any(part._forward_hooks or part._forward_pre_hooks for part in module.modules())


@pytest.mark.parametrize("family", ["gpt2", "llama", "gpt_neox", "cohere"])
def test_a_changed_neuron_moves_its_block_by_exactly_what_its_column_says(family: str) -> None:
    module = tiny_module(family)
    path, _ = WHERE[family]
    blocks = blocks_of(module, path)
    projection = find_down_projections(blocks, forward_of(module), family)[1]
    change = torch.zeros(12, 128 if family == "gpt2" else 64)
    change[4, 5] = 2.0

    def output(changed: bool) -> Tensor:
        seen: list[Tensor] = []
        handles = [
            blocks[1].register_forward_hook(
                lambda _module, _args, out: seen.append(out[0] if isinstance(out, tuple) else out)
            )
        ]
        if changed:
            handles.append(projection.register_forward_pre_hook(lambda _module, args: (args[0] + change,)))
        with torch.no_grad():
            forward_of(module)()
        for handle in handles:
            handle.remove()
        return seen[0][0]

    weight = projection.weight if family == "gpt2" else projection.weight.T
    moved = output(True) - output(False)
    assert torch.allclose(moved[4], 2.0 * weight[5], atol=1e-4)
    assert torch.allclose(moved[4], write_through(projection, change)[4], atol=1e-4)
    others = torch.arange(12) != 4
    assert torch.equal(moved[others], torch.zeros_like(moved[others]))


@pytest.mark.parametrize("family", ["mixtral", "shared_expert"])
def test_a_model_whose_tokens_do_not_share_one_mlp_is_refused_with_a_sentence(family: str) -> None:
    module = build(family)
    with pytest.raises(InputError, match="layer 0 has no single MLP that every token passes"):
        find_down_projections(blocks_of(module, "model.layers"), forward_of(module), family)


def test_a_model_without_an_mlp_is_refused_with_a_sentence() -> None:
    module = build("mamba")
    with pytest.raises(InputError, match="the down projection of the MLP in layer 0 was not found"):
        find_down_projections(blocks_of(module, "backbone.layers"), forward_of(module), "mamba")


def test_layers_that_share_their_weights_are_refused_with_a_sentence() -> None:
    module = build("albert")
    blocks = blocks_of(module, "encoder.albert_layer_groups")
    with pytest.raises(InputError, match="its layers share their weights"):
        find_down_projections(blocks, forward_of(module), "albert")


class Attention(nn.Module):
    """Keys, values, then queries last, and an output projection as wide as an MLP's."""

    def __init__(self) -> None:
        super().__init__()
        self.k, self.v, self.q, self.o = (nn.Linear(8, 8) for _ in range(4))

    def forward(self, x: Tensor) -> Tensor:
        k, v, q = self.k(x), self.v(x), self.q(x)
        return self.o((q @ k.transpose(1, 2)).softmax(-1) @ v)


class Block(nn.Module):
    """The MLP is called before attention, and is no wider than it."""

    def __init__(self, attention: bool = True, mlp: bool = True) -> None:
        super().__init__()
        self.attention = Attention() if attention else None
        self.up, self.down = (nn.Linear(8, 8) if mlp else None for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        written = torch.zeros_like(x)
        if self.up is not None and self.down is not None:
            written = self.down(self.up(x).relu())
        if self.attention is not None:
            written += self.attention(x)
        return written + x


class InPlaceBlock(Block):
    """The MLP reads what attention wrote, and adds to it in place, as some blocks do."""

    def forward(self, x: Tensor) -> Tensor:
        assert self.attention is not None
        assert self.up is not None
        assert self.down is not None
        written = self.attention(x)
        written += self.down(self.up(x + written).relu())
        return written + x


def test_a_block_that_adds_in_place_does_not_change_what_was_noted() -> None:
    torch.manual_seed(0)
    blocks = nn.Sequential(InPlaceBlock(), InPlaceBlock())
    x = torch.randn(1, 6, 8)
    assert find_down_projections(tuple(blocks), lambda: blocks(x), "toy") == (blocks[0].down, blocks[1].down)


def test_neither_the_order_of_calls_nor_the_width_decides() -> None:
    torch.manual_seed(0)
    blocks = nn.Sequential(Block(), Block(attention=False))
    x = torch.randn(1, 6, 8)
    assert find_down_projections(tuple(blocks), lambda: blocks(x), "toy") == (blocks[0].down, blocks[1].down)


def test_a_block_without_an_mlp_is_refused_by_its_layer() -> None:
    torch.manual_seed(0)
    blocks = nn.Sequential(Block(), Block(mlp=False))
    x = torch.randn(1, 6, 8)
    with pytest.raises(InputError, match="down projection of the MLP in layer 1 was not found"):
        find_down_projections(tuple(blocks), lambda: blocks(x), "toy")


def test_a_probe_too_short_to_show_mixing_is_a_programming_error() -> None:
    blocks = nn.Sequential(Block())
    with pytest.raises(ValueError, match="3 positions"):
        find_down_projections(tuple(blocks), lambda: blocks(torch.randn(1, 3, 8)), "toy")


def test_a_loaded_model_finds_its_own_neurons_once() -> None:
    model = tiny_model("llama")
    assert model.down_projections() == tuple(layer.mlp.down_proj for layer in model.module.model.layers)
    assert model.down_projections() is model.down_projections()
    ids = torch.tensor([completed(model, TEXT).ids])
    recorded = record_activations(model.down_projections(), lambda: model.module(input_ids=ids))
    assert [activation.shape for activation in recorded] == [(ids.shape[1], 64)] * 3
