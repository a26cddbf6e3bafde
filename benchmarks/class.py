"""What a class of 30 sees: everybody presses the same example, or each asks for a text of their own, at the same moment.

    python benchmarks/class.py                    everything but the soak
    python benchmarks/class.py --part same        one question asked 30 times at once: one computation
    python benchmarks/class.py --part different   30 texts at once, beside one after another
    python benchmarks/class.py --part fair        a short run beside a long one
    python benchmarks/class.py --part soak        memory over 1,000 different requests, some minutes

The real app on SmolLM2, served and asked over HTTP in this process. Exit status 1 where a bar is missed.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")

from analyzers.common.waiting import choose_waiting_policy

choose_waiting_policy()  # before torch is imported

from resident import count_resident_bytes

from analyzers.models.store import ModelStore
from analyzers.serving.dispatch import Dispatcher
from analyzers.serving.request import AnyRequest, parameters_of, parse_request
from analyzers.serving.sharing import SharedRuns
from analyzers.sources import catalog
from analyzers.sources.resolver import Resolver
from ui.examples import EXAMPLES
from ui.gate import Names
from ui.layout import build_app, launch_options

CLIENTS = 30
LAST_BAR, THROUGHPUT_BAR, AGAIN_BAR, SOAK_BAR = 1.5, 0.85, 0.3, 64
WORDS = [
    "river",
    "summer",
    "science",
    "garden",
    "music",
    "history",
    "island",
    "winter",
    "market",
    "language",
    "mountain",
    "kitchen",
]


@dataclass(frozen=True)
class Server:
    """The app, served in this process."""

    address: str
    runner: SharedRuns

    def ask(self, analysis: str, **values: object) -> tuple[float, str]:
        """Seconds to the answer, and the answer's document without its seconds. Raises RuntimeError for a refusal."""
        began = time.perf_counter()
        given = {"text": None} | {setting.name: setting.default for setting in parameters_of(analysis)} | values
        name = analysis.replace("-", "_")
        body = json.dumps({"data": list(given.values())}).encode()
        call = f"{self.address}gradio_api/call/{name}"
        post = urllib.request.Request(call, body, {"Content-Type": "application/json"})
        with urllib.request.urlopen(post, timeout=300) as reply:
            event = json.load(reply)["event_id"]
        with urllib.request.urlopen(f"{call}/{event}", timeout=600) as reply:
            said = reply.read().decode()
        if "event: complete" not in said:
            raise RuntimeError(said[-500:])
        (document,) = json.loads(said.rpartition("data: ")[2])
        document["seconds"] = document["seed"] = 0
        return time.perf_counter() - began, json.dumps(document, sort_keys=True)


@contextmanager
def serve() -> Iterator[Server]:
    store = ModelStore(Resolver(default=catalog.OFFLINE_MODEL))
    runner = SharedRuns(Dispatcher(store))
    app = build_app(runner)
    _, address, _ = app.launch(
        server_name="127.0.0.1", prevent_thread_lock=True, quiet=True, **launch_options(Names.of("127.0.0.1"))
    )
    store.load(store.resolver.find(catalog.OFFLINE_MODEL))
    server = Server(address, runner)
    server.ask("saliency", text="The city of", generate=1)  # whatever is done once
    try:
        yield server
    finally:
        app.close()


def example(number: int) -> dict[str, object]:
    """The values of an example, as its endpoint takes them."""
    values = next(one for one in EXAMPLES if one.number == number).values
    own = {"text"} | {setting.name for setting in parameters_of("saliency")}
    return {name: value for name, value in values.items() if name in own}


def at_once(server: Server, questions: list[dict[str, object]]) -> tuple[list[float], list[str]]:
    with ThreadPoolExecutor(len(questions)) as clients:
        found = list(clients.map(lambda values: server.ask("saliency", **values), questions))
    return sorted(seconds for seconds, _ in found), [document for _, document in found]


def say_times(title: str, seconds: list[float]) -> None:
    middle = statistics.median(seconds)
    print(f"  {title}: first {seconds[0]:.2f} s, median {middle:.2f} s, last {seconds[-1]:.2f} s", flush=True)


def check(is_met: bool, line: str) -> bool:
    print(f"  {line}{'' if is_met else '   MISSED'}", flush=True)
    return is_met


def ask_the_same(server: Server) -> bool:
    """Example 1, each time with another seed: it is not sampled, so the work is the same and nothing is known of it."""
    print(f"the first example, {CLIENTS} at once:")
    asked = example(1)
    alone = [server.ask("saliency", **asked, seed=100 + n)[0] for n in range(5)]
    before, memory = server.runner.n_computed, count_resident_bytes()
    seconds, documents = at_once(server, [{**asked, "seed": 1}] * CLIENTS)
    n_computed = server.runner.n_computed - before
    again = [server.ask("saliency", **asked, seed=1) for _ in range(5)]
    one = statistics.median(alone)
    say_times("seconds", seconds)
    met = [
        check(n_computed == 1, f"computed {n_computed} times   bar once"),
        check(len(set(documents) | {document for _, document in again}) == 1, "all answers equal"),
        check(
            seconds[-1] <= LAST_BAR * one,
            f"last one / one alone ({one:.2f} s): {seconds[-1] / one:.2f}×   bar {LAST_BAR}×",
        ),
    ]
    slowest = max(took for took, _ in again)
    met.append(check(slowest <= AGAIN_BAR, f"asked again: {slowest:.2f} s at the most   bar {AGAIN_BAR} s"))
    print(f"  memory {memory / 1e6:.0f} MB before, {count_resident_bytes() / 1e6:.0f} MB after", flush=True)
    return all(met)


