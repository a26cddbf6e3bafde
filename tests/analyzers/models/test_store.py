"""Which models are on store, what is refused and how, and that one job runs at a time."""

from __future__ import annotations

import json
import shutil
import threading
import time
import weakref
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from conftest import completed
from families import FAMILIES, tiny_module, tiny_tokenizer
from safetensors.torch import load_file, save_file

from analyzers.common import memory
from analyzers.common.errors import InputError
from analyzers.models import loading, room
from analyzers.models import store as store_module
from analyzers.models.store import ModelStore
from analyzers.sources import hub, hub_probe, local_files
from analyzers.sources.catalog import CATALOG
from analyzers.sources.hub import HubId
from analyzers.sources.resolver import Resolver
from analyzers.sources.source import key_of

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


def is_held(store: ModelStore, name: str) -> bool:
    return key_of(store.resolver.find(name), "cpu") in store._room


@pytest.mark.parametrize("with_folder", [False, True])
def test_a_path_is_refused_with_the_same_sentence_whether_or_not_it_exists(models: Path, with_folder: bool) -> None:
    store = ModelStore(Resolver(models_folder=models if with_folder else None))
    inside = [str(models), str(models / "tiny"), str(models / "nothing"), str(models / "tiny" / "config.json")]
    for path in [*PATHS, *inside]:
        with pytest.raises(InputError) as caught:
            store.resolver.find(path)
        said = str(caught.value)
        # What is spelled as a Hub id gets another sentence than what is not; what is on the disk makes no difference.
        expected = "unknown_model" if hub.parse_id(path) is None else "hub_off"
        assert caught.value.sentence.key == expected
        assert said.startswith(("There is no model called “", "“"))
        assert said.isprintable()
        assert len(said) < 800


