"""Which earlier tokens drove each predicted token."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from analyzers.common.errors import InputError
from analyzers.common.progress import Progress
from analyzers.common.sentences import Sentence
from analyzers.common.settings import Aggregate, Baseline, Method, SaliencySettings, Target
from analyzers.common.tokens import Token, word_numbers
from analyzers.methods.attribution import SimilarityObjective, TokenObjective, evaluate, gradients, occlude
from analyzers.methods.integrated_gradients import (
    Completeness,
    aggregate_dimensions,
    integrate_until_converged,
    tokens_at_once,
)
from analyzers.models.completion import Completion, NamedToken, resolve_token
from analyzers.models.language_model import LanguageModel


@dataclass(frozen=True, eq=False)
class Saliency:
    """Scores of every earlier token for every explained token.

    A reading of one number's sensitivity, not of what the model "thinks": methods disagree, and position embeddings
    are not attributed (only token embeddings are).
    """

    tokens: tuple[Token, ...]
    n_prompt: int
    explained: tuple[int, ...]
    """Positions of the explained tokens. The likeness of two texts (an encoder) stands after the last token."""
    said: tuple[Token, ...]
    """The explained tokens: what a masked model says where a token is hidden."""
    seen: tuple[tuple[int, ...], ...]
    """Per explained token the positions that it rests on: the earlier ones, or (masked) all that is not hidden."""
    method: Method
    target: Target
    contrast: NamedToken | None
    baseline: Baseline
    baseline_text: str | None
    """The baseline token, where `baseline` is `token`."""
    aggregate: Aggregate
    whole_words: bool
    scores: Float[np.ndarray, "explained position"]
    """0 at positions that are not `seen`. `l2`: unsigned magnitudes; `sum`: signed."""
    shares: Float[np.ndarray, "explained position"] | None
    """Rows of `scores` divided by their sum (a row of zeros stays zero); None for `sum`."""
    values: Float[np.ndarray, " explained"]
    """The explained scalar itself, f(x)."""
    hidden_values: Float[np.ndarray, "explained position"] | None
    """Occlusion only: the scalar with that token (or its word) hidden; f(x) at positions that are not `seen`."""
    completeness: tuple[Completeness | None, ...]
    """Integrated gradients only, else None for each token."""
    tolerance: float
    notes: tuple[Sentence, ...]

    def row_of(self, position: int) -> int:
        """Row of an explained token. Raises InputError for a position that is not explained."""
        if position not in self.explained:
            first, last = self.explained[0], self.explained[-1]
            raise InputError("position_not_explained", position=position, first=first, last=last)
        return self.explained.index(position)

    @property
    def signs(self) -> Float[np.ndarray, "explained position"]:
        """+1 where the token supports the target, −1 where it works against it; +1 for unsigned methods."""
        if self.hidden_values is not None:
            return np.where(self.hidden_values > self.values[:, None], -1.0, 1.0)
        return np.where(self.scores < 0, -1.0, 1.0)

    @property
    def is_signed(self) -> bool:
        return self.aggregate == "sum" or self.hidden_values is not None


def compute_saliency(
    model: LanguageModel, completion: Completion, settings: SaliencySettings
) -> Iterator[Progress[Saliency]]:
    """Scores of the tokens that each predicted token rests on, all of them from shared forwards: the earlier tokens of a
    causal model, source and target of a seq2seq model, both sides of a hidden token (itself held as it is). For an
    encoder the scalar is the cosine of its vectors of the text and of a second one (mean over the last hidden states).

    - occlusion: the drop of the target when a token's embedding becomes the baseline's (leave one out).
    - gradient: ‖∇‖₂ (Simonyan et al. 2014); input-x-gradient: ‖x∘∇‖₂ or its signed sum (Shrikumar et al. 2017).
    - integrated-gradients (Sundararajan et al. 2017), with completeness and the convergence of the map.

    Computed in the model's precision (float32). Yields between chunks of about a second; integrated gradients show one
    token early (`settings.first`, else the first). Raises InputError where nothing is to be explained or a number is not finite.
    """
    explained = _explained(completion)
    if completion.kind == "encoder":
        if settings.contrast is not None:
            raise InputError("no_contrast_here")
        settings = replace(settings, target="similarity")
    contrast = None if settings.contrast is None else resolve_token(model, settings.contrast, "contrast")
    if contrast is not None:
        settings = replace(settings, target="contrast")
    order = list(explained)
    first = order[0] if settings.first is None else settings.first
    if first not in explained:
        raise InputError("position_not_explained", position=first, first=order[0], last=order[-1])
    early = [first] if settings.method == "integrated-gradients" and len(order) > 1 else []
    parts: list[_Part] = []
    rest = [p for p in order if p not in early]
    size = tokens_at_once(model, completion.n_positions) if settings.method == "integrated-gradients" else len(rest)
    batches = [batch for batch in (early, *(rest[i : i + size] for i in range(0, len(rest), size))) if batch]
    done = 0
    for batch in batches:
        for step in _explain(model, completion, tuple(batch), settings, contrast):
            fraction = (done + step.fraction * len(batch)) / len(order)
            if step.result is not None:
                parts.append(step.result)
                yield Progress(fraction, _assembled(model, completion, parts, settings, contrast))
            else:
                yield Progress(min(fraction, 0.999))
        done += len(batch)


@dataclass(frozen=True, eq=False)
class _Part:
    """Some explained tokens and their numbers."""

    explained: tuple[int, ...]
    scores: Float[Tensor, "explained position"]
    values: Float[Tensor, " explained"]
    hidden_values: Float[Tensor, "explained position"] | None
    completeness: tuple[Completeness | None, ...]


def _explain(
    model: LanguageModel,
    completion: Completion,
    explained: tuple[int, ...],
    settings: SaliencySettings,
    contrast: NamedToken | None,
) -> Iterator[Progress[_Part]]:
    seen = tuple(completion.seen_from(position) for position in explained)
    ids = completion.ids[: max(map(max, seen)) + 1]  # nothing after the last explained token's predecessor matters
    if completion.kind == "masked":
        ids = completion.ids
    embedded = model.embed(ids, completion.n_source)
    baseline = baseline_embedding(model, settings.baseline, ids, completion.n_source)
    held = sorted(set(range(len(ids))).difference(*seen))
    baseline[held] = embedded[held]  # what is hidden is the objective: it stays as it is
    objective = _question(model, completion, ids, explained, settings, contrast)
    values = evaluate(model, embedded.unsqueeze(0), objective)[0]
    nothing: tuple[Completeness | None, ...] = (None,) * len(explained)
    if settings.method == "occlusion":
        groups = _groups([completion.tokens[p] for p in range(len(ids)) if p not in held], settings.whole_words)
        for step in occlude(model, embedded, baseline, objective, groups):
            if step.result is None:
                yield Progress(step.fraction)
            else:
                scores, hidden = _spread(step.result, groups, values, seen, len(ids))
                if settings.aggregate == "l2":  # of one number: its magnitude
                    scores = scores.abs()
                yield Progress(1.0, _Part(explained, scores, values, hidden, nothing))
    elif settings.method == "integrated-gradients":
        for each in integrate_until_converged(model, embedded, baseline, objective, values, settings):
            part = None
            if each.result is not None:
                part = _Part(explained, each.result.scores, values, None, each.result.completeness)
            yield Progress(each.fraction, part)
    else:
        scores = embedded.new_zeros(len(explained), embedded.shape[0])
        for some, gradient in gradients(model, embedded.unsqueeze(0), objective):
            attributions = gradient[:, 0]
            if settings.method == "input-x-gradient":
                attributions = attributions * embedded
            scores[some] = aggregate_dimensions(attributions, settings.aggregate)
            scores[some][:, held] = 0
            yield Progress(some.stop / len(explained) * 0.999)
        yield Progress(1.0, _Part(explained, scores, values, None, nothing))


def _explained(completion: Completion) -> tuple[int, ...]:
    """Positions of what is explained. Raises InputError where there is nothing."""
    if completion.kind == "encoder":
        if not completion.second:
            raise InputError("needs_second_text", model=completion.model)
        return (completion.n_positions,)
    if not completion.outputs:
        if completion.kind == "masked":
            raise InputError("no_mask", model=completion.model)
        raise InputError("nothing_to_explain")
    return tuple(token.position for token in completion.outputs)


def _question(
    model: LanguageModel,
    completion: Completion,
    ids: Sequence[int],
    explained: tuple[int, ...],
    settings: SaliencySettings,
    contrast: NamedToken | None,
) -> TokenObjective | SimilarityObjective:
    text = torch.tensor(ids, device=model.device)
    if completion.kind == "encoder":
        second = torch.tensor([[token.id for token in completion.second]], device=model.device)
        with torch.no_grad():
            return SimilarityObjective(text, model.pooled(second)[0])
    said = {token.position: token.id for token in completion.outputs}
    rows = torch.tensor([completion.row_of(p) for p in explained], device=model.device)
    targets = torch.tensor([said[p] for p in explained], device=model.device)
    contrast_id = contrast.id if contrast else None
    return TokenObjective(text, rows, targets, settings.target, contrast_id, completion.n_source)


def baseline_embedding(
    model: LanguageModel, baseline: Baseline, ids: Sequence[int], n_source: int = 0
) -> Float[Tensor, "position d_model"]:
    """What stands for an absent token at each position, as the embedding layer would give it."""
    if baseline == "mean":
        return model.mean_embedding(len(ids), n_source).to(model.embed(ids[:1], min(1, n_source))).clone()
    absent = model.embed([model.baseline_id] * len(ids), n_source)
    return torch.zeros_like(absent) if baseline == "zero" else absent


def _groups(tokens: Sequence[Token], whole_words: bool) -> list[list[int]]:
    if not whole_words:
        return [[token.position] for token in tokens]
    groups: dict[int, list[int]] = {}
    for token, number in zip(tokens, word_numbers(tokens), strict=True):
        groups.setdefault(number, []).append(token.position)
    return list(groups.values())


def _spread(
    hidden: Float[Tensor, "group target"],
    groups: list[list[int]],
    values: Float[Tensor, " target"],
    seen: tuple[tuple[int, ...], ...],
    n_positions: int,
) -> tuple[Float[Tensor, "target position"], Float[Tensor, "target position"]]:
    """The drop of each group shared equally among its tokens that the target could see, and the value without it."""
    scores = values.new_zeros(len(values), n_positions)
    without = values.unsqueeze(1).repeat(1, n_positions)
    for number, group in enumerate(groups):
        for t, positions in enumerate(seen):
            both = sorted(set(group).intersection(positions))
            for position in both:
                scores[t, position] = (values[t] - hidden[number, t]) / len(both)
                without[t, position] = hidden[number, t]
    return scores, without


def _likeness_token(completion: Completion) -> tuple[Token, ...]:
    """What stands for the likeness of an encoder's two texts: a place after the last token that names the second."""
    if not completion.second:
        return ()
    glyphs = [token for token in completion.second if not token.special and token.glyph_start == token.position]
    text = "≈" + "".join(token.glyph_text for token in glyphs)
    return (Token(completion.n_positions, -1, text, True, completion.n_positions, text),)


