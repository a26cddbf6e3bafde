"""Which map should one believe? Several methods on one predicted token, each put to the test beside random orders."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float, Int

from analyzers.common.errors import InputError
from analyzers.common.methods import METHODS, methods_compared
from analyzers.common.progress import Progress, later
from analyzers.common.sentences import Sentence
from analyzers.common.settings import (
    RANDOM_PAIRS,
    ChosenObjective,
    MapComparisonSettings,
    Objective,
    SaliencySettings,
)
from analyzers.common.tokens import Token
from analyzers.methods.asking import Question, ask, scalar_of
from analyzers.methods.deletion import Curves, count_in_steps, follow_orders, random_orders
from analyzers.models.completion import Completion
from analyzers.models.language_model import LanguageModel
from analyzers.models.prompt import NamedToken, resolve_token
from analyzers.saliency import Saliency, explain_token, find_explained

SLOW = 30.0
"""What a method that integrates or samples is taken to cost, beside one that does neither, and the curves beside it."""

BELIEVED = 0.95
"""Of the random orders, that a map has to be above. One without merit is, 1 time in 11: its magnitude has to be among the two
largest of its own and the ten pairs', and it on the right side, as every other time."""
NOTHING = 1e-6
"""Between two gains, what is left of rounding where two orders hide the same tokens."""


@dataclass(frozen=True, eq=False)
class MapComparison:
    """The maps of several methods for one predicted token, and what becomes of the token in each one's order.

    A test of the order alone, with the same baseline in the place of what is hidden: a text with holes is none that the
    model was taught, and a method that hides tokens itself has the advantage of that.
    """

    position: int
    explained: Token
    """The predicted token, or what stands for the similarity of two texts."""
    tokens: tuple[Token, ...]
    groups: tuple[tuple[int, ...], ...]
    """Positions of what has one number: each token that the explained one rests on, or each word."""
    methods: tuple[str, ...]
    """Rows of `METHODS`: those whose map is known."""
    maps: Float[np.ndarray, "method group"]
    """Shares, −1 to 1, the sign where the method has one: what works against the token is below zero. The magnitudes of a
    row sum to 1, or all are 0."""
    is_signed: tuple[bool, ...]
    objective: Objective
    """What the curves are of: the log-probability, with a contrast logit(A) − logit(B), of two texts their cosine."""
    contrast: NamedToken | None
    baseline: str
    baseline_text: str | None
    """The baseline token, where `baseline` is `token`."""
    counts: Int[np.ndarray, " step"]
    """How many groups are hidden, or kept, at each step of a curve."""
    curves: Curves | None
    """Of each method, its highest number first, and then of random orders, each followed by its reverse. None while no
    random order is known."""
    missing: Sentence | None
    """What is not known yet, in words; None for a whole result."""
    notes: tuple[Sentence, ...]

    @property
    def agreement(self) -> Float[np.ndarray, "method method"]:
        """Spearman's rank correlation (1904) of the maps; NaN for one that is flat, or of fewer than three numbers."""
        from scipy.stats import rankdata

        ranks = rankdata(self.maps, axis=1)
        ranks = ranks - ranks.mean(1, keepdims=True)
        norms = np.linalg.norm(ranks, axis=1)
        if self.maps.shape[1] < 3:
            norms = np.zeros_like(norms)
        products = np.outer(norms, norms)
        agreement: Float[np.ndarray, "method method"] = np.full_like(products, np.nan)
        np.divide(ranks @ ranks.T, products, out=agreement, where=products > 0)
        return agreement

    @property
    def of_methods(self) -> Curves | None:
        return None if self.curves is None else self.curves.first(len(self.methods))

    @property
    def of_random_orders(self) -> Curves | None:
        return None if self.curves is None else self.curves.but_first(len(self.methods))

    @property
    def chance(self) -> float:
        """The gain of the best random order; 0 where none is known."""
        return 0.0 if self.of_random_orders is None else float(self.of_random_orders.gain.max())

    @property
    def n_beaten(self) -> Int[np.ndarray, " method"]:
        """Of how many random orders a map's gain is above the gain."""
        if self.of_methods is None or self.of_random_orders is None:
            return np.zeros(len(self.methods), dtype=int)
        return np.asarray((self.of_methods.gain[:, None] > self.of_random_orders.gain + NOTHING).sum(1))

    @property
    def beats_chance(self) -> Bool[np.ndarray, " method"]:
        """Whether a map is above nearly all random orders; False while some are missing."""
        return np.asarray(self.n_beaten >= BELIEVED * 2 * RANDOM_PAIRS)


def mean_with_error(values: Float[np.ndarray, " order"]) -> tuple[float, float | None]:
    """The mean over random orders and half the width of its 95 % interval (Student's t over the pairs, an order and its
    reverse being no two draws); None for a single pair."""
    from scipy.stats import t

    pairs = values.reshape(-1, 2).mean(1)
    if len(pairs) < 2:
        return float(pairs.mean()), None
    return float(pairs.mean()), float(t.ppf(0.975, len(pairs) - 1) * pairs.std(ddof=1) / len(pairs) ** 0.5)


