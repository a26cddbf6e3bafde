"""Which neurons fire together, and on which tokens."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from analyzers.common.errors import InputError
from analyzers.common.limits import LIMITS
from analyzers.common.progress import Progress, later
from analyzers.common.sentences import Sentence
from analyzers.common.settings import DEFAULT_FACTORS, FactorNeuron, NeuronFactorsSettings, Parts
from analyzers.common.tokens import Token
from analyzers.methods.nmf import Factorization, factorize
from analyzers.models.anatomy import unembed
from analyzers.models.completion import Completion
from analyzers.models.language_model import LanguageModel
from analyzers.models.neurons import record_activations, write_through
from analyzers.models.torch_threads import one_thread

STRONGEST = 20
"""Neurons named for each factor."""
PROMOTED = 10
"""Tokens named for each factor."""
FORWARD_SHARE = 0.1


@dataclass(frozen=True)
class PromotedToken:
    """A token that a factor's strongest neurons speak for."""

    id: int
    text: str
    logit: float
    """What they add to its logit when nothing else is written."""


@dataclass(frozen=True, eq=False)
class Factor:
    """Neurons that fire together."""

    activations: Float[np.ndarray, " position"]
    """How much of the factor each token has, 0 or more; NaN for a token left out. On the scale of the factorised
    matrix, so comparable within a run; across runs compare shapes, by cosine."""
    energy: float
    """Euclidean norm of the activations."""
    layer_shares: Float[np.ndarray, " layer"]
    """How much of the squared pattern lies in each layer of the range; sums to 1 (all 0 for a factor of no use)."""
    top_neurons: tuple[FactorNeuron, ...]
    """The strongest, by falling weight."""
    promoted: tuple[PromotedToken, ...]
    """Tokens by falling logit: the down-projection columns of `top_neurons`, weighted by how strongly each fires in
    the factor, through final norm and head as if nothing else had been written (Geva et al. 2022). A rough reading:
    later layers see it first, and a norm that follows the MLP inside the block (Gemma, BERT) is passed over. Empty for
    an encoder, which has no head, and for the source's side of a model with two stacks."""


@dataclass(frozen=True, eq=False)
class NeuronFactors:
    """Non-negative factors of the activations (tokens × neurons), by falling energy.

    A summary under one assumption (parts that only add up), at a local minimum: `error` says how much it leaves out.
    The activation at position i is the response to token i and a cause of token i + 1.
    """

    tokens: tuple[Token, ...]
    n_prompt: int
    layers: tuple[int, ...]
    left_out: tuple[int, ...]
    """Positions that were not factorised."""
    scaled: bool
    """Whether each layer was brought to unit Frobenius norm."""
    parts: Parts
    side: str | None
    """Which stack of a model with two: `source` or `target`."""
    error: float
    """‖X − WH‖ / ‖X‖ (Frobenius), in float64: 0 is exact, 1 explains nothing."""
    iterations: int
    converged: bool
    factors: tuple[Factor, ...]
    notes: tuple[Sentence, ...]

    @property
    def missing(self) -> Sentence | None:
        """What is not known yet, in words; None for a whole result."""
        return next(iter(self.notes), None)


@dataclass(frozen=True, eq=False)
class ActivationMatrix:
    """What is factorised: the tokens kept × the neurons of all layers, side by side in the layers' order."""

    values: Float[Tensor, "token neuron"]
    """0 or more. With split parts each layer has its positive half first, then its negative half."""
    widths: tuple[int, ...]
    """Columns of each layer, halves included."""
    scales: tuple[float, ...]
    """What each layer was divided by."""


