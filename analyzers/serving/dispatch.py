"""The one place where analyses run. Plain data in, plain data out, so that it can run in another process."""

from __future__ import annotations

import time
import weakref
from collections import OrderedDict
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Generic, Literal, Protocol, TypeAlias, TypeVar, runtime_checkable

from analyzers.common.errors import InputError
from analyzers.common.functions import load_function
from analyzers.common.limits import LIMITS
from analyzers.common.memory import is_out_of_memory
from analyzers.common.parameters import Settings
from analyzers.common.sentences import Sentence
from analyzers.common.stopping import always
from analyzers.models.room import POLL_SECONDS
from analyzers.models.store import Store
from analyzers.models.turns import Turn
from analyzers.serving.analyses import ANALYSES
from analyzers.serving.request import AnyRequest, Request
from analyzers.sources.download import Transfer
from analyzers.sources.source import Source

if TYPE_CHECKING:
    from analyzers.models.completion import Completion
    from analyzers.models.language_model import LanguageModel, ModelFacts
    from analyzers.models.prompt import Prompt

PACE_WEIGHT = 0.3
"""Of the last run in what is expected of the next one of its analysis; what came before has the rest."""
SHOW_SECONDS = 2.0
"""Of computing, between two looks at what is known by then, where that is not worth showing by itself."""
Phase = Literal["waiting", "downloading", "loading", "generating", "analyzing", "done"]


S_co = TypeVar("S_co", bound=Settings, covariant=True)
R_co = TypeVar("R_co", covariant=True)


@dataclass(frozen=True)
class Answer(Generic[S_co, R_co]):
    """A result with all that stands beside it."""

    request: Request[S_co]
    model: ModelFacts
    completion: Completion
    result: R_co
    """What the analysis returns, such as `Saliency`."""
    seconds: dict[str, float]
    """By phase."""
    notes: tuple[Sentence, ...] = ()
    is_whole: bool = True
    """False while more is to come, and where the time limit cut it short."""
    beside: Answer[S_co, R_co] | None = None
    """The second model's, where one was asked for and has a result of its own; None while it is not known yet."""


AnyAnswer: TypeAlias = Answer[Settings, object]


@dataclass(frozen=True)
class Step:
    """How far a run is."""

    phase: Phase
    fraction: float = 0.0
    """0 to 1, of the phase."""
    answer: AnyAnswer | None = None
    """Not whole before the phase `done`."""
    transfer: Transfer | None = None
    """Bytes of the phase `downloading`."""
    expected: float | None = None
    """Seconds that generating and analysing together are expected to take; None before the model is there."""
    place: int | None = None
    """In the line, from 1, of the phase `waiting`."""
    wait: float | None = None
    """Seconds until its turn, as far as they can be told; also of a run that makes way for a shorter one."""
    is_known: bool = False
    """Whether the answer was computed for somebody before."""


@runtime_checkable
class Runner(Protocol):
    """What runs requests: a `Dispatcher`, or what stands before one."""

    @property
    def store(self) -> Store: ...

    def run(
        self, request: AnyRequest, seconds: int | None = None, is_wanted: Callable[[], bool] = always
    ) -> Iterator[Step]: ...


