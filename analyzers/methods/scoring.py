"""The saliency methods: each from one question to a score for every token that the explained ones rest on.

`common.methods.METHODS` names them; a further method is a function here and a row there.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor

from analyzers.common.progress import Progress, later
from analyzers.methods.asking import Question
from analyzers.methods.attribution import gradients, occlude
from analyzers.methods.integrated_gradients import Completeness, aggregate_dimensions, integrate_until_converged
from analyzers.methods.relevance import Rules, activations_as_one
from analyzers.methods.shapley import Shapley, estimate_shapley_values, largest_share_error


@dataclass(frozen=True, eq=False)
class Scores:
    """What a method answers."""

    scores: Float[Tensor, "explained position"]
    hidden_values: Float[Tensor, "explained position"] | None = None
    """Of a method that hides tokens: the scalar without that token."""
    completeness: tuple[Completeness, ...] | None = None
    """Of a method that integrates, samples or shares out."""
    relevance: Float[Tensor, "explained position"] | None = None
    """Of a method that samples or shares out: each token's part, with its sign."""
    errors: Float[Tensor, "explained position"] | None = None
    """Of a method that samples: half the width of the interval around each score."""
    known: tuple[int, ...] | None = None
    """Rows of the explained tokens that are known by now; None for all."""
    n_groups: int | None = None
    """How many of the question's groups, from the first on, were hidden by now; None for all."""


def score_by_occlusion(question: Question) -> Iterator[Progress[Scores]]:
    """The drop of the scalar when a token's embedding becomes the baseline's (leave one out; Zeiler & Fergus 2014)."""

    def score(hidden: Float[Tensor, "some_groups explained"]) -> Scores:
        return _score_hidden(hidden, question)

    for step in occlude(question.model, question.embedded, question.baseline, question.objective, question.groups):
        hidden, make_hidden = step.result, step.make_result
        if hidden is not None:
            yield Progress(1.0, score(hidden))
        elif make_hidden is not None:
            yield Progress(step.fraction, make_result=later(make_hidden, score))


def score_by_integrated_gradients(question: Question) -> Iterator[Progress[Scores]]:
    """Integrated gradients (Sundararajan et al. 2017), with completeness and the convergence of the map."""
    steps = integrate_until_converged(
        question.model, question.embedded, question.baseline, question.objective, question.values, question.settings
    )
    for step in steps:
        integrated = step.result
        scores = None if integrated is None else Scores(integrated.scores, completeness=integrated.completeness)
        yield Progress(step.fraction, scores)


def score_by_gradient(question: Question) -> Iterator[Progress[Scores]]:
    """‖∇‖₂, or its signed sum (Simonyan et al. 2014)."""
    return _score_by_gradient(question, times_input=False)


def score_by_input_x_gradient(question: Question) -> Iterator[Progress[Scores]]:
    """‖x∘∇‖₂, or its signed sum (Shrikumar et al. 2017)."""
    return _score_by_gradient(question, times_input=True)


def _score_by_gradient(question: Question, *, times_input: bool) -> Iterator[Progress[Scores]]:
    n_explained = len(question.values)
    scores = question.embedded.new_zeros(n_explained, question.embedded.shape[0])
    known: tuple[int, ...] = ()
    for rows, gradient in gradients(question.model, question.embedded.unsqueeze(0), question.objective):
        attributions = gradient[:, 0] * question.embedded if times_input else gradient[:, 0]
        scores[rows] = aggregate_dimensions(attributions, question.settings.aggregate)
        known = (*known, *range(rows.start, rows.stop))
        yield Progress(len(known) / n_explained * 0.999, make_result=partial(Scores, scores, known=known))
    yield Progress(1.0, Scores(scores))


def score_by_attn_lrp(question: Question) -> Iterator[Progress[Scores]]:
    """The relevance of each token: Σ x∘∇ over the dimensions, by the rules of AttnLRP (Achtibat et al. 2024; Arras et al.
    2025), and how far it all adds up to the logit."""
    model = question.model
    n_explained = len(question.values)
    relevance = question.embedded.new_zeros(n_explained, question.embedded.shape[0])
    known: tuple[int, ...] = ()
    with activations_as_one(model):
        steps = gradients(model, question.embedded.unsqueeze(0), question.objective, lambda: Rules(model.facts.id))
        for rows, gradient in steps:
            relevance[rows] = (gradient[:, 0] * question.embedded).sum(-1)
            known = (*known, *range(rows.start, rows.stop))
            made = partial(_share_out, relevance, question, known)
            yield Progress(len(known) / n_explained * 0.999, make_result=made)
    yield Progress(1.0, _share_out(relevance, question, None))


