"""In which precision a model is held, and where: decided from figures, before anything is loaded."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from typing import Literal, get_args

from analyzers.common.errors import InputError
from analyzers.common.memory import estimate_bytes

Precision = Literal["auto", "float32", "half", "8bit", "4bit"]
PRECISIONS = get_args(Precision)
BYTES = {"float32": 4.0, "half": 2.5, "8bit": 1.6, "4bit": 1.2}
"""Of one parameter. All but float32 have a float32 head beside them, the quantized ones their scales and embedding too."""


@dataclass(frozen=True)
class Placement:
    """How one model is to be held."""

    device: str
    """`cpu` or `cuda`: where the computing is done."""
    precision: str
    """Never `auto`."""
    weights: int
    """Bytes of the weights."""
    needed: int
    """Bytes to load it and run one text."""
    spread: bool = False
    """Over every GPU, then main memory, then the disk (accelerate's `device_map="auto"`)."""


def place(
    n_parameters: int,
    device: str,
    precision: str,
    free: int,
    *,
    budget: int = 2**63,
    everywhere: int = 0,
    may_use_disk: bool = False,
) -> Placement | None:
    """The best that fits, or None. `free`: bytes of one device; `budget`: how many of them may be weights;
    `everywhere`: bytes of all GPUs and main memory together.

    float32 where it fits, since its numbers are the model's own; on a GPU half precision before spreading.
    Raises InputError for a quantized precision without bitsandbytes.
    """
    check_precision(precision)
    wanted = [precision] if precision != "auto" else ["float32", "half"] if device != "cpu" else ["float32"]
    placements = [
        Placement(device, p, int(n_parameters * BYTES[p]), estimate_bytes(n_parameters, BYTES[p])) for p in wanted
    ]
    for placement in placements:
        if placement.needed <= free and placement.weights <= budget:
            return placement
    last = placements[-1]
    can_be_moved = last.precision in ("float32", "half")  # quantized weights do not leave their GPU
    if can_be_moved and (last.needed <= everywhere or may_use_disk):
        return Placement(last.device, last.precision, last.weights, last.needed, spread=True)
    return None


def check_precision(precision: str) -> None:
    """Raises InputError for a quantized precision without bitsandbytes."""
    if precision in ("8bit", "4bit") and importlib.util.find_spec("bitsandbytes") is None:
        raise InputError("no_bitsandbytes", precision=precision)
