"""Which map to believe: the planted shortcut, a map without merit, and every number against another implementation."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from conftest import TEXT, completed
from families import FAMILIES, tiny_model
from scipy.stats import spearmanr, ttest_1samp
from toy_rows import AT_RANDOM
from toys import copy_module, loaded

from analyzers.common.errors import InputError
from analyzers.common.kinds import Kind
from analyzers.common.methods import METHODS
from analyzers.common.progress import finish
from analyzers.common.settings import MapComparisonSettings, SaliencySettings
from analyzers.map_comparison import MapComparison, compare_maps, mean_with_error
from analyzers.methods.deletion import Curves
from analyzers.models.completion import Completion
from analyzers.models.language_model import LanguageModel
from analyzers.saliency import compute_saliency

LONG = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMN"
BACK = 5


def compare(model: LanguageModel, completion: Completion, *methods: str, **settings: Any) -> MapComparison:
    return finish(compare_maps(model, completion, MapComparisonSettings(methods=methods, **settings)))


def read(family: str) -> tuple[LanguageModel, Completion]:
    model = tiny_model(family)
    if model.facts.kind.fills_masks:
        return model, completed(model, "the [MASK] to the café and the keys", generate=0)
    target = None if model.facts.kind.predicts else "a café"
    return model, completed(model, TEXT, generate=1, target_text=target)


@pytest.fixture
def with_random_map(monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setitem(METHODS, AT_RANDOM.name, AT_RANDOM)
    return AT_RANDOM.name


@pytest.fixture(scope="module")
def planted() -> tuple[LanguageModel, Completion, int]:
    """A model that copies the token five before the last one it reads, whatever else stands there."""
    model = loaded(copy_module(BACK))
    completion = completed(model, LONG, generate=1)
    return model, completion, completion.n_positions - 2 - BACK


@pytest.mark.parametrize("method", list(METHODS))
def test_every_map_and_the_verdict_point_at_the_planted_shortcut(
    planted: tuple[LanguageModel, Completion, int], method: str
) -> None:
    model, completion, source = planted
    result = compare(model, completion, method)
    assert result.groups[int(result.maps[0].argmax())] == (source,)
    # The gradient asks what a change would do, and the last token's own empty dimensions are read as well.
    assert result.maps[0].max() > (0.49 if method == "gradient" else 0.99)
    assert result.beats_chance.tolist() == [True]


def test_a_random_map_put_in_is_last_and_no_better_than_chance(
    planted: tuple[LanguageModel, Completion, int], with_random_map: str
) -> None:
    model, completion, _ = planted
    result = compare(model, completion, "occlusion", "gradient", with_random_map)
    assert result.methods == ("occlusion", "gradient", with_random_map)
    assert result.beats_chance.tolist() == [True, True, False]
    assert result.of_methods is not None
    assert int(result.of_methods.gain.argmin()) == 2


def test_a_map_without_merit_passes_one_time_in_eleven(planted: tuple[LanguageModel, Completion, int]) -> None:
    """Of gains that are symmetric around 0, as a random order's are: drawn, not computed."""
    model, completion, _ = planted
    result = compare(model, completion, "gradient")
    random = np.random.default_rng(0)
    passed = 0
    for _ in range(4000):
        pairs = random.standard_normal(10)
        gains = np.concatenate([random.standard_normal(1), np.stack([pairs, -pairs], 1).reshape(-1)])
        drawn = Curves(np.zeros((21, 1)), gains[:, None])
        passed += bool(replace(result, curves=drawn).beats_chance[0])
    assert passed / 4000 == pytest.approx(1 / 11, abs=0.015)


