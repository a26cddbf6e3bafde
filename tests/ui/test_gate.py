"""What the front gate refuses before any work, and what passes. The same against the running app."""

from __future__ import annotations

import http.client
import json
import socket
import time
import urllib.error
import urllib.request
from typing import Any
from urllib.parse import urlsplit

import pytest
from served import Served
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route
from starlette.testclient import TestClient

from ui.gate import MOST_BYTES, Gate, Names

FILE = {"path": "http://example.org/x", "meta": {"_type": "gradio.FileData"}}


async def take(request: Request) -> Response:
    return JSONResponse({"bytes": len(await request.body())})


async def page(request: Request) -> Response:
    return HTMLResponse("<html></html>")


def client(names: Names | None = None, at: str = "http://127.0.0.1:7860") -> TestClient:
    app = Starlette(routes=[Route("/", page), Route("/{path:path}", take, methods=["GET", "POST"])])
    return TestClient(Gate(app, names or Names.of("127.0.0.1")), base_url=at)


@pytest.mark.parametrize(
    "at", ["http://localhost:1", "http://192.168.1.7:7860", "http://[::1]:7860", "http://127.0.0.1"]
)
def test_the_machines_own_names_and_any_address_in_numbers_are_served(at: str) -> None:
    assert client(at=at).get("/").status_code == 200


@pytest.mark.parametrize(
    "at", ["http://evil.example:7860", "http://localhost.evil.example", "http://x.gradio.live", "http://a.hf.space"]
)
def test_another_name_is_refused_and_not_repeated(at: str) -> None:
    answer = client(at=at).get("/config", headers={"accept-language": "ja"})
    assert answer.status_code == 403
    assert "evil" not in answer.text
    assert "access-control-allow-origin" not in answer.headers
    assert "その名前では応答しません" in answer.json()["detail"]


def test_a_share_link_a_space_and_a_proxy_are_served_where_they_are_there(monkeypatch: pytest.MonkeyPatch) -> None:
    assert client(Names.of("0.0.0.0", is_shared=True), "http://x.gradio.live").get("/").status_code == 200
    assert client(Names.of("127.0.0.1", ("nlp.School",)), "http://nlp.school").get("/").status_code == 200
    monkeypatch.setenv("SPACE_ID", "owner/name")
    monkeypatch.setenv("SPACE_HOST", "owner-name.hf.space")
    names = Names.of("0.0.0.0")
    answer = client(names, "https://owner-name.hf.space").get("/", headers={"origin": "https://owner-name.hf.space"})
    assert answer.status_code == 200
    assert "frame-ancestors 'self' https://huggingface.co" in answer.headers["content-security-policy"]


@pytest.mark.parametrize(
    ("origin", "status"),
    [
        ("http://127.0.0.1:7860", 200),
        ("http://127.0.0.1:9999", 403),
        ("http://localhost:9999", 403),
        ("https://evil.example", 403),
        ("http://6.6.6.6", 403),
        ("null", 403),
    ],
)
def test_only_the_apps_own_page_may_ask(origin: str, status: int) -> None:
    assert client().post("/gradio_api/queue/join", json={}, headers={"origin": origin}).status_code == status


def test_a_proxys_page_may_ask_where_the_proxy_changes_the_host() -> None:
    names = Names.of("127.0.0.1", ("nlp.school",))
    answer = client(names).post("/gradio_api/queue/join", json={}, headers={"origin": "https://nlp.school"})
    assert answer.status_code == 200


@pytest.mark.parametrize(
    "path",
    [
        "upload",
        "upload/",
        "stream/abc",
        "component_server",
        "process_recording",
        "vibe-edit",
        "run/saliency",
        "api/predict",
    ],
)
def test_nothing_else_takes_a_body(path: str) -> None:
    assert client().post(f"/gradio_api/{path}", json={}).status_code == 403


@pytest.mark.parametrize(
    "path", ["proxy=http://example.org", "deep_link", "stream/a/b/c/playlist.m3u8", "upload_progress"]
)
def test_parts_of_gradio_that_the_app_has_no_use_for_are_closed(path: str) -> None:
    assert client().get(f"/gradio_api/{path}").status_code == 403


