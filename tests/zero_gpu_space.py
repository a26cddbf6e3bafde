"""A ZeroGPU Space on this machine, in a process of its own: the real `spaces`, which forks its worker and pickles all
that goes to and fro, with a stub of the service that lends the GPU, and no GPU.

    python tests/zero_gpu_space.py scenes MODELS_DIR     plays scenes, prints what happened as one JSON document
    python tests/zero_gpu_space.py pack MODELS_DIR       loads the models where `spaces` imitates a GPU, and has it take them
    python tests/zero_gpu_space.py serve MODELS_DIR PORT  serves the app; the lendings go to standard error, a line each
"""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import parse_qs, urlsplit

sys.path.insert(0, str(Path(__file__).parents[1]))

SECRET = "a visitor's own words"
CHUNK_WORK = 1e6
"""A step that takes no time, so that there are many."""
TEXT = "the café: the keys to the cabinet"


class Lender(BaseHTTPRequestHandler):
    """Lends one GPU to whoever asks, until told to refuse, and writes down what it was asked."""

    asked: ClassVar[list[dict[str, str]]] = []
    refuses = False

    def do_POST(self) -> None:
        url = urlsplit(self.path)
        call = {"call": url.path} | {name: values[0] for name, values in parse_qs(url.query).items()}
        Lender.asked.append(call)
        if url.path in ("/schedule", "/allow", "/startup-report"):
            print("LENDER", json.dumps(call), file=sys.stderr, flush=True)
        status, body = 200, {}
        if url.path == "/schedule":
            body = {"idle": True, "nvidiaIndex": 0, "nvidiaUUID": "GPU-0", "allowToken": "token"}
            if Lender.refuses:
                status, body = 429, {"left": 3, "wait": 60}
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: Any) -> None:
        pass


def become_a_space(*, with_torch: bool) -> None:
    """Import `spaces` as on ZeroGPU. `with_torch`: with its imitation of a GPU, which a torch for CPUs lacks a few names
    for; else its part that moves tensors does nothing, as where torch is missing."""
    lender = ThreadingHTTPServer(("127.0.0.1", 0), Lender)
    threading.Thread(target=lender.serve_forever, daemon=True).start()
    os.environ["SPACES_ZERO_GPU"] = "true"
    os.environ["SPACES_ZERO_DEVICE_API_URL"] = f"http://127.0.0.1:{lender.server_port}"
    if with_torch:
        import torch

        torch._C._cuda_init = print  # called by nothing that is played here
        torch.version.cuda = "12.8"
        torch.cuda._is_in_bad_fork = bool
        import spaces
    else:
        sys.modules["torch"] = None  # type: ignore[assignment]
        import spaces

        del sys.modules["torch"]
    assert spaces.config.Config.zero_gpu
    from analyzers.sources import catalog

    catalog.CATALOG = ()  # the models folder alone: nothing that takes seconds to load


