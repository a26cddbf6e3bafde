"""The limits, in one place. Each names itself in the sentence that refuses."""

from __future__ import annotations

import os
from dataclasses import dataclass, field, fields

from analyzers.common.memory import total_memory


@dataclass(frozen=True)
class Limits:
    """How much one request may ask for. Raises ValueError where the values contradict each other."""

    characters: int = 20_000
    """Read from the user before anything is tokenised (a million CJK characters cost ten seconds)."""
    tokens_cpu: int = 512
    """Prompt and new tokens together, on a CPU."""
    tokens_gpu: int = 1_024
    new_tokens: int = 64
    top_k: int = 1_000
    points: int = 512
    """Integration points of one explained token, and the cap of those that are added until it converges."""
    watched_tokens: int = 16
    factors: int = 32
    queue: int = 32
    """Visitors waiting at once."""
    seconds: int = 60
    """One job, model load not counted."""
    answer_megabytes: int = 256
    """Answers held in memory, so that the same question is not computed again."""
    model_megabytes: int = field(default_factory=lambda: 3 * total_memory() // 4 // 10**6)
    """Weights held in main memory at once, of all models together: three quarters of the memory."""

    def __post_init__(self) -> None:
        for item in fields(self):
            value = getattr(self, item.name)
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                raise ValueError(f"limit {item.name} must be a whole number of at least 1; it is {value!r}")
        if self.new_tokens >= min(self.tokens_cpu, self.tokens_gpu):
            raise ValueError("limit new_tokens must be below tokens_cpu and tokens_gpu, or no prompt fits")

    def tokens(self, device: str) -> int:
        return self.tokens_cpu if device == "cpu" else self.tokens_gpu

    def __str__(self) -> str:
        return ", ".join(f"{item.name} {getattr(self, item.name):,}" for item in fields(self))


def read_limits(environment: dict[str, str] | None = None) -> Limits:
    """The defaults, overridden by `ECCOLENS_<NAME>` variables. Raises ValueError on a bad one."""
    environment = dict(os.environ) if environment is None else environment
    given: dict[str, int] = {}
    for item in fields(Limits):
        raw = environment.get(f"ECCOLENS_{item.name.upper()}")
        if raw is not None:
            if not raw.strip().isdigit():
                raise ValueError(f"ECCOLENS_{item.name.upper()} must be a whole number; it is {raw!r}")
            given[item.name] = int(raw)
    return Limits(**given)


LIMITS = read_limits()
