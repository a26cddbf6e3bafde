"""The stream between a block's attention and its MLP: found by sums, proved by number. No list of family names.

A block adds to the stream what its attention says, and then what its MLP makes of the sum (Elhage et al. 2021). So the state
between the two is something that a part of the block is given, or that a norm returns (post-norm blocks, as BERT's),
which is the block's input and the output of an earlier part, and to which a later part's output is added to give the
block's own output. Blocks that run both side by side (GPT-NeoX, Phi, Falcon, Cohere) never hold it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import combinations

import torch
from torch import Tensor, nn

from analyzers.common.errors import InputError
from analyzers.models.library import Args, Kwargs, Output

MOST_SUMS = 3
"""In a block: attention, cross-attention, MLP."""
ROUNDINGS = 4
"""Of the model's precision, that a sum may be off."""
EXPLAINED = 1e-3
"""A sum proves out where what is left of every row is no larger than this share of what was added to it, rounding aside."""


@dataclass(frozen=True, eq=False)
class Place:
    """Where a state passes."""

    part: nn.Module
    is_input: bool
    """What the part is given, or what it returns."""


@dataclass(frozen=True, eq=False)
class _Event:
    """A part of a block was called, or returned."""

    place: Place
    value: Tensor
    """(row, d_model), float32."""


@dataclass(frozen=True, eq=False)
class _State:
    """The stream at one place, and how many events came before it."""

    value: Tensor
    place: Place | None
    n_before: int


@dataclass(frozen=True, eq=False)
class _Block:
    """One block as it ran."""

    entered: Tensor
    """The stream before it."""
    events: list[_Event]
    """In their order."""
    left: Tensor
    """The stream after it."""
    eps: float
    """Of the model's precision: a sum is right up to a few of these."""


def find_states_after_attention(blocks: Sequence[nn.Module], run: Callable[[], Output], name: str) -> tuple[Place, ...]:
    """Where the stream passes after each block's attention (in a decoder with two: after the last), from one forward by `run`.

    Raises InputError where a block holds no such state: one that runs attention and MLP side by side, or has no attention.
    """
    places = []
    with torch.no_grad():
        watched = _watch(blocks, run)
    for block in watched:
        place = _find_state(block)
        if place is None:
            raise InputError("blocks_in_parallel" if _is_parallel(block) else "no_state_after_attention", model=name)
        places.append(place)
    if len(places) != len(blocks):
        raise InputError("no_state_after_attention", model=name)
    return tuple(places)


@contextmanager
def observe_states(places: Sequence[Place], see: Callable[[int, Tensor], None]) -> Iterator[None]:
    """While open, `see(layer, hidden)` is called with the state after each block's attention, (1, position, d_model). For
    one forward over one text: layers are counted as they run."""
    layers = iter(range(len(places)))

    def note(hidden: Tensor) -> None:
        see(next(layers), hidden if hidden.dim() == 3 else hidden.unsqueeze(0))  # OPT lays its rows flat

    def see_input(_part: nn.Module, args: Args, kwargs: Kwargs) -> None:
        note(_given(args, kwargs))

    def see_output(_part: nn.Module, _args: object, output: Output) -> None:
        note(output)

    with ExitStack() as stack:
        for part, is_input in dict.fromkeys((place.part, place.is_input) for place in places):
            hook = (
                part.register_forward_pre_hook(see_input, with_kwargs=True)
                if is_input
                else part.register_forward_hook(see_output)
            )
            stack.callback(hook.remove)
        yield


def _watch(blocks: Sequence[nn.Module], run: Callable[[], Output]) -> list[_Block]:
    """Each block as it ran, with what its parts were given and returned."""
    found: list[_Block] = []
    entered: list[Tensor] = []
    events: list[_Event] = []

    def begin(_block: nn.Module, args: Args, kwargs: Kwargs) -> None:
        entered[:] = [_given(args, kwargs)]
        events.clear()

    def end(_block: nn.Module, _args: object, output: Output) -> None:
        left = output[0] if isinstance(output, (tuple, list)) else output
        found.append(_Block(_rows(entered[0]), list(events), _rows(left), torch.finfo(entered[0].dtype).eps))

    def note_input(part: nn.Module, args: Args, kwargs: Kwargs) -> None:
        note(part, True, _given(args, kwargs))

    def note_output(part: nn.Module, _args: object, output: Output) -> None:
        note(part, False, output[0] if isinstance(output, (tuple, list)) and output else output)

    def note(part: nn.Module, is_input: bool, value: object) -> None:
        if entered and isinstance(value, Tensor) and value.numel() == entered[0].numel():
            if value.shape[-1] == entered[0].shape[-1]:
                events.append(_Event(Place(part, is_input), _rows(value)))

    with ExitStack() as stack:
        for block in dict.fromkeys(blocks):
            stack.callback(block.register_forward_pre_hook(begin, with_kwargs=True).remove)
            for part in block.modules():
                if part is not block:
                    stack.callback(part.register_forward_pre_hook(note_input, with_kwargs=True).remove)
                    stack.callback(part.register_forward_hook(note_output).remove)
            stack.callback(block.register_forward_hook(end).remove)
        run()
    return found


