"""How a run is told to the page."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import pytest
from conftest import completed
from families import tiny_model

from analyzers.common.errors import InputError
from analyzers.serving.dispatch import Answer, Runner, Step
from analyzers.serving.request import parse_request
from ui import runs
from ui.components.notice import notice
from ui.runs import follow


class Scripted:
    """A dispatcher that runs what it is told."""

    def __init__(self, *steps: Step) -> None:
        self.steps = steps

    def run(self, request: Any) -> Iterator[Step]:
        yield from self.steps


def test_the_whole_answer_and_the_last_word_come_in_one_message() -> None:
    model = tiny_model("gpt2")
    request = parse_request("saliency", {"text": "the"})
    first = Answer(request, model.facts, completed(model), None, {})
    whole = replace(first, seconds={"analyze": 1.0})
    script = Scripted(
        Step("generating"), Step("analyzing", 0.5, first), Step("analyzing", 1.0, whole), Step("done", 1.0, whole)
    )
    told = list(follow(cast(Runner, script), request, "en"))
    assert [(status.notice["kind"], status.answer) for status in told] == [
        ("busy", first),
        ("info", whole),
    ]
    assert [status.is_over for status in told] == [False, True]


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """What `follow` reads the time from; it stands still."""
    times = [0.0]
    monkeypatch.setattr(runs, "time", SimpleNamespace(monotonic=lambda: times[0]))
    return times


def test_steps_in_quick_succession_are_not_told_and_answers_always(clock: list[float]) -> None:
    model = tiny_model("gpt2")
    request = parse_request("saliency", {"text": "the"})
    part = Answer(request, model.facts, completed(model), None, {})
    quick = [Step("analyzing", n / 100) for n in range(100)]
    script = Scripted(*quick, Step("analyzing", 0.5, part), *quick, Step("done", 1.0, part))
    told = list(follow(cast(Runner, script), request, "en"))
    assert [(status.notice["kind"], status.answer) for status in told] == [
        ("busy", part),
        ("info", None),
    ]


def test_a_new_phase_of_a_long_run_is_told_at_once(clock: list[float]) -> None:
    request = parse_request("saliency", {"text": "the", "model": "tiny"})
    steps = (Step("loading"), Step("generating"), Step("generating", 0.5), Step("analyzing"), Step("analyzing", 0.1))
    for expected, told in ((1.0, []), (30.0, ["Loading tiny…", "Generating… 0%", "Computing… 0%"])):
        script = Scripted(*(replace(step, expected=expected) for step in steps))
        said = [status.notice["lines"][0] for status in follow(cast(Runner, script), request, "en")]
        assert said == told


def test_a_slow_run_says_how_far_it_is(clock: list[float]) -> None:
    request = parse_request("saliency", {"text": "the"})

    class Slow(Scripted):
        def run(self, request: Any) -> Iterator[Step]:
            for step in self.steps:
                clock[0] += runs.TELL_SECONDS
                yield step

    script = Slow(*(Step("analyzing", n / 4) for n in range(4)))
    said = [status.notice["lines"] for status in follow(cast(Runner, script), request, "en")]
    assert said == [[f"Computing… {percent}%"] for percent in (0, 25, 50, 75)]


def test_what_goes_wrong_is_the_last_status_and_says_so() -> None:
    class Broken(Scripted):
        def run(self, request: Any) -> Iterator[Step]:
            yield Step("loading")
            raise InputError("no_mask", model="tiny")

    *_, last = follow(cast(Runner, Broken()), parse_request("saliency", {"text": "the"}), "en")
    assert (last.is_over, last.is_error, last.answer) == (True, True, None)
    assert last.notice == notice("error", InputError("no_mask", model="tiny").say())
