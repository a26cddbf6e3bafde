"""Which earlier tokens drove each predicted token."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from analyzers.common.errors import InputError
from analyzers.common.functions import load_function
from analyzers.common.methods import METHODS, Method
from analyzers.common.progress import Progress, later
from analyzers.common.sentences import Sentence
from analyzers.common.settings import Aggregate, Baseline, Objective, SaliencySettings
from analyzers.common.tokens import Token
from analyzers.methods.asking import Question, ask, groups_of, scalar_of
from analyzers.methods.integrated_gradients import Completeness, tokens_at_once
from analyzers.methods.scoring import Scores
from analyzers.models.completion import Completion
from analyzers.models.language_model import LanguageModel
from analyzers.models.prompt import NamedToken, resolve_token


@dataclass(frozen=True, eq=False)
class Saliency:
    """Scores of every earlier token for every explained token.

    A reading of one number's sensitivity, not of what the model "thinks": methods disagree, and position embeddings
    are not attributed (only token embeddings are).
    """

    tokens: tuple[Token, ...]
    n_prompt: int
    explained: tuple[int, ...]
    """Positions of the explained tokens. The similarity of two texts (an encoder) stands after the last token."""
    explained_tokens: tuple[Token, ...]
    """What a masked model says where a token is hidden."""
    seen: tuple[tuple[int, ...], ...]
    """Per explained token the positions that it rests on: the earlier ones, or (masked) all that is not hidden."""
    method: str
    """A row of `METHODS`."""
    objective: Objective
    contrast: NamedToken | None
    baseline: Baseline
    baseline_text: str | None
    """The baseline token, where `baseline` is `token`."""
    aggregate: Aggregate
    whole_words: bool
    groups: tuple[tuple[int, ...], ...]
    """Positions that were scored as one: the tokens of a word where whole words were hidden, else each token alone."""
    scores: Float[np.ndarray, "explained position"]
    """0 at positions that are not `seen`. `l2`: unsigned magnitudes; `sum`: signed."""
    shares: Float[np.ndarray, "explained position"] | None
    """Rows of `scores` divided by their sum (a row of zeros stays zero); None for `sum`."""
    values: Float[np.ndarray, " explained"]
    """The explained scalar itself, f(x)."""
    hidden_values: Float[np.ndarray, "explained position"] | None
    """Occlusion only: the scalar with that token (or its word) hidden; f(x) at positions that are not `seen`."""
    relevance: Float[np.ndarray, "explained position"] | None
    """AttnLRP and Shapley only: each token's part of the scalar, with its sign."""
    errors: Float[np.ndarray, "explained position"] | None
    """Shapley only: half the width of an interval around each score; all of an explained token's hold together, 95 times
    in 100. 0 where the value is exact."""
    completeness: tuple[Completeness | None, ...]
    """Integrated gradients and Shapley against f(x) − f(x′), AttnLRP against f(x) itself; else None for each token."""
    missing: Sentence | None
    """What is not known yet, in words; None for a whole result."""
    notes: tuple[Sentence, ...]

    def row_of(self, position: int) -> int:
        """Row of an explained token. Raises InputError for a position that is not explained."""
        if position not in self.explained:
            first, last = self.explained[0], self.explained[-1]
            raise InputError("position_not_explained", position=position, first=first, last=last)
        return self.explained.index(position)

    def seen_groups(self, row: int) -> list[tuple[int, ...]]:
        """What an explained token rests on, tokens that were scored as one together."""
        seen = set(self.seen[row])
        return [kept for group in self.groups if (kept := tuple(p for p in group if p in seen))]

    @property
    def signs(self) -> Float[np.ndarray, "explained position"]:
        """+1 where the token supports the target, −1 where it works against it; +1 for unsigned methods."""
        if self.hidden_values is not None:
            return np.where(self.hidden_values > self.values[:, None], -1.0, 1.0)
        if self.relevance is not None:
            return np.where(self.relevance < 0, -1.0, 1.0)
        return np.where(self.scores < 0, -1.0, 1.0)

    @property
    def is_signed(self) -> bool:
        return self.aggregate == "sum" or self.hidden_values is not None or self.relevance is not None

    @property
    def share_errors(self) -> Float[np.ndarray, "explained position"] | None:
        """The errors on the scale of the shares."""
        if self.errors is None or self.shares is None:
            return None
        totals = self.scores.sum(1, keepdims=True)
        return np.asarray(self.errors / np.where(totals > 0, totals, 1.0))


