"""What can be asked of the rankings. Apart from them, so that a request is parsed before torch is loaded."""

from __future__ import annotations

from dataclasses import dataclass


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
