"""Tests of one group stand on one worker: what they share (the app, a browser, an environment) is made once."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

pytestmark = pytest.mark.xdist_group("told")


@pytest.mark.parametrize("i", range(8))
def test_a_group_stays_on_one_worker(
    i: int, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> None:
    if not hasattr(request.config, "workerinput"):
        pytest.skip("there is one process")
    told: Path = tmp_path_factory.getbasetemp().parent / "workers"
    with told.open("a") as file:
        file.write(os.environ["PYTEST_XDIST_WORKER"] + "\n")
    assert len(set(told.read_text().split())) == 1
