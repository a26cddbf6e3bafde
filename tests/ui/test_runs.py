"""How long a run is expected to take: known to every step of it, said where it is worth saying."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from analyzers.common.languages import Language
from analyzers.models.completion import read_prompt
from analyzers.models.store import ModelStore
from analyzers.serving.cost import expect_seconds
from analyzers.serving.dispatch import Dispatcher, Step
from analyzers.serving.request import parse_request
from analyzers.sources.resolver import Resolver
from ui.runs import describe_step, follow

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