def play(models_folder: Path) -> dict[str, Any]:
    """Every scene, in one process, so that what one leaves behind is seen by the next."""
    from ui.zero_gpu import SharedGPU  # isort: skip  # before torch
    import torch

    from analyzers.common.errors import InputError
    from analyzers.methods import attribution
    from analyzers.models.preloaded import PreloadedStore
    from analyzers.serving import dispatch
    from analyzers.serving.dispatch import Step, answer
    from analyzers.serving.document import document
    from analyzers.serving.request import Request, parse_request
    from analyzers.serving.sharing import SharedRuns
    from analyzers.sources.resolver import Resolver

    torch.set_num_threads(1)
    attribution.CHUNK_WORK["cpu"] = CHUNK_WORK
    made = multiprocessing.get_context("fork").Value("i", 0)  # steps that were made in the worker
    own = dispatch.Dispatcher._run

    def counted(*given: Any) -> Iterator[Step]:
        for step in own(*given):
            made.value += 1
            yield step

    dispatch.Dispatcher._run = counted  # type: ignore[method-assign]
    store = PreloadedStore(Resolver(models_folder=models_folder, default="tiny"))
    store.preload()
    space = SharedGPU(store)

    def asked(analysis: str, **settings: Any) -> Request:
        return parse_request(analysis, {"text": TEXT, "generate": 3} | settings)

    def outcome(run: Callable[[], Any]) -> str:
        try:
            run()
        except InputError as error:
            return f"InputError: {error}"
        except Exception as error:
            return type(error).__name__
        return "answered"

    def workers() -> list[str]:
        return [call["pid"] for call in Lender.asked if call["call"] == "/allow"]

    said: dict[str, Any] = {"models": store.resolver.names(), "documents": {}, "steps": {}}
    for analysis in (
        "saliency",
        "layer-predictions",
        "rankings",
        "neuron-factors",
        "map-comparison",
        "layer-similarity",
    ):
        steps = list(space.run(asked(analysis)))
        assert steps[-1].answer is not None
        said["documents"][analysis] = document(steps[-1].answer, "en")
        said["steps"][analysis] = [step.phase for step in steps]
    said["seconds"] = [int(call["durationSeconds"]) for call in Lender.asked if call["call"] == "/schedule"]

    long_run = asked("saliency", generate=20, method="integrated-gradients", points=200)
    made.value = 0
    steps = space.run(long_run)
    while next(steps).phase != "analyzing":
        pass
    steps.close()  # type: ignore[attr-defined]
    said["made_until_stopped"] = made.value
    answer(space, asked("rankings"))
    said["made_with_one_more_run"] = made.value
    said["refused"] = outcome(lambda: answer(space, asked("saliency", generate=0)))
    answer(space, asked("rankings", watch=["x"]))
    said["workers"] = workers()

    Lender.refuses = True
    said["quota_spent"] = outcome(lambda: answer(space, asked("rankings")))
    Lender.refuses = False
    before = len(Lender.asked)
    said["half_a_character"] = outcome(lambda: answer(space, asked("rankings", text="\ud800")))
    said["asked_for_half_a_character"] = len(Lender.asked) - before

    shared = SharedRuns(space)  # as the app serves it
    before = len(Lender.asked)
    documents = [document(answer(shared, asked("rankings", generate=2)), "en") for _ in range(3)]
    said["asked_for_three_alike"] = sum(call["call"] == "/schedule" for call in Lender.asked[before:])
    said["three_alike"] = [{**one, "seconds": 0} for one in documents]

    kill = multiprocessing.get_context("fork").Value("b", 0)

    def broken(*_: Any) -> Iterator[Step]:
        if kill.value:
            os.kill(os.getpid(), signal.SIGKILL)
        raise ValueError(SECRET)
        yield

    dispatch.Dispatcher._run = broken  # type: ignore[method-assign,assignment]
    broken_space = SharedGPU(store)  # its worker is forked now, so it is the broken one
    said["fault"] = outcome(lambda: answer(broken_space, asked("rankings")))
    kill.value = 1
    said["killed"] = outcome(lambda: answer(broken_space, asked("rankings")))
    said["after_all_that"] = outcome(lambda: answer(space, asked("rankings")))
    return said


def pack(models_folder: Path) -> dict[str, Any]:
    """Where the listed models' tensors are said to be, their bytes, and the bytes that `spaces` took."""
    import spaces

    from analyzers.models.preloaded import PreloadedStore
    from analyzers.sources.resolver import Resolver

    store = PreloadedStore(Resolver(models_folder=models_folder, default="tiny"))
    store.preload()
    models = [store.load(name) for name in store.resolver.names()]
    tensors = [
        tensor for model in models for tensor in (*model.module.parameters(), *model.module.buffers(), model._probe)
    ]
    return {
        "facts": [model.facts.device for model in models],
        "devices": sorted({str(tensor.device) for tensor in tensors}),
        "bytes": sum(model.n_bytes for model in models),
        "taken": spaces.zero.torch.pack(),
    }


if __name__ == "__main__":
    become_a_space(with_torch=sys.argv[1] == "pack")
    if sys.argv[1] == "pack":
        print("PACKED", json.dumps(pack(Path(sys.argv[2]))), flush=True)
    elif sys.argv[1] == "scenes":
        print("SCENES", json.dumps(play(Path(sys.argv[2]))), flush=True)
    else:
        from ui.server import serve

        raise SystemExit(serve(["--models-dir", sys.argv[2], "--model", "tiny", "--port", sys.argv[3]]))
