"""Any public model of the Hub: told before it is fetched, fetched within sight, refused in a sentence. The Hub is a stub."""

from __future__ import annotations

import errno
import json
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from families import FAMILIES, tiny_module
from stub_hub import COMMIT, StubHub

from analyzers.common.errors import InputError
from analyzers.models import loading
from analyzers.models.store import ModelStore
from analyzers.serving.dispatch import Dispatcher, Step
from analyzers.serving.request import parse_request
from analyzers.sources import download, hub, hub_probe, local_files
from analyzers.sources.download import Transfer
from analyzers.sources.hub_probe import HubProbe
from analyzers.sources.resolver import Resolver

Save = Callable[..., Path]
ID = "someone/tiny"


@pytest.fixture
def tiny(stub_hub: StubHub, save_model: Save) -> StubHub:
    """The Hub with one model on it, in the way most are: safetensors beside a pickle, and files that are not needed."""
    folder = save_model("gpt2")
    (folder / "pytorch_model.bin").write_bytes(b"a pickle")
    (folder / "README.md").write_text("words")
    (folder / "onnx").mkdir()
    (folder / "onnx" / "config.json").write_text("{}")
    n = sum(weight.numel() for weight in tiny_module("gpt2").parameters())
    stub_hub.add(ID, folder, safetensors={"parameters": {"F32": n}, "total": n})
    return stub_hub


def refusal_of(of: Callable[..., Any], *given: Any) -> InputError:
    """What is said, and that it is said within six seconds."""
    started = time.perf_counter()
    with pytest.raises(InputError) as caught:
        of(*given)
    assert time.perf_counter() - started < 6
    assert caught.value.say("ja") != str(caught.value)
    return caught.value


def test_a_model_is_told_before_anything_is_fetched(tiny: StubHub) -> None:
    offer = ModelStore(Resolver(any_hub_id=True))
    said = offer.describe(ID, "cpu")
    repository = tiny.repositories[ID]
    needed = [n for n in repository.files if n.endswith(".json") and "/" not in n] + ["model.safetensors"]
    assert said.kind == "causal"
    assert said.n_parameters == sum(weight.numel() for weight in tiny_module("gpt2").parameters())
    assert said.to_fetch == sum(len(repository.files[name]) for name in needed)
    assert tiny.sent("model.safetensors") == tiny.sent("tokenizer.json") == 0


def test_the_headers_of_the_weights_are_read_where_the_hub_does_not_say_how_many_there_are(tiny: StubHub) -> None:
    told = ModelStore(Resolver(any_hub_id=True)).describe(ID, "cpu").n_parameters
    tiny.repositories[ID].info.clear()
    assert ModelStore(Resolver(any_hub_id=True)).describe(ID, "cpu").n_parameters == told


def test_a_model_is_fetched_and_answers_as_it_was_saved(tiny: StubHub) -> None:
    offer = ModelStore(Resolver(any_hub_id=True))
    loaded = offer.load(ID, "cpu")
    assert (loaded.facts.id, loaded.facts.revision) == (ID, COMMIT)
    ids = torch.tensor([loaded.encode("the keys")])
    assert torch.equal(loaded.module(ids).logits, tiny_module("gpt2")(ids).logits)
    assert tiny.sent(".bin") == tiny.sent("README.md") == tiny.sent("onnx/config.json") == 0
    assert offer.describe(ID, "cpu").to_fetch == 0


def test_what_was_fetched_is_used_when_the_hub_is_gone(tiny: StubHub, monkeypatch: pytest.MonkeyPatch) -> None:
    ModelStore(Resolver(any_hub_id=True)).load(ID, "cpu")
    monkeypatch.setattr(hub_probe, "HUB", HubProbe(ask=lambda _seconds: False))
    tiny.requests.clear()
    assert ModelStore(Resolver(any_hub_id=True)).load(ID, "cpu").facts.id == ID
    assert tiny.requests == []


