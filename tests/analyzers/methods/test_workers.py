"""Several workers give the bits that one gives, leave torch as it was, and hear what goes wrong."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest
import torch
from families import FAMILIES, tiny_model

from analyzers.common.progress import finish
from analyzers.common.settings import (
    LayerPredictionsSettings,
    NeuronFactorsSettings,
    RankingsSettings,
    SaliencySettings,
)
from analyzers.layer_predictions import overview_of_each_layer
from analyzers.methods import attribution, workers
from analyzers.methods.workers import open_workers
from analyzers.models.completion import Completion, Generation, complete
from analyzers.models.language_model import LanguageModel
from analyzers.neuron_factors import factorize_neurons
from analyzers.rankings import rank_at_each_layer
from analyzers.saliency import compute_saliency


def completion_of(model: LanguageModel) -> Completion:
    text = "the [MASK] to the café" if model.facts.kind.fills_masks else "the keys to the café"
    second = None if model.facts.kind.predicts else "a café"
    *_, whole = complete(model, text, Generation(generate=3, target_text=second))
    return whole


@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_the_bits_are_the_same_with_one_two_and_four_workers(family: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny_model(family)
    completion = completion_of(model)
    monkeypatch.setitem(attribution.CHUNK_WORK, "cpu", 1e6)  # many chunks
    found: list[list[Any]] = []
    for n in (1, 2, 4):
        monkeypatch.setattr(workers, "count_workers", lambda n=n: n)
        numbers: list[Any] = []
        for method in ("occlusion", "gradient", "integrated-gradients"):
            result = finish(compute_saliency(model, completion, SaliencySettings(method=method)))
            numbers += [result.scores, result.values]
        if model.facts.kind.predicts:
            ranked = finish(rank_at_each_layer(model, completion, RankingsSettings()))
            numbers += [ranked.ranks, ranked.ties, ranked.log_probability, ranked.log_probability_all]
            seen = finish(overview_of_each_layer(model, completion, LayerPredictionsSettings()))
            numbers += [seen.ids, seen.probability]
        if "neuron-factors" not in FAMILIES[family].without:
            factors = finish(factorize_neurons(model, completion, NeuronFactorsSettings(factors=2)))
            numbers += [factor.activations for factor in factors.factors]
        found.append(numbers)
    for other in found[1:]:
        for a, b in zip(found[0], other, strict=True):
            np.testing.assert_array_equal(a, b)


def test_work_is_done_by_as_many_threads_and_comes_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "count_workers", lambda: 3)
    together = threading.Barrier(3, timeout=10)

    def work(number: int) -> tuple[int, int]:
        together.wait()
        return number, torch.get_num_threads()

    before = torch.get_num_threads()
    with open_workers() as pool:
        assert list(pool.map(work, range(6))) == [(number, 1) for number in range(6)]
    assert torch.get_num_threads() == before
    seen: list[int] = []
    thread = threading.Thread(target=lambda: seen.append(torch.get_num_threads()))
    thread.start()
    thread.join()
    assert seen == [before], "a new thread begins with as many"


def test_what_a_worker_raises_is_raised_and_the_hooks_are_gone(gpt2: LanguageModel) -> None:
    def fail(_item: int) -> int:
        raise RuntimeError("stumbled")

    with pytest.raises(RuntimeError, match="stumbled"), gpt2.anatomy.taps.open(), open_workers() as pool:
        list(pool.map(fail, [1, 2]))
    assert not any(part._forward_hooks or part._forward_pre_hooks for part in gpt2.module.modules())


@pytest.mark.parametrize("n", [1, 2, 4])
def test_workers_are_no_further_ahead_than_one_chunk(n: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "count_workers", lambda: n)
    begun: list[int] = []
    with open_workers() as pool:
        results = pool.map(lambda item: begun.append(item) or item, range(20))
        for asked in range(5):
            assert next(results) == asked
            threading.Event().wait(0.05)
            assert len(begun) <= asked + n + workers.AHEAD
