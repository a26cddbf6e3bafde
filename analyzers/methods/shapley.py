"""Shapley values: each token's fair share of the explained number, with tokens that only work together.

A token is worth what it adds to the tokens that are there already, on average over all orders in which they can arrive
(Shapley 1953; sampled by orders: Štrumbelj & Kononenko 2010). One order gives every explained token's marginals, from
forwards that all of them share. Orders come in antithetic pairs, an order and its reverse, whose errors partly cancel.
Every set of tokens is computed once, whichever orders ask for it; of few tokens all sets are, and the value is exact.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from jaxtyping import Bool, Float, Int

from analyzers.common.progress import Progress
from analyzers.common.settings import MOST_EXACT
from analyzers.methods.asking import Question
from analyzers.methods.attribution import occlude

FIRST_PAIRS = 8
"""Pairs of orders before an error is believed; then twice as many, and so on."""
MOST_PAIRS = 128
CONFIDENCE = 0.99
"""Of the interval; by measurement it then holds at least 96 times in 100, and 95 are promised: what few orders give is
skewed (docs/decisions/shapley-by-orders.md)."""
POOLED_PAIRS = 8
"""A player's variance is taken together with so many pairs of the mean variance of all: in a few orders a rare large
marginal may not have come yet, and the variance would be too small."""


@dataclass(frozen=True, eq=False)
class Shapley:
    """What is known of every player's value."""

    values: Float[np.ndarray, "target player"]
    """0 for a player whom an explained token does not see. A target's values sum to f(x) − f(x′), to rounding."""
    totals: Float[np.ndarray, " target"]
    """f(x) − f(x′)."""
    errors: Float[np.ndarray, "target player"]
    """Half the width of an interval that holds all values of a target together, 95 times in 100; 0 where exact."""
    n_orders: int
    """Orders that were sampled; where it is exact, the sets that were computed."""
    is_exact: bool


def estimate_shapley_values(
    question: Question, players: Sequence[Sequence[int]], tolerance: float, seed: int = 0
) -> Iterator[Progress[Shapley]]:
    """Sampled until no share's error is above the tolerance, or `MOST_PAIRS` pairs were; exact for few players.

    Arguments:
        question: what is explained; an absent player's embeddings are its baseline's.
        players: positions that are present or absent together.
        tolerance: of the errors, as a share of the sum of a target's magnitudes.
        seed: of the orders.
    """
    sets = _Sets(question, players)
    n = len(players)
    sees = _sees(question, players)
    random = np.random.default_rng(seed)
    orders: list[Int[np.ndarray, " player"]] = []
    wanted = FIRST_PAIRS
    while True:
        while len(orders) < 2 * wanted:
            order = random.permutation(n)
            orders += [order, order[::-1]]
        known = partial(_estimate, sets, orders, sees)
        for fraction in sets.compute([mask for order in orders for mask in _arrivals(order)]):
            makes = known if sets.n_whole(orders) >= 4 else None
            yield Progress(_done(wanted, n, fraction), make_result=makes)
        result = known()
        if n <= MOST_EXACT or wanted >= MOST_PAIRS or largest_share_error(result).max() <= tolerance:
            break
        yield Progress(_done(wanted, n, 1.0), result)
        wanted *= 2
    if n <= MOST_EXACT:
        for fraction in sets.compute(range(2**n)):
            yield Progress(0.5 + 0.499 * fraction, make_result=known)
        result = _enumerate(sets, sees)
    yield Progress(1.0, result)


def largest_share_error(shapley: Shapley) -> Float[np.ndarray, " target"]:
    """The largest error of any player, as a share of the target's magnitudes; 0 where there are none."""
    totals = np.abs(shapley.values).sum(1)
    return np.asarray(shapley.errors.max(1, initial=0.0) / np.where(totals > 0, totals, 1.0))


def _done(pairs: int, n: int, fraction: float) -> float:
    """How many orders are needed is not known: each round takes up half of what is left of the bar."""
    if n <= MOST_EXACT:
        return 0.5 * fraction
    left = FIRST_PAIRS / pairs
    return min(0.999, 1 - left * (1 - 0.5 * fraction))


