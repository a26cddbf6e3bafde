"""GGUF files: their header, and the same numbers as the model they were made from."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import TEXT, completed
from families import tiny_module
from odd_ggufs import ODD_GGUFS
from stub_hub import StubHub
from tiny_gguf import write_gguf

from analyzers.__main__ import main
from analyzers.common.errors import InputError
from analyzers.common.progress import finish
from analyzers.common.settings import SaliencySettings
from analyzers.models.store import ModelStore
from analyzers.saliency import compute_saliency
from analyzers.sources import catalog, local_files
from analyzers.sources.gguf_cache import find_converted_folder, is_complete, is_undamaged
from analyzers.sources.gguf_header import read_gguf_header
from analyzers.sources.resolver import Resolver
from analyzers.sources.source import Source


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A tiny Llama, and an empty cache for its copy."""
    monkeypatch.setenv("ECCOLENS_CACHE", str(tmp_path / "cache"))
    (tmp_path / "models").mkdir()
    return write_gguf(tmp_path / "models" / "tiny.gguf", tiny_module("llama"))


def key_of(of: Callable[..., Any], *given: Any) -> str:
    with pytest.raises(InputError) as caught:
        of(*given)
    return caught.value.sentence.key


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("tensors-none", "model_more_layers"),
        ("tensors-fewer", "model_more_layers"),
        ("blocks-1", "model_more_layers"),
        ("blocks-1999", "model_more_layers"),
        ("tensor-renamed", "model_missing_weights"),
        ("tensor-huge", "model_cut_short"),
    ],
)
def test_a_file_of_other_weights_than_it_describes_is_refused_whoever_opens_it(file: Path, name: str, key: str) -> None:
    """What is missing would be drawn at random, what is not described dropped."""
    file.write_bytes(ODD_GGUFS[name](file.read_bytes()))
    assert key_of(ModelStore().load, Source("tiny", file.parent, gguf_file=file.name)) == key


def test_the_header_says_how_many_parameters_there_are(file: Path) -> None:
    header = read_gguf_header(file, "tiny")
    assert header.architecture == "llama"
    assert header.n_parameters == sum(weight.numel() for weight in tiny_module("llama").parameters())


def test_the_header_of_the_real_model_is_read_too() -> None:
    row = catalog.find_row(catalog.OFFLINE_MODEL)
    assert row is not None
    folder = local_files.find_bundled_folder(row)
    assert folder is not None
    assert read_gguf_header(folder / str(row.gguf_file), "x").n_parameters == 134_515_008


def test_a_gguf_file_gives_the_numbers_of_the_model_it_was_made_from(file: Path) -> None:
    loaded = ModelStore(Resolver(models_folder=file.parent)).load("tiny.gguf", "cpu")
    assert (loaded.facts.id, loaded.facts.self_check) == ("tiny.gguf", 0.0)
    ids = torch.tensor([loaded.encode(TEXT)])
    with torch.no_grad():
        ours, own = loaded.module(ids).logits, tiny_module("llama")(ids).logits
    assert float((ours - own).abs().max()) <= 1e-4 * float(own.abs().max())
    shares = finish(compute_saliency(loaded, completed(loaded), SaliencySettings())).shares
    np.testing.assert_allclose(np.nansum(shares, axis=1), 1, atol=1e-6)


def test_gguf_files_of_the_models_folder_are_on_offer_by_name(file: Path) -> None:
    inner = file.parent / "several"
    inner.mkdir()
    (inner / "Q4.gguf").write_bytes(file.read_bytes())
    offer = ModelStore(Resolver(models_folder=file.parent))
    assert offer.resolver.local_names() == ("several/Q4.gguf", "tiny.gguf")
    assert offer.load("several/Q4.gguf", "cpu") is not offer.load("tiny.gguf", "cpu")
    for name in ("../tiny.gguf", "several/../tiny.gguf", "./tiny.gguf", "other.gguf", str(file), "several"):
        assert key_of(offer.resolver.find, name) in ("unknown_model", "hub_off"), name


def test_on_the_command_line_a_gguf_file_is_named_by_its_path(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["saliency", "the keys", "--model", str(file), "--device", "cpu"]) == 0
    assert capsys.readouterr().out.startswith("tiny.gguf (causal, 3 layers, float32")
    assert main(["saliency", "the keys", "--model", str(file.with_name("none.gguf")), "--device", "cpu"]) == 2


def test_one_file_of_a_repository_is_told_and_fetched(stub_hub: StubHub, file: Path) -> None:
    n = sum(weight.numel() for weight in tiny_module("llama").parameters())
    stub_hub.add("someone/files", file.parent, gguf={"total": n, "architecture": "llama"})
    (stub_hub.repositories["someone/files"]).files["larger.gguf"] = bytes(100_000)
    offer = ModelStore(Resolver(any_hub_id=True))
    said = offer.describe("someone/files/tiny.gguf", "cpu")
    assert (said.kind, said.n_parameters, said.to_fetch) == ("causal", n, file.stat().st_size)
    loaded = offer.load("someone/files/tiny.gguf", "cpu")
    assert loaded.facts.id == "someone/files/tiny.gguf"
    assert stub_hub.sent("larger.gguf") == 0
    assert offer.describe("someone/files/tiny.gguf", "cpu").to_fetch == 0
    assert key_of(offer.load, "someone/files", "cpu") == "hub_name_the_file"
    with pytest.raises(InputError, match=r"Its GGUF files: larger\.gguf, tiny\.gguf"):
        offer.load("someone/files/other.gguf", "cpu")


