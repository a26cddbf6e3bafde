"""One run, step by step: waiting, loading, generating, analyzing, done."""

from __future__ import annotations

import pickle
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from analyzers.common.errors import InputError
from analyzers.common.limits import LIMITS
from analyzers.methods import attribution
from analyzers.models import turns
from analyzers.models.store import ModelStore
from analyzers.serving.dispatch import Dispatcher, Step, answer
from analyzers.serving.request import Request, parse_request
from analyzers.sources.resolver import Resolver

TEXT = "the café <b> é the"


class Impatient(Dispatcher):
    """A run that waits for a model that is never released fails instead of waiting for ever."""

    def run(self, request: Request) -> Iterator[Step]:
        started = time.perf_counter()
        steps = super().run(request)
        try:
            for step in steps:
                assert step.phase != "waiting" or time.perf_counter() - started < 20, "the model is still held"
                yield step
        finally:
            steps.close()  # type: ignore[attr-defined]


@pytest.fixture
def dispatcher(save_model: Callable[..., Path]) -> Dispatcher:
    return Impatient(ModelStore(Resolver(models_folder=save_model("gpt2").parent, default="gpt2-tiny")))


@pytest.fixture(autouse=True)
def named(dispatcher: Dispatcher) -> None:
    folder = dispatcher.store.resolver._models_folder
    assert folder is not None
    (folder / "gpt2").rename(folder / "gpt2-tiny")


def asked(**settings: Any) -> Request:
    return parse_request("saliency", {"text": TEXT, "generate": 3, "device": "cpu"} | settings)


def phases(steps: list[Step]) -> list[str]:
    return [step.phase for i, step in enumerate(steps) if i == 0 or steps[i - 1].phase != step.phase]


def test_the_phases_come_in_order_and_the_last_step_has_the_answer(dispatcher: Dispatcher) -> None:
    steps = list(dispatcher.run(asked()))
    assert [phase for phase in phases(steps) if phase != "loading"] == ["generating", "analyzing", "done"]
    assert steps[-1].answer is not None
    assert steps[-1].fraction == 1.0
    assert [step.fraction for step in steps if step.phase == "generating"][:4] == pytest.approx([0, 1 / 3, 2 / 3, 1])
    assert all(0 <= step.fraction <= 1 for step in steps)
    assert set(steps[-1].answer.seconds) == {"load", "generate", "analyze"}
    assert steps[-1].answer.model.id == "gpt2-tiny"


def test_an_answer_crosses_a_process_border_whole(dispatcher: Dispatcher) -> None:
    found = answer(dispatcher, asked(contrast="zebra", method="integrated-gradients", points=2, tolerance=None))
    assert found.notes
    again = pickle.loads(pickle.dumps(found))
    assert (again.request, again.model, again.completion) == (found.request, found.model, found.completion)
    assert np.array_equal(again.result.scores, found.result.scores)
    assert [note.say("ja") for note in again.notes] == [note.say("ja") for note in found.notes]


def test_the_same_completion_is_generated_once(dispatcher: Dispatcher) -> None:
    first = answer(dispatcher, asked())
    model = dispatcher.store.load("gpt2-tiny", "cpu")
    calls: list[int] = []
    own = model.next_logits
    model.next_logits = lambda *given: calls.append(1) or own(*given)  # type: ignore[func-returns-value]
    second = answer(dispatcher, asked(method="gradient"))
    assert second.completion is first.completion
    assert first.completion.first_token is not None, "what it was given when it was written is not computed again"
    assert calls == []
    answer(dispatcher, asked(sample=True, seed=4))
    assert len(calls) == 3, "another seed is another completion"


def test_a_model_loaded_anew_completes_anew(dispatcher: Dispatcher) -> None:
    first = answer(dispatcher, asked())
    model = dispatcher.store.load("gpt2-tiny", "cpu")
    dispatcher.store.release()
    assert dispatcher.store.load("gpt2-tiny", "cpu") is not model
    second = answer(dispatcher, asked(method="gradient"))
    assert second.completion == first.completion
    assert second.completion is not first.completion


def test_only_so_many_completions_are_kept(dispatcher: Dispatcher) -> None:
    for seed in range(35):
        answer(dispatcher, asked(generate=1, sample=True, seed=seed, method="gradient"))
    assert len(dispatcher._completions) == 32


class Clock:
    """Time that passes only when a test says so: no deadline is met by a busy machine."""

    now = 0.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(turns, "time", clock)
    monkeypatch.setitem(attribution.CHUNK_WORK, "cpu", 1e5)
    return clock


def slowly(dispatcher: Dispatcher, clock: Clock, request: Request, until: Callable[[Step], bool]) -> list[Step]:
    """The steps, with the time used up at the first one that `until` is true of."""
    steps: list[Step] = []
    slept = False
    for step in dispatcher.run(request):
        steps.append(step)
        if not slept and until(step):
            clock.now += LIMITS.seconds + 1
            slept = True
    assert slept
    return steps


