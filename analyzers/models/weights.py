"""The weights of a loaded module, wherever accelerate keeps them; and a half-precision model's tail read in float32."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from typing import Any

import torch
from accelerate.hooks import remove_hook_from_module
from torch import Tensor, nn

from analyzers.models.library import Args, Module, Output

HALF = (torch.float16, torch.bfloat16)


def iterate_weights(module: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Every parameter by name, also one that accelerate holds in main memory or on the disk until it is used."""
    for name, part in module.named_modules():
        for leaf, weight in part.named_parameters(recurse=False):
            if weight.device.type != "meta":
                yield f"{name}.{leaf}", weight
                continue
            kept = next((hook.weights_map for hook in _hooks(part) if hook.weights_map is not None), None)
            if kept is None:
                raise RuntimeError(f"the weight {name}.{leaf} is nowhere")
            yield f"{name}.{leaf}", kept[leaf]


def device_of(module: nn.Module) -> torch.device:
    """Where the ids of a text go in: the device of the embedding, or the one that it is moved to when it is used."""
    first = next(part for part in module.modules() if any(True for _ in part.parameters(recurse=False)))
    kept = [hook.execution_device for hook in _hooks(first) if hook.execution_device is not None]
    return torch.device(kept[0]) if kept else next(first.parameters()).device


def count_bytes(module: nn.Module) -> int:
    """Memory of the weights, counted once where they are tied; what lies on the disk is not in memory."""
    held = {weight.data_ptr(): weight for weight in _in_memory(module)}
    return sum(weight.numel() * weight.element_size() for weight in held.values())


def dtype_of(module: Module) -> str:
    """As results name it: `float32`, `bfloat16`, `int8`, `nf4`."""
    if getattr(module, "is_loaded_in_8bit", False):
        return "int8"
    return "nf4" if getattr(module, "is_loaded_in_4bit", False) else str(module.dtype).removeprefix("torch.")


def upcast_tail_to_float32(module: nn.Module, last_block: nn.Module, forward: Callable[[], Output]) -> None:
    """Have everything that runs after the last block (final norm, head) compute in float32, in a model of less precision.

    bfloat16 has some 2,400 values for the logits of a whole vocabulary, so ranks would tie. The head's weight becomes a
    float32 copy of its own where it was tied; what accelerate moved in and out stays on its device from now on.
    """
    for part in _leaves_after(module, last_block, forward):
        names = [name for name, _ in part.named_parameters(recurse=False)]
        hook = next(iter(_hooks(part)), None)
        weights = [
            weight if hook is None or weight.device.type != "meta" else hook.weights_map[name]
            for name, weight in part.named_parameters(recurse=False)
        ]
        if any(weight.dtype not in HALF for weight in weights):
            continue
        device = (
            weights[0].device if hook is None or hook.execution_device is None else torch.device(hook.execution_device)
        )
        if hook is not None:
            remove_hook_from_module(part)
        for name, weight in zip(names, weights, strict=True):
            setattr(part, name, nn.Parameter(weight.detach().to(device, torch.float32), requires_grad=False))
        part.register_forward_pre_hook(_in_float32)


def _leaves_after(module: nn.Module, last_block: nn.Module, forward: Callable[[], Output]) -> Sequence[nn.Module]:
    """The modules with weights and without parts that run after a block has run for the last time."""
    after: dict[nn.Module, None] = {}

    def note_part(part: nn.Module, _args: object, _output: object) -> None:
        if part is last_block:
            after.clear()
        elif not any(True for _ in part.children()) and any(True for _ in part.parameters(recurse=False)):
            after[part] = None

    with ExitStack() as stack:
        for part in module.modules():
            stack.callback(part.register_forward_hook(note_part).remove)
        with torch.no_grad():
            forward()
    return list(after)


def _in_float32(part: nn.Module, args: Args) -> Args:
    device = next(part.parameters()).device
    return tuple(
        arg.to(device, torch.float32) if isinstance(arg, Tensor) and arg.is_floating_point() else arg for arg in args
    )


def _hooks(part: nn.Module) -> list[Any]:
    """accelerate's, where the module has some that keep its weights elsewhere."""
    hook = getattr(part, "_hf_hook", None)
    hooks = getattr(hook, "hooks", [hook])
    return [h for h in hooks if hasattr(h, "weights_map")]


def _in_memory(module: nn.Module) -> Iterator[Tensor]:
    for part in module.modules():
        for weight in part.parameters(recurse=False):
            if weight.device.type != "meta":
                yield weight
        for hook in _hooks(part):  # in main memory while it is not used
            kept = getattr(hook.weights_map, "dataset", None)
            kept = getattr(kept, "state_dict", kept)
            if isinstance(kept, Mapping):
                yield from (weight for weight in kept.values() if isinstance(weight, Tensor))
