from __future__ import annotations

from dataclasses import fields
from typing import Any

import psutil
import pytest

from analyzers.common.limits import Limits, read_limits


def test_the_defaults_are_the_documented_ones() -> None:
    limits = read_limits({})
    assert (limits.characters, limits.tokens_cpu, limits.tokens_gpu, limits.new_tokens) == (20_000, 512, 1_024, 64)
    assert (limits.watched_tokens, limits.factors, limits.queue, limits.seconds) == (16, 32, 32, 60)


def test_a_variable_overrides_its_limit_alone() -> None:
    limits = read_limits({"ECCOLENS_TOKENS_CPU": " 300 ", "TOKENS_GPU": "9", "ECCOLENS_OTHER": "x"})
    assert limits == Limits(tokens_cpu=300)


@pytest.mark.parametrize("raw", ["", "ten", "-1", "1.5", "1e3", "0", "nan", "١٢٣x"])
@pytest.mark.parametrize("name", [item.name for item in fields(Limits)])
def test_a_bad_variable_is_refused_by_name(name: str, raw: str) -> None:
    with pytest.raises(ValueError, match=f"ECCOLENS_{name.upper()}"):
        read_limits({f"ECCOLENS_{name.upper()}": raw})


@pytest.mark.parametrize("values", [dict(new_tokens=512), dict(tokens_cpu=64), dict(tokens_gpu=10)])
def test_limits_that_leave_no_room_for_a_prompt_are_refused(values: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="no prompt fits"):
        Limits(**values)


def test_the_token_limit_depends_on_the_device() -> None:
    assert (Limits().tokens("cpu"), Limits().tokens("cuda")) == (512, 1_024)


def test_three_quarters_of_the_memory_may_hold_weights_unless_a_variable_says_otherwise() -> None:
    assert Limits().model_megabytes == pytest.approx(0.75e-6 * psutil.virtual_memory().total, abs=1)
    assert read_limits({"ECCOLENS_MODEL_MEGABYTES": "800"}).model_megabytes == 800


def test_all_limits_are_said_at_start() -> None:
    said = str(Limits())
    assert "characters 20,000" in said
    assert all(item.name in said for item in fields(Limits))
