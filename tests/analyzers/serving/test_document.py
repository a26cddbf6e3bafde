"""The JSON document: the keys of the contract, plain finite numbers, nothing else."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from analyzers.models.store import ModelStore
from analyzers.serving.dispatch import Answer, Dispatcher, answer
from analyzers.serving.document import document
from analyzers.serving.request import parse_request
from analyzers.serving.table import table
from analyzers.sources.resolver import Resolver

TEXT = "the café 👩‍🚀 and <b> the"
METHODS = ["occlusion", "gradient", "input-x-gradient", "integrated-gradients", "shapley", "attn-lrp"]
COMMON = {
    "model", "revision", "kind", "dtype", "n_layers", "n_prompt", "tokens", "warnings", "seconds",
}  # fmt: skip
SALIENCY = {"method", "target", "baseline", "aggregate", "scores", "shares", "completeness"}


@pytest.fixture
def ask(save_model: Callable[..., Path]) -> Callable[..., Answer]:
    folder = save_model("gpt2")
    dispatcher = Dispatcher(ModelStore(Resolver(any_folder=True)))

    def run(analysis: str = "saliency", **settings: Any) -> Answer:
        raw = {"text": TEXT, "generate": 2, "model": str(folder), "device": "cpu"} | settings
        return answer(dispatcher, parse_request(analysis, raw))

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
    if method in ("integrated-gradients", "shapley", "attn-lrp"):
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
    assert (f"{method} · logit " if method == "attn-lrp" else f"{method} · probability 0.") in text
    assert "␣and" in text or "␣a" in text
    assert "Ġ" not in text
    assert text.count("%") >= 10
    assert ("baseline token “<|end|>”" in text) == (method in ("occlusion", "integrated-gradients", "shapley"))
    assert ("error of a share" in text) == (method == "shapley")
    assert ("completeness error" in text) == (method == "integrated-gradients")
    assert ("the parts add up to" in text) == (method == "attn-lrp")
    if method == "attn-lrp":
        found = document(ask(method=method))
        negative = sum(effect < 0 for effects in found["effects"] for effect in effects)
        assert text.count("(its part is negative)") == negative > 0


def survives(found: dict[str, Any], keys: set[str]) -> None:
    """The common keys and these, in plain finite numbers."""
    assert set(found) >= COMMON | keys
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert all(math.isfinite(number) for number in numbers(found))


@pytest.mark.parametrize("settings", [{}, {"without_final_norm": True}, {"position": 1}, {"generate": 0}], ids=str)
def test_layer_predictions_have_the_keys_of_the_contract(ask: Callable[..., Answer], settings: dict[str, Any]) -> None:
    answered = ask("layer-predictions", **settings)
    found = document(answered)
    survives(found, {"position", "layers"})
    assert found["position"] == settings.get("position", found["n_prompt"])
    assert [row["layer"] for row in found["layers"]] == [-1, 0, 1, 2]
    for row, entropy in zip(found["layers"], answered.result.entropy, strict=True):
        assert set(row) == {"layer", "predictions", "entropy", "kl"}
        assert row["entropy"] == float(entropy)
        assert [set(one) for one in row["predictions"]] == [{"id", "text", "probability"}] * 10
        probabilities = [one["probability"] for one in row["predictions"]]
        assert probabilities == sorted(probabilities, reverse=True)
        assert 0 < sum(probabilities) <= 1
    assert (found["chosen"] is None) == (settings.get("generate") == 0)
    assert (found["chosen_ranks"] is None) == (found["chosen"] is None)
    if found["chosen"] is not None:
        assert found["chosen"]["id"] == found["tokens"][found["position"]]["id"]
        assert [len(found[key]) for key in ("chosen_ranks", "chosen_ties")] == [4, 4]


@pytest.mark.parametrize("settings", [{}, {"without_final_norm": True}, {"generate": 0}], ids=str)
def test_rankings_have_the_keys_of_the_contract(ask: Callable[..., Answer], settings: dict[str, Any]) -> None:
    found = document(ask("rankings", **settings))
    survives(found, {"outputs", "ranks", "ties", "commitment", "watch"})
    n_outputs = settings.get("generate", 2)
    assert found["outputs"] == list(range(found["n_prompt"], found["n_prompt"] + n_outputs))
    for key in ("ranks", "ties"):
        assert [len(row) for row in found[key]] == [n_outputs] * 3
    assert len(found["commitment"]) == n_outputs
    assert found["watch"] is None
    assert all(rank == 1 for rank in found["ranks"][-1])


def test_watched_words_are_in_the_document_with_their_ids(ask: Callable[..., Answer]) -> None:
    found = document(ask("rankings", watch=[" the", "<b>"], position=2))
    survives(found, {"watch"})
    watch = found["watch"]
    assert set(watch) >= {"position", "tokens", "ranks"}
    assert watch["position"] == 2
    assert [set(token) for token in watch["tokens"]] == [{"id", "text"}] * 2
    assert [token["text"] for token in watch["tokens"]] == [" the", "<"]
    assert [len(row) for row in watch["ranks"]] == [2, 2, 2]
    assert any("“<b>” is 3 tokens" in warning for warning in found["warnings"])


@pytest.mark.parametrize(
    "settings", [{}, {"factors": 3, "first_layer": 1, "last_layer": 2}, {"parts": "split", "unscaled": True}], ids=str
)
def test_neuron_factors_have_the_keys_of_the_contract(ask: Callable[..., Answer], settings: dict[str, Any]) -> None:
    found = document(ask("neuron-factors", **settings))
    survives(found, {"layers", "left_out", "error", "iterations", "converged", "factors"})
    layers = list(range(settings.get("first_layer", 0), 3))
    assert (found["layers"], found["left_out"]) == (layers, [0])
    assert 0 < found["error"] < 1
    assert isinstance(found["iterations"], int)
    assert isinstance(found["converged"], bool)
    assert len(found["factors"]) == settings.get("factors", 8)
    energies = [factor["energy"] for factor in found["factors"]]
    assert energies == sorted(energies, reverse=True)
    for factor in found["factors"]:
        assert set(factor) >= {"activations", "layer_shares", "top_neurons"}
        assert [value is None for value in factor["activations"]] == [True] + [False] * (found["n_prompt"] + 1)
        assert all(value >= 0 for value in factor["activations"][1:])
        assert len(factor["layer_shares"]) == len(layers)
        assert sum(factor["layer_shares"]) == pytest.approx(1)
        assert 1 <= len(factor["top_neurons"]) <= 20
        assert all(set(one) == {"layer", "neuron", "part", "weight"} for one in factor["top_neurons"])
        assert {one["layer"] for one in factor["top_neurons"]} <= set(layers)
        weights = [one["weight"] for one in factor["top_neurons"]]
        assert weights == sorted(weights, reverse=True)
    parts = {one["part"] for factor in found["factors"] for one in factor["top_neurons"]}
    assert parts <= ({"positive", "negative"} if settings.get("parts") == "split" else {"positive"})
    assert found["parts"] == settings.get("parts", "positive")


def test_the_table_of_neuron_factors_names_tokens_neurons_and_what_they_promote(ask: Callable[..., Answer]) -> None:
    answered = ask("neuron-factors", factors=2)
    result = answered.result
    lines = table(answered).splitlines()
    assert f"relative error {result.error:.4f} · {result.iterations} iterations" in lines[2]
    assert "left out: the" in lines[2]
    blocks = [lines[4 + 4 * number :][:3] for number in range(2)]
    for number, (factor, (tokens, neurons, promotes)) in enumerate(zip(result.factors, blocks, strict=True), 1):
        strongest = np.nanmax(factor.activations)
        assert tokens.startswith(f"factor {number} (energy {factor.energy:.3f}): ")
        assert tokens.split(": ", 1)[1].split()[1] == f"{strongest:.2f}"
        first = factor.top_neurons[0]
        assert neurons.startswith(f"  neurons (layer/index): {first.layer}/{first.neuron}, ")
        assert promotes.startswith("  promotes: ")


def test_the_table_of_layer_predictions_has_a_line_per_layer(ask: Callable[..., Answer]) -> None:
    answered = ask("layer-predictions", top=2)
    lines = table(answered).splitlines()
    result = answered.result
    assert lines[2].startswith(f"position {result.position} (there: ")
    assert "final norm and head at every layer" in lines[2]
    assert [line.split()[0] for line in lines[4:8]] == ["embed", "0", "1", "2"]
    assert f"{result.predictions[3][0].probability:.1%}" in lines[7]
    assert "WITHOUT the final norm" in table(ask("layer-predictions", without_final_norm=True))


def test_the_table_of_rankings_has_a_line_per_layer_and_the_watched_words(ask: Callable[..., Answer]) -> None:
    answered = ask("rankings", watch=[" the", " to"])
    text = table(answered)
    ranks = answered.result.ranks
    lines = text.splitlines()
    assert [line.split() for line in lines[4:7]] == [[str(n), *(str(r) for r in row)] for n, row in enumerate(ranks)]
    assert "first from layer: " in text
    assert f"watched at position {answered.result.watch.position}" in text
    assert all(f"{word} ({id})" in text for word, id in zip(["␣the", "␣to"], [259, 342], strict=True))
