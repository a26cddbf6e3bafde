"""Many visitors for minutes, some of whom hang up: no error, equal answers, and nothing that grows.

    python benchmarks/soak.py --minutes 5
    python benchmarks/soak.py --minutes 1 --clients 8

The real app in a process of its own, with memory for one of the two bundled models: now and then one asks for the other,
and the first must be loaded anew for whoever comes next. Each request is a session of its own; three of ten are dropped:
cancelled, or the listener hangs up, or never comes. Exit status 1 where an answer is an error, or differs from the one that was given
before the crowd came, or where memory, threads or descriptors of the second half lie above those of the first by more than
their bars (what nine of ten readings stay below: memory goes up and down with the models).
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import random
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections import Counter
from pathlib import Path
from statistics import quantiles
from urllib.parse import urlsplit

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from analyzers.common.limits import LIMITS
from analyzers.serving.request import parameters_of

MEMORY_BAR, THREADS_BAR, DESCRIPTORS_BAR = 100, 30, 40
"""Megabytes, and numbers, that the second half may lie above the first."""
WARM_MINUTES = 4
"""A shorter run may fill the answers' budget besides."""
FIGURES = ("memory (MB)", "threads", "descriptors")
DROPPED = 0.3
QUESTIONS = [
    ("saliency", {"text": "The keys to the cabinet", "model": "smollm2-135m-instruct", "generate": 1}),
    ("saliency", {"text": "東京は", "model": "smollm2-135m-instruct", "generate": 2, "method": "gradient"}),
    ("layer-predictions", {"text": "Heathrow airport is located in", "model": "smollm2-135m-instruct", "generate": 1}),
    ("rankings", {"text": "1, 1, 2, 3, 5,", "model": "smollm2-135m-instruct", "generate": 3}),
    ("neuron-factors", {"text": "a b c d a b c d a b", "model": "smollm2-135m-instruct", "factors": 2}),
]
OTHER = ("neuron-factors", {"text": "a cat and a dog and a bird", "model": "minilm-l6", "factors": 2})
CHANGED = 0.01
"""Share of the questions that are asked of the other model."""
ROOM = "600"
"""Megabytes of weights: one of the two models."""