def compute_saliency(
    model: LanguageModel, completion: Completion, settings: SaliencySettings
) -> Iterator[Progress[Saliency]]:
    """Scores of the tokens that each predicted token rests on, all of them from shared forwards: the earlier tokens of a
    causal model, source and target of a seq2seq model, both sides of a hidden token (itself held as it is). For an
    encoder the scalar is the cosine of its vectors of the text and of a second one (mean over the last hidden states).

    - occlusion: the drop of the target when a token's embedding becomes the baseline's (leave one out).
    - gradient: ‖∇‖₂ (Simonyan et al. 2014); input-x-gradient: ‖x∘∇‖₂ or its signed sum (Shrikumar et al. 2017).
    - integrated-gradients (Sundararajan et al. 2017), with completeness and the convergence of the map.
    - shapley (Shapley 1953; Štrumbelj & Kononenko 2010): a token's fair share of f(x) − f(x′), with the error of sampling.
    - attn-lrp (Achtibat et al. 2024; Arras et al. 2025): the logit shared out among the tokens, with how far it adds up.

    Computed in the model's precision (float32). Yields between chunks of about a second; integrated gradients show one
    token early (`settings.first`, else the first). Raises InputError where nothing is to be explained or a number is not finite.

    Arguments:
        model: whose tokens are explained.
        completion: from `complete`; its outputs are explained.
        settings: method, objective, baseline, points; see `SaliencySettings`.
    """
    explained = _explained_positions(completion)
    if not completion.kind.predicts and settings.contrast is not None:
        raise InputError("no_contrast_here")
    contrast = None if settings.contrast is None else resolve_token(model, settings.contrast, "contrast")
    first = find_explained(completion, settings.first)
    batches = _batches(model, completion, explained, first, METHODS[settings.method])
    yield from _explain(model, completion, settings, contrast, batches)


def explain_token(
    model: LanguageModel, completion: Completion, settings: SaliencySettings, position: int
) -> Iterator[Progress[Saliency]]:
    """`compute_saliency` of one predicted token alone."""
    contrast = None if settings.contrast is None else resolve_token(model, settings.contrast, "contrast")
    yield from _explain(model, completion, settings, contrast, [(position,)])


def _explain(
    model: LanguageModel,
    completion: Completion,
    settings: SaliencySettings,
    contrast: NamedToken | None,
    batches: Sequence[tuple[int, ...]],
) -> Iterator[Progress[Saliency]]:
    explained = tuple(sorted(position for batch in batches for position in batch))
    partial = PartialSaliency(model, completion, settings, contrast, explained)
    n_done = 0
    for batch in batches:
        question = ask(model, completion, batch, settings, contrast)
        for step in load_function(METHODS[settings.method].function)(question):
            fraction = (n_done + step.fraction * len(batch)) / len(explained)
            if step.result is not None:
                yield Progress(fraction, partial.take_and_build(batch, question, step.result))
            elif step.make_result is not None:
                take = functools.partial(partial.take_and_build, batch, question)
                yield Progress(min(fraction, 0.999), make_result=later(step.make_result, take))
            else:
                yield Progress(min(fraction, 0.999))
        n_done += len(batch)


