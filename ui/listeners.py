"""Who listens to what is computed: a job of an endpoint ends when nobody does any more, or nobody came."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable
from urllib.parse import parse_qs

FIRST_SECONDS = 1.5
"""How long a job waits for its first listener: who asks in two steps takes a moment for the second."""
AGAIN_SECONDS = 0.5
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

    def watch(self, names: frozenset[str]) -> Callable[[], bool]:
        """Whether one of these streams is open, was a moment ago or still may be; asked again and again while a job runs."""
        until = time.monotonic() + FIRST_SECONDS

        def is_heard() -> bool:
            nonlocal until
            if not self.is_told or any(name in self._open for name in names):
                until = max(until, time.monotonic() + AGAIN_SECONDS)
            return time.monotonic() < until

        return is_heard


LISTENERS = Listeners()
"""Of this process."""


def stream_of(path: str, query: str) -> str | None:
    """What Gradio calls the stream that this address opens: a session (`queue/data`) or one event (`call/NAME/EVENT`)."""
    if path == "queue/data":
        return parse_qs(query).get("session_hash", [""])[0] or None
    parts = path.split("/")
    return parts[-1] or None if parts[0] == "call" and len(parts) > 2 else None
