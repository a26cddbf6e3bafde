"""The saliency methods: a row for each, read by the settings, the analysis, its cost, the charts and the page."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass


@dataclass(frozen=True)
class Method:
    """A way to score tokens."""

    name: str
    """As the settings have it; `method_…` is its label on the page."""
    function: str
    """`module:function`, from a `methods.scoring.Question` to steps of `Scores`."""
    cost: str
    """`module:function`, from the settings and the size of a text to a `Cost`."""
    uses_baseline: bool = False
    """Whether it asks what stands for an absent token."""
    integrates: bool = False
    """Whether it takes points on a path, and has errors to show."""
    hides_tokens: bool = False
    """Whether it hides tokens: then it hides whole words too, and its score is one signed number a token, whose magnitude
    `l2` takes."""
    samples: bool = False
    """Whether it takes orders of the tokens at random, and has an error for each token."""
    shares_out: bool = False
    """Whether it shares the explained token's logit out among the tokens, whatever the target is: its score is one signed
    number a token, whose magnitude `l2` takes, and they should add up."""
    reads_in_batches: bool = False
    """Whether explained tokens are taken some at a time, the first one early."""

    @property
    def hides_alone(self) -> bool:
        """Whether it hides each token by itself: then the value without that token is known."""
        return self.hides_tokens and not self.samples

    @property
    def is_quick(self) -> bool:
        """Whether it takes a few forwards a token at most."""
        return not self.integrates and not self.samples


METHODS: dict[str, Method] = {
    row.name: row
    for row in (
        Method(
            "occlusion",
            "analyzers.methods.scoring:score_by_occlusion",
            "analyzers.serving.cost:cost_of_occlusion",
            uses_baseline=True,
            hides_tokens=True,
        ),
        Method(
            "integrated-gradients",
            "analyzers.methods.scoring:score_by_integrated_gradients",
            "analyzers.serving.cost:cost_of_integration",
            uses_baseline=True,
            integrates=True,
            reads_in_batches=True,
        ),
        Method(
            "shapley",
            "analyzers.methods.scoring:score_by_shapley_values",
            "analyzers.serving.cost:cost_of_shapley_values",
            uses_baseline=True,
            hides_tokens=True,
            samples=True,
        ),
        Method(
            "attn-lrp",
            "analyzers.methods.scoring:score_by_attn_lrp",
            "analyzers.serving.cost:cost_of_gradients",
            shares_out=True,
        ),
        Method(
            "input-x-gradient",
            "analyzers.methods.scoring:score_by_input_x_gradient",
            "analyzers.serving.cost:cost_of_gradients",
        ),
        Method("gradient", "analyzers.methods.scoring:score_by_gradient", "analyzers.serving.cost:cost_of_gradients"),
    )
}
"""In the order in which they are offered."""


def methods_compared(chosen: Collection[str]) -> list[str]:
    """Names of the chosen methods, the quick ones first; where none is chosen, of the quick ones alone."""
    named = [row for name, row in METHODS.items() if name in chosen] or [
        row for row in METHODS.values() if row.is_quick
    ]
    return [row.name for row in sorted(named, key=lambda row: not row.is_quick)]