@pytest.mark.parametrize("with_folder", [False, True])
def test_where_any_hub_id_may_be_typed_a_path_is_refused_without_a_look_at_the_disk_or_the_hub(
    models: Path, with_folder: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = ModelStore(Resolver(models_folder=models if with_folder else None, any_hub_id=True))
    monkeypatch.setattr(hub, "ask", lambda *_args: pytest.fail("the Hub was asked"))
    inside = [str(models), str(models / "tiny"), str(models / "nothing"), str(models / "tiny" / "config.json")]
    seen = []
    for path in [*PATHS, *inside]:
        if hub.parse_id(path) is None:
            with pytest.raises(InputError) as caught:
                store.resolver.find(path)
            seen.append(caught.value.sentence.key)
            assert str(caught.value).isprintable()
    assert set(seen) == {"hub_id_only"}
    assert len(seen) >= 60


@pytest.mark.parametrize(
    ("typed", "taken"),
    [
        ("owner/name", HubId("owner/name")),
        ("owner/name@v1.0", HubId("owner/name", "v1.0")),
        ("owner/name@refs/pr/1", HubId("owner/name", "refs/pr/1")),
        ("owner/na-me_1.5/model.Q4_K_M.gguf", HubId("owner/na-me_1.5", None, "model.Q4_K_M.gguf")),
        ("owner/name/m.GGUF@main", HubId("owner/name", "main", "m.GGUF")),
        *((typed, None) for typed in (
            "name", "owner/name/", "owner/name/x", "owner/name/x/y.gguf", "owner/name/..gguf/../x.gguf", "owner/..",
            "../name", "owner/name@", "owner/name@..", "owner/name@a/../b", "owner/name@-x", "owner/name@a b",
            "owner/name@@a", "owner//name", "owner/na--me", "owner/name.git", "owner/.name", "owner/name/-x.gguf",
            "ownér/name", "owner/name\n", "owner/name\x00", "/owner/name", "owner\\name", "~/name", "file://owner/name",
            "owner/name/%2e%2e.gguf", "o" * 97 + "/name", "owner/name@" + "a" * 121,
        )),
    ],
)  # fmt: skip
def test_a_hub_id_is_taken_apart_and_nothing_else_is_one(typed: str, taken: HubId | None) -> None:
    assert hub.parse_id(typed) == taken


@pytest.mark.parametrize("path", [*PATHS, "relative/nowhere"])
def test_on_the_command_line_a_path_that_leads_nowhere_is_a_sentence_too(path: str) -> None:
    with pytest.raises(InputError) as caught:
        Resolver(any_folder=True).find(path)
    assert caught.value.sentence.key in ("unknown_model", "no_such_folder")
    assert str(caught.value).isprintable()


def test_the_catalog_is_found_by_either_name() -> None:
    store = ModelStore()
    for row in CATALOG:
        assert store.resolver.find(row.id).id == row.id
        if row.hub_id is not None:
            assert store.resolver.find(row.hub_id).id == row.id
    assert store.resolver.names() == tuple(row.id for row in CATALOG)


def test_the_operators_folders_are_on_offer_by_name(models: Path) -> None:
    (models / "empty").mkdir()
    (models / "file.txt").write_text("x")
    store = ModelStore(Resolver(models_folder=models))
    assert store.resolver.local_names() == ("llama", "tiny")
    assert store.resolver.find("tiny").folder == models / "tiny"
    assert store.resolver.names()[-2:] == ("llama", "tiny")
    assert Resolver(models_folder=models / "nowhere").local_names() == ()


def test_the_default_can_be_set_to_what_is_on_offer_only(models: Path) -> None:
    store = ModelStore(Resolver(models_folder=models, default="tiny"))
    assert store.resolver.default_id() == "tiny"
    store.resolver.set_default("llama")
    assert store.resolver.default_id() == "llama"
    with pytest.raises(InputError):
        store.resolver.set_default("nothing")
    assert store.resolver.default_id() == "llama"


def test_the_operator_may_name_a_default_by_its_path_and_visitors_get_it_by_name(models: Path) -> None:
    store = ModelStore()
    store.resolver.set_default(str(models / "tiny"))
    assert store.resolver.default_id() == "tiny"
    assert store.resolver.local_names() == ("tiny",)
    assert store.load("tiny", "cpu").facts.id == "tiny"
    for path in (str(models / "tiny"), str(models / "llama"), "llama"):
        with pytest.raises(InputError):
            store.resolver.find(path)


def test_a_folder_that_is_called_like_a_model_of_the_catalog_is_still_the_folder(models: Path) -> None:
    folder_like(models, "gpt2")
    store = ModelStore()
    store.resolver.set_default(str(models / "gpt2"))
    assert store.resolver.default_id() == "gpt2 (folder)"
    assert store.resolver.find("gpt2 (folder)").folder == models / "gpt2"
    assert store.resolver.find("gpt2").folder != models / "gpt2"


def test_a_model_that_is_not_here_is_refused_when_the_hub_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub_probe, "HUB", hub_probe.HubProbe(ask=lambda _seconds: False))
    monkeypatch.setattr(local_files, "find_cached_folder", lambda row: None)
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
    elif how == "a vast width":
        config["n_embd"] = 10**9
    elif how == "a vast width of a part":
        config["text_config"] = {"hidden_size": 10**9}
    elif how == "a million layers":
        config["n_layer"] = 10**6
    elif how == "a vocabulary too large for any memory":
        config |= {"vocab_size": 10**7, "n_embd": 10**6}
    elif how == "a kernel for attention":
        config["attn_implementation"] = "somebody/kernel"
    elif how == "a kernel for a part":
        config["text_config"] = {"_attn_implementation": {"": "somebody/kernel"}}
    elif how == "a kernel configuration":
        config["kernel_config"] = {"kernel_mapping": {"RMSNorm": "somebody/kernel:RMSNorm"}}
    elif how == "weights quantized by another tool":
        config["quantization_config"] = {"quant_method": "gptq", "bits": 4}
    (folder / "config.json").write_text(json.dumps(config))
    if how == "config nested without end":
        (folder / "config.json").write_text('{"a":' * 100_000 + "1" + "}" * 100_000)
    if how == "broken config":
        (folder / "config.json").write_text("{")