def test_a_revision_is_fetched_as_it_is_named(tiny: StubHub) -> None:
    loaded = ModelStore(Resolver(any_hub_id=True)).load(f"{ID}@{COMMIT}", "cpu")
    assert loaded.facts.id == f"{ID}@{COMMIT}"
    said = refusal_of(ModelStore(Resolver(any_hub_id=True)).load, f"{ID}@v9", "cpu")
    assert said.sentence.key == "hub_no_revision"
    assert "v9" in str(said)


def test_weights_in_several_files_are_fetched_and_no_others(tiny: StubHub, save_model: Save) -> None:
    folder = save_model("llama")
    tiny_module("llama").save_pretrained(folder, max_shard_size="100KB")
    (folder / "model.safetensors").unlink()
    assert len(list(folder.glob("model-*.safetensors"))) > 1
    (folder / "consolidated.safetensors").write_bytes(b"the same again")
    tiny.add("someone/parts", folder)
    offer = ModelStore(Resolver(any_hub_id=True))
    n = sum(weight.numel() for weight in tiny_module("llama").parameters())
    assert offer.describe("someone/parts", "cpu").n_parameters == n
    assert offer.load("someone/parts", "cpu").facts.n_layers == 3
    assert tiny.sent("consolidated.safetensors") == 0
    index = local_files.find_snapshot("someone/parts")
    assert index is not None
    next(index.glob("model-*.safetensors")).unlink()
    assert local_files.find_snapshot("someone/parts") is None, "a part is missing"


def steps(store: ModelStore, **given: Any) -> list[Step]:
    request = parse_request("saliency", {"text": "the keys", "model": ID, "device": "cpu"} | given)
    return list(Dispatcher(store).run(request))


@pytest.fixture
def slow(stub_hub: StubHub, save_model: Save) -> StubHub:
    """A model of 10 MB that takes some seconds to come."""
    config = transformers.GPT2Config(**(FAMILIES["gpt2"].values | {"n_embd": 256}))
    stub_hub.add(ID, save_model("gpt2", transformers.GPT2LMHeadModel(config)))
    stub_hub.chunk_delay = 0.02
    return stub_hub


def test_a_download_says_how_many_bytes_of_how_many_came(slow: StubHub) -> None:
    seen = steps(ModelStore(Resolver(any_hub_id=True)))
    transfers = [step.transfer for step in seen if step.phase == "downloading" and step.transfer is not None]
    assert len(transfers) > 5
    total = ModelStore(Resolver(any_hub_id=True))._ask(Resolver(any_hub_id=True).find(ID)).n_bytes
    assert {transfer.total for transfer in transfers} == {total}
    done = [transfer.done for transfer in transfers]
    assert done == sorted(done)
    assert len(set(done)) > 5
    assert done[-1] <= total
    assert seen[-1].phase == "done"


def test_stop_ends_a_download_and_the_files_that_came_are_kept(slow: StubHub, tmp_path: Path) -> None:
    offer = ModelStore(Resolver(any_hub_id=True))
    running = Dispatcher(offer).run(parse_request("saliency", {"text": "the keys", "model": ID, "device": "cpu"}))
    for step in running:
        if step.transfer is not None and step.transfer.done > 1_000_000:
            break
    slow.chunk_delay = 0.1  # the rest would take a quarter of a minute
    running.close()  # type: ignore[attr-defined]
    deadline = time.monotonic() + 5
    while any(thread.name in ("download", "model-load") for thread in threading.enumerate()):
        assert time.monotonic() < deadline, "the download goes on"
        time.sleep(0.05)
    assert list(tmp_path.rglob("*.incomplete")) == [], "half a file is left"
    fetched = slow.sent("tokenizer.json")
    slow.chunk_delay = 0
    assert steps(offer)[-1].phase == "done"
    assert slow.sent("tokenizer.json") == fetched == 1, "what came whole was kept"