@pytest.mark.parametrize("path", ["queue/join", "run/predict", "call/saliency", "call/v2/saliency", "cancel", "reset"])
def test_what_the_page_and_scripts_post_passes_whole(path: str) -> None:
    body = json.dumps({"data": ["あ" * 20_000], "event_data": {"path": "x"}}).encode()
    answer = client().post(f"/gradio_api/{path}", content=body)
    assert answer.json() == {"bytes": len(body)}
    assert answer.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize(
    "value",
    [
        FILE,
        [FILE],
        {"a": [[FILE]]},
        json.loads('{"\\u0070ath": "/x", "m\\u0065ta": {"_\\u0074ype": "gradio.FileData"}}'),
    ],
)
def test_a_file_in_any_place_is_refused(value: Any) -> None:
    answer = client().post("/gradio_api/call/saliency", json={"data": ["text", value]})
    assert answer.status_code == 400
    assert "no files" in answer.json()["detail"]


def test_a_file_written_in_escapes_is_refused() -> None:
    escaped = '{"data": [{"path": "http://x", "meta": {"\\u005ftype": "gradio.FileData"}}]}'
    assert client().post("/gradio_api/queue/join", content=escaped).status_code == 400


def test_a_text_that_speaks_of_files_passes() -> None:
    text = 'what is {"path": "x", "meta": {"_type": "gradio.FileData"}}?'
    assert client().post("/gradio_api/call/saliency", json={"data": [text]}).status_code == 200


def test_a_body_nested_without_end_is_refused() -> None:
    deep = '"_type"' + "[" * 400_000
    answer = client().post("/gradio_api/queue/join", content="[" * 400_000 + '"_type"' + "]" * 400_000)
    assert answer.status_code == 400
    assert client().post("/gradio_api/queue/join", content=deep).status_code == 200  # no JSON: Gradio's to refuse


def test_a_body_above_the_limit_is_refused_whether_or_not_it_says_so() -> None:
    assert client().post("/gradio_api/queue/join", content=b"x" * (MOST_BYTES + 1)).status_code == 413

    def pieces() -> Any:
        for _ in range(20):
            yield b"x" * 100_000

    assert client().post("/gradio_api/queue/join", content=pieces()).status_code == 413
    assert client().post("/gradio_api/queue/join", content=b"x" * MOST_BYTES).json() == {"bytes": MOST_BYTES}


def test_a_full_line_is_said_in_the_visitors_language() -> None:
    async def full(_: Request) -> Response:
        return JSONResponse({"detail": "Queue is full. Max size is 32 and size is 32."}, 503)

    app = Starlette(routes=[Route("/gradio_api/queue/join", full, methods=["POST"])])
    asked = TestClient(Gate(app, Names.of("127.0.0.1")), base_url="http://127.0.0.1:7860")
    answer = asked.post("/gradio_api/queue/join", json={}, headers={"accept-language": "ja"})
    assert answer.status_code == 503
    assert "待っている人が多すぎます" in answer.json()["detail"]


def test_the_page_says_what_a_browser_must_not_do_with_it() -> None:
    headers = client().get("/").headers
    assert "frame-ancestors 'self'" in headers["content-security-policy"]
    assert "object-src 'none'" in headers["content-security-policy"]
    assert headers["referrer-policy"] == "same-origin"


@pytest.mark.parametrize("megabytes", [8, 40, 300])
def test_the_running_app_refuses_a_long_body_in_half_a_second(address: str, megabytes: int) -> None:
    host, port = address.removeprefix("http://").split(":")
    began = time.monotonic()
    with socket.create_connection((host, int(port)), timeout=10) as line:
        head = f"POST /gradio_api/queue/join HTTP/1.1\r\nHost: {host}:{port}\r\nContent-Length: {megabytes * 10**6}\r\n\r\n"
        line.sendall(head.encode())
        said = line.recv(4096).decode()
    assert said.startswith("HTTP/1.1 413")
    assert time.monotonic() - began < 0.5


@pytest.mark.parametrize(
    ("path", "data", "headers", "status"),
    [
        ("/gradio_api/upload", b"x", {}, 403),
        ("/gradio_api/run/saliency", b'{"data": ["the keys"]}', {}, 403),
        ("/gradio_api/call/saliency", json.dumps({"data": [FILE]}).encode(), {}, 400),
        ("/config", None, {"Host": "evil.example"}, 403),
        ("/gradio_api/queue/join", b"{}", {"Origin": "https://evil.example"}, 403),
    ],
)
def test_the_running_app_has_the_gate(
    address: str, path: str, data: bytes | None, headers: dict[str, str], status: int
) -> None:
    asked = urllib.request.Request(address + path, data, {"Content-Type": "application/json", **headers})
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(asked, timeout=10)
    refused.value.close()
    assert refused.value.code == status


