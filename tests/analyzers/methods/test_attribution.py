"""The mathematics, against captum, finite differences, paper and models whose answer is known."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from captum.attr import FeatureAblation, InputXGradient, IntegratedGradients, Saliency
from conftest import completed
from families import CAUSAL, tiny_model
from torch import Tensor
from toys import linear_module, loaded

from analyzers.common.progress import finish
from analyzers.common.settings import Objective
from analyzers.methods import attribution
from analyzers.methods.attribution import (
    RecordedForward,
    TokenObjective,
    evaluate,
    gradients,
    occlude,
    take_in_turns,
)
from analyzers.methods.integrated_gradients import gauss_legendre_rule, integrate
from analyzers.models.language_model import LanguageModel

POINTS = 8
SHORT = "the café <b> é the 👩"
TARGETS: list[Objective] = ["probability", "logit", "log-probability", "contrast"]


class Case:
    """A completion with all its explained tokens as one objective, and captum's view of one of them."""

    def __init__(self, model: LanguageModel, target: Objective = "probability", generate: int = 3) -> None:
        self.model, self.target = model, target
        whole = completed(model, SHORT, generate=generate)
        self.ids = whole.ids
        self.explained = list(range(whole.n_prompt, whole.n_positions))
        self.embedded = model.embed(self.ids[: self.explained[-1]])
        self.baseline = model.embed([self.ids[0]]).expand_as(self.embedded)
        self.contrast = 77
        self.objective = TokenObjective(
            torch.tensor(self.ids[: self.explained[-1]]),
            torch.tensor([p - 1 for p in self.explained]),
            torch.tensor([self.ids[p] for p in self.explained]),
            target,
            self.contrast if target == "contrast" else None,
        )

    def alone(self, i: int, wrong: int = 0) -> tuple[Callable[[Tensor], Tensor], Tensor, Tensor]:
        """One explained token on its own text: f(embeddings), x and x′. `wrong` asks for another token."""
        position = self.explained[i]
        id = (self.ids[position] + wrong) % 384

        def value(embedded: Tensor) -> Tensor:
            logits = self.model.module(inputs_embeds=embedded, use_cache=False).logits[:, -1]
            if self.target == "logit":
                return logits[:, id]
            if self.target == "contrast":
                return logits[:, id] - logits[:, self.contrast]
            if self.target == "probability":
                return logits.softmax(-1)[:, id]
            return logits.log_softmax(-1)[:, id]

        x = self.embedded[:position].unsqueeze(0).clone()
        return value, x, self.baseline[:position].unsqueeze(0).clone()

    def gradients(self) -> Tensor:
        found = torch.zeros(len(self.explained), *self.embedded.shape, dtype=self.embedded.dtype)
        for some, gradient in gradients(self.model, self.embedded.unsqueeze(0), self.objective):
            found[some] = gradient[:, 0]
        return found


def by_captum(case: Case, method: str, i: int, wrong: int = 0) -> Tensor:
    """(position, d_model), as captum computes it for one token at a time."""
    value, x, baseline = case.alone(i, wrong)
    x.requires_grad_(True)
    if method == "gradient":
        found = Saliency(value).attribute(x, abs=False)
    elif method == "input-x-gradient":
        found = InputXGradient(value).attribute(x)
    elif method == "integrated-gradients":
        found = IntegratedGradients(value).attribute(x, baselines=baseline, n_steps=POINTS, method="gausslegendre")
    else:
        mask = torch.arange(x.shape[1])[None, :, None].expand_as(x)
        x = x.detach()
        found = FeatureAblation(value).attribute(x, baselines=baseline, feature_mask=mask)[..., :1]
    return found[0].detach()


