"""What can be asked of each analysis, apart from them, so that a request is parsed before torch is loaded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Generation:
    """How the continuation is made. Greedy unless `sample`; with `target_text` nothing is generated."""

    generate: int = 1
    sample: bool = False
    temperature: float = 1.0
    top_k: int = 50
    top_p: float = 1.0
    seed: int = 0
    target_text: str | None = None
    """A continuation to score instead of generating; its own leading space counts. For a masked model the words that
    stand for its masks, one token each; for an encoder the text to compare with."""
    hide: int | None = None
    """Masked models: the position of a token to hide, and to explain."""


Method = Literal["occlusion", "integrated-gradients", "input-x-gradient", "gradient"]
Target = Literal["probability", "logit", "log-probability", "contrast", "similarity"]
"""What is explained. The last two are not chosen by name: `contrast` follows from the word, `similarity` (the cosine of
two texts) from a model that predicts no token."""
Baseline = Literal["token", "mean", "zero"]
Aggregate = Literal["l2", "sum"]


@dataclass(frozen=True)
class SaliencySettings:
    """What is asked of the tokens."""

    method: Method = "occlusion"
    target: Target = "probability"
    contrast: str | None = None
    """A word B: the target becomes logit(A) − logit(B), A being the explained token (Yin & Neubig 2022)."""
    aggregate: Aggregate = "l2"
    """`l2`: magnitudes, and shares of them. `sum`: signed sums over the dimensions, no shares."""
    baseline: Baseline = "token"
    """What stands for absence: a real token (padding, else end of text), the mean embedding, or zero (as ecco)."""
    points: int | None = None
    """Integration points; None doubles them until both errors are below `tolerance`."""
    tolerance: float = 0.05
    whole_words: bool = False
    """Occlusion hides all tokens of a word together, and shares its effect equally among them."""
    first: int | None = None
    """Position of the token to explain before the others; None for the first."""


@dataclass(frozen=True)
class FaithfulnessSettings:
    """Which map is put to the test, and how finely."""

    position: int
    """Of the explained token."""
    scores: tuple[float, ...]
    """One number per token that the explained one rests on; the highest is deleted first."""
    baseline: Baseline = "token"
    steps: int = 20
    """At most so many steps from none to all."""
    orders: int = 5
    """Random orders to compare with."""


MOST_PREDICTIONS = 50
"""The longest list of predictions a layer can be asked for."""


@dataclass(frozen=True)
class LayerPredictionsSettings:
    """What is asked of the layers."""

    position: int | None = None
    """Position of the predicted token, 1 to n_positions (that one was never written); None for the first token after
    the prompt. It is read off the position before it."""
    layer: int | None = None
    """Only this layer, −1 for the embedding row; None for all."""
    only_last: bool = False
    """Only the last layer, whatever its number; `layer` is then not looked at."""
    top: int = 10
    """How many predictions per layer."""
    without_final_norm: bool = False
    """Leave the final norm out on every layer but the last, as ecco did: a comparison, not a reading."""


@dataclass(frozen=True)
class RankingsSettings:
    """What is asked of the layers, beside the ranks of the text's own tokens."""

    watch: tuple[str, ...] = ()
    """Words to rank at one position, leading space included; words of the same token are watched once."""
    position: int | None = None
    """Where they are ranked: the position of the predicted token, 1 to n_positions (that one was never written); None
    for the first token after the prompt."""
    without_final_norm: bool = False
    """Leave the final norm out on every layer but the last, as ecco did: a comparison, not a reading."""


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
