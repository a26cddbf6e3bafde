"""Which layers of a model are alike on a text, and what that measure would show of layers that are not."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

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
from analyzers.methods.similarity import LEAST_TOKENS, compare_layers, compare_with_shuffled
from analyzers.methods.workers import one_thread
from analyzers.models.anatomy import observe_blocks
from analyzers.models.completion import Completion
from analyzers.models.language_model import LanguageModel
from analyzers.models.neurons import record_activations
from analyzers.neuron_factors import choose_positions


@dataclass(frozen=True, eq=False)
class LayerSimilarity:
    """Every layer beside every other, and the noise floor: the same measure with one side's tokens shuffled.

    Of one text: layers that treat these tokens alike may differ on others. What is not above the floor says nothing.
    """

    tokens: tuple[Token, ...]
    n_prompt: int
    left_out: tuple[int, ...]
    """Positions of the tokens that are no rows."""
    layers: tuple[int, ...]
    """Of the rows and the columns; −1 is the input of the first block (block outputs only)."""
    representation: Representation
    """`blocks` or `neurons`."""
    measure: SimilarityMeasure
    components: int | None
    """Principal components kept of each layer, for SVCCA and PWCCA; None for CKA."""
    similarity: Float[np.ndarray, "layer layer"]
    """1 alike, 0 nothing in common; debiased it may be a little below 0. NaN where a layer says the same of all tokens.
    PWCCA weighs by the row's layer, so it is not symmetric."""
    floor: Float[np.ndarray, "layer layer"]
    """The mean over shuffled tokens."""
    missing: Sentence | None
    """What is not known yet, in words; None for a whole result."""
    notes: tuple[Sentence, ...] = ()

    @property
    def n_kept(self) -> int:
        """Tokens that are rows."""
        return len(self.tokens) - len(self.left_out)


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
    tokens = NeuronFactorsSettings(
        include_first_token=settings.include_first_token, include_special=settings.include_special
    )
    kept = choose_positions(completion, tokens)
    uses_components = settings.measure in ("svcca", "pwcca")
    least = max(LEAST_TOKENS, settings.components + 1 if uses_components else 0)
    if len(kept) < least:
        raise InputError("too_few_to_compare", n=len(kept), least=least)
    yield Progress(0.0)
    rows = [position - completion.n_source for position in kept]
    layers = [layer.double().cpu().numpy() for layer in _read_layers(model, completion, settings.representation, rows)]
    if not all(np.isfinite(layer).all() for layer in layers):
        raise InputError("not_finite", what="activation")
    yield Progress(0.3)
    with one_thread():
        similarity = compare_layers(settings.measure, layers, layers, settings.components)
    random = np.random.default_rng(0)
    total = np.zeros_like(similarity)
    for n in range(1, SHUFFLES + 1):
        with one_thread():
            order = random.permutation(len(kept))
            total = total + compare_with_shuffled(settings.measure, layers, settings.components, order)
        left = SHUFFLES - n
        result = LayerSimilarity(
            tokens=completion.tokens,
            n_prompt=completion.n_prompt,
            left_out=tuple(token.position for token in completion.tokens if token.position not in set(kept)),
            layers=tuple(range(-1 if settings.representation == "blocks" else 0, model.facts.n_layers)),
            representation=settings.representation,
            measure=settings.measure,
            components=settings.components if uses_components else None,
            similarity=similarity,
            floor=total / n,
            missing=Sentence.of("shuffles_missing", n=left, total=SHUFFLES) if left else None,
        )
        yield Progress(1.0 if not left else 0.3 + 0.7 * n / (SHUFFLES + 1), result)


def _read_layers(
    model: LanguageModel, completion: Completion, representation: Representation, rows: list[int]
) -> list[Float[Tensor, "token _"]]:
    ids = torch.tensor([completion.ids], device=model.device)
    if representation == "neurons":
        activations = record_activations(model.down_projections(), lambda: model.run(ids, n_source=completion.n_source))
        return [layer[rows] for layer in activations]
    kept: list[Tensor] = []
    with observe_blocks(model.anatomy, lambda _layer, hidden: kept.append(hidden[0, rows])):
        model.run(ids, n_source=completion.n_source)
    return kept
