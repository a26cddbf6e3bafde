"""A model is the same model wherever its weights lie, and nearly the same in half precision."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from accelerate import cpu_offload, disk_offload, dispatch_model
from conftest import TEXT, completed
from families import CAUSAL, tiny_module, tiny_tokenizer
from torch import Tensor

from analyzers.common.progress import finish
from analyzers.common.settings import (
    LayerPredictionsSettings,
    NeuronFactorsSettings,
    RankingsSettings,
    SaliencySettings,
)
from analyzers.layer_predictions import predict_from_each_layer
from analyzers.methods.lens import stream_logits
from analyzers.models.language_model import LanguageModel
from analyzers.models.loading import load_model
from analyzers.models.placement import Placement
from analyzers.models.weights import count_bytes, iterate_weights
from analyzers.neuron_factors import factorize_neurons
from analyzers.rankings import rank_at_each_layer
from analyzers.saliency import compute_saliency

Save = Callable[..., Path]
PLACES = ["two devices", "main memory", "disk"]


def blocks_of(module: Any) -> str:
    """Path of the list of blocks."""
    return next(n for n, part in module.named_modules() if isinstance(part, torch.nn.ModuleList))


def moved(module: Any, where: str, folder: Path) -> Any:
    """The same module with its weights elsewhere, brought in by accelerate when they are used."""
    if where == "main memory":
        return cpu_offload(module, execution_device=torch.device("cpu"))
    if where == "disk":
        return disk_offload(module, str(folder), execution_device=torch.device("cpu"))
    blocks = blocks_of(module)
    names = [
        n
        for n, part in module.named_modules()
        if not any(True for _ in part.children()) and any(True for _ in part.parameters())
    ]
    places = {n: "cpu" for n in names if not n.startswith(blocks)} | {
        f"{blocks}.{i}": "disk" if i % 2 else "cpu" for i in range(3)
    }
    return dispatch_model(module, places, main_device="cpu", offload_dir=str(folder), force_hooks=True)


@pytest.fixture(params=PLACES)
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[str], tuple[LanguageModel, LanguageModel]]:
    """Of a family: the model, and the same with its weights elsewhere."""

    def build(family: str) -> tuple[LanguageModel, LanguageModel]:
        module = moved(tiny_module(family), request.param, tmp_path / "offloaded")
        assert any(weight.device.type == "meta" for weight in module.parameters())
        return LanguageModel(tiny_module(family), tiny_tokenizer(), "a"), LanguageModel(module, tiny_tokenizer(), "a")

    return build


@pytest.mark.parametrize("family", ["gpt2", "llama", "opt"])
def test_weights_that_lie_elsewhere_give_the_same_numbers(
    place: Callable[[str], tuple[LanguageModel, LanguageModel]], family: str
) -> None:
    here, elsewhere = place(family)
    assert elsewhere.facts.self_check == 0.0
    ours, theirs = completed(here, generate=2), completed(elsewhere, generate=2)
    assert ours.ids == theirs.ids
    ids = torch.tensor([ours.ids])
    with torch.no_grad():
        assert torch.equal(here.module(ids).logits, elsewhere.module(ids).logits)
    rows, layers = [2, 5], list(range(-1, 3))
    for a, b in zip(
        *(stream_logits(m, ours.ids, rows, layers, lambda _rows, logits: logits) for m in (here, elsewhere)),
        strict=True,
    ):
        assert torch.equal(a.value, b.value)
    for method in ("gradient", "integrated-gradients", "occlusion"):
        settings = SaliencySettings(method=method, points=4 if method.startswith("integrated") else "auto")
        a, b = (finish(compute_saliency(m, c, settings)) for m, c in ((here, ours), (elsewhere, theirs)))
        np.testing.assert_array_equal(a.scores, b.scores)
    settings_of_factors = NeuronFactorsSettings(factors=2)
    a, b = (finish(factorize_neurons(m, c, settings_of_factors)) for m, c in ((here, ours), (elsewhere, theirs)))
    assert len(a.factors) == len(b.factors) == 2
    for first, second in zip(a.factors, b.factors, strict=True):
        np.testing.assert_array_equal(first.activations, second.activations)
    assert all(weight.device.type == "meta" for weight in elsewhere.module.parameters() if weight.device.type != "cpu")


def test_every_weight_is_seen_wherever_it_lies(place: Callable[[str], tuple[LanguageModel, LanguageModel]]) -> None:
    here, elsewhere = place("llama")
    expected = dict(iterate_weights(here.module))
    found = dict(iterate_weights(elsewhere.module))
    assert expected.keys() == found.keys()
    for name, weight in expected.items():
        assert torch.equal(weight, found[name]), name


def test_memory_is_counted_where_it_is_used(tmp_path: Path) -> None:
    whole = count_bytes(tiny_module("llama"))
    assert whole == sum(4 * weight.numel() for weight in tiny_module("llama").parameters())
    assert count_bytes(moved(tiny_module("llama"), "main memory", tmp_path)) == whole
    assert count_bytes(moved(tiny_module("llama"), "disk", tmp_path / "a")) == 0
    assert 0 < count_bytes(moved(tiny_module("llama"), "two devices", tmp_path / "b")) < whole


def test_a_model_that_fits_in_no_memory_is_spread_over_memory_and_disk(
    save_model: Save, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = save_model("llama")
    whole = load_model(folder, "a", device="cpu")
    monkeypatch.setattr("analyzers.models.loading.free_memory", lambda: whole.n_bytes)  # 0.8 of it may hold weights
    spread = load_model(
        folder, "a", placement=Placement("cpu", "float32", 0, 0, spread=True), offload_folder=tmp_path / "offloaded"
    )
    assert 0 < spread.n_bytes < whole.n_bytes
    assert any(weight.device.type == "meta" for weight in spread.module.parameters())
    ids = torch.tensor([whole.encode(TEXT)])
    with torch.no_grad():
        assert torch.equal(whole.module(ids).logits, spread.module(ids).logits)


@pytest.fixture(params=sorted(CAUSAL))
def half(request: pytest.FixtureRequest, tmp_path: Path) -> LanguageModel:
    """Each family from its folder, in half precision."""
    tiny_module(request.param).save_pretrained(tmp_path / "m")
    tiny_tokenizer().save_pretrained(tmp_path / "m")
    return load_model(tmp_path / "m", request.param, placement=Placement("cpu", "half", 0, 0))


def test_in_half_precision_the_head_is_read_in_float32(half: LanguageModel) -> None:
    assert half.facts.dtype == "bfloat16"
    ids = torch.tensor([half.encode(TEXT)])
    with torch.no_grad():
        logits: Tensor = half.module(ids).logits
    assert logits.dtype == torch.float32
    # bfloat16 would have some hundred values for them.
    assert len(logits[0, -1].unique()) > 0.95 * len(logits[0, -1])
    assert all(w.dtype == torch.bfloat16 for block in half.anatomy.blocks for w in block.parameters())


def test_in_half_precision_the_anatomy_and_every_analysis_hold(half: LanguageModel) -> None:
    completion = completed(half, generate=2)
    assert half.facts.self_check == 0.0
    predictions = finish(predict_from_each_layer(half, completion, LayerPredictionsSettings()))
    assert predictions.self_check <= 1e-4
    rankings = finish(rank_at_each_layer(half, completion, RankingsSettings()))
    assert (rankings.ranks[-1] == 1).all()
    for method in ("gradient", "input-x-gradient", "integrated-gradients", "occlusion"):
        settings = SaliencySettings(method=method, points=4 if method.startswith("integrated") else "auto")
        saliency = finish(compute_saliency(half, completion, settings))
        assert np.isfinite(saliency.scores[~np.isnan(saliency.scores)]).all()
        np.testing.assert_allclose(np.nansum(saliency.shares, axis=1), 1, atol=1e-3)
    factors = finish(factorize_neurons(half, completion, NeuronFactorsSettings(factors=2)))
    assert np.isfinite(factors.error)


def test_a_tail_that_lay_on_the_disk_is_read_in_float32_too(
    save_model: Save, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = save_model("llama")
    whole = load_model(folder, "a", placement=Placement("cpu", "half", 0, 0))
    monkeypatch.setattr("analyzers.models.loading.free_memory", lambda: 60_000)  # the embedding, and not much more
    spread = load_model(
        folder, "a", placement=Placement("cpu", "half", 0, 0, spread=True), offload_folder=tmp_path / "off"
    )
    assert all(weight.device.type == "meta" for weight in spread.anatomy.blocks[0].parameters())
    ids = torch.tensor([whole.encode(TEXT)])
    with torch.no_grad():
        logits = spread.module(ids).logits
        assert logits.dtype == torch.float32
        assert torch.equal(logits, whole.module(ids).logits)
    assert finish(predict_from_each_layer(spread, completed(spread), LayerPredictionsSettings())).self_check <= 1e-4


def test_half_precision_is_near_the_model_itself(half: LanguageModel) -> None:
    ids = torch.tensor([half.encode(TEXT)])
    with torch.no_grad():
        own = tiny_module(half.facts.id)(ids).logits
        ours = half.module(ids).logits
    assert float((ours - own).abs().max()) < 0.1 * float(own.abs().max())
    whole = sum(weight.numel() for weight in tiny_module(half.facts.id).parameters())
    head = half.anatomy.head
    assert head is not None
    assert half.n_bytes <= 2 * whole + 4 * sum(weight.numel() for weight in head.parameters()) + 2_000
