"""From a request to what the page says of it: followed through the one runner, in the visitor's language."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from analyzers.common.languages import Language
from analyzers.common.memory import format_bytes
from analyzers.common.sentences import Sentence
from analyzers.common.stopping import always
from analyzers.serving.dispatch import AnyAnswer, Runner, Step
from analyzers.serving.request import AnyRequest
from ui.components.notice import Notice, notice
from ui.errors import sentence_for
from ui.texts import say
from ui.values import Options, Updates, Value

TELL_SECONDS = 0.25
"""Between two words on how far a run is, and before the first. The page takes 70 ms to take in each, longer than a step of
a short run."""
WORTH_SAYING = 5
"""Seconds; a run that is expected to be quicker says only how far it is."""

MOST_ON_ITS_WAY = 2.0
"""Seconds that a new question waits for the last word on the one before: a visitor may be gone, and never take it."""
VISITORS_AT_ONCE = 64
"""Events that Gradio lets begin at a time. Only one computes: the others stand in the runner's own line, which can tell
them where; in Gradio's they would be told nothing before their turn."""

QUIET: Options = {"show_progress": "hidden", "api_visibility": "private"}
"""Options of every event of the page."""


def on_the_model() -> Options:
    """Options of the events that run on the model."""
    return {"concurrency_id": "model", "concurrency_limit": VISITORS_AT_ONCE}


@dataclass(frozen=True)
class Status:
    """How a run stands."""

    notice: Value
    """What to say of it."""
    answer: AnyAnswer | None = None
    """As far as it is known, where there is more than before."""
    is_over: bool = False
    is_error: bool = False
    """Whether it is over because something went wrong, which the notice says."""
    expected: float | None = None
    """Seconds in all, as soon as that can be told."""


class LastQuestion:
    """What a visitor asked last, until they ask anew."""

    def __init__(
        self, is_last: Callable[[LastQuestion], bool] | None = None, before: LastQuestion | None = None
    ) -> None:
        self._is_last, self._before = is_last, before
        self._on_their_way: list[threading.Lock] = []

    def is_wanted(self) -> bool:
        return self._is_last is None or self._is_last(self)

    def in_order(self, updates: Iterator[Updates], nothing: Updates) -> Iterator[Updates]:
        """Updates of the page, none of which arrives after those of the visitor's next question: that one begins when what
        is on its way has arrived. (Gradio asks a generator for more when its last word is in the visitor's queue.) A
        question that is wanted no more ends with `nothing`, since Gradio says the last word again when a generator ends."""
        before, self._before = self._before, None
        for lock in [] if before is None else before._on_their_way:
            if lock.acquire(timeout=MOST_ON_ITS_WAY):
                lock.release()
        on_its_way = threading.Lock()
        self._on_their_way.append(on_its_way)
        for update in updates:
            with on_its_way:
                if not self.is_wanted():
                    break
                yield update
        if not self.is_wanted():
            yield nothing


class Latest:
    """The last question of each visitor: whoever asks anew no longer waits for the one before."""

    def __init__(self, most: int = 10_000) -> None:
        self._most = most
        self._last: OrderedDict[str, LastQuestion] = OrderedDict()
        self._lock = threading.Lock()

    def begin(self, visitor: str | None) -> LastQuestion:
        """A new question, after which the one before is wanted no more; of who has no name each is."""
        if visitor is None:
            return LastQuestion()
        with self._lock:
            asked = LastQuestion(lambda one: self._last.get(visitor) in (one, None), self._last.get(visitor))
            self._last[visitor] = asked
            self._last.move_to_end(visitor)
            while len(self._last) > self._most:
                self._last.popitem(last=False)
        return asked

    def join(self, visitor: str | None) -> LastQuestion:
        """The last question, for what belongs to it; the first, where nothing was asked."""
        last = None if visitor is None else self._last.get(visitor)
        return self.begin(visitor) if last is None else last


LATEST = Latest()
"""Of this process."""


def follow(
    runner: Runner,
    request: AnyRequest,
    language: Language,
    long_seconds: float = WORTH_SAYING,
    is_wanted: Callable[[], bool] = always,
) -> Iterator[Status]:
    """How a run goes, the last status of which is over; of one that is expected to take longer than `long_seconds`, each
    phase as it begins. Never raises: what goes wrong is said. Ends without a word when it `is_wanted` no more."""
    last: AnyAnswer | None = None
    whole: AnyAnswer | None = None
    told, phase = time.monotonic(), ""
    steps = runner.run(request)
    try:
        for step in steps:
            if not is_wanted():
                return
            fresh = step.answer if step.answer is not last else None
            last = step.answer or last
            if fresh is not None and step.phase == "analyzing" and step.fraction >= 1:
                # "Done" follows at once: in one message, which the page draws once.
                whole = fresh
                continue
            is_long = step.expected is not None and step.expected > long_seconds and step.phase != phase
            is_early = time.monotonic() < told + TELL_SECONDS  # a short run says nothing before its picture
            if fresh is None and step.phase != "done" and is_early and not is_long:
                continue
            said = describe_step(step, request, language)
            yield Status(said, fresh or whole, is_over=step.phase == "done", expected=step.expected)
            told, phase = time.monotonic(), step.phase
            whole = None
    except Exception as error:
        # The last line of defence between a visitor and a stack trace; it is logged there without their text.
        yield Status(notice("error", sentence_for(error, language)), is_over=True, is_error=True)
    finally:
        steps.close()  # type: ignore[attr-defined]


def report(
    runner: Runner, request: AnyRequest, language: Language, status: Notice, show: Callable[[AnyAnswer], Updates]
) -> Iterator[Updates]:
    """A run that is asked for from within a tab, told on the page's status line."""
    for said in follow(runner, request, language):
        yield {status: said.notice} | ({} if said.answer is None else show(said.answer))


def describe_step(step: Step, request: AnyRequest, language: Language) -> Value:
    """How far a run is, as a notice."""
    if step.phase == "done" and step.answer is not None:
        model, phases = step.answer.model, step.answer.seconds
        key = "phase_known" if step.is_known else "phase_done"
        seconds = sum(phases.get(phase, 0.0) for phase in ("generate", "analyze") if step.is_known) or sum(
            phases.values()
        )
        second = step.answer.beside or getattr(step.answer.result, "second", None)
        name = model.id if second is None else say("beside_line", language, model=model.id, second=second.model.id)
        line = say(key, language, seconds=f"{seconds:.1f}", model=name, device=model.device, dtype=model.dtype)
        notes = [note.say(language) for note in step.answer.notes]
        return notice("warning" if notes else "info", line, *notes)
    values = {"percent": f"{100 * step.fraction:.0f}", "model": request.model or ""}
    if step.transfer is not None:
        values |= {"done": format_bytes(step.transfer.done), "total": format_bytes(step.transfer.total)}
    line = say(f"phase_{step.phase}", language, **values)
    if step.place:
        line = say("phase_in_line", language, place=step.place, seconds=f"{max(1.0, step.wait or 0.0):.0f}")
    if step.expected is not None and step.expected >= WORTH_SAYING:
        return notice("busy", line, say("phase_expected", language, seconds=f"{step.expected:.0f}"))
    return notice("busy", line)


def tell_missing(answer: AnyAnswer, language: Language) -> list[str]:
    """What an answer lacks, in sentences."""
    missing: Sentence | None = getattr(answer.result, "missing", None)
    lines = [] if missing is None else [missing.say(language)]
    if answer.request.has_two_answers and answer.beside is None:
        lines.append(say("beside_missing", language, model=answer.request.beside))
    return lines
