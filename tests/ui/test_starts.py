"""Started as a person starts it, where something is not as it should be: a sentence with the way out, or the app runs."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest
from families import FAMILIES, tiny_module, tiny_tokenizer

from analyzers.common.limits import read_limits, unknown_variables

ROOT = Path(__file__).parents[2]
APP, CLI = ["app.py"], ["-m", "analyzers", "saliency", "the keys"]


def start(arguments: list[str], **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize("arguments", [APP, CLI], ids=["app", "command line"])
@pytest.mark.parametrize(
    ("environment", "said"),
    [
        ({"ECCOLENS_TOKENS_CPU": "many"}, "ECCOLENS_TOKENS_CPU must be a whole number of at least 1; it is “many”."),
        ({"ECCOLENS_QUEUE": "0"}, "ECCOLENS_QUEUE must be a whole number of at least 1; it is “0”."),
        ({"ECCOLENS_NEW_TOKENS": "600"}, "ECCOLENS_NEW_TOKENS must be below ECCOLENS_TOKENS_CPU"),
        ({"ECCOLENS_SECONDS": "9" * 5_000}, "ECCOLENS_SECONDS must be a whole number"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_a_variable_that_cannot_be_is_a_sentence(arguments: list[str], environment: dict[str, str], said: str) -> None:
    ended = start(arguments, **environment)
    assert ended.returncode == 2
    assert said in ended.stderr
    assert "Traceback" not in ended.stderr
    assert len(ended.stderr.strip().splitlines()) == 1


def test_a_variable_of_no_setting_is_told() -> None:
    environment = {"ECCOLENS_TOKENZ": "5", "ECCOLENS_TOKENS_CPU": "300", "ECCOLENS_CACHE": "x", "OTHER": "1"}
    assert unknown_variables(environment) == ["ECCOLENS_TOKENZ"]
    assert read_limits(environment).tokens_cpu == 300


@pytest.mark.parametrize("variable", ["GRADIO_TEMP_DIR"])
def test_a_folder_that_cannot_be_written_is_a_sentence(variable: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    ended = start(APP, **{variable: str(tmp_path / "file" / "x")})
    assert ended.returncode == 2
    assert "Set GRADIO_TEMP_DIR, or TMPDIR, to a folder that can be written." in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_text_in_japanese_under_a_locale_of_ascii() -> None:
    """Its output can be read by a machine that knows no more."""
    plain, ascii_only = (
        start(["-m", "analyzers", "saliency", "東京は", "--method=gradient", "--generate=1", "--json"], **environment)
        for environment in ({}, {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONIOENCODING": "ascii:strict"})
    )
    assert (plain.returncode, ascii_only.returncode) == (0, 0), ascii_only.stderr
    assert ascii_only.stdout.isascii()
    first, second = (json.loads(run.stdout) for run in (plain, ascii_only))
    assert second["request"]["text"] == "東京は"
    assert (first["scores"], first["tokens"]) == (second["scores"], second["tokens"])


def test_three_hundred_idle_listeners_lock_nobody_out(tmp_path: Path) -> None:
    """Under a system that allows 256 open files unless asked, a locale of ASCII, and a folder whose name is not UTF-8."""
    tiny_module("gpt2").save_pretrained(tmp_path / "models" / "tiny")
    tiny_tokenizer(FAMILIES["gpt2"].kind).save_pretrained(tmp_path / "models" / "tiny")
    shutil.copytree(os.fsencode(tmp_path / "models" / "tiny"), os.fsencode(tmp_path / "models") + b"/caf\xe9")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = f"ulimit -Sn 256; exec {sys.executable} app.py --port {port} --model tiny --no-background"
    log = (tmp_path / "log").open("w")
    process = subprocess.Popen(
        ["bash", "-c", f"{command} --models-dir {tmp_path / 'models'}"],
        cwd=ROOT,
        env={**os.environ, "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONUNBUFFERED": "1"},
        stdout=log,
        stderr=subprocess.STDOUT,
    )
    listeners: list[socket.socket] = []
    try:
        deadline = time.monotonic() + 60
        while "Eccolens is at" not in (tmp_path / "log").read_text() and time.monotonic() < deadline:
            time.sleep(0.2)
        assert re.search(r"caf\\xe9' is left out: its name is not UTF-8", (tmp_path / "log").read_text())
        for number in range(300):
            line = socket.create_connection(("127.0.0.1", port), 10)
            line.sendall(f"GET /gradio_api/heartbeat/idle{number} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode())
            listeners.append(line)
        began = time.monotonic()
        address = f"http://127.0.0.1:{port}"
        with urllib.request.urlopen(address, timeout=10) as page:
            assert page.status == 200
        call = f"{address}/gradio_api/call/saliency"
        posted = urllib.request.Request(
            call, json.dumps({"data": ["the keys"]}).encode(), {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(posted, timeout=10) as reply:
            event = json.load(reply)["event_id"]
        with urllib.request.urlopen(f"{call}/{event}", timeout=10) as stream:
            assert "event: complete" in stream.read().decode()
        assert time.monotonic() - began < 10
    finally:
        for line in listeners:
            line.close()
        process.terminate()
        process.wait(10)
        log.close()
    said = (tmp_path / "log").read_text()
    assert not said.count("Traceback"), said[-3_000:]
