"""Integrated gradients with as many points as the map needs, and how far it can be trusted then."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from analyzers.common.limits import LIMITS
from analyzers.common.progress import Progress
from analyzers.common.settings import Aggregate, SaliencySettings
from analyzers.methods.attribution import SimilarityObjective, TokenObjective, chunk_work, evaluate, gradients
from analyzers.models.language_model import LanguageModel

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


def gauss_legendre_rule(points: int) -> tuple[np.ndarray, np.ndarray]:
    """Nodes and weights on [0, 1]; exact for polynomials up to degree 2·points − 1."""
    nodes, weights = np.polynomial.legendre.leggauss(points)
    return (nodes + 1) / 2, weights / 2


def integrate(
    model: LanguageModel,
    embedded: Float[Tensor, "position d_model"],
    baseline: Float[Tensor, "position d_model"],
    objective: TokenObjective | SimilarityObjective,
    points: int,
) -> Iterator[Progress[Float[Tensor, "target position d_model"]]]:
    """Integrated gradients (Sundararajan et al. 2017): (x − x′) ∘ ∫ ∇f(x′ + α(x − x′)) dα by Gauss–Legendre."""
    nodes, weights = gauss_legendre_rule(points)
    n_targets, n_positions = objective.n_targets, embedded.shape[0]
    total = embedded.new_zeros(n_targets, *embedded.shape)
    step = _points_at_once(model, n_positions, n_targets)
    for start in range(0, points, step):
        alphas = torch.as_tensor(nodes[start : start + step], dtype=embedded.dtype, device=embedded.device)
        shares = torch.as_tensor(weights[start : start + step], dtype=embedded.dtype, device=embedded.device)
        path = baseline + alphas[:, None, None] * (embedded - baseline)
        for targets, gradient in gradients(model, path, objective):
            total[targets] += torch.einsum("k,tkpd->tpd", shares, gradient)
            part = (targets.stop / n_targets) * len(alphas)
            yield Progress((start + part) / points)
    yield Progress(1.0, (embedded - baseline) * total)


def integrate_until_converged(
    model: LanguageModel,
    embedded: Float[Tensor, "position d_model"],
    baseline: Float[Tensor, "position d_model"],
    objective: TokenObjective | SimilarityObjective,
    values: Float[Tensor, " target"],
    settings: SaliencySettings,
) -> Iterator[Progress[Integrated]]:
    """Integrated gradients (Sundararajan et al. 2017) whose points are doubled, for the targets that need it, until both
    errors are below the tolerance or the cap is met. `values` are the targets' own, f(x). Yields between chunks.
    """
    totals = values - evaluate(model, baseline.unsqueeze(0), objective)[0]
    scores = embedded.new_zeros(objective.n_targets, embedded.shape[0])
    found: dict[int, Completeness] = {}
    if settings.points == "auto":
        schedule = [FIRST_POINTS // 2, FIRST_POINTS]
        while schedule[-1] * 2 <= LIMITS.points:
            schedule.append(schedule[-1] * 2)
    else:
        schedule = [settings.points // 2 or 2, settings.points]  # one point is compared with two
    pending = list(range(objective.n_targets))
    budget = choose_doubling_budget(model, objective.n_targets)
    for attempt, points in enumerate(schedule):
        attributions: Tensor | None = None
        for step in integrate(model, embedded, baseline, objective.only(pending), points):
            # How many doublings are needed is not known: each takes up half of what is left of the bar.
            share = 1.0 if attempt == len(schedule) - 1 else 0.5
            yield Progress((1 - 0.5**attempt) + 0.5**attempt * share * step.fraction * 0.999)
            attributions = step.result if step.result is not None else attributions
        assert attributions is not None
        before = scores[pending].clone()
        scores[pending] = aggregate_dimensions(attributions, settings.aggregate)
        if attempt == 0:
            continue
        changes = (_shares(scores[pending].abs()) - _shares(before.abs())).abs().amax(-1)
        errors = attributions.sum((1, 2)) - totals[pending]
        for i, change, error in zip(list(pending), changes.tolist(), errors.tolist(), strict=True):
            total = float(totals[i])
            relative = abs(error / total) if total else None
            good = relative is not None and relative <= settings.most_error and change <= settings.most_error
            found[i] = Completeness(error, total, relative, change, points, good)
            if good:
                pending.remove(i)
        again = integration_work(model, embedded.shape[0], len(pending), points * 2)
        if not pending or (attempt > 0 and settings.points == "auto" and again > budget):
            break
        budget -= again
    yield Progress(1.0, Integrated(scores, tuple(found[i] for i in range(objective.n_targets))))


def aggregate_dimensions(
    attributions: Float[Tensor, "target position d_model"], aggregate: Aggregate
) -> Float[Tensor, "target position"]:
    """A number per token from one per component of its embedding: the L2 norm, or the signed sum."""
    return attributions.norm(dim=-1) if aggregate == "l2" else attributions.sum(-1)


def _shares(scores: Float[Tensor, "row position"]) -> Float[Tensor, "row position"]:
    total = scores.sum(-1, keepdim=True)
    return torch.where(total > 0, scores / torch.where(total > 0, total, torch.ones_like(total)), scores)


def integration_work(model: LanguageModel, n_positions: int, n_targets: int, points: int) -> float:
    """Floating-point operations of an integral: a forward, and a backward for each target, at each point."""
    return 2.0 * model.n_block_parameters * n_positions * (1 + n_targets) * points


def tokens_at_once(model: LanguageModel, n_positions: int) -> int:
    """How many explained tokens share an integral, so that a long text shows its first maps before its last."""
    one_target = integration_work(model, n_positions, 1, 16) / 2
    return int(max(1, 12 * chunk_work(model) // one_target - 1))


def choose_doubling_budget(model: LanguageModel, n_targets: int) -> float:
    """Work that may go into doubling the points: about ten seconds and two more a token. A number of operations, not
    of seconds, so that the same request ends at the same number of points every time."""
    return chunk_work(model) * (10 + 2 * n_targets)


def _points_at_once(model: LanguageModel, n_positions: int, n_targets: int) -> int:
    work = integration_work(model, n_positions, n_targets, 1)
    return int(min(10, max(1, chunk_work(model) // work)))
