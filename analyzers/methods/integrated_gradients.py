"""Integrated gradients with as many points as the map needs, and how far it can be trusted then."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from analyzers.common.limits import LIMITS
from analyzers.common.progress import Progress
from analyzers.common.settings import Aggregate, SaliencySettings
from analyzers.methods.attribution import (
    RecordedForward,
    SimilarityObjective,
    TokenObjective,
    chunk_work,
    evaluate_text,
    split_evenly,
    take_in_turns,
    targets_at_once,
)
from analyzers.methods.workers import open_workers
from analyzers.models.language_model import LanguageModel
from analyzers.models.torch_threads import one_thread

WORK_A_SECOND = {"cpu": 1e11}
"""Floating-point operations of two workers in about a second. A number of operations, not of seconds, so that the same
request ends at the same number of points every time."""
WORK_A_SECOND_GPU = 4e13
FIRST_POINTS = 7
"""Each nested rule has one point more than twice those of the one before."""


@dataclass(frozen=True)
class Completeness:
    """How far a map that should add up can be trusted: the sum's error, and the map's own, since either alone can be small
    by luck."""

    error: float
    """Σ attributions − (f(x) − f(x′)), in the target's unit."""
    total: float
    """f(x) − f(x′)."""
    relative: float | None
    """|error / total|; None where total is 0."""
    map_change: float
    """The largest change of any token's share between the last two rules, 0 to 1; of a sampled map the largest error of
    any share."""
    points: int
    """On the path; of a sampled map the orders, of an exact one the sets of tokens."""
    converged: bool
    rough: bool = False
    """Whether it was still being refined when this was known."""
    exact: bool = False
    """Whether there was nothing to converge: every set of tokens was computed."""


@dataclass(frozen=True, eq=False)
class Integrated:
    """The integral's answer for each target, as far as it is known."""

    scores: Float[Tensor, "target position"]
    completeness: tuple[Completeness, ...]


@dataclass(frozen=True, eq=False)
class _Chunk:
    """Some targets at some points, which share a forward with the other targets there."""

    forward: RecordedForward
    points: tuple[int, int]
    """First and last (exclusive)."""
    targets: tuple[int, int]


@dataclass(frozen=True, eq=False)
class Path:
    """From the baseline to the text, and what is explained on it."""

    model: LanguageModel
    embedded: Float[Tensor, "position d_model"]
    baseline: Float[Tensor, "position d_model"]
    objective: TokenObjective | SimilarityObjective
    values: Float[Tensor, " target"]
    """f(x)."""
    settings: SaliencySettings


@dataclass(frozen=True, eq=False)
class PathGradients:
    """Gradients and values along a path."""

    gradients: Float[Tensor, "point target position d_model"]
    """∂f/∂embedding at each node, or the one weighted sum of these."""
    values: Float[Tensor, "node target"]
    """f at each node."""


def gauss_legendre_rule(points: int) -> tuple[np.ndarray, np.ndarray]:
    """Nodes and weights on [0, 1]; exact for polynomials up to degree 2·points − 1."""
    nodes, weights = np.polynomial.legendre.leggauss(points)
    return (nodes + 1) / 2, weights / 2


