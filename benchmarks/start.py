"""How long `python app.py` takes to serve its page and to give its first answer, and how much memory it then holds.

    python benchmarks/start.py [--runs 3] [-- OPTIONS OF app.py]

The first start warms the disk and is not counted. Exit status 1 where a median misses its bar.
"""

from __future__ import annotations

import argparse
import os
import socket
import statistics
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

from gradio_client import Client

ROOT = Path(__file__).parent.parent
TEXT = "Heathrow airport is located in the city of"
MODEL = "smollm2-135m-instruct"
PAGE_BAR, ANSWER_BAR = 6.0, 15.0
GIVE_UP = 120.0


def measure(options: list[str]) -> tuple[float, float, float]:
    """Seconds to the page, seconds to the first answer (both since the start), and MB of memory held after it."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    address = f"http://127.0.0.1:{port}/"
    started = time.perf_counter()
    app = subprocess.Popen(
        [sys.executable, "app.py", "--port", str(port), "--no-background", *options],
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        env=os.environ | {"HF_HUB_DISABLE_TELEMETRY": "1"},
    )
    try:
        while not _answers(address):
            if app.poll() is not None:
                raise SystemExit(f"app.py ended with status {app.returncode} before its page was served.")
            if time.perf_counter() - started > GIVE_UP:
                raise SystemExit(f"No page after {GIVE_UP:.0f} s.")
            time.sleep(0.02)
        page = time.perf_counter() - started
        client = Client(address, verbose=False)
        document = _document(client.predict(TEXT, model=MODEL, api_name="/saliency"))
        first_answer = time.perf_counter() - started
        written = document["tokens"][-1]["text"]
        if written != " London":
            raise SystemExit(f"The answer is wrong, so its time means nothing: {written!r} instead of ' London'.")
        return page, first_answer, _resident_megabytes(app.pid)
    finally:
        app.terminate()
        app.wait(30)


def _answers(address: str) -> bool:
    try:
        with urllib.request.urlopen(address, timeout=5) as reply:
            return bool(reply.status == 200)
    except OSError:
        return False


def _document(outputs: Any) -> dict[str, Any]:
    """The JSON document among an endpoint's outputs."""
    several = outputs if isinstance(outputs, (list, tuple)) else [outputs]
    return next(output for output in several if isinstance(output, dict) and "scores" in output)


def _resident_megabytes(pid: int) -> float:
    kilobytes = subprocess.run(["ps", "-o", "rss=", "-p", str(pid)], capture_output=True, text=True, check=True).stdout
    return int(kilobytes) / 1024


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=3, help="starts that are counted (default 3)")
    parser.add_argument("options", nargs="*", metavar="OPTION", help="given to app.py; after --")
    given = parser.parse_args()
    measure(given.options)
    runs = [measure(given.options) for _ in range(given.runs)]
    page, first_answer, memory = (statistics.median(column) for column in zip(*runs, strict=True))
    print(f"page answers        {page:5.1f} s   bar {PAGE_BAR:.0f} s")
    print(f"first answer        {first_answer:5.1f} s   bar {ANSWER_BAR:.0f} s   {MODEL}, occlusion, “{TEXT}”")
    print(f"resident memory     {memory:5.0f} MB")
    print(f"medians of {given.runs} starts, each from a new process, warm disk")
    return 0 if page <= PAGE_BAR and first_answer <= ANSWER_BAR else 1


if __name__ == "__main__":
    raise SystemExit(main())