def test_a_second_visitor_takes_over_when_the_first_one_stops(slow: StubHub) -> None:
    offer = ModelStore(Resolver(any_hub_id=True))
    first = offer.load_in_steps(ID, "cpu")
    while not isinstance(next(first), Transfer):
        pass
    second = offer.load_in_steps(ID, "cpu")
    next(second)
    first.close()  # type: ignore[attr-defined]
    *_, last = second
    assert last is offer.load(ID, "cpu")


@pytest.mark.parametrize(
    ("status", "key"),
    [
        (401, "hub_refused"),
        (403, "hub_refused"),
        (404, "hub_not_found"),
        (429, "hub_busy"),
        (500, "download_failed"),
        (503, "download_failed"),
    ],
)
def test_what_the_hub_answers_is_a_sentence(tiny: StubHub, status: int, key: str) -> None:
    offer = ModelStore(Resolver(any_hub_id=True))
    tiny.status = status
    said = refusal_of(offer.describe, ID, "cpu")
    assert said.sentence.key == key
    assert refusal_of(offer.load, ID, "cpu").sentence.key == key
    tiny.status = None
    assert offer.load(ID, "cpu").facts.id == ID, "an answer in trouble is not remembered"


@pytest.mark.parametrize(
    ("status", "key"), [(401, "hub_refused"), (403, "hub_refused"), (404, "hub_not_found"), (503, "hub_slow")]
)
def test_files_that_the_hub_does_not_give_are_a_sentence_too(tiny: StubHub, status: int, key: str) -> None:
    offer = ModelStore(Resolver(any_hub_id=True))
    offer.describe(ID, "cpu")
    tiny.file_status = status
    assert refusal_of(offer.load, ID, "cpu").sentence.key == key


def test_a_slow_hub_is_given_up_within_six_seconds(tiny: StubHub) -> None:
    tiny.delay = 20
    said = refusal_of(ModelStore(Resolver(any_hub_id=True)).describe, ID, "cpu")
    assert said.sentence.key == "hub_slow"
    assert "smollm2-135m-instruct" in str(said)


def test_a_hub_that_is_not_there_is_a_sentence(tiny: StubHub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub_probe, "HUB", HubProbe(ask=lambda _seconds: True))  # it was there a moment ago
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    assert refusal_of(ModelStore(Resolver(any_hub_id=True)).load, ID, "cpu").sentence.key == "hub_unreachable"


def test_a_model_that_does_not_exist_and_a_private_one_get_the_same_sentence(tiny: StubHub) -> None:
    tiny.add("someone/secret", Path(__file__).parent / "nothing", private=True)
    for name in ("someone/nothing", "someone/secret"):
        said = refusal_of(ModelStore(Resolver(any_hub_id=True)).load, name, "cpu")
        assert said.sentence.key == "hub_not_found"
        assert "it does not exist, or it is private" in str(said)


@pytest.mark.parametrize("gated", ["auto", "manual", True])
def test_a_gated_model_is_explained_and_no_token_is_tried(tiny: StubHub, gated: Any) -> None:
    tiny.repositories[ID].info["gated"] = gated
    said = refusal_of(ModelStore(Resolver(any_hub_id=True)).load, ID, "cpu")
    assert said.sentence.key == "hub_gated"
    assert tiny.sent(".safetensors") == tiny.sent(".json") == 0


def test_a_download_that_stands_still_is_given_up(slow: StubHub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "STALLED_SECONDS", 1.0)
    slow.ends_after = 1_000_000
    said = refusal_of(ModelStore(Resolver(any_hub_id=True)).load, ID, "cpu")
    assert said.sentence.key == "download_stalled"