@cache
def fejer_rule(points: int) -> tuple[np.ndarray, np.ndarray]:
    """Nodes and weights on [0, 1] of Fejér's second rule (1933), for 2ᵏ − 1 points: exact up to degree points − 1, open
    at both ends, and each rule holds every second node of the next one. Waldvogel 2006 gives the weights."""
    angles = np.arange(1, points + 1) * np.pi / (points + 1)
    odd = 2 * np.arange(1, (points + 1) // 2 + 1) - 1
    weights = 4 * np.sin(angles) / (points + 1) * (np.sin(np.outer(angles, odd)) / odd).sum(1)
    return (1 - np.cos(angles)) / 2, weights / 2


def integrate_until_converged(
    model: LanguageModel,
    embedded: Float[Tensor, "position d_model"],
    baseline: Float[Tensor, "position d_model"],
    objective: TokenObjective | SimilarityObjective,
    values: Float[Tensor, " target"],
    settings: SaliencySettings,
) -> Iterator[Progress[Integrated]]:
    """Integrated gradients (Sundararajan et al. 2017): (x − x′) ∘ ∫ ∇f(x′ + α(x − x′)) dα. `values` are f(x).

    With `auto` points by Fejér's nested rules, each of which uses the points of the one before, for the targets that
    need it, until both errors are below the tolerance or the cap is met; each rule gives a result. With a number of
    points by Gauss–Legendre, as ecco. Yields between chunks.
    """
    path = Path(model, embedded, baseline, objective, values, settings)
    yield from _integrate_nested(path) if settings.points == "auto" else _integrate_fixed(path, settings.points)


def _integrate_nested(path: Path) -> Iterator[Progress[Integrated]]:
    n_targets = path.objective.n_targets
    scores = path.embedded.new_zeros(n_targets, path.embedded.shape[0])
    known: dict[int, Completeness] = {}
    pending = list(range(n_targets))
    totals = path.values
    kept = path.embedded.new_zeros(0, n_targets, *path.embedded.shape)
    budget = choose_refining_budget(path.model, n_targets)
    points, begun, share = FIRST_POINTS, 0.0, 0.5
    while True:
        nodes, weights = fejer_rule(points)
        # f(x′) comes from the forwards of the first points: seven leave one of two workers room for it. With each
        # target after the first it costs one more backward, of as many as there are points.
        nodes = nodes[::2] if len(kept) else np.concatenate([[0.0], nodes])
        along: PathGradients | None = None
        for step in path_gradients(path.model, path.embedded, path.baseline, path.objective.only(pending), nodes):
            # How many rules are needed is not known: each takes up half of what is left of the bar.
            yield Progress((begun + share * step.fraction) * 0.999)
            along = step.result if step.result is not None else along
        assert along is not None
        if len(kept):
            kept = _interleave(kept, along.gradients)
        else:
            totals, kept = path.values - along.values[0], along.gradients[1:]
        with one_thread():
            coarse = _weigh(path, kept[1::2], fejer_rule(points // 2)[1])
            fine = _weigh(path, kept, weights)
        again = integration_work(path.model, path.embedded.shape[0], len(pending), points + 1)
        is_last = 2 * points + 1 > LIMITS.points or (points > FIRST_POINTS and again > budget)
        budget -= again
        judged = _judge(path, totals[pending], coarse, fine, points, is_rough=not is_last)
        for row, completeness in enumerate(judged):
            known[pending[row]] = completeness
        scores[pending] = aggregate_dimensions(fine, path.settings.aggregate)
        left = [row for row, target in enumerate(pending) if not known[target].converged]
        pending, kept = [pending[row] for row in left], kept[:, left]
        is_over = is_last or not pending
        result = Integrated(scores.clone(), tuple(known[target] for target in range(n_targets)))
        yield Progress(1.0 if is_over else (begun + share) * 0.999, result)
        if is_over:
            return
        points, begun, share = 2 * points + 1, begun + share, share / 2


def _integrate_fixed(path: Path, points: int) -> Iterator[Progress[Integrated]]:
    """Half of the points, to see how much the map changes, then all of them; one point is compared with two."""
    rules = (points // 2 or 2, points)
    yield Progress(0.0)  # Stop and other visitors are heard between the forwards of the two ends
    totals = path.values - evaluate_text(path.model, path.baseline, path.objective)
    integrals: list[Tensor] = []
    for n_done, n_points in zip((0, rules[0]), rules, strict=True):
        for step in integrate(path.model, path.embedded, path.baseline, path.objective, n_points):
            yield Progress((n_done + step.fraction * n_points) / sum(rules) * 0.999)
            if step.result is not None:
                integrals.append(step.result)
    coarse, fine = integrals
    scores = aggregate_dimensions(fine, path.settings.aggregate)
    yield Progress(1.0, Integrated(scores, _judge(path, totals, coarse, fine, points, is_rough=False)))


def integrate(
    model: LanguageModel,
    embedded: Float[Tensor, "position d_model"],
    baseline: Float[Tensor, "position d_model"],
    objective: TokenObjective | SimilarityObjective,
    points: int,
) -> Iterator[Progress[Float[Tensor, "target position d_model"]]]:
    """(x − x′) ∘ ∫ ∇f(x′ + α(x − x′)) dα by Gauss–Legendre."""
    nodes, weights = gauss_legendre_rule(points)
    for step in path_gradients(model, embedded, baseline, objective, nodes, weights):
        along = step.result
        yield Progress(step.fraction, None if along is None else (embedded - baseline) * along.gradients[0])


def path_gradients(
    model: LanguageModel,
    embedded: Float[Tensor, "position d_model"],
    baseline: Float[Tensor, "position d_model"],
    objective: TokenObjective | SimilarityObjective,
    nodes: np.ndarray,
    weights: np.ndarray | None = None,
) -> Iterator[Progress[PathGradients]]:
    """∂f/∂embedding and f at each node of the path, on all cores; with `weights` the gradients' weighted sum, as one point.

    Cut into chunks that depend on the request alone, and summed in their order.
    """
    n_positions, n_targets = embedded.shape[0], objective.n_targets

    def put_on_path(start: int, stop: int) -> Float[Tensor, "some_points position d_model"]:
        alphas = torch.as_tensor(nodes[start:stop], dtype=embedded.dtype, device=embedded.device)
        return baseline + alphas[:, None, None] * (embedded - baseline)

    forwards: list[RecordedForward] = []
    groups: list[list[_Chunk]] = []
    # An even number, or the targets of the last forward would be one worker's alone; few, since each reads all weights.
    n_forwards = 2 * math.ceil(len(nodes) / (2 * _points_at_once(model, n_positions)))
    for points in split_evenly(len(nodes), len(nodes), n_forwards):
        forward = RecordedForward(model, functools.partial(put_on_path, *points), objective)
        forwards.append(forward)
        most = targets_at_once(model, n_positions * (points[1] - points[0]))
        groups.append([_Chunk(forward, points, targets) for targets in split_evenly(n_targets, most)])

    def work(chunk: _Chunk) -> Float[Tensor, "some_targets some_points position d_model"]:
        gradient = chunk.forward.gradient(*chunk.targets)
        if weights is None:
            return gradient
        shares = torch.as_tensor(weights[slice(*chunk.points)], dtype=embedded.dtype, device=embedded.device)
        return torch.einsum("k,tkpd->tpd", shares, gradient).unsqueeze(1)

    total = embedded.new_zeros(len(nodes) if weights is None else 1, n_targets, *embedded.shape)
    n_done = 0
    with model.anatomy.taps.open(), open_workers(model.device) as workers:
        chunks = take_in_turns(groups, workers.n)
        for chunk, gradient in zip(chunks, workers.map(work, chunks), strict=True):
            (start, stop), (first, last) = chunk.points, chunk.targets
            if weights is None:
                total[start:stop, first:last] = gradient.transpose(0, 1)
            else:
                total[:, first:last] += gradient.transpose(0, 1)
            n_done += (stop - start) * (last - first)
            yield Progress(n_done / (len(nodes) * n_targets) * 0.999)
    values = torch.cat([forward.values for forward in forwards])
    yield Progress(1.0, PathGradients(total, values))


def _interleave(
    kept: Float[Tensor, "old_point target position d_model"], fresh: Float[Tensor, "new_point target position d_model"]
) -> Float[Tensor, "point target position d_model"]:
    """The points of a rule in their order: those that the rule before had stand at every second place."""
    both = torch.empty(len(kept) + len(fresh), *fresh.shape[1:], dtype=fresh.dtype, device=fresh.device)
    both[1::2], both[::2] = kept, fresh
    return both


def _weigh(
    path: Path, gradient: Float[Tensor, "point target position d_model"], weights: np.ndarray
) -> Float[Tensor, "target position d_model"]:
    shares = torch.as_tensor(weights, dtype=gradient.dtype, device=gradient.device)
    return (path.embedded - path.baseline) * torch.einsum("k,ktpd->tpd", shares, gradient)


def _judge(
    path: Path,
    totals: Float[Tensor, " target"],
    coarse: Float[Tensor, "target position d_model"],
    fine: Float[Tensor, "target position d_model"],
    points: int,
    *,
    is_rough: bool,
) -> tuple[Completeness, ...]:
    """Both errors of each target, from f(x) − f(x′) and its attributions by two rules."""
    before, after = (_shares(aggregate_dimensions(a, path.settings.aggregate).abs()) for a in (coarse, fine))
    changes = (after - before).abs().amax(-1)
    errors = fine.sum((1, 2)) - totals
    most = path.settings.most_error
    judged = []
    for error, total, change in zip(errors.tolist(), totals.tolist(), changes.tolist(), strict=True):
        relative = abs(error / total) if total else None
        converged = relative is not None and relative <= most and change <= most
        judged.append(Completeness(error, total, relative, change, points, converged, is_rough and not converged))
    return tuple(judged)


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
    return int(max(1, 12 * _work_a_second(model) // one_target - 1))


def choose_refining_budget(model: LanguageModel, n_targets: int) -> float:
    """Work that may go into refining: about ten seconds of two workers and two more a token."""
    return _work_a_second(model) * (10 + 2 * n_targets)


def _work_a_second(model: LanguageModel) -> float:
    return WORK_A_SECOND.get(model.device.type, WORK_A_SECOND_GPU)


def _points_at_once(model: LanguageModel, n_positions: int) -> int:
    """Points of one forward, with the gradient of a target."""
    return int(min(10, max(1, chunk_work(model) // integration_work(model, n_positions, 1, 1))))
