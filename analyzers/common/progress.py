"""What a long computation yields between its chunks of work."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

Result = TypeVar("Result")
Part = TypeVar("Part")


@dataclass(frozen=True)
class Progress(Generic[Result]):
    """How far a computation is. The last one yielded has `fraction` 1 and the whole result."""

    fraction: float
    """0 to 1, of the work."""
    result: Result | None = None
    """What is known by now, where that is worth showing."""
    make_result: Callable[[], Result] | None = None
    """Makes what is known by now, where that costs something; to be called before the next step, if at all."""


def later(make: Callable[[], Part], build: Callable[[Part], Result]) -> Callable[[], Result]:
    """What is built of something that is made only if it is asked for."""
    return lambda: build(make())


def finish(steps: Iterator[Progress[Result]]) -> Result:
    """Run to the end; the result. Raises RuntimeError for a computation that ends without one.

    Arguments:
        steps: what an analysis returned.
    """
    result: Result | None = None
    for step in steps:
        result = step.result if step.result is not None else result
    if result is None:
        raise RuntimeError("the computation ended without a result")
    return result
