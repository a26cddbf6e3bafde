"""Scores of the earlier tokens: definitions reimplemented, laws on every family, and models with a known answer."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from conftest import completed
from families import tiny_model, tiny_module
from toys import copy_module, linear_module, loaded

from analyzers.common.errors import InputError
from analyzers.common.progress import finish
from analyzers.common.settings import SaliencySettings
from analyzers.common.tokens import word_numbers
from analyzers.methods.asking import baseline_embedding
from analyzers.models.completion import Completion
from analyzers.models.language_model import LanguageModel
from analyzers.saliency import Saliency, compute_saliency

TEXT = "the café <b> é the"
METHODS = ["occlusion", "gradient", "input-x-gradient", "integrated-gradients", "shapley", "attn-lrp"]


def explain(model: LanguageModel, completion: Completion | None = None, **settings: Any) -> Saliency:
    if settings.get("method") == "integrated-gradients":
        settings.setdefault("points", 4)
    return finish(
        compute_saliency(model, completion or completed(model, TEXT, generate=3), SaliencySettings(**settings))
    )


def probability(model: LanguageModel, embedded: torch.Tensor, id: int) -> torch.Tensor:
    return model.module(inputs_embeds=embedded.unsqueeze(0), use_cache=False).logits[0, -1].softmax(-1)[id]


@pytest.mark.parametrize("method", METHODS)
def test_shares_sum_to_one_and_stand_before_the_explained_token(any_model: LanguageModel, method: str) -> None:
    result = explain(any_model, method=method)
    assert result.shares is not None
    np.testing.assert_allclose(result.shares.sum(1), 1, atol=1e-6)
    assert (result.shares >= 0).all()
    for row, position in enumerate(result.explained):
        assert (result.scores[row, position:] == 0).all()
        assert (result.scores[row, :position] > 0).any()


@pytest.mark.parametrize("method", METHODS)
def test_signed_sums_have_no_shares(gpt2: LanguageModel, method: str) -> None:
    result = explain(gpt2, method=method, aggregate="sum")
    assert result.shares is None
    assert result.is_signed
    assert (result.scores < 0).any()
    assert (result.scores > 0).any()


@pytest.mark.parametrize("family", ["gpt2", "t5", "bart"])
def test_a_token_that_is_the_baseline_already_has_no_effect(family: str) -> None:
    """Not even that of rounding, whose sign would be told."""
    model = tiny_model(family)
    completion = completed(model, "the <|end|> keys", generate=2)
    result = explain(model, completion, method="occlusion", aggregate="sum")
    absent = [at for at, id in enumerate(completion.ids[: result.scores.shape[1]]) if id == model.baseline_id]
    assert absent
    assert (result.scores[:, absent] == 0).all()


def test_probability_and_log_probability_give_the_same_gradient_map(any_model: LanguageModel) -> None:
    maps = [explain(any_model, method="gradient", target=t).shares for t in ("probability", "log-probability")]
    np.testing.assert_allclose(maps[0], maps[1], atol=1e-5)
    other = explain(any_model, method="gradient", target="logit").shares
    assert np.abs(maps[0] - other).max() > 1e-4, "the logit's map is another one"


@pytest.mark.parametrize("family", ["gpt2", "llama"])
def test_integrated_gradients_as_ecco_defined_them(family: str) -> None:
    """Zero baseline, 50 points, the norm over dimensions, of the probability, one token at a time."""
    model = tiny_model(family, torch.float64)
    whole = completed(model, TEXT, generate=2)
    result = explain(model, whole, method="integrated-gradients", baseline="zero", points=50)
    nodes, weights = np.polynomial.legendre.leggauss(50)
    assert result.shares is not None
    for row, position in enumerate(result.explained):
        x = model.embed(whole.ids[:position])
        total = torch.zeros_like(x)
        for node, weight in zip(nodes, weights, strict=True):
            point = (x * (node + 1) / 2).requires_grad_(True)
            (slope,) = torch.autograd.grad(probability(model, point, whole.ids[position]), point)
            total += slope * weight / 2
        expected = (total * x).norm(dim=-1)
        np.testing.assert_allclose(result.shares[row, :position], (expected / expected.sum()).numpy(), atol=1e-9)
        np.testing.assert_allclose(result.scores[row, :position], expected.numpy(), rtol=1e-6)


def test_occlusion_is_the_drop_when_a_token_becomes_the_baseline(any_model: LanguageModel) -> None:
    whole = completed(any_model, TEXT, generate=2)
    result = explain(any_model, whole)
    assert result.hidden_values is not None
    absent = any_model.embed([any_model.baseline_id])[0]
    for row, position in enumerate(result.explained):
        x = any_model.embed(whole.ids[:position])
        id = whole.ids[position]
        assert result.values[row] == pytest.approx(float(probability(any_model, x, id)), rel=1e-4)
        for hidden in (0, 4, position - 1):
            without = x.clone()
            without[hidden] = absent
            value = float(probability(any_model, without, id))
            assert result.hidden_values[row, hidden] == pytest.approx(value, rel=1e-3, abs=1e-6)
            drop = abs(float(result.values[row]) - value)
            assert result.scores[row, hidden] == pytest.approx(drop, rel=1e-2, abs=1e-6)


def test_a_token_whose_hiding_raises_the_target_counts_against_it(gpt2: LanguageModel) -> None:
    result = explain(gpt2)
    signed = explain(gpt2, aggregate="sum")
    assert result.hidden_values is not None
    assert (result.signs == np.where(result.hidden_values > result.values[:, None], -1, 1)).all()
    np.testing.assert_allclose(result.scores * result.signs, signed.scores, atol=1e-12)
    assert {-1.0, 1.0} <= set(result.signs.ravel().tolist())


@pytest.mark.parametrize(
    ("baseline", "vector"),
    [
        ("zero", lambda m: torch.zeros(32)),
        ("mean", lambda m: m.embed(range(384)).mean(0)),
        ("token", lambda m: m.embed([0])[0]),
    ],
)
def test_the_baselines_are_what_they_say(gpt2: LanguageModel, baseline: Any, vector: Any) -> None:
    found = baseline_embedding(gpt2, baseline, [5, 6, 7])[1]
    torch.testing.assert_close(found, vector(gpt2), rtol=1e-5, atol=1e-6)
    assert explain(gpt2, baseline=baseline).baseline_text == ("<|end|>" if baseline == "token" else None)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("back", [0, 1, 3])
def test_it_points_at_the_token_that_a_wired_model_copies(method: str, back: int) -> None:
    model = loaded(copy_module(back))
    whole = completed(model, "the keys to <b> café", target_text=" cabinet")
    result = explain(model, whole, method=method, target="logit", baseline="zero", contrast=None)
    assert result.shares is not None
    for row, position in enumerate(result.explained):
        source = position - 1 - back
        if method == "gradient":  # the last position can be written to directly as well: half of the slope is there
            expected = {source: 0.5, position - 1: 0.5} if back else {source: 1.0}
        elif whole.ids[source] == whole.ids[position]:
            expected = {source: 1.0}
        else:
            expected = {}  # what is copied is another token: nothing speaks for this one
        for earlier in range(position):
            assert result.shares[row, earlier] == pytest.approx(expected.get(earlier, 0.0), abs=1e-6)


def test_it_points_two_back_when_the_model_repeats_itself() -> None:
    model = loaded(copy_module(1))
    whole = completed(model, "zyzyzyzy", generate=4)
    assert [token.text for token in whole.outputs] == ["z", "y", "z", "y"]
    for method in ("occlusion", "input-x-gradient", "integrated-gradients"):
        result = explain(model, whole, method=method, target="logit", baseline="zero")
        assert result.shares is not None
        for row, position in enumerate(result.explained):
            assert result.shares[row, position - 2] == pytest.approx(1.0), method


def test_on_a_linear_model_integration_is_exact_and_converged_at_once() -> None:
    result = explain(loaded(linear_module()), method="integrated-gradients", target="logit", points=2)
    for found in result.completeness:
        assert found is not None
        assert found.converged
        assert found.relative is not None
        assert found.relative < 1e-10
        assert found.map_change < 1e-10
        assert found.points == 2


def test_a_contrast_explains_the_difference_of_two_logits(gpt2: LanguageModel) -> None:
    whole = completed(gpt2, TEXT, generate=2)
    result = explain(gpt2, whole, contrast=" the", method="gradient")
    other = gpt2.encode(" the")[0]
    assert (result.objective, result.contrast and result.contrast.id) == ("contrast", other)
    for row, position in enumerate(result.explained):
        x = gpt2.embed(whole.ids[:position]).requires_grad_(True)
        logits = gpt2.module(inputs_embeds=x.unsqueeze(0)).logits[0, -1]
        difference = logits[whole.ids[position]] - logits[other]
        (slope,) = torch.autograd.grad(difference, x)
        assert result.values[row] == pytest.approx(difference.item(), rel=1e-4)
        np.testing.assert_allclose(result.scores[row, :position], slope.norm(dim=-1).numpy(), rtol=1e-3)


def test_a_contrast_with_itself_is_zero_everywhere_and_says_so(gpt2: LanguageModel) -> None:
    whole = completed(gpt2, "abc", target_text=" the")
    result = explain(gpt2, whole, contrast=" the")
    assert (result.scores == 0).all()
    assert result.shares is not None
    assert (result.shares == 0).all()
    assert [note.key for note in result.notes] == ["contrast_same"]


def test_a_contrast_of_several_tokens_says_which_was_used(gpt2: LanguageModel) -> None:
    assert [note.key for note in explain(gpt2, contrast="zebra").notes] == ["token_of_several"]


@pytest.mark.parametrize("family", ["gpt2", "llama"])
def test_both_errors_are_what_they_say(family: str) -> None:
    model = tiny_model(family, torch.float64)
    whole = completed(model, TEXT, generate=2)
    result = explain(model, whole, method="integrated-gradients", points=6)
    absent = model.embed([model.baseline_id])
    for row, position in enumerate(result.explained):
        x = model.embed(whole.ids[:position])
        baseline = absent.expand_as(x)

        def attributions(
            points: int, x: torch.Tensor = x, baseline: torch.Tensor = baseline, p: int = position
        ) -> torch.Tensor:
            nodes, weights = np.polynomial.legendre.leggauss(points)
            total = torch.zeros_like(x)
            for node, weight in zip(nodes, weights, strict=True):
                point = (baseline + (x - baseline) * (node + 1) / 2).requires_grad_(True)
                total += torch.autograd.grad(probability(model, point, whole.ids[p]), point)[0] * weight / 2
            return total * (x - baseline)

        id = whole.ids[position]
        change = float(probability(model, x, id) - probability(model, baseline, id))
        last, before = (attributions(points) for points in (6, 3))
        found = result.completeness[row]
        assert found is not None
        assert found.total == pytest.approx(change, rel=1e-6)
        assert found.error == pytest.approx(float(last.sum()) - change, rel=1e-5, abs=1e-12)
        assert found.relative == pytest.approx(abs(found.error / change), rel=1e-6)
        shares = [part.norm(dim=-1) / part.norm(dim=-1).sum() for part in (last, before)]
        assert found.map_change == pytest.approx(float((shares[0] - shares[1]).abs().max()), rel=1e-5)


def test_either_error_above_the_tolerance_is_not_converged(monkeypatch: pytest.MonkeyPatch) -> None:
    """Both ways are met: completeness fine while the map still moves, and the other way round."""
    kinds = set()
    for family in ("gpt2", "llama", "qwen3"):
        model = tiny_model(family)
        whole = completed(model, TEXT, generate=6)
        for points in (2, 4, 8):
            result = explain(model, whole, method="integrated-gradients", points=points)
            for row, found in enumerate(result.completeness):
                assert found is not None
                assert found.relative is not None
                low, high = sorted((found.relative, found.map_change))
                if high > 1.2 * low and high < 0.9:
                    kinds.add(found.relative < found.map_change)
                    for tolerance, converged in (((low + high) / 2, False), (high * 1.001, True)):
                        if len(kinds) < 2 or tolerance > high:
                            monkeypatch.setattr("analyzers.common.settings.TOLERANCE", tolerance)
                            again = explain(model, whole, method="integrated-gradients", points=points).completeness[
                                row
                            ]
                            assert again is not None
                            assert again.converged is converged
            if len(kinds) == 2:
                return
    pytest.fail(f"only {kinds} met")


def test_rules_are_refined_until_both_errors_are_below_the_tolerance(llama: LanguageModel) -> None:
    loose, strict = (
        finish(
            compute_saliency(
                llama,
                completed(llama, TEXT, generate=2),
                SaliencySettings(method="integrated-gradients", tolerance=tolerance),
            )
        )
        for tolerance in (0.9, 1e-4)
    )
    for a, b in zip(loose.completeness, strict.completeness, strict=True):
        assert a is not None
        assert b is not None
        assert a.points in (7, 15, 31, 63, 127, 255, 511)
        assert b.points >= a.points
        assert b.relative is not None
        assert b.converged is (max(b.relative, b.map_change) <= 1e-4)
    assert max(c.points for c in strict.completeness if c) > min(c.points for c in loose.completeness if c)


def test_what_did_not_converge_is_said(gpt2: LanguageModel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("analyzers.common.settings.TOLERANCE", 0.0001)
    result = explain(gpt2, method="integrated-gradients", points=2)
    (note,) = result.notes
    assert note.say().startswith("Not converged for 3 of 3 explained tokens: with 2 points")
    monkeypatch.setattr("analyzers.common.settings.TOLERANCE", 1.0)
    assert explain(gpt2, method="integrated-gradients", points=16, baseline="mean").notes == ()


def test_a_map_of_one_point_has_not_shown_that_it_converged(gpt2: LanguageModel) -> None:
    result = explain(gpt2, method="integrated-gradients", points=1)
    assert all(found is not None and found.points == 1 and found.map_change > 0 for found in result.completeness)


def test_the_tokens_of_a_word_share_its_effect_equally(gpt2: LanguageModel) -> None:
    whole = completed(gpt2, "the zebra zzz", generate=1)
    result = explain(gpt2, whole, whole_words=True, aggregate="sum")
    position = result.explained[0]
    words = word_numbers(whole.tokens[:position])
    group = [p for p in range(position) if words[p] == words[3]]
    assert len(group) > 1
    x = gpt2.embed(whole.ids[:position])
    x[group] = gpt2.embed([gpt2.baseline_id])[0]
    drop = result.values[0] - float(probability(gpt2, x, whole.ids[position]))
    np.testing.assert_allclose(result.scores[0, group], drop / len(group), rtol=1e-3, atol=1e-8)
    assert result.whole_words


def test_the_pinned_token_comes_first_and_the_whole_is_the_same(gpt2: LanguageModel) -> None:
    whole = completed(gpt2, TEXT, generate=4)
    settings = SaliencySettings(method="integrated-gradients", points=4)
    last = whole.n_positions - 1
    steps = [s.result for s in compute_saliency(gpt2, whole, replace(settings, first=last)) if s.result is not None]
    assert steps[0].explained == (last,)
    assert steps[-1].explained == tuple(range(whole.n_prompt, whole.n_positions))
    plain = finish(compute_saliency(gpt2, whole, settings))
    np.testing.assert_allclose(steps[-1].scores, plain.scores, rtol=1e-3, atol=1e-8)
    np.testing.assert_allclose(steps[0].scores[0], plain.scores[-1], rtol=1e-3, atol=1e-8)
    assert steps[-1].row_of(last) == 3


@pytest.mark.parametrize("position", [0, 5, 100])
def test_a_position_that_is_not_explained_is_refused(gpt2: LanguageModel, position: int) -> None:
    with pytest.raises(InputError, match=f"Position {position} is not an explained token"):
        explain(gpt2, first=position)
    with pytest.raises(InputError, match=f"Position {position} is not an explained token"):
        explain(gpt2).row_of(position)


def test_nothing_predicted_is_nothing_to_explain(gpt2: LanguageModel) -> None:
    with pytest.raises(InputError, match="no predicted token to explain"):
        explain(gpt2, completed(gpt2, TEXT, generate=0))


@pytest.mark.parametrize("method", METHODS)
def test_numbers_that_are_not_finite_are_an_error_never_a_picture(method: str) -> None:
    module = tiny_module("gpt_neox")
    model = LanguageModel(module, tiny_model("gpt_neox").tokenizer, "overflows")
    id = model.encode("Z")[0]
    with torch.no_grad():
        module.gpt_neox.embed_in.weight[id] = float("inf")
    explain(model, completed(model, "the keys", target_text=" to"), method=method)
    with pytest.raises(InputError, match="the saliency is not finite"):
        explain(model, completed(model, "the Z keys", target_text=" to"), method=method)


def test_a_baseline_without_a_finite_value_is_an_error_too() -> None:
    module = tiny_module("gpt_neox")
    model = LanguageModel(module, tiny_model("gpt_neox").tokenizer, "overflows")
    model.baseline_id = model.encode("Z")[0]
    with torch.no_grad():
        module.gpt_neox.embed_in.weight[model.baseline_id] = 3e38
    with pytest.raises(InputError, match="the saliency is not finite"):
        explain(model, completed(model, "the keys", target_text=" to"), method="integrated-gradients")


def test_a_single_earlier_token_has_the_whole_share(gpt2: LanguageModel) -> None:
    result = explain(gpt2, completed(gpt2, "a", generate=1))
    assert result.shares is not None
    np.testing.assert_allclose(result.shares, [[1.0]])


def test_a_batch_of_texts_is_not_needed_the_same_text_twice_gives_the_same_numbers(any_model: LanguageModel) -> None:
    def hooks() -> int:  # transformers leaves some of its own behind after output_hidden_states=True
        return sum(len(part._forward_hooks) + len(part._forward_pre_hooks) for part in any_model.module.modules())

    before = hooks()
    for method in METHODS:
        first, second = (explain(any_model, method=method) for _ in range(2))
        assert np.array_equal(first.scores, second.scores)
    assert all(weight.grad is None for weight in any_model.module.parameters())
    assert hooks() == before


def test_heathrow_brings_london(smollm2: LanguageModel) -> None:
    whole = completed(smollm2, "Heathrow airport is located in the city of", generate=1)
    assert whole.outputs[0].text == " London"
    result = explain(smollm2, whole)
    assert result.shares is not None
    assert result.shares[0].sum() == pytest.approx(1)
    assert 0.2 < result.values[0] < 0.8
    assert result.hidden_values is not None
    heathrow = [token.position for token in result.tokens[:3]]
    assert result.hidden_values[0, heathrow].min() < result.values[0] / 2, "the airport's name is what London hangs on"
