"""The analyses: a row for each, read by the command line, the endpoints, the page, the dispatcher and the tests."""

from __future__ import annotations

from dataclasses import dataclass

from analyzers.common.kinds import EVERY, PREDICTING, Kind
from analyzers.common.parameters import Settings
from analyzers.common.settings import (
    AblationSettings,
    LayerPredictionsSettings,
    LayerSimilaritySettings,
    MapComparisonSettings,
    NeuronFactorsSettings,
    RankingsSettings,
    SaliencySettings,
)


@dataclass(frozen=True)
class Analysis:
    """One analysis. Functions are named as `module:function`, and loaded when they are first used."""

    name: str
    """As the command line and the page have it; with `_` for `-` the endpoint's."""
    settings: type[Settings]
    function: str
    """From a model, a completion and the settings to steps of `Progress`, the last with the result."""
    cost: str
    """From the settings and the size of a text to a `Cost`."""
    kinds: tuple[Kind, ...] = PREDICTING
    """Which models it reads."""
    purpose: str = ""
    """In one line, for whoever asks what there is."""
    document: str = ""
    """From the result to what it adds to the JSON document. Empty for one that is asked from a tab of another."""
    table: str = ""
    """From the result to the lines that a terminal shows."""
    smoke_key: str = ""
    """What the JSON document of an answer must hold."""
    takes_second: bool = False
    """Whether a second model may read the same text beside the first."""
    joint_function: str = ""
    """As `function`, of two models with a completion each, where both are one result; empty where each has its own."""
    asked_from: str = ""
    """The analysis from whose tab it is asked for; empty for one with a tab of its own."""

    @property
    def is_public(self) -> bool:
        """Whether it has a command and an endpoint."""
        return bool(self.document)

    @property
    def has_tab(self) -> bool:
        return self.is_public and not self.asked_from

    @property
    def endpoint(self) -> str:
        return self.name.replace("-", "_")


ANALYSES: dict[str, Analysis] = {
    row.name: row
    for row in (
        Analysis(
            "saliency",
            SaliencySettings,
            function="analyzers.saliency:compute_saliency",
            cost="analyzers.serving.cost:cost_of_saliency",
            kinds=EVERY,
            purpose="Which earlier tokens drove each predicted token: scores and shares.",
            document="analyzers.serving.document:saliency_part",
            table="analyzers.serving.table:saliency_lines",
            smoke_key="shares",
            takes_second=True,
        ),
        Analysis(
            "layer-predictions",
            LayerPredictionsSettings,
            function="analyzers.layer_predictions:predict_from_each_layer",
            cost="analyzers.serving.cost:cost_of_one_position",
            purpose="What each layer would have predicted at one position; layer -1 is the embedding row.",
            document="analyzers.serving.document:layer_predictions_part",
            table="analyzers.serving.table:layer_predictions_lines",
            smoke_key="layers",
            takes_second=True,
        ),
        Analysis(
            "rankings",
            RankingsSettings,
            function="analyzers.rankings:rank_at_each_layer",
            cost="analyzers.serving.cost:cost_of_every_position",
            purpose="How the model's own tokens, and watched ones, rank at each layer; rank 1 is the likeliest.",
            document="analyzers.serving.document:rankings_part",
            table="analyzers.serving.table:rankings_lines",
            smoke_key="ranks",
            takes_second=True,
        ),
        Analysis(
            "neuron-factors",
            NeuronFactorsSettings,
            function="analyzers.neuron_factors:factorize_neurons",
            cost="analyzers.serving.cost:cost_of_factorization",
            kinds=EVERY,
            purpose="Which neurons fire together, and on which tokens: a non-negative factorisation.",
            document="analyzers.serving.document:neuron_factors_part",
            table="analyzers.serving.table:neuron_factors_lines",
            smoke_key="factors",
        ),
        Analysis(
            "map-comparison",
            MapComparisonSettings,
            function="analyzers.map_comparison:compare_maps",
            cost="analyzers.serving.cost:cost_of_map_comparison",
            kinds=EVERY,
            purpose="Which saliency map to believe: several methods on one token, their agreement, and each one's test.",
            document="analyzers.serving.document:map_comparison_part",
            table="analyzers.serving.table:map_comparison_lines",
            smoke_key="maps",
            asked_from="saliency",
        ),
        Analysis(
            "layer-similarity",
            LayerSimilaritySettings,
            function="analyzers.layer_similarity:compare_all_layers",
            takes_second=True,
            joint_function="analyzers.layer_similarity:compare_two_models",
            cost="analyzers.serving.cost:cost_of_layer_similarity",
            kinds=EVERY,
            purpose="Which layers are alike on a text: CKA, SVCCA or PWCCA of all pairs, beside a noise floor.",
            document="analyzers.serving.document:layer_similarity_part",
            table="analyzers.serving.table:layer_similarity_lines",
            smoke_key="similarity",
            asked_from="neuron-factors",
        ),
        Analysis(
            "layer-overview",
            LayerPredictionsSettings,
            function="analyzers.layer_predictions:overview_of_each_layer",
            cost="analyzers.serving.cost:cost_of_every_position",
        ),
        Analysis(
            "ablation",
            AblationSettings,
            function="analyzers.ablation:ablate_neurons",
            cost="analyzers.serving.cost:cost_of_ablation",
        ),
    )
}
"""In the order of the tabs; then those that are asked from one."""


def public_analyses() -> tuple[Analysis, ...]:
    """Those that have a command and an endpoint."""
    return tuple(row for row in ANALYSES.values() if row.is_public)


def analyses_with_tab() -> tuple[Analysis, ...]:
    """Those that have a tab as well."""
    return tuple(row for row in ANALYSES.values() if row.has_tab)
