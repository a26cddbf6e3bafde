"""Before anything of a request is read: who asks, by which name, for what, and how much they send."""

from __future__ import annotations

import asyncio
import ipaddress
import json
import os
import socket
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from gradio.route_utils import FnIndexInferError
from starlette.exceptions import HTTPException

from ui.errors import LANGUAGE_HEADER, language_among
from ui.listeners import LISTENERS, Listeners, stream_of
from ui.texts import say

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[Scope]]
Send = Callable[[Scope], Awaitable[None]]

MOST_BYTES = 1_000_000
"""Of a request's body. A text has at most 20,000 characters, a page's state is held by the server."""
API = "/gradio_api"
POSTED = ("queue/join", "run/predict", "cancel", "reset")
"""What the page posts to; `call/…` is for scripts. Nothing else takes a body: no upload, no stream, no recording."""
REFUSED = (
    "proxy=",
    "stream/",
    "upload",
    "deep_link",
    "component_server",
    "vibe-",
    "custom_component",
    "dev/",
    "run-history",
)
"""Parts of Gradio that the app has no use for."""
HUGGING_FACE = "https://huggingface.co https://*.huggingface.co https://*.hf.space"


@dataclass(frozen=True)
class Names:
    """The names that the app answers under. An address in numbers is always one: no other page can take it."""

    own: frozenset[str]
    public: frozenset[str] = frozenset()
    """Of what stands before it; a page under one of them is the app's own."""
    endings: tuple[str, ...] = ()
    """Likewise, of names that are given anew at each start."""

    @classmethod
    def of(cls, host: str, public_names: tuple[str, ...] = (), *, is_shared: bool = False) -> Names:
        """`host` is what it listens on, `public_names` what a proxy before it is called. A share link and a Space have names
        of their own."""
        machine = socket.gethostname().lower()
        own = frozenset(("localhost", host.lower(), machine, f"{machine}.local"))
        public = {name.lower() for name in public_names}
        endings: tuple[str, ...] = (".gradio.live",) if is_shared else ()
        if "SPACE_ID" in os.environ:
            endings += (".hf.space",)
            public |= {name for name in (os.environ.get("SPACE_HOST", "").lower(),) if name}
        return cls(own, frozenset(public), endings)

    def know(self, host: str) -> bool:
        """Whether a request may name this host."""
        try:
            ipaddress.ip_address(host.strip("[]"))
        except ValueError:
            return host in self.own | self.public or host.endswith(self.endings)
        return True

    def allow(self, origin: str, host: str) -> bool:
        """Whether a page of this origin may ask: the app's own page, be it behind a proxy."""
        asked = urlsplit(origin)
        if asked.netloc.lower() == host:
            return True
        name = asked.hostname or ""
        return name in self.public or name.endswith(self.endings)


class Gate:
    """ASGI middleware: refuses with a sentence, before any work, what the page and its endpoints never ask for; says with
    every answer what a browser must not do with it."""

    def __init__(self, app: Callable[..., Awaitable[None]], names: Names, listeners: Listeners = LISTENERS) -> None:
        self.app = app
        self.names = names
        self.listeners = listeners
        listeners.is_told = True

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        refused = self._refuse(scope, headers)
        body = b""
        if refused is None and scope["method"] not in ("GET", "HEAD"):
            read = await _read_body(receive)
            refused = (413, "gate_size") if read is None else (400, "gate_file") if _has_file(read) else None
            body = read or b""
        if refused is not None:
            await _answer(send, *refused, headers)
            return
        is_given = scope["method"] in ("GET", "HEAD")

        async def replay() -> Scope:
            nonlocal is_given
            if is_given:
                return await receive()
            is_given = True
            return {"type": "http.request", "body": body, "more_body": False}

        is_full = False

        async def send_guarded(message: Scope) -> None:
            nonlocal is_full
            if is_full:
                return
            if message["type"] == "http.response.start" and message["status"] == 503 and scope["method"] == "POST":
                is_full = True  # the line is: said in the visitor's language instead of Gradio's
                await _answer(send, 503, "gate_full", headers)
                return
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*message["headers"], *_guards(message)]}
            await send(message)

        stream = stream_of(_inner_path(scope), scope.get("query_string", b"").decode("latin-1"))
        if stream is None or scope["method"] != "GET":
            await self._pass_on(scope, replay, send_guarded, headers)
            return
        self.listeners.open(stream)
        hanging_up = asyncio.Event()
        heard = asyncio.create_task(self._hear(receive, stream, hanging_up))
        is_told = False

        async def tell() -> Scope:
            nonlocal is_told
            if not is_told:
                is_told = True
                return {"type": "http.request", "body": b"", "more_body": False}
            await hanging_up.wait()
            return {"type": "http.disconnect"}

        try:
            await self._pass_on(scope, tell, send_guarded, headers)
        finally:
            heard.cancel()
            if not hanging_up.is_set():
                self.listeners.close(stream)

    async def _pass_on(self, scope: Scope, receive: Receive, send: Send, headers: dict[str, str]) -> None:
        """To Gradio, which ends in two hundred lines of the log where it cannot read a body, and where it refuses a stream that
        it knows nothing of once its answer has begun."""
        try:
            await self.app(scope, receive, send)
        except (LookupError, ValueError, TypeError, ArithmeticError, FnIndexInferError):
            if scope["method"] in ("GET", "HEAD"):
                raise
            await _answer(send, 400, "gate_unread", headers)
        except RuntimeError as error:
            if not isinstance(error.__cause__, HTTPException):
                raise
            await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _hear(self, receive: Receive, stream: str, hanging_up: asyncio.Event) -> None:
        """Until whoever listens to a stream hangs up, which is known at once though nothing is said meanwhile."""
        while (await receive())["type"] != "http.disconnect":
            pass
        hanging_up.set()
        self.listeners.close(stream)

    def _refuse(self, scope: Scope, headers: dict[str, str]) -> tuple[int, str] | None:
        """Status and sentence of what is refused before its body is read."""
        host = headers.get("host", "").lower()
        if not self.names.know(urlsplit(f"//{host}").hostname or ""):
            return 403, "gate_host"
        if "origin" in headers and not self.names.allow(headers["origin"], host):
            return 403, "gate_origin"
        inner = _inner_path(scope)
        if inner.startswith(REFUSED):
            return 403, "gate_route"
        if scope["method"] not in ("GET", "HEAD"):
            if inner not in POSTED and not inner.startswith("call/") and inner != "login":
                return 403, "gate_route"
            length = headers.get("content-length", "0")
            if not length.isdecimal() or int(length) > MOST_BYTES:
                return 413, "gate_size"
        return None