def factorize_neurons(
    model: LanguageModel, completion: Completion, settings: NeuronFactorsSettings
) -> Iterator[Progress[NeuronFactors]]:
    """X (tokens × neurons) ≈ W H, both non-negative; a row of H is scaled to unit norm, W says how much each token has of it.

    A neuron is an input of a block's MLP down projection. Yields between chunks of iterations. Raises InputError for
    layers or a number of factors that cannot be, for fewer than 2 tokens, where nothing fires or a number is not
    finite, and for a model whose MLPs cannot be read (mixture of experts).

    Arguments:
        model: whose MLPs are read.
        completion: from `complete`; all its tokens are rows, less those left out.
        settings: layers, tokens, number of factors; see `NeuronFactorsSettings`.
    """
    if settings.side == "source" and not completion.n_source:
        raise InputError("no_source_side", model=completion.model)
    every = model.down_projections(settings.side)
    layers = _choose_layers(model, settings, len(every))
    kept = choose_positions(completion, settings)
    wanted = _choose_n_factors(settings, len(kept))
    projections = [every[layer] for layer in layers]
    yield Progress(0.0)
    ids = torch.tensor([completion.ids], device=model.device)
    activations = record_activations(projections, lambda: model.run(ids, n_source=completion.n_source))
    first = completion.n_source if settings.side == "target" else 0
    matrix = activation_matrix(activations, [position - first for position in kept], settings)
    if not bool(torch.isfinite(matrix.values).all()):
        raise InputError("not_finite", what="activation")
    if not bool(matrix.values.any()):
        raise InputError("no_activation", first=layers[0], last=layers[-1])

    def build(found: Factorization) -> NeuronFactors:
        return _build_result(model, completion, settings, layers, kept, matrix, found)

    for step in factorize(matrix.values, wanted):
        fraction = FORWARD_SHARE + (0.98 - FORWARD_SHARE) * step.fraction
        if step.result is not None:
            yield Progress(1.0, build(step.result))
        elif step.make_result is not None:
            yield Progress(fraction, make_result=later(step.make_result, build))
        else:
            yield Progress(fraction)


def activation_matrix(
    activations: Sequence[Float[Tensor, "position _"]], kept: Sequence[int], settings: NeuronFactorsSettings
) -> ActivationMatrix:
    """The non-negative matrix of the kept positions, from one signed matrix for each layer. float32."""
    layers: list[Tensor] = []
    scales: list[float] = []
    with one_thread():
        for signed in activations:
            rows = signed[list(kept)].float()
            halves = [rows.clamp_min(0)]
            if settings.parts == "split":
                halves.append((-rows).clamp_min(0))
            layer = torch.cat(halves, dim=1)
            norm = 1.0 if not settings.scale_layers else float(torch.linalg.vector_norm(layer, dtype=torch.float64))
            scales.append(norm or 1.0)
            layers.append(layer / scales[-1] if settings.scale_layers else layer)
        values = torch.cat(layers, dim=1)
    return ActivationMatrix(values, tuple(layer.shape[1] for layer in layers), tuple(scales))


