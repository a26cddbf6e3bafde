"""Equal questions computed once: from what is known, else from one run that all who ask listen to."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace

from analyzers.common.stopping import always, ask_while
from analyzers.common.threads import start
from analyzers.models.store import Store
from analyzers.serving.answer_cache import AnswerCache
from analyzers.serving.answer_key import AnswerKey, key_of_request
from analyzers.serving.beside import run_both
from analyzers.serving.dispatch import AnyAnswer, Runner, Step
from analyzers.serving.request import AnyRequest

HEARTBEAT_SECONDS = 0.25
"""Between two steps of a listener at the most: there it hears that it is to stop."""


class SharedRuns:
    """A runner before another one. Every run has a thread of its own and goes on while anybody listens."""

    def __init__(self, runner: Runner, cache: AnswerCache | None = None) -> None:
        self.store: Store = runner.store
        self.cache = cache or AnswerCache()
        self.n_computed = 0
        """Runs that were begun: what was known, and whoever joined one, is not counted."""
        self._runner = runner
        self._lock = threading.Lock()
        self._jobs: dict[tuple[AnswerKey, int | None], _Job] = {}
        self._asked_at = 0.0

    def run(
        self, request: AnyRequest, seconds: int | None = None, is_wanted: Callable[[], bool] = always
    ) -> Iterator[Step]:
        """As `Dispatcher.run`. Closing the iterator ends the run if nobody else listens to it; somebody for whom it is not
        wanted counts for as long as he is the only one."""
        if request.has_two_answers:
            yield from run_both(self, request, seconds, is_wanted)  # each part is known or shared by itself
            return
        key = key_of_request(self.store, request)
        self._asked_at = time.monotonic() if is_wanted() else self._asked_at
        began = time.perf_counter()
        known = self.cache.get(key)
        if known is not None:
            seconds_used = {**known.seconds, "cache": time.perf_counter() - began}
            yield Step("done", 1.0, replace(known, request=request, seconds=seconds_used), is_known=True)
            return
        yield from self._listen((key, seconds), request, is_wanted)

    def known(self, request: AnyRequest) -> AnyAnswer | None:
        """The answer, if nothing has to be computed for it. Raises InputError where there is no such model."""
        if request.has_two_answers:  # where the second is asked is known when it has read the text
            return None
        answer = self.cache.get(key_of_request(self.store, request))
        return None if answer is None else replace(answer, request=request)

    def quiet_seconds(self) -> float:
        """How long nobody has asked for anything; 0 while somebody listens."""
        with self._lock:
            is_busy = any(job.is_wanted() for job in self._jobs.values())
        return 0.0 if is_busy else time.monotonic() - self._asked_at

    def _listen(
        self, key: tuple[AnswerKey, int | None], request: AnyRequest, is_wanted: Callable[[], bool]
    ) -> Iterator[Step]:
        with self._lock:
            job = self._jobs.get(key)
            is_first = job is None
            if job is None:
                job = self._jobs[key] = _Job()
                self.n_computed += 1
            job.listeners.append(is_wanted)
        if is_first:
            start(lambda: self._compute(key, request, job), "run")
        try:
            for step in job.steps():
                yield step if step.answer is None else replace(step, answer=replace(step.answer, request=request))
        finally:
            with self._lock:
                job.listeners.remove(is_wanted)
                if not job.listeners and self._jobs.get(key) is job:
                    del self._jobs[key]  # whoever asks from now on begins anew

    def _compute(self, key: tuple[AnswerKey, int | None], request: AnyRequest, job: _Job) -> None:
        steps = ask_while(self._runner.run(request, key[1], job.is_wanted), job.is_heard)
        error: Exception | None = None
        try:
            for step in steps:
                if step.phase == "done" and step.answer is not None and step.answer.is_whole:
                    self.cache.put(key_of_request(self.store, request), step.answer)
                job.publish(step)
                if not job.listeners:
                    break
        except BaseException as raised:  # told to all who listen, whatever it is
            error = raised if isinstance(raised, Exception) else RuntimeError(type(raised).__name__)
        finally:
            steps.close()  # type: ignore[attr-defined]
            with self._lock:
                if self._jobs.get(key) is job:
                    del self._jobs[key]
            job.finish(error)


class _Job:
    """One run, and who listens to it."""

    def __init__(self) -> None:
        self.listeners: list[Callable[[], bool]] = []
        self._changed = threading.Condition()
        self._last: Step | None = None
        self._answer: AnyAnswer | None = None
        self._n = 0
        self._is_over = False
        self._error: Exception | None = None

    def is_heard(self) -> bool:
        """Whether anybody is there, be it one who makes way for all others."""
        return bool(self.listeners)

    def is_wanted(self) -> bool:
        return any(is_wanted() for is_wanted in tuple(self.listeners))

    def publish(self, step: Step) -> None:
        with self._changed:
            self._answer = step.answer or self._answer
            self._last = replace(step, answer=self._answer)
            self._n += 1
            self._changed.notify_all()

    def finish(self, error: Exception | None) -> None:
        with self._changed:
            self._is_over, self._error = True, error
            self._changed.notify_all()

    def steps(self) -> Iterator[Step]:
        """How far it is, again and again; the last one is the run's last. Raises what the run raised."""
        seen = 0
        while True:
            with self._changed:
                if self._n == seen and not self._is_over:
                    self._changed.wait(HEARTBEAT_SECONDS)
                last, is_news, is_over, error = self._last, self._n > seen, self._is_over, self._error
                seen = self._n
            if last is not None and (is_news or not is_over):
                yield last
            if is_over:
                if error is not None:
                    raise error
                return
