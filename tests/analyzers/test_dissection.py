"""What a model must prove before it is believed: its parts, the way in, and that it writes from left to right."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import transformers
from families import BART_LIKE, BERT_LIKE, LLAMA_LIKE, tiny_module, tiny_tokenizer
from torch import Tensor, nn
from toys import linear_module, loaded

from analyzers.errors import InputError
from analyzers.model import LanguageModel


def refusal(module: Any) -> str:
    with pytest.raises(InputError) as caught:
        loaded(module, "strange")
    return str(caught.value)


def test_a_model_that_adds_something_only_with_ids_is_refused_with_the_difference() -> None:
    module = linear_module()
    module.extra_with_ids = 0.5
    assert refusal(module).startswith(
        "strange cannot be read: its last layer through our norm and head differs from its own logits by 0.5."
    )


def test_a_difference_that_is_not_a_number_is_refused() -> None:
    module = linear_module()
    module.extra_with_ids = float("nan")
    assert "differs from its own logits by nan" in refusal(module)


def test_a_model_whose_blocks_run_out_of_order_is_refused() -> None:
    module = linear_module()
    module.backwards = True
    assert "its list of blocks that run one after the other was not found" in refusal(module)


def test_a_model_without_blocks_is_refused() -> None:
    module = linear_module()
    module.blocks = nn.ModuleList()
    assert "its list of blocks was not found" in refusal(module)


@pytest.mark.parametrize("part", ["head", "embed"])
def test_a_model_without_a_head_or_an_embedding_is_refused(part: str) -> None:
    module = linear_module()
    getter = {"head": "get_output_embeddings", "embed": "get_input_embeddings"}[part]
    setattr(module, getter, lambda: None)
    said = refusal(module)
    assert {"head": "language-model head", "embed": "token embedding"}[part] in said


def built(name: str, **values: Any) -> Any:
    """A random model of a class of transformers, its weights spread as those of `tiny_module`."""
    cls = getattr(transformers, name)
    torch.manual_seed(0)
    module = cls(cls.config_class(**values)).eval()
    with torch.no_grad():
        for weight in module.parameters():
            weight.add_(torch.randn_like(weight) * 0.15)
    return module


GEMMA3 = LLAMA_LIKE | dict(head_dim=8, query_pre_attn_scalar=8)
SEES_AHEAD = {
    "a configuration that says so": lambda: built("LlamaForCausalLM", **LLAMA_LIKE, is_causal=False),
    "attention that says so": lambda: uncaused(tiny_module("llama")),
    "a bidirectional mask": lambda: built("Gemma3ForCausalLM", **GEMMA3, use_bidirectional_attention=True),
    "an encoder that was told to write": lambda: built("BertLMHeadModel", **BERT_LIKE),
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
    module = built("BartForConditionalGeneration", **BART_LIKE)
    module.model.decoder.layers[0].self_attn.is_causal = False
    with pytest.raises(InputError, match="sees-ahead cannot be used as a causal model"):
        LanguageModel(module, tiny_tokenizer("seq2seq"), "sees-ahead", kind="seq2seq")


def test_the_same_classes_are_accepted_where_they_do_not() -> None:
    assert loaded(built("Gemma3ForCausalLM", **GEMMA3)).facts.self_check == 0.0
    assert loaded(built("BertLMHeadModel", **BERT_LIKE, is_decoder=True)).facts.self_check == 0.0


def test_one_step_of_foresight_is_enough_to_be_refused() -> None:
    class Peeking(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.share = nn.Parameter(torch.tensor(0.01))

        def forward(self, hidden: Tensor, **_kwargs: Any) -> Tensor:
            return hidden + self.share * hidden.roll(-1, 1)

    module = linear_module()
    module.blocks = nn.ModuleList([Peeking(), Peeking()]).double()
    assert "its predictions change by" in refusal(module)


def test_the_ids_alone_must_not_reach_what_embeddings_do_not() -> None:
    class WithIds(type(linear_module())):  # type: ignore[misc]
        """Adds a second reading of the ids to its input: a table that no embedding can stand in for."""

        def forward(self, input_ids: Tensor | None = None, inputs_embeds: Tensor | None = None, **kwargs: Any) -> Any:
            if input_ids is not None:
                inputs_embeds = self.embed(input_ids) + (input_ids % 7).unsqueeze(-1)
            return super().forward(inputs_embeds=inputs_embeds, **kwargs)

    module = linear_module()
    module.__class__ = WithIds
    assert refusal(module).startswith("strange cannot be read: with the embeddings of other tokens it answers")


def test_what_fails_while_a_model_is_taken_apart_is_named() -> None:
    module = linear_module()
    module.get_input_embeddings = lambda: nn.Linear(2, 2)
    assert refusal(module).startswith("strange cannot be read: its embeddings failed (")

    def stumble(*_args: Any) -> None:
        raise KeyError("rows")

    module = linear_module()
    module.blocks[1].register_forward_hook(stumble)
    assert refusal(module) == (
        "strange cannot be read: its forward pass failed ('rows'). The model in use is unchanged."
    )


def test_memory_that_runs_out_is_not_the_models_fault() -> None:
    def full(*_args: Any) -> None:
        raise MemoryError

    module = linear_module()
    module.blocks[1].register_forward_hook(full)
    with pytest.raises(MemoryError):
        loaded(module)
