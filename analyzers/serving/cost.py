"""How long a request will take, told before it is done: one line on the page, and the seconds asked of a shared GPU.

Counted from the model's size, the text's length and the settings alone, as operations and as calls of the model; then
divided by what a plain machine does a second. Right within a factor of about two: see `benchmarks/scale.py`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from analyzers.common.functions import load_function
from analyzers.common.methods import METHODS, methods_compared
from analyzers.common.parameters import Settings
from analyzers.common.settings import (
    DEFAULT_FACTORS,
    MOST_EXACT,
    RANDOM_PAIRS,
    SHUFFLES,
    LayerPredictionsSettings,
    LayerSimilaritySettings,
    MapComparisonSettings,
    NeuronFactorsSettings,
    RankingsSettings,
    SaliencySettings,
)
from analyzers.serving.analyses import ANALYSES
from analyzers.serving.request import AnyRequest

if TYPE_CHECKING:
    from analyzers.models.language_model import LanguageModel
    from analyzers.models.prompt import Prompt

OPERATIONS_A_SECOND = {"cpu": 1e11}
"""Of a forward over many rows, float32: two cores of an AVX2 server, measured."""
OPERATIONS_A_SECOND_GPU = 8e12
"""A slice of an H200 whose data sheet says 28e12 in float32. Assumed, not measured."""
BYTES_A_SECOND = {"cpu": 1e10}
"""Weights read for a forward over a single row, which does little else."""
SECONDS_A_CALL_GPU = 0.03
"""Some hundred kernels started one by one. Assumed, not measured."""
AUTO_POINTS = 40
"""Integration points until a map converges: 7 to 127 in the examples (`benchmarks/points.py`), 38 in the mean."""
AUTO_ORDERS = 128
"""Orders of the tokens that are paid for until no Shapley value's error is above the tolerance: 256 in three texts of 13, 14
and 28 tokens, but sets of tokens that come again are not computed anew, and a wide batch runs faster."""
DECOMPOSITION = 3e6
"""What the singular values of a matrix of some ten rows cost, counted as operations: mostly calls."""
ITERATIONS = 250
"""Passes over the matrix of neurons, those of the trials included."""


@dataclass(frozen=True)
class Cost:
    """Work, before a machine is chosen."""

    operations: float
    """Floating-point operations over many rows at once."""
    calls: int
    """Forwards of the model one after another: each reads all the weights."""

    def __add__(self, other: Cost) -> Cost:
        return Cost(self.operations + other.operations, self.calls + other.calls)

    def seconds(self, model: LanguageModel) -> float:
        """On the device where the model is."""
        device = model.facts.device
        speed = OPERATIONS_A_SECOND.get(device, OPERATIONS_A_SECOND_GPU)
        one_call = model.n_bytes / BYTES_A_SECOND[device] if device in BYTES_A_SECOND else SECONDS_A_CALL_GPU
        return self.operations / speed + self.calls * one_call


@dataclass(frozen=True)
class Size:
    """What the work of an analysis grows with: the model, and how many positions and explained tokens a text has."""

    model: LanguageModel
    positions: int
    explained: int

    @property
    def forward(self) -> float:
        """Operations of the blocks, over the whole text."""
        return 2.0 * self.model.n_block_parameters * self.positions

    @property
    def head(self) -> float:
        """Operations of the head, for one row."""
        return 2.0 * self.model.facts.vocab * self.model.facts.d_model

    @property
    def layers(self) -> int:
        """Rows that a lens reads at one position."""
        return self.model.facts.n_layers + 1


def expect_seconds(model: LanguageModel, request: AnyRequest, prompt: Prompt) -> float:
    """How long a request will take where its model is, loading and waiting not counted."""
    return estimate(model, request, prompt).seconds(model)


def estimate(model: LanguageModel, request: AnyRequest, prompt: Prompt) -> Cost:
    """The work of a request whose text was read as `prompt`, generation included."""
    n_new = len(prompt.continuation) if prompt.continuation is not None else 0
    is_scored = prompt.continuation is not None or not model.facts.kind.writes
    if not is_scored:
        n_new = request.generation.generate
    n_explained = n_new if model.facts.kind.writes else max(len(prompt.masks), not model.facts.kind.predicts)
    block = 2.0 * model.n_block_parameters
    n_prompt = len(prompt.ids)
    # What does not write is read once, for all that is hidden.
    read = Cost(block * n_prompt, 1 if not model.facts.kind.writes else n_new * (not is_scored))
    analysis = ANALYSES[request.analysis]
    cost: Cost = load_function(analysis.cost)(request.settings, Size(model, n_prompt + n_new, n_explained))
    return read + cost


def cost_of_saliency(settings: SaliencySettings, size: Size) -> Cost:
    cost: Cost = load_function(METHODS[settings.method].cost)(settings, size)
    return cost


def cost_of_occlusion(_settings: SaliencySettings, size: Size) -> Cost:
    """One forward for each token hidden."""
    return Cost(size.positions * (size.forward + size.head * size.explained), 1)


def cost_of_shapley_values(_settings: SaliencySettings, size: Size) -> Cost:
    """One forward for each set of tokens, few or many."""
    players = max(1, size.positions - 1)  # the last explained token is none
    sets = 2**players if players <= MOST_EXACT else AUTO_ORDERS * players
    return Cost(sets * (size.forward + size.head * size.explained), 1)


def cost_of_gradients(_settings: SaliencySettings, size: Size) -> Cost:
    return Cost((1 + size.explained) * size.forward, 1)


def cost_of_integration(settings: SaliencySettings, size: Size) -> Cost:
    points = AUTO_POINTS if settings.points == "auto" else settings.points + settings.points // 2
    return Cost(points * (1 + size.explained) * size.forward, 1)


def cost_of_map_comparison(settings: MapComparisonSettings, size: Size) -> Cost:
    """Each map, of one token; then the sets that are hidden along the orders, a random one and its reverse at once."""
    cost, one = Cost(0.0, 0), replace(size, explained=1)
    methods = methods_compared(settings.methods)
    for name in methods:
        cost += cost_of_saliency(SaliencySettings(name), one)
    sets = 2 * (2 * size.positions.bit_length() - 2) * (len(methods) + RANDOM_PAIRS)
    return cost + Cost(sets * (size.forward + size.head), 1)


def cost_of_one_position(settings: LayerPredictionsSettings, size: Size) -> Cost:
    """Every layer read at one position."""
    return Cost(size.forward + size.head * _rows_read(settings, size), 1)


def cost_of_every_position(settings: LayerPredictionsSettings | RankingsSettings, size: Size) -> Cost:
    """Every layer read at every position."""
    return Cost(size.forward + size.head * _rows_read(settings, size) * size.positions, 1)


def _rows_read(settings: LayerPredictionsSettings | RankingsSettings, size: Size) -> int:
    """At one position."""
    return size.layers * 2 - 1 if settings.after_attention else size.layers


def cost_of_factorization(settings: NeuronFactorsSettings, size: Size) -> Cost:
    """Neurons are told from the size of a block: an MLP is about two thirds of it, in two or three matrices."""
    neurons = size.model.n_block_parameters / (4 * size.model.facts.d_model)
    n_layers = size.layers - 1
    last = n_layers - 1 if settings.last_layer is None else settings.last_layer
    chosen = last - (settings.first_layer or 0) + 1 if settings.names_layers else 1
    share = 1.0 if settings.layers == "all" and not settings.names_layers else max(1, chosen) / n_layers
    factors = min(DEFAULT_FACTORS if settings.factors == "auto" else settings.factors, size.positions)
    return Cost(size.forward + 4.0 * ITERATIONS * size.positions * neurons * share * factors, 1)


def cost_of_layer_similarity(settings: LayerSimilaritySettings, size: Size) -> Cost:
    """One forward; then of every two layers their Gram matrices, or two small decompositions, as often as the noise floor
    is drawn and once more."""
    pairs = (1.0 + SHUFFLES) * size.layers**2
    if settings.measure in ("svcca", "pwcca"):
        return Cost(size.forward + pairs * DECOMPOSITION, 1)
    return Cost(size.forward + pairs * 2 * size.positions**2, 1)


def cost_of_ablation(_settings: Settings, size: Size) -> Cost:
    return Cost(2 * size.forward, 2)