@cache
def ours(family: str, dtype: torch.dtype, method: str, target: Objective) -> tuple[Case, Tensor]:
    case = Case(tiny_model(family, dtype), target)
    if method == "gradient":
        found = case.gradients()
    elif method == "input-x-gradient":
        found = case.gradients() * case.embedded
    elif method == "integrated-gradients":
        found = finish(integrate(case.model, case.embedded, case.baseline, case.objective, POINTS))
    else:
        groups = [[p] for p in range(len(case.embedded))]
        hidden = finish(occlude(case.model, case.embedded, case.baseline, case.objective, groups))
        values = evaluate(case.model, case.embedded.unsqueeze(0), case.objective)[0]
        found = (values - hidden).T.unsqueeze(-1)
    return case, found


def relative(a: Tensor, b: Tensor) -> float:
    return float((a - b).norm() / b.norm())


METHODS = ["gradient", "input-x-gradient", "integrated-gradients", "occlusion"]


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("family", ["gpt2", "llama"])
def test_it_agrees_with_captum_in_double_precision(family: str, method: str, target: Objective) -> None:
    case, found = ours(family, torch.float64, method, target)
    for i in range(len(case.explained)) if method == "integrated-gradients" else [1]:
        position = case.explained[i]
        theirs = by_captum(case, method, i)
        assert relative(found[i, :position], theirs) < 1e-6
        assert float(found[i, position:].abs().sum()) == 0.0 or method == "occlusion"
    wrong = by_captum(case, method, 1, wrong=1)
    assert relative(found[1, : case.explained[1]], wrong) > 1e-2, "a wrong target must be seen"


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("family", ["gpt2", "llama"])
def test_it_agrees_with_captum_in_single_precision(family: str, method: str) -> None:
    case, found = ours(family, torch.float32, method, "probability")
    theirs = by_captum(case, method, 0)
    assert relative(found[0, : case.explained[0]], theirs) < 1e-3
    assert relative(found[0, : case.explained[0]], by_captum(case, method, 0, wrong=1)) > 1e-2


@pytest.mark.parametrize("target", TARGETS)
def test_a_gradient_agrees_with_a_finite_difference(family: str, target: Objective) -> None:
    case = Case(tiny_model(family, torch.float64), target, generate=2)
    found = case.gradients()
    random = torch.Generator().manual_seed(0)
    direction = torch.randn(case.embedded.shape, generator=random, dtype=torch.float64)
    # RMS norms compute in single precision whatever they are given; elsewhere a step that crosses no kink of a ReLU
    step = 1e-6 if family in ("gpt2", "gpt_neox", "opt") else 1e-3
    moved = torch.stack([case.embedded + steps * step * direction for steps in (-2, -1, 1, 2)])
    values = evaluate(case.model, moved, case.objective)
    slope = (values[0] - 8 * values[1] + 8 * values[2] - values[3]) / (12 * step)
    torch.testing.assert_close((found * direction).sum((1, 2)), slope, rtol=2e-3, atol=2e-3 * float(slope.abs().max()))


def test_values_are_the_models_own_probabilities(family: str) -> None:
    case = Case(tiny_model(family), generate=2)
    values = evaluate(case.model, case.embedded.unsqueeze(0), case.objective)[0]
    with torch.no_grad():
        logits = case.model.module(input_ids=torch.tensor([case.ids])).logits[0]
    expected = torch.stack([logits[p - 1].softmax(-1)[case.ids[p]] for p in case.explained])
    torch.testing.assert_close(values, expected, rtol=1e-4, atol=1e-7)


