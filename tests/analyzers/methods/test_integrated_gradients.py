"""Nested rules: exact where they must be, each of them reusing the one before, and a map from the first on."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from conftest import completed
from families import FAMILIES, tiny_model

from analyzers.common.limits import LIMITS
from analyzers.common.settings import SaliencySettings
from analyzers.methods.asking import ask
from analyzers.methods.attribution import RecordedForward, evaluate_text
from analyzers.methods.integrated_gradients import fejer_rule
from analyzers.models.completion import Generation, complete
from analyzers.models.language_model import LanguageModel
from analyzers.saliency import compute_saliency

TEXT = "the keys to the cabinet café"


@pytest.mark.parametrize("points", [1, 3, 7, 15, 31])
def test_fejers_rule_is_exact_up_to_its_degree_and_touches_neither_end(points: int) -> None:
    nodes, weights = fejer_rule(points)
    for degree in range(points):
        assert float(weights @ nodes**degree) == pytest.approx(1 / (degree + 1), rel=1e-12)
    assert np.all((nodes > 0) & (nodes < 1))
    assert np.all(weights > 0)
    assert np.all(np.diff(nodes) > 0)


def test_three_points_by_hand() -> None:
    nodes, weights = fejer_rule(3)
    np.testing.assert_allclose(nodes, [0.5 - 0.5 / 2**0.5, 0.5, 0.5 + 0.5 / 2**0.5])
    np.testing.assert_allclose(weights, [1 / 3, 1 / 3, 1 / 3])


@pytest.mark.parametrize("points", [7, 15, 31, 63, 127, 255])
def test_each_rule_holds_the_one_before_at_every_second_place(points: int) -> None:
    np.testing.assert_allclose(fejer_rule(2 * points + 1)[0][1::2], fejer_rule(points)[0], atol=1e-14)


def results(model: LanguageModel, **settings: Any) -> list[Any]:
    whole = completed(model, TEXT, generate=2)
    steps = compute_saliency(model, whole, SaliencySettings(method="integrated-gradients", **settings))
    return [step.result for step in steps if step.result is not None]


def test_no_point_is_computed_twice(monkeypatch: pytest.MonkeyPatch, gpt2: LanguageModel) -> None:
    computed: list[int] = []
    compute = RecordedForward.gradient

    def count(forward: RecordedForward, first: int, last: int) -> torch.Tensor:
        found = compute(forward, first, last)
        computed.append(found.shape[0] * found.shape[1])
        return found

    monkeypatch.setattr(RecordedForward, "gradient", count)
    (*_, whole) = results(gpt2, tolerance=0.0001)
    # and each target's gradient once where f(x′) is read, in the forwards of the first points
    assert sum(computed) == sum(c.points + 1 for c in whole.completeness)


@pytest.mark.parametrize(
    ("family", "baseline", "points"),
    [(family, "token", "auto") for family in sorted(FAMILIES)]
    + [(family, "zero", points) for family in ("bert", "gpt2", "llama", "t5") for points in ("auto", 4)],
)
def test_the_map_adds_up_to_the_difference_of_the_texts_value_and_the_baselines(
    family: str, baseline: Any, points: Any
) -> None:
    model = tiny_model(family)
    text = "the [MASK] to the café" if model.facts.kind.fills_masks else TEXT
    generation = Generation(generate=2, target_text=None if model.facts.kind.predicts else "a café")
    *_, whole = complete(model, text, generation)
    settings = SaliencySettings(method="integrated-gradients", target="logit", baseline=baseline, points=points)
    (*_, last) = compute_saliency(model, whole, settings)
    assert last.result is not None
    for position, found in zip(last.result.explained, last.result.completeness, strict=True):
        question = ask(model, whole, (position,), settings, None)
        present, absent = (evaluate_text(model, x, question.objective) for x in (question.embedded, question.baseline))
        assert found is not None
        assert found.total == pytest.approx(float(present - absent), rel=1e-4, abs=1e-6)


def test_the_first_picture_comes_after_seven_points_marked_as_rough_and_is_refined(gpt2: LanguageModel) -> None:
    found = results(gpt2, tolerance=0.0001, first=len(completed(gpt2, TEXT, generate=2).tokens) - 1)
    first = found[0].completeness[0]
    assert (first.points, first.rough, first.converged) == (7, True, False)
    assert found[0].missing is not None
    assert "1 of 2 tokens have no map yet, 1 maps are rough" in found[0].missing.say()
    points = [result.completeness[-1].points for result in found if len(result.explained) == 1]
    assert points == sorted(set(points))
    assert not any(c.rough for c in found[-1].completeness)
    assert found[-1].missing is None


def test_a_refined_map_is_that_of_many_fixed_points() -> None:
    model = tiny_model("gpt2", torch.float64)
    (*_, nested) = results(model, tolerance=0.0001)
    (*_, fixed) = results(model, points=256)
    np.testing.assert_allclose(nested.shares, fixed.shares, atol=1e-3)


def test_the_cap_is_the_limit(monkeypatch: pytest.MonkeyPatch, gpt2: LanguageModel) -> None:
    monkeypatch.setattr("analyzers.common.settings.TOLERANCE", -1.0)
    (*_, whole) = results(gpt2)
    assert all(c.points == 511 <= LIMITS.points and not c.converged and not c.rough for c in whole.completeness)
