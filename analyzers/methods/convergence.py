"""Integrated gradients with as many points as the map needs, and how far it can be trusted then."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from analyzers.common.limits import LIMITS
from analyzers.common.progress import Progress
from analyzers.common.settings import Aggregate, SaliencySettings
from analyzers.methods.attribution import Likeness, Question, doubling_budget, evaluate, integrate, integration_work
from analyzers.models.model import LanguageModel

FIRST_POINTS = 16


@dataclass(frozen=True)
class Completeness:
    """How far an integrated-gradients map can be trusted. Two errors, since either alone can be small by luck."""

    error: float
    """Σ attributions − (f(x) − f(x′)), in the target's unit."""
    total: float
    """f(x) − f(x′)."""
    relative: float | None
    """|error / total|; None where total is 0."""
    map_change: float
    """The largest change of any token's share when the points were last doubled, 0 to 1."""
    points: int
    converged: bool


@dataclass(frozen=True, eq=False)
class Integrated:
    """The integral's answer for some targets."""

    scores: Float[Tensor, "target position"]
    completeness: tuple[Completeness, ...]


def integrate_until_converged(
    model: LanguageModel,
    embedded: Float[Tensor, "position d_model"],
    baseline: Float[Tensor, "position d_model"],
    question: Question | Likeness,
    values: Float[Tensor, " target"],
    settings: SaliencySettings,
) -> Iterator[Progress[Integrated]]:
    """Integrated gradients (Sundararajan et al. 2017) whose points are doubled, for the targets that need it, until both
    errors are below the tolerance or the cap is met. `values` are the targets' own, f(x). Yields between chunks.
    """
    totals = values - evaluate(model, baseline.unsqueeze(0), question)[0]
    scores = embedded.new_zeros(question.n_targets, embedded.shape[0])
    found: dict[int, Completeness] = {}
    if settings.points is None:
        schedule = [FIRST_POINTS // 2, FIRST_POINTS]
        while schedule[-1] * 2 <= LIMITS.points:
            schedule.append(schedule[-1] * 2)
    else:
        schedule = [settings.points // 2 or 2, settings.points]  # one point is compared with two
    pending = list(range(question.n_targets))
    budget = doubling_budget(model, question.n_targets)
    for attempt, points in enumerate(schedule):
        attributions: Tensor | None = None
        for step in integrate(model, embedded, baseline, question.only(pending), points):
            # How many doublings are needed is not known: each takes up half of what is left of the bar.
            share = 1.0 if attempt == len(schedule) - 1 else 0.5
            yield Progress((1 - 0.5**attempt) + 0.5**attempt * share * step.fraction * 0.999)
            attributions = step.result if step.result is not None else attributions
        assert attributions is not None
        before = scores[pending].clone()
        scores[pending] = aggregated(attributions, settings.aggregate)
        if attempt == 0:
            continue
        changes = (_shares(scores[pending].abs()) - _shares(before.abs())).abs().amax(-1)
        errors = attributions.sum((1, 2)) - totals[pending]
        for i, change, error in zip(list(pending), changes.tolist(), errors.tolist(), strict=True):
            total = float(totals[i])
            relative = abs(error / total) if total else None
            good = relative is not None and relative <= settings.tolerance and change <= settings.tolerance
            found[i] = Completeness(error, total, relative, change, points, good)
            if good:
                pending.remove(i)
        again = integration_work(model, embedded.shape[0], len(pending), points * 2)
        if not pending or (attempt > 0 and settings.points is None and again > budget):
            break
        budget -= again
    yield Progress(1.0, Integrated(scores, tuple(found[i] for i in range(question.n_targets))))


def aggregated(
    attributions: Float[Tensor, "target position d_model"], aggregate: Aggregate
) -> Float[Tensor, "target position"]:
    """A number per token from one per component of its embedding: the L2 norm, or the signed sum."""
    return attributions.norm(dim=-1) if aggregate == "l2" else attributions.sum(-1)


def _shares(scores: Float[Tensor, "row position"]) -> Float[Tensor, "row position"]:
    total = scores.sum(-1, keepdim=True)
    return torch.where(total > 0, scores / torch.where(total > 0, total, torch.ones_like(total)), scores)
