"""What the process that trials are forked from has ready; imported nowhere else, since it takes seconds."""

from __future__ import annotations

import analyzers.models.tokenizing
import analyzers.models.trial  # noqa: F401
from analyzers.common.kinds import Kind
from analyzers.models.loading import count_parameters

count_parameters({"model_type": "gpt2", "n_embd": 8, "n_layer": 1, "n_head": 1, "vocab_size": 8}, "gpt2", Kind.CAUSAL)
"""The libraries import most of themselves when a model is built for the first time."""
