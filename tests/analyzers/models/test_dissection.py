"""What a model must prove before it is believed: its parts, the way in, and that it writes from left to right."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from families import BART_LIKE, BERT_LIKE, FAMILIES, LLAMA_LIKE, SMALL, random_module, tiny_module, tiny_tokenizer
from torch import Tensor, nn
from toys import linear_module, loaded

from analyzers.common.errors import InputError
from analyzers.common.progress import finish
from analyzers.common.settings import Generation, NeuronFactorsSettings, RankingsSettings, SaliencySettings
from analyzers.models.completion import complete
from analyzers.models.language_model import LanguageModel
from analyzers.neuron_factors import factorize_neurons
from analyzers.rankings import rank_at_each_layer
from analyzers.saliency import compute_saliency


def refusal_of(module: Any) -> str:
    with pytest.raises(InputError) as caught:
        loaded(module, "strange")
    return str(caught.value)


def test_a_model_that_adds_something_only_with_ids_is_refused_with_the_difference() -> None:
    module = linear_module()
    module.extra_with_ids = 0.5
    assert refusal_of(module).startswith(
        "strange cannot be read: its last layer through our norm and head differs from its own logits by 0.5."
    )


def test_a_difference_that_is_not_a_number_is_refused() -> None:
    module = linear_module()
    module.extra_with_ids = float("nan")
    assert "differs from its own logits by nan" in refusal_of(module)


def test_a_model_whose_blocks_run_out_of_order_is_refused() -> None:
    module = linear_module()
    module.backwards = True
    assert "its list of blocks that run one after the other was not found" in refusal_of(module)


def test_a_model_without_blocks_is_refused() -> None:
    module = linear_module()
    module.blocks = nn.ModuleList()
    assert "its list of blocks was not found" in refusal_of(module)


@pytest.mark.parametrize("part", ["head", "embed"])
def test_a_model_without_a_head_or_an_embedding_is_refused(part: str) -> None:
    module = linear_module()
    getter = {"head": "get_output_embeddings", "embed": "get_input_embeddings"}[part]
    setattr(module, getter, lambda: None)
    said = refusal_of(module)
    assert {"head": "language-model head", "embed": "token embedding"}[part] in said


GEMMA3 = LLAMA_LIKE | dict(head_dim=8, query_pre_attn_scalar=8)
SEES_AHEAD = {
    "a configuration that says so": lambda: random_module("LlamaForCausalLM", **LLAMA_LIKE, is_causal=False),
    "attention that says so": lambda: uncaused(tiny_module("llama")),
    "a bidirectional mask": lambda: random_module("Gemma3ForCausalLM", **GEMMA3, use_bidirectional_attention=True),
    "an encoder that was told to write": lambda: random_module("BertLMHeadModel", **BERT_LIKE),
}


def uncaused(module: Any) -> Any:
    for block in module.model.layers[:1]:
        block.self_attn.is_causal = False
    return module


@pytest.mark.parametrize("case", SEES_AHEAD)
def test_a_decoder_that_sees_the_future_is_refused_by_name(case: str) -> None:
    with pytest.raises(
        InputError, match=r"sees-ahead cannot be used as a causal model: its predictions change by \d\.\d"
    ):
        LanguageModel(SEES_AHEAD[case](), tiny_tokenizer(), "sees-ahead")


def test_a_seq2seq_models_decoder_must_not_see_the_future_either() -> None:
    module = random_module("BartForConditionalGeneration", **BART_LIKE)
    module.model.decoder.layers[0].self_attn.is_causal = False
    with pytest.raises(InputError, match="sees-ahead cannot be used as a causal model"):
        LanguageModel(module, tiny_tokenizer("seq2seq"), "sees-ahead", kind="seq2seq")


def test_the_same_classes_are_accepted_where_they_do_not() -> None:
    assert loaded(random_module("Gemma3ForCausalLM", **GEMMA3)).facts.self_check == 0.0
    assert loaded(random_module("BertLMHeadModel", **BERT_LIKE, is_decoder=True)).facts.self_check == 0.0


def test_one_step_of_foresight_is_enough_to_be_refused() -> None:
    class Peeking(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.share = nn.Parameter(torch.tensor(0.01))

        def forward(self, hidden: Tensor, **_kwargs: Any) -> Tensor:
            return hidden + self.share * hidden.roll(-1, 1)

    module = linear_module()
    module.blocks = nn.ModuleList([Peeking(), Peeking()]).double()
    assert "its predictions change by" in refusal_of(module)


def test_the_ids_alone_must_not_reach_what_embeddings_do_not() -> None:
    class WithIds(type(linear_module())):  # type: ignore[misc]
        """Adds a second reading of the ids to its input: a table that no embedding can stand in for."""

        def forward(self, input_ids: Tensor | None = None, inputs_embeds: Tensor | None = None, **kwargs: Any) -> Any:
            if input_ids is not None:
                inputs_embeds = self.embed(input_ids) + (input_ids / 100).unsqueeze(-1)
            return super().forward(inputs_embeds=inputs_embeds, **kwargs)

    module = linear_module()
    module.__class__ = WithIds
    assert refusal_of(module).startswith("strange cannot be read: with the embeddings of other tokens it answers")


def test_what_fails_while_a_model_is_taken_apart_is_named() -> None:
    module = linear_module()
    module.get_input_embeddings = lambda: nn.Linear(2, 2)
    assert refusal_of(module).startswith("strange cannot be read: its embeddings failed (")

    def stumble(*_args: Any) -> None:
        raise KeyError("rows")

    module = linear_module()
    module.blocks[1].register_forward_hook(stumble)
    assert refusal_of(module) == (
        "strange cannot be read: its forward pass failed ('rows'). The model in use is unchanged."
    )


def test_memory_that_runs_out_is_not_the_models_fault() -> None:
    def full(*_args: Any) -> None:
        raise MemoryError

    module = linear_module()
    module.blocks[1].register_forward_hook(full)
    with pytest.raises(MemoryError):
        loaded(module)


B = BERT_LIKE | dict(max_position_embeddings=600)
T5 = FAMILIES["t5"].values
FUNNEL = dict(vocab_size=384, block_sizes=[2, 2], d_model=32, n_head=4, d_head=8, d_inner=64)
PROPHET = SMALL | dict(
    hidden_size=32, encoder_ffn_dim=64, decoder_ffn_dim=64, num_encoder_layers=3, num_decoder_layers=3,
    num_encoder_attention_heads=4, num_decoder_attention_heads=4, max_position_embeddings=128, decoder_start_token_id=0,
)  # fmt: skip
ODD: dict[str, tuple[str, dict[str, Any], str]] = {
    "LongformerForMaskedLM": ("masked", B | dict(attention_window=[8] * 3), "one of its layers answers for 16 positions"),
    "FunnelForMaskedLM": ("masked", FUNNEL, "its norm and head after the last layer failed"),
    "MobileBertForMaskedLM": (
        "masked",
        B | dict(embedding_size=16, intra_bottleneck_size=16, true_hidden_size=16),
        "its language-model head, as one part that runs, was not found",
    ),
    "XLMWithLMHeadModel": ("masked", dict(vocab_size=384, emb_dim=32, n_layers=3, n_heads=4), "its last layer through"),
    "XLNetLMHeadModel": (
        "causal",
        dict(vocab_size=384, d_model=32, n_layer=3, n_head=4, d_inner=64),
        "one of its layers answers for 2 positions where the text has 15 tokens",
    ),
    "xLSTMForCausalLM": (
        "causal", dict(vocab_size=384, hidden_size=64, num_heads=4, num_blocks=3), "its forward pass failed (",
    ),
    "SwitchTransformersForConditionalGeneration": (
        "seq2seq", T5 | dict(num_decoder_layers=3, num_sparse_encoder_layers=1, num_sparse_decoder_layers=1, num_experts=2),
        "its norm and head after the last layer failed",
    ),
    "ProphetNetForConditionalGeneration": ("seq2seq", PROPHET, "one of its layers answers for 27 positions"),
    "FSMTForConditionalGeneration": (
        "seq2seq", BART_LIKE | dict(src_vocab_size=384, tgt_vocab_size=384, langs=["en", "de"]),
        "its token embedding was not found",
    ),
}  # fmt: skip
"""Models that cannot be followed, and the part that is told."""


@pytest.mark.parametrize("name", ODD)
def test_a_model_that_cannot_be_followed_is_refused_with_the_part_that_failed(name: str) -> None:
    kind, values, said = ODD[name]
    with pytest.raises(InputError) as caught:
        LanguageModel(random_module(name, **values), tiny_tokenizer(kind), "odd", kind=kind)
    assert str(caught.value).startswith("odd cannot be read: " + said)
    assert str(caught.value).endswith("The model in use is unchanged.")
    assert "odd" in caught.value.say("ja")


FOLLOWED: dict[str, tuple[str, dict[str, Any]]] = {
    "OpenAIGPTLMHeadModel": ("causal", SMALL | dict(n_embd=32, n_layer=3, n_head=4, n_positions=128)),
    "CLIPTextModel": ("encoder", BERT_LIKE | dict(eos_token_id=2)),
    "T5EncoderModel": ("encoder", T5),
    "MobileBertModel": ("encoder", B | dict(embedding_size=16, intra_bottleneck_size=16, true_hidden_size=16)),
    "LEDForConditionalGeneration": (
        "seq2seq",
        BART_LIKE
        | dict(attention_window=[8] * 3, max_encoder_position_embeddings=600, max_decoder_position_embeddings=600),
    ),
    "BartForCausalLM": ("causal", BART_LIKE),
}
"""Blocks that return lists, embeddings that hold the weights of another, padding to a window, idle cross-attention."""


@pytest.mark.parametrize("name", FOLLOWED)
def test_unusual_models_answer_in_numbers(name: str) -> None:
    kind, values = FOLLOWED[name]
    model = LanguageModel(random_module(name, **values), tiny_tokenizer(kind), "unusual", kind=kind)
    text = "the café: the keys to the cabinet are on the table and the cat sat on the mat"
    second = "a café 東京" if kind == "encoder" else None
    *_, whole = complete(model, text, Generation(generate=3, target_text=second))
    saliency = finish(compute_saliency(model, whole, SaliencySettings(method="occlusion")))
    if kind != "encoder":
        ids, n = torch.tensor([whole.ids]), whole.n_source
        sides = {"input_ids": ids} if not n else {"input_ids": ids[:, :n], "decoder_input_ids": ids[:, n:]}
        with torch.no_grad():
            own = model.module(**sides).logits[0].softmax(-1)
        rows = [float(own[whole.row_of(token.position), token.id]) for token in whole.outputs]
        assert saliency.values.tolist() == pytest.approx(rows, rel=1e-4)
        assert finish(rank_at_each_layer(model, whole, RankingsSettings())).ranks[-1].tolist() == [1] * len(rows)
    if kind != "seq2seq":
        factors = finish(factorize_neurons(model, whole, NeuronFactorsSettings(factors=2)))
        assert len(factors.factors) == 2
