"""Whether the Hugging Face Hub answers, and where it is."""

from __future__ import annotations

import os
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable

from analyzers.common.threads import start

STALE_SECONDS = 30


def endpoint() -> str:
    """The Hub's address, without a slash at its end: `HF_ENDPOINT`, else the public one."""
    return os.environ.get("HF_ENDPOINT", "https://huggingface.co").rstrip("/")


class HubProbe:
    """One quick question to the Hub: does it answer? Never longer than `seconds`; an answer counts for half a minute."""

    def __init__(self, seconds: float = 3.0, ask: Callable[[float], bool] | None = None) -> None:
        self._seconds = seconds
        self._ask = ask or _ask_hub
        self._lock = threading.Lock()
        self._answer: bool | None = None
        self._asked_at = 0.0

    def answers(self) -> bool:
        with self._lock:
            if self._answer is None or time.monotonic() - self._asked_at > STALE_SECONDS:
                self._asked_at = time.monotonic()
                self._answer = self._ask(self._seconds)
            return self._answer


def _ask_hub(seconds: float) -> bool:
    if os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "TRUE", "YES", "ON"):
        return False
    if not endpoint().startswith(("http://", "https://")):
        return False

    def ask() -> bool:
        request = urllib.request.Request(f"{endpoint()}/api/models/openai-community/gpt2", method="HEAD")
        try:
            with urllib.request.urlopen(request, timeout=seconds) as reply:
                return bool(reply.status < 500)
        except urllib.error.HTTPError as error:
            return error.code < 500

    try:
        return start(ask, "hub-probe").result(seconds)  # a name look-up has no time-out of its own
    except (OSError, ValueError):
        return False


HUB = HubProbe()
