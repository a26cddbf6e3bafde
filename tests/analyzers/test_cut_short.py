"""Whatever is cut short shows what is known by then: a part of the whole answer, equal to it, with what is missing."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from conftest import TEXT, completed
from families import FAMILIES, tiny_model

from analyzers.common.kinds import Kind
from analyzers.common.progress import Progress
from analyzers.common.settings import (
    LayerPredictionsSettings,
    MapComparisonSettings,
    NeuronFactorsSettings,
    RankingsSettings,
    SaliencySettings,
)
from analyzers.layer_predictions import overview_of_each_layer
from analyzers.map_comparison import compare_maps
from analyzers.methods import attribution, lens, nmf
from analyzers.models.completion import Completion
from analyzers.models.language_model import LanguageModel
from analyzers.neuron_factors import factorize_neurons
from analyzers.rankings import rank_at_each_layer
from analyzers.saliency import compute_saliency

PREDICTING = sorted(name for name, family in FAMILIES.items() if Kind(family.kind).predicts)


@pytest.fixture(autouse=True)
def small_steps(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Many steps of little work, two at a time."""
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    monkeypatch.setitem(attribution.CHUNK_WORK, "cpu", 1e3)
    monkeypatch.setattr(lens, "CELLS", 9)
    monkeypatch.setattr(nmf, "TOLERANCE", 1e-4)
    yield
    torch.set_num_threads(before)


def parts(steps: Iterator[Progress[Any]]) -> tuple[list[Any], Any]:
    """What could have been shown at each step, and the whole."""
    seen, whole = [], None
    for step in steps:
        if step.make_result is not None:
            seen.append(step.make_result())
        whole = step.result if step.fraction == 1 else whole
    assert whole is not None
    return seen, whole


def read(family: str) -> tuple[LanguageModel, Completion]:
    model = tiny_model(family)
    if model.facts.kind.fills_masks:
        return model, completed(model, "the [MASK] to the [MASK] and the cat", generate=0)
    return model, completed(model, TEXT, generate=4)


@pytest.mark.parametrize("family", PREDICTING)
def test_occlusion_knows_the_tokens_hidden_so_far(family: str) -> None:
    model, completion = read(family)
    seen, whole = parts(compute_saliency(model, completion, SaliencySettings(aggregate="sum")))
    assert len(seen) > 2
    for part in seen:
        assert part.explained == whole.explained
        assert part.missing is not None
        for row, positions in enumerate(part.seen):
            known = list(positions)
            assert set(known) < set(whole.seen[row]) or known == list(whole.seen[row])
            assert np.array_equal(part.scores[row, known], whole.scores[row, known])
            assert np.array_equal(part.hidden_values[row, known], whole.hidden_values[row, known])
    assert len(seen[0].seen[-1]) < len(seen[-1].seen[-1])
    assert whole.missing is None


@pytest.mark.parametrize("family", PREDICTING)
@pytest.mark.parametrize("method", ["gradient", "input-x-gradient"])
def test_gradients_know_some_tokens_the_pinned_one_first(family: str, method: str) -> None:
    model, completion = read(family)
    pinned = completion.outputs[-1].position
    seen, whole = parts(compute_saliency(model, completion, SaliencySettings(method=method, first=pinned)))
    for part in seen:
        assert pinned in part.explained
        rows = [whole.explained.index(position) for position in part.explained]
        assert np.array_equal(part.scores, whole.scores[rows])
        assert part.missing is not None or len(part.explained) == len(whole.explained)


@pytest.mark.parametrize("family", PREDICTING)
def test_rankings_know_the_positions_read_so_far(family: str) -> None:
    model, completion = read(family)
    seen, whole = parts(rank_at_each_layer(model, completion, RankingsSettings()))
    for part in seen:
        columns = [whole.outputs.index(token) for token in part.outputs]
        assert np.array_equal(part.ranks, whole.ranks[:, columns])
        assert np.array_equal(part.log_probability, whole.log_probability[columns])
        assert part.commitment_all is None
        assert part.missing is not None
    assert whole.missing is None


@pytest.mark.parametrize("family", PREDICTING)
def test_the_whole_text_knows_the_positions_read_so_far(family: str) -> None:
    model, completion = read(family)
    seen, whole = parts(overview_of_each_layer(model, completion, LayerPredictionsSettings()))
    for part in seen:
        n = len(part.positions)
        assert 0 < n < len(whole.positions)
        assert np.array_equal(part.ids, whole.ids[:, :n])
        assert np.array_equal(part.is_actual, whole.is_actual[:, :n])
        assert set(part.texts) == set(part.ids.flatten().tolist())
        assert part.missing is not None
    assert [len(part.positions) for part in seen] == sorted(len(part.positions) for part in seen)


@pytest.mark.parametrize("family", ["gpt2", "bert", "t5"])
def test_a_comparison_knows_its_maps_and_then_some_random_orders(family: str) -> None:
    model, completion = read(family)
    methods = ("occlusion", "gradient")
    settings = MapComparisonSettings(methods=methods, position=completion.outputs[-1].position)
    seen: list[Any] = []
    for step in compare_maps(model, completion, settings):
        known = step.make_result() if step.make_result is not None else step.result
        seen += [] if known is None else [known]
    *seen, whole = seen
    assert len(whole.of_random_orders) == 20
    n_maps = [len(part.methods) for part in seen]
    assert n_maps == sorted(n_maps)
    assert n_maps[0] == 1
    tested = [part for part in seen if part.curves is not None]
    assert tested
    for part in seen:
        n = len(part.methods)
        assert part.methods == methods[:n]
        assert np.array_equal(part.maps, whole.maps[:n])
        if part.curves is None:
            assert part.missing is not None
            assert not part.beats_chance.any()
            continue
        n_orders = len(part.curves)
        assert n == 2
        assert (n_orders - n) % 2 == 0
        assert np.array_equal(part.curves.deletion, whole.curves.deletion[:n_orders])
        assert np.array_equal(part.curves.insertion, whole.curves.insertion[:n_orders])
        assert (part.missing is None) == (n_orders == 22)
    assert whole.missing is None


@pytest.mark.parametrize("family", ["gpt2", "llama", "minilm"])
def test_factors_are_shown_as_they_stand(family: str) -> None:
    model, completion = read(family)
    seen, whole = parts(factorize_neurons(model, completion, NeuronFactorsSettings(factors=2)))
    assert seen
    for part in seen[:-1]:
        assert not part.converged
        assert part.missing is not None
    assert [part.error for part in seen] == sorted((part.error for part in seen), reverse=True)
    assert seen[-1].error == pytest.approx(whole.error, rel=1e-3)
    assert len(seen[0].factors) == 2