def _given(args: Args, kwargs: Kwargs) -> Tensor:
    """The first tensor that a part is called with; an empty one where there is none."""
    return next((value for value in (*args, *kwargs.values()) if isinstance(value, Tensor)), torch.empty(0))


def _rows(hidden: Tensor) -> Tensor:
    return hidden.detach().float().reshape(-1, hidden.shape[-1]).clone()


def _find_state(block: _Block) -> Place | None:
    """The last state before a block's output, on the way there from its input by sums."""
    events = block.events
    counts = Counter((event.place.part, event.place.is_input) for event in events)

    def search(state: _State, n_sums: int) -> Place | None:
        """Depth first; the state before the output."""
        if state.place is not None and _is_sum(block, block.left, state, len(events)):
            return state.place
        for i in range(state.n_before, len(events) if n_sums < MOST_SUMS else 0):
            if not events[i].place.is_input or not _is_sum(block, events[i].value, state, i):
                continue
            for next_state in _nexts(events, i):
                place = next_state.place
                assert place is not None
                if state.place is not None and not place.is_input and _is_same(next_state.value, block.left):
                    return state.place  # a post-norm block ends with a norm of the sum
                is_once = counts[place.part, place.is_input] == 1
                if is_once and (found := search(next_state, n_sums + 1)) is not None:
                    return found
        return None

    return search(_State(block.entered, None, 0), 0)


def _nexts(events: list[_Event], i: int) -> Iterator[_State]:
    """The stream after a sum that a part is given: the sum itself, or what the part makes of it."""
    yield _State(events[i].value, events[i].place, i + 1)
    for j in range(i + 1, len(events)):
        if events[j].place.part is events[i].place.part and not events[j].place.is_input:
            yield _State(events[j].value, events[j].place, j + 1)
            return


def _is_sum(block: _Block, whole: Tensor, state: _State, before: int) -> bool:
    """Whether something is a state and the output of a part since then, scaled by one number."""
    if _is_same(whole, state.value):
        return False
    outputs = (event.value for event in block.events[state.n_before : before] if not event.place.is_input)
    return any(_is_explained(block, whole, whole - state.value, [output]) for output in outputs)


def _is_parallel(block: _Block) -> bool:
    """Whether a block's output is its input and the outputs of two parts, neither of which alone makes it, and no part is
    given the sum of one."""
    entered = _State(block.entered, None, 0)
    given = (i for i, event in enumerate(block.events) if event.place.is_input)
    if any(_is_sum(block, block.events[i].value, entered, i) for i in given):
        return False
    outputs = [event.value for event in block.events if not event.place.is_input]
    added = block.left - block.entered
    if any(_is_explained(block, block.left, added, [one]) for one in outputs):
        return False
    return any(_is_explained(block, block.left, added, list(two)) for two in combinations(outputs, 2))


def _is_explained(block: _Block, whole: Tensor, difference: Tensor, parts: list[Tensor]) -> bool:
    """Whether a difference is a combination of these, in every row."""
    basis = torch.stack([part.flatten() for part in parts], dim=1).double()
    if not bool(basis.isfinite().all()) or not bool(basis.any(0).all()):
        return False
    scales = torch.linalg.lstsq(basis, difference.flatten().double().unsqueeze(1)).solution
    rest = (difference.flatten().double() - (basis @ scales)[:, 0]).view_as(difference)
    rounding = ROUNDINGS * block.eps * whole.double().norm(dim=-1)
    return bool((rest.norm(dim=-1) <= EXPLAINED * difference.double().norm(dim=-1) + rounding).all())


def _is_same(one: Tensor, other: Tensor) -> bool:
    return bool(torch.allclose(one, other, rtol=1e-5, atol=1e-7))
