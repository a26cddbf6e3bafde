"""What each layer would have predicted."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from jaxtyping import Bool, Float, Int

from analyzers.common.progress import Progress
from analyzers.common.sentences import Sentence
from analyzers.common.settings import LayerPredictionsSettings
from analyzers.common.tokens import Token
from analyzers.methods.lens import (
    LayerNumber,
    Logits,
    check_integer,
    entropy,
    find_predicted_position,
    kl_divergence,
    layers_read,
    lens_logits,
    rank_and_ties,
)
from analyzers.models.completion import Completion
from analyzers.models.language_model import LanguageModel

EMBEDDING = -1
"""The row before the first block: what enters it, token and position embeddings."""


@dataclass(frozen=True)
class Prediction:
    """One token that a layer would have said."""

    id: int
    text: str
    probability: float
    """0 to 1, a softmax over the whole vocabulary."""


@dataclass(frozen=True, eq=False)
class LayerPredictions:
    """What each layer would have said at one position. Row i of every array is layer `layers[i]`.

    A rough reading: no layer but the last was trained to be decoded (nostalgebraist 2020; Belrose et al. 2023, arXiv
    2303.08112). Without the final norm it is rougher still: junk with a probability near 1 is common.
    """

    tokens: tuple[Token, ...]
    n_prompt: int
    position: int
    """Of the predicted token; read off the position before."""
    offset: int
    """It is read so far before `position`: 1, or 0 in a masked model."""
    chosen: Token | None
    """The token that stands there; None where nothing was written yet."""
    layers: tuple[LayerNumber, ...]
    """−1 is the embedding row; l − 0.5 is the stream after the attention of block l."""
    predictions: tuple[tuple[Prediction, ...], ...]
    """Per layer, the likeliest first."""
    entropy: Float[np.ndarray, " layer"]
    """Nats."""
    kl: Float[np.ndarray, " layer"]
    """KL(final ‖ layer), nats; 0 at the last layer."""
    chosen_rank: Int[np.ndarray, " layer"] | None
    """1 is the likeliest of the whole vocabulary; ties share the better rank."""
    chosen_ties: Int[np.ndarray, " layer"] | None
    """How many other tokens have exactly the same logit."""
    final_norm: bool
    self_check: float
    """|lens at the last layer − the model's own logits|, the largest over the vocabulary; rounding."""
    notes: tuple[Sentence, ...] = ()


@dataclass(frozen=True, eq=False)
class LayerOverview:
    """The likeliest token of every layer at every position. Row i is layer `layers[i]`, column j predicts `positions[j]`."""

    tokens: tuple[Token, ...]
    n_prompt: int
    layers: tuple[LayerNumber, ...]
    """−1 is the embedding row."""
    answers: tuple[Token, ...]
    """`Completion.answers`."""
    positions: tuple[int, ...]
    """Of the predicted tokens: `Completion.predictable_positions`. Of a causal model the last was never written."""
    ids: Int[np.ndarray, "layer position"]
    texts: Mapping[int, str]
    """Id → text, of the ids in `ids`."""
    probability: Float[np.ndarray, "layer position"]
    is_actual: Bool[np.ndarray, "layer position"]
    """Whether it is the token that stands there; never true in the last column."""
    final_norm: bool
    self_check: float
    """As in `LayerPredictions`, the largest over up to 16 positions spread over the text."""
    missing: Sentence | None = None
    """What is not known yet, in words; None for a whole result."""
    notes: tuple[Sentence, ...] = ()