def ask_differently(server: Server) -> bool:
    """One text each, of about the same length, by the page's own settings."""
    print(f"{CLIENTS} texts:")
    texts = [f"The {word} of the {other} is in the" for word in WORDS for other in WORDS if word != other]
    rounds = []
    for n in range(2):  # one after another, at once; then the other way round, since a machine warms up
        questions: list[dict[str, object]] = [
            {"text": text, "generate": 1} for text in texts[2 * n * CLIENTS : 2 * (n + 1) * CLIENTS]
        ]
        one_by_one, together = questions[:CLIENTS], questions[CLIENTS:]
        if n:
            last = ask_together(server, together)
        began = time.perf_counter()
        for values in one_by_one:
            server.ask("saliency", **values)
        in_turn = time.perf_counter() - began
        if not n:
            last = ask_together(server, together)
        print(f"  one after another {in_turn:.1f} s, at once {last:.1f} s", flush=True)
        rounds.append(in_turn / last)
    ratio = statistics.mean(rounds)
    return check(
        ratio >= THROUGHPUT_BAR,
        f"throughput {ratio:.0%} of one after another, no error   bar {THROUGHPUT_BAR:.0%}",
    )


def ask_together(server: Server, questions: list[dict[str, object]]) -> float:
    before = count_resident_bytes()
    seconds, _ = at_once(server, questions)
    say_times("seconds", seconds)
    print(f"  memory {before / 1e6:.0f} MB before, {count_resident_bytes() / 1e6:.0f} MB after", flush=True)
    return seconds[-1]


def ask_beside_a_long_run(server: Server) -> bool:
    """How long a short run waits for its turn, and how long the steps of the long one are."""
    print("a short run beside a long one:")
    runner = server.runner
    long_text = "The airport lies west of the river and serves the city and its many visitors every day. " * 3
    long_run = parse_request(
        "saliency", {"text": long_text, "generate": 10, "method": "integrated-gradients", "points": 50}
    )
    steps: list[float] = []
    is_over = threading.Event()

    def compute() -> None:
        last = time.perf_counter()
        for step in runner._runner.run(long_run):
            if step.phase == "analyzing":
                steps.append(time.perf_counter() - last)
            last = time.perf_counter()
            if is_over.is_set():
                break

    thread = threading.Thread(target=compute)
    thread.start()
    while len(steps) < 5:
        time.sleep(0.05)
    waits = [wait_of(runner, n) for n in range(5)]
    is_over.set()
    thread.join()
    longest, step = max(waits), max(0.5, *steps)
    return check(
        longest <= step + 0.1,
        f"waited {longest:.2f} s at the most; a step of the long one: {step:.2f} s   bar one step",
    )


def wait_of(runner: SharedRuns, n: int) -> float:
    request: AnyRequest = parse_request("saliency", {"text": f"The {WORDS[n]} is in the", "generate": 1})
    began = time.perf_counter()
    waited = 0.0
    for step in runner._runner.run(request):
        if step.phase == "waiting":
            waited = time.perf_counter() - began
        elif step.phase == "generating":
            waited = time.perf_counter() - began
            break
    return waited


def soak(server: Server) -> bool:
    """Memory after 200 requests, and after 1,000."""
    print("1,000 different requests:")
    after: list[int] = []
    for n in range(1_000):
        words = f"{WORDS[n % 12]} {WORDS[n // 12 % 12]} {WORDS[n // 144]}"
        server.ask("saliency", text=f"The {words} is", generate=1, method="gradient", seed=n)
        if n % 200 == 199:
            after.append(count_resident_bytes())
            held = server.runner.cache.n_bytes / 1e6
            print(f"  after {n + 1:,}: {after[-1] / 1e6:.0f} MB, {held:.0f} MB of answers among them", flush=True)
    grown = (after[-1] - after[0]) / 1e6
    return check(grown <= SOAK_BAR, f"grew by {grown:.0f} MB from 200 to 1,000   bar {SOAK_BAR} MB")


PARTS = {"same": ask_the_same, "different": ask_differently, "fair": ask_beside_a_long_run, "soak": soak}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", choices=PARTS, help="one of them alone")
    part = parser.parse_args().part
    with serve() as server:
        chosen = [part] if part else [name for name in PARTS if name != "soak"]
        met = [PARTS[name](server) for name in chosen]
    return 0 if all(met) else 1


if __name__ == "__main__":
    raise SystemExit(main())
