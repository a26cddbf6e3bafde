"""How a continuation is made. Apart from `completion`, so that a request is parsed before torch is loaded."""

from __future__ import annotations

from dataclasses import dataclass


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
