"""What can be asked of the layer predictions. Apart from them, so that a request is parsed before torch is loaded."""

from __future__ import annotations

from dataclasses import dataclass

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
