"""How the tokens of a text, and tokens that the user names, rank at each layer."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from analyzers.common.errors import InputError
from analyzers.common.progress import Progress
from analyzers.common.sentences import Sentence
from analyzers.common.settings import RankingsSettings
from analyzers.common.tokens import Token
from analyzers.methods.lens import (
    LayerNumber,
    Logits,
    find_predicted_position,
    layers_read,
    lens_logits,
    log_probability,
    rank_and_ties,
)
from analyzers.models.completion import Completion
from analyzers.models.language_model import LanguageModel
from analyzers.models.prompt import NamedToken, resolve_token


@dataclass(frozen=True, eq=False)
class Watch:
    """Named tokens, ranked against each other at one position."""

    position: int
    """Of the predicted token; read off the position before."""
    tokens: tuple[NamedToken, ...]
    """What the words resolved to, each id once."""
    ranks: Int[np.ndarray, "layer watched"]
    """As in `Rankings`."""
    ties: Int[np.ndarray, "layer watched"]
    probability: Float[np.ndarray, "layer watched"]
    """0 to 1, a softmax over the whole vocabulary."""


@dataclass(frozen=True, eq=False)
class Rankings:
    """How soon the model settles on each token. Row i of every array is `layers[i]`; the last is the model's own output.

    A rough reading: no layer but the last was trained to be decoded (nostalgebraist 2020; Belrose et al. 2023, arXiv
    2303.08112).
    """

    tokens: tuple[Token, ...]
    n_prompt: int
    offset: int
    """A position is read so far before it: 1, or 0 in a masked model."""
    outputs: tuple[Token, ...]
    """The tokens after the prompt, or what stands for the hidden ones; empty where there are none."""
    layers: tuple[LayerNumber, ...]
    """Numbers of the blocks; l − 0.5 is the stream after the attention of block l."""
    ranks: Int[np.ndarray, "layer output"]
    """1 + the number of vocabulary entries with a higher logit: 1 is the likeliest; ties share the better rank."""
    ties: Int[np.ndarray, "layer output"]
    """How many *other* vocabulary entries have exactly the same logit."""
    log_probability: Float[np.ndarray, " output"]
    """Nats, at the last layer."""
    commitment: tuple[LayerNumber | None, ...]
    """Per output the first layer from which its rank stays 1; None where it does not end at 1."""
    predicted: tuple[Token, ...]
    """Every token that something predicts (not a causal model's first, not a source's): what the two below are about."""
    commitment_all: tuple[LayerNumber | None, ...] | None
    """Per predicted token; None in an early result, while the prompt is still being read."""
    log_probability_all: Float[np.ndarray, " predicted"] | None
    """Likewise; nats, at the last layer."""
    watch: Watch | None
    final_norm: bool
    self_check: float
    """|lens at the last layer − the model's own logits|, the largest over up to 16 positions; rounding."""
    missing: Sentence | None = None
    """What is not known yet, in words; None for a whole result."""
    notes: tuple[Sentence, ...] = ()


def rank_at_each_layer(
    model: LanguageModel, completion: Completion, settings: RankingsSettings
) -> Iterator[Progress[Rankings]]:
    """Read the next token off every layer, and rank the one that stands there.

    One forward over the completion's own ids, then norm and head in chunks, in float32. The outputs and the watched
    words are read first and yielded as an early result; then the prompt. Raises InputError for a word that is empty,
    for too many of them, for a position that there is not, and for logits that are not finite.

    Arguments:
        model: whose layers are read.
        completion: from `complete`.
        settings: the words to watch, and where; see `RankingsSettings`.
    """
    position = _position(completion, settings)
    watched, notes = _resolve(model, settings.watch)
    if not settings.final_norm:
        notes = (*notes, Sentence.of("read_without_norm"))
    first = [token.position for token in completion.outputs]
    if watched and position not in first:
        first.append(position)
    written = [p for p in completion.predictable_positions if p < completion.n_positions]
    order = [*first, *(p for p in written if p not in first)]
    if not order:
        raise InputError("nothing_to_explain")
    layers = layers_read(model.facts.n_layers, after_attention=settings.after_attention)
    accumulator = RankAccumulator(model, completion, order, watched, position, layers)
    yield Progress(0.0)
    is_early_due = 0 < len(first) < len(order)
    for chunk in lens_logits(model, completion, order, layers, accumulator.rank_rows, final_norm=settings.final_norm):
        accumulator.self_check = chunk.self_check
        if chunk.fraction == 1:
            yield Progress(1.0, accumulator.build(settings, notes, len(order)))
        elif is_early_due and chunk.rows.stop >= len(first):
            is_early_due = False
            yield Progress(chunk.fraction, accumulator.build(settings, notes, chunk.rows.stop))
        elif is_early_due and not completion.outputs:
            yield Progress(chunk.fraction)
        else:
            n_read = chunk.rows.stop
            yield Progress(chunk.fraction, make_result=partial(accumulator.build, settings, notes, n_read))


