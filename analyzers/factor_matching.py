"""Which factor of one run is which of another, such as the same text at other layers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.optimize import linear_sum_assignment

from analyzers.common.errors import InputError
from analyzers.neuron_factors import NeuronFactors


@dataclass(frozen=True)
class FactorMatch:
    """Two factors that fire on the same tokens, more or less."""

    first: int
    """Index in the first run."""
    second: int
    cosine: float
    """Of their activations over the common tokens: 1 alike, 0 nothing in common."""


def match_factors(first: NeuronFactors, second: NeuronFactors) -> tuple[FactorMatch, ...]:
    """Factors paired so that the sum of cosines is largest (Kuhn 1955), by falling cosine.

    Each factor is in one pair at most; with unequal numbers some are in none. Common tokens are those at the same
    position, with the same id, factorised in both. Raises InputError where there are none.
    """
    common = [
        position
        for position, (a, b) in enumerate(zip(first.tokens, second.tokens, strict=False))
        if a.id == b.id and position not in first.left_out and position not in second.left_out
    ]
    if not common:
        raise InputError("nothing_in_common")
    cosines = _unit_rows(first, common) @ _unit_rows(second, common).T
    rows, columns = linear_sum_assignment(-cosines)
    matches = [FactorMatch(int(a), int(b), float(cosines[a, b])) for a, b in zip(rows, columns, strict=True)]
    return tuple(sorted(matches, key=lambda match: -match.cosine))


def _unit_rows(run: NeuronFactors, positions: list[int]) -> np.ndarray:
    rows = np.array([[factor.activations[position] for position in positions] for factor in run.factors], dtype=float)
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.asarray(rows / np.where(norms > 0, norms, 1.0))
