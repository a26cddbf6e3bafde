"""Finds the parts of a transformer by structure, and proves them by number. No list of family names.

The parts are found by watching one forward pass of the model itself: the blocks are the longest list of alike
modules that run one after the other (of the decoder, where there are two stacks); what runs after the last of them is
the tail (final norm, head). The tail is never rebuilt: `read_out` runs the model's *own* forward with its blocks
silenced, so a logit scale (Cohere, Granite, T5), a soft-cap (Gemma), a projection (OPT) or a masked-LM transform (BERT)
is included by construction.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from inspect import signature
from itertools import groupby, product
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from transformers.modeling_outputs import BaseModelOutput

from analyzers.errors import InputError

TOLERANCE = 1e-4
"""Largest difference of lens and logits that counts as rounding in float32, as a share of the largest logit."""


@dataclass(frozen=True, eq=False)
class Anatomy:
    """Where the parts of one model are."""

    embedding: nn.Module
    """Token ids → vectors; times `embedding_scale`, what `inputs_embeds` takes."""
    blocks: tuple[nn.Module, ...]
    """Layer 0 first. A block whose weights serve several layers (ALBERT) stands there several times."""
    tuple_lengths: tuple[int, ...]
    """How many values each block returns in a tuple, its output first; 0 where it returns the output alone."""
    final_norm: nn.Module | None
    """The norm between the last block and the head; None in a post-norm model, whose blocks end normed."""
    head: nn.Module | None
    """The unembedding; None in an encoder without a language-model head."""
    embedding_scale: float = 1.0
    """What an embedding is multiplied by before it enters as `inputs_embeds` (Marian's encoder: √d_model)."""
    target_embedding: nn.Module | None = None
    """The decoder's own embedding, in a model with two stacks."""
    target_scale: float = 1.0
    source_blocks: tuple[nn.Module, ...] = ()
    """The encoder's blocks, in a model with two stacks; `blocks` are the decoder's."""
    max_difference: float = float("nan")
    """|lens at the last layer − the model's own logits|, the largest over the probe: 0.0 in float32."""


def dissect(module: Any, probe: Tensor, name: str, *, has_head: bool = True, target: Tensor | None = None) -> Anatomy:
    """Find the parts of a model and prove them on `probe`, ids of shape (1, position).

    `target` are the decoder's ids in a model with two stacks. With a head, the proof is that the last block's output
    through norm and head gives the model's own logits, that embeddings give what ids give, and that the head can be run
    at chosen rows alone; without one, that the last block's output is (normed, if the model norms it) the model's own
    last hidden state. Raises InputError, naming the part, where one is not found or the proof fails.
    """
    is_pair = target is not None
    embedding = (module.get_encoder() if is_pair else module).get_input_embeddings()
    target_embedding = module.get_decoder().get_input_embeddings() if is_pair else None
    head = module.get_output_embeddings() if has_head else None
    if embedding is None or (is_pair and target_embedding is None):
        raise InputError("anatomy_part_missing", model=name, part="token embedding")
    if head is None and has_head:
        raise InputError("anatomy_part_missing", model=name, part="language-model head")
    ids = {"input_ids": probe} if target is None else {"input_ids": probe, "decoder_input_ids": target}
    with torch.no_grad():
        answered, calls, outputs = _watch(module, ids)
        blocks = _blocks(module.get_decoder() if is_pair else module, calls, name)
        source_blocks = _blocks(module.get_encoder(), calls, name) if is_pair else ()
        final_norm = _norm_between(blocks[-1], head, calls, outputs)
        lengths = tuple(len(outputs[block]) if isinstance(outputs[block], tuple) else 0 for block in blocks)
        anatomy = Anatomy(
            embedding,
            blocks,
            lengths,
            final_norm,
            head,
            target_embedding=target_embedding,
            source_blocks=source_blocks,
            max_difference=float("nan"),
        )
        last = _first(outputs[blocks[-1]])
        if head is None:
            own, ours = answered.last_hidden_state, last if final_norm is None else final_norm(last)
            difference = _difference(ours, own)
        else:
            own = answered.logits
            anatomy, of_embeddings = _scaled(module, anatomy, probe, target, own)
            difference = _difference(read_out(module, anatomy, last), own)
            if of_embeddings > difference and not is_rounding(of_embeddings, own):
                raise InputError("anatomy_disproved", model=name, difference=f"{of_embeddings:.3g}")
    if not is_rounding(difference, own):
        raise InputError("anatomy_disproved", model=name, difference=f"{difference:.3g}")
    return replace(anatomy, max_difference=difference)


def is_rounding(difference: float, own: Tensor) -> bool:
    """Whether a difference from these values is no more than rounding; never so for NaN."""
    return difference <= TOLERANCE * max(1.0, float(own.abs().max()))


def run_at(module: Any, anatomy: Anatomy, rows: Tensor | None, **inputs: Any) -> Any:
    """The model's own output, its logits for `rows` only (None: for all): the head is run for no other. No cache is
    kept unless `inputs` ask for it."""
    if "use_cache" in signature(module.forward).parameters:
        inputs = {"use_cache": False, **inputs}
    if rows is None or anatomy.head is None:
        return module(**inputs)

    hook = anatomy.head.register_forward_pre_hook(partial(_chosen, rows))
    try:
        return module(**inputs)
    finally:
        hook.remove()


def _chosen(rows: Tensor, _head: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...]:
    return (args[0][:, rows.to(args[0].device)], *args[1:])


def read_out(
    module: Any, anatomy: Anatomy, hidden: Float[Tensor, "batch row d_model"], *, final_norm: bool = True
) -> Float[Tensor, "batch row vocab"]:
    """Logits of block outputs: everything the model itself does after its last block, each row on its own.

    With `final_norm=False` the final norm is passed over, as ecco did for every layer but the last; those logits
    are on no scale that the head was trained for. The caller holds the model's lock: blocks are silenced meanwhile.
    """
    silent: list[tuple[nn.Module, Callable[..., Any]]] = []
    for block, length in zip(anatomy.blocks, anatomy.tuple_lengths, strict=True):
        silent.append((block, partial(_given, hidden, length)))
    if not final_norm and anatomy.final_norm is not None:
        silent.append((anatomy.final_norm, _unchanged))
    # What enters is thrown away by the silenced blocks; only its shape counts, and it can be narrower than d_model (OPT).
    embedding = anatomy.target_embedding or anatomy.embedding
    entering = hidden.new_zeros(*hidden.shape[:2], next(embedding.parameters()).shape[-1])
    with _replaced(silent):
        if anatomy.target_embedding is None:
            logits: Tensor = run_at(module, anatomy, None, inputs_embeds=entering).logits
        else:
            source = BaseModelOutput(last_hidden_state=entering[:, :1])
            logits = run_at(module, anatomy, None, encoder_outputs=source, decoder_inputs_embeds=entering).logits
    return logits


@contextmanager
def observed(anatomy: Anatomy, see: Callable[[int, Tensor], None]) -> Iterator[None]:
    """While open, `see(layer, hidden)` is called with each block's output, (batch, position, d_model), and with the
    input of the first block as layer −1. For one forward: layers are counted as they run. The hooks are always removed."""
    layers = iter(range(len(anatomy.blocks)))

    def entering(_module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        first.remove()
        see(-1, args[0] if args else kwargs["hidden_states"])

    def leaving(_module: nn.Module, _args: Any, output: Any) -> None:
        see(next(layers), _first(output))

    with ExitStack() as stack:
        first = anatomy.blocks[0].register_forward_pre_hook(entering, with_kwargs=True)
        stack.callback(first.remove)
        for block in dict.fromkeys(anatomy.blocks):
            stack.callback(block.register_forward_hook(leaving).remove)
        yield


def _scaled(
    module: Any, anatomy: Anatomy, probe: Tensor, target: Tensor | None, own: Float[Tensor, "batch row vocab"]
) -> tuple[Anatomy, float]:
    """The anatomy with the embedding scales, 1 or √d_model, that make embeddings give what ids give; and how well they
    do, the head run at two rows alone."""
    rows = torch.tensor([own.shape[1] // 2, own.shape[1] - 1], device=own.device)
    scales = (1.0, float(next(anatomy.embedding.parameters()).shape[-1]) ** 0.5)
    found: list[tuple[float, Anatomy]] = []
    for scale, target_scale in product(scales, scales if target is not None else (1.0,)):
        inputs: dict[str, Any] = {"inputs_embeds": anatomy.embedding(probe) * scale}
        if target is not None and anatomy.target_embedding is not None:
            inputs["decoder_inputs_embeds"] = anatomy.target_embedding(target) * target_scale
        difference = _difference(run_at(module, anatomy, rows, **inputs).logits, own[:, rows])
        found.append((difference, replace(anatomy, embedding_scale=scale, target_scale=target_scale)))
        if is_rounding(difference, own):
            break
    difference, anatomy = min(found, key=lambda pair: pair[0])
    return anatomy, difference


def _blocks(stack: nn.Module, calls: list[nn.Module], name: str) -> tuple[nn.Module, ...]:
    """The blocks of a stack in the order in which they ran. Raises InputError where there are none."""
    candidates = _block_lists(stack)
    if not candidates:
        raise InputError("anatomy_part_missing", model=name, part="list of blocks")
    ran = [order for blocks in candidates if (order := _order_run(blocks, calls))]
    if not ran:
        raise InputError("anatomy_part_missing", model=name, part="list of blocks that run one after the other")
    return max(ran, key=len)


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


def _watch(module: Any, inputs: dict[str, Tensor]) -> tuple[Any, list[nn.Module], dict[nn.Module, Any]]:
    """One forward: the answer, the modules in the order in which they finished, and what each returned."""
    calls: list[nn.Module] = []
    outputs: dict[nn.Module, Any] = {}

    def finished(part: nn.Module, _args: Any, output: Any) -> None:
        calls.append(part)
        outputs[part] = output

    with ExitStack() as stack:
        for part in module.modules():
            stack.callback(part.register_forward_hook(finished).remove)
        answered = module(**inputs)
    return answered, calls, outputs


def _order_run(blocks: tuple[nn.Module, ...], calls: list[nn.Module]) -> tuple[nn.Module, ...]:
    """The blocks as they ran: each once and in order, or each several times over (shared weights); else empty."""
    members = set(blocks)
    order = [part for part in calls if part in members]
    in_turn = [part for part, _ in groupby(order)]
    rounds = len(order) // len(blocks)
    return tuple(order) if rounds and (in_turn == list(blocks) or order == list(blocks) * rounds) else ()


def _norm_between(
    last_block: nn.Module, head: nn.Module | None, calls: list[nn.Module], outputs: dict[nn.Module, Any]
) -> nn.Module | None:
    """The leaf that ran first after the last block and before the head, if it keeps the shape and holds no matrix: what
    comes after a matrix (BERT's transform) is no final norm."""
    shape = _first(outputs[last_block]).shape
    after = calls[len(calls) - calls[::-1].index(last_block) :]
    for part in after[: after.index(head)] if head is not None and head in after else after:
        is_leaf = not any(True for _ in part.children())
        if not is_leaf or isinstance(part, (nn.Dropout, nn.Identity)):
            continue
        output = outputs[part]
        holds_no_matrix = all(weight.dim() < 2 for weight in part.parameters())
        return part if holds_no_matrix and isinstance(output, Tensor) and output.shape == shape else None
    return None


def _first(output: Any) -> Tensor:
    hidden = output[0] if isinstance(output, tuple) else output
    if not isinstance(hidden, Tensor):
        raise TypeError(f"a block returned {type(hidden).__name__}, not a tensor")
    return hidden


def _difference(a: Tensor, b: Tensor) -> float:
    return float((a - b).abs().max()) if a.shape == b.shape else float("inf")


def _given(hidden: Tensor, length: int, *_args: Any, **_kwargs: Any) -> Any:
    return (hidden, *[None] * (length - 1)) if length else hidden


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