def test_a_disk_that_is_too_small_is_refused_before_the_download(
    tiny: StubHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(download, "free_disk", lambda _folder: 150 * 10**6)
    said = refusal_of(ModelStore(Resolver(any_hub_id=True)).load, ID, "cpu")
    assert said.sentence.key == "disk_too_small"
    assert "150 MB free" in str(said)
    assert tiny.sent(".safetensors") == 0


def test_a_disk_that_fills_up_on_the_way_is_a_sentence(slow: StubHub, monkeypatch: pytest.MonkeyPatch) -> None:
    slow.chunk_delay = 0
    add = download._Progress.add

    def full(self: Any, n_bytes: float) -> None:
        add(self, n_bytes)
        if self.done > 1_000_000:
            raise OSError(errno.ENOSPC, "No space left on device", "/root/somewhere")

    monkeypatch.setattr(download._Progress, "add", full)
    said = refusal_of(ModelStore(Resolver(any_hub_id=True)).load, ID, "cpu")
    assert said.sentence.key == "disk_full"
    assert "/root" not in str(said)


@pytest.mark.parametrize(
    ("change", "key"),
    [
        ({"hidden_size": 10**9}, "model_absurd"),
        ({"attn_implementation": "someone/kernel"}, "model_kernels"),
        ({"quantization_config": {"quant_method": "awq"}}, "model_quantized"),
        ({"quantization": {"group_size": 64, "bits": 4}}, "model_quantized"),
        ({"model_type": "qwen2_audio", "architectures": ["Qwen2AudioForConditionalGeneration"]}, "model_not_of_text"),
        ({"model_type": "vit", "architectures": ["ViTForImageClassification"]}, "model_not_of_text"),
        ({"model_type": "mine", "auto_map": {"AutoConfig": "evil.Config"}}, "model_remote_code"),
        ({"model_type": "mine"}, "model_type_unknown"),
    ],
)
def test_a_configuration_that_asks_for_what_is_refused_is_seen_before_any_weight(
    tiny: StubHub, change: dict[str, Any], key: str
) -> None:
    files = tiny.repositories[ID].files
    files["config.json"] = json.dumps(json.loads(files["config.json"]) | change).encode()
    offer = ModelStore(Resolver(any_hub_id=True))
    assert refusal_of(offer.describe, ID, "cpu").sentence.key == key
    assert refusal_of(offer.load, ID, "cpu").sentence.key == key
    assert tiny.sent(".safetensors") == 0


def test_weights_that_another_tool_made_integers_of_are_seen_before_they_are_fetched(tiny: StubHub) -> None:
    tiny.repositories[ID].info["safetensors"] = {"parameters": {"U32": 10_000, "BF16": 5_000}, "total": 15_000}
    said = refusal_of(ModelStore(Resolver(any_hub_id=True)).load, ID, "cpu")
    assert said.sentence.key == "model_quantized"
    assert "(U32)" in str(said)
    assert tiny.sent(".safetensors") == 0


@pytest.mark.parametrize(
    ("absent", "key"),
    [
        (["model.safetensors"], "model_pickles_only"),
        (["model.safetensors", "pytorch_model.bin"], "model_no_weights"),
        (["tokenizer.json"], "model_no_tokenizer"),
        (["config.json"], "model_no_config"),
    ],
)
def test_a_repository_that_lacks_what_is_needed_is_refused_by_name(tiny: StubHub, absent: list[str], key: str) -> None:
    for name in absent:
        del tiny.repositories[ID].files[name]
    assert refusal_of(ModelStore(Resolver(any_hub_id=True)).load, ID, "cpu").sentence.key == key


@pytest.mark.parametrize("text", [b"{", b"[]", b"\xff\xfe", b'{"a":' * 50_000])
def test_a_configuration_that_is_none_is_a_sentence(tiny: StubHub, text: bytes) -> None:
    tiny.repositories[ID].files["config.json"] = text
    assert refusal_of(ModelStore(Resolver(any_hub_id=True)).load, ID, "cpu").sentence.key == "model_broken"


def test_a_model_larger_than_the_memory_is_refused_with_the_figures_and_nothing_is_fetched(
    tiny: StubHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loading, "SPARE", 10**12)  # the weights on the stub are those of a tiny model
    files = tiny.repositories[ID].files
    large = json.loads(files["config.json"]) | {"n_embd": 8192, "n_layer": 86}
    files["config.json"] = json.dumps(large).encode()
    said = refusal_of(ModelStore(Resolver(any_hub_id=True)).load, ID, "cpu")
    assert said.sentence.key == "model_too_large"
    n = 384 * 8192 + 128 * 8192 + 86 * (12 * 8192**2 + 13 * 8192) + 2 * 8192
    assert f"{n:,} parameters" in str(said)
    assert f"about {(n * 4 * 1.15 + 300e6) / 1e9:.1f} GB" in str(said)
    assert tiny.sent(".safetensors") == 0


def test_a_model_in_use_still_answers_when_another_cannot_be_had(tiny: StubHub, save_model: Save) -> None:
    offer = ModelStore(Resolver(any_hub_id=True))
    used = offer.load(ID, "cpu")
    tiny.status = 503
    refusal_of(offer.load, "someone/else", "cpu")
    assert offer.load(ID, "cpu") is used
    assert steps(offer)[-1].phase == "done"


def test_a_cached_file_that_is_cut_short_is_fetched_anew_once(tiny: StubHub) -> None:
    ModelStore(Resolver(any_hub_id=True)).load(ID, "cpu")
    folder = local_files.find_snapshot(ID)
    assert folder is not None
    file = (folder / "model.safetensors").resolve()
    whole = file.read_bytes()
    file.write_bytes(whole[:50_000])
    assert ModelStore(Resolver(any_hub_id=True)).load(ID, "cpu").facts.id == ID
    assert tiny.sent("model.safetensors") == 2
    assert (folder / "model.safetensors").read_bytes() == whole
    (folder / "model.safetensors").resolve().write_bytes(whole[:50_000])
    tiny.repositories[ID].files["model.safetensors"] = whole[:60_000]
    with pytest.raises(InputError, match=r"model\.safetensors is cut short at 60,000 bytes"):
        ModelStore(Resolver(any_hub_id=True)).load(ID, "cpu")


def test_what_the_hub_said_is_not_asked_again_by_run(tiny: StubHub) -> None:
    offer = ModelStore(Resolver(any_hub_id=True))
    offer.describe(ID, "cpu")
    asked = sum("/api/models/someone" in path for _, path in tiny.requests)
    offer.load(ID, "cpu")
    assert sum("/api/models/someone" in path for _, path in tiny.requests) == asked == 1


def test_the_models_of_the_catalog_come_the_same_way(tiny: StubHub) -> None:
    tiny.repositories["openai-community/gpt2"] = tiny.repositories[ID]
    offer = ModelStore()
    assert offer.load("gpt2", "cpu").facts.id == "gpt2"
    assert offer.load("openai-community/gpt2", "cpu") is offer.load("gpt2", "cpu")


def test_a_connection_that_another_thread_has_closed_is_asked_anew(
    tiny: StubHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    """huggingface_hub has one for all threads, and closes it when one of them finds no server."""
    plain, asked = hub._ask, []

    def closed_at_first(*given: Any) -> hub.HubModel:
        asked.append(given)
        if len(asked) == 1:
            raise ConnectionError("read failed") from OSError(errno.EBADF, "Bad file descriptor")
        return plain(*given)

    monkeypatch.setattr(hub, "_ask", closed_at_first)
    assert hub.ask(ID, hub.HubId(ID)).repository == ID
    monkeypatch.setattr(hub, "_ask", lambda *_: (_ for _ in ()).throw(ConnectionRefusedError("nobody there")))
    with pytest.raises(InputError, match="does not answer"):
        hub.ask(ID, hub.HubId(ID))
