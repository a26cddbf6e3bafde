"""The four kinds of model, and what each can do."""

from __future__ import annotations

from enum import StrEnum


class Kind(StrEnum):
    """What a model is asked. A question about a kind is a property here, never a comparison elsewhere."""

    CAUSAL = "causal"
    """Predicts the next token."""
    MASKED = "masked"
    """Predicts a hidden token, from both sides."""
    SEQ2SEQ = "seq2seq"
    """Reads a source and writes a target."""
    ENCODER = "encoder"
    """Has no language-model head, and predicts no token."""

    @property
    def predicts(self) -> bool:
        """Whether there is a head, so that layers can be read as tokens."""
        return self is not Kind.ENCODER

    @property
    def writes(self) -> bool:
        """Whether it goes on from a text, token by token."""
        return self in (Kind.CAUSAL, Kind.SEQ2SEQ)

    @property
    def fills_masks(self) -> bool:
        return self is Kind.MASKED

    @property
    def has_source(self) -> bool:
        """Whether it has two stacks of blocks: one reads a source, the other writes a target."""
        return self is Kind.SEQ2SEQ

    @property
    def continues_its_text(self) -> bool:
        """Whether what it writes stands after the text that it was given."""
        return self is Kind.CAUSAL


PREDICTING = tuple(kind for kind in Kind if kind.predicts)
EVERY = tuple(Kind)