@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_the_maps_are_the_tabs_own_on_every_family(family: str) -> None:
    model, completion = read(family)
    result = compare(model, completion, "occlusion", "input-x-gradient", "attn-lrp", target="logit")
    assert result.methods or pytest.fail("no map")
    for row, method in enumerate(result.methods):
        own = finish(compute_saliency(model, completion, SaliencySettings(method=method, target="logit")))
        assert own.shares is not None
        places = [group[0] for group in result.groups]
        assert places == list(own.seen[0])
        np.testing.assert_allclose(result.maps[row], (own.shares * own.signs)[0, places], atol=2e-5)
        assert result.is_signed[row] == own.is_signed
    curves = result.of_methods
    assert curves is not None
    scalar = "log-probability" if Kind(FAMILIES[family].kind).predicts else "similarity"
    assert result.objective == scalar
    whole = finish(compute_saliency(model, completion, SaliencySettings(method="gradient", target="log-probability")))
    np.testing.assert_allclose(curves.deletion[:, 0], whole.values[0], atol=1e-4)


def test_agreement_is_spearmans(gpt2: LanguageModel) -> None:
    result = compare(gpt2, completed(gpt2, TEXT, generate=1), "occlusion", "gradient", "input-x-gradient")
    for i in range(3):
        for j in range(3):
            expected = spearmanr(result.maps[i], result.maps[j]).statistic
            assert result.agreement[i, j] == pytest.approx(expected, abs=1e-12)
    flat = replace(result, maps=np.vstack([result.maps[:2], np.zeros_like(result.maps[:1])]))
    assert np.isnan(flat.agreement[2]).all()
    assert flat.agreement[0, 1] == result.agreement[0, 1]


def test_the_error_is_students_of_the_pairs() -> None:
    values = np.random.default_rng(3).normal(size=20)
    interval = ttest_1samp(values.reshape(10, 2).mean(1), 0).confidence_interval(0.95)
    mean, error = mean_with_error(values)
    assert error is not None
    assert (mean - error, mean + error) == pytest.approx((interval.low, interval.high))
    assert mean_with_error(values[:2]) == (pytest.approx(values[:2].mean()), None)


def test_left_out_are_the_slow_methods(gpt2: LanguageModel) -> None:
    result = compare(gpt2, completed(gpt2, TEXT, generate=1))
    assert set(result.methods) == {name for name, row in METHODS.items() if row.is_quick}


def test_words_have_one_number_in_every_map(gpt2: LanguageModel) -> None:
    completion = completed(gpt2, "the café: the keys", generate=1)
    result = compare(gpt2, completion, "occlusion", "gradient", whole_words=True)
    assert any(len(group) > 1 for group in result.groups)
    own = finish(compute_saliency(gpt2, completion, SaliencySettings(method="gradient")))
    assert own.shares is not None
    expected = [own.shares[0, list(group)].sum() for group in result.groups]
    np.testing.assert_allclose(result.maps[1], expected, atol=1e-6)


def test_with_a_contrast_the_curves_are_of_the_difference(gpt2: LanguageModel) -> None:
    completion = completed(gpt2, TEXT, generate=1)
    result = compare(gpt2, completion, "gradient", contrast=" keys")
    own = finish(compute_saliency(gpt2, completion, SaliencySettings(method="gradient", contrast=" keys")))
    assert result.objective == "contrast"
    assert result.of_methods is not None
    assert result.of_methods.deletion[0, 0] == pytest.approx(own.values[0], abs=1e-4)


def test_a_method_without_a_rule_is_left_out_with_a_word(gpt2: LanguageModel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(METHODS, "attn-lrp", replace(METHODS["attn-lrp"], function="toy_rows:refuse_model"))
    completion = completed(gpt2, TEXT, generate=1)
    result = compare(gpt2, completion)
    assert "attn-lrp" not in result.methods
    assert [note.key for note in result.notes] == ["relevance_no_rule"]
    with pytest.raises(InputError, match="AttnLRP has no rule"):
        compare(gpt2, completion, "attn-lrp")


def test_what_cannot_be_compared_is_refused(gpt2: LanguageModel) -> None:
    completion = completed(gpt2, TEXT, generate=1)
    with pytest.raises(InputError, match="not an explained token"):
        compare(gpt2, completion, "gradient", position=1)
    with pytest.raises(InputError, match="methods must be one of occlusion"):
        MapComparisonSettings(methods=("nonsense",))
    with pytest.raises(InputError, match="no other token to contrast"):
        compare(*read("minilm"), "gradient", contrast=" a")