def score_by_shapley_values(question: Question) -> Iterator[Progress[Scores]]:
    """Each token's fair share of f(x) − f(x′) (Shapley 1953; Štrumbelj & Kononenko 2010), with the error of sampling."""
    players = [group for group in question.groups if _changes(question, group)]
    give = partial(_give_shares, question, players)
    for step in estimate_shapley_values(question, players, question.settings.most_error):
        if step.result is not None:
            yield Progress(step.fraction, give(step.fraction < 1, step.result))
        elif step.make_result is not None:
            yield Progress(step.fraction, make_result=later(step.make_result, partial(give, True)))
        else:
            yield Progress(step.fraction)


def _give_shares(question: Question, players: list[list[int]], is_rough: bool, found: Shapley) -> Scores:
    changes, totals = largest_share_error(found).tolist(), found.totals.tolist()
    completeness = []
    for values, total, change in zip(found.values, totals, changes, strict=True):
        error = float(values.sum()) - total
        relative = abs(error / total) if total else None
        converged = found.is_exact or change <= question.settings.most_error
        completeness.append(
            Completeness(error, total, relative, change, found.n_orders, converged, is_rough, found.is_exact)
        )
    signed = _spread(torch.from_numpy(found.values), players, question)
    scores = signed.abs() if question.settings.aggregate == "l2" else signed
    errors = _spread(torch.from_numpy(found.errors), players, question)
    return Scores(scores, completeness=tuple(completeness), relevance=signed, errors=errors)


def _share_out(
    relevance: Float[Tensor, "explained position"], question: Question, known: tuple[int, ...] | None
) -> Scores:
    sums, values = relevance.sum(-1).double(), question.values.double()
    conserved = tuple(
        Completeness(total - value, value, abs((total - value) / value) if value else None, 0.0, 1, True)
        for total, value in zip(sums.tolist(), values.tolist(), strict=True)
    )
    scores = relevance.abs() if question.settings.aggregate == "l2" else relevance
    return Scores(scores, completeness=conserved, known=known, relevance=relevance)


def _score_hidden(hidden: Float[Tensor, "some_groups explained"], question: Question) -> Scores:
    scores, without = share_among_tokens(hidden, question)
    n_groups = len(hidden) if len(hidden) < len(question.groups) else None
    # Of one number `l2` is its magnitude.
    return Scores(scores.abs() if question.settings.aggregate == "l2" else scores, without, n_groups=n_groups)


def share_among_tokens(
    hidden: Float[Tensor, "some_groups explained"], question: Question
) -> tuple[Float[Tensor, "explained position"], Float[Tensor, "explained position"]]:
    """The drop of each group shared equally among its tokens that the explained one could see, and the scalar without
    that group. A group that is the baseline already drops nothing, whatever is left of rounding."""
    values = question.values
    without = values.unsqueeze(1).repeat(1, question.embedded.shape[0])
    drops = values.new_zeros(len(values), len(hidden))
    groups = question.groups[: len(hidden)]
    for number, group in enumerate(groups):
        if not _changes(question, group):
            continue
        drops[:, number] = values - hidden[number]
        for row, positions in enumerate(question.seen):
            without[row, _visible(group, positions)] = hidden[number, row]
    return _spread(drops, groups, question), without


def _spread(
    numbers: Float[Tensor, "explained some_groups"], groups: Sequence[Sequence[int]], question: Question
) -> Float[Tensor, "explained position"]:
    """Each group's number shared equally among its tokens that the explained one sees."""
    spread = numbers.new_zeros(len(numbers), question.embedded.shape[0])
    for row, positions in enumerate(question.seen):
        for number, group in enumerate(groups):
            visible = _visible(group, positions)
            spread[row, visible] = numbers[row, number] / max(1, len(visible))
    return spread


def _visible(group: Sequence[int], positions: Sequence[int]) -> list[int]:
    return sorted(set(group).intersection(positions))


def _changes(question: Question, group: Sequence[int]) -> bool:
    """Whether anything is hidden with a group: it is not the baseline already."""
    places = list(group)
    return bool((question.embedded[places] != question.baseline[places]).any())
