"""Which models are on offer, what is refused and how, and that one job runs at a time."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import completed
from families import tiny_module, tiny_tokenizer
from safetensors.torch import load_file, save_file

from analyzers import catalog, store
from analyzers.catalog import CATALOG
from analyzers.errors import InputError
from analyzers.store import ModelStore

Save = Callable[..., Path]

PATHS = [
    "/etc/passwd", "/etc", "/", "//", "/tmp", "/root", "/proc/self/environ", "/dev/zero", "/work", ".", "..", "../..",
    "../../../../etc/passwd", "./gpt2", "./", "gpt2/", "/gpt2", "gpt2/..", "../gpt2", "gpt2/../../etc", "~", "~/",
    "~root", "~nobody-at-all/x", "~/.ssh/id_rsa", "file:///etc/passwd", "file://localhost/etc", "http://127.0.0.1/x",
    "https://huggingface.co/gpt2", "ftp://x/y", "hf://gpt2", "s3://bucket/key", "C:\\Windows", "C:/Windows",
    "\\\\server\\share", "..\\..\\x", "a\\b", "a/b", "a/b/c", "openai-community/gpt3", "OPENAI-COMMUNITY/GPT2",
    "openai-community/gpt2/../x", "openai-community/../gpt2", "models--gpt2", "gpt2@main", "gpt2?x=1", "gpt2#x",
    "gpt2 ", " gpt2", "gpt2\n", "gpt2\x00", "gpt2\x00.txt", "gpt2%2e%2e", "%2e%2e%2f", "..%2f..%2fetc", "․․/x",
    "．．／", "a" * 20_000, "../" * 500, "\ud800", "\u202e2tpg", "config.json", "./config.json", "tiny/config.json",
    "tiny/.", "tiny/../tiny", "<script>", "'; DROP", "$(id)", "`id`", "{model}", "%s", "None", "null", "-rf", "--help",
]  # fmt: skip
"""None is the name of a model, whether or not a file of that name exists."""


@pytest.fixture
def models(save_model: Save) -> Path:
    """A models folder with one model in it, `gpt2`'s shape under the name `tiny`."""
    save_model("gpt2").rename(save_model("gpt2").parent / "tiny")
    return save_model("llama").parent


def folder_like(models: Path, name: str) -> Path:
    """Another copy of `tiny` whose files can be spoilt."""
    other = models / name
    other.mkdir()
    for file in (models / "tiny").iterdir():
        (other / file.name).write_bytes(file.read_bytes())
    return other


def test_at_least_sixty_paths_are_tried() -> None:
    assert len(set(PATHS)) >= 60


@pytest.mark.parametrize("with_folder", [False, True])
def test_a_path_is_refused_with_the_same_sentence_whether_or_not_it_exists(models: Path, with_folder: bool) -> None:
    offer = ModelStore(models_folder=models if with_folder else None)
    inside = [str(models), str(models / "tiny"), str(models / "nothing"), str(models / "tiny" / "config.json")]
    for path in [*PATHS, *inside]:
        with pytest.raises(InputError) as caught:
            offer.find(path)
        said = str(caught.value)
        assert caught.value.sentence.key == "unknown_model"
        assert said.startswith("There is no model called “")
        assert said.isprintable()
        assert len(said) < 800


@pytest.mark.parametrize("path", [*PATHS, "relative/nowhere"])
def test_on_the_command_line_a_path_that_leads_nowhere_is_a_sentence_too(path: str) -> None:
    with pytest.raises(InputError) as caught:
        ModelStore(any_folder=True).find(path)
    assert caught.value.sentence.key in ("unknown_model", "no_such_folder")
    assert str(caught.value).isprintable()


def test_the_catalog_is_found_by_either_name() -> None:
    offer = ModelStore()
    for row in CATALOG:
        assert offer.find(row.id).id == row.id
        if row.hub_id is not None:
            assert offer.find(row.hub_id).id == row.id
    assert offer.names() == tuple(row.id for row in CATALOG if row.kind in ("causal", "encoder"))


