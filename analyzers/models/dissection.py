"""Finds the parts of a transformer by structure, and proves them by number. No list of family names.

The parts are found by watching one forward pass of the model itself: the blocks are the longest list of alike
modules that run one after the other (of the decoder, where there are two stacks); what runs after the last of them is
the tail (final norm, head).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from itertools import groupby

import torch
from torch import Tensor, nn

from analyzers.common.errors import InputError, reason_of
from analyzers.common.memory import is_out_of_memory
from analyzers.models.anatomy import Anatomy, first_output, run_at, unembed
from analyzers.models.library import Module, Output

TOLERANCE = 1e-4
"""Largest difference of lens and logits that counts as rounding in float32, as a share of the largest logit."""


def dissect(
    module: Module,
    probe: Tensor,
    name: str,
    *,
    has_head: bool = True,
    target: Tensor | None = None,
    is_causal: bool = False,
) -> Anatomy:
    """Find the parts of a model and prove them on `probe`, ids of shape (1, position).

    `target` are the decoder's ids in a model with two stacks. With a head, the proof is that the last block's output
    through norm and head gives the model's own logits, and that the head can be run at chosen rows alone; without one,
    that the last block's output is (normed, if the model norms it) the model's own last hidden state. Then that
    embeddings are all that enters of the ids, and, where it `is_causal`, that no prediction sees a later token. Raises
    InputError, naming the part, where one is not found or a proof fails.
    """
    texts = _texts(probe, target)
    with torch.no_grad(), _name_part("forward pass", name):
        anatomy, own, last = _find_parts(module, texts, name, has_head)
    with torch.no_grad(), _name_part("norm and head after the last layer", name):
        difference = _difference(_after(module, anatomy, last), own)
        alone = _difference(_after(module, anatomy, last[:1, -1:]), own[:1, -1:])  # nothing there mixes the positions
    for found in (difference, alone):
        if not is_rounding(found, own):
            raise InputError("anatomy_disproved", model=name, difference=f"{found:.3g}")
    with torch.no_grad(), _name_part("embeddings", name):
        entered, answer = _answer_embedded(module, anatomy, texts, own)
    if not is_rounding(found := _difference(entered, answer), own):
        raise InputError("embedding_disproved", model=name, difference=f"{found:.3g}")
    if is_causal and not is_rounding(found := _difference(own[0, :-1], own[1, :-1]), own):
        raise InputError("model_sees_ahead", model=name, difference=f"{found:.3g}")
    return replace(anatomy, max_difference=difference)


def _texts(probe: Tensor, target: Tensor | None) -> dict[str, Tensor]:
    """The probe, and one with another token at its end, which must move nothing before it where a model is causal. A model
    with two stacks has another source in a third."""
    if target is None:
        return {"input_ids": torch.cat([probe, _find_other_endings(probe)])}
    other = _find_other_endings(target)
    return {
        "input_ids": torch.cat([probe, probe, _find_other_endings(probe)]),
        "decoder_input_ids": torch.cat([target, other, other]),
    }


def _answer_embedded(module: Module, anatomy: Anatomy, texts: dict[str, Tensor], own: Tensor) -> tuple[Tensor, Tensor]:
    """What the model answers to the first text with the embeddings of the last in the place of its own, the head run at two
    rows alone; and what it answers to the last."""
    rows = torch.tensor([own.shape[1] // 2, own.shape[1] - 1], device=own.device)
    tables = (anatomy.embedding, anatomy.target_embedding)
    given = [table(ids[-1:]) for table, ids in zip(tables, texts.values(), strict=False) if table is not None]
    with anatomy.taps.wanting(embedded=tuple(given)):
        answered = run_at(module, anatomy, rows, **{side: ids[:1] for side, ids in texts.items()})
    return _answer(answered, anatomy), own[-1:] if anatomy.head is None else own[-1:, rows]


def _find_parts(module: Module, texts: dict[str, Tensor], name: str, has_head: bool) -> tuple[Anatomy, Tensor, Tensor]:
    """The parts as one forward shows them, what the model answered, and the output of its last block."""
    is_pair = "decoder_input_ids" in texts
    embedding = _table(module.get_encoder() if is_pair else module)
    target_embedding = _table(module.get_decoder()) if is_pair else None
    head = module.get_output_embeddings() if has_head else None
    if embedding is None or (is_pair and target_embedding is None):
        raise InputError("anatomy_part_missing", model=name, part="token embedding")
    if head is None and has_head:
        raise InputError("anatomy_part_missing", model=name, part="language-model head")
    answered, calls, outputs = _watch(module, texts)
    if head is not None and head not in calls:
        raise InputError("anatomy_part_missing", model=name, part="language-model head, as one part that runs,")
    blocks = _blocks(module.get_decoder() if is_pair else module, calls, name)
    n_read = list(texts.values())[-1].shape[1]
    for block in blocks if has_head else blocks[-1:]:
        if (n_positions := _n_positions(outputs[block])) != n_read:
            raise InputError("anatomy_positions", model=name, n=n_positions, read=n_read)
    anatomy = Anatomy(
        _that_ran(embedding, calls),
        blocks,
        tuple(len(outputs[block]) if isinstance(outputs[block], (tuple, list)) else 0 for block in blocks),
        _norm_between(blocks[-1], head, calls, outputs),
        head,
        target_embedding=None if target_embedding is None else _that_ran(target_embedding, calls),
        source_blocks=_blocks(module.get_encoder(), calls, name) if is_pair else (),
    )
    return anatomy, _answer(answered, anatomy), first_output(outputs[blocks[-1]])


def _after(module: Module, anatomy: Anatomy, last: Tensor) -> Tensor:
    """What a model makes of its last block's output: logits, or an encoder's last hidden states."""
    if anatomy.head is not None:
        return unembed(module, anatomy, last)
    return last if anatomy.final_norm is None else torch.as_tensor(anatomy.final_norm(last))


def _table(stack: Module) -> Module:
    """The embedding that a model or stack names as its own; None where it names none."""
    try:
        return stack.get_input_embeddings()
    except (AttributeError, NotImplementedError):
        return None


def _that_ran(embedding: nn.Module, calls: list[nn.Module]) -> nn.Module:
    """The embedding itself, or the one in its place that holds the same weights and is run (T5's encoder alone)."""
    weight = getattr(embedding, "weight", None)
    alike = (part for part in calls if weight is not None and getattr(part, "weight", None) is weight)
    return embedding if embedding in calls else next(alike, embedding)


def _n_positions(output: Output) -> int:
    hidden = first_output(output)
    return int(hidden.shape[1]) if hidden.dim() == 3 else 0


def _find_other_endings(ids: Tensor) -> Tensor:
    """The same text with an ordinary token of its own, one from its middle, at its end."""
    other = ids.clone()
    middle = ids.shape[1] // 2
    other[0, -1] = next((id for id in ids[0, middle:].tolist() if id != int(ids[0, -1])), int(ids[0, 0]))
    return other


def _answer(answered: Output, anatomy: Anatomy) -> Tensor:
    """Logits, or an encoder's last hidden states."""
    return torch.as_tensor(answered.last_hidden_state if anatomy.head is None else answered.logits)


@contextmanager
def _name_part(part: str, name: str) -> Iterator[None]:
    """Whatever fails inside is told with the part of the model that was being looked at."""
    try:
        yield
    except Exception as error:
        if isinstance(error, InputError) or is_out_of_memory(error):
            raise
        raise InputError("anatomy_failed", model=name, part=part, reason=reason_of(error)) from error


def is_rounding(difference: float, own: Tensor) -> bool:
    """Whether a difference from these values is no more than rounding; never so for NaN."""
    return difference <= TOLERANCE * max(1.0, float(own.abs().max()))


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


def _watch(module: Module, inputs: dict[str, Tensor]) -> tuple[Output, list[nn.Module], dict[nn.Module, Output]]:
    """One forward: the answer, the modules in the order in which they finished, and what each returned."""
    calls: list[nn.Module] = []
    outputs: dict[nn.Module, Output] = {}

    def note_output(part: nn.Module, _args: object, output: Output) -> None:
        calls.append(part)
        outputs[part] = output

    with ExitStack() as stack:
        for part in module.modules():
            stack.callback(part.register_forward_hook(note_output).remove)
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
    last_block: nn.Module, head: nn.Module | None, calls: list[nn.Module], outputs: dict[nn.Module, Output]
) -> nn.Module | None:
    """The leaf that ran first after the last block and before the head, if it keeps the shape and holds no matrix: what
    comes after a matrix (BERT's transform) is no final norm."""
    shape = first_output(outputs[last_block]).shape
    after = calls[len(calls) - calls[::-1].index(last_block) :]
    for part in after[: after.index(head)] if head is not None and head in after else after:
        is_leaf = not any(True for _ in part.children())
        if not is_leaf or isinstance(part, (nn.Dropout, nn.Identity)):
            continue
        output = outputs[part]
        holds_no_matrix = all(weight.dim() < 2 for weight in part.parameters())
        return part if holds_no_matrix and isinstance(output, Tensor) and output.shape == shape else None
    return None


def _difference(a: Tensor, b: Tensor) -> float:
    return float((a - b).abs().max()) if a.shape == b.shape else float("inf")
