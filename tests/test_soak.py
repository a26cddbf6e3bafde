"""A minute of `benchmarks/soak.py`: eight visitors on the bundled models, some of whom hang up."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
pytestmark = pytest.mark.xdist_group("odd")  # what serves alone: not beside another of these


def test_a_minute_of_many_visitors_ends_without_an_error_and_nothing_grows() -> None:
    ended = subprocess.run(
        [sys.executable, "benchmarks/soak.py", "--minutes", "1", "--clients", "8"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert " equal" in ended.stdout
    assert " dropped" in ended.stdout
    assert " changes of model" in ended.stdout
