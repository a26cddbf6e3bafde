"""The limits, in one place. Each names itself in the sentence that refuses."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields

from analyzers.common.errors import InputError
from analyzers.common.memory import total_memory
from analyzers.common.sentences import quote

OTHER_VARIABLES = {"ECCOLENS_CACHE", "ECCOLENS_PASSWORD"}


@dataclass(frozen=True)
class Limits:
    """How much one request may ask for. Raises InputError where the values contradict each other."""

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
                raise InputError("limit_no_number", name=f"ECCOLENS_{item.name.upper()}", value=quote(str(value)))
        if self.new_tokens >= min(self.tokens_cpu, self.tokens_gpu):
            raise InputError("limits_contradict")

    def tokens(self, device: str) -> int:
        return self.tokens_cpu if device == "cpu" else self.tokens_gpu

    def __str__(self) -> str:
        return ", ".join(f"{item.name} {getattr(self, item.name):,}" for item in fields(self))


def read_limits(environment: dict[str, str] | None = None) -> Limits:
    """The defaults, overridden by `ECCOLENS_<NAME>` variables. Raises InputError on a bad one."""
    environment = dict(os.environ) if environment is None else environment
    given: dict[str, int] = {}
    for item in fields(Limits):
        raw = environment.get(f"ECCOLENS_{item.name.upper()}")
        if raw is not None:
            if not re.fullmatch(r"\s*[0-9]{1,15}\s*", raw):
                raise InputError("limit_no_number", name=f"ECCOLENS_{item.name.upper()}", value=quote(raw))
            given[item.name] = int(raw)
    return Limits(**given)


def unknown_variables(environment: Mapping[str, str]) -> list[str]:
    """Names that look like a setting of this app and are none: a slip of the pen would go unseen."""
    known = {f"ECCOLENS_{item.name.upper()}" for item in fields(Limits)} | OTHER_VARIABLES
    return sorted(name for name in environment if name.startswith("ECCOLENS_") and name not in known)


def _read_or_explain() -> tuple[Limits, InputError | None]:
    try:
        return read_limits(), None
    except InputError as error:
        return Limits(), error


LIMITS, REFUSED = _read_or_explain()
"""`REFUSED` says what is wrong with the environment's, of which none counts then: what is started by a person says so and
ends."""
