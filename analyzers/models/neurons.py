"""Finds the neurons of a transformer by what they do, and records how strongly each fires on each token.

A neuron is one input of its block's MLP down projection: the post-activation in a GELU or ReLU MLP, act(gate)·up
in a gated one. No list of family names, no attribute paths, no order of calls: two properties are measured on a
short text, with the output of every other linear map frozen at what it was in an undisturbed forward pass.

- It *keeps to its position*: changing all maps' outputs at one position changes its input there and nowhere else.
  Not true of attention's output projection, whose input mixes positions.
- It *writes*: changing its output changes the block's output. Not true of a map that reaches the block's output
  only through another one (queries, keys, the MLP's up and gate projections).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor, nn

from analyzers.common.errors import InputError
from analyzers.models.library import Args, Kwargs, Output

SHORTEST_PROBE = 4
"""Positions of a probe: with fewer, mixing between positions could not be seen."""


@torch.no_grad()
def find_down_projections(
    blocks: Sequence[nn.Module], forward: Callable[[], Output], model: str
) -> tuple[nn.Module, ...]:
    """Each block's down projection, layer 0 first: the linear map whose input is the block's neurons.

    `forward` runs the model, in eval mode, on one probe (a batch of one, at least 4 tokens); it is called a handful
    of times, and the hooks set meanwhile are always removed. Encoders, decoders, parallel and post-norm blocks
    alike. Where a block has several such maps (a low-rank side path), the one with most neurons is taken.
    Raises InputError, naming the part, for a mixture of experts, whose neurons differ from token to token, and for a
    block without such a map. Raises ValueError for a probe that is too short.
    """
    maps = [_linear_maps(block, layer, model) for layer, block in enumerate(blocks)]
    linear_maps = [linear for of_block in maps for linear in of_block.values()]
    with _watch_parts([*linear_maps, *blocks]) as undisturbed:
        forward()
    ran = {name for of_block in maps for name, linear in of_block.items() if linear in undisturbed}
    maps = [
        {name: of_block[name] for name in of_block if name in ran} for of_block in maps
    ]  # less idle cross-attention
    linear_maps = [linear for of_block in maps for linear in of_block.values()]
    n_positions = len(_rows_of(undisturbed[blocks[0]].output))
    if n_positions < SHORTEST_PROBE:
        raise ValueError(f"the probe has {n_positions} positions; at least {SHORTEST_PROBE} are needed")
    for layer, of_block in enumerate(maps):
        if undisturbed[blocks[layer]].times > 1:
            raise InputError("layers_share_weights", model=model)
        if any(linear not in undisturbed for linear in of_block.values()):
            raise InputError("mixture_of_experts", model=model, layer=layer)

    position = n_positions // 2
    frozen = {part: seen.output for part, seen in undisturbed.items()}
    perturbation = {linear: _perturb(frozen[linear], position, n_positions) for linear in linear_maps}
    with _watch_parts(linear_maps) as perturbed, _return_outputs(frozen | perturbation):
        forward()
    local = {
        linear for linear in linear_maps if _moves_only_at(position, undisturbed[linear].input, perturbed[linear].input)
    }
    found: list[list[nn.Module]] = [[] for _ in blocks]
    for name in dict.fromkeys(name for of_block in maps for name in of_block):
        same_name = {layer: of_block[name] for layer, of_block in enumerate(maps) if of_block.get(name) in local}
        same_name = {
            layer: linear
            for layer, linear in same_name.items()
            if _rows_of(frozen[linear]).shape == _rows_of(frozen[blocks[layer]]).shape
        }
        if same_name:
            with (
                _watch_parts(blocks) as answered,
                _return_outputs(frozen | {linear: perturbation[linear] for linear in same_name.values()}),
            ):
                forward()
            for layer, linear in same_name.items():
                if not torch.equal(answered[blocks[layer]].rows, undisturbed[blocks[layer]].rows):
                    found[layer].append(linear)
    return tuple(_widest(linears, undisturbed, model, layer) for layer, linears in enumerate(found))


@torch.no_grad()
def record_activations(
    down_projections: Sequence[nn.Module], forward: Callable[[], Output]
) -> list[Float[Tensor, "position neuron"]]:
    """How strongly each neuron fires on each token: one matrix for each projection, from one forward (batch of one).

    Signed, in the model's own unit and precision; the hooks are always removed. The activation at position i is the
    response to token i, and a cause of token i + 1.
    """
    recorded: dict[nn.Module, Tensor] = {}

    def record(part: nn.Module, args: Args, kwargs: Kwargs) -> None:
        recorded[part] = _rows_of(_copy_output(args[0] if args else next(iter(kwargs.values()))))

    with ExitStack() as stack:
        for projection in down_projections:
            stack.callback(projection.register_forward_pre_hook(record, with_kwargs=True).remove)
        forward()
    return [recorded[projection] for projection in down_projections]


def write_through(projection: nn.Module, activations: Float[Tensor, "row neuron"]) -> Float[Tensor, "row d_model"]:
    """What a down projection writes for these activations, its bias left out: for one neuron at 1, its column.

    The map itself is asked, so it does not matter how it keeps its weight (`nn.Linear`, GPT-2's `Conv1D`).
    """
    written: Tensor = projection(activations) - projection(torch.zeros_like(activations))
    return written


def _linear_maps(block: nn.Module, layer: int, model: str) -> dict[str, nn.Module]:
    """The linear maps inside a block, by their name in it: the leaves that hold one matrix and look nothing up."""
    maps: dict[str, nn.Module] = {}
    for name, part in block.named_modules():
        own = list(part.parameters(recurse=False))
        if any(weight.dim() > 2 for weight in own) and not isinstance(part, (nn.Conv1d, nn.Conv2d)):
            raise InputError("mixture_of_experts", model=model, layer=layer)  # the experts, in one tensor
        is_leaf = not any(True for _ in part.children())
        if name and is_leaf and not isinstance(part, nn.Embedding) and sum(weight.dim() == 2 for weight in own) == 1:
            maps[name] = part
    return maps


def _widest(linears: list[nn.Module], undisturbed: Mapping[nn.Module, _Seen], model: str, layer: int) -> nn.Module:
    widths = [_rows_of(undisturbed[linear].input).shape[-1] for linear in linears]
    if not linears or widths.count(max(widths)) > 1:
        raise InputError("no_down_projection", model=model, layer=layer)
    return linears[widths.index(max(widths))]


@dataclass(frozen=True, eq=False)
class _Seen:
    """What one module took and gave when it last ran, before any hook changed it."""

    input: Output
    output: Output
    times: int
    """How often it has run."""

    @property
    def rows(self) -> Tensor:
        return _rows_of(self.output)


@contextmanager
def _watch_parts(parts: Sequence[nn.Module]) -> Iterator[dict[nn.Module, _Seen]]:
    """While open, each part's last call is noted, in copies: some blocks add in place (Falcon)."""
    seen: dict[nn.Module, _Seen] = {}

    def note(part: nn.Module, args: Args, kwargs: Kwargs, output: Output) -> None:
        taken = args[0] if args else next(iter(kwargs.values()))
        times = seen[part].times + 1 if part in seen else 1
        seen[part] = _Seen(_copy_output(taken), _copy_output(output), times)

    with ExitStack() as stack:
        for part in parts:
            stack.callback(part.register_forward_hook(note, with_kwargs=True).remove)
        yield seen


@contextmanager
def _return_outputs(outputs: Mapping[nn.Module, Output]) -> Iterator[None]:
    """While open, each part returns the given output whatever it computed. Open it after `_seeing`, which sees first."""
    with ExitStack() as stack:
        for part, output in outputs.items():
            stack.callback(part.register_forward_hook(partial(_exchange, output)).remove)
        yield


def _exchange(given: Output, _part: nn.Module, _args: object, _output: object) -> Output:
    return _copy_output(given)


def _copy_output(output: Output) -> Output:
    if isinstance(output, (tuple, list)):
        return type(output)([_copy_output(output[0]), *output[1:]])
    return output.detach().clone() if isinstance(output, Tensor) else output


def _rows_of(output: Output) -> Tensor:
    """(position, width), also where a block returns a tuple, or an MLP works on flattened rows (OPT)."""
    tensor = output[0] if isinstance(output, (tuple, list)) else output
    return torch.as_tensor(tensor).flatten(0, -2)


def _perturb(output: Output, position: int, n_positions: int) -> Output:
    """The same output with an uneven amount added at one position; a map of other rows (cross-attention) moves in all."""
    if not isinstance(output, Tensor):
        return output
    perturbation = output.clone()
    rows = perturbation.flatten(0, -2)
    step = torch.arange(rows.shape[-1], device=rows.device).add(1).sin() * (1 + rows.float().std())
    if len(rows) == n_positions:
        rows[position] += step.to(rows.dtype)
    else:
        rows += step.to(rows.dtype)
    return rows.view_as(output)


def _moves_only_at(position: int, before: Output, after: Output) -> bool:
    if not isinstance(before, Tensor) or _rows_of(before).shape != _rows_of(after).shape:
        return False
    perturbation = (_rows_of(before) != _rows_of(after)).any(-1)
    return bool(perturbation[position]) and int(perturbation.sum()) == 1