def test_at_the_deadline_what_is_known_is_the_answer_and_says_so(dispatcher: Dispatcher, clock: Clock) -> None:
    request = asked(method="integrated-gradients", points=8, first=len_of_prompt(dispatcher) + 2)
    steps = slowly(dispatcher, clock, request, lambda step: step.answer is not None)
    last = steps[-1]
    assert last.phase == "done"
    assert last.answer is not None
    assert len(last.answer.result.explained) == 1
    assert [note.key for note in last.answer.notes][-2:] == ["stopped_early", "maps_missing"]


def len_of_prompt(dispatcher: Dispatcher) -> int:
    return len(dispatcher.store.load("gpt2-tiny", "cpu").encode(TEXT))


@pytest.mark.parametrize("phase", ["generating", "analyzing"])
def test_where_nothing_is_known_at_the_deadline_it_was_too_slow(
    dispatcher: Dispatcher, clock: Clock, phase: str
) -> None:
    with pytest.raises(InputError, match="This took more than 60 seconds and was stopped"):
        slowly(dispatcher, clock, asked(method="integrated-gradients", points=8), lambda step: step.phase == phase)
    assert answer(dispatcher, asked(method="gradient")).result is not None, "the next one runs"


def test_a_closed_run_lets_the_next_one_start_and_leaves_no_hook(dispatcher: Dispatcher, clock: Clock) -> None:
    expected = answer(dispatcher, asked(method="gradient"))
    run = dispatcher.run(asked(method="integrated-gradients", points=8))
    while next(run).phase != "analyzing":
        pass
    other = dispatcher.run(asked(method="gradient"))
    assert next(other).phase == "waiting"
    assert next(other).phase == "waiting"
    run.close()  # type: ignore[attr-defined]
    steps = list(other)
    assert steps[-1].answer is not None
    assert np.array_equal(steps[-1].answer.result.scores, expected.result.scores)
    module = dispatcher.store.load("gpt2-tiny", "cpu").module
    assert not any(part._forward_pre_hooks or part._forward_hooks for part in module.modules())


def test_runs_at_the_same_time_give_the_serial_answers_to_the_bit(dispatcher: Dispatcher) -> None:
    requests = [asked(method=m, sample=True, seed=s) for s, m in enumerate(["occlusion", "gradient"] * 2)]
    serial = [answer(dispatcher, request) for request in requests]
    dispatcher._completions.clear()
    found: dict[int, Any] = {}
    threads = [
        threading.Thread(target=lambda i=i, r=r: found.update({i: answer(dispatcher, r)}))
        for i, r in enumerate(requests)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    for i, expected in enumerate(serial):
        assert found[i].completion == expected.completion
        assert np.array_equal(found[i].result.scores, expected.result.scores)


def test_a_failed_run_releases_the_model(dispatcher: Dispatcher) -> None:
    for bad in (asked(model="nothing"), asked(first=0), asked(generate=0), asked(text="\ud800")):
        with pytest.raises(InputError):
            answer(dispatcher, bad)
    assert answer(dispatcher, asked(method="gradient")).result is not None


@pytest.mark.parametrize(
    "error", [MemoryError(), RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried")]
)
def test_out_of_memory_is_a_sentence_and_the_next_run_is_right(dispatcher: Dispatcher, error: Exception) -> None:
    expected = answer(dispatcher, asked(method="gradient"))
    model = dispatcher.store.load("gpt2-tiny", "cpu")

    def full(*_args: Any, **_kwargs: Any) -> None:
        raise error

    hook = model.anatomy.blocks[1].register_forward_hook(full)
    with pytest.raises(InputError, match=r"There is not enough memory for this on cpu \(a text of \d+ characters\)"):
        answer(dispatcher, asked(method="gradient"))
    hook.remove()
    assert np.array_equal(answer(dispatcher, asked(method="gradient")).result.scores, expected.result.scores)


def test_a_programming_error_is_not_dressed_up(dispatcher: Dispatcher) -> None:
    model = dispatcher.store.load("gpt2-tiny", "cpu")

    def stumble(*_args: Any, **_kwargs: Any) -> None:
        raise RuntimeError("stumbled")

    hook = model.anatomy.blocks[1].register_forward_hook(stumble)
    with pytest.raises(RuntimeError, match="stumbled"):
        answer(dispatcher, asked())
    hook.remove()
    assert answer(dispatcher, asked()).result is not None
    assert torch.is_grad_enabled()


def test_an_encoder_is_refused_where_a_prediction_is_needed() -> None:
    dispatcher = Dispatcher(ModelStore())
    for analysis in ("saliency", "layer-predictions", "rankings"):
        with pytest.raises(InputError, match="predicts no token"):
            answer(dispatcher, parse_request(analysis, {"text": "the keys", "model": "minilm-l6"}))
