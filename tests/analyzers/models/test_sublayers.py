"""The stream between attention and MLP: against each family's own parts, by their names, and refused where there is none."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from conftest import TEXT, completed
from families import FAMILIES, tiny_model, tiny_module, tiny_tokenizer
from lens_by_hand import tail_by_hand
from torch import Tensor, nn
from transformers import LlamaConfig, LlamaForCausalLM
from transformers.models.llama.modeling_llama import LlamaDecoderLayer

from analyzers.common.errors import InputError
from analyzers.common.progress import finish
from analyzers.common.settings import LayerPredictionsSettings, RankingsSettings
from analyzers.layer_predictions import predict_from_each_layer
from analyzers.methods.lens import layers_read, stream_logits
from analyzers.models.anatomy import observe_blocks
from analyzers.models.language_model import LanguageModel
from analyzers.models.sublayers import find_states_after_attention, observe_states
from analyzers.rankings import commitment_layer, rank_at_each_layer

ADDED = {
    **dict.fromkeys(("gpt2", "modernbert"), ("attn", 1.0)),
    **dict.fromkeys(("llama", "mistral", "qwen3", "opt", "mixtral"), ("self_attn", 1.0)),
    "granite": ("self_attn", 1.0),
    **dict.fromkeys(("gemma2", "gemma3"), ("post_attention_layernorm", 1.0)),
}
"""What a pre-norm block adds to its input, by the name of the part that returns it, and the factor."""
RETURNED = {
    **dict.fromkeys(("bert", "roberta", "electra", "minilm", "deberta-v2"), "attention"),
    "distilbert": "sa_layer_norm",
    "albert": "attention",
    "t5": "layer.1",
    **dict.fromkeys(("bart", "marian"), "encoder_attn_layer_norm"),
}
"""The part whose output is the state itself, norm and all."""
PARALLEL = ("gpt_neox", "phi", "falcon", "cohere")
NONE = ("mamba",)


def first(output: Any) -> Tensor:
    found: Tensor = output[0] if isinstance(output, tuple) else output
    return found


def states_by_name(model: LanguageModel, family: str, ids: list[int], n_source: int) -> list[Tensor]:
    """The state of every layer from the family's own named parts."""
    entered: list[Tensor] = []
    said: list[Tensor] = []
    name, factor = ADDED[family] if family in ADDED else (RETURNED[family], 1.0)
    hooks = []
    for block in dict.fromkeys(model.anatomy.blocks):
        hooks.append(
            block.register_forward_pre_hook(
                lambda _block, args, kwargs: entered.append(args[0] if args else kwargs["hidden_states"]),
                with_kwargs=True,
            )
        )
        inner = block.albert_layers[0] if family == "albert" else block
        part = inner.get_submodule(name)
        hooks.append(part.register_forward_hook(lambda _part, _args, output: said.append(first(output))))
    with torch.no_grad():
        model.run(torch.tensor([ids]), n_source=n_source)
    for hook in hooks:
        hook.remove()
    if family in RETURNED:
        return said
    factor *= float(getattr(model.module.config, "residual_multiplier", 1.0) or 1.0)
    return [stream + factor * attention for stream, attention in zip(entered, said, strict=True)]


def read(family: str) -> tuple[LanguageModel, list[int], int]:
    model = tiny_model(family)
    values = {"target_text": " the café and the keys"} if model.facts.kind.writes else {"generate": 0}
    completion = completed(model, TEXT, **values)
    return model, list(completion.ids), completion.n_source


@pytest.mark.parametrize("family", [*ADDED, *RETURNED])
def test_the_state_of_every_family_is_its_parts_sum(family: str) -> None:
    model, ids, n_source = read(family)
    seen: list[tuple[int, Tensor]] = []
    with torch.no_grad(), observe_states(model.states_after_attention, lambda *one: seen.append(one)):
        model.run(torch.tensor([ids]), n_source=n_source)
    expected = states_by_name(model, family, ids, n_source)
    assert [layer for layer, _ in seen] == list(range(len(expected))) == list(range(model.facts.n_layers))
    for (_, found), state in zip(seen, expected, strict=True):
        torch.testing.assert_close(found, state, rtol=1e-5, atol=1e-5)


