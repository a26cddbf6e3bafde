"""A Hugging Face Hub on this machine: repositories made of bytes, and every way in which a Hub can fail."""

from __future__ import annotations

import hashlib
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest

from analyzers.sources import hub_probe

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@dataclass
class Repository:
    """One model repository."""

    files: dict[str, bytes]
    info: dict[str, Any] = field(default_factory=dict)
    """What the Hub says of it beside the files: `gated`, `private`, `safetensors`, `gguf`."""
    revisions: tuple[str, ...] = ("main", COMMIT)


@dataclass
class StubHub:
    """What it holds, how it fails, and what it was asked."""

    address: str = ""
    repositories: dict[str, Repository] = field(default_factory=dict)
    status: int | None = None
    """Answered to every question about a model."""
    file_status: int | None = None
    """Answered to every question about a file."""
    delay: float = 0.0
    """Seconds before anything is answered."""
    chunk_delay: float = 0.0
    """Seconds between 64 KB of weights."""
    ends_after: int | None = None
    """Bytes of weights after which the line goes dead, still open."""
    requests: list[tuple[str, str]] = field(default_factory=list)
    tokens: list[str] = field(default_factory=list)

    def add(self, name: str, folder: Path, **info: Any) -> Repository:
        """A repository of the files of a folder."""
        files = {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
        self.repositories[name] = Repository(files, info)
        return self.repositories[name]

    def sent(self, suffix: str) -> int:
        """How often a file was fetched."""
        return sum(method == "GET" and path.endswith(suffix) for method, path in self.requests)


@contextmanager
def serving() -> Iterator[StubHub]:
    hub = StubHub()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_HEAD(self) -> None:
            self.answer()

        def do_GET(self) -> None:
            self.answer()

        def answer(self) -> None:
            path = unquote(urlsplit(self.path).path)
            hub.requests.append((self.command, path))
            if self.headers.get("authorization"):
                hub.tokens.append(str(self.headers["authorization"]))
            if path == "/api/models/openai-community/gpt2" and self.command == "HEAD":
                self.reply(200)
                return
            time.sleep(hub.delay)
            if path.startswith("/api/models/"):
                self.describe(path.removeprefix("/api/models/"))
            else:
                name, _, rest = path.removeprefix("/").partition("/resolve/")
                self.file(name, *rest.split("/", 1))

        def describe(self, path: str) -> None:
            name, _, revision = path.partition("/revision/")
            repository = hub.repositories.get(name)
            if hub.status is not None:
                self.reply(hub.status)
            elif repository is None:
                self.reply(401, error="RepoNotFound")
            elif revision and revision not in repository.revisions:
                self.reply(404, error="RevisionNotFound")
            else:
                siblings = [{"rfilename": n, "size": len(b)} for n, b in repository.files.items()]
                said = {"id": name, "sha": COMMIT, "siblings": siblings, "private": False, "gated": False}
                self.reply(200, json.dumps(said | repository.info).encode())

        def file(self, name: str, revision: str, file: str) -> None:
            repository = hub.repositories.get(name)
            if hub.file_status is not None:
                self.reply(hub.file_status)
            elif repository is None or file not in repository.files:
                self.reply(404, error="EntryNotFound")
            else:
                self.reply(200, repository.files[file], is_weights=file.endswith((".safetensors", ".gguf")))

        def reply(self, status: int, body: bytes = b"", *, error: str = "", is_weights: bool = False) -> None:
            start = 0
            asked = self.headers.get("range", "")
            if status == 200 and asked.startswith("bytes="):
                first, _, last = asked.removeprefix("bytes=").partition("-")
                start, stop = int(first), min(len(body), int(last) + 1 if last else len(body))
                status, whole, body = 206, len(body), body[start:stop]
            self.send_response(status)
            if status == 206:
                self.send_header("Content-Range", f"bytes {start}-{start + len(body) - 1}/{whole}")
            if error:
                self.send_header("X-Error-Code", error)
            self.send_header("X-Repo-Commit", COMMIT)
            self.send_header("ETag", f'"{hashlib.sha256(body).hexdigest()}"')
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command == "HEAD":
                return
            for i in range(0, len(body), 65_536):
                if is_weights and hub.ends_after is not None and i >= hub.ends_after:
                    time.sleep(30)
                try:
                    self.wfile.write(body[i : i + 65_536])
                except OSError:  # the other side went away
                    return
                if is_weights:
                    time.sleep(hub.chunk_delay)

        def log_message(self, *_args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    server.block_on_close = False
    hub.address = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    yield hub
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def stub_hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[StubHub]:
    """A Hub of one's own with an empty cache, and an operator's token that must never be sent."""

    with serving() as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.address)
        monkeypatch.setenv("HF_HUB_OFFLINE", "0")
        monkeypatch.setenv("HF_TOKEN", "hf_operators_own_token")
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub-cache"))
        monkeypatch.setattr(hub_probe, "HUB", hub_probe.HubProbe())
        yield hub
        # A download that goes on would close the one connection that huggingface_hub has, and with it that of the next test.
        for thread in threading.enumerate():
            if thread.name in ("download", "hub-question", "model-load"):
                thread.join(5)
        assert hub.tokens == [], "the operator's token was sent"