def _batches(
    model: LanguageModel, completion: Completion, explained: tuple[int, ...], first: int, method: Method
) -> list[tuple[int, ...]]:
    """Which explained tokens are taken together: all, or where that takes long the first one early and then some at a
    time."""
    if not method.reads_in_batches:
        return [(first, *(position for position in explained if position != first))]
    early = (first,) if len(explained) > 1 else ()
    rest = [position for position in explained if position not in early]
    size = tokens_at_once(model, completion.n_positions)
    return [batch for batch in (early, *(tuple(rest[i : i + size]) for i in range(0, len(rest), size))) if batch]


def _explained_positions(completion: Completion) -> tuple[int, ...]:
    """Positions of what is explained. Raises InputError where there is nothing."""
    if not completion.kind.predicts:
        if not completion.second:
            raise InputError("needs_second_text", model=completion.model)
        return (completion.n_positions,)
    if not completion.outputs:
        if completion.kind.fills_masks:
            raise InputError("no_mask", model=completion.model)
        raise InputError("nothing_to_explain")
    return tuple(token.position for token in completion.outputs)


def find_explained(completion: Completion, position: int | None) -> int:
    """The position of an explained token, of the first where none is named. Raises InputError for one that is not explained."""
    explained = _explained_positions(completion)
    if position is not None and position not in explained:
        raise InputError("position_not_explained", position=position, first=explained[0], last=explained[-1])
    return explained[0] if position is None else position


def _similarity_token(completion: Completion) -> tuple[Token, ...]:
    """What stands for the similarity of an encoder's two texts: a place after the last token that names the second."""
    if not completion.second:
        return ()
    glyphs = [token for token in completion.second if not token.special and token.glyph_start == token.position]
    text = "≈" + "".join(token.glyph_text for token in glyphs)
    return (Token(completion.n_positions, -1, text, True, completion.n_positions, text),)


