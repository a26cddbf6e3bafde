"""AttnLRP: layer-wise relevance propagation through a transformer, as gradients of a changed backward pass.

Achtibat et al. 2024 (arXiv 2402.05602), in the form of Arras et al. 2025 (arXiv 2502.15886): input × gradient is the
relevance, where

- the scale of a norm is held constant (identity rule);
- an elementwise activation's output over its input is held constant (identity rule);
- a product of two activations, such as gate × up, attention × values or queries × keys, is halved between them (uniform
  rule); softmax keeps its own gradient.

No list of families: what an operation does says which rule it has. The weights are frozen, so whatever needs a gradient
comes from the text, and a product of two such things is a product of two activations. Every value of the forward pass
stays what it is, to the bit; what no rule is known for is refused by name.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from analyzers.common.errors import InputError
from analyzers.models.language_model import LanguageModel
from analyzers.models.library import Args, Kwargs

ACTIVATIONS = frozenset({
    functional.gelu, functional.silu, functional.relu, functional.relu6, functional.leaky_relu, functional.elu,
    functional.mish, functional.hardswish, functional.hardtanh, functional.tanh, torch.relu, Tensor.relu, torch.tanh,
    Tensor.tanh,
})  # fmt: skip
"""Elementwise, and 0 at 0. (A ReLU's gradient is its rule, so those in place need none.)"""
PRODUCTS = frozenset({
    torch.mul, Tensor.mul, Tensor.__mul__, Tensor.__rmul__, Tensor.__imul__, torch.multiply, Tensor.multiply,
    torch.matmul, Tensor.matmul, Tensor.__matmul__, Tensor.__rmatmul__, torch.bmm, Tensor.bmm,
})  # fmt: skip
SCALES = frozenset({
    torch.rsqrt, Tensor.rsqrt, torch.sqrt, Tensor.sqrt, torch.std, Tensor.std, torch.linalg.vector_norm, torch.norm,
    Tensor.norm,
})  # fmt: skip
"""What a norm divides by."""
POWERS = frozenset({torch.pow, Tensor.pow, Tensor.__pow__})
QUOTIENTS = frozenset({torch.div, Tensor.div, Tensor.__truediv__, torch.true_divide})
UNRULED = frozenset({
    torch.exp, Tensor.exp, torch.log, Tensor.log, torch.sin, Tensor.sin, torch.cos, Tensor.cos, torch.sigmoid,
    Tensor.sigmoid, functional.sigmoid, functional.softplus, torch.cumprod, Tensor.cumprod,
    functional.multi_head_attention_forward,
})  # fmt: skip
"""Not linear in what comes from the text, and of no rule."""
UNRULED_PRODUCTS = frozenset({
    torch.einsum, Tensor.mul_, torch.baddbmm, Tensor.baddbmm, torch.addbmm, Tensor.addbmm, torch.addmm, Tensor.addmm,
    functional.bilinear,
})  # fmt: skip
"""Likewise where two of what they are given come from the text: they are linear in each."""


class _Active(threading.local):
    rules: Rules | None = None


_ACTIVE = _Active()


class Rules(TorchFunctionMode):
    """The rules, for what this thread computes while they are entered."""

    def __init__(self, model: str) -> None:
        """Raises InputError, while it is entered, for an operation that no rule is known for; `model` is named in it."""
        super().__init__()
        self._model = model
        self.is_inside = False
        """Within an activation that is taken as a whole."""

    def __enter__(self) -> Rules:
        _ACTIVE.rules = self
        super().__enter__()
        return self

    def __exit__(self, *exception: Any) -> None:
        _ACTIVE.rules = None
        super().__exit__(*exception)

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Args = (), kwargs: Kwargs | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if self.is_inside or not any(_is_read(one) for one in (*args, *kwargs.values())):
            return func(*args, **kwargs)
        if func is functional.scaled_dot_product_attention:
            query, key, value, *more = args
            return func(_halved(_halved(query)), _halved(_halved(key)), _halved(value), *more, **kwargs)
        if func in PRODUCTS and _is_read(args[0]) and _is_read(args[1]):
            return func(_halved(args[0]), _halved(args[1]), *args[2:], **kwargs)
        if func in ACTIVATIONS:
            kwargs = {name: value for name, value in kwargs.items() if name != "inplace"}
            return as_one(args[0], func(*args, **kwargs))
        if func is functional.layer_norm:
            return _layer_norm(func, *args, **kwargs)
        if func is functional.rms_norm:
            return _rms_norm(func, *args, **kwargs)
        if func in (torch.cosine_similarity, functional.cosine_similarity) and not _is_read(args[1]):
            x, other = args
            scale = other / (x.detach().norm(dim=-1, keepdim=True) * other.norm(dim=-1, keepdim=True))
            return _valued(func(x, other, **kwargs).detach(), (x * scale).sum(-1))
        if func is functional.normalize:
            return as_one(args[0], func(*args, **kwargs))
        if func in SCALES or (func in POWERS and args[1] in (0.5, -0.5)):
            return func(*args, **kwargs).detach()
        if func in QUOTIENTS and len(args) > 1 and _is_read(args[1]):
            return func(args[0], args[1].detach(), *args[2:], **kwargs)
        n_read = sum(map(_is_read, (*args, *kwargs.values())))
        if func in UNRULED or (func in UNRULED_PRODUCTS and n_read > 1):
            raise InputError("relevance_no_rule", model=self._model, name=getattr(func, "__name__", "?"))
        return func(*args, **kwargs)


@contextmanager
def activations_as_one(model: LanguageModel) -> Iterator[None]:
    """While open, every module of the model that is an elementwise activation follows the identity rule as a whole, in
    threads that have entered `Rules`. Set once around all workers."""

    def enter(_module: nn.Module, _args: Args) -> None:
        if _ACTIVE.rules is not None:
            _ACTIVE.rules.is_inside = True

    def leave(_module: nn.Module, args: Args, output: Tensor) -> Tensor | None:
        if _ACTIVE.rules is None:
            return None
        _ACTIVE.rules.is_inside = False
        return as_one(args[0], output)

    with ExitStack() as stack:
        for part in model.module.modules():
            if is_activation(part):
                stack.callback(part.register_forward_pre_hook(enter).remove)
                stack.callback(part.register_forward_hook(leave).remove)
        yield


@torch.no_grad()
def is_activation(part: nn.Module) -> bool:
    """Whether a module is an elementwise function that is 0 at 0, found by trying it; not one whose value of the double is
    the double, since its output over its input is its gradient."""
    if any(True for _ in part.children()) or any(True for _ in (*part.parameters(), *part.buffers())):
        return False
    x = torch.tensor([-1.5, -0.5, 0.0, 0.25, 1.0, 2.0, 3.0])
    try:
        y, doubled, turned = part(x.clone()), part(2 * x), part(x.flip(0))
        alone = torch.cat([part(one) for one in x.split(1)])
    except Exception:  # it takes something else
        return False
    if not all(isinstance(one, Tensor) and one.shape == x.shape for one in (y, doubled, turned, alone)):
        return False
    is_elementwise = torch.allclose(y.flip(0), turned) and torch.allclose(alone, y)
    return bool(is_elementwise and y[2] == 0 and not torch.allclose(doubled, 2 * y))


def as_one(x: Tensor, y: Tensor) -> Tensor:
    """`y`, as `x` times a constant: each element's share of it."""
    y = y.detach()
    ratio = torch.where(x.detach() == 0, 0.0, y / x.detach())
    return _valued(y, x * ratio)


def _halved(x: Tensor) -> Tensor:
    half = x / 2
    return half + half.detach()


def _valued(value: Tensor, moves: Tensor) -> Tensor:
    """`value` to the bit, with the gradient of `moves`."""
    return value + (moves - moves.detach())


def _is_read(value: object) -> bool:
    """Whether it comes from the text."""
    return isinstance(value, Tensor) and value.requires_grad


def _layer_norm(
    func: Callable[..., Tensor],
    x: Tensor,
    shape: Any,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
) -> Tensor:
    dimensions = tuple(range(-len(shape), 0))
    centred = x - x.mean(dimensions, keepdim=True)
    scale = centred.detach().pow(2).mean(dimensions, keepdim=True).add(eps).rsqrt()
    moves = centred * (scale if weight is None else scale * weight)
    return _valued(func(x, shape, weight, bias, eps).detach(), moves)


def _rms_norm(
    func: Callable[..., Tensor], x: Tensor, shape: Any, weight: Tensor | None = None, eps: float | None = None
) -> Tensor:
    dimensions = tuple(range(-len(shape), 0))
    eps = torch.finfo(x.dtype).eps if eps is None else eps
    scale = x.detach().pow(2).mean(dimensions, keepdim=True).add(eps).rsqrt()
    return _valued(func(x, shape, weight, eps).detach(), x * (scale if weight is None else scale * weight))
