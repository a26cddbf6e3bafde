"""What can be asked of the neuron analyses. Apart from them, so that a request is parsed before torch is loaded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Parts = Literal["positive", "split"]
Side = Literal["target", "source"]
Preset = Literal["all", "first", "middle", "last"]
Part = Literal["positive", "negative"]
DEFAULT_FACTORS = 8
"""As in the articles (Alammar 2021)."""


@dataclass(frozen=True)
class NeuronFactorsSettings:
    """Which neurons, which tokens, how many factors."""

    factors: int | None = None
    """None: 8, or as many as there are tokens to factorise."""
    first_layer: int | None = None
    """None: 0."""
    last_layer: int | None = None
    """Inclusive; None: the last."""
    preset: Preset = "all"
    """Which layers where neither of the two is given: all, or only the first, the middle or the last."""
    include_first_token: bool = False
    """The first token's activations dwarf all others (attention sinks; Sun et al. 2024), so it is left out by default."""
    include_special: bool = False
    """Special tokens other than the first."""
    unscaled: bool = False
    """Join the layers as they are (ecco). Otherwise each is scaled to unit Frobenius norm, or the loudest would be all."""
    parts: Parts = "positive"
    """`positive`: what is below zero counts as zero (ecco). `split`: it counts as neurons of its own, sign turned."""
    side: Side = "target"
    """Of a model with two stacks: the decoder's blocks on the target's tokens, or the encoder's on the source's."""


@dataclass(frozen=True)
class FactorNeuron:
    """One neuron of a factor."""

    layer: int
    neuron: int
    part: Part
    """The half of its range that belongs to the factor."""
    weight: float
    """Its share in the factor's pattern, 0 to 1; the squares of all of a factor's weights sum to 1."""


@dataclass(frozen=True)
class AblationSettings:
    """Which neurons to turn down or up, and by how much."""

    neurons: tuple[FactorNeuron, ...]
    scale: float = 0.0
    """0 silences them, 1 changes nothing, 2 doubles them."""
    top: int = 10
    """Likeliest tokens to report, before and after."""
    side: Side = "target"
    """As in `NeuronFactorsSettings`."""