def _assembled(
    model: LanguageModel,
    completion: Completion,
    parts: list[_Part],
    settings: SaliencySettings,
    contrast: NamedToken | None,
) -> Saliency:
    """The parts in order of position, as plain numpy. Raises InputError for a number that is not finite."""
    width = max(part.scores.shape[1] for part in parts)

    def joined(rows: list[tuple[int, Tensor]]) -> np.ndarray:
        rows.sort(key=lambda row: row[0])
        padded = [torch.nn.functional.pad(row, (0, width - len(row)), value=0.0) for _, row in rows]
        return torch.stack(padded).double().cpu().numpy()

    scores = joined([(p, part.scores[i]) for part in parts for i, p in enumerate(part.explained)])
    seen = tuple(completion.seen_from(p) for p in sorted(p for part in parts for p in part.explained))
    for row, positions in enumerate(seen):
        scores[row, sorted(set(range(width)).difference(positions))] = 0.0
    values = {p: float(part.values[i]) for part in parts for i, p in enumerate(part.explained)}
    found = {p: part.completeness[i] for part in parts for i, p in enumerate(part.explained)}
    explained = tuple(sorted(values))
    said = {token.position: token for token in (*completion.outputs, *_likeness_token(completion))}
    hidden = None
    if parts[0].hidden_values is not None:
        hidden = joined(
            [
                (p, part.hidden_values[i])
                for part in parts
                if part.hidden_values is not None
                for i, p in enumerate(part.explained)
            ]
        )
    numbers = [scores, np.array(list(values.values())), *([] if hidden is None else [hidden])]
    errors = [x for c in found.values() if c is not None for x in (c.error, c.total, c.map_change)]
    if not all(np.isfinite(array).all() for array in [*numbers, np.array(errors)]):
        raise InputError("not_finite", what="the saliency")
    totals = scores.sum(1, keepdims=True)
    shares = (
        np.divide(scores, totals, out=np.zeros_like(scores), where=totals > 0) if settings.aggregate == "l2" else None
    )
    notes = [] if contrast is None or contrast.note is None else [contrast.note]
    if contrast is not None:
        same = [p for p in explained if said[p].id == contrast.id]
        notes += [Sentence.of("contrast_same", text=contrast.text, id=contrast.id, position=p) for p in same[:1]]
    failed = [c for c in found.values() if c is not None and not c.converged]
    if failed:
        points = max(c.points for c in failed)
        tolerance = f"{settings.tolerance:.0%}"
        notes.append(
            Sentence.of("not_converged", n=len(failed), total=len(explained), points=points, tolerance=tolerance)
        )
    return Saliency(
        tokens=completion.tokens,
        n_prompt=completion.n_prompt,
        explained=explained,
        said=tuple(said[p] for p in explained),
        seen=seen,
        method=settings.method,
        target=settings.target,
        contrast=contrast,
        baseline=settings.baseline,
        baseline_text=model.reader.read([model.baseline_id])[0].text if settings.baseline == "token" else None,
        aggregate=settings.aggregate,
        whole_words=settings.whole_words,
        scores=scores,
        shares=shares,
        values=np.array([values[p] for p in explained]),
        hidden_values=hidden,
        completeness=tuple(found[p] for p in explained),
        tolerance=settings.tolerance,
        notes=tuple(notes),
    )
