"""ZeroGPU, the GPU that Spaces share: each run goes as plain data to one forked worker, which has the GPU while it runs.

Imported on such a Space only, and before torch, which `spaces` changes there. What it does there (0.51.3): it
forks a worker for each decorated function, so there is one; arguments, yielded values and errors are pickled; the
worker is used again while it lives; closing the generator stops it at its next yield. Of an error only the name
arrives, so those with a sentence are sent as values.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace

import gradio as gr
import spaces

from analyzers.common.errors import InputError
from analyzers.common.limits import LIMITS
from analyzers.common.stopping import always
from analyzers.models.preloaded import PreloadedStore
from analyzers.models.room import POLL_SECONDS
from analyzers.serving.cost import expect_seconds
from analyzers.serving.dispatch import AnyAnswer, Dispatcher, Step
from analyzers.serving.request import AnyRequest
from ui.errors import log_fault

START_SECONDS = 10
"""For a fresh worker to get its weights."""
LEAST_SECONDS = 20
"""Of a run: a GPU that has computed nothing yet takes its time over the first of everything."""
MARGIN = 3
"""Times what a run is expected to take. What is left of the asked seconds is given back."""
AT_ONCE = 4
"""Runs at the same time; each has a worker and a GPU of its own."""


class WorkerFault(Exception):
    """Something that is ours went wrong in the worker. It was logged there; this carries no visitor's text."""


class SharedGPU:
    """Runs every request in the worker, and gives the same steps as the `Dispatcher` that it has there."""

    def __init__(self, store: PreloadedStore) -> None:
        self.store = store
        self._slots = threading.Semaphore(AT_ONCE)
        dispatcher = Dispatcher(store)

        def in_worker(request: AnyRequest, seconds: int) -> Iterator[Step | InputError]:
            yield from send_steps(dispatcher.run(request, seconds - START_SECONDS))

        self._in_worker = spaces.GPU(duration=lambda request, seconds: seconds)(in_worker)

    def run(
        self, request: AnyRequest, seconds: int | None = None, is_wanted: Callable[[], bool] = always
    ) -> Iterator[Step]:
        """As `Dispatcher.run`."""
        yield Step("waiting")
        while not self._slots.acquire(timeout=POLL_SECONDS):
            yield Step("waiting")
        try:
            yield from self._run(request, seconds)
        finally:
            self._slots.release()

    def _run(self, request: AnyRequest, seconds: int | None) -> Iterator[Step]:
        from analyzers.models.prompt import read_prompt

        model = self.store.load(request.model or self.store.resolver.default_id())
        limit = LIMITS.seconds if seconds is None else seconds
        prompt = read_prompt(model, request.text, request.generation)
        last: AnyAnswer | None = None
        arrived = self._in_worker(request, seconds_to_ask(expect_seconds(model, request, prompt), limit))
        try:
            for step in arrived:
                if isinstance(step, InputError):
                    raise step
                last = step.answer or last
                yield replace(step, answer=last)
        except gr.Error as error:
            raise to_input_error(error) from error
        finally:
            arrived.close()


def seconds_to_ask(expected: float, limit: int) -> int:
    """Seconds of GPU for a run: enough and not many more, since who asks for less waits less and keeps more of their share."""
    return START_SECONDS + min(limit, max(LEAST_SECONDS, math.ceil(MARGIN * expected)))


def send_steps(steps: Iterator[Step]) -> Iterator[Step | InputError]:
    """What leaves the worker: each answer once, and an InputError as the last value. Raises WorkerFault for any other error."""
    last: AnyAnswer | None = None
    try:
        for step in steps:
            yield replace(step, answer=None) if step.answer is last else step
            last = step.answer
    except InputError as error:
        yield error
    except Exception as error:
        log_fault(error)
        raise WorkerFault(type(error).__name__) from None
    finally:
        steps.close()  # type: ignore[attr-defined]


def to_input_error(error: gr.Error) -> Exception:
    """What a visitor reads when the GPU was not given, or taken back; the error itself where it is none of these."""
    title = str(getattr(error, "title", ""))
    if "quota exceeded" in title or "credits exceeded" in title:
        return InputError("gpu_spent")
    if "queue" in title or "client error" in title:
        return InputError("gpu_busy")
    if "aborted" in str(error.message):
        return InputError("gpu_taken_back")
    other: Exception = error
    return other
