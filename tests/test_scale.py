"""The numbers of docs/scale.md: what is computed there follows from what was measured, by the code's own constants."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest

from analyzers.models.language_model import LanguageModel
from analyzers.models.prompt import read_prompt
from analyzers.serving.cost import OPERATIONS_A_SECOND_GPU, SECONDS_A_CALL_GPU, estimate
from analyzers.serving.request import parse_request

ROOT = Path(__file__).parents[1]
GUIDE = (ROOT / "docs" / "scale.md").read_text()


def load_benchmark() -> Any:
    spec = importlib.util.spec_from_file_location("scale", ROOT / "benchmarks" / "scale.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


scale = load_benchmark()


def rows() -> list[list[str]]:
    """The cells of the table of runs a minute."""
    lines = [line for line in GUIDE.split("\n## ")[1].splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def number(cell: str) -> float:
    return float(cell.replace(",", ""))


def test_every_request_of_the_benchmark_has_its_row_for_both_texts() -> None:
    names = [name for name, _, _ in scale.REQUESTS]
    assert [row[0] for row in rows()] == names * 2


def test_what_is_computed_follows_from_what_was_measured(smollm2: LanguageModel) -> None:
    requests = [(text, *request) for text in (scale.SHORT, scale.LONG) for request in scale.REQUESTS]
    for row, (text, _, analysis, settings) in zip(rows(), requests, strict=True):
        request = parse_request(analysis, {"text": text} | settings)
        cost = estimate(smollm2, request, read_prompt(smollm2, request.text, request.generation))
        gpu = cost.operations / OPERATIONS_A_SECOND_GPU + cost.calls * SECONDS_A_CALL_GPU
        seconds = (number(row[2]) / scale.SPEEDUP, gpu + scale.SLICE_SECONDS, gpu)
        for cell, each in zip(row[3:], seconds, strict=True):
            assert number(cell) == pytest.approx(60 / each, rel=0.06, abs=0.6), row


def test_the_guide_says_what_was_assumed() -> None:
    text = " ".join(GUIDE.split())
    assert "No GPU was at hand" in text
    assert f"divided by {scale.SPEEDUP}" in text
    assert f"{OPERATIONS_A_SECOND_GPU / 1e12:.0f}·10¹² operations a second" in text
    assert f"{1000 * SECONDS_A_CALL_GPU:.0f} ms for each call" in text
    assert f"and {scale.SLICE_SECONDS:.0f} s for getting the GPU" in text
