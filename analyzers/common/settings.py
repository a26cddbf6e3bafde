"""What can be asked of each analysis, apart from them, so that a request is parsed before torch is loaded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from analyzers.common.errors import InputError
from analyzers.common.limits import LIMITS
from analyzers.common.methods import METHODS
from analyzers.common.parameters import MOST_LAYERS, MOST_POSITIONS, Parameter, Settings


@dataclass(frozen=True)
class Generation(Settings):
    """How the continuation is made. Greedy unless `sample`; with `target_text` nothing is generated."""

    generate: Annotated[int, Parameter("how many tokens to generate", 0, LIMITS.new_tokens)] = 1
    sample: Annotated[bool, Parameter("draw tokens at random instead of the likeliest")] = False
    temperature: Annotated[float, Parameter("sampling temperature", 0.01, 10.0)] = 1.0
    top_k: Annotated[int, Parameter("sample from the k likeliest tokens", 1, LIMITS.top_k)] = 50
    top_p: Annotated[float, Parameter("sample from the smallest set that holds this probability", 0.01, 1.0)] = 1.0
    seed: Annotated[int, Parameter("seed of the sampling", 0, 2**32 - 1)] = 0
    target_text: Annotated[
        str | None,
        Parameter(
            "score this continuation instead of generating; the words for a masked model's masks; an encoder's second text"
        ),
    ] = None
    """A continuation to score instead of generating; its own leading space counts. For a masked model the words that
    stand for its masks, one token each; for an encoder the text to compare with."""
    hide: Annotated[int | None, Parameter("masked models: hide the token at this position", 0, MOST_POSITIONS)] = None
    """Masked models: the position of a token to hide, and to explain."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.target_text is not None and self.sample:
            raise InputError("continuation_and_sample")


Objective = Literal["probability", "logit", "log-probability", "contrast", "similarity"]
"""What is explained. The last two are not chosen by name: `contrast` follows from the word, `similarity` (the cosine of
two texts) from a model that predicts no token."""
ChosenObjective = Literal["probability", "logit", "log-probability"]
Baseline = Literal["token", "mean", "zero"]
Aggregate = Literal["l2", "sum"]
Target = Annotated[ChosenObjective, Parameter("the number that is explained")]
Contrast = Annotated[str | None, Parameter("explain logit(token) − logit(this token) instead")]
Aggregated = Annotated[Aggregate, Parameter("magnitudes (l2) or signed sums (sum)")]
Absence = Annotated[Baseline, Parameter("what stands for an absent token")]
TOLERANCE = 0.05
MOST_EXACT = 10
"""Tokens or words of which all 2ⁿ sets are computed, for exact Shapley values."""


@dataclass(frozen=True)
class SaliencySettings(Settings):
    """What is asked of the tokens."""

    method: Annotated[str, Parameter("how tokens are scored", choices=METHODS)] = "occlusion"
    """A row of `METHODS`."""
    target: Target = "probability"
    contrast: Contrast = None
    """A word B: what is explained becomes logit(A) − logit(B), A being the explained token (Yin & Neubig 2022)."""
    aggregate: Aggregated = "l2"
    """`l2`: magnitudes, and shares of them. `sum`: signed sums over the dimensions, no shares."""
    baseline: Absence = "token"
    """What stands for absence: a real token (padding, else end of text), the mean embedding, or zero (as ecco)."""
    points: Annotated[
        int | Literal["auto"], Parameter("integration points, or auto: as many as are needed", 1, LIMITS.points)
    ] = "auto"
    """`auto`: nested rules of 7, 15, 31, … points until both errors are below the tolerance; a number: Gauss–Legendre, as
    ecco."""
    tolerance: Annotated[
        float | None,
        Parameter("with auto points, and of Shapley values, the errors end below this (default 0.05)", 0.0001, 1.0),
    ] = None
    """None: 0.05."""
    whole_words: Annotated[bool, Parameter("occlusion and Shapley values hide all tokens of a word together")] = False
    """Its effect is shared equally among them."""
    first: Annotated[int | None, Parameter("position of the token to explain first", 0, MOST_POSITIONS)] = None
    """None for the first there is."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.points != "auto" and self.tolerance is not None:
            raise InputError("conflicting_points")

    @property
    def most_error(self) -> float:
        """What counts as converged: both errors are no larger."""
        return TOLERANCE if self.tolerance is None else self.tolerance


RANDOM_PAIRS = 10
"""Random orders that a map is tested beside, each with its reverse."""


@dataclass(frozen=True)
class MapComparisonSettings(Settings):
    """Which maps are compared, of which token; the rest as in `SaliencySettings`."""

    methods: Annotated[
        tuple[str, ...],
        Parameter("compare this method's map; may be repeated (left out: the quick methods)", choices=METHODS),
    ] = ()
    """Rows of `METHODS`; none for those that neither integrate nor sample."""
    position: Annotated[int | None, Parameter("position of the explained token", 0, MOST_POSITIONS)] = None
    """None for the first there is."""
    target: Target = "probability"
    contrast: Contrast = None
    aggregate: Aggregated = "l2"
    baseline: Absence = "token"
    whole_words: Annotated[bool, Parameter("score and hide all tokens of a word together")] = False


MOST_PREDICTIONS = 50
"""The longest list of predictions a layer can be asked for."""
PredictedPosition = Annotated[int | None, Parameter("position of the predicted token", 0, MOST_POSITIONS)]
"""Of the predicted token, 1 to n_positions (that one was never written); it is read off the position before it. None for
the first token after the prompt."""
FinalNorm = Annotated[
    bool, Parameter("leave the final norm out, as ecco did: a comparison", turns_off="without_final_norm")
]
"""Without it, on every layer but the last, the numbers are a comparison, not a reading."""


AfterAttention = Annotated[bool, Parameter("also read the stream after each block's attention, before its MLP")]
"""Half a layer after the one before: 0.5 is after the attention of block 1, −0.5 after that of block 0."""


@dataclass(frozen=True)
class LayerPredictionsSettings(Settings):
    """What is asked of the layers."""

    position: PredictedPosition = None
    layer: Annotated[
        int | Literal["all", "last"], Parameter("only this layer, or last; -1 is the embedding row", -1, MOST_LAYERS)
    ] = "all"
    top: Annotated[int, Parameter("how many predictions per layer", 1, MOST_PREDICTIONS)] = 10
    final_norm: FinalNorm = True
    after_attention: AfterAttention = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.after_attention and self.layer != "all":
            raise InputError("conflicting_layers")


@dataclass(frozen=True)
class RankingsSettings(Settings):
    """What is asked of the layers, beside the ranks of the text's own tokens."""

    watch: Annotated[tuple[str, ...], Parameter("also rank this token; may be repeated", 0, LIMITS.watched_tokens)] = ()
    """Words to rank at one position, leading space included; words of the same token are watched once."""
    position: PredictedPosition = None
    """Where they are ranked."""
    final_norm: FinalNorm = True
    after_attention: AfterAttention = False