SPOILT = [
    "missing weights", "weights of another shape", "NaN weights", "infinite weights", "truncated weights",
    "empty weights", "weights that are text", "pickle only", "no weights", "remote code", "unknown type",
    "broken tokenizer", "no tokenizer", "a width that is a word", "heads that do not divide", "broken config",
    "a vocabulary smaller than the tokenizer's", "a vast width", "a vast width of a part", "a million layers",
    "a vocabulary too large for any memory", "a kernel for attention", "a kernel for a part", "a kernel configuration",
    "weights quantized by another tool", "config nested without end",
]  # fmt: skip


REASONS = {
    "missing weights": "model_missing_weights",
    "NaN weights": "model_not_finite",
    "infinite weights": "model_not_finite",
    "truncated weights": "model_cut_short",
    "empty weights": "model_cut_short",
    "weights that are text": "model_cut_short",
    "pickle only": "model_pickles_only",
    "no weights": "model_no_weights",
    "remote code": "model_remote_code",
    "unknown type": "model_type_unknown",
    "no tokenizer": "model_no_tokenizer",
    "broken tokenizer": "tokenizer_unreadable",
    "a vocabulary smaller than the tokenizer's": "tokenizer_of_another",
    "a vast width": "model_absurd",
    "a vast width of a part": "model_absurd",
    "a million layers": "model_absurd",
    "a vocabulary too large for any memory": "model_not_in_files",
    "weights of another shape": "model_missing_weights",
    "a width that is a word": "model_unfit",
    "heads that do not divide": "model_unfit",
    "a kernel for attention": "model_kernels",
    "a kernel for a part": "model_kernels",
    "a kernel configuration": "model_kernels",
    "weights quantized by another tool": "model_quantized",
}
"""How it is spoilt → the sentence that names it; for all others, that the model cannot be used and why."""


@pytest.mark.parametrize("how", SPOILT)
def test_a_broken_model_is_refused_by_name_and_the_one_in_use_still_answers(models: Path, how: str) -> None:
    store = ModelStore(Resolver(models_folder=models))
    good = store.load("tiny", "cpu")
    before = completed(good, generate=2).ids
    spoil(folder_like(models, "spoilt"), how)
    with pytest.raises(InputError, match=r"^spoilt ") as caught:
        store.load("spoilt", "cpu")
    assert caught.value.sentence.key == REASONS.get(how, "model_broken")
    assert str(models) not in str(caught.value), "no path is told"
    assert "The model in use is unchanged." in str(caught.value)
    assert not (models / "spoilt" / "was-run").exists()
    assert store.load("tiny", "cpu") is good
    assert completed(good, generate=2).ids == before


@pytest.fixture
def three(models: Path) -> Path:
    """A models folder with three models of 10 MB each: `one`, `two` and `three`."""
    config = transformers.GPT2Config(**(FAMILIES["gpt2"].values | {"n_embd": 256}))
    transformers.GPT2LMHeadModel(config).save_pretrained(models / "one")
    tiny_tokenizer().save_pretrained(models / "one")
    shutil.copytree(models / "one", models / "two")
    shutil.copytree(models / "one", models / "three")
    return models


def budget(monkeypatch: pytest.MonkeyPatch, megabytes: int) -> None:
    monkeypatch.setattr(room, "LIMITS", replace(room.LIMITS, model_megabytes=megabytes))