class _Sets:
    """The explained numbers of every set of players that was asked for. A set is a number whose bits are who is present."""

    def __init__(self, question: Question, players: Sequence[Sequence[int]]) -> None:
        self._question, self._players = question, players
        self._everybody = (1 << len(players)) - 1
        self._known: dict[int, Float[np.ndarray, " target"]] = {self._everybody: question.values.double().cpu().numpy()}

    def __getitem__(self, present: int) -> Float[np.ndarray, " target"]:
        return self._known[present]

    @property
    def totals(self) -> Float[np.ndarray, " target"]:
        """What everybody adds to nobody."""
        return np.asarray(self._known[self._everybody] - self._known[0])

    def n_whole(self, orders: Sequence[Int[np.ndarray, " player"]]) -> int:
        """How many of the orders, from the first on, are known throughout."""
        for number, order in enumerate(orders):
            if any(present not in self._known for present in _arrivals(order)):
                return number
        return len(orders)

    def compute(self, wanted: Sequence[int]) -> Iterator[float]:
        """Those that are not known yet; how far it is, 0 to 1."""
        masks = [present for present in dict.fromkeys(wanted) if present not in self._known]
        if not masks:
            return
        question = self._question
        hidden = [self._absent(present) for present in masks]
        n_known = 0
        for step in occlude(question.model, question.embedded, question.baseline, question.objective, hidden):
            values = step.result if step.result is not None else step.make_result() if step.make_result else None
            if values is None:
                continue
            fresh = values[n_known:].double().cpu().numpy()
            for present, numbers in zip(masks[n_known:], fresh, strict=False):
                self._known[present] = numbers
            n_known = len(values)
            yield step.fraction

    def _absent(self, present: int) -> list[int]:
        return [
            position for number, group in enumerate(self._players) if not present >> number & 1 for position in group
        ]


def _arrivals(order: Int[np.ndarray, " player"]) -> list[int]:
    """Who is there before the first of an order arrives, after it, and so on to everybody."""
    present, sets = 0, [0]
    for player in order.tolist():
        present |= 1 << player
        sets.append(present)
    return sets


def _estimate(
    sets: _Sets, orders: Sequence[Int[np.ndarray, " player"]], sees: Bool[np.ndarray, "target player"]
) -> Shapley:
    """Of the pairs of orders that are known throughout, at least two."""
    from scipy import stats

    n_pairs = sets.n_whole(orders) // 2
    marginals = np.zeros((2 * n_pairs, *sees.shape))
    for number, order in enumerate(orders[: 2 * n_pairs]):
        values = np.stack([sets[present] for present in _arrivals(order)])
        marginals[number][:, order] = np.diff(values, axis=0).T
    pairs = marginals.reshape(n_pairs, 2, *sees.shape).mean(1)
    n_seen = np.maximum(sees.sum(1, keepdims=True), 1)
    variance = pairs.var(0, ddof=1) * sees
    pooled = variance.sum(1, keepdims=True) / n_seen
    variance = (n_pairs * variance + POOLED_PAIRS * pooled) / (n_pairs + POOLED_PAIRS)
    # All of a target's values together: each is given its part of what may fail (Bonferroni).
    reach = stats.t.ppf(1 - (1 - CONFIDENCE) / (2 * n_seen), n_pairs - 1)
    errors = np.sqrt(variance / n_pairs) * reach * sees
    return Shapley(pairs.mean(0) * sees, sets.totals, errors, 2 * n_pairs, False)


def _enumerate(sets: _Sets, sees: Bool[np.ndarray, "target player"]) -> Shapley:
    """Σ over all sets without the player of |S|! (n − |S| − 1)! / n! times what it adds to the set."""
    n = sees.shape[1]
    weights = [1 / (n * math.comb(n - 1, size)) for size in range(n)]
    values = np.zeros(sees.shape)
    for present in range(2**n):
        for player in range(n):
            if not present >> player & 1:
                added = sets[present | 1 << player] - sets[present]
                values[:, player] += weights[present.bit_count()] * added
    return Shapley(values * sees, sets.totals, np.zeros(sees.shape), 2**n, True)


def _sees(question: Question, players: Sequence[Sequence[int]]) -> Bool[np.ndarray, "target player"]:
    """Whether an explained token rests on any token of a player."""
    return np.array([[not set(seen).isdisjoint(group) for group in players] for seen in question.seen])