Parts = Literal["positive", "split"]
Side = Literal["target", "source"]
LayerSet = Literal["all", "first", "middle", "last"]
Part = Literal["positive", "negative"]
DEFAULT_FACTORS = 8
"""As in the articles (Alammar 2021)."""


@dataclass(frozen=True)
class NeuronFactorsSettings(Settings):
    """Which neurons, which tokens, how many factors."""

    factors: Annotated[int | Literal["auto"], Parameter("how many factors, or auto", 1, LIMITS.factors)] = "auto"
    """`auto`: 8, or as many as there are tokens to factorise."""
    first_layer: Annotated[int | None, Parameter("first layer, inclusive", 0, MOST_LAYERS)] = None
    """None: 0."""
    last_layer: Annotated[int | None, Parameter("last layer, inclusive", 0, MOST_LAYERS)] = None
    """None: the last."""
    include_first_token: Annotated[bool, Parameter("factorise the first token too")] = False
    """The first token's activations dwarf all others (attention sinks; Sun et al. 2024), so it is left out by default."""
    include_special: Annotated[bool, Parameter("factorise the other special tokens too")] = False
    scale_layers: Annotated[bool, Parameter("join the layers as they are, as ecco did", turns_off="unscaled")] = True
    """Each layer is brought to unit Frobenius norm, or the loudest would be all."""
    parts: Annotated[Parts, Parameter("positive activations, or both halves")] = "positive"
    """`positive`: what is below zero counts as zero (ecco). `split`: it counts as neurons of its own, sign turned."""
    side: Annotated[Side, Parameter("which stack of an encoder-decoder model")] = "target"
    """The decoder's blocks on the target's tokens, or the encoder's on the source's."""
    layers: Annotated[LayerSet, Parameter("which layers, where no first or last one is given")] = "all"

    @property
    def names_layers(self) -> bool:
        """Whether a first or a last layer is given, which then counts."""
        return self.first_layer is not None or self.last_layer is not None


SimilarityMeasure = Literal["cka-debiased", "cka", "svcca", "pwcca"]
Representation = Literal["blocks", "neurons"]
SHUFFLES = 10
"""Orders of the tokens that the noise floor is the mean over; seeded."""


@dataclass(frozen=True)
class LayerSimilaritySettings(Settings):
    """How layers are compared, and over which tokens."""

    measure: Annotated[SimilarityMeasure, Parameter("how two layers are compared")] = "cka-debiased"
    representation: Annotated[Representation, Parameter("outputs of the blocks, or neurons of the MLPs")] = "blocks"
    components: Annotated[int, Parameter("SVCCA and PWCCA: principal components kept of each layer", 1, 64)] = 10
    include_first_token: Annotated[bool, Parameter("compare over the first token too")] = False
    include_special: Annotated[bool, Parameter("compare over the other special tokens too")] = False


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
class AblationSettings(Settings):
    """Which neurons to turn down or up, and by how much."""

    neurons: tuple[FactorNeuron, ...]
    scale: Annotated[float, Parameter("0 silences them, 1 changes nothing, 2 doubles them", 0, 2)] = 0.0
    top: int = 10
    """Likeliest tokens to report, before and after."""
    side: Side = "target"
    """As in `NeuronFactorsSettings`."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.neurons:
            raise InputError("no_neurons_chosen")
