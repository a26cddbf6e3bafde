"""Whose turn it is to compute: one run at a time. Between its steps a long run makes way for short ones, and what nobody
waits for makes way for whatever somebody does."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from analyzers.common.stopping import always

SHORT_SECONDS = 3.0
"""A run that takes no longer goes before the long ones."""
PATIENCE_SECONDS = 10.0
"""A long run that has stood still so long goes on for `STEP_SECONDS`, however many short ones come."""
STEP_SECONDS = 0.5
"""About a step of a long run."""


class Turns:
    """The line before one device. Safe for several threads."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._waiting: list[Turn] = []
        self._holder: Turn | None = None
        self._numbers = itertools.count()

    @contextmanager
    def turn(self, expected: int | float = 0.0, is_wanted: Callable[[], bool] = always) -> Iterator[Turn]:
        """The right to compute: `acquire` the yielded turn, in slices if you wish; it is given back at the end.

        Arguments:
            expected: seconds that the run will take.
            is_wanted: whether anybody waits for it; asked again and again.
        """
        turn = Turn(self, next(self._numbers), expected, is_wanted)
        try:
            yield turn
        finally:
            turn.release()

    @contextmanager
    def whole(self) -> Iterator[None]:
        """A turn for what is quickly done, without a look at who waits."""
        with self.turn() as turn:
            turn.acquire()
            yield

    def line(self) -> list[Turn]:
        """Those that wait, the next one first. The caller has the lock."""
        return sorted(self._waiting, key=Turn.claim)


class Turn:
    """One run's place in the line, or its right to compute. May end in another thread than it began in."""

    def __init__(self, turns: Turns, number: int, expected: int | float, is_wanted: Callable[[], bool]) -> None:
        self._turns, self._number = turns, number
        self.expected, self.is_wanted = float(expected), is_wanted
        self.fraction = 0.0
        """How much of the run is done, 0 to 1, as far as the run itself can tell."""
        self._used = 0.0
        self._began: float | None = None  # None while it is not held
        self._keeps_until = 0.0
        self._stands_since = time.monotonic()
        self._asks = False

    @property
    def used(self) -> float:
        """Seconds for which it was held so far: what the run has computed, not waited."""
        return self._used + (0.0 if self._began is None else time.monotonic() - self._began)

    def claim(self) -> tuple[int, int]:
        """Whoever has the smallest goes first."""
        if not self.is_wanted():
            return 3, self._number
        if max(self.expected, self.used) <= SHORT_SECONDS:
            return 1, self._number
        is_patient = time.monotonic() - self._stands_since < PATIENCE_SECONDS
        return (2 if is_patient else 0), self._number

    def acquire(self, timeout: int | float | None = None) -> bool:
        """Wait for the turn, at most so many seconds; one that did not come keeps its place in the line. Nobody waits for
        one that does not ask at the moment."""
        turns = self._turns

        def is_mine() -> bool:
            return turns._holder is None and next(turn for turn in turns.line() if turn._asks) is self

        with turns._changed:
            if self not in turns._waiting:
                self._stands_since = time.monotonic()
                turns._waiting.append(self)
            self._asks = True
            is_next = turns._changed.wait_for(is_mine, timeout)
            self._asks = False
            if is_next:
                turns._waiting.remove(self)
                turns._holder = self
                self._began = time.monotonic()
                self._keeps_until = self._began + (STEP_SECONDS if self.claim()[0] == 0 else 0.0)
            return is_next

    def make_way(self) -> bool:
        """Between two steps: whether the turn was given up for somebody with a better claim. Then `acquire` it again."""
        turns = self._turns
        with turns._changed:
            assert self._began is not None
            is_wanted = self.is_wanted()
            if is_wanted and time.monotonic() < self._keeps_until:
                return False
            self._stands_since = time.monotonic()
            if not turns._waiting or self.claim() <= turns.line()[0].claim():
                return False
            self._let_go()
            turns._waiting.append(self)
            turns._changed.notify_all()
        return True

    def release(self) -> None:
        """Leave the line, or give the turn back."""
        turns = self._turns
        with turns._changed:
            if self in turns._waiting:
                turns._waiting.remove(self)
            if turns._holder is self:
                self._let_go()
            turns._changed.notify_all()

    def look(self) -> tuple[int, float]:
        """Place in the line, from 1, and the seconds until its turn, as far as they can be told."""
        turns = self._turns
        with turns._changed:
            line = turns.line()
            if self not in line:
                return 0, 0.0
            ahead = line[: line.index(self)]
            wait = sum((turn._remaining() for turn in ahead), 0.0)
            if turns._holder is not None:
                gives_way = self.claim() < turns._holder.claim()
                wait += STEP_SECONDS if gives_way else turns._holder._remaining()
            return len(ahead) + 1, wait

    def _remaining(self) -> float:
        used = self.used
        if self.fraction > 0.2 and used > STEP_SECONDS:
            return used * (1 - self.fraction) / self.fraction
        return max(self.expected - used, 0.1)

    def _let_go(self) -> None:
        """The caller has the lock."""
        self._used, self._began = self.used, None
        self._turns._holder = None
