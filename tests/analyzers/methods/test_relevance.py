"""AttnLRP against its rules written out by hand in the named parts of four families, and laws on all of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
import torch
from conftest import completed
from families import FAMILIES, tiny_model, tiny_module
from torch import Tensor, nn
from torch.nn import functional
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.masking_utils import eager_mask

from analyzers.common.errors import InputError
from analyzers.common.progress import finish
from analyzers.common.settings import SaliencySettings
from analyzers.methods import relevance
from analyzers.methods.relevance import Rules, activations_as_one, is_activation
from analyzers.models.language_model import LanguageModel
from analyzers.saliency import Saliency, compute_saliency

TEXT = "the café: the keys to"
BY_HAND = ["gpt2", "llama", "qwen3", "bert"]
WITHOUT = {name for name, family in FAMILIES.items() if "attn-lrp" in family.without}
"""Families that have a part without a rule."""


class Divide(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, by: int) -> Tensor:
        ctx.by = by
        return x.clone()

    @staticmethod
    def backward(ctx: Any, *gradient: Tensor) -> tuple[Tensor, None]:
        return gradient[0] / ctx.by, None


class Identity(torch.autograd.Function):
    """Relevance passes through an elementwise function: gradients by its output over its input."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, function: Callable[[Tensor], Tensor]) -> Tensor:
        y = function(x)
        ctx.save_for_backward(y / x)
        return y

    @staticmethod
    def backward(ctx: Any, *gradient: Tensor) -> tuple[Tensor, None]:
        (ratio,) = ctx.saved_tensors
        return gradient[0] * ratio, None


def attend(
    module: Any, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None, **more: Any
) -> tuple[Tensor, None]:
    """Eager attention whose two products are halved."""
    groups = query.shape[1] // key.shape[1]
    key, value = (one.repeat_interleave(groups, 1) for one in (key, value))
    scaling = more.get("scaling")
    logits = Divide.apply(query @ key.transpose(2, 3), 2) * (query.shape[-1] ** -0.5 if scaling is None else scaling)
    if attention_mask is not None:
        logits = logits + attention_mask[..., : key.shape[-2]]
    mixed = Divide.apply(logits.softmax(-1) @ value, 2)
    return mixed.transpose(1, 2).contiguous(), None


AttentionInterface.register("by_hand", attend)
AttentionMaskInterface.register("by_hand", eager_mask)


def write_rules_into(module: Any, family: str) -> None:
    """A person's reading of the four families' sources."""
    module.config._attn_implementation = "by_hand"
    for part in module.modules():
        kind = type(part).__name__
        if kind.endswith("RMSNorm"):

            def rms(x: Tensor, own: Any = part) -> Tensor:
                variance = x.detach().pow(2).mean(-1, keepdim=True)
                return own.weight * (x / (variance + own.variance_epsilon).sqrt())

            part.forward = rms
        elif kind == "LayerNorm":

            def layer(x: Tensor, own: Any = part) -> Tensor:
                centred = x - x.mean(-1, keepdim=True)
                std = (centred.detach().pow(2).mean(-1, keepdim=True) + own.eps).sqrt()
                return own.weight * centred / std + own.bias

            part.forward = layer
        elif kind in ("LlamaMLP", "Qwen3MLP"):

            def gated(x: Tensor, own: Any = part) -> Tensor:
                gate = Identity.apply(own.gate_proj(x), functional.silu)
                return own.down_proj(Divide.apply(gate * own.up_proj(x), 2))

            part.forward = gated
        elif kind == "GPT2MLP":

            def plain(x: Tensor, own: Any = part) -> Tensor:
                inner = lambda u: 0.5 * u * (1 + torch.tanh((2 / np.pi) ** 0.5 * (u + 0.044715 * u**3)))  # noqa: E731
                return own.c_proj(Identity.apply(own.c_fc(x), inner))

            part.forward = plain
        elif kind in ("BertIntermediate", "BertPredictionHeadTransform"):

            def dense(x: Tensor, own: Any = part, kind: str = kind) -> Tensor:
                y = Identity.apply(own.dense(x), functional.gelu)
                return own.LayerNorm(y) if kind == "BertPredictionHeadTransform" else y

            part.forward = dense


def explain(model: LanguageModel, completion: Any, **settings: Any) -> Saliency:
    return finish(compute_saliency(model, completion, SaliencySettings(method="attn-lrp", **settings)))


def completion_of(model: LanguageModel) -> Any:
    kind = model.facts.kind
    text = "the café [MASK] the keys [MASK] on" if kind == "masked" else TEXT
    return completed(model, text, generate=3, target_text="a café 東京" if kind == "encoder" else None)