def predict_from_each_layer(
    model: LanguageModel, completion: Completion, settings: LayerPredictionsSettings
) -> Iterator[Progress[LayerPredictions]]:
    """The likeliest tokens of every layer at one position, with entropy, distance to the output and the chosen token.

    One forward over the completion's own ids, then norm and head on the layers of that one position, in float32.
    Raises InputError for a position, layer or number of predictions that there is not, for a model that has no state after
    attention where that is asked for, and for logits not finite.

    Arguments:
        model: whose layers are read.
        completion: from `complete`.
        settings: position, layer, how many predictions; see `LayerPredictionsSettings`.
    """
    position = find_predicted_position(completion, settings.position)
    last = model.facts.n_layers - 1
    if settings.layer == "all":
        layers = layers_read(model.facts.n_layers, after_attention=settings.after_attention)
    else:
        layers = (last if settings.layer == "last" else check_integer("layer", settings.layer, EMBEDDING, last),)
    read = layers if layers[-1] == last else (*layers, last)
    yield Progress(0.0)
    (chunk,) = lens_logits(
        model, completion, [position], read, lambda _rows, logits: logits, final_norm=settings.final_norm
    )
    logits = chunk.value[0, : len(layers)]
    log_probabilities = logits.log_softmax(-1)
    likeliest, ids = log_probabilities.exp().topk(min(settings.top, logits.shape[-1]), dim=-1)
    texts = _texts(model, set(ids.flatten().tolist()))
    chosen = completion.token_at(position)
    rank = ties = None
    if chosen is not None:
        targets = torch.full((len(layers),), chosen.id, device=logits.device)
        rank, ties = (numbers.cpu().numpy() for numbers in rank_and_ties(logits, targets))
    result = LayerPredictions(
        tokens=completion.tokens,
        n_prompt=completion.n_prompt,
        position=position,
        offset=completion.offset,
        chosen=chosen,
        layers=layers,
        predictions=tuple(
            tuple(Prediction(id, texts[id], p) for id, p in zip(*row, strict=True))
            for row in zip(ids.tolist(), likeliest.tolist(), strict=True)
        ),
        entropy=entropy(log_probabilities).double().cpu().numpy(),
        kl=kl_divergence(chunk.value[0, -1].log_softmax(-1), log_probabilities).double().cpu().numpy(),
        chosen_rank=rank,
        chosen_ties=ties,
        final_norm=settings.final_norm,
        self_check=chunk.self_check,
        notes=(Sentence.of("read_without_norm"),) if not settings.final_norm else (),
    )
    yield Progress(1.0, result)


def overview_of_each_layer(
    model: LanguageModel, completion: Completion, settings: LayerPredictionsSettings
) -> Iterator[Progress[LayerOverview]]:
    """The likeliest token of every layer at every position of the text, from one forward. Yields between chunks. Of
    the settings only `final_norm` counts.

    Raises InputError for logits that are not finite.

    Arguments:
        model: whose layers are read.
        completion: from `complete`; every position is read.
        settings: as for `predict_from_each_layer`; only `final_norm` counts.
    """
    positions = completion.predictable_positions
    n = len(positions)
    layers = tuple(range(EMBEDDING, model.facts.n_layers))
    ids = np.zeros((len(layers), n), dtype=np.int64)
    probability = np.zeros((len(layers), n))
    self_check = 0.0
    yield Progress(0.0)

    def find_likeliest(_rows: slice, logits: Logits) -> tuple[np.ndarray, np.ndarray]:
        highest, likeliest = logits.max(-1)
        chance = (highest - logits.logsumexp(-1)).exp()
        return likeliest.T.cpu().numpy(), chance.T.double().cpu().numpy()

    def build(n_read: int) -> LayerOverview:
        """Of the first positions, which are read by now."""
        there = [completion.token_at(position) for position in positions[:n_read]]
        read = ids[:, :n_read].copy()
        return LayerOverview(
            tokens=completion.tokens,
            n_prompt=completion.n_prompt,
            layers=layers,
            answers=completion.answers,
            positions=tuple(positions[:n_read]),
            ids=read,
            texts=_texts(model, set(read.flatten().tolist())),
            probability=probability[:, :n_read].copy(),
            is_actual=read == np.array([-1 if token is None else token.id for token in there]),
            final_norm=settings.final_norm,
            self_check=self_check,
            missing=Sentence.of("positions_missing", n=n - n_read, total=n) if n_read < n else None,
        )

    for chunk in lens_logits(model, completion, positions, layers, find_likeliest, final_norm=settings.final_norm):
        ids[:, chunk.rows], probability[:, chunk.rows] = chunk.value
        self_check = chunk.self_check
        if chunk.fraction < 1:
            yield Progress(chunk.fraction, make_result=partial(build, chunk.rows.stop))
    yield Progress(1.0, build(n))


def _texts(model: LanguageModel, ids: set[int]) -> dict[int, str]:
    return {id: model.reader.text_of(id) for id in ids}
