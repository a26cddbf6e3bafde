"""Which layers of a model are alike on a text, and what that measure would show of layers that are not."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from analyzers.common.alignment import align_tokens
from analyzers.common.errors import InputError
from analyzers.common.progress import Progress
from analyzers.common.sentences import Sentence
from analyzers.common.settings import (
    SHUFFLES,
    LayerSimilaritySettings,
    NeuronFactorsSettings,
    Representation,
    SimilarityMeasure,
)
from analyzers.common.tokens import Token
from analyzers.methods.similarity import LEAST_TOKENS, Layer, compare_layers, compare_with_shuffled
from analyzers.models.anatomy import observe_blocks
from analyzers.models.completion import Completion
from analyzers.models.language_model import LanguageModel, ModelFacts
from analyzers.models.neurons import record_activations
from analyzers.models.torch_threads import one_thread
from analyzers.neuron_factors import choose_positions


@dataclass(frozen=True, eq=False)
class SecondModel:
    """Whose layers are the columns, where they are not the first's."""

    model: ModelFacts
    tokens: tuple[Token, ...]
    layers: tuple[int, ...]
    positions: tuple[int, ...]
    """Of its tokens that are compared over, in the order of the first's."""


@dataclass(frozen=True, eq=False)
class LayerSimilarity:
    """Every layer beside every other, or beside every layer of a second model; and the noise floor: the same measure with one
    side's tokens shuffled.

    Of one text: layers that treat these tokens alike may differ on others. What is not above the floor says nothing.
    """

    tokens: tuple[Token, ...]
    n_prompt: int
    left_out: tuple[int, ...]
    """Positions of the tokens that are not compared over."""
    layers: tuple[int, ...]
    """Of the rows, and without a second model of the columns; −1 is the input of the first block (block outputs only)."""
    second: SecondModel | None
    representation: Representation
    """`blocks` or `neurons`."""
    measure: SimilarityMeasure
    components: int | None
    """Principal components kept of each layer, for SVCCA and PWCCA; None for CKA."""
    similarity: Float[np.ndarray, "row column"]
    """1 alike, 0 nothing in common; debiased it may be a little below 0. NaN where a layer says the same of all tokens.
    PWCCA weighs by the row's layer, so it is not symmetric."""
    floor: Float[np.ndarray, "row column"]
    """The mean over shuffled tokens."""
    missing: Sentence | None
    """What is not known yet, in words; None for a whole result."""
    notes: tuple[Sentence, ...] = ()

    @property
    def n_kept(self) -> int:
        """Tokens that are compared over."""
        return len(self.tokens) - len(self.left_out)

    @property
    def column_layers(self) -> tuple[int, ...]:
        return self.layers if self.second is None else self.second.layers


@torch.no_grad()
def compare_all_layers(
    model: LanguageModel, completion: Completion, settings: LayerSimilaritySettings
) -> Iterator[Progress[LayerSimilarity]]:
    """Linear CKA (Kornblith et al. 2019), plain or debiased (Song et al. 2012), SVCCA (Raghu et al. 2017) or PWCCA (Morcos et
    al. 2018) between all layers, over the tokens of one text, from one forward. The first token and special tokens are left
    out as in Neuron Factors. In float64. Raises InputError for too few tokens, and for a number that is not finite.

    Arguments:
        model: whose layers are compared.
        completion: from `complete`; all its tokens are rows, less those left out.
        settings: measure, block outputs or neurons, tokens; see `LayerSimilaritySettings`.
    """
    kept = _choose_positions(completion, settings)
    _check_number(len(kept), settings)
    yield Progress(0.0)
    layers = _read_layers(model, completion, settings.representation, kept)
    yield from _compare(completion, kept, layers, layers, None, settings)


