"""How torch's own threads wait for each other on a CPU."""

from __future__ import annotations

import os

SPINS = 3000
"""Turns of GNU OpenMP's waiting loop before a thread sleeps: by measurement, see docs/decisions/whole-chunks.md."""


def choose_waiting_policy() -> None:
    """Let torch's threads spin shortly, then sleep. Call it before torch is imported, which reads the environment once;
    what the user has chosen there holds."""
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", str(SPINS))
