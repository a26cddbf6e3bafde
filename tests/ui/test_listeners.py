"""A job that nobody listens to ends: when nobody came, and when who came has gone."""

from __future__ import annotations

import json
import os
import socket
import time
import urllib.request
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from served import Served

from analyzers.serving.request import parameters_of
from ui import listeners
from ui.listeners import Listeners, stream_of

LONG = {"method": "integrated-gradients", "points": 512, "generate": 3}
TEXT = "the keys to the cabinet on the table " * 15


@pytest.mark.parametrize(
    ("path", "query", "name"),
    [
        ("queue/data", "session_hash=abc&x=1", "abc"),
        ("queue/data", "", None),
        ("call/saliency/event", "", "event"),
        ("call/v2/saliency/event", "", "event"),
        ("call/saliency", "", None),
        ("queue/join", "session_hash=abc", None),
    ],
)
def test_an_address_that_opens_a_stream_is_known(path: str, query: str, name: str | None) -> None:
    assert stream_of(path, query) == name


def test_a_job_waits_for_its_first_listener_and_less_for_one_who_went(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr(listeners.time, "monotonic", lambda: now)
    known = Listeners()
    untold = known.watch(frozenset({"a"}))
    now = 100.0
    assert untold()  # nobody tells it of streams
    known.is_told = True
    never, heard = known.watch(frozenset({"a"})), known.watch(frozenset({"b", "c"}))
    known.open("b")
    known.open("b")
    now += listeners.FIRST_SECONDS + 0.1
    assert not never()
    assert heard()
    known.close("b")
    now += 10
    assert heard()
    known.close("b")
    now += listeners.AGAIN_SECONDS + 0.1
    assert not heard()


def test_who_listens_keeps_the_answer_whoever_else_never_comes() -> None:
    known, events = (
        listeners.Listeners(),
        {"waits": {"event"}, "early": {"e0"}, **{f"s{n}": {f"e{n}"} for n in range(9)}},
    )
    boxes = listeners.Mailboxes(events, known, most=4)
    known.open("event")  # of a stream of one event, as `call` opens it
    known.open("page")
    boxes["waits"] = boxes["early"] = boxes["page"] = "said"
    for number in range(9):
        boxes[f"s{number}"] = "said"
    assert list(boxes) == ["waits", "page", "s7", "s8"]
    assert events.keys() == {"waits", "s7", "s8"}
    known.close("event")
    boxes["last"] = "said"
    assert "waits" not in boxes


def ask(address: str, text: str) -> str:
    """The event of a job that takes long."""
    values = [LONG.get(setting.name, setting.default) for setting in parameters_of("saliency")]
    body = json.dumps({"data": [text, *values]}).encode()
    posted = urllib.request.Request(f"{address}/gradio_api/call/saliency", body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(posted, timeout=30) as reply:
        event: str = json.load(reply)["event_id"]
    return event


def said(address: str, event: str) -> str:
    with urllib.request.urlopen(f"{address}/gradio_api/call/saliency/{event}", timeout=60) as stream:
        answer: str = stream.read().decode()
    return answer


def used_seconds(pid: int, within: float) -> float:
    """Of the processor, by the app, within so many seconds."""

    def used() -> float:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    before = used()
    time.sleep(within)
    return used() - before


def seconds_until_quiet(pid: int) -> float:
    """The job would go on for half a minute."""
    began = time.monotonic()
    while used_seconds(pid, 0.5) > 0.1:
        pass
    return time.monotonic() - began


def test_a_job_that_nobody_came_for_ends(served_app: Served) -> None:
    address, pid = served_app.address, served_app.pid
    event = ask(address, TEXT)
    assert used_seconds(pid, 0.8) > 0.2
    assert seconds_until_quiet(pid) < 3
    assert "Nobody listened to this answer" in said(address, event)


def test_a_job_whose_listener_hangs_up_ends(served_app: Served) -> None:
    address, pid = served_app.address, served_app.pid
    event, place = ask(address, f"{TEXT}."), urlsplit(address)
    with socket.create_connection((place.hostname, place.port)) as line:
        line.sendall(f"GET /gradio_api/call/saliency/{event} HTTP/1.1\r\nHost: {place.netloc}\r\n\r\n".encode())
        time.sleep(2)  # longer than a job waits for its first listener
        assert used_seconds(pid, 1) > 0.2
    assert seconds_until_quiet(pid) < 3
    assert "event: complete" in said(address, ask(address, "the keys"))
