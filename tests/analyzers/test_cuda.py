"""On a GPU every analysis of every family gives what it gives on the processor, every time, and leaves its memory as it was.
Skipped where there is none."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from families import FAMILIES, tiny_module, tiny_tokenizer

from analyzers.common.methods import METHODS
from analyzers.models.store import ModelStore
from analyzers.serving.dispatch import Dispatcher, answer
from analyzers.serving.document import document
from analyzers.serving.request import parse_request
from analyzers.sources.resolver import Resolver

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")

RUNS: list[tuple[str, dict[str, Any]]] = [
    *(
        ("saliency", {"method": method, **({"points": 8} if method == "integrated-gradients" else {})})
        for method in METHODS
    ),
    ("saliency", {"method": "integrated-gradients"}),
    ("layer-predictions", {}),
    ("rankings", {}),
    ("neuron-factors", {"factors": 2}),
]


@pytest.fixture(scope="module")
def dispatcher(tmp_path_factory: pytest.TempPathFactory) -> Dispatcher:
    folder = tmp_path_factory.mktemp("models")
    for name, family in FAMILIES.items():
        tiny_module(name).save_pretrained(folder / f"tiny-{name}")
        tiny_tokenizer(family.kind).save_pretrained(folder / f"tiny-{name}")
    return Dispatcher(ModelStore(Resolver(models_folder=folder)))


def run(dispatcher: Dispatcher, family: str, analysis: str, device: str, values: dict[str, Any]) -> dict[str, Any]:
    kind = FAMILIES[family].kind
    text = "the café [MASK] the keys on" if kind == "masked" else "the café: the keys to"
    asked = {"text": text, "model": f"tiny-{family}", "device": device, "generate": 2, **values}
    if kind == "encoder":
        asked["target_text"] = "a café 東京"
    found = document(answer(dispatcher, parse_request(analysis, asked)))
    found.pop("seconds")
    return found


def assert_near(here: Any, there: Any, at: str = "") -> None:
    """Numbers within what float32 bears, everything else equal."""
    if isinstance(here, dict):
        assert here.keys() == there.keys(), at
        for name in here:
            if name not in ("device", "request", "self_check"):
                assert_near(here[name], there[name], f"{at}.{name}")
    elif isinstance(here, list):
        assert len(here) == len(there), at
        for i, (one, other) in enumerate(zip(here, there, strict=True)):
            assert_near(one, other, f"{at}[{i}]")
    elif isinstance(here, float):
        assert math.isclose(here, there, rel_tol=5e-3, abs_tol=2e-4), (at, here, there)
    else:
        assert here == there, at


@pytest.mark.parametrize(
    ("analysis", "values"), RUNS, ids=[f"{name}-{'-'.join(map(str, v.values()))}" for name, v in RUNS]
)
@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_a_gpu_gives_what_the_processor_gives(
    dispatcher: Dispatcher, family: str, analysis: str, values: dict[str, Any]
) -> None:
    if {analysis, values.get("method")} & set(FAMILIES[family].without):
        pytest.skip("the family cannot have it")
    here, there = (run(dispatcher, family, analysis, device, values) for device in ("cpu", "cuda"))
    assert run(dispatcher, family, analysis, "cuda", values) == there
    if analysis == "neuron-factors":  # where a few random neurons fit many ways, rounding chooses the way
        assert math.isclose(here["error"], there["error"], abs_tol=2e-3)
        here, there = ({name: found[name] for name in ("tokens", "n_layers", "dtype")} for found in (here, there))
    assert_near(here, there)


def test_memory_is_given_back(dispatcher: Dispatcher) -> None:
    run(dispatcher, "gpt2", "saliency", "cuda", {})
    before = torch.cuda.memory_allocated()
    for method in METHODS:
        run(dispatcher, "gpt2", "saliency", "cuda", {"method": method, "text": "the keys to the cabinet " * 4})
    assert torch.cuda.memory_allocated() - before < 10**6


@pytest.mark.parametrize("precision", ["float32", "half"])
def test_each_precision_finds_what_it_proves(dispatcher: Dispatcher, precision: str) -> None:
    own = Dispatcher(ModelStore(dispatcher.store.resolver, precision=precision))
    found = run(own, "llama", "layer-predictions", "cuda", {})
    assert found["self_check"] is None or found["self_check"] < 0.05
