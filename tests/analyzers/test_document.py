"""The JSON document: the keys of the contract, plain finite numbers, nothing else."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from analyzers.dispatch import Answer, Dispatcher, answer
from analyzers.document import document
from analyzers.request import parse_request
from analyzers.store import ModelStore
from analyzers.table import table

TEXT = "the café 👩‍🚀 and <b> the"
METHODS = ["occlusion", "gradient", "input-x-gradient", "integrated-gradients"]
COMMON = {
    "model", "revision", "kind", "dtype", "n_layers", "n_prompt", "tokens", "warnings", "seconds",
}  # fmt: skip
SALIENCY = {"method", "target", "baseline", "aggregate", "scores", "shares", "completeness"}


@pytest.fixture
def ask(save_model: Callable[..., Path]) -> Callable[..., Answer]:
    folder = save_model("gpt2")
    dispatcher = Dispatcher(ModelStore(any_folder=True))

    def run(**settings: Any) -> Answer:
        raw = {"text": TEXT, "generate": 2, "model": str(folder), "device": "cpu"} | settings
        return answer(dispatcher, parse_request("saliency", raw))

    return run


def numbers(value: Any) -> Iterator[float]:
    if isinstance(value, dict):
        for item in value.values():
            yield from numbers(item)
    elif isinstance(value, list):
        for item in value:
            yield from numbers(item)
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        yield value


@pytest.mark.parametrize("aggregate", ["l2", "sum"])
@pytest.mark.parametrize("method", METHODS)
def test_it_has_the_keys_of_the_contract_and_survives_json(
    ask: Callable[..., Answer], method: str, aggregate: str
) -> None:
    found = document(ask(method=method, aggregate=aggregate, points=2))
    assert set(found) >= COMMON | SALIENCY
    again = json.loads(json.dumps(found, allow_nan=False))
    assert again == found
    assert all(math.isfinite(number) for number in numbers(found))
    n = found["n_prompt"]
    assert [token["position"] for token in found["tokens"]] == list(range(n + 2))
    assert all(set(token) == {"position", "id", "text", "special", "side"} for token in found["tokens"])
    assert [len(row) for row in found["scores"]] == [n, n + 1]
    if aggregate == "l2":
        assert [sum(row) for row in found["shares"]] == pytest.approx([1, 1])
    else:
        assert found["shares"] is None
    if method == "integrated-gradients":
        keys = {"error", "total", "relative", "map_change", "points", "converged"}
        assert [set(item) for item in found["completeness"]] == [keys, keys]
    else:
        assert found["completeness"] == [None, None]
    assert set(found["seconds"]) == {"load", "generate", "analyze"}
    assert (found["kind"], found["dtype"], found["n_layers"]) == ("causal", "float32", 3)


def test_warnings_are_sentences_in_the_language_asked_for(ask: Callable[..., Answer]) -> None:
    found = ask(contrast="zebra")
    (english,) = document(found)["warnings"]
    (japanese,) = document(found, "ja")["warnings"]
    assert english.startswith("“zebra” is ")
    assert japanese.startswith("「zebra」はこのモデル")
    assert document(found)["contrast"]["id"] == document(found, "ja")["contrast"]["id"]


@pytest.mark.parametrize("method", METHODS)
def test_the_table_names_method_target_and_every_token(ask: Callable[..., Answer], method: str) -> None:
    text = table(ask(method=method, points=2))
    assert f"{method} · probability 0." in text
    assert "·and" in text or "·a" in text
    assert "Ġ" not in text
    assert text.count("%") >= 10
    assert ("baseline token “<|end|>”" in text) == (method in ("occlusion", "integrated-gradients"))
    assert ("completeness error" in text) == (method == "integrated-gradients")