def test_every_family_is_asked() -> None:
    assert {*ADDED, *RETURNED, *PARALLEL, *NONE} == set(FAMILIES)


@pytest.mark.parametrize("family", [*PARALLEL, *NONE])
def test_blocks_without_such_a_state_say_so_and_all_else_is_read(family: str) -> None:
    model = tiny_model(family)
    completion = completed(model, TEXT, generate=1)
    key = "side by side" if family in PARALLEL else "No state between attention and MLP"
    for analyze, settings in (
        (predict_from_each_layer, LayerPredictionsSettings(after_attention=True)),
        (rank_at_each_layer, RankingsSettings(after_attention=True)),
    ):
        with pytest.raises(InputError, match=key):
            finish(analyze(model, completion, settings))
    assert finish(predict_from_each_layer(model, completion, LayerPredictionsSettings())).layers == (-1, 0, 1, 2)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
@pytest.mark.parametrize("family", ["gpt2", "llama", "granite", "bert", "t5"])
def test_it_is_found_in_every_precision(family: str, dtype: torch.dtype) -> None:
    kind = FAMILIES[family].kind
    module = tiny_module(family, dtype)
    model = LanguageModel.__new__(LanguageModel)
    whole = tiny_model(family)
    model.__dict__.update({**whole.__dict__, "module": module})
    names = {part: name for name, part in whole.module.named_modules()}
    blocks = [module.get_submodule(names[block]) for block in whole.anatomy.blocks]
    ids = whole._probe
    sides = {"input_ids": ids}
    if whole._n_probe_source:
        sides = {"input_ids": ids[:, : whole._n_probe_source], "decoder_input_ids": ids[:, whole._n_probe_source :]}
    found = find_states_after_attention(blocks, lambda: module(**sides), str(kind))
    ours = {part: name for name, part in module.named_modules()}
    assert [(ours[one.part], one.is_input) for one in found] == [
        (names[one.part], one.is_input) for one in whole.states_after_attention
    ]


class Gated(LlamaDecoderLayer):
    """What attention says is scaled feature by feature before it is added, by no part: the sum proves out nowhere."""

    def forward(self, hidden_states: Tensor, **kwargs: Any) -> Tensor:
        gate = torch.linspace(0.2, 3.0, hidden_states.shape[-1])
        attended, _ = self.self_attn(hidden_states=self.input_layernorm(hidden_states), **kwargs)
        hidden_states = hidden_states + gate * attended
        return hidden_states + self.mlp(self.post_attention_layernorm(hidden_states))


class OneNorm(LlamaDecoderLayer):
    """One norm reads the stream twice: its input is no place that a state alone passes."""

    def forward(self, hidden_states: Tensor, **kwargs: Any) -> Tensor:
        attended, _ = self.self_attn(hidden_states=self.input_layernorm(hidden_states), **kwargs)
        hidden_states = hidden_states + attended
        return hidden_states + self.mlp(self.input_layernorm(hidden_states))


@pytest.mark.parametrize("block", [Gated, OneNorm])
def test_a_state_that_does_not_prove_out_or_cannot_be_told_from_another_is_not_read(block: type[nn.Module]) -> None:
    torch.manual_seed(0)
    module = LlamaForCausalLM(LlamaConfig(**FAMILIES["llama"].values))
    module.model.layers = nn.ModuleList(block(module.config, i) for i in range(len(module.model.layers)))
    model = LanguageModel(module, tiny_tokenizer(), "odd")
    with pytest.raises(InputError, match="No state between attention and MLP was found in the blocks of odd"):
        _ = model.states_after_attention


