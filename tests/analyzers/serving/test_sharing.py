"""Equal questions are computed once, and everybody sees how that goes."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from analyzers.common.errors import InputError
from analyzers.common.stopping import always
from analyzers.models.store import ModelStore
from analyzers.serving.answer_cache import AnswerCache
from analyzers.serving.dispatch import Dispatcher, Step, answer
from analyzers.serving.document import document
from analyzers.serving.request import Request, parse_request
from analyzers.serving.sharing import SharedRuns
from analyzers.sources.resolver import Resolver

SECONDS = 20


class Gated(Dispatcher):
    """Runs that stand still before each of their steps until the gate is open."""

    def __init__(self, store: ModelStore) -> None:
        super().__init__(store)
        self.gate = threading.Event()
        self.gate.set()
        self.n_ended = 0

    def run(
        self, request: Request, seconds: int | None = None, is_wanted: Callable[[], bool] = always
    ) -> Iterator[Step]:
        try:
            for step in super().run(request, seconds, is_wanted):
                yield step
                assert self.gate.wait(SECONDS)
        finally:
            self.n_ended += 1


@pytest.fixture
def gated(save_model: Callable[..., Path]) -> Gated:
    return Gated(ModelStore(Resolver(models_folder=save_model("gpt2").parent, default="gpt2-tiny")))


@pytest.fixture
def shared(gated: Gated) -> SharedRuns:
    folder = gated.store.resolver._models_folder
    assert folder is not None
    (folder / "gpt2").rename(folder / "gpt2-tiny")
    return SharedRuns(gated)


def asked(analysis: str = "saliency", **values: Any) -> Request:
    return parse_request(analysis, {"text": "the keys to", "generate": 3, "device": "cpu"} | values)


def wait_until(is_true: Callable[[], bool]) -> None:
    pause = threading.Event()
    for _ in range(100 * SECONDS):
        if is_true():
            return
        pause.wait(0.01)
    raise AssertionError("it did not come")


def bits(found: Any) -> bytes:
    return np.asarray(found.result.scores).tobytes()


def test_thirty_that_ask_the_same_are_one_computation(shared: SharedRuns) -> None:
    alone = answer(Dispatcher(shared.store), asked())
    with ThreadPoolExecutor(30) as clients:
        found = list(clients.map(lambda _: answer(shared, asked()), range(30)))
    assert shared.n_computed == 1
    assert {bits(one) for one in found} == {bits(alone)}


def test_what_is_known_says_so_and_is_the_same_document(shared: SharedRuns) -> None:
    first = answer(shared, asked())
    (step,) = shared.run(asked())
    assert (step.phase, step.is_known) == ("done", True)
    assert step.answer is not None
    again = step.answer
    assert again.result is first.result
    assert again.seconds["cache"] < 0.1
    assert {**document(first, "en"), "seconds": 0} == {**document(again, "en"), "seconds": 0}
    assert shared.n_computed == 1
    assert shared.known(asked()) is not None
    assert shared.known(asked(generate=2)) is None


@pytest.mark.parametrize(
    "other",
    [
        {"text": "the keys to "},
        {"generate": 2},
        {"sample": True},
        {"method": "gradient"},
        {"device": "auto"},
        {"target_text": " the"},
    ],
    ids=str,
)
def test_whatever_else_is_asked_is_computed(shared: SharedRuns, other: dict[str, Any]) -> None:
    answer(shared, asked())
    answer(shared, asked(**other))
    assert shared.n_computed == 2


def test_the_seed_is_part_of_the_question(shared: SharedRuns) -> None:
    for seed in (1, 2, 1):
        answer(shared, asked(sample=True, seed=seed))
    assert shared.n_computed == 2


def test_a_model_by_two_names_is_one_model(shared: SharedRuns) -> None:
    answer(shared, asked())
    found = answer(shared, asked(model="gpt2-tiny"))
    assert shared.n_computed == 1
    assert found.request.model == "gpt2-tiny"


def test_a_changed_file_makes_another_model(shared: SharedRuns) -> None:
    answer(shared, asked())
    folder = shared.store.resolver._models_folder
    assert folder is not None
    (folder / "gpt2-tiny" / "config.json").touch()
    answer(shared, asked())
    assert shared.n_computed == 2


def test_whoever_comes_later_sees_how_far_it_is(shared: SharedRuns, gated: Gated) -> None:
    gated.gate.clear()
    first = shared.run(asked())
    begun = next(first)
    second = shared.run(asked())
    assert next(second).phase == begun.phase
    gated.gate.set()
    ends = [list(steps)[-1] for steps in (first, second)]
    assert ends[0].answer is not None
    assert ends[1].answer is not None
    assert ends[0].answer.result is ends[1].answer.result
    assert shared.n_computed == 1


def test_who_leaves_leaves_it_to_the_others_and_the_last_one_ends_it(shared: SharedRuns, gated: Gated) -> None:
    gated.gate.clear()
    first, second = shared.run(asked()), shared.run(asked())
    next(first)
    next(second)
    first.close()  # type: ignore[attr-defined]
    gated.gate.set()
    assert list(second)[-1].answer is not None
    gated.gate.clear()
    third = shared.run(asked(generate=2))
    next(third)
    third.close()  # type: ignore[attr-defined]
    again = shared.run(asked(generate=2))
    next(again)
    assert shared.n_computed == 3, "who asks after that begins anew"
    gated.gate.set()
    assert list(again)[-1].answer is not None
    wait_until(lambda: gated.n_ended == 3)


def test_everybody_hears_of_an_error_and_the_next_one_tries_again(shared: SharedRuns, gated: Gated) -> None:
    wrong = asked("rankings", position=500)
    for _ in range(2):
        with pytest.raises(InputError):
            answer(shared, wrong)
    assert shared.n_computed == 2


def test_an_answer_that_was_cut_short_is_not_kept(shared: SharedRuns) -> None:
    part = replace(answer(shared, asked()), is_whole=False)

    class Cut(Gated):
        def run(self, *_: Any) -> Iterator[Step]:
            yield Step("done", 1.0, part)

    late = SharedRuns(Cut(shared.store))
    for _ in range(2):
        assert not answer(late, asked()).is_whole
    assert late.n_computed == 2
    assert late.known(asked()) is None


def test_what_nobody_waits_for_counts_as_quiet_until_somebody_joins(shared: SharedRuns, gated: Gated) -> None:
    gated.gate.clear()
    background = shared.run(asked(), is_wanted=lambda: False)
    next(background)
    assert shared.quiet_seconds() > 0
    visitor = shared.run(asked())
    next(visitor)
    assert shared.quiet_seconds() == 0
    gated.gate.set()
    assert list(visitor)[-1].answer is not None
    background.close()  # type: ignore[attr-defined]
    assert shared.n_computed == 1


def test_every_analysis_comes_back_from_the_disk_to_the_bit(shared: SharedRuns, tmp_path: Path) -> None:
    kept = SharedRuns(Dispatcher(shared.store), AnswerCache(folder=tmp_path / "answers"))
    for analysis in ("saliency", "layer-predictions", "rankings", "neuron-factors"):
        found = answer(kept, asked(analysis))
        key = next(reversed(kept.cache._held))
        kept.cache.keep(key, found)
        later = SharedRuns(Dispatcher(shared.store), AnswerCache(folder=tmp_path / "answers"))
        again = answer(later, asked(analysis))
        assert later.n_computed == 0
        written = [document(replace(one, seconds={}), "ja") for one in (found, again)]
        assert written[0] == written[1]
