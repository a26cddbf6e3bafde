"""Deletion and insertion curves: an explained number as tokens are hidden in some order, or only its first ones kept."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from torch import Tensor

from analyzers.common.progress import Progress, later
from analyzers.methods.asking import Question
from analyzers.methods.attribution import occlude


@dataclass(frozen=True, eq=False)
class Curves:
    """The explained number (nats; of two texts their cosine) in steps from no token to all: a row for each order."""

    deletion: Float[np.ndarray, "order step"]
    """With the order's first tokens hidden."""
    insertion: Float[np.ndarray, "order step"]
    """With all others hidden."""

    @property
    def comprehensiveness(self) -> Float[np.ndarray, " order"]:
        """Mean fall when an order's first tokens are hidden; higher is better (DeYoung et al. 2020)."""
        return np.asarray((self.deletion[:, :1] - self.deletion[:, 1:]).mean(1))

    @property
    def sufficiency(self) -> Float[np.ndarray, " order"]:
        """Mean fall when only an order's first tokens are kept; lower is better (DeYoung et al. 2020)."""
        return np.asarray((self.deletion[:, :1] - self.insertion[:, 1:]).mean(1))

    @property
    def gain(self) -> Float[np.ndarray, " order"]:
        """Symmetric relevance gain (Blücher et al. 2024): the insertion curve above the deletion curve, on average. An
        order and its reverse differ in the sign alone, so that of a random order is 0 on average."""
        return np.asarray((self.insertion - self.deletion).mean(1))

    def first(self, n: int) -> Curves:
        """Of the first orders."""
        return Curves(self.deletion[:n], self.insertion[:n])

    def but_first(self, n: int) -> Curves:
        """Of all other orders."""
        return Curves(self.deletion[n:], self.insertion[n:])

    def __len__(self) -> int:
        return len(self.deletion)


def count_in_steps(n: int) -> Int[np.ndarray, " step"]:
    """How many of `n` tokens are hidden at each step: 0, 1, 2, 4, 8, … to the half, and what mirrors these to `n`. The first
    tokens of an order tell most, and so do the last, and what is left counts the same read backwards."""
    half = [0, *(2**i for i in range(n.bit_length()) if 2**i <= n / 2)]
    return np.unique([*half, *(n - count for count in half)])


def random_orders(n: int, n_pairs: int, seed: int = 0) -> list[Int[np.ndarray, " token"]]:
    """So many orders, each followed by its reverse, whose curves need no further forward."""
    random = np.random.default_rng(seed)
    return [order for _ in range(n_pairs) for once in (random.permutation(n),) for order in (once, once[::-1])]


def follow_orders(
    question: Question,
    groups: Sequence[Sequence[int]],
    orders: Sequence[Int[np.ndarray, " group"]],
    counts: Int[np.ndarray, " step"],
) -> Iterator[Progress[Curves]]:
    """The first explained number of `question` along each order of `groups` (of positions); what is known between two
    steps is of the first orders. A hidden token's embedding is the baseline's; equal sets are computed once."""
    sets: dict[frozenset[int], int] = {}
    numbers = np.empty((len(orders), 2, len(counts)), dtype=int)
    for row, order in enumerate(orders):
        for step, n in enumerate(counts):
            for side, hidden in enumerate((order[:n], order[n:])):
                numbers[row, side, step] = sets.setdefault(frozenset(hidden.tolist()), len(sets))
    needed = np.maximum.accumulate(numbers.reshape(len(orders), -1).max(1))
    hidden_together = [sorted(p for group in hidden for p in groups[group]) for hidden in sets]

    def read(values: Float[Tensor, "some_sets target"]) -> Curves:
        found = values[:, 0].double().cpu().numpy()
        curves = found[numbers[: int((needed < len(found)).sum())]]
        return Curves(curves[:, 0], curves[:, 1])

    for along in occlude(question.model, question.embedded, question.baseline, question.objective, hidden_together):
        if along.result is not None:
            yield Progress(along.fraction, read(along.result))
        elif along.make_result is not None:
            yield Progress(along.fraction, make_result=later(along.make_result, read))
