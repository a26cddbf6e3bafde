"""How long a run is expected to take: known to every step of it, said where it is worth saying."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from analyzers.common.languages import Language
from analyzers.common.sentences import Sentence
from analyzers.models.prompt import read_prompt
from analyzers.models.store import ModelStore
from analyzers.serving.cost import expect_seconds
from analyzers.serving.dispatch import Dispatcher, Step
from analyzers.serving.request import parse_request
from analyzers.sources.resolver import Resolver
from ui import runs
from ui.runs import TELL_SECONDS, Latest, describe_step, follow, tell_missing

REQUEST = parse_request("rankings", {"text": "the keys", "generate": 2})


@pytest.mark.parametrize(
    ("language", "line"), [("en", "About 12 s in all."), ("ja", "全体で約 12 秒かかる見込みです。")]
)
def test_a_run_of_some_length_says_how_long_it_will_take(language: Language, line: str) -> None:
    said = describe_step(Step("analyzing", 0.25, expected=12.3), REQUEST, language)
    assert said["kind"] == "busy"
    assert [line in str(said), "25" in str(said)] == [True, True]


@pytest.mark.parametrize("expected", [None, 0.2, 4.9])
def test_a_short_run_says_only_how_far_it_is(expected: float | None) -> None:
    assert "About" not in str(describe_step(Step("analyzing", 0.25, expected=expected), REQUEST, "en"))


def test_every_step_on_the_model_knows_how_long_the_run_will_take(save_model: Callable[..., Path]) -> None:
    folder = save_model("gpt2").rename(save_model("gpt2").parent / "tiny")
    dispatcher = Dispatcher(ModelStore(Resolver(models_folder=folder.parent, default="tiny")))
    steps = [step for step in dispatcher.run(REQUEST) if step.phase in ("generating", "analyzing", "done")]
    model = dispatcher.store.load("tiny")
    expected = expect_seconds(model, REQUEST, read_prompt(model, REQUEST.text, REQUEST.generation))
    assert {step.expected for step in steps} == {expected}
    assert len(steps) > 3
    assert next(iter(follow(dispatcher, REQUEST, "en", long_seconds=-1.0))).notice["kind"] == "busy"


def test_who_waits_for_another_run_is_told_within_four_tenths_of_a_second(save_model: Callable[..., Path]) -> None:
    folder = save_model("gpt2").rename(save_model("gpt2").parent / "tiny")
    dispatcher = Dispatcher(ModelStore(Resolver(models_folder=folder.parent, default="tiny")))
    dispatcher.store.load("tiny")
    with dispatcher.store.turn() as other:
        other.acquire()
        began = time.monotonic()
        waits = follow(dispatcher, REQUEST, "en")
        first = next(waits)
        waited = time.monotonic() - began
        waits.close()  # type: ignore[attr-defined]
    assert first.notice["lines"][0].startswith("Waiting: number 1 in line")
    assert TELL_SECONDS <= waited < 0.4


def test_a_new_question_ends_the_one_before_of_the_same_visitor_alone() -> None:
    latest = Latest()
    first, other = latest.begin("one"), latest.begin("two")
    beside_it, before_any = latest.join("one"), latest.join("three")
    assert first.is_wanted()
    assert other.is_wanted()
    assert beside_it.is_wanted()
    assert before_any.is_wanted()
    second = latest.begin("one")
    assert not first.is_wanted()
    assert not beside_it.is_wanted()
    assert second.is_wanted()
    assert other.is_wanted()
    assert before_any.is_wanted()
    latest.begin("three")
    assert not before_any.is_wanted()


def test_only_so_many_visitors_are_remembered_and_who_is_forgotten_goes_on() -> None:
    latest = Latest(most=2)
    first, second, third = (latest.begin(name) for name in ("one", "two", "three"))
    assert len(latest._last) == 2
    assert first.is_wanted()
    assert second.is_wanted()
    assert third.is_wanted()
    nameless = latest.begin(None)
    latest.begin(None)
    assert nameless.is_wanted()


def test_no_word_on_a_question_arrives_after_those_on_the_next() -> None:
    latest = Latest()
    first = latest.begin("one")
    said = first.in_order(({"first": n} for n in range(3)), {})
    assert next(said) == {"first": 0}  # on its way until the next is asked for
    second = latest.begin("one")
    with ThreadPoolExecutor(1) as pool:
        begins = pool.submit(lambda: next(second.in_order(iter([{"second": 0}]), {})))
        with pytest.raises(TimeoutError):
            begins.result(0.1)
        assert list(said) == [{}], "Gradio says the last word again when a generator ends"
        assert begins.result(5) == {"second": 0}


@pytest.mark.parametrize("is_closed", [True, False])
def test_a_question_does_not_wait_for_ever_for_a_word_that_nobody_takes(
    is_closed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runs, "MOST_ON_ITS_WAY", 5.0 if is_closed else 0.05)
    latest = Latest()
    said = latest.begin("one").in_order(iter([{"first": 0}]), {})
    next(said)
    if is_closed:
        said.close()  # type: ignore[attr-defined]
    began = time.monotonic()
    assert next(latest.begin("one").in_order(iter([{"second": 0}]), {})) == {"second": 0}
    assert time.monotonic() - began < 2


def test_a_run_that_nobody_wants_any_more_ends_at_its_next_step_without_a_word(
    save_model: Callable[..., Path],
) -> None:
    folder = save_model("gpt2").rename(save_model("gpt2").parent / "tiny")
    ended: list[bool] = []

    class Told(Dispatcher):
        def run(self, *values: Any, **named: Any) -> Iterator[Step]:
            try:
                yield from super().run(*values, **named)
            finally:
                ended.append(True)

    dispatcher = Told(ModelStore(Resolver(models_folder=folder.parent, default="tiny")))
    answers = iter([True, True, False])
    said = list(follow(dispatcher, REQUEST, "en", -1.0, is_wanted=lambda: next(answers)))
    assert ended == [True]
    assert not any(status.is_over for status in said)
    assert next(answers, "asked no more") == "asked no more"


def test_what_is_missing_when_it_is_stopped_names_the_second_model() -> None:
    both = parse_request("rankings", {"text": "the keys", "beside": "other"})
    answers = [SimpleNamespace(request=request, result=object(), beside=None) for request in (REQUEST, both)]
    assert tell_missing(answers[0], "en") == []
    assert tell_missing(answers[1], "en") == ["The second model, other, is missing."]
    answers[1].beside = answers[0]
    assert tell_missing(answers[1], "en") == []
    answers[0].result = SimpleNamespace(missing=Sentence.of("positions_missing", n=1, total=2))
    assert len(tell_missing(answers[0], "ja")) == 1
