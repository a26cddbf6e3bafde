"""How much memory and disk there is, and what a model needs of it. Imports torch only to ask about a GPU."""

from __future__ import annotations

import ctypes
import os
import shutil
from contextlib import suppress
from pathlib import Path

CONTROL_GROUPS = (
    ("memory.max", "memory.current", "memory.stat"),  # version 2
    ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes", "memory/memory.stat"),  # version 1
)
"""A container's own limit and use, under /sys/fs/cgroup; the machine's figures know nothing of them."""
WORK_SHARE = 0.15
WORK_BYTES = 300 * 10**6
"""What loading and one run take beside the weights: a share of them, and a fixed part."""


def total_memory(groups: Path = Path("/sys/fs/cgroup")) -> int:
    """Bytes of main memory, or fewer where a container may have fewer."""
    return min(
        [os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"), *(limit for limit, _ in _control_groups(groups))]
    )


def free_memory(device: str = "cpu", groups: Path = Path("/sys/fs/cgroup")) -> int:
    """Bytes that can still be taken on `cpu` or `cuda` (of the emptiest GPU) without anything being swapped out."""
    if device != "cpu":
        return max(free_of_each_gpu())
    import psutil  # 16 ms that the first page need not wait for

    return max(
        0, min([int(psutil.virtual_memory().available), *(limit - used for limit, used in _control_groups(groups))])
    )


def free_of_each_gpu() -> list[int]:
    """Free bytes of every GPU, what torch holds in reserve counted as free."""
    import torch

    return [
        torch.cuda.mem_get_info(i)[0] + torch.cuda.memory_reserved(i) - torch.cuda.memory_allocated(i)
        for i in range(torch.cuda.device_count())
    ]


def free_disk(folder: Path) -> int:
    """Free bytes where a folder is, or will be."""
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return shutil.disk_usage(folder).free


def estimate_bytes(n_parameters: int, bytes_each: int | float) -> int:
    """Bytes to load a model and run one text of the usual length through it."""
    return int(n_parameters * bytes_each * (1 + WORK_SHARE)) + WORK_BYTES


def format_bytes(n_bytes: int | float) -> str:
    """As a sentence says it: `91 MB`, `1.5 GB`, `4,000.0 TB`; at least 1 MB."""
    if n_bytes >= 999.5e9:
        return f"{n_bytes / 1e12:,.1f} TB"
    return f"{n_bytes / 1e9:,.1f} GB" if n_bytes >= 999.5e6 else f"{max(1, round(n_bytes / 1e6))} MB"


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error of Python's, torch's or the driver's says so."""
    words = str(error).lower()
    return isinstance(error, MemoryError) or "out of memory" in words or "can't allocate memory" in words


def _control_groups(folder: Path) -> list[tuple[int, int]]:
    """(limit, used) of each control group that limits memory and says so in numbers. Cached files are not in use."""
    found = []
    for limit, used, statistics in CONTROL_GROUPS:
        try:
            lines = [line.split() for line in (folder / statistics).read_text().splitlines()]
            cached = max((int(n) for name, n in lines if name in ("inactive_file", "total_inactive_file")), default=0)
            found.append((int((folder / limit).read_text()), int((folder / used).read_text()) - cached))
        except (OSError, ValueError):  # no such group, or "max"
            continue
    return found


def return_freed_memory() -> None:
    """To the system. The C library keeps what each thread freed for that thread: a gigabyte after some changes of model."""
    with suppress(OSError, AttributeError):  # another system, or another C library
        ctypes.CDLL(None).malloc_trim(0)
