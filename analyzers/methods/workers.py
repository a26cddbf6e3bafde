"""Work in chunks on several cores: a thread for each, in which torch works on one.

torch's own threads wait for each other at every operation, spinning: beside one other busy process the same work took
4 to 50 times as long. Whole chunks wait for nobody, and since each is computed on one thread and their sums are taken
in a fixed order, the bits do not depend on how many workers there are.
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

import torch

from analyzers.common.stopping import asked, work_for
from analyzers.models.torch_threads import one_thread

AHEAD = 1
"""Chunks that wait for a worker, so that none of them has to wait for the slowest."""

Item = TypeVar("Item")
Result = TypeVar("Result")


class Workers:
    """A pool of threads, which are no more than `AHEAD` chunks ahead of what was asked for."""

    def __init__(self, pool: ThreadPoolExecutor | None, n: int) -> None:
        self._pool = pool
        self.n = n

    def map_all(self, work: Callable[..., Result], *columns: Sequence[object]) -> Iterator[Result]:
        """As the built-in `map`, all of it at a time: for what is too short to be stopped in between."""
        return map(work, *columns) if self._pool is None else self._pool.map(work, *columns)

    def map(self, work: Callable[[Item], Result], items: Sequence[Item]) -> Iterator[Result]:
        """Results in the order of the items, as many at a time as there are workers. Raises what `work` raises."""
        if self._pool is None:
            yield from map(work, items)
            return
        left = iter(items)
        begun: deque[Future[Result]] = deque()
        while True:
            with one_thread():
                wanted = self.n + AHEAD - len(begun)
                begun.extend(self._pool.submit(work, item) for item in itertools.islice(left, wanted))
                if not begun:
                    return
                result = begun.popleft().result()
            yield result


@contextmanager
def open_workers(device: torch.device | None = None) -> Iterator[Workers]:
    """Workers for a device: as many as torch has threads on a CPU; a GPU, which is parallel by itself, has one."""
    if device is not None and device.type != "cpu":
        yield Workers(None, 1)
        return
    threads = torch.get_num_threads()
    n = count_workers()
    pool = ThreadPoolExecutor(n, initializer=_begin, initargs=(asked(),))
    try:
        yield Workers(pool, n)
    finally:
        pool.shutdown(cancel_futures=True)
        torch.set_num_threads(threads)  # what a thread of the pool sets is what a new thread begins with


def _begin(is_wanted: Callable[[], bool]) -> None:
    torch.set_num_threads(1)
    work_for(is_wanted)


def count_workers() -> int:
    return torch.get_num_threads()
