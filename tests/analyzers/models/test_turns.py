"""Whose turn it is: one run at a time, short ones before long ones, and what nobody waits for last."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from analyzers.models import turns
from analyzers.models.turns import PATIENCE_SECONDS, STEP_SECONDS, Turn, Turns


class Clock:
    """Time that passes when a test says so."""

    now = 0.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(turns, "time", clock)
    return clock


@pytest.fixture
def line() -> Iterator[Line]:
    with ExitStack() as stack:
        yield Line(stack)


class Line:
    """Turns that are looked at one after another, in one thread."""

    def __init__(self, stack: ExitStack) -> None:
        self.turns, self._stack = Turns(), stack

    def turn(self, expected: int | float = 0.0, *, is_wanted: bool = True) -> Turn:
        return self._stack.enter_context(self.turns.turn(expected, lambda: is_wanted))

    def asking(self, expected: int | float = 0.0, *, is_wanted: bool = True) -> Turn:
        """One that waits, and is there when the turn comes."""
        turn = self.turn(expected, is_wanted=is_wanted)
        assert not turn.acquire(0)
        turn._asks = True
        return turn


def test_whoever_came_first_goes_first(clock: Clock, line: Line) -> None:
    holder = line.turn(1)
    assert holder.acquire(0)
    first, second = line.asking(1), line.asking(1)
    assert (first.look()[0], second.look()[0]) == (1, 2)
    holder.release()
    assert not second.acquire(0)
    assert first.acquire(0)


def test_a_long_run_makes_way_for_a_short_one_at_its_next_step(clock: Clock, line: Line) -> None:
    long = line.turn(60)
    assert long.acquire(0)
    other = line.asking(60)
    clock.now += 0.01
    assert not long.make_way(), "not for another long one"
    short = line.asking(1)
    assert short.look()[0] == 1
    assert short.look()[1] <= STEP_SECONDS
    assert long.make_way()
    assert short.acquire(0)
    assert not short.make_way()
    long._asks = True
    short.release()
    assert long.acquire(0), "it goes on before those that came after it"
    assert other.look()[0] == 1


def test_a_run_that_turns_out_long_makes_way_too(clock: Clock, line: Line) -> None:
    run = line.turn(1)
    assert run.acquire(0)
    line.asking(1)
    clock.now += STEP_SECONDS
    assert not run.make_way()
    clock.now += turns.SHORT_SECONDS
    assert run.make_way()


def test_a_long_run_is_not_starved(clock: Clock, line: Line) -> None:
    short = line.turn(1)
    assert short.acquire(0)
    long, waits = line.asking(60), line.asking(1)
    clock.now += PATIENCE_SECONDS
    waits_longer = line.asking(1)
    short.release()
    assert long.acquire(0)
    assert not long.make_way(), "a step takes a while"
    clock.now += STEP_SECONDS
    assert long.make_way()
    assert waits.look()[0] == 1
    assert waits_longer.look()[0] == 2


def test_what_nobody_waits_for_makes_way_for_everybody(clock: Clock, line: Line) -> None:
    unwanted = line.turn(1, is_wanted=False)
    assert unwanted.acquire(0)
    assert not unwanted.make_way()
    long = line.asking(60)
    assert unwanted.make_way()
    assert long.acquire(0)
    clock.now += 10 * PATIENCE_SECONDS
    assert not long.make_way(), "and does not grow impatient"


def test_wanted_is_asked_again(clock: Clock, line: Line) -> None:
    visitors: list[str] = []
    with line.turns.turn(60, lambda: bool(visitors)) as joined:
        assert joined.acquire(0)
        line.asking(60)
        visitors.append("one")
        clock.now += STEP_SECONDS
        assert not joined.make_way()


def test_the_wait_is_what_is_left_of_those_ahead(clock: Clock, line: Line) -> None:
    holder = line.turn(2.5)
    assert holder.acquire(0)
    first, second = line.asking(1.5), line.asking(2)
    assert first.look() == (1, 2.5)
    assert second.look() == (2, 4.0)
    clock.now += 1
    assert first.look() == (1, 1.5)
    holder.fraction = 0.5  # it says that it is half done after one second
    assert first.look() == (1, 1.0)
    assert line.asking(60).look() == (3, 1.0 + 1.5 + 2.0)


def test_only_the_time_of_its_own_turn_counts(clock: Clock, line: Line) -> None:
    long = line.turn(60)
    assert long.acquire(0)
    clock.now += 5
    short = line.asking(1)
    assert long.make_way()
    assert short.acquire(0)
    clock.now += 2
    long._asks = True
    short.release()
    assert long.acquire(0)
    clock.now += 1
    assert long.used == 6


def test_nobody_waits_for_one_that_does_not_ask(line: Line) -> None:
    holder = line.turn()
    assert holder.acquire(0)
    silent, asking = line.asking(), line.asking()
    silent._asks = False  # it looks at something else just now
    holder.release()
    assert asking.acquire(0)
    assert silent.look()[0] == 1, "its place is kept"


def test_whoever_waits_in_a_thread_is_called() -> None:
    line, order = Turns(), []
    with line.turn() as holder:
        assert holder.acquire()

        def work(number: int) -> None:
            with line.turn() as turn:
                assert turn.acquire(10)
                order.append(number)

        threads = [threading.Thread(target=work, args=(number,)) for number in range(5)]
        for number, thread in enumerate(threads):
            thread.start()
            while len(line.line()) <= number and thread.is_alive():
                pass
    for thread in threads:
        thread.join(10)
    assert order == [0, 1, 2, 3, 4]
    with line.whole():
        assert line._holder is not None
    assert line._holder is None
