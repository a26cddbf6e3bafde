"""As much of the Hugging Face Hub as `deploy.py` talks to, on this machine: one account, Spaces, their commits and builds."""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

Files = dict[str, bytes]


@dataclass
class StubSpaces:
    """What happened is in the fields. A build takes two polls, during the first of which the previous commit still runs."""

    token: str
    host: str
    """Where the Space's app answers."""
    build_ends: str = "RUNNING"
    """Stage that the build of `broken` files, or of all where there are none, ends in."""
    spaces: dict[str, list[tuple[str, Files]]] = field(default_factory=dict)
    """Commits, oldest first."""
    messages: list[str] = field(default_factory=list)
    variables: dict[str, str] = field(default_factory=dict)
    hardware: str | None = None
    calls: list[str] = field(default_factory=list)
    polls: int = 0
    refuses_commits: bool = False
    address: str = ""

    def commit(self, space: str, files: Files) -> str:
        sha = hashlib.sha1(repr((len(self.spaces[space]), sorted(files.items()))).encode()).hexdigest()
        self.spaces[space].append((sha, files))
        self.polls = 0
        return sha

    def runtime(self, space: str) -> dict[str, Any]:
        commits = self.spaces[space]
        self.polls += 1
        stages = ["RUNNING", "BUILDING", "RUNNING" if self.is_complete(commits[-1][1]) else self.build_ends]
        at = min(self.polls, len(stages)) - 1 if len(commits) > 1 else 2
        sha = commits[-2][0] if at == 0 else commits[-1][0]
        return {"stage": stages[at], "sha": sha, "hardware": {"current": self.hardware, "requested": self.hardware}}

    def is_complete(self, files: Files) -> bool:
        """Only what is uploaded from here can end otherwise than running."""
        return b"an older version" in files.get("app.py", b"")

    def start(self) -> str:
        """The address it answers at."""
        hub = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                _answer(hub, self)

            do_POST = do_DELETE = do_HEAD = do_GET

            def log_message(self, *_: Any) -> None:
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        self.address = f"http://127.0.0.1:{server.server_port}"
        return self.address


def _answer(hub: StubSpaces, request: BaseHTTPRequestHandler) -> None:
    path = unquote(urlsplit(request.path).path)
    body = request.rfile.read(int(request.headers.get("Content-Length") or 0))
    hub.calls.append(f"{request.command} {path}")
    headers: dict[str, str] = {}
    if request.headers.get("Authorization") != f"Bearer {hub.token}":
        status, found = 401, json.dumps({"error": "no token"}).encode()
    else:
        status, found, headers = _found(hub, request.command, path, body)
    request.send_response(status)
    for name, value in ({"Content-Type": "application/json", "Content-Length": str(len(found))} | headers).items():
        request.send_header(name, value)
    request.end_headers()
    if request.command != "HEAD":
        request.wfile.write(found)


def _found(hub: StubSpaces, method: str, path: str, body: bytes) -> tuple[int, bytes, dict[str, str]]:
    def ok(value: Any) -> tuple[int, bytes, dict[str, str]]:
        return 200, json.dumps(value).encode(), {}

    if path == "/api/whoami-v2":
        return ok({"type": "user", "name": "someone"})
    if path == "/api/validate-yaml":
        return ok({"errors": [], "warnings": []})
    if path == "/api/repos/create":
        given = json.loads(body)
        space = f"{given.get('organization') or 'someone'}/{given['name']}"
        assert given["type"] == "space"
        assert given["sdk"] == "gradio"
        hub.hardware = given.get("hardware")
        hub.spaces[space] = [("0" * 40, {".gitattributes": b"", "README.md": b"made by the Hub"})]
        return ok({"url": f"{hub.address}/spaces/{space}", "id": space})
    parts = path.removeprefix("/api").removeprefix("/spaces/").split("/")
    space, rest = "/".join(parts[:2]), parts[2:]
    if space not in hub.spaces:
        return 404, b'{"error": "Repository not found"}', {"X-Error-Code": "RepoNotFound"}
    commits = hub.spaces[space]
    if path.startswith("/spaces/"):
        files = dict(commits)[rest[1]]
        content = files["/".join(rest[2:])]
        return 200, content, {"ETag": f'"{hashlib.sha1(content).hexdigest()}"', "X-Repo-Commit": rest[1]}
    if rest and rest[0] == "variables":
        if method != "GET":
            given = json.loads(body)
            hub.variables.pop(given["key"], None)
            hub.variables |= {given["key"]: given["value"]} if method == "POST" else {}
        return ok({name: {"key": name, "value": value} for name, value in hub.variables.items()})
    if rest == ["hardware"]:
        hub.hardware = json.loads(body)["flavor"]
        return ok({"stage": "RUNNING", "hardware": {"requested": hub.hardware}})
    if rest == ["runtime"]:
        return ok(hub.runtime(space))
    if rest and rest[0] == "preupload":
        asked = json.loads(body)["files"]
        return ok({"files": [{"path": f["path"], "uploadMode": "regular", "shouldIgnore": False} for f in asked]})
    if rest and rest[0] == "commit":
        if hub.refuses_commits:
            return 403, b'{"error": "not today"}', {}
        files = dict(commits[-1][1])
        for line in body.splitlines():
            one = json.loads(line)
            if one["key"] == "header":
                hub.messages.append(one["value"]["summary"])
            elif one["key"] == "file":
                files[one["value"]["path"]] = base64.b64decode(one["value"]["content"])
            elif one["key"] == "deletedFile":
                del files[one["value"]["path"]]
        sha = hub.commit(space, files)
        return ok({"success": True, "commitOid": sha, "commitUrl": f"{hub.address}/spaces/{space}/commit/{sha}"})
    if rest and rest[0] == "tree":
        files = dict(commits).get(rest[1], commits[-1][1])
        return ok([{"type": "file", "path": p, "size": len(c), "oid": "0" * 40} for p, c in files.items()])
    siblings = [{"rfilename": name} for name in (dict(commits).get(rest[-1]) if rest else None) or commits[-1][1]]
    sha = rest[-1] if rest and rest[-1] in dict(commits) else commits[-1][0]
    return ok({"id": space, "sha": sha, "private": False, "host": hub.host, "siblings": siblings, "tags": []})