@pytest.mark.parametrize("family", BY_HAND)
def test_relevance_is_that_of_the_rules_written_out(family: str) -> None:
    model = tiny_model(family, torch.float64)
    completion = completion_of(model)
    result = explain(model, completion, aggregate="sum")
    by_hand = tiny_module(family, torch.float64)
    write_rules_into(by_hand, family)
    for row, position in enumerate(result.explained):
        ids = completion.ids if model.facts.kind == "masked" else completion.ids[:position]
        embedded = by_hand.get_input_embeddings()(torch.tensor([ids])).detach().requires_grad_(True)
        at = position if model.facts.kind == "masked" else -1
        logit = by_hand(inputs_embeds=embedded).logits[0, at, result.explained_tokens[row].id]
        (gradient,) = torch.autograd.grad(logit, embedded)
        theirs = (gradient * embedded).sum(-1)[0].detach().numpy()
        seen = list(result.seen[row])
        np.testing.assert_allclose(result.scores[row, seen], theirs[seen], rtol=1e-5, atol=1e-9)
        assert np.abs(theirs[seen]).max() > 1e-3
        assert result.values[row] == pytest.approx(float(logit.detach()), rel=1e-6)  # its RMS norm is float32's


@pytest.mark.parametrize("family", sorted(FAMILIES.keys() - WITHOUT))
def test_every_value_of_the_forward_stays_what_it_is(family: str) -> None:
    model = tiny_model(family)
    completion = completion_of(model)
    result = explain(model, completion)
    assert result.relevance is not None
    np.testing.assert_array_equal(result.scores, np.abs(result.relevance))
    assert result.objective == ("logit" if model.facts.kind != "encoder" else "similarity")
    for row, conserved in enumerate(result.completeness):
        assert conserved is not None
        assert conserved.total == result.values[row]
        whole = explain(model, completion, aggregate="sum").scores[row].sum()
        if model.facts.kind != "masked":  # there the hidden tokens have their part too
            assert conserved.error == pytest.approx(whole - result.values[row], abs=1e-4)
    plain = finish(compute_saliency(model, completion, SaliencySettings(method="gradient", target="logit")))
    np.testing.assert_array_equal(plain.values, result.values)
    assert not any(part._forward_hooks or part._forward_pre_hooks for part in model.module.modules())


@pytest.mark.parametrize("family", sorted(WITHOUT))
def test_a_part_without_a_rule_is_named(family: str) -> None:
    model = tiny_model(family)
    with pytest.raises(InputError, match=f"AttnLRP has no rule for a part of tiny-{family}"):
        explain(model, completion_of(model))


@contextmanager
def constant_attention() -> Iterator[None]:
    """Attention weights that are given: then nothing is lost in a softmax."""

    class Given(Rules):
        def __torch_function__(self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None) -> Any:
            if func is functional.scaled_dot_product_attention:
                return func(args[0].detach(), args[1].detach(), *args[2:], **(kwargs or {}))
            return super().__torch_function__(func, types, args, kwargs)

    with Given("x"):
        yield


def test_without_biases_and_softmax_all_of_the_logit_is_shared_out() -> None:
    """What is missing on the page is in the softmax, in biases and in position vectors."""
    model = tiny_model("llama", torch.float64)
    ids = model.tokenizer(TEXT, return_tensors="pt").input_ids
    embedded = model.module.get_input_embeddings()(ids).detach().requires_grad_(True)
    for rules, is_whole in ((constant_attention, True), (lambda: Rules("x"), False)):
        with activations_as_one(model), rules():
            logits = model.module(inputs_embeds=embedded).logits[0, -1]
        for token in (3, 77):
            (gradient,) = torch.autograd.grad(logits[token], embedded, retain_graph=True)
            relative = abs(float((gradient * embedded).sum().detach()) / float(logits[token].detach()) - 1)
            assert (relative < 1e-4) is is_whole


def test_an_activation_is_known_by_what_it_does() -> None:
    for part in (nn.GELU(), nn.SiLU(), nn.Tanh(), nn.GELU("tanh"), nn.Mish()):
        assert is_activation(part)
    # The rule of a ReLU, whose double is that of the double, is its gradient.
    for part in (
        nn.ReLU(),
        nn.Dropout().eval(),
        nn.Identity(),
        nn.Softmax(-1),
        nn.Sigmoid(),
        nn.Linear(7, 7),
        nn.LayerNorm(7),
    ):
        assert not is_activation(part)


def test_a_wrong_rule_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each rule taken away moves the map."""
    model = tiny_model("llama", torch.float64)
    completion = completion_of(model)
    right = explain(model, completion, aggregate="sum").scores
    for name, value in (
        ("_halved", lambda x: x),
        ("as_one", lambda _x, y: y),
        ("SCALES", frozenset()),
    ):
        with monkeypatch.context() as changed:
            changed.setattr(relevance, name, value)
            wrong = explain(model, completion, aggregate="sum").scores
        assert np.abs(wrong - right).max() > 1e-3, name


def test_a_contrast_is_the_difference_of_two_logits_shared_out() -> None:
    model = tiny_model("llama", torch.float64)
    completion = completed(model, TEXT, generate=1)
    result = explain(model, completion, contrast=" the", aggregate="sum")
    assert result.objective == "contrast"
    assert result.completeness[0] is not None
    assert result.completeness[0].total == result.values[0]
