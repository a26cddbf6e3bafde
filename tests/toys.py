"""Small real models with a known answer: the same interface as a Hugging Face causal model, weights set by hand."""

from __future__ import annotations

from typing import Any

import torch
import transformers
from families import tiny_tokenizer
from torch import Tensor, nn
from transformers.utils import ModelOutput

from analyzers.models.language_model import LanguageModel

VOCAB = 384


class CopyFrom(nn.Module):
    """An attention block wired by hand: every position attends to the one `back` before it, and writes what it reads
    there into the second half of its vector."""

    def __init__(self, back: int, d_model: int) -> None:
        super().__init__()
        self.back = back
        self.moved = nn.Parameter(torch.eye(d_model).roll(d_model // 2, 0))

    def forward(self, hidden: Tensor, **_kwargs: Any) -> Tensor:
        n = hidden.shape[1]
        attention = torch.zeros(n, n, dtype=hidden.dtype)
        attention[torch.arange(n), (torch.arange(n) - self.back).clamp(min=0)] = 1
        return hidden + attention @ hidden @ self.moved.T


class CausalMean(nn.Module):
    """A linear block: the mean of everything so far through a matrix."""

    def __init__(self, d_model: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(d_model, d_model) / d_model**0.5)

    def forward(self, hidden: Tensor, **_kwargs: Any) -> Tensor:
        n = hidden.shape[1]
        mean = torch.ones(n, n, dtype=hidden.dtype).tril() / torch.arange(1, n + 1, dtype=hidden.dtype)[:, None]
        return hidden + mean @ hidden @ self.weight.T


class ToyModel(transformers.PreTrainedModel):
    """Embedding, the given blocks, head. Linear, but for what the blocks do."""

    config_class = transformers.PretrainedConfig

    def __init__(self, blocks: list[nn.Module], d_model: int) -> None:
        super().__init__(transformers.PretrainedConfig(hidden_size=d_model, vocab_size=VOCAB))
        self.embed = nn.Embedding(VOCAB, d_model)
        self.blocks = nn.ModuleList(blocks)
        self.head = nn.Linear(d_model, VOCAB, bias=False)
        self.generation_config = None
        self.backwards = False
        self.extra_with_ids: float = 0.0

    def get_input_embeddings(self) -> nn.Module:
        return self.embed

    def get_output_embeddings(self) -> nn.Module:
        return self.head

    def forward(
        self,
        input_ids: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        logits_to_keep: int | Tensor = 0,
        use_cache: bool = False,
        past_key_values: None = None,
    ) -> Any:
        hidden = self.embed(input_ids) if inputs_embeds is None else inputs_embeds
        for block in reversed(self.blocks) if self.backwards else self.blocks:
            hidden = block(hidden)
        kept = slice(-logits_to_keep, None) if isinstance(logits_to_keep, int) else logits_to_keep
        logits = self.head(hidden[:, kept])
        if input_ids is not None:
            logits = logits + self.extra_with_ids
        return ModelOutput(logits=logits)


def copy_module(back: int) -> ToyModel:
    """Predicts the token `back` positions before the last one it sees, by a head that reads what was copied."""
    module = ToyModel([CopyFrom(back, 2 * VOCAB), CopyFrom(0, 2 * VOCAB)], 2 * VOCAB)
    with torch.no_grad():
        module.blocks[1].moved.zero_()
        module.embed.weight.copy_(torch.eye(VOCAB, 2 * VOCAB))
        module.head.weight.copy_(8 * torch.eye(VOCAB, 2 * VOCAB).roll(VOCAB, 1))
    return module


def linear_module() -> ToyModel:
    torch.manual_seed(3)
    module = ToyModel([CausalMean(24), CausalMean(24)], 24)
    return module.double()


def loaded(module: ToyModel, name: str = "toy") -> LanguageModel:
    return LanguageModel(module, tiny_tokenizer(), name)