def test_the_operators_folders_are_on_offer_by_name(models: Path) -> None:
    (models / "empty").mkdir()
    (models / "file.txt").write_text("x")
    offer = ModelStore(models_folder=models)
    assert offer.local_names() == ("llama", "tiny")
    assert offer.find("tiny").folder == models / "tiny"
    assert offer.names()[-2:] == ("llama", "tiny")
    assert ModelStore(models_folder=models / "nowhere").local_names() == ()


def test_the_default_can_be_set_to_what_is_on_offer_only(models: Path) -> None:
    offer = ModelStore(models_folder=models, default="tiny")
    assert offer.default_id() == "tiny"
    offer.set_default("llama")
    assert offer.default_id() == "llama"
    with pytest.raises(InputError):
        offer.set_default("nothing")
    assert offer.default_id() == "llama"


@pytest.mark.parametrize("id", ["bert", "t5-small"])
def test_a_model_of_another_kind_is_refused_before_anything_is_fetched(id: str) -> None:
    with pytest.raises(InputError, match=f"{id} is a model of the kind"):
        ModelStore().load(id)


def test_a_model_that_is_not_here_is_refused_when_the_hub_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catalog, "HUB", catalog.HubProbe(ask=lambda _seconds: False))
    monkeypatch.setattr(catalog, "cached_folder", lambda row: None)
    with pytest.raises(InputError, match=r"gpt2 is not on this machine.*such as smollm2-135m-instruct"):
        ModelStore().load("gpt2")