class PartialSaliency:
    """The numbers of the tokens explained so far: a row for each explained token, filled in as they come."""

    def __init__(
        self,
        model: LanguageModel,
        completion: Completion,
        settings: SaliencySettings,
        contrast: NamedToken | None,
        explained: tuple[int, ...],
    ) -> None:
        self._model, self._completion, self._settings, self._contrast = model, completion, settings, contrast
        self._explained = explained
        self._seen = tuple(completion.positions_seen_from(position) for position in explained)
        shape = len(explained), max(map(max, self._seen)) + 1
        self._is_ready = np.zeros(shape[0], dtype=bool)
        self._scores, self._hidden, self._values = np.zeros(shape), np.zeros(shape), np.zeros(shape[0])
        self._relevance, self._errors = np.zeros(shape), np.zeros(shape)
        self._completeness: list[Completeness | None] = [None] * shape[0]
        self._hidden_so_far: set[int] | None = None  # None where all were

    def take_and_build(self, batch: tuple[int, ...], question: Question, scored: Scores) -> Saliency:
        """What is known by now. Raises InputError for a number that is not finite."""
        self.take(batch, question, scored)
        return self.build()

    def take(self, batch: tuple[int, ...], question: Question, scored: Scores) -> None:
        """Raises InputError for a number that is not finite."""
        self._hidden_so_far = None
        if scored.n_groups is not None:
            self._hidden_so_far = {p for group in question.groups[: scored.n_groups] for p in group}
        width = question.embedded.shape[0]
        values = question.values.double().cpu().numpy()
        for i, position in enumerate(batch):
            if scored.known is not None and i not in scored.known:
                continue
            row = self._explained.index(position)
            self._values[row] = values[i]
            self._hidden[row] = values[i]
            self._is_ready[row] = True
            if scored.completeness is not None:
                self._completeness[row] = scored.completeness[i]
            seen = list(self._seen[row])
            self._scores[row, seen] = scored.scores[i].double().cpu().numpy()[seen]
            if scored.relevance is not None:
                self._relevance[row, seen] = scored.relevance[i].double().cpu().numpy()[seen]
            if scored.errors is not None:
                self._errors[row, seen] = scored.errors[i].double().cpu().numpy()[seen]
            if scored.hidden_values is not None:
                self._hidden[row, :width] = scored.hidden_values[i].double().cpu().numpy()
        sums = [x for c in self._completeness if c is not None for x in (c.error, c.total, c.map_change)]
        if not all(
            np.isfinite(numbers).all() for numbers in (self._scores, self._errors, self._hidden, self._values, sums)
        ):
            raise InputError("not_finite", what="the saliency")

    def build(self) -> Saliency:
        """What is known by now."""
        settings, contrast, model = self._settings, self._contrast, self._model
        method = METHODS[settings.method]
        ready = np.flatnonzero(self._is_ready).tolist()
        explained = tuple(self._explained[row] for row in ready)
        scores = self._scores[ready]
        totals = scores.sum(1, keepdims=True)
        shares = np.divide(scores, totals, out=np.zeros_like(scores), where=totals > 0)
        outputs = (*self._completion.outputs, *_similarity_token(self._completion))
        token_at = {token.position: token for token in outputs}
        explained_tokens = tuple(token_at[position] for position in explained)
        completeness = tuple(self._completeness[row] for row in ready)
        objective = scalar_of(settings, contrast)
        return Saliency(
            tokens=self._completion.tokens,
            n_prompt=self._completion.n_prompt,
            explained=explained,
            explained_tokens=explained_tokens,
            seen=tuple(self._known(self._seen[row]) for row in ready),
            method=settings.method,
            objective=objective if self._completion.kind.predicts else "similarity",
            contrast=contrast,
            baseline=settings.baseline,
            baseline_text=model.tokens_of([model.baseline_id])[0].text if settings.baseline == "token" else None,
            aggregate=settings.aggregate,
            whole_words=settings.whole_words,
            groups=self._groups(),
            scores=scores,
            shares=shares if settings.aggregate == "l2" else None,
            values=self._values[ready],
            hidden_values=self._hidden[ready] if method.hides_alone else None,
            relevance=self._relevance[ready] if method.shares_out or method.samples else None,
            errors=self._errors[ready] if method.samples else None,
            completeness=completeness,
            missing=self._missing(),
            notes=_notes(contrast, explained_tokens, completeness, settings),
        )

    def _groups(self) -> tuple[tuple[int, ...], ...]:
        positions = sorted({position for seen in self._seen for position in seen})
        together = self._settings.whole_words and METHODS[self._settings.method].hides_tokens
        return tuple(map(tuple, groups_of([self._completion.tokens[p] for p in positions], together)))

    def _known(self, seen: tuple[int, ...]) -> tuple[int, ...]:
        return seen if self._hidden_so_far is None else tuple(p for p in seen if p in self._hidden_so_far)

    def _missing(self) -> Sentence | None:
        if self._hidden_so_far is not None:
            every = {position for seen in self._seen for position in seen}
            return Sentence.of("tokens_not_hidden", n=len(every - self._hidden_so_far), total=len(every))
        n_missing = int((~self._is_ready).sum())
        n_rough = sum(c is not None and c.rough for c in self._completeness)
        if not n_missing and not n_rough:
            return None
        return Sentence.of("maps_missing", n=n_missing, total=len(self._explained), rough=n_rough)


def _notes(
    contrast: NamedToken | None,
    explained: Sequence[Token],
    completeness: Sequence[Completeness | None],
    settings: SaliencySettings,
) -> tuple[Sentence, ...]:
    notes = [] if contrast is None or contrast.note is None else [contrast.note]
    if contrast is not None:
        same = [token.position for token in explained if token.id == contrast.id]
        notes += [Sentence.of("contrast_same", text=contrast.text, id=contrast.id, position=p) for p in same[:1]]
    failed = [c for c in completeness if c is not None and not c.converged and not c.rough]
    if failed:
        points, tolerance = max(c.points for c in failed), f"{settings.most_error:.0%}"
        values = {"n": len(failed), "total": len(explained), "points": points, "tolerance": tolerance}
        key = "sampled_too_little" if METHODS[settings.method].samples else "not_converged"
        notes.append(Sentence.of(key, **values))
    return tuple(notes)
