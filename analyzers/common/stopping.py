"""Ends a computation in the midst of a step, when nobody waits for it any more.

Between steps whoever iterates may stop; but a step of a long text takes seconds, of a large model many. So a step looks
itself, at every block of the model: `check` raises where it is not wanted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import TypeVar

Step = TypeVar("Step")


class Stopped(Exception):
    """Nobody wants what was being computed. Never shown to anybody."""


def always() -> bool:
    """What somebody answers who waits to the end."""
    return True


_is_wanted: ContextVar[Callable[[], bool]] = ContextVar("is_wanted", default=always)


def ask_while(steps: Iterator[Step], is_wanted: Callable[[], bool]) -> Iterator[Step]:
    """The same steps, each of which looks whether it is still wanted. Raises Stopped where it is not."""
    try:
        while True:
            before = _is_wanted.set(is_wanted)
            try:
                step = next(steps)
            except StopIteration:
                return
            finally:
                _is_wanted.reset(before)
            yield step
    finally:
        steps.close()  # type: ignore[attr-defined]


def asked() -> Callable[[], bool]:
    """What says whether this thread's step is wanted; to be handed to threads that work for it."""
    return _is_wanted.get()


def work_for(is_wanted: Callable[[], bool]) -> None:
    """From now on this thread works for whoever is asked there."""
    _is_wanted.set(is_wanted)


def check(is_wanted: Callable[[], bool] | None = None) -> None:
    """Go on, where this thread's step (or what is asked instead) is wanted. Raises Stopped."""
    if not (is_wanted or _is_wanted.get())():
        raise Stopped
