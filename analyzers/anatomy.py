"""Finds the parts of a transformer by structure, and proves them by number. No list of family names.

The parts are found by watching one forward pass of the model itself: the blocks are the longest list of alike
modules that run one after the other; what runs after the last of them is the tail (final norm, head). The tail is
never rebuilt: `read_out` runs the model's *own* forward with its blocks silenced, so a logit scale (Cohere,
Granite), a soft-cap (Gemma), a projection (OPT) or a masked-LM transform (BERT) is included by construction.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from analyzers.errors import InputError

TOLERANCE = 1e-4
"""Largest difference of lens and logits that counts as rounding in float32, as a share of the largest logit."""


@dataclass(frozen=True, eq=False)
class Anatomy:
    """Where the parts of one model are."""

    embedding: nn.Module
    """Token ids → vectors, as `inputs_embeds` takes them."""
    blocks: tuple[nn.Module, ...]
    """Layer 0 first."""
    returns_tuple: tuple[bool, ...]
    """Whether each block returns a tuple that its output comes first in."""
    final_norm: nn.Module | None
    """The norm between the last block and the head; None in a post-norm model, whose blocks end normed."""
    head: nn.Module | None
    """The unembedding; None in an encoder without a language-model head."""
    max_difference: float
    """|lens at the last layer − the model's own logits|, the largest over the probe: 0.0 in float32."""


def dissect(module: Any, probe: Tensor, name: str, *, has_head: bool = True) -> Anatomy:
    """Find the parts of a model and prove them on `probe`, ids of shape (1, position).

    With a head, the proof is that the last block's output through norm and head gives the model's own logits; without
    one, that it is (normed, if the model norms it) the model's own last hidden state. Raises InputError, naming the
    part, where one is not found or the proof fails.
    """
    embedding = module.get_input_embeddings()
    head = module.get_output_embeddings() if has_head else None
    if embedding is None:
        raise InputError("anatomy_part_missing", model=name, part="token embedding")
    if head is None and has_head:
        raise InputError("anatomy_part_missing", model=name, part="language-model head")
    candidates = _block_lists(module)
    if not candidates:
        raise InputError("anatomy_part_missing", model=name, part="list of blocks")
    with torch.no_grad():
        answered, calls, outputs = _watch(module, probe)
        ran = [blocks for blocks in candidates if _ran_in_order(blocks, calls)]
        if not ran:
            raise InputError("anatomy_part_missing", model=name, part="list of blocks that run one after the other")
        blocks = max(ran, key=len)
        final_norm = _norm_between(blocks[-1], head, calls, outputs)
        tuples = tuple(isinstance(outputs[block], tuple) for block in blocks)
        anatomy = Anatomy(embedding, blocks, tuples, final_norm, head, float("nan"))
        last = _first(outputs[blocks[-1]])
        if head is None:
            own, ours = answered.last_hidden_state, last if final_norm is None else final_norm(last)
            difference = _difference(ours, own)
        else:
            own = answered.logits
            embedded = module(inputs_embeds=embedding(probe), use_cache=False).logits
            difference = max(_difference(embedded, own), _difference(read_out(module, anatomy, last), own))
    if not difference <= TOLERANCE * max(1.0, float(own.abs().max())):
        raise InputError("anatomy_disproved", model=name, difference=f"{difference:.3g}")
    return Anatomy(embedding, blocks, tuples, final_norm, head, difference)


def read_out(
    module: Any, anatomy: Anatomy, hidden: Float[Tensor, "batch row d_model"], *, final_norm: bool = True
) -> Float[Tensor, "batch row vocab"]:
    """Logits of block outputs: everything the model itself does after its last block, each row on its own.

    With `final_norm=False` the final norm is passed over, as ecco did for every layer but the last; those logits
    are on no scale that the head was trained for. The caller holds the model's lock: blocks are silenced meanwhile.
    """
    silent: list[tuple[nn.Module, Callable[..., Any]]] = []
    for block, is_tuple in zip(anatomy.blocks, anatomy.returns_tuple, strict=True):
        silent.append((block, _returning(hidden, as_tuple=is_tuple)))
    if not final_norm and anatomy.final_norm is not None:
        silent.append((anatomy.final_norm, _unchanged))
    # What enters is thrown away by the silenced blocks; only its shape counts, and it can be narrower than d_model (OPT).
    width = next(anatomy.embedding.parameters()).shape[-1]
    entering = hidden.new_zeros(*hidden.shape[:2], width)
    with _replaced(silent):
        logits: Tensor = module(inputs_embeds=entering, use_cache=False).logits
    return logits


