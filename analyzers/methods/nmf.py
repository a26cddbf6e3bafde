"""Non-negative matrix factorisation of a short, very wide matrix: a few hundred tokens, tens of thousands of neurons.

Accelerated HALS (Gillis & Glineur 2012): each factor's row is set to its best value with the others held, several
times over for each pass over the matrix, and the weights are carried on in the direction in which they moved
(extrapolation with restarts; Ang & Gillis 2019). The two wide products cost far more than the small Gram matrices, so they
are made once a pass and used often; nothing of the size neuron × neuron is ever formed. Worked in blocks of neurons
that stay in the processor's cache, several blocks at a time; their sums are added in the order of the blocks.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from analyzers.common.progress import Progress
from analyzers.methods.workers import open_workers
from analyzers.models.torch_threads import one_thread

SWEEPS = 2
"""Updates of every factor for each pass over the matrix."""
BLOCK = 11_520
"""Neurons of one block on a CPU at most. Smaller ones stay nearer to the processor, but the calls then wait for each other."""
TRIAL = 4_608
"""Neurons that the starts are tried on."""
RANDOM_STARTS = 4
FOLLOWED = 4
"""Starts that are tried to the end: those that a few iterations bring furthest."""
STEP = 5
"""Iterations between two looks at the error."""
TOLERANCE = 5e-6
"""Converged when `STEP` iterations lower the relative error by no more than this share of it."""
TRIAL_TOLERANCE = 3e-4
MAX_ITERATIONS = 500
FIRST_MOMENTUM = 0.5
GROWTH = 1.05
"""Of the momentum, an iteration that went well."""
BACK_OFF = 1.5
"""What the momentum is divided by where the error rose."""
TINY = 1e-30


@dataclass(frozen=True, eq=False)
class Factorization:
    """matrix ≈ weights · patterns, both non-negative. A local minimum: there is no telling whether it is the lowest."""

    weights: Float[Tensor, "token factor"]
    patterns: Float[Tensor, "factor neuron"]
    """Rows of unit norm; a row of zeros is a factor that the matrix had no use for."""
    error: float
    """‖matrix − weights · patterns‖ / ‖matrix‖ (Frobenius), in float64: 0 is exact, 1 explains nothing."""
    iterations: int
    """Of the kept start, on the whole matrix."""
    converged: bool


def factorize(matrix: Float[Tensor, "token neuron"], factors: int) -> Iterator[Progress[Factorization]]:
    """Factors by falling energy ‖weights of a factor‖, with progress every few iterations.

    Several starts (NNDSVDa, Boutsidis & Gallopoulos 2008; the tokens that differ most; seeded random ones) are
    tried on the neurons with most energy, the less promising ones briefly (successive halving; Jamieson & Talwalkar
    2016), and the best goes on with all. The same matrix gives the same bits whatever the number of threads: each takes
    whole starts and whole blocks. Raises ValueError for a matrix that is negative, zero or not finite, and for more
    factors than tokens.
    """
    with one_thread():
        size = _square_of(matrix) ** 0.5
        if not 0 < size < float("inf") or bool(matrix.min() < 0):
            raise ValueError("the matrix must be finite, not negative, and not all zero")
        if not 1 <= factors <= len(matrix):
            raise ValueError(f"{factors} factors of {len(matrix)} tokens")
        scaled = (matrix / size).float()
        strongest = _strongest(scaled)
        starts = _starts(strongest, factors)
    with open_workers() as workers:
        with one_thread():
            trials = [_State(strongest, start) for start in starts]
        n_tried, n_tries = 0, len(starts) + FOLLOWED
        for try_on, n_kept in ((_State.advance, FOLLOWED), (_follow, 1)):
            for _ in workers.map(try_on, trials):
                n_tried += 1
                yield Progress(0.4 * n_tried / n_tries)
            trials = sorted(trials, key=lambda trial: trial.squared_error)[:n_kept]
        with one_thread():
            whole = _State(scaled, trials[0].weights, workers.map_all)
        while not whole.is_settled(TOLERANCE):
            with one_thread():
                whole.advance()
            fraction = 0.4 + 0.5 * whole.iterations / (whole.iterations + 8 * STEP)
            yield Progress(fraction, make_result=lambda: whole.look(size))
        result = whole.look(size)
    yield Progress(1.0, result)


class _State:
    """One run on its way. The patterns follow from the weights, so weights are all that a start is."""

    def __init__(
        self,
        matrix: Float[Tensor, "token neuron"],
        weights: Float[Tensor, "factor token"],
        map_all: Callable[..., Iterator[Any]] = map,
    ) -> None:
        """`map_all` is `map`, or that of a pool of threads: then blocks are worked on at the same time, an even number of
        them."""
        self._map_all = map_all
        is_shared = map_all is not map and matrix.device.type == "cpu"
        self.blocks = matrix.chunk(2 * math.ceil(matrix.shape[1] / (2 * BLOCK)) if is_shared else 1, dim=1)
        self.square = _square_of(matrix)
        self.weights = weights.to(matrix.device, copy=True)
        self.ahead = self.weights.clone()
        """Where the weights are heading; the patterns are fitted to these."""
        self.patterns = [matrix.new_zeros(len(weights), block.shape[1]) for block in self.blocks]
        self.momentum = FIRST_MOMENTUM
        self.iterations = 0
        self.squared_error = float("inf")
        self._decrease = float("inf")

    def is_settled(self, tolerance: float) -> bool:
        return self._decrease <= tolerance or self.iterations >= MAX_ITERATIONS

    def advance(self) -> None:
        """`STEP` iterations."""
        before = self.squared_error
        for _ in range(STEP):
            self._iterate()
        if before < float("inf"):
            self._decrease = abs(before - self.squared_error) / max(2 * before, TINY)

    def _iterate(self) -> None:
        gram = self.ahead @ self.ahead.T
        cross = torch.zeros_like(self.ahead)
        pattern_gram = torch.zeros_like(gram)
        for of_cross, of_gram in self._map_all(lambda *of: _fit(self.ahead, gram, *of), self.blocks, self.patterns):
            cross += of_cross
            pattern_gram += of_gram
        # ‖X − WH‖² = ‖X‖² − 2⟨W, XHᵀ⟩ + ⟨WᵀW, HHᵀ⟩: good enough to steer by, and free.
        explained = 2 * (self.ahead.double() * cross.double()).sum() - (gram.double() * pattern_gram.double()).sum()
        squared_error = max(0.0, self.square - float(explained))
        improved = self.ahead.clone()
        _improve(improved, pattern_gram, cross)
        self.iterations += 1
        if squared_error > self.squared_error:  # went too far: begin again from here, more slowly
            self.momentum /= BACK_OFF
            self.ahead = improved.clone()
        else:
            self.momentum = min(1.0, self.momentum * GROWTH)
            self.ahead = (improved + self.momentum * (improved - self.weights)).clamp_min_(0)
        self.weights, self.squared_error = improved, squared_error

    def look(self, size: float) -> Factorization:
        """The factors as they stand."""
        with one_thread():
            return self.finish(size)

    def finish(self, size: float) -> Factorization:
        patterns = torch.cat(self.patterns, dim=1)
        left = self._map_all(lambda *of: _squares_left(self.weights, *of), self.blocks, self.patterns)
        squared_error = sum(square for squares in left for square in squares)
        norms = patterns.double().norm(dim=1)
        weights = (self.weights.double() * norms[:, None] * size).float()
        order = weights.double().norm(dim=1).argsort(descending=True, stable=True)
        unit = (patterns / norms.clamp_min(TINY)[:, None]).float()
        error = (squared_error / self.square) ** 0.5
        return Factorization(weights[order].T, unit[order], error, self.iterations, self._decrease <= TOLERANCE)


def _follow(trial: _State) -> None:
    """Until it is clear where the start leads."""
    while not trial.is_settled(TRIAL_TOLERANCE):
        trial.advance()


def _fit(
    weights: Float[Tensor, "factor token"],
    gram: Float[Tensor, "factor factor"],
    block: Float[Tensor, "token some"],
    pattern: Float[Tensor, "factor some"],
) -> tuple[Float[Tensor, "factor token"], Float[Tensor, "factor factor"]]:
    """A block's patterns improved in place, and its parts of the two products."""
    _improve(pattern, gram, weights @ block)
    return pattern @ block.T, pattern @ pattern.T