def _choose_layers(model: LanguageModel, settings: NeuronFactorsSettings, n_layers: int) -> tuple[int, ...]:
    top = n_layers - 1
    if settings.layers != "all" and not settings.names_layers:
        return ({"first": 0, "middle": top // 2, "last": top}[settings.layers],)
    first = 0 if settings.first_layer is None else settings.first_layer
    last = top if settings.last_layer is None else settings.last_layer
    if not 0 <= first <= last <= top:
        raise InputError("bad_layer_range", first=first, last=last, top=top, model=model.facts.id)
    return tuple(range(first, last + 1))


def choose_positions(completion: Completion, settings: NeuronFactorsSettings) -> tuple[int, ...]:
    """Those that are read: neither the first token nor special ones, unless they are asked for."""
    side = [token for token in completion.tokens if token.side in (None, settings.side)]

    def is_kept(token: Token) -> bool:
        return settings.include_first_token if token is side[0] else settings.include_special or not token.special

    kept = tuple(token.position for token in side if is_kept(token))
    if len(kept) < 2:
        raise InputError("too_few_tokens", n=len(kept), total=len(side))
    return kept


def _choose_n_factors(settings: NeuronFactorsSettings, n_kept: int) -> int:
    most = min(n_kept, LIMITS.factors)
    if settings.factors == "auto":
        return min(DEFAULT_FACTORS, most)
    if settings.factors > most:
        raise InputError("too_many_factors", factors=settings.factors, n=n_kept, most=most)
    return settings.factors


def _build_result(
    model: LanguageModel,
    completion: Completion,
    settings: NeuronFactorsSettings,
    layers: tuple[int, ...],
    kept: tuple[int, ...],
    matrix: ActivationMatrix,
    found: Factorization,
) -> NeuronFactors:
    strongest = [_find_strongest(pattern, layers, matrix.widths, settings.parts) for pattern in found.patterns]
    promoted = _promote_tokens(model, layers, matrix, settings, strongest)
    factors = []
    for weights, pattern, neurons, tokens in zip(found.weights.T, found.patterns, strongest, promoted, strict=True):
        row = np.full(completion.n_positions, np.nan)
        row[list(kept)] = weights.double().cpu().numpy()
        shares = np.array([float(part.double().square().sum()) for part in pattern.split(matrix.widths)])
        energy = float(weights.double().norm())
        factors.append(Factor(row, energy, shares / max(float(shares.sum()), 1e-30), neurons, tokens))
    notes = () if found.converged else (Sentence.of("factors_not_converged", iterations=found.iterations),)
    left_out = tuple(token.position for token in completion.tokens if token.position not in set(kept))
    return NeuronFactors(
        tokens=completion.tokens,
        n_prompt=completion.n_prompt,
        layers=layers,
        left_out=left_out,
        scaled=settings.scale_layers,
        parts=settings.parts,
        side=settings.side if completion.n_source else None,
        error=found.error,
        iterations=found.iterations,
        converged=found.converged,
        factors=tuple(factors),
        notes=notes,
    )


def _find_strongest(
    pattern: Float[Tensor, " column"], layers: tuple[int, ...], widths: tuple[int, ...], parts: Parts
) -> tuple[FactorNeuron, ...]:
    columns = pattern.argsort(descending=True, stable=True)[:STRONGEST].tolist()
    ends = np.cumsum(widths)
    neurons = []
    for column in columns:
        weight = float(pattern[column])
        if weight == 0:
            break
        row = int(np.searchsorted(ends, column, side="right"))
        within = column - int(ends[row] - widths[row])
        half = widths[row] // 2 if parts == "split" else widths[row]
        part = "positive" if within < half else "negative"
        neurons.append(FactorNeuron(layers[row], within % half, part, weight))  # type: ignore[arg-type]
    return tuple(neurons)


@torch.no_grad()
def _promote_tokens(
    model: LanguageModel,
    layers: tuple[int, ...],
    matrix: ActivationMatrix,
    settings: NeuronFactorsSettings,
    strongest: Sequence[tuple[FactorNeuron, ...]],
) -> list[tuple[PromotedToken, ...]]:
    """Tokens for each factor. The last row read out is an empty stream, whose logits (biases) are taken off."""
    if model.anatomy.head is None or settings.side == "source":
        return [() for _ in strongest]
    written = torch.zeros(len(strongest) + 1, model.facts.d_model, device=model.device)
    for layer, scale, width in zip(layers, matrix.scales, matrix.widths, strict=True):
        projection = model.down_projections()[layer]
        of_layer = [(row, n) for row, neurons in enumerate(strongest) for n in neurons if n.layer == layer]
        if of_layer:
            n_neurons = width // 2 if settings.parts == "split" else width
            firing = torch.zeros(len(written), n_neurons, device=model.device, dtype=model.module.dtype)
            for row, neuron in of_layer:
                firing[row, neuron.neuron] += neuron.weight * scale * (1 if neuron.part == "positive" else -1)
            written += write_through(projection, firing).float()
    logits = unembed(model.module, model.anatomy, written[None].to(model.module.dtype))[0].float()
    logits = logits[:-1] - logits[-1]
    found = logits.topk(min(PROMOTED, logits.shape[-1]))
    return [
        tuple(PromotedToken(id, model.reader.text_of(id), logit) for id, logit in zip(ids, values, strict=True))
        if neurons
        else ()
        for neurons, ids, values in zip(strongest, found.indices.tolist(), found.values.tolist(), strict=True)
    ]


@dataclass(frozen=True)
class FactorMatch:
    """Two factors that fire on the same tokens, more or less."""

    first: int
    """Index in the first run."""
    second: int
    """Index in the second."""
    cosine: float
    """Of their activations over the common tokens: 1 alike, 0 nothing in common."""


def match_factors(first: NeuronFactors, second: NeuronFactors) -> tuple[FactorMatch, ...]:
    """Factors paired so that the sum of cosines is largest (Kuhn 1955), by falling cosine.

    Each factor is in one pair at most; with unequal numbers some are in none. Common tokens are those at the same
    position, with the same id, factorised in both. Raises InputError where there are none.

    Arguments:
        first, second: runs on the same text, such as at two layers.
    """
    common = [
        position
        for position, (a, b) in enumerate(zip(first.tokens, second.tokens, strict=False))
        if a.id == b.id and position not in first.left_out and position not in second.left_out
    ]
    if not common:
        raise InputError("nothing_in_common")
    cosines = _unit_rows(first, common) @ _unit_rows(second, common).T
    rows, columns = linear_sum_assignment(-cosines)
    matches = [FactorMatch(int(a), int(b), float(cosines[a, b])) for a, b in zip(rows, columns, strict=True)]
    return tuple(sorted(matches, key=lambda match: -match.cosine))


def _unit_rows(run: NeuronFactors, positions: list[int]) -> np.ndarray:
    rows = np.stack([factor.activations for factor in run.factors])[:, positions]
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.asarray(rows / np.where(norms > 0, norms, 1.0))
