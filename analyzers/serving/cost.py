"""How long a request will take, told before it is done: one line on the page, and the seconds asked of a shared GPU.

Counted from the model's size, the text's length and the settings alone, as operations and as calls of the model; then
divided by what a plain machine does a second. Right within a factor of about two: see `benchmarks/scale.py`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from analyzers.common.settings import DEFAULT_FACTORS
from analyzers.serving.request import Request

if TYPE_CHECKING:
    from analyzers.models.language_model import LanguageModel

OPERATIONS_A_SECOND = {"cpu": 1e11}
"""Of a forward over many rows, float32: two cores of an AVX2 server, measured."""
OPERATIONS_A_SECOND_GPU = 8e12
"""A slice of an H200 whose data sheet says 28e12 in float32. Assumed, not measured."""
BYTES_A_SECOND = {"cpu": 1e10}
"""Weights read for a forward over a single row, which does little else."""
SECONDS_A_CALL_GPU = 0.03
"""Some hundred kernels started one by one. Assumed, not measured."""
DOUBLED_POINTS = 8 + 16 + 32
"""Integration points of a map that converges at 32, as most do; a stubborn one takes several times as many."""
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


def expected_seconds(model: LanguageModel, request: Request) -> float:
    """How long a request will take where its model is, loading and waiting not counted. Raises InputError as `estimate`."""
    return estimate(model, request).seconds(model)


def estimate(model: LanguageModel, request: Request) -> Cost:
    """The work of a request on a model, generation included. Raises InputError for a text that cannot be encoded."""
    ids = model.encode(request.text)
    block = 2.0 * model.n_block_parameters
    kind, target_text = model.facts.kind, request.generation.target_text
    if kind in ("masked", "encoder"):  # one reading of the text, for all that is hidden
        hidden = 1 if kind == "encoder" else ids.count(model.mask_id or -1) + (request.generation.hide is not None)
        return Cost(block * len(ids), 1) + _analysis(request.analysis, request.settings, _Size(model, len(ids), hidden))
    new, generated = request.generation.generate, request.generation.generate
    if target_text is not None:
        new = len(model.encode(target_text, name="target_text", opening=False, is_target=kind == "seq2seq"))
        generated = 0
    prompt = len(ids) + len(model.opening)
    written = Cost(block * prompt, generated)
    return written + _analysis(request.analysis, request.settings, _Size(model, prompt + new, new))


@dataclass(frozen=True)
class _Size:
    """What the work of an analysis grows with."""

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


def _analysis(name: str, settings: Any, size: _Size) -> Cost:
    if name == "saliency":
        return _saliency(settings, size)
    if name == "faithfulness":
        orders = 2 * (1 + settings.orders) * (settings.steps + 1)
        return Cost(orders * size.forward * settings.position / size.positions, 1)
    if name == "layer-predictions":
        return Cost(size.forward + size.head * size.layers, 1)
    if name in ("layer-overview", "rankings"):
        return Cost(size.forward + size.head * size.layers * size.positions, 1)
    if name == "neuron-factors":
        return Cost(size.forward + _factorization(settings, size), 1)
    return Cost(2 * size.forward, 2)


def _saliency(settings: Any, size: _Size) -> Cost:
    if settings.method == "occlusion":  # one forward for each token hidden
        return Cost(size.positions * (size.forward + size.head * size.explained), 1)
    if settings.method != "integrated-gradients":
        return Cost((1 + size.explained) * size.forward, 1)
    points = DOUBLED_POINTS if settings.points is None else settings.points + settings.points // 2
    return Cost(points * (1 + size.explained) * size.forward, 1)


def _factorization(settings: Any, size: _Size) -> float:
    """Neurons are told from the size of a block: an MLP is about two thirds of it, in two or three matrices."""
    neurons = size.model.n_block_parameters / (4 * size.model.facts.d_model)
    chosen = settings.preset != "all" or settings.first_layer is not None or settings.last_layer is not None
    first = settings.first_layer or 0
    last = size.layers - 2 if settings.last_layer is None else settings.last_layer
    layers = max(1, last - first + 1 if settings.preset == "all" else 1)
    share = layers / (size.layers - 1) if chosen else 1.0
    factors = min(settings.factors or DEFAULT_FACTORS, size.positions)
    return 4.0 * ITERATIONS * size.positions * neurons * share * factors
