"""What can be asked of the saliency analysis. Apart from it, so that a request is parsed before torch is loaded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

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