def test_parameters_are_estimated_where_the_hub_does_not_count_them(stub_hub: StubHub, file: Path) -> None:
    stub_hub.add("someone/files", file.parent)
    said = ModelStore(Resolver(any_hub_id=True)).describe("someone/files/tiny.gguf", "cpu")
    assert said.n_parameters == int(file.stat().st_size * 8 / 4.5)


@pytest.mark.parametrize("n", [0, 3, 4, 23, 24, 100, 2_000])
def test_a_file_that_ends_in_its_header_is_refused(file: Path, n: int) -> None:
    file.write_bytes(file.read_bytes()[:n])
    assert key_of(read_gguf_header, file, "x") == "model_broken"
    assert key_of(ModelStore(Resolver(models_folder=file.parent)).load, "tiny.gguf", "cpu") == "model_broken"


def test_a_file_whose_weights_are_cut_short_is_refused(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-60_000])
    assert key_of(read_gguf_header, file, "x") == "model_cut_short"


@pytest.mark.parametrize(
    "spoilt",
    [
        b"PK\x03\x04" + bytes(200),
        b"<html>not found</html>" * 20,
        b"GGUF" + struct.pack("<IQQ", 3, 2**63, 1) + bytes(200),
        b"GGUF" + struct.pack("<IQQ", 3, 1, 2**63) + bytes(200),
        b"GGUF" + struct.pack("<IQQ", 1, 1, 1) + bytes(200),
        b"GGUF" + struct.pack("<IQQQ", 3, 0, 1, 2**60) + bytes(200),
        b"GGUF" + struct.pack("<IQQQ", 3, 0, 1, 1) + b"a" + struct.pack("<IIQ", 9, 8, 2**62) + bytes(200),
        b"GGUF" + struct.pack("<IQQQ", 3, 0, 1, 1) + b"a" + struct.pack("<IIQ", 9, 9, 1) + bytes(200),
    ],
)
def test_what_is_no_gguf_file_is_refused_at_once(tmp_path: Path, spoilt: bytes) -> None:
    (tmp_path / "x.gguf").write_bytes(spoilt)
    assert key_of(read_gguf_header, tmp_path / "x.gguf", "x") == "model_broken"


@pytest.mark.parametrize(
    "changed",
    [{"block_count": 10**6}, {"embedding_length": 10**9}, {"vocab_size": 2**31}, {"feed_forward_length": 10**8}],
)
def test_absurd_sizes_are_refused_before_a_weight_is_read(
    tmp_path: Path, changed: dict[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ECCOLENS_CACHE", str(tmp_path / "cache"))
    write_gguf(tmp_path / "x.gguf", tiny_module("llama"), **changed)
    assert key_of(ModelStore(Resolver(models_folder=tmp_path)).load, "x.gguf", "cpu") == "model_absurd"


def test_an_architecture_that_transformers_does_not_read_is_refused_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ECCOLENS_CACHE", str(tmp_path / "cache"))
    write_gguf(tmp_path / "x.gguf", tiny_module("llama"), architecture="plamo")
    with pytest.raises(InputError, match="architecture plamo is not supported"):
        ModelStore(Resolver(models_folder=tmp_path)).load("x.gguf", "cpu")


def test_a_disk_too_small_for_the_copy_is_refused_before_the_conversion(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("analyzers.models.loading.free_disk", lambda _folder: 1_000)
    monkeypatch.setattr("analyzers.models.loading.write_copy", lambda *_a: pytest.fail("it was converted"))
    assert key_of(ModelStore(Resolver(models_folder=file.parent)).load, "tiny.gguf", "cpu") == "conversion_failed"


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "tokenizer.json"])
def test_damage_to_the_copy_is_seen_and_mended(file: Path, name: str) -> None:
    """One flipped bit of the weights gives other numbers in silence; a damaged configuration of the same size, no model."""
    source = Source(file.stem, file.parent, gguf_file=file.name)
    ids = [1, 2, 3]
    before = ModelStore(Resolver(any_folder=True)).load(source, "cpu").module(torch.tensor([ids])).logits
    damaged = find_converted_folder(file.parent, file.name) / name
    held = bytearray(damaged.read_bytes())
    held[-5] ^= 0x40
    damaged.write_bytes(held)
    assert is_complete(damaged.parent)
    assert not is_undamaged(damaged.parent)
    store = ModelStore(Resolver(any_folder=True))
    assert store.describe(source, "cpu").n_parameters > 0
    after = store.load(source, "cpu").module(torch.tensor([ids])).logits
    assert torch.equal(before, after)
    assert is_undamaged(damaged.parent)