def commitment_layer(
    ranks: Int[np.ndarray, "layer token"], layers: Sequence[LayerNumber]
) -> tuple[LayerNumber | None, ...]:
    """Per token the first layer from which its rank stays 1, or None where the last rank is not 1."""
    stays = np.logical_and.accumulate((ranks == 1)[::-1], axis=0)[::-1]
    return tuple(layers[int(column.argmax())] if column[-1] else None for column in stays.T)


def _position(completion: Completion, settings: RankingsSettings) -> int:
    """Where words are watched. A text that hides nothing is ranked all the same, so there it need not be anywhere."""
    if completion.kind.fills_masks and not completion.outputs and settings.position is None and not settings.watch:
        return 0
    return find_predicted_position(completion, settings.position)


def _resolve(model: LanguageModel, words: tuple[str, ...]) -> tuple[tuple[NamedToken, ...], tuple[Sentence, ...]]:
    named = [resolve_token(model, word, "watch") for word in dict.fromkeys(words)]
    once = {token.id: token for token in reversed(named)}  # the first word of an id names it
    notes = [token.note for token in named if token.note is not None]
    return tuple(once[id] for id in dict.fromkeys(token.id for token in named)), tuple(notes)


class RankAccumulator:
    """The small numbers gathered so far, columns by position of the predicted token; row 0 is the embedding row."""

    def __init__(
        self,
        model: LanguageModel,
        completion: Completion,
        order: list[int],
        watched: tuple[NamedToken, ...],
        position: int,
        layers: tuple[LayerNumber, ...],
    ) -> None:
        n_rows, n = len(layers), completion.n_positions
        self.layers = layers[1:]
        self.completion, self.order, self.watched, self.position = completion, order, watched, position
        # The token after the last was never written: its column is filled for a made-up id and never shown.
        answer_ids = {token.position: token.id for token in completion.outputs}
        ids = [answer_ids.get(position, id) for position, id in enumerate(completion.ids)]
        self.ids = torch.tensor([*ids, 0], device=model.device)
        self.ranks = np.zeros((n_rows, n + 1), dtype=np.int64)
        self.ties = np.zeros((n_rows, n + 1), dtype=np.int64)
        self.log_probability = np.zeros(n + 1)
        self.watch_ranks = np.zeros((n_rows, len(watched)), dtype=np.int64)
        self.watch_ties = np.zeros((n_rows, len(watched)), dtype=np.int64)
        self.watch_probability = np.zeros((n_rows, len(watched)))
        self.self_check = 0.0

    def rank_rows(self, rows: slice, logits: Logits) -> None:
        """Of some rows of `order`, each of which is ranked once: safe in several threads."""
        positions = self.order[rows]
        targets = self.ids[positions].to(logits.device)
        ranks, ties = rank_and_ties(logits, targets.unsqueeze(1).expand(logits.shape[:2]))
        self.ranks[:, positions] = ranks.T.cpu().numpy()
        self.ties[:, positions] = ties.T.cpu().numpy()
        self.log_probability[positions] = log_probability(logits[:, -1], targets).double().cpu().numpy()
        if self.watched and self.position in positions:
            self._take_watched(logits[positions.index(self.position)])

    def _take_watched(self, logits: Float[Tensor, "layer vocab"]) -> None:
        for column, token in enumerate(self.watched):
            targets = torch.full(logits.shape[:1], token.id, device=logits.device)
            ranks, ties = rank_and_ties(logits, targets)
            self.watch_ranks[:, column] = ranks.cpu().numpy()
            self.watch_ties[:, column] = ties.cpu().numpy()
            self.watch_probability[:, column] = log_probability(logits, targets).exp().double().cpu().numpy()

    def build(self, settings: RankingsSettings, notes: tuple[Sentence, ...], n_read: int) -> Rankings:
        """Of the first rows of `order`, which are read by now."""
        completion, read = self.completion, set(self.order[:n_read])
        n_missing = len(self.order) - n_read
        is_whole = n_missing == 0
        tokens = tuple(token for token in completion.outputs if token.position in read)
        outputs = [token.position for token in tokens]
        predicted = [p for p in completion.predictable_positions if p < completion.n_positions]
        ranks = self.ranks[1:]
        watch = None
        if self.watched and self.position in read:
            watch = Watch(
                self.position,
                self.watched,
                self.watch_ranks[1:],
                self.watch_ties[1:],
                self.watch_probability[1:],
            )
        return Rankings(
            tokens=completion.tokens,
            n_prompt=completion.n_prompt,
            offset=completion.offset,
            outputs=tokens,
            layers=self.layers,
            ranks=ranks[:, outputs],
            ties=self.ties[1:, outputs],
            log_probability=self.log_probability[outputs],
            commitment=commitment_layer(ranks[:, outputs], self.layers),
            predicted=tuple(token for p in predicted if (token := completion.token_at(p)) is not None),
            commitment_all=commitment_layer(ranks[:, predicted], self.layers) if is_whole else None,
            log_probability_all=self.log_probability[predicted] if is_whole else None,
            watch=watch,
            final_norm=settings.final_norm,
            self_check=self.self_check,
            missing=None if is_whole else Sentence.of("positions_missing", n=n_missing, total=len(self.order)),
            notes=notes,
        )