def compare_maps(
    model: LanguageModel, completion: Completion, settings: MapComparisonSettings
) -> Iterator[Progress[MapComparison]]:
    """The maps of several methods for one predicted token, their rank agreement, and for each the deletion and insertion
    curves beside random orders: comprehensiveness and sufficiency (DeYoung et al. 2020), averaged over the steps, and the
    symmetric relevance gain (Blücher et al. 2024) of both. Log-probability, because probability is flat near 0.

    A method that has no rule for the model is left out, with a note. Raises InputError where none is left, for a position
    that is not explained, and for a number that is not finite.

    Arguments:
        model: whose tokens are explained.
        completion: from `complete`; one of its outputs is explained.
        settings: methods (the quick ones where none is named), position, contrast, baseline; see `MapComparisonSettings`.
    """
    position = find_explained(completion, settings.position)
    if not completion.kind.predicts and settings.contrast is not None:
        raise InputError("no_contrast_here")
    contrast = None if settings.contrast is None else resolve_token(model, settings.contrast, "contrast")
    question = ask(model, completion, (position,), _settings_of("occlusion", settings, "log-probability"), contrast)
    seen = set(question.seen[0])
    groups = tuple(kept for group in question.groups if (kept := tuple(p for p in group if p in seen)))
    methods = methods_compared(settings.methods)
    weights = [1.0 if METHODS[name].is_quick else SLOW for name in methods]
    total, done = sum(weights) + SLOW, 0.0
    refused: list[InputError] = []
    known: MapComparison | None = None
    for name, weight in zip(methods, weights, strict=True):
        found: Saliency | None = None
        try:
            for step in explain_token(model, completion, _settings_of(name, settings, settings.target), position):
                found = step.result or found
                yield Progress(min(0.999, (done + step.fraction * weight) / total))
        except InputError as error:
            if error.sentence.key != "relevance_no_rule":
                raise
            refused.append(error)
        if found is not None:
            known = _add_map(known or _without_maps(completion, question, contrast, groups, found), name, found)
            known = replace(known, missing=_missing_maps(len(known.methods), len(methods)))
        done += weight
        yield Progress(min(0.999, done / total), known)
    if known is None:
        raise refused[0]
    known = replace(known, notes=(*known.notes, *(error.sentence for error in refused)))
    orders = [*(np.argsort(-row, kind="stable") for row in known.maps), *random_orders(len(groups), RANDOM_PAIRS)]
    add_curves = functools.partial(_add_curves, known)
    for along in follow_orders(question, groups, orders, known.counts):
        fraction = min(0.999, (done + along.fraction * SLOW) / total)
        if along.result is not None:
            yield Progress(1.0, add_curves(along.result))
        elif along.make_result is not None:
            yield Progress(fraction, make_result=later(along.make_result, add_curves))
        else:
            yield Progress(fraction)


def _without_maps(
    completion: Completion,
    question: Question,
    contrast: NamedToken | None,
    groups: tuple[tuple[int, ...], ...],
    found: Saliency,
) -> MapComparison:
    return MapComparison(
        position=found.explained[0],
        explained=found.explained_tokens[0],
        tokens=found.tokens,
        groups=groups,
        methods=(),
        maps=np.zeros((0, len(groups))),
        is_signed=(),
        objective=scalar_of(question.settings, contrast) if completion.kind.predicts else "similarity",
        contrast=contrast,
        baseline=found.baseline,
        baseline_text=found.baseline_text,
        counts=count_in_steps(len(groups)),
        curves=None,
        missing=None,
        notes=(),
    )


def _add_map(known: MapComparison, method: str, found: Saliency) -> MapComparison:
    signed = abs(found.scores[0]) * found.signs[0]
    numbers = np.array([signed[list(group)].sum() for group in known.groups])
    total = abs(numbers).sum()
    return replace(
        known,
        methods=(*known.methods, method),
        maps=np.vstack([known.maps, numbers / total if total > 0 else numbers]),
        is_signed=(*known.is_signed, found.is_signed),
        notes=(*known.notes, *(note for note in found.notes if note not in known.notes)),
    )


def _missing_maps(n_known: int, total: int) -> Sentence:
    return Sentence.of("comparison_missing", n=total - n_known, total=total)


def _add_curves(known: MapComparison, curves: Curves) -> MapComparison:
    """Raises InputError for a number that is not finite."""
    if not np.isfinite([curves.deletion, curves.insertion]).all():
        raise InputError("not_finite", what="the log-probability")
    n_pairs = (len(curves) - len(known.methods)) // 2  # an order's reverse is known with it
    if n_pairs < 1:
        return replace(known, missing=Sentence.of("orders_missing", n=2 * RANDOM_PAIRS, total=2 * RANDOM_PAIRS))
    left = 2 * (RANDOM_PAIRS - n_pairs)
    missing = Sentence.of("orders_missing", n=left, total=2 * RANDOM_PAIRS) if left else None
    return replace(known, curves=curves, missing=missing)


def _settings_of(method: str, settings: MapComparisonSettings, target: ChosenObjective) -> SaliencySettings:
    return SaliencySettings(
        method=method,
        target=target,
        contrast=settings.contrast,
        aggregate=settings.aggregate,
        baseline=settings.baseline,
        whole_words=settings.whole_words,
    )