@pytest.fixture(params=sorted(CAUSAL))
def family(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_the_targets_by_hand() -> None:
    logits = torch.tensor([[[1.0, 3.0, 0.0, 0.0]]]).log_softmax(-1) + 2.5
    probabilities = torch.tensor([1.0, 3.0, 0.0, 0.0]).softmax(-1)

    def value(target: Objective, contrast: int | None = None) -> float:
        return float(
            TokenObjective(torch.tensor([0]), torch.tensor([0]), torch.tensor([1]), target, contrast).values(logits)
        )

    assert value("probability") == pytest.approx(float(probabilities[1]), rel=1e-6)
    assert value("log-probability") == pytest.approx(float(probabilities[1].log()), rel=1e-6)
    assert value("logit") == pytest.approx(float(logits[0, 0, 1]))
    assert value("contrast", 0) == pytest.approx(2.0, rel=1e-6)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_read_as_single(dtype: torch.dtype) -> None:
    logits = torch.tensor([[[1.0, 3.0, 0.5]]], dtype=dtype)
    value = TokenObjective(torch.tensor([0]), torch.tensor([0]), torch.tensor([1]), "probability").values(logits)
    assert value.dtype == torch.float32
    assert float(value) == pytest.approx(float(logits.float().softmax(-1)[0, 0, 1]), rel=1e-6)


def test_a_question_of_some_targets_is_those_targets() -> None:
    whole = TokenObjective(torch.tensor([0, 1, 2]), torch.tensor([4, 5, 6]), torch.tensor([7, 8, 9]), "contrast", 3)
    some = whole.only([2, 0])
    assert (some.rows.tolist(), some.ids.tolist()) == ([6, 4], [9, 7])
    assert (some.scalar, some.contrast_id) == ("contrast", 3)


@pytest.mark.parametrize("points", [1, 2, 5, 16])
def test_gauss_legendre_is_exact_up_to_its_degree(points: int) -> None:
    nodes, weights = gauss_legendre_rule(points)
    for degree in range(2 * points):
        assert float(weights @ nodes**degree) == pytest.approx(1 / (degree + 1), rel=1e-12)
    assert abs(float(weights @ nodes ** (2 * points)) - 1 / (2 * points + 1)) > 1e-25
    assert np.all((nodes > 0) & (nodes < 1)), "neither end of the path is touched"


def test_two_points_by_hand() -> None:
    nodes, weights = gauss_legendre_rule(2)
    np.testing.assert_allclose(nodes, [0.5 - 0.5 / 3**0.5, 0.5 + 0.5 / 3**0.5])
    np.testing.assert_allclose(weights, [0.5, 0.5])


@pytest.mark.parametrize("points", [1, 7])
def test_integrated_gradients_are_exact_on_a_linear_model(points: int) -> None:
    case = Case(loaded(linear_module()), "logit")
    found = finish(integrate(case.model, case.embedded, case.baseline, case.objective, points))
    change = evaluate(case.model, case.embedded.unsqueeze(0), case.objective)[0]
    change = change - evaluate(case.model, case.baseline.unsqueeze(0), case.objective)[0]
    torch.testing.assert_close(found.sum((1, 2)), change, rtol=1e-12, atol=1e-12)
    for position in (0, 3, len(case.embedded) - 1):  # and each position's own part is the drop when it is hidden
        hidden = case.embedded.clone()
        hidden[position] = case.baseline[position]
        drop = evaluate(case.model, case.embedded.unsqueeze(0), case.objective)[0]
        drop = drop - evaluate(case.model, hidden.unsqueeze(0), case.objective)[0]
        torch.testing.assert_close(found[:, position].sum(-1), drop, rtol=1e-10, atol=1e-12)


def test_completeness_is_reached_with_enough_points(any_model: LanguageModel) -> None:
    case = Case(tiny_model(any_model.facts.id.removeprefix("tiny-"), torch.float64), "log-probability", generate=2)
    change = evaluate(case.model, case.embedded.unsqueeze(0), case.objective)[0]
    change = change - evaluate(case.model, case.baseline.unsqueeze(0), case.objective)[0]

    def error(points: int) -> float:
        found = finish(integrate(case.model, case.embedded, case.baseline, case.objective, points))
        return float((found.sum((1, 2)) - change).abs().max() / change.abs().max())

    assert error(48) < 0.1
    assert error(48) < error(2)


@pytest.mark.parametrize("work", [1.0, 3e6, 1e15])
def test_however_the_work_is_cut_the_numbers_are_the_same(
    gpt2: LanguageModel, monkeypatch: pytest.MonkeyPatch, work: float
) -> None:
    case = Case(tiny_model("gpt2", torch.float64))
    groups = [[p] for p in range(len(case.embedded))]

    def numbers() -> list[Tensor]:
        return [
            case.gradients(),
            finish(integrate(case.model, case.embedded, case.baseline, case.objective, POINTS)),
            finish(occlude(case.model, case.embedded, case.baseline, case.objective, groups)),
        ]

    whole = numbers()
    monkeypatch.setitem(attribution.CHUNK_WORK, "cpu", work)
    for a, b in zip(numbers(), whole, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-15)


def test_small_chunks_are_many_steps_and_the_fractions_rise(monkeypatch: pytest.MonkeyPatch) -> None:
    case = Case(tiny_model("gpt2"))
    groups = [[p] for p in range(len(case.embedded))]
    monkeypatch.setitem(attribution.CHUNK_WORK, "cpu", 1.0)
    for steps in (
        list(integrate(case.model, case.embedded, case.baseline, case.objective, 4)),
        list(occlude(case.model, case.embedded, case.baseline, case.objective, groups)),
    ):
        fractions = [step.fraction for step in steps]
        assert len(steps) > 10
        assert fractions == sorted(fractions)
        assert fractions[-1] == 1.0
        assert [step.result is not None for step in steps] == [False] * (len(steps) - 1) + [True]


def test_all_tokens_at_once_are_the_same_as_one_at_a_time(family: str) -> None:
    case = Case(tiny_model(family, torch.float64))
    groups = [[p] for p in range(len(case.embedded))]
    together = finish(integrate(case.model, case.embedded, case.baseline, case.objective, 4))
    hidden = finish(occlude(case.model, case.embedded, case.baseline, case.objective, groups))
    for i, position in enumerate(case.explained):
        one = replace(case.objective.only([i]), text=case.objective.text[:position])
        x, baseline = case.embedded[:position], case.baseline[:position]
        alone = finish(integrate(case.model, x, baseline, one, 4))
        torch.testing.assert_close(together[i, :position], alone[0], rtol=1e-9, atol=1e-14)
        alone = finish(occlude(case.model, x, baseline, one, groups[:position]))
        torch.testing.assert_close(hidden[:position, i], alone[:, 0], rtol=1e-9, atol=1e-14)


def test_nothing_after_the_predecessor_matters(family: str) -> None:
    case = Case(tiny_model(family, torch.float64))
    found = case.gradients()
    for i, position in enumerate(case.explained):
        assert float(found[i, position:].abs().sum()) == 0.0
        assert float(found[i, :position].norm(dim=-1).min()) > 0.0


def test_the_model_is_left_as_it_was(any_model: LanguageModel) -> None:
    case = Case(any_model)
    before = evaluate(case.model, case.embedded.unsqueeze(0), case.objective)
    case.gradients()
    finish(integrate(case.model, case.embedded, case.baseline, case.objective, 3))
    assert all(weight.grad is None for weight in any_model.module.parameters())
    assert not any(part._forward_pre_hooks or part._forward_hooks for part in any_model.module.modules())
    assert not case.embedded.requires_grad
    assert torch.equal(evaluate(case.model, case.embedded.unsqueeze(0), case.objective), before)


def test_the_hook_is_gone_after_a_failure_too(gpt2: LanguageModel) -> None:
    objective: Any = TokenObjective(torch.tensor([1, 2, 3]), torch.tensor([10_000]), torch.tensor([1]), "logit")
    with pytest.raises(IndexError):
        next(gradients(gpt2, gpt2.embed([1, 2, 3]).unsqueeze(0), objective))
    assert not gpt2.anatomy.head._forward_pre_hooks


def test_an_abandoned_computation_leaves_nothing(gpt2: LanguageModel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(attribution.CHUNK_WORK, "cpu", 1.0)
    case = Case(gpt2)
    steps = integrate(case.model, case.embedded, case.baseline, case.objective, 8)
    next(steps)
    steps.close()  # type: ignore[attr-defined]
    assert not any(part._forward_pre_hooks or part._forward_hooks for part in gpt2.module.modules())
    assert torch.is_grad_enabled()


def test_the_same_input_twice_gives_the_same_numbers_to_the_bit(any_model: LanguageModel) -> None:
    case = Case(any_model)
    assert torch.equal(case.gradients(), case.gradients())


@pytest.mark.parametrize(("fits", "most"), [(3.92, 3), (3.0, 3), (0.2, 1), (100.0, 100)])
def test_as_many_targets_go_together_as_the_work_allows(
    gpt2: LanguageModel, monkeypatch: pytest.MonkeyPatch, fits: float, most: int
) -> None:
    n_rows = 7
    monkeypatch.setitem(attribution.CHUNK_WORK, "cpu", fits * 2 * gpt2.n_block_parameters * n_rows)
    assert attribution.targets_at_once(gpt2, n_rows) == most


def test_the_targets_of_a_forward_share_it_however_they_are_cut(
    gpt2: LanguageModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    case = Case(gpt2)
    n = case.objective.n_targets
    whole = RecordedForward(gpt2, lambda: case.embedded.unsqueeze(0), case.objective)
    alone = RecordedForward(gpt2, lambda: case.embedded.unsqueeze(0), case.objective)
    with gpt2.anatomy.taps.open():
        together = whole.gradient(0, n)
        one_by_one = torch.cat([alone.gradient(i, i + 1) for i in reversed(range(n))]).flip(0)
    torch.testing.assert_close(one_by_one, together, rtol=1e-4, atol=1e-6)
    assert whole._graph is alone._graph is None, "the graph is let go with its last target"


def test_workers_have_a_group_each() -> None:
    groups = ["abc", "de", "fgh"]
    assert "".join(take_in_turns(groups, 2)) == "adbecfgh"
    assert "".join(take_in_turns(groups, 1)) == "abcdefgh"
    assert "".join(take_in_turns(groups, 4)) == "adfbegch"


@pytest.mark.parametrize("order", [range(10), range(9, -1, -1), (7, *range(7), 8, 9)])
def test_two_forwards_read_no_more_than_their_targets_rest_on(order: Sequence[int], gpt2: LanguageModel) -> None:
    ids = gpt2.encode(SHORT * 3)[:20]
    embedded = gpt2.embed(ids)
    rows = torch.tensor([9 + i for i in order])
    objective = TokenObjective(torch.tensor(ids), rows, torch.tensor(ids)[rows + 1 - (rows == 19).long()], "logit")
    parts = attribution._share_out_targets(gpt2, objective, len(ids))
    assert [part[:2] for part in parts] == [(0, parts[0][1]), (parts[0][1], 10)]
    for first, last, n_read in parts:
        assert n_read == int(rows[first:last].max()) + 1
    work = [(last - first + 1) * n_read for first, last, n_read in parts]
    assert max(work) <= 1.3 * min(work)
    found = torch.zeros(10, *embedded.shape)
    for some, gradient in gradients(gpt2, embedded.unsqueeze(0), objective):
        found[some] = gradient[:, 0]
    for i in range(10):
        ((_, alone),) = gradients(gpt2, embedded.unsqueeze(0), objective.only([i]))
        torch.testing.assert_close(found[i], alone[0, 0], rtol=1e-4, atol=1e-6)


def test_a_model_that_sees_ahead_reads_the_whole_text_for_every_target() -> None:
    model = tiny_model("bert")
    objective = TokenObjective(torch.arange(5, 25), torch.arange(10), torch.arange(10), "logit")
    assert {n_read for _, _, n_read in attribution._share_out_targets(model, objective, 20)} == {20}