@torch.no_grad()
def compare_two_models(
    model: LanguageModel,
    completion: Completion,
    other: LanguageModel,
    read: Completion,
    settings: LayerSimilaritySettings,
) -> Iterator[Progress[LayerSimilarity]]:
    """As `compare_all_layers`, every layer of one model beside every layer of another, over the tokens that end at the same
    character in both. Raises InputError likewise.

    Arguments:
        completion: of the first model.
        other: whose layers are the columns.
        read: the same text, as the other model reads it.
    """
    chosen = [set(_choose_positions(one, settings)) for one in (completion, read)]
    pairs = [
        (segment.first[-1], segment.second[-1])
        for segment in align_tokens(completion.tokens, read.tokens).segments
        if segment.first and segment.second
    ]
    pairs = [(one, two) for one, two in pairs if one in chosen[0] and two in chosen[1]]
    _check_number(len(pairs), settings)
    kept, there = (tuple(positions) for positions in zip(*pairs, strict=True))
    yield Progress(0.0)
    first = _read_layers(model, completion, settings.representation, kept)
    yield Progress(0.15)
    second = _read_layers(other, read, settings.representation, there)
    beside = SecondModel(other.facts, read.tokens, _numbers(settings.representation, len(second)), there)
    yield from _compare(completion, kept, first, second, beside, settings)


def _compare(
    completion: Completion,
    kept: Sequence[int],
    first: list[Layer],
    second: list[Layer],
    beside: SecondModel | None,
    settings: LayerSimilaritySettings,
) -> Iterator[Progress[LayerSimilarity]]:
    yield Progress(0.3)
    with one_thread():
        similarity = compare_layers(settings.measure, first, second, settings.components)
    random = np.random.default_rng(0)
    total = np.zeros_like(similarity)
    for n in range(1, SHUFFLES + 1):
        with one_thread():
            order = random.permutation(len(kept))
            total = total + compare_with_shuffled(settings.measure, first, second, settings.components, order)
        left = SHUFFLES - n
        result = LayerSimilarity(
            tokens=completion.tokens,
            n_prompt=completion.n_prompt,
            left_out=tuple(token.position for token in completion.tokens if token.position not in set(kept)),
            layers=_numbers(settings.representation, len(first)),
            second=beside,
            representation=settings.representation,
            measure=settings.measure,
            components=settings.components if _uses_components(settings) else None,
            similarity=similarity,
            floor=total / n,
            missing=Sentence.of("shuffles_missing", n=left, total=SHUFFLES) if left else None,
        )
        yield Progress(1.0 if not left else 0.3 + 0.7 * n / (SHUFFLES + 1), result)


def _uses_components(settings: LayerSimilaritySettings) -> bool:
    return settings.measure in ("svcca", "pwcca")


def _choose_positions(completion: Completion, settings: LayerSimilaritySettings) -> tuple[int, ...]:
    tokens = NeuronFactorsSettings(
        include_first_token=settings.include_first_token, include_special=settings.include_special
    )
    return choose_positions(completion, tokens)


def _check_number(n: int, settings: LayerSimilaritySettings) -> None:
    least = max(LEAST_TOKENS, settings.components + 1 if _uses_components(settings) else 0)
    if n < least:
        raise InputError("too_few_to_compare", n=n, least=least)


def _numbers(representation: Representation, n: int) -> tuple[int, ...]:
    first = -1 if representation == "blocks" else 0
    return tuple(range(first, first + n))


def _read_layers(
    model: LanguageModel, completion: Completion, representation: Representation, positions: Sequence[int]
) -> list[Layer]:
    """In float64. Raises InputError for a number that is not finite."""
    ids = torch.tensor([completion.ids], device=model.device)
    rows = [position - completion.n_source for position in positions]
    kept: list[Tensor] = []
    if representation == "neurons":
        activations = record_activations(model.down_projections(), lambda: model.run(ids, n_source=completion.n_source))
        kept = [layer[rows] for layer in activations]
    else:
        with observe_blocks(model.anatomy, lambda _layer, hidden: kept.append(hidden[0, rows])):
            model.run(ids, n_source=completion.n_source)
    layers = [layer.double().cpu().numpy() for layer in kept]
    if not all(np.isfinite(layer).all() for layer in layers):
        raise InputError("not_finite", what="activation")
    return layers