UNREADABLE = [
    b"", b"{", b"[]", b"null", b'{"data": 1}', b"\xff", b'{"fn_index": 1e400, "data": []}',
    b'{"fn_index": -1, "data": [], "session_hash": "a"}', b'{"fn_index": 99999, "data": [], "session_hash": "a"}',
    b'{"session_hash": {}, "fn_index": "x", "data": []}', b'{"event_id": [1]}', b"[" * 100_000, b'{"a":' * 50_000,
]  # fmt: skip
UNKNOWN = [
    "queue/data", "queue/data?session_hash=nobody", "queue/data?session_hash=%ff%fe", "call/saliency/nothing",
    "call/saliency/%00", "call/nothing/x", "heartbeat/", "file=/etc/passwd", "file=%00", "file=http://192.0.2.1/x",
    "info?serialize=maybe", "monitoring/x/y", "upload_progress?upload_id=x", "stream/a/b/c/playlist.m3u8", "deep_link",
]  # fmt: skip


def test_what_gradio_cannot_read_is_no_fault_of_the_app_and_fills_no_log(served_app: Served) -> None:
    """A line of the log is a traceback's: 200 of them for each such request would fill the disk."""
    address, before = served_app.address, served_app.log.read_text()
    asked = [("GET", path, None) for path in UNKNOWN]
    posts = ("queue/join", "run/predict", "cancel", "reset", "call/saliency", "call/nothing")
    asked += [("POST", path, body) for path in posts for body in UNREADABLE]
    for method, path, body in asked:
        place = urlsplit(address)
        line = http.client.HTTPConnection(str(place.hostname), place.port, timeout=10)
        line.request(method, f"/gradio_api/{path}", body, {"Content-Type": "application/json"})
        answer = line.getresponse()
        assert answer.status < 500, (method, path, body)
        if not path.startswith("queue/data"):
            answer.read()
        line.close()
    time.sleep(0.5)
    assert not (added := served_app.log.read_text()[len(before) :]).count("Traceback"), added[-2_000:]


def test_sixty_who_hang_up_at_once_keep_nobody_waiting(served_app: Served) -> None:
    place = urlsplit(served_app.address)
    with urllib.request.urlopen(f"{served_app.address}/config", timeout=10) as reply:
        config = json.load(reply)
    run = next(one["id"] for one in config["dependencies"] if one["api_visibility"] == "public")
    for path in ("run/saliency", "run/predict", "queue/join", "call/saliency"):
        for number in range(60):
            data = ["the keys to the cabinet are on the table " * 8 + str(number)]
            body = json.dumps({"data": data, "fn_index": run, "session_hash": f"gone{number}"}).encode()
            head = f"POST /gradio_api/{path} HTTP/1.1\r\nHost: {place.netloc}\r\nContent-Type: application/json\r\n"
            with socket.create_connection((place.hostname, place.port), 10) as line:
                line.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        began = time.monotonic()
        with urllib.request.urlopen(served_app.address, timeout=10) as page:
            assert page.status == 200
        assert time.monotonic() - began < 5, path
    assert ask_until_there_is_room(served_app.address) == "complete"


def ask_until_there_is_room(address: str) -> str:
    """How a run ends. Who never listens is given up after a second each: the line is empty soon."""
    body = json.dumps({"data": ["the keys"]}).encode()
    call = f"{address}/gradio_api/call/saliency"
    status = 503
    deadline = time.monotonic() + 40
    while status == 503 and time.monotonic() < deadline:
        line = http.client.HTTPConnection(str(urlsplit(address).hostname), urlsplit(address).port, timeout=10)
        line.request("POST", urlsplit(call).path, body, {"Content-Type": "application/json"})
        with line.getresponse() as answer:
            status, said = answer.status, json.load(answer)
        line.close()
        time.sleep(0.5 if status == 503 else 0)
    with urllib.request.urlopen(f"{call}/{said['event_id']}", timeout=40) as stream:
        text: str = stream.read().decode()
    return text.rpartition("event: ")[2].partition("\n")[0]


def test_no_event_of_the_page_passes_the_queue_by(address: str) -> None:
    """The one way past it is for what the page does at once, which computes nothing."""
    asked = urllib.request.Request(f"{address}/config")
    with urllib.request.urlopen(asked, timeout=10) as reply:
        config = json.load(reply)
    run = next(one for one in config["dependencies"] if one["queue"] and one["api_visibility"] == "public")
    body = json.dumps({"fn_index": run["id"], "data": ["the keys"], "session_hash": "x"}).encode()
    posted = urllib.request.Request(f"{address}/gradio_api/run/predict", body, {"Content-Type": "application/json"})
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(posted, timeout=10)
    said = refused.value.read().decode()
    refused.value.close()
    assert refused.value.code == 404
    assert "join the queue" in said
