"""A class's door: who has the password is let in, who has not sees nothing and computes nothing."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from http.cookiejar import CookieJar
from pathlib import Path
from typing import TextIO

import pytest

from ui import server

WORD = "青い空-open"


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The app itself, as a teacher starts it."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    command = [sys.executable, "app.py", "--port", port, "--no-background"]
    log = (tmp_path_factory.mktemp("log") / "app.log").open("w+")
    process = subprocess.Popen(
        [*command, "--models-dir", str(tmp_path_factory.mktemp("none"))],
        cwd=Path(__file__).parents[2],
        env={**os.environ, "ECCOLENS_PASSWORD": WORD},
        stdout=log,
        stderr=subprocess.STDOUT,
    )
    try:
        deadline = time.monotonic() + 60
        while "Eccolens is at" not in said(log) and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.2)
        yield f"http://127.0.0.1:{port}"
        assert WORD not in said(log)
    finally:
        process.terminate()
        process.wait(timeout=20)
        log.close()


def said(log: TextIO) -> str:
    log.seek(0)
    return log.read()


def visitor() -> urllib.request.OpenerDirector:
    return urllib.request.build_opener(urllib.request.HTTPCookieProcessor(CookieJar()))


def log_in(who: urllib.request.OpenerDirector, address: str, word: str) -> int:
    form = urllib.parse.urlencode({"username": "a", "password": word}).encode()
    try:
        with who.open(f"{address}/login", form, timeout=10) as reply:
            return int(reply.status)
    except urllib.error.HTTPError as refused:
        refused.close()
        return refused.code


def call(who: urllib.request.OpenerDirector, address: str) -> int:
    asked = urllib.request.Request(
        f"{address}/gradio_api/call/saliency", json.dumps({"data": [""]}).encode(), {"Content-Type": "application/json"}
    )
    try:
        with who.open(asked, timeout=10) as reply:
            return int(reply.status)
    except urllib.error.HTTPError as refused:
        refused.close()
        return refused.code


def test_without_the_password_nothing_is_computed(guarded: str) -> None:
    assert call(visitor(), guarded) == 401


def test_a_wrong_password_opens_nothing(guarded: str) -> None:
    who = visitor()
    assert log_in(who, guarded, "青い空") == 400
    assert call(who, guarded) == 401


def test_the_password_lets_in(guarded: str) -> None:
    who = visitor()
    assert log_in(who, guarded, WORD) == 200
    assert call(who, guarded) == 200


def test_the_password_is_not_on_the_page(guarded: str) -> None:
    try:
        with visitor().open(guarded, timeout=10) as reply:
            page = reply.read().decode()
    except urllib.error.HTTPError as asks:
        page = asks.read().decode()
        asks.close()
    assert "<html" in page
    assert WORD not in page
    assert json.dumps(WORD)[1:-1] not in page


@pytest.mark.parametrize("word", [None, ""])
def test_no_password_is_no_door(word: str | None) -> None:
    assert server._door(word) is None


def test_the_environment_gives_it_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ECCOLENS_PASSWORD", WORD)
    assert server._options().parse_args([]).password == WORD
    monkeypatch.setenv("ECCOLENS_PASSWORD", "")
    assert server._options().parse_args([]).password is None