def _inner_path(scope: Scope) -> str:
    """Of Gradio's own part, wherever the app is mounted."""
    path: str = scope["path"].removeprefix(scope.get("root_path", ""))
    return path.removeprefix(API).strip("/")


async def _read_body(receive: Receive) -> bytes | None:
    """The whole body; None where it is too long, of which no more than that is read."""
    parts: list[bytes] = []
    total = 0
    while True:
        message = await receive()
        part = message.get("body", b"")
        total += len(part)
        if total > MOST_BYTES:
            return None
        parts.append(part)
        if message["type"] == "http.disconnect" or not message.get("more_body"):
            return b"".join(parts)


def _has_file(body: bytes) -> bool:
    """Whether a value asks Gradio to fetch or open a file. What is no JSON is refused by Gradio."""
    if b"_type" not in body and b"\\u" not in body:
        return False
    try:
        waiting = [json.loads(body)]
    except RecursionError:
        return True
    except ValueError:
        return False
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            meta = value.get("meta")
            if "path" in value and isinstance(meta, dict) and "_type" in meta:
                return True
            waiting += value.values()
        elif isinstance(value, list):
            waiting += value
    return False


def _guards(start: Scope) -> list[tuple[bytes, bytes]]:
    guards = [(b"x-content-type-options", b"nosniff"), (b"referrer-policy", b"same-origin")]
    if any(name.lower() == b"content-type" and value.startswith(b"text/html") for name, value in start["headers"]):
        guards.append((b"content-security-policy", _policy().encode()))
    return guards


def _policy() -> str:
    """As strict as Gradio bears: its page has scripts and styles of its own inside, and Vega makes functions of texts."""
    on_space = "SPACE_ID" in os.environ
    scripts = "'self' 'unsafe-inline' 'unsafe-eval' blob:" + (" https://cdnjs.cloudflare.com" if on_space else "")
    rules = {
        "default-src": "'self'",
        "script-src": scripts,
        "style-src": "'self' 'unsafe-inline'",
        "img-src": "'self' data: blob:",
        "font-src": "'self' data:",
        "connect-src": "'self' data: blob:" + (f" {HUGGING_FACE}" if on_space else ""),
        "worker-src": "'self' blob:",
        "object-src": "'none'",
        "base-uri": "'self'",
        "form-action": "'self'",
        "frame-ancestors": "'self'" + (f" {HUGGING_FACE}" if on_space else ""),
    }
    return "; ".join(f"{name} {rule}" for name, rule in rules.items())


async def _answer(send: Send, status: int, key: str, headers: dict[str, str]) -> None:
    """The refusal. The connection is closed: what of a long body is still on its way is not read."""
    language = language_among(f"{headers.get(LANGUAGE_HEADER, '')},{headers.get('accept-language', '')}")
    body = json.dumps({"detail": say(key, language)}, ensure_ascii=False).encode()
    said = [(b"content-type", b"application/json; charset=utf-8"), (b"content-length", str(len(body)).encode())]
    said += [(b"connection", b"close"), (b"x-content-type-options", b"nosniff")]
    await send({"type": "http.response.start", "status": status, "headers": said})
    await send({"type": "http.response.body", "body": body})
