"""The choice of model: what the line beneath says, and a typed id from the click to the answer."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import transformers
from families import FAMILIES, tiny_module, tiny_tokenizer
from served import ROOT, Visit
from stub_hub import StubHub, serving

from analyzers.models.store import ModelStore
from analyzers.serving.dispatch import Dispatcher
from analyzers.sources.resolver import Resolver
from ui.model_line import model_line

ID = "someone/tiny"


def test_the_line_says_kind_size_and_memory(stub_hub: StubHub, save_model: Callable[..., Path]) -> None:
    stub_hub.add(ID, save_model("gpt2"))
    line = model_line(Dispatcher(ModelStore(Resolver(any_hub_id=True))), ID, "en")
    assert line["kind"] == "info"
    assert re.fullmatch(
        r"Causal model, 54,560 parameters\. Run downloads 1 MB first\. Needs about 300 MB of memory "
        r"\(float32, \w+\); [\d.,]+ [GT]B can be had\.",
        line["lines"][0],
    )
    assert "54,560 パラメータ" in model_line(Dispatcher(ModelStore(Resolver(any_hub_id=True))), ID, "ja")["lines"][0]


def test_the_line_says_that_nothing_is_downloaded_for_a_model_on_this_machine() -> None:
    line = model_line(Dispatcher(ModelStore()), "minilm-l6", "en")
    assert line["lines"][0].startswith("Encoder without a head, 22,")
    assert "On this machine: nothing is downloaded." in line["lines"][0]


@pytest.mark.parametrize(
    "value", [None, "", 3, [], ["gpt2"], {"a": 1}, "/etc/passwd", "\ud800", "x" * 10_000, "owner/name"]
)
def test_whatever_a_browser_sends_the_line_is_a_sentence(value: Any) -> None:
    line = model_line(Dispatcher(ModelStore()), value, "en")
    assert line["kind"] == "error"
    assert line["lines"][0].endswith(".")
    assert "Something went wrong" not in line["lines"][0]


@pytest.fixture(scope="module")
def own_machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, StubHub]]:
    """The app as on one's own machine, with a Hub that has one slow model on it."""
    base = tmp_path_factory.mktemp("own")
    tiny_module("gpt2").save_pretrained(base / "models" / "tiny")
    tiny_tokenizer().save_pretrained(base / "models" / "tiny")
    config = transformers.GPT2Config(**(FAMILIES["gpt2"].values | {"n_embd": 256}))
    transformers.GPT2LMHeadModel(config).save_pretrained(base / "hub")
    tiny_tokenizer().save_pretrained(base / "hub")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    with serving() as hub, (base / "log").open("w") as log:
        hub.add(ID, base / "hub", safetensors={"parameters": {"F32": 2_500_000}, "total": 2_500_000})
        hub.chunk_delay = 0.02
        environment = os.environ | {
            "HF_ENDPOINT": hub.address, "HF_HUB_OFFLINE": "0", "HF_HOME": str(base / "home"), "no_proxy": "127.0.0.1",
            "PYTHONUNBUFFERED": "1", "HF_TOKEN": "hf_operators_own_token",
        }  # fmt: skip
        process = subprocess.Popen(
            [
                sys.executable,
                "app.py",
                "--port",
                port,
                "--models-dir",
                str(base / "models"),
                "--model",
                "tiny",
                "--no-background",
            ],
            cwd=ROOT,
            env=environment,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
        try:
            deadline = time.monotonic() + 60
            while "Eccolens is at" not in (base / "log").read_text():
                assert time.monotonic() < deadline, (base / "log").read_text()
                time.sleep(0.2)
            yield f"http://127.0.0.1:{port}", hub
        finally:
            process.terminate()
            process.wait(10)
        assert hub.tokens == []


def type_model(seen: Visit, model: str) -> None:
    box = seen.page.locator("#model input")
    box.fill(model)
    box.press("Enter")


@pytest.mark.xdist_group("app")
def test_a_typed_id_is_told_downloaded_in_sight_and_answered(browser: Any, own_machine: tuple[str, StubHub]) -> None:
    address, hub = own_machine
    seen = Visit(browser, address)
    seen.page.wait_for_function("() => document.querySelector('#status').innerText.includes('Ready')", timeout=30_000)
    type_model(seen, "../../etc/passwd")
    seen.page.wait_for_function("() => document.querySelector('#model-line').innerText.includes('no model called')")
    type_model(seen, ID)
    seen.page.wait_for_function("() => document.querySelector('#model-line').innerText.includes('Run downloads')")
    assert "Causal model" in seen.page.inner_text("#model-line")
    assert hub.sent(".safetensors") == 0
    seen.page.click("#run")
    seen.page.wait_for_function(
        "() => /Downloading someone.tiny: \\d+ MB of \\d+ MB/.test(document.querySelector('#status').innerText)",
        timeout=20_000,
    )
    seen.page.wait_for_selector("#saliency-strip .output", timeout=30_000)
    seen.ended()
    assert f"on {ID}" in seen.status()
    seen.close()
    assert not seen.errors
    assert not seen.foreign