@pytest.mark.parametrize("family", ["gpt2", "gemma2", "granite", "llama", "opt", "qwen3"])
@pytest.mark.parametrize("norm", [True, False])
def test_the_lens_reads_it_as_a_lens_by_hand_does(family: str, norm: bool) -> None:
    model, ids, n_source = read(family)
    layers = layers_read(model.facts.n_layers, after_attention=True)
    rows = list(range(len(ids)))
    chunks = list(
        stream_logits(model, ids, rows, layers, lambda _rows, logits: logits, final_norm=norm, n_source=n_source)
    )
    found = torch.cat([chunk.value for chunk in chunks])
    states = states_by_name(model, family, ids, n_source)
    for layer, state in enumerate(states):
        expected = tail_by_hand(family, model.module, state[0].double(), norm=norm)
        row = layers.index(layer - 0.5)
        torch.testing.assert_close(found[:, row].double(), expected, rtol=1e-4, atol=3e-5)


@pytest.mark.parametrize("family", ["gpt2", "bert", "t5"])
def test_the_rows_between_leave_the_others_as_they_are(family: str) -> None:
    model = tiny_model(family)
    text = "the <mask> are" if family == "bert" else TEXT
    completion = completed(model, text, generate=3) if family != "bert" else completed(model, text)
    plain = finish(predict_from_each_layer(model, completion, LayerPredictionsSettings()))
    both = finish(predict_from_each_layer(model, completion, LayerPredictionsSettings(after_attention=True)))
    assert both.layers == (-1, -0.5, 0, 0.5, 1, 1.5, 2)
    assert both.predictions[::2] == plain.predictions
    np.testing.assert_allclose(both.kl[::2], plain.kl, atol=1e-6)
    assert any(a != b for a, b in zip(both.predictions[1::2], both.predictions[2::2], strict=True))
    ranked = [
        finish(rank_at_each_layer(model, completion, RankingsSettings((" the",), after_attention=half)))
        for half in (False, True)
    ]
    assert ranked[0].layers == (0, 1, 2)
    assert ranked[1].layers == (-0.5, 0, 0.5, 1, 1.5, 2)
    assert np.array_equal(ranked[1].ranks[1::2], ranked[0].ranks)
    assert ranked[0].watch is not None
    assert ranked[1].watch is not None
    assert np.array_equal(ranked[1].watch.ranks[1::2], ranked[0].watch.ranks)


def test_a_token_settles_at_the_layer_or_the_attention_from_which_it_stays_first() -> None:
    ranks = np.array([[1, 2, 1, 3], [1, 1, 2, 2], [1, 1, 1, 1], [1, 1, 1, 2]])
    assert commitment_layer(ranks, (-0.5, 0, 0.5, 1)) == (-0.5, 0, 0.5, None)


def test_one_layer_and_the_rows_between_contradict_each_other() -> None:
    with pytest.raises(InputError, match="after_attention"):
        LayerPredictionsSettings(after_attention=True, layer=3)


def test_no_hook_stays(llama: LanguageModel) -> None:
    model = LanguageModel(tiny_module("llama"), tiny_tokenizer(), "fresh")

    def hooks() -> int:
        return sum(len(part._forward_hooks) + len(part._forward_pre_hooks) for part in model.module.modules())

    before = hooks()
    places = model.states_after_attention
    assert hooks() == before
    with pytest.raises(RuntimeError), observe_states(places, lambda *_: None):
        raise RuntimeError
    assert hooks() == before
    assert llama.states_after_attention is llama.states_after_attention


def test_the_bundled_models_state_is_block_input_and_attention(smollm2: LanguageModel) -> None:
    ids = smollm2.encode("Heathrow airport is located in the city of")
    places = smollm2.states_after_attention
    states: dict[int, Tensor] = {}
    entered: dict[int, Tensor] = {}
    said: list[Tensor] = []
    hooks = [
        block.self_attn.register_forward_hook(lambda *all: said.append(first(all[-1])))
        for block in smollm2.anatomy.blocks
    ]
    with (
        torch.no_grad(),
        observe_blocks(smollm2.anatomy, lambda layer, hidden: entered.update({layer + 1: hidden})),
        observe_states(places, lambda layer, hidden: states.update({layer: hidden})),
    ):
        smollm2.run(torch.tensor([ids]))
    for hook in hooks:
        hook.remove()
    assert len(states) == 30
    for layer, state in states.items():
        torch.testing.assert_close(state, entered[layer] + said[layer])