class Dispatcher:
    """Runs requests on the models of a store."""

    def __init__(self, store: Store) -> None:
        self.store: Store = store
        self._paces: dict[str, float] = {}
        self._completions: OrderedDict[tuple[object, ...], tuple[weakref.ref[LanguageModel], Completion]] = (
            OrderedDict()
        )
        """With the model that made each: one loaded anew may have other weights."""

    def run(
        self, request: AnyRequest, seconds: int | None = None, is_wanted: Callable[[], bool] = always
    ) -> Iterator[Step]:
        """Steps of a run, the last one `done` with the whole answer. Closing the iterator stops the run at its next step.

        A run that takes long, and one of which `is_wanted` says that nobody waits for it, makes way for others between
        its steps. After so many seconds of its own (the limit of `LIMITS` where not given), what is known by then is the answer, with a note
        that says so. Raises InputError for what the user can put right, and where nothing is known by then.
        """
        if request.has_two_answers:
            from analyzers.serving.beside import run_both

            yield from run_both(self, request, seconds, is_wanted)
            return
        is_full = False
        try:
            yield from self._load_and_run(request, LIMITS.seconds if seconds is None else seconds, is_wanted)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            is_full = True
        if is_full:  # out of the handler, whose traceback held the tensors
            self.store.release()
            _release_memory()
            raise InputError("out_of_memory", device=request.device, n=f"{len(request.text):,}")

    def _load_and_run(self, request: AnyRequest, limit: int, is_wanted: Callable[[], bool]) -> Iterator[Step]:
        from analyzers.models.prompt import read_prompt
        from analyzers.serving.cost import expect_seconds

        seconds: dict[str, float] = {}
        started = time.perf_counter()
        source = self.store.resolver.find(request.model or self.store.resolver.default_id())
        kinds = ANALYSES[request.analysis].kinds
        if source.kind is not None and not source.kind.predicts and source.kind not in kinds:
            raise InputError("kind_not_served", model=source.id)
        if request.beside is not None:
            from analyzers.serving.beside import check_pair

            check_pair(self.store, request)
        model = yield from load_in_steps(self.store, source, request.device)
        other = None
        if request.beside is not None:
            other = yield from load_in_steps(self.store, request.beside, request.device)
        for found in (model, other):
            if found is not None and found.facts.kind not in kinds:
                raise InputError("kind_not_served", model=found.facts.id)
        seconds["load"] = time.perf_counter() - started
        prompt = read_prompt(model, request.text, request.generation)
        expected = self._paces.get(request.analysis, 1.0) * expect_seconds(model, request, prompt)
        if other is not None:
            expected *= 1 + other.n_block_parameters / model.n_block_parameters
        with self.store.turn(expected, is_wanted) as turn:
            yield from _wait(turn, Step("waiting", expected=expected))
            for step in self._run(model, other, request, prompt, seconds, limit, turn):
                if step.phase == "analyzing":
                    turn.fraction = step.fraction
                yield replace(step, expected=expected)
                if step.phase != "done" and turn.make_way():
                    yield from _wait(turn, replace(step, phase="waiting", expected=expected))
            self._learn_pace(request.analysis, turn.used / max(expected, 1e-3))

    def _learn_pace(self, analysis: str, ratio: float) -> None:
        """How this machine, in the company that it has, compares with what was expected of it."""
        before = self._paces.get(analysis, 1.0)
        self._paces[analysis] = before * min(10.0, max(0.1, ratio)) ** PACE_WEIGHT

    def _run(
        self,
        model: LanguageModel,
        other: LanguageModel | None,
        request: AnyRequest,
        prompt: Prompt,
        seconds: dict[str, float],
        limit: int,
        turn: Turn,
    ) -> Iterator[Step]:
        completion: Completion | None = None
        for completion in self._complete(model, request, prompt):
            new = completion.n_positions - completion.n_prompt
            yield Step("generating", new / max(1, request.generation.generate))
            if turn.used > limit:
                raise InputError("too_slow", limit=limit)
        assert completion is not None
        seconds["generate"] = turn.used
        answer: AnyAnswer | None = None
        due = turn.used + SHOW_SECONDS
        row, said = ANALYSES[request.analysis], completion.notes
        if other is None:
            results = load_function(row.function)(model, completion, request.settings)
        else:
            read, unread = _read_beside(completion, request, other)
            said = (*said, *unread)
            results = load_function(row.joint_function)(model, completion, other, read, request.settings)
        for step in results:
            result = step.result
            if step.make_result is not None and turn.used > min(due, limit):
                began = turn.used
                result = step.make_result()
                due = turn.used + max(SHOW_SECONDS, 10 * (turn.used - began))
            seconds["analyze"] = turn.used - seconds["generate"]
            if result is not None:
                notes = (*said, *result.notes)
                answer = Answer(request, model.facts, completion, result, dict(seconds), notes, step.fraction >= 1)
            if step.fraction < 1 and turn.used > limit:
                if answer is None:
                    raise InputError("too_slow", limit=limit)
                missing: Sentence | None = getattr(answer.result, "missing", None)
                notes = (*answer.notes, Sentence.of("stopped_early", limit=limit))
                if missing is not None and missing not in notes:
                    notes = (*notes, missing)
                answer = replace(answer, notes=notes)
                break
            yield Step("analyzing", step.fraction, answer)
        yield Step("done", 1.0, answer)

    def _complete(self, model: LanguageModel, request: AnyRequest, prompt: Prompt) -> Iterator[Completion]:
        """Produced once: the tabs and the endpoints ask for the same completion again and again."""
        from analyzers.models.completion import continue_prompt

        key = (model.facts, request.text, request.generation)
        author, completion = self._completions.get(key, (None, None))
        if completion is None or author is None or author() is not model:
            for completion in continue_prompt(model, prompt, request.generation):
                yield completion
            assert completion is not None
            self._completions[key] = weakref.ref(model), completion
            while len(self._completions) > 32:
                self._completions.popitem(last=False)
        yield completion


def load_in_steps(store: Store, model: Source | str, device: str) -> Generator[Step, None, LanguageModel]:
    """A model, told as far as it is there. Raises InputError."""
    for loaded in store.load_in_steps(model, device):
        if isinstance(loaded, Transfer):
            yield Step("downloading", loaded.done / max(1, loaded.total), transfer=loaded)
        elif loaded is None:
            yield Step("loading")
        else:
            return loaded
    raise AssertionError("a load ends with a model")


def _read_beside(
    first: Completion, request: AnyRequest, model: LanguageModel
) -> tuple[Completion, tuple[Sentence, ...]]:
    from analyzers.models.completion import complete
    from analyzers.serving.beside import read_alike, tell_unread

    *_, read = complete(model, *read_alike(first, request, model))
    return read, tell_unread(first, request, model)


def _wait(turn: Turn, step: Step) -> Iterator[Step]:
    """Until it is its turn: where it stands in the line, beside what is known already."""
    timeout = 0.0  # who has to wait is told so at once
    while not turn.acquire(timeout=timeout):
        place, wait = turn.look()
        yield replace(step, place=place, wait=wait)
        timeout = POLL_SECONDS


def answer(runner: Runner, request: AnyRequest, is_heard: Callable[[], bool] = always) -> AnyAnswer:
    """Run to the end, unless by then nobody hears the answer. Raises InputError."""
    last: AnyAnswer | None = None
    steps = runner.run(request)
    try:
        for step in steps:
            last = step.answer or last
            if step.phase != "done" and not is_heard():
                raise InputError("nobody_listens")
    finally:
        steps.close()  # type: ignore[attr-defined]
    assert last is not None
    return last


def _release_memory() -> None:
    import gc

    import torch

    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