def spoil(folder: Path, how: str) -> None:
    weights = folder / "model.safetensors"
    config = json.loads((folder / "config.json").read_text())
    tensors = load_file(weights)
    if how == "missing weights":
        del tensors["transformer.h.1.mlp.c_fc.weight"]
    elif how == "weights of another shape":
        tensors["transformer.h.1.mlp.c_fc.weight"] = torch.zeros(3, 3)
    elif how == "NaN weights":
        tensors["transformer.h.0.mlp.c_fc.weight"][0, 0] = float("nan")
    elif how == "infinite weights":
        tensors["transformer.ln_f.bias"][0] = float("inf")
    save_file(tensors, weights, metadata={"format": "pt"})
    if how == "truncated weights":
        weights.write_bytes(weights.read_bytes()[: weights.stat().st_size // 2])
    elif how == "empty weights":
        weights.write_bytes(b"")
    elif how == "weights that are text":
        weights.write_text("<html>not found</html>")
    elif how == "pickle only":
        torch.save(tensors, folder / "pytorch_model.bin")
        weights.unlink()
    elif how == "no weights":
        weights.unlink()
    elif how == "remote code":
        config |= {"model_type": "mine", "auto_map": {"AutoConfig": "evil.Config", "AutoModelForCausalLM": "evil.M"}}
        (folder / "evil.py").write_text(f"open({str(folder / 'was-run')!r}, 'w')")
    elif how == "unknown type":
        config["model_type"] = "mine"
    elif how == "broken tokenizer":
        (folder / "tokenizer.json").write_text('{"version": "1.0"}')
    elif how == "no tokenizer":
        (folder / "tokenizer.json").unlink()
        (folder / "tokenizer_config.json").unlink()
    elif how == "a width that is a word":
        config["n_embd"] = "wide"
    elif how == "heads that do not divide":
        config["n_head"] = 5
    elif how == "a vocabulary smaller than the tokenizer's":
        config["vocab_size"] = 100
        tensors["transformer.wte.weight"] = tensors["transformer.wte.weight"][:100].clone()
        save_file(tensors, weights, metadata={"format": "pt"})
    (folder / "config.json").write_text(json.dumps(config))
    if how == "broken config":
        (folder / "config.json").write_text("{")


SPOILT = [
    "missing weights", "weights of another shape", "NaN weights", "infinite weights", "truncated weights",
    "empty weights", "weights that are text", "pickle only", "no weights", "remote code", "unknown type",
    "broken tokenizer", "no tokenizer", "a width that is a word", "heads that do not divide", "broken config",
    "a vocabulary smaller than the tokenizer's",
]  # fmt: skip


REASONS = {
    "missing weights": "model_missing_weights",
    "NaN weights": "model_not_finite",
    "infinite weights": "model_not_finite",
}
"""How it is spoilt → the sentence that names it; for all others, that the model cannot be used and why."""


@pytest.mark.parametrize("how", SPOILT)
def test_a_broken_model_is_refused_by_name_and_the_one_in_use_still_answers(models: Path, how: str) -> None:
    offer = ModelStore(models_folder=models)
    good = offer.load("tiny", "cpu")
    before = completed(good, generate=2).ids
    spoil(folder_like(models, "spoilt"), how)
    with pytest.raises(InputError, match=r"^spoilt ") as caught:
        offer.load("spoilt", "cpu")
    assert caught.value.sentence.key == REASONS.get(how, "model_broken")
    assert str(models) not in str(caught.value), "no path is told"
    assert "The model in use is unchanged." in str(caught.value) or how == "broken config"
    assert not (models / "spoilt" / "was-run").exists()
    assert offer.load("tiny", "cpu") is good
    assert completed(good, generate=2).ids == before


def test_a_loaded_model_is_kept_and_the_least_recently_used_one_leaves(models: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(store, "LIMITS", replace(store.LIMITS, models=2))
    folder_like(models, "third")
    offer = ModelStore(models_folder=models)
    tiny = offer.load("tiny", "cpu")
    offer.load("llama", "cpu")
    assert offer.load("tiny", "cpu") is tiny
    offer.load("third", "cpu")
    assert [offer.is_loaded(name, "cpu") for name in ("tiny", "llama", "third")] == [True, False, True]
    assert offer.load("tiny", "cpu") is tiny


def test_two_folders_of_the_same_name_are_two_models(models: Path, tmp_path: Path) -> None:
    other = tmp_path / "elsewhere" / "tiny"
    tiny_module("llama").save_pretrained(other)
    tiny_tokenizer().save_pretrained(other)
    offer = ModelStore(any_folder=True)
    assert offer.load(str(models / "tiny"), "cpu").module.config.model_type == "gpt2"
    assert offer.load(str(other), "cpu").module.config.model_type == "llama"


def test_a_loaded_model_is_the_one_that_was_saved(models: Path) -> None:
    loaded = ModelStore(models_folder=models).load("tiny", "cpu")
    assert (loaded.facts.id, loaded.facts.kind, loaded.facts.device, loaded.facts.dtype) == (
        "tiny", "causal", "cpu", "float32"
    )  # fmt: skip
    ids = torch.tensor([loaded.encode("the keys")])
    assert torch.equal(loaded.module(ids).logits, tiny_module("gpt2")(ids).logits)


def test_loading_in_steps_ends_with_the_model_or_with_its_error(models: Path) -> None:
    offer = ModelStore(models_folder=models)
    *waiting, last = offer.load_in_steps("tiny", "cpu")
    assert last is offer.load("tiny", "cpu")
    assert all(step is None for step in waiting)
    with pytest.raises(InputError, match="There is no model called"):
        list(offer.load_in_steps("nothing", "cpu"))


def test_one_job_at_a_time() -> None:
    offer = ModelStore()
    running, most = 0, 0
    guard = threading.Lock()

    def work() -> None:
        nonlocal running, most
        with offer.job() as lock:
            assert lock.acquire(timeout=10.0)
            with guard:
                running += 1
                most = max(most, running)
            time.sleep(0.03)
            with guard:
                running -= 1

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert (running, most) == (0, 1)


def test_a_job_that_never_got_its_turn_releases_nobody_elses() -> None:
    offer = ModelStore()
    with offer.job() as first:
        assert first.acquire()
        with offer.job() as second:
            assert not second.acquire(timeout=0.01)
        with offer.job() as third:
            assert not third.acquire(timeout=0.01), "the first still holds it"
    with offer.job() as fourth:
        assert fourth.acquire(timeout=0.01)


def test_a_job_that_fails_is_over() -> None:
    offer = ModelStore()

    def stumble() -> None:
        with offer.job() as lock:
            lock.acquire()
            raise RuntimeError("stumbled")

    with pytest.raises(RuntimeError, match="stumbled"):
        stumble()
    with offer.job() as lock:
        assert lock.acquire(timeout=0.01)
