"""The examples are answered before anybody asks, and nobody waits for that."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from analyzers.methods import attribution
from analyzers.models.store import ModelStore
from analyzers.serving.answer_cache import AnswerCache
from analyzers.serving.dispatch import Dispatcher, answer
from analyzers.serving.document import document
from analyzers.serving.request import parse_request
from analyzers.serving.sharing import SharedRuns
from analyzers.sources import catalog, gguf_cache
from analyzers.sources.resolver import Resolver
from ui import ready
from ui.examples import EXAMPLES, Example
from ui.runs import follow

SECONDS = 30


def example(number: int, **values: object) -> Example:
    return Example(
        number, "saliency", "label", {"text": "the keys to the café", "generate": 2} | values, id=f"{number}"
    )


@pytest.fixture
def runner(save_model: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SharedRuns:
    """Of a tiny model on this machine, with two examples."""
    monkeypatch.setattr(ready, "QUIET_SECONDS", 0.05)
    monkeypatch.setattr(ready, "LOOK_SECONDS", 0.01)
    monkeypatch.setattr(catalog, "CATALOG", ())
    monkeypatch.setitem(attribution.CHUNK_WORK, "cpu", 1e7)
    save_model("gpt2").rename(tmp_path / "tiny")
    store = ModelStore(Resolver(models_folder=tmp_path, default="tiny"))
    return SharedRuns(Dispatcher(store), AnswerCache(folder=tmp_path / "answers"))


def test_while_nobody_asks_every_example_is_computed_and_kept(
    runner: SharedRuns, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ready, "EXAMPLES", (example(1), example(2, generate=3)))
    ready.compute_while_quiet(runner)
    assert runner.n_computed == 2
    after = SharedRuns(Dispatcher(runner.store), AnswerCache(folder=tmp_path / "answers"))
    ready.compute_while_quiet(after)
    assert after.n_computed == 0, "what is kept on disk is not computed again"
    (asked,) = ready.requests_of(example(2, generate=3), runner.store)
    kept, anew = after.known(asked), answer(Dispatcher(runner.store), asked)
    assert kept is not None
    assert {**document(kept, "en"), "seconds": 0} == {**document(anew, "en"), "seconds": 0}


def test_a_visitor_is_served_within_a_second_and_the_example_goes_on(
    runner: SharedRuns, monkeypatch: pytest.MonkeyPatch
) -> None:
    long_one = example(1, text="the keys to the café " * 12, generate=12, method="integrated-gradients", points=60)
    monkeypatch.setattr(ready, "EXAMPLES", (long_one,))
    background = threading.Thread(target=ready.compute_while_quiet, args=(runner,))
    background.start()
    deadline = time.monotonic() + SECONDS
    while runner.n_computed == 0 and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(0.3)
    waits = []
    for n in range(3):
        began = time.monotonic()
        answer(runner, parse_request("saliency", {"text": "the keys", "generate": 1, "seed": n}))
        waits.append(time.monotonic() - began)
    assert background.is_alive(), "the example was over before anybody asked, so this proves nothing"
    assert max(waits) < 1.0
    background.join(SECONDS)
    assert not background.is_alive()
    (asked,) = ready.requests_of(long_one, runner.store)
    assert runner.known(asked) is not None


def test_nothing_is_begun_while_a_visitor_waits(runner: SharedRuns, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ready, "EXAMPLES", (example(1),))
    asked = parse_request("rankings", {"text": "the keys", "generate": 1})
    turn = runner.store.turn()
    with turn as holder:
        holder.acquire()
        visitor = runner.run(asked)
        next(visitor)
        background = threading.Thread(target=ready.compute_while_quiet, args=(runner,))
        background.start()
        time.sleep(0.5)
        assert runner.n_computed == 1, "the visitor's alone"
    list(visitor)
    background.join(SECONDS)
    assert runner.n_computed == 2


def test_the_preparation_keeps_the_examples_of_the_bundled_models(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(gguf_cache, "answers_folder", lambda: tmp_path)
    monkeypatch.setattr(ready, "EXAMPLES", (example(1, method="gradient"), example(2, method="gradient", generate=3)))
    assert ready.prepare() == 0
    assert len(list(tmp_path.iterdir())) == 2
    assert "2 answers" in capsys.readouterr().out
    assert ready.prepare() == 0
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("one", EXAMPLES, ids=lambda one: one.id)
def test_an_example_has_a_request_for_each_of_its_pictures(one: Example) -> None:
    requests = ready.requests_of(one, ModelStore())
    assert len(requests) == (2 if "compare" in one.values else 1)
    assert requests[0].text == one.values_on(requests[0].model or "")["text"]


def test_who_waits_is_told_so_at_once(runner: SharedRuns) -> None:
    runner.store.load("tiny")
    asked = parse_request("rankings", {"text": "the keys", "generate": 1})
    with runner.store.turn(expected=40) as holder:
        holder.acquire()
        began = time.monotonic()
        lines: list[Any] = []
        for status in follow(runner, asked, "en"):
            lines.append(status.notice)
            if "Waiting" in str(status.notice):
                break
        assert time.monotonic() - began < 0.5
    assert lines[-1]["kind"] == "busy"
    assert "number 1 in line" in str(lines[-1])
