"""Peak memory of a piece of work, sampled."""

from __future__ import annotations

import ctypes
import gc
import os
import threading
from collections.abc import Callable
from pathlib import Path

SECONDS = 0.005
"""Between two samples; a shorter peak can be missed."""


def peak_above(work: Callable[[], object]) -> int:
    """Bytes of resident memory at the highest above what the process held before. Linux."""
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim:
        trim(0)  # what was freed before and the allocator kept would be filled unseen
    before, highest, done = count_resident_bytes(), 0, threading.Event()

    def sample() -> None:
        nonlocal highest
        while not done.wait(SECONDS):
            highest = max(highest, count_resident_bytes())

    watcher = threading.Thread(target=sample)
    watcher.start()
    try:
        work()
    finally:
        done.set()
        watcher.join()
    return max(highest, count_resident_bytes()) - before


def count_resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