@contextmanager
def observed(anatomy: Anatomy, see: Callable[[int, Tensor], None]) -> Iterator[None]:
    """While open, `see(layer, hidden)` is called with each block's output, (batch, position, d_model), and with the
    input of the first block as layer −1. The hooks are always removed."""
    with ExitStack() as stack:

        def entering(_module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            see(-1, args[0] if args else kwargs["hidden_states"])

        stack.callback(anatomy.blocks[0].register_forward_pre_hook(entering, with_kwargs=True).remove)
        for layer, block in enumerate(anatomy.blocks):

            def leaving(_module: nn.Module, _args: Any, output: Any, layer: int = layer) -> None:
                see(layer, _first(output))

            stack.callback(block.register_forward_hook(leaving).remove)
        yield


def _block_lists(module: nn.Module) -> list[tuple[nn.Module, ...]]:
    """Every list of alike modules that is not inside another such list."""
    found: list[tuple[nn.Module, ...]] = []
    inside: set[nn.Module] = set()
    for part in module.modules():
        if isinstance(part, nn.ModuleList) and len(part) and part not in inside:
            inside.update(child for child in part.modules() if child is not part)
            if len({type(child) for child in part}) == 1:
                found.append(tuple(part))
    return found


def _watch(module: Any, probe: Tensor) -> tuple[Any, list[nn.Module], dict[nn.Module, Any]]:
    """One forward: the answer, the modules in the order in which they finished, and what each returned."""
    calls: list[nn.Module] = []
    outputs: dict[nn.Module, Any] = {}

    def finished(part: nn.Module, _args: Any, output: Any) -> None:
        calls.append(part)
        outputs[part] = output

    with ExitStack() as stack:
        for part in module.modules():
            stack.callback(part.register_forward_hook(finished).remove)
        answered = (
            module(input_ids=probe)
            if module.get_output_embeddings() is None
            else module(input_ids=probe, use_cache=False)
        )
    return answered, calls, outputs


def _ran_in_order(blocks: tuple[nn.Module, ...], calls: list[nn.Module]) -> bool:
    members = set(blocks)
    return [part for part in calls if part in members] == list(blocks)


def _norm_between(
    last_block: nn.Module, head: nn.Module | None, calls: list[nn.Module], outputs: dict[nn.Module, Any]
) -> nn.Module | None:
    """A leaf that ran after the last block and before the head, keeps the shape and holds no matrix."""
    shape = _first(outputs[last_block]).shape
    after = calls[calls.index(last_block) + 1 :]
    for part in after[: after.index(head)] if head is not None and head in after else after:
        is_leaf = not any(True for _ in part.children())
        holds_no_matrix = all(weight.dim() < 2 for weight in part.parameters())
        output = outputs[part]
        if is_leaf and holds_no_matrix and isinstance(output, Tensor) and output.shape == shape:
            if not isinstance(part, (nn.Dropout, nn.Identity)):
                return part
    return None


def _first(output: Any) -> Tensor:
    hidden = output[0] if isinstance(output, tuple) else output
    if not isinstance(hidden, Tensor):
        raise TypeError(f"a block returned {type(hidden).__name__}, not a tensor")
    return hidden


def _difference(a: Tensor, b: Tensor) -> float:
    return float((a - b).abs().max()) if a.shape == b.shape else float("inf")


def _returning(hidden: Tensor, *, as_tuple: bool) -> Callable[..., Any]:
    def forward(*_args: Any, **_kwargs: Any) -> Any:
        return (hidden, None) if as_tuple else hidden

    return forward


def _unchanged(hidden: Tensor, *_args: Any, **_kwargs: Any) -> Tensor:
    return hidden


@contextmanager
def _replaced(forwards: list[tuple[nn.Module, Callable[..., Any]]]) -> Iterator[None]:
    """Each module's `forward` exchanged while open. An instance's own `forward` (accelerate's hooks) is put back."""
    before = [(part, part.__dict__.get("forward")) for part, _ in forwards]
    try:
        for part, forward in forwards:
            part.forward = forward
        yield
    finally:
        for part, own in before:
            if own is None:
                part.__dict__.pop("forward", None)
            else:
                part.forward = own