def call(address: str, analysis: str, values: dict[str, object]) -> tuple[str, str]:
    """Where the answer will be said, and its event."""
    data = [values["text"], *(values.get(s.name, s.default) for s in parameters_of(analysis))]
    url = f"{address}/gradio_api/call/{analysis.replace('-', '_')}"
    posted = urllib.request.Request(url, json.dumps({"data": data}).encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(posted, timeout=60) as reply:
        return url, json.load(reply)["event_id"]


def ask(address: str, analysis: str, values: dict[str, object]) -> str:
    """The answer's document without its times. Raises RuntimeError for an error."""
    url, event = call(address, analysis, values)
    with urllib.request.urlopen(f"{url}/{event}", timeout=300) as reply:
        said = reply.read().decode()
    if "event: complete" not in said:
        raise RuntimeError(said[-300:])
    (document,) = json.loads(said.rpartition("data: ")[2])
    document.pop("seconds")
    return json.dumps(document, sort_keys=True)


def drop(address: str, analysis: str, values: dict[str, object], chance: random.Random) -> None:
    """Ask what nobody asked before, and cancel it, or hang up, or never come for the answer."""
    text = f"{values['text']} {chance.random()}"
    url, event = call(address, analysis, {**values, "text": text})
    way = chance.randrange(3)
    if way == 0:
        return
    if way == 1:
        time.sleep(chance.random() / 2)
        body = {"session_hash": event, "event_id": event, "fn_index": function_of(address, analysis)}
        cancelled = urllib.request.Request(
            f"{address}/gradio_api/cancel", json.dumps(body).encode(), {"Content-Type": "application/json"}
        )
        urllib.request.urlopen(cancelled, timeout=60).close()
        return
    place = urlsplit(address)
    with socket.create_connection((place.hostname, place.port), 10) as line:
        path = urlsplit(url).path
        line.sendall(f"GET {path}/{event} HTTP/1.1\r\nHost: {place.netloc}\r\n\r\n".encode())
        time.sleep(chance.random())


@functools.cache
def function_of(address: str, analysis: str) -> int:
    """What Gradio calls the endpoint of an analysis by."""
    with urllib.request.urlopen(f"{address}/config", timeout=60) as reply:
        dependencies = json.load(reply)["dependencies"]
    return next(int(one["id"]) for one in dependencies if one["api_name"] == analysis.replace("-", "_"))


def figures(pid: int) -> tuple[float, int, int]:
    """Resident megabytes, threads and open descriptors of the server."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    told = dict(line.split(":", 1) for line in lines if ":" in line)
    n_open = len(list(Path(f"/proc/{pid}/fd").iterdir()))
    return int(told["VmRSS"].split()[0]) / 1024, int(told["Threads"]), n_open


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--minutes", type=float, default=5)
    parser.add_argument("--clients", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    address = f"http://127.0.0.1:{port}"
    server = subprocess.Popen(
        [sys.executable, "app.py", "--port", str(port), "--no-background"],
        cwd=ROOT,
        env={**os.environ, "HF_HUB_OFFLINE": "1", "ECCOLENS_MODEL_MEGABYTES": ROOM},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    try:
        return soak(address, server.pid, given)
    finally:
        server.terminate()
        server.wait(30)


def soak(address: str, pid: int, given: argparse.Namespace) -> int:
    for _ in range(300):
        try:
            urllib.request.urlopen(address, timeout=5).close()
            break
        except OSError:
            time.sleep(0.2)
    expected = [ask(address, *question) for question in QUESTIONS]
    expected_of_other = ask(address, *OTHER)
    counted: Counter[str] = Counter()
    wrong: list[str] = []
    until = time.monotonic() + 60 * given.minutes

    def visit(number: int) -> None:
        chance = random.Random(given.seed * 1000 + number)
        while time.monotonic() < until:
            which = chance.randrange(len(QUESTIONS))
            try:
                if chance.random() < CHANGED:
                    # What was asked before is known, and would load nothing.
                    ask(address, OTHER[0], {**OTHER[1], "text": f"{OTHER[1]['text']} {chance.random()}"})
                    counted["equal" if ask(address, *OTHER) == expected_of_other else "unequal"] += 1
                    counted["changes of model"] += 1
                elif chance.random() < DROPPED:
                    drop(address, *QUESTIONS[which], chance)
                    counted["dropped"] += 1
                else:
                    same = ask(address, *QUESTIONS[which]) == expected[which]
                    counted["equal" if same else "unequal"] += 1
            except (OSError, RuntimeError, ValueError) as error:
                counted["errors"] += 1
                wrong.append(repr(error)[:200])

    visitors = [threading.Thread(target=visit, args=(n,)) for n in range(given.clients)]
    for one in visitors:
        one.start()
    seen = []
    while time.monotonic() < until:
        time.sleep(min(1, max(0.1, until - time.monotonic())))
        seen.append(figures(pid))
    for one in visitors:
        one.join()
    print(", ".join(f"{n} {name}" for name, n in sorted(counted.items())))
    for line in sorted(set(wrong))[:5]:
        print("  ", line)
    half = len(seen) // 2
    early, late = seen[:half], seen[half:]
    grown = []
    for name, first, last in zip(FIGURES, zip(*early, strict=True), zip(*late, strict=True), strict=True):
        before, after = (quantiles(half, n=10)[-1] for half in (first, last))
        grown.append(after - before)
        print(f"{name}: {before:.0f} in the first half, {after:.0f} in the second (nine of ten are below)")
    print("memory (MB), every 20 s:", *(f"{megabytes:.0f}" for megabytes, _, _ in seen[::20]))
    time.sleep(5)
    print("afterwards:", ", ".join(f"{n:.0f} {name}" for name, n in zip(FIGURES, figures(pid), strict=True)))
    cached = LIMITS.answer_megabytes if given.minutes < WARM_MINUTES else 0
    bars = (MEMORY_BAR + cached, THREADS_BAR, DESCRIPTORS_BAR)
    is_flat = all(growth <= bar for growth, bar in zip(grown, bars, strict=True))
    return 0 if is_flat and not counted["errors"] and not counted["unequal"] else 1


if __name__ == "__main__":
    raise SystemExit(main())
