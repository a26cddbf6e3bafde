"""A step that nobody waits for ends at the next block, forwards and backwards, and leaves everything as it was."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from families import FAMILIES, tiny_model

from analyzers.common.progress import Progress, finish
from analyzers.common.settings import RankingsSettings, SaliencySettings
from analyzers.common.stopping import Stopped, ask_while, asked, check
from analyzers.models.completion import Completion, Generation, complete
from analyzers.models.language_model import LanguageModel
from analyzers.rankings import rank_at_each_layer
from analyzers.saliency import Saliency, compute_saliency


class Countdown:
    """Wanted for so many looks; None: always. Hooks of several threads look."""

    def __init__(self, n: int | None = None) -> None:
        self.n, self.looks, self._lock = n, 0, threading.Lock()

    def __call__(self) -> bool:
        with self._lock:
            self.looks += 1
        return self.n is None or self.looks <= self.n


def completion_of(model: LanguageModel) -> Completion:
    text = "the [MASK] to the café" if model.facts.kind.fills_masks else "the keys to the café"
    *_, whole = complete(
        model, text, Generation(generate=2, target_text=None if model.facts.kind.predicts else "a café")
    )
    return whole


def saliency(model: LanguageModel, completion: Completion, method: str) -> Iterator[Progress[Saliency]]:
    return compute_saliency(model, completion, SaliencySettings(method=method))


def looks_of(steps: Iterator[Progress[Saliency]]) -> int:
    count = Countdown()
    finish(ask_while(steps, count))
    return count.looks


@pytest.mark.parametrize("family", sorted(FAMILIES))
@pytest.mark.parametrize("method", ["occlusion", "input-x-gradient", "integrated-gradients"])
def test_a_step_ends_wherever_it_is_and_the_next_run_is_right(family: str, method: str) -> None:
    model = tiny_model(family)
    completion = completion_of(model)
    before = finish(saliency(model, completion, method))
    n = looks_of(saliency(model, completion, method))
    for wanted in (0, 1, n // 2, n - 1):
        count = Countdown(wanted)
        with pytest.raises(Stopped):
            finish(ask_while(saliency(model, completion, method), count))
        # Once for whoever sees it first, and for what its fellow workers have begun by then.
        assert count.looks <= wanted + 2 * torch.get_num_threads() + 2
    assert not any(part._forward_hooks or part._forward_pre_hooks for part in model.module.modules())
    after = finish(saliency(model, completion, method))
    np.testing.assert_array_equal(after.scores, before.scores)


def test_backwards_every_block_looks_too(gpt2: LanguageModel) -> None:
    completion = completion_of(gpt2)
    forwards = Countdown()
    finish(ask_while(rank_at_each_layer(gpt2, completion, RankingsSettings()), forwards))
    n_blocks = len(gpt2.anatomy.blocks)
    assert forwards.looks >= n_blocks
    n_forwards_and_backwards = looks_of(saliency(gpt2, completion, "input-x-gradient"))
    assert n_forwards_and_backwards >= n_blocks * (1 + completion.n_positions - completion.n_prompt)


def test_each_of_two_runs_on_one_thread_is_asked_for_itself() -> None:
    first, second = Countdown(), Countdown()

    def look() -> Iterator[int]:
        for number in range(3):
            check()
            yield number

    assert list(zip(ask_while(look(), first), ask_while(look(), second), strict=True)) == [(0, 0), (1, 1), (2, 2)]
    assert (first.looks, second.looks) == (3, 3)
    assert asked()()  # outside, nobody is asked
