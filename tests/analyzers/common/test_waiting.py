"""The waiting policy is set before torch reads it, and is the user's where they chose one."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from analyzers.common.waiting import SPINS, choose_waiting_policy

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize(
    ("chosen", "spins"),
    [({}, str(SPINS)), ({"GOMP_SPINCOUNT": "7"}, "7"), ({"OMP_WAIT_POLICY": "PASSIVE"}, None)],
    ids=str,
)
def test_what_the_user_has_chosen_holds(
    chosen: dict[str, str], spins: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY"):
        monkeypatch.delenv(name, raising=False)
    for name, value in chosen.items():
        monkeypatch.setenv(name, value)
    choose_waiting_policy()
    assert os.environ.get("GOMP_SPINCOUNT") == spins


@pytest.mark.parametrize("entry", ["app", "analyzers.__main__"])
def test_torch_is_not_there_yet_when_it_is_set(entry: str) -> None:
    program = f"import sys, {entry}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], cwd=ROOT, timeout=60).returncode == 0