def test_the_least_recently_used_models_leave_when_their_bytes_exceed_the_budget(
    three: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    budget(monkeypatch, 25)
    store = ModelStore(Resolver(models_folder=three))
    one = store.load("one", "cpu")
    assert 9e6 < one.n_bytes < 11e6
    store.load("two", "cpu")
    assert store.load("one", "cpu") is one
    store.load("three", "cpu")
    assert [is_held(store, name) for name in ("one", "two", "three")] == [True, False, True]
    assert store.load("one", "cpu") is one


def test_small_models_stay_together_however_many_they_are(three: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    budget(monkeypatch, 32)
    store = ModelStore(Resolver(models_folder=three))
    names = ("one", "two", "three", "tiny", "llama")
    for name in names:
        store.load(name, "cpu")
    assert all(is_held(store, name) for name in names)


def test_room_is_made_before_a_model_is_loaded_and_not_after(three: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    budget(monkeypatch, 15)
    store = ModelStore(Resolver(models_folder=three))
    gone = weakref.ref(store.load("one", "cpu"))
    seen: list[bool] = []
    load_model = loading.load_model

    def watched(*given: Any, **named: Any) -> Any:
        seen.append(gone() is None)
        return load_model(*given, **named)

    monkeypatch.setattr(loading, "load_model", watched)
    store.load("two", "cpu")
    assert seen == [True]


def test_a_model_above_the_budget_is_refused_with_the_figures_and_nothing_leaves_for_it(
    three: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    budget(monkeypatch, 5)
    store = ModelStore(Resolver(models_folder=three))
    tiny = store.load("tiny", "cpu")
    with pytest.raises(
        InputError, match=r"^one needs about \d+ MB .*2,\d\d\d,\d\d\d parameters in float32.* 5 MB can be had on cpu"
    ):
        store.load("one", "cpu")
    assert store.load("tiny", "cpu") is tiny


def test_a_model_that_does_not_fit_in_what_is_free_is_refused_before_a_weight_is_read(
    three: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = ModelStore(Resolver(models_folder=three))
    monkeypatch.setattr(room, "free_memory", lambda _device="cpu": 200 * 10**6)
    monkeypatch.setattr(loading, "load_model", lambda *_a, **_k: pytest.fail("weights were read"))
    with pytest.raises(InputError, match=r"^one needs about 3\d\d MB .* 200 MB can be had on cpu"):
        store.load("one", "cpu")


def test_models_leave_where_memory_is_short_though_the_budget_is_not(
    three: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = ModelStore(Resolver(models_folder=three))
    store.load("one", "cpu")
    store.load("two", "cpu")
    need = memory.estimate_bytes(2_500_000, 4.0)
    monkeypatch.setattr(room, "free_memory", lambda _device="cpu": need - 5 * 10**6)
    store.load("three", "cpu")
    assert [is_held(store, name) for name in ("one", "two", "three")] == [False, True, True]


def test_a_load_that_fails_gives_its_reserved_room_back(three: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    budget(monkeypatch, 25)
    store = ModelStore(Resolver(models_folder=three))
    store.load("one", "cpu")
    spoil(folder_like(three, "spoilt"), "NaN weights")
    for _ in range(3):
        with pytest.raises(InputError):
            store.load("spoilt", "cpu")
    store.load("two", "cpu")
    assert is_held(store, "one")


def test_loading_a_model_does_not_disturb_a_run_on_another_even_one_that_leaves(
    three: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    budget(monkeypatch, 15)
    monkeypatch.setattr(room, "LIMITS", replace(room.LIMITS, seconds=1))
    store = ModelStore(Resolver(models_folder=three))
    used = store.load("one", "cpu")
    ids = torch.tensor([used.encode("the keys to the cabinet")])
    alone = used.module(ids).logits
    done = threading.Event()

    def load_others() -> None:
        for name in ("two", "three", "two"):
            store.load(name, "cpu")
        done.set()

    thread = threading.Thread(target=load_others)
    thread.start()
    runs = 0
    while not done.is_set():
        assert torch.equal(used.module(ids).logits, alone)
        runs += 1
    thread.join()
    assert runs > 10
    assert not is_held(store, "one")


@pytest.mark.parametrize("name", ["flash_attention_2", "flex_attention", "paged|sdpa"])
def test_an_attention_that_the_configuration_names_is_not_fetched_but_left_to_transformers(
    models: Path, name: str
) -> None:
    """The first of these is a kernel of the Hub where the package is not installed."""
    folder = folder_like(models, "named")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"attn_implementation": name}))
    assert ModelStore(Resolver(models_folder=models)).load("named", "cpu").module.config._attn_implementation == "sdpa"


def test_switching_back_is_instant(three: Path) -> None:
    store = ModelStore(Resolver(models_folder=three))
    store.load("one", "cpu")
    store.load("two", "cpu")
    started = time.perf_counter()
    store.load("one", "cpu")
    assert time.perf_counter() - started < 0.05


def test_a_folder_is_described_before_it_is_loaded(three: Path) -> None:
    store = ModelStore(Resolver(models_folder=three))
    said = store.describe("one", "cpu")
    assert (said.kind, said.to_fetch, said.placement.precision) == ("causal", 0, "float32")
    assert said.n_parameters == sum(w.numel() for w in store.load("one", "cpu").module.parameters())
    assert said.placement.weights == 4 * said.n_parameters
    assert said.placement.weights < said.placement.needed < said.free


def test_another_precision_than_float32_is_built_while_nobody_runs(
    three: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = ModelStore(Resolver(models_folder=three), precision="half")
    with store.turn() as lock:
        assert lock.acquire()
        thread = threading.Thread(target=store.load, args=("one", "cpu"))
        thread.start()
        thread.join(1.0)
        assert thread.is_alive(), "transformers would change torch's default precision under the run"
    thread.join(20)
    assert is_held(store, "one")
    assert torch.get_default_dtype() == torch.float32


def test_two_folders_of_the_same_name_are_two_models(models: Path, tmp_path: Path) -> None:
    other = tmp_path / "elsewhere" / "tiny"
    tiny_module("llama").save_pretrained(other)
    tiny_tokenizer().save_pretrained(other)
    store = ModelStore(Resolver(any_folder=True))
    assert store.load(str(models / "tiny"), "cpu").module.config.model_type == "gpt2"
    assert store.load(str(other), "cpu").module.config.model_type == "llama"


def test_a_loaded_model_is_the_one_that_was_saved(models: Path) -> None:
    loaded = ModelStore(Resolver(models_folder=models)).load("tiny", "cpu")
    assert (loaded.facts.id, loaded.facts.kind, loaded.facts.device, loaded.facts.dtype) == (
        "tiny", "causal", "cpu", "float32"
    )  # fmt: skip
    ids = torch.tensor([loaded.encode("the keys")])
    assert torch.equal(loaded.module(ids).logits, tiny_module("gpt2")(ids).logits)


def test_loading_in_steps_ends_with_the_model_or_with_its_error(models: Path) -> None:
    store = ModelStore(Resolver(models_folder=models))
    *waiting, last = store.load_in_steps("tiny", "cpu")
    assert last is store.load("tiny", "cpu")
    assert all(step is None for step in waiting)
    with pytest.raises(InputError, match="There is no model called"):
        list(store.load_in_steps("nothing", "cpu"))


def test_one_job_at_a_time() -> None:
    store = ModelStore()
    running, most = 0, 0
    guard = threading.Lock()

    def work() -> None:
        nonlocal running, most
        with store.turn() as lock:
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
    store = ModelStore()
    with store.turn() as first:
        assert first.acquire()
        with store.turn() as second:
            assert not second.acquire(timeout=0.01)
        with store.turn() as third:
            assert not third.acquire(timeout=0.01), "the first still holds it"
    with store.turn() as fourth:
        assert fourth.acquire(timeout=0.01)


def test_a_job_that_fails_is_over() -> None:
    store = ModelStore()

    def stumble() -> None:
        with store.turn() as lock:
            lock.acquire()
            raise RuntimeError("stumbled")

    with pytest.raises(RuntimeError, match="stumbled"):
        stumble()
    with store.turn() as lock:
        assert lock.acquire(timeout=0.01)


def test_a_load_that_does_not_end_is_given_up(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ended = threading.Event()
    monkeypatch.setattr(store_module, "LOAD_SECONDS", 0)
    monkeypatch.setattr(ModelStore, "load", lambda *_, **__: ended.wait(10))
    try:
        with pytest.raises(InputError, match="tiny was still not loaded after 0 seconds"):
            list(ModelStore(Resolver(models_folder=models)).load_in_steps("tiny", "cpu"))
    finally:
        ended.set()
