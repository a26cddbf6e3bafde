"""Is a saliency map faithful? Delete tokens in its order, or keep only them, beside random orders."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from analyzers.common.errors import InputError
from analyzers.common.progress import Progress, later
from analyzers.common.sentences import Sentence
from analyzers.common.settings import FaithfulnessSettings
from analyzers.methods.asking import baseline_embedding
from analyzers.methods.attribution import TokenObjective, occlude
from analyzers.models.completion import Completion
from analyzers.models.language_model import LanguageModel


@dataclass(frozen=True, eq=False)
class Faithfulness:
    """How the explained token's log-probability (nats) moves as tokens are deleted, or kept alone."""

    position: int
    counts: Int[np.ndarray, " step"]
    """How many tokens are deleted (or kept), from 0 to all."""
    deletion: Float[np.ndarray, " step"]
    """In the map's order, its highest score first."""
    deletion_random: Float[np.ndarray, " step"]
    """Mean over random orders."""
    insertion: Float[np.ndarray, " step"]
    insertion_random: Float[np.ndarray, " step"]
    n_orders: int
    """Random orders, seeded."""
    missing: Sentence | None = None
    """What is not known yet, in words; None for a whole result."""
    notes: tuple[Sentence, ...] = ()

    @property
    def comprehensiveness(self) -> float:
        """Mean fall of the log-probability when the top tokens are deleted; higher is better."""
        return float((self.deletion[0] - self.deletion[1:]).mean())

    @property
    def comprehensiveness_random(self) -> float:
        return float((self.deletion[0] - self.deletion_random[1:]).mean())

    @property
    def sufficiency(self) -> float:
        """Mean fall of the log-probability when only the top tokens are kept; lower is better."""
        return float((self.deletion[0] - self.insertion[1:]).mean())

    @property
    def sufficiency_random(self) -> float:
        return float((self.deletion[0] - self.insertion_random[1:]).mean())


def compute_faithfulness(
    model: LanguageModel, completion: Completion, settings: FaithfulnessSettings
) -> Iterator[Progress[Faithfulness]]:
    """Deletion and insertion curves for one token, in the order of `settings.scores` and in random orders.

    Comprehensiveness and sufficiency of DeYoung et al. (2020), averaged over the steps; a deleted token's embedding is
    the baseline's. Log-probability, because probability is flat near 0. Raises InputError for a position that is not
    explained, or a number that is not finite.

    Arguments:
        model: the one that the map is of.
        completion: the one that the map is of.
        settings: the map's signed scores of one explained token, its baseline, steps and random orders.
    """
    position = settings.position
    outputs = {token.position: token for token in completion.outputs}
    seen = completion.positions_seen_from(position) if position in outputs else ()
    if position not in outputs or len(settings.scores) != len(seen):
        first, last = min(outputs, default=0), max(outputs, default=0)
        raise InputError("position_not_explained", position=position, first=first, last=last)
    ids = completion.ids if completion.kind.fills_masks else completion.ids[:position]
    embedded = model.embed(ids, completion.n_source)
    baseline = baseline_embedding(model, settings.baseline, ids, completion.n_source)
    objective = TokenObjective(
        torch.tensor(ids, device=model.device),
        torch.tensor([completion.row_of(position)], device=model.device),
        torch.tensor([outputs[position].id], device=model.device),
        "log-probability",
        n_source=completion.n_source,
    )
    n = len(seen)
    counts = np.unique(np.linspace(0, n, min(n, settings.steps) + 1).round().astype(int))
    random = np.random.default_rng(0)
    by_score = np.argsort(-np.asarray(settings.scores), kind="stable")
    orders = [by_score, *(random.permutation(n) for _ in range(settings.orders))]
    places = [np.asarray(seen)[order] for order in orders]
    groups = [group.tolist() for order in places for n in counts for group in (order[:n], order[n:])]

    def build(values: Float[Tensor, "some_groups 1"]) -> Faithfulness:
        """Of the orders that are gone through by now: the map's, and at least one random one."""
        n_orders = len(values) // (2 * len(counts))
        curves = values[: 2 * len(counts) * n_orders, 0].double().cpu().numpy().reshape(n_orders, len(counts), 2)
        if not np.isfinite(curves).all():
            raise InputError("not_finite", what="the log-probability")
        left = len(orders) - n_orders
        return Faithfulness(
            position=position,
            counts=counts,
            deletion=curves[0, :, 0],
            deletion_random=curves[1:, :, 0].mean(0),
            insertion=curves[0, :, 1],
            insertion_random=curves[1:, :, 1].mean(0),
            n_orders=n_orders - 1,
            missing=Sentence.of("orders_missing", n=left, total=settings.orders) if left else None,
        )

    for step in occlude(model, embedded, baseline, objective, groups):
        if step.result is not None:
            yield Progress(1.0, build(step.result))
        elif step.make_result is not None and step.fraction * len(orders) >= 2:
            yield Progress(step.fraction, make_result=later(step.make_result, build))
        else:
            yield Progress(step.fraction)