def _square_of(matrix: Float[Tensor, "token neuron"]) -> float:
    """‖matrix‖² in float64: row by row, which is eight times as fast as torch's norm of a float32 matrix in float64."""
    return float(torch.stack([row @ row for row in map(Tensor.double, matrix)]).sum())


def _squares_left(
    weights: Float[Tensor, "factor token"], block: Float[Tensor, "token some"], pattern: Float[Tensor, "factor some"]
) -> list[float]:
    """‖block − weightsᵀ · pattern‖² in float64, of a few neurons at a time."""
    squares = []
    for columns, part in zip(block.split(512, dim=1), pattern.split(512, dim=1), strict=True):
        left = torch.addmm(columns.double(), weights.T.double(), part.double(), alpha=-1)
        squares.append(float(left.square_().sum()))
    return squares


def _improve(
    rows: Float[Tensor, "factor width"],
    gram: Float[Tensor, "factor factor"],
    cross: Float[Tensor, "factor width"],
) -> None:
    """Each row in turn set, in place, to its non-negative best with the others held: max(0, crossⱼ − Σ gramⱼᵢ rowᵢ) / gramⱼⱼ, i ≠ j."""
    diagonal = gram.diagonal().clamp_min(TINY)[:, None]
    others = (gram / diagonal).fill_diagonal_(0)
    wanted = cross / diagonal
    buffer = torch.empty_like(rows[0])
    for _ in range(SWEEPS):
        for row, target, coefficients in zip(rows, wanted, others, strict=True):
            torch.addmv(target, rows.T, coefficients, alpha=-1, out=buffer)
            torch.clamp_min(buffer, 0, out=row)


