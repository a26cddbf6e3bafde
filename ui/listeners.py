"""Who listens to what is computed: a job of an endpoint ends when nobody does any more, or nobody came."""

from __future__ import annotations

import threading
import time
from collections import Counter, OrderedDict
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs

FIRST_SECONDS = 1.0
"""How long a job that runs waits for its first listener: who asks in two steps takes a moment for the second."""
AGAIN_SECONDS = 0.25
"""How long for one who was there before."""


class Listeners:
    """The streams of answers that are open, by what Gradio calls them. Safe for several threads."""

    def __init__(self) -> None:
        self._open: Counter[str] = Counter()
        self._lock = threading.Lock()
        self.is_told = False
        """Whether anybody tells it of streams; else every job is taken to be listened to."""

    def open(self, name: str) -> None:
        with self._lock:
            self._open[name] += 1

    def close(self, name: str) -> None:
        with self._lock:
            self._open[name] -= 1
            if self._open[name] <= 0:
                del self._open[name]

    def hears(self, name: str) -> bool:
        """Whether this stream is open."""
        return name in self._open

    def watch(self, names: frozenset[str]) -> Callable[[], bool]:
        """Whether one of these streams is open, was a moment ago or still may be; asked again and again while a job runs."""
        until = time.monotonic() + FIRST_SECONDS

        def is_heard() -> bool:
            nonlocal until
            if not self.is_told or any(name in self._open for name in names):
                until = max(until, time.monotonic() + AGAIN_SECONDS)
            return time.monotonic() < until

        return is_heard


class Mailboxes(OrderedDict[str, Any]):
    """What was said to each session and not fetched by then. Where there are too many, those go that nobody listens to, the
    oldest first: Gradio's own let the oldest go, so that a crowd who never came for its answers took away the answer of
    who waited. Used from the event loop alone."""

    def __init__(self, events: dict[str, set[str]], listeners: Listeners, most: int = 2_000) -> None:
        """`events` are the sessions' that were not fetched; those of a session go with its box."""
        super().__init__()
        self._events, self._listeners, self._most = events, listeners, most

    def __setitem__(self, session: str, box: Any) -> None:
        super().__setitem__(session, box)
        while len(self) > self._most:
            gone = next((one for one in self if not self._is_heard(one)), next(iter(self)))
            del self[gone]
            self._events.pop(gone, None)

    def _is_heard(self, session: str) -> bool:
        return any(self._listeners.hears(name) for name in (session, *self._events.get(session, ())))


LISTENERS = Listeners()
"""Of this process."""


def stream_of(path: str, query: str) -> str | None:
    """What Gradio calls the stream that this address opens: a session (`queue/data`) or one event (`call/NAME/EVENT`)."""
    if path == "queue/data":
        return parse_qs(query).get("session_hash", [""])[0] or None
    parts = path.split("/")
    return parts[-1] or None if parts[0] == "call" and len(parts) > 2 else None
