"""ZeroGPU without a GPU: the real `spaces` forks its worker and pickles everything; see `zero_gpu_space.py`."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import gradio as gr
import pytest
from families import tiny_module, tiny_tokenizer
from gradio_client import Client
from zero_gpu_space import CHUNK_WORK, SECRET, TEXT

from analyzers.common.errors import InputError
from analyzers.methods import attribution
from analyzers.models.preloaded import PreloadedStore
from analyzers.models.store import ModelStore
from analyzers.serving.analyses import public_analyses
from analyzers.serving.dispatch import Dispatcher, Step, answer
from analyzers.serving.document import document
from analyzers.serving.request import parse_request
from analyzers.sources import local_files
from analyzers.sources.resolver import Resolver
from ui.examples import EXAMPLES
from ui.model_choices import model_choices
from ui.zero_gpu import LEAST_SECONDS, START_SECONDS, WorkerFault, seconds_to_ask, send_steps, to_input_error

pytestmark = pytest.mark.xdist_group("zero-gpu")  # one worker plays the scenes
ROOT = Path(__file__).parents[2]
SPACE = ROOT / "tests" / "zero_gpu_space.py"


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    tiny_module("gpt2").save_pretrained(folder / "tiny")
    tiny_tokenizer().save_pretrained(folder / "tiny")
    return folder


@pytest.fixture(scope="module")
def played(models: Path) -> tuple[dict[str, Any], str]:
    """What happened in the scenes, and all that was printed besides."""
    run = subprocess.run(
        [sys.executable, str(SPACE), "scenes", str(models)], capture_output=True, text=True, timeout=180, cwd=ROOT
    )
    scenes = re.search(r"^SCENES (.*)$", run.stdout, re.MULTILINE)
    assert scenes is not None, run.stdout + run.stderr
    return json.loads(scenes[1]), run.stdout.replace(scenes[0], "") + run.stderr


@pytest.fixture
def scenes(played: tuple[dict[str, Any], str]) -> dict[str, Any]:
    return played[0]


@pytest.mark.parametrize("analysis", [row.name for row in public_analyses()])
def test_a_worker_gives_the_numbers_that_the_process_itself_gives(
    scenes: dict[str, Any], models: Path, analysis: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(attribution.CHUNK_WORK, "cpu", CHUNK_WORK)
    request = parse_request(analysis, {"text": TEXT, "generate": 3})
    here = document(answer(Dispatcher(ModelStore(Resolver(models_folder=models, default="tiny"))), request), "en")
    there = dict(scenes["documents"][analysis])
    assert set(there.pop("seconds")) == set(here.pop("seconds"))
    assert there == json.loads(json.dumps(here))


def test_all_analyses_a_stop_and_a_refusal_are_served_by_one_worker(scenes: dict[str, Any]) -> None:
    assert len(scenes["workers"]) == 1
    assert scenes["after_all_that"] == "answered"


def test_progress_comes_out_of_the_worker(scenes: dict[str, Any]) -> None:
    for phases in scenes["steps"].values():
        assert phases[0] == "waiting"
        assert phases[-1] == "done"
        assert "analyzing" in phases
    assert scenes["steps"]["saliency"].count("generating") >= 3


def test_stop_ends_the_work_in_the_worker(scenes: dict[str, Any]) -> None:
    stopped, one_more = scenes["made_until_stopped"], scenes["made_with_one_more_run"]
    assert 0 < stopped < 200, "a whole run makes thousands of steps"
    assert 0 < one_more - stopped < 200, "the stopped run went on"


def test_a_sentence_comes_out_of_the_worker_whole(scenes: dict[str, Any]) -> None:
    assert scenes["refused"] == f"InputError: {InputError('nothing_to_explain')}"


def test_a_text_that_cannot_be_read_asks_for_no_gpu(scenes: dict[str, Any]) -> None:
    assert scenes["half_a_character"].startswith("InputError")
    assert scenes["asked_for_half_a_character"] == 0


def test_no_gpu_is_asked_for_what_is_known(scenes: dict[str, Any]) -> None:
    assert scenes["asked_for_three_alike"] == 1
    assert scenes["three_alike"][0] == scenes["three_alike"][1] == scenes["three_alike"][2]


def test_what_spaces_refuses_is_a_sentence(scenes: dict[str, Any]) -> None:
    assert scenes["quota_spent"] == f"InputError: {InputError('gpu_spent')}"
    assert scenes["killed"] == f"InputError: {InputError('gpu_taken_back')}"


def test_a_fault_in_the_worker_is_logged_there_without_the_visitors_words(played: tuple[dict[str, Any], str]) -> None:
    scenes, printed = played
    assert scenes["fault"] == "Error"
    assert "ValueError at" in printed
    assert SECRET not in printed


def test_few_seconds_are_asked_for_a_short_run_and_never_more_than_the_limit(scenes: dict[str, Any]) -> None:
    assert scenes["seconds"] == [START_SECONDS + LEAST_SECONDS] * len(public_analyses())
    assert seconds_to_ask(0.1, 60) == START_SECONDS + LEAST_SECONDS
    assert seconds_to_ask(8.0, 60) == START_SECONDS + 24
    assert seconds_to_ask(1e9, 60) == START_SECONDS + 60


def test_an_answer_leaves_the_worker_once(models: Path) -> None:
    dispatcher = Dispatcher(ModelStore(Resolver(models_folder=models, default="tiny")))
    request = parse_request("rankings", {"text": TEXT, "generate": 3})
    answers = [step.answer for step in send_steps(dispatcher.run(request)) if isinstance(step, Step)]
    whole = [one for one in answers if one is not None]
    assert len(whole) == len({id(one) for one in whole}) > 0
    assert answers[-1] is None, "the last step says no more than the one before"


def test_an_error_that_is_ours_leaves_the_worker_without_its_words() -> None:
    def broken() -> Iterator[Step]:
        yield Step("loading")
        raise ValueError(SECRET)

    steps = send_steps(broken())
    next(steps)
    with pytest.raises(WorkerFault) as raised:
        next(steps)
    assert SECRET not in str(raised.value)
    assert raised.value.__suppress_context__


@pytest.mark.parametrize(
    ("title", "message", "key"),
    [
        ("ZeroGPU quota exceeded", "You have exceeded your free ZeroGPU quota", "gpu_spent"),
        ("ZeroGPU pending credits exceeded", "…", "gpu_spent"),
        ("ZeroGPU queue timeout", "No GPU was available after 60s", "gpu_busy"),
        ("ZeroGPU client error", "No GPU was available", "gpu_busy"),
        ("ZeroGPU worker error", "GPU task aborted", "gpu_taken_back"),
    ],
)
def test_each_refusal_of_spaces_has_its_sentence(title: str, message: str, key: str) -> None:
    found = to_input_error(gr.Error(message, title=title))
    assert isinstance(found, InputError)
    assert found.sentence.key == key


def test_any_other_error_of_the_worker_stays_what_it_is() -> None:
    error = gr.Error("WorkerFault", title="ZeroGPU worker error")
    assert to_input_error(error) is error


def test_only_listed_models_are_on_offer(models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("analyzers.sources.catalog.CATALOG", ())
    (tmp_path / "tiny").symlink_to(models / "tiny")
    store = PreloadedStore(Resolver(models_folder=tmp_path))
    store.preload()
    (tmp_path / "late").symlink_to(models / "tiny")
    assert store.resolver.names() == ("tiny",)
    assert store.resolver.default_id() == "tiny"
    store.release()
    assert store.load("tiny") is next(iter(store.load_in_steps("tiny", "cuda")))
    with pytest.raises(InputError, match="no model called"):
        store.load("late")


def test_the_page_offers_the_listed_models_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local_files, "is_on_this_machine", lambda row: row.id in ("gpt2", "bert"))
    resolver = Resolver()
    resolver.restrict_to(("gpt2",))
    assert [id for _, id in model_choices(Dispatcher(PreloadedStore(resolver)))] == ["gpt2"]


@pytest.mark.parametrize("bundled", [True, False])
def test_an_example_is_there_where_its_model_can_be(monkeypatch: pytest.MonkeyPatch, bundled: bool) -> None:
    monkeypatch.setattr("analyzers.sources.local_files.find_bundled_folder", lambda row: Path() if bundled else None)
    monkeypatch.setattr("analyzers.sources.local_files.find_cached_folder", lambda row: None)
    store = ModelStore()
    for example in EXAMPLES:
        assert example.can_be_had(store) is (bundled or not example.models), example.label


def test_spaces_takes_the_weights_of_every_listed_model(models: Path, tmp_path: Path) -> None:
    run = subprocess.run(
        [sys.executable, str(SPACE), "pack", str(models)],
        capture_output=True,
        text=True,
        timeout=180,
        cwd=ROOT,
        env=os.environ | {"ZEROGPU_OFFLOAD_DIR": str(tmp_path / "taken")},
    )
    packed = re.search(r"^PACKED (.*)$", run.stdout, re.MULTILINE)
    assert packed is not None, run.stdout + run.stderr
    found = json.loads(packed[1])
    assert found["facts"] == ["cuda"]
    assert found["devices"] == ["cuda:0"]
    assert found["bytes"] <= found["taken"] <= 1.2 * found["bytes"], "buffers and the probe come on top"


def test_the_app_itself_is_served_from_one_worker(models: Path, tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log = tmp_path / "log"
    with log.open("w") as written:
        app = subprocess.Popen(
            [sys.executable, str(SPACE), "serve", str(models), str(port)],
            cwd=ROOT,
            stdout=written,
            stderr=subprocess.STDOUT,
            env=os.environ | {"PYTHONUNBUFFERED": "1"},
            start_new_session=True,
        )
    try:
        deadline = time.monotonic() + 90
        while "Eccolens is at" not in log.read_text() and app.poll() is None and time.monotonic() < deadline:
            time.sleep(0.2)
        assert "Eccolens is at" in log.read_text(), log.read_text()
        client = Client(f"http://127.0.0.1:{port}", verbose=False)
        for analysis in [row.name for row in public_analyses()]:
            found = client.predict(TEXT, api_name="/" + analysis.replace("-", "_"))
            assert found["model"] == "tiny"
        with pytest.raises(Exception, match="no predicted token"):
            client.predict(TEXT, generate=0, api_name="/saliency")
    finally:
        app.terminate()
        app.wait(20)
        with suppress(ProcessLookupError):
            os.killpg(app.pid, signal.SIGKILL)  # the forked worker outlives it
    calls = [json.loads(line) for line in re.findall(r"^LENDER (.*)$", log.read_text(), re.MULTILINE)]
    assert [call["call"] for call in calls].count("/schedule") == len(public_analyses()) + 1
    assert [call["call"] for call in calls].count("/allow") == 1
    assert [call["call"] for call in calls].count("/startup-report") == 1