def _strongest(matrix: Float[Tensor, "token neuron"]) -> Float[Tensor, "token some"]:
    """The neurons that carry most of the energy, in their order."""
    energies = matrix.new_zeros(matrix.shape[1])
    for row in matrix:
        energies.addcmul_(row, row)
    return matrix.index_select(1, energies.topk(min(TRIAL, len(energies))).indices.sort().values)


def _starts(matrix: Float[Tensor, "token neuron"], factors: int) -> list[Float[Tensor, "factor token"]]:
    gram = (matrix @ matrix.T).double().cpu()
    starts = [_singular_start(gram, factors, float(matrix.double().mean())), _distinct_start(gram, factors)]
    for seed in range(RANDOM_STARTS):
        starts.append(torch.rand(factors, len(matrix), generator=torch.Generator().manual_seed(seed)))
    return starts


def _singular_start(gram: Float[Tensor, "token token"], factors: int, mean: float) -> Float[Tensor, "factor token"]:
    """The left half of NNDSVDa: of each singular vector the sign that weighs more, zeros filled with the mean."""
    values, vectors = torch.linalg.eigh(gram)
    rows = []
    for value, vector in zip(values.flip(0)[:factors], vectors.T.flip(0)[:factors], strict=True):
        halves = (vector.clamp_min(0), (-vector).clamp_min(0))
        half = max(halves, key=lambda some: float(some @ gram @ some))
        row = half / half.norm().clamp_min(TINY) * value.clamp_min(0) ** 0.25
        rows.append(torch.where(row == 0, torch.full_like(row, mean), row))
    return torch.stack(rows).float()


def _distinct_start(gram: Float[Tensor, "token token"], factors: int) -> Float[Tensor, "factor token"]:
    """Similarity to the tokens that differ most from each other (successive projection, Araújo et al. 2001)."""
    left = gram.clone()
    rows = []
    for _ in range(factors):
        token = int(left.diagonal().argmax())
        rows.append(gram[token] / gram[token, token].clamp_min(TINY).sqrt())
        column = left[:, token] / left[token, token].clamp_min(TINY).sqrt()
        left = left - torch.outer(column, column)
    return torch.stack(rows).float()
