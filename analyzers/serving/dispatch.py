"""The one place where analyses run. Plain data in, plain data out, so that it can run in another process."""

from __future__ import annotations

import importlib
import time
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

from analyzers.common.errors import InputError
from analyzers.common.limits import LIMITS
from analyzers.common.memory import is_out_of_memory
from analyzers.common.sentences import Sentence
from analyzers.models.store import POLL_SECONDS, ModelStore
from analyzers.serving.request import Request
from analyzers.sources.hub import Transfer

if TYPE_CHECKING:
    from analyzers.models.completion import Completion
    from analyzers.models.language_model import LanguageModel, ModelFacts

Phase = Literal["waiting", "downloading", "loading", "generating", "analyzing", "done"]


@dataclass(frozen=True)
class Answer:
    """A result with all that is said beside it."""

    request: Request
    model: ModelFacts
    completion: Completion
    result: Any
    """What the analysis returns, such as `Saliency`."""
    seconds: dict[str, float]
    """By phase."""
    notes: tuple[Sentence, ...] = ()


@dataclass(frozen=True)
class Step:
    """How far a run is."""

    phase: Phase
    fraction: float = 0.0
    """0 to 1, of the phase."""
    answer: Answer | None = None
    """Not whole before the phase `done`."""
    transfer: Transfer | None = None
    """Bytes of the phase `downloading`."""
    expected: float | None = None
    """Seconds that generating and analysing together are expected to take; None before the model is there."""


@dataclass
class Dispatcher:
    """Runs requests on the models of a store."""

    store: ModelStore
    _completions: OrderedDict[tuple[Any, ...], Completion] = field(default_factory=OrderedDict)
    at_once: int = 1
    """Runs that may go on at the same time; the others wait."""

    def run(self, request: Request, seconds: int | None = None) -> Iterator[Step]:
        """Steps of a run, the last one `done` with the whole answer. Closing the iterator stops the run at its next step.

        After so many seconds (the limit of `LIMITS` where not given), what is known by then is the answer, with a note
        that says so. Raises InputError for what the user can put right, and where nothing is known by then.
        """
        is_full = False
        try:
            yield from self._load_and_run(request, LIMITS.seconds if seconds is None else seconds)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            is_full = True
        if is_full:  # out of the handler, whose traceback held the tensors
            self.store.release()
            _release_memory()
            raise InputError("out_of_memory", device=request.device, n=f"{len(request.text):,}")

    def _load_and_run(self, request: Request, limit: int) -> Iterator[Step]:
        from analyzers.serving.cost import expected_seconds

        seconds: dict[str, float] = {}
        started = time.perf_counter()
        source = self.store.find(request.model or self.store.default_id())
        served = KINDS.get(request.analysis, PREDICTING)
        if source.kind == "encoder" and source.kind not in served:
            raise InputError("kind_not_served", model=source.id)
        model: LanguageModel | None = None
        for loaded in self.store.load_in_steps(request.model or source.id, request.device):
            if isinstance(loaded, Transfer):
                yield Step("downloading", loaded.done / max(1, loaded.total), transfer=loaded)
            elif loaded is None:
                yield Step("loading")
            else:
                model = loaded
        assert model is not None
        if model.facts.kind not in served:
            raise InputError("kind_not_served", model=model.facts.id)
        seconds["load"] = time.perf_counter() - started
        with self.store.job() as lock:
            while not lock.acquire(timeout=POLL_SECONDS):
                yield Step("waiting")
            expected = expected_seconds(model, request)
            for step in self._run(model, request, seconds, limit):
                yield replace(step, expected=expected)

    def _run(self, model: LanguageModel, request: Request, seconds: dict[str, float], limit: int) -> Iterator[Step]:
        started = time.perf_counter()
        deadline = started + limit
        completion: Completion | None = None
        for completion in self._complete(model, request):
            new = completion.n_positions - completion.n_prompt
            yield Step("generating", new / max(1, request.generation.generate))
            if time.perf_counter() > deadline:
                raise InputError("too_slow", limit=limit)
        assert completion is not None
        seconds["generate"] = time.perf_counter() - started
        answer: Answer | None = None
        started = time.perf_counter()
        for step in _analysis(request.analysis)(model, completion, request.settings):
            seconds["analyze"] = time.perf_counter() - started
            if step.result is not None:
                answer = Answer(
                    request,
                    model.facts,
                    completion,
                    step.result,
                    dict(seconds),
                    (*completion.notes, *step.result.notes),
                )
            if step.fraction < 1 and time.perf_counter() > deadline:
                if answer is None:
                    raise InputError("too_slow", limit=limit)
                answer = replace(answer, notes=(*answer.notes, Sentence.of("stopped_early", limit=limit)))
                break
            yield Step("analyzing", step.fraction, answer)
        yield Step("done", 1.0, answer)

    def _complete(self, model: LanguageModel, request: Request) -> Iterator[Completion]:
        """Produced once: the tabs and the endpoints ask for the same completion again and again."""
        from analyzers.models.completion import complete

        key = (model.facts, request.text, request.generation)
        if key not in self._completions:
            for completion in complete(model, request.text, request.generation):
                yield completion
            self._completions[key] = completion
            while len(self._completions) > 32:
                self._completions.popitem(last=False)
        yield self._completions[key]


def answer(dispatcher: Dispatcher, request: Request) -> Answer:
    """Run to the end. Raises InputError."""
    last: Answer | None = None
    for step in dispatcher.run(request):
        last = step.answer or last
    assert last is not None
    return last


_FUNCTIONS = {
    "saliency": ("analyzers.saliency", "compute_saliency"),
    "faithfulness": ("analyzers.faithfulness", "compute_faithfulness"),
    "layer-predictions": ("analyzers.layer_predictions", "predict_from_each_layer"),
    "layer-overview": ("analyzers.layer_predictions", "overview_of_each_layer"),
    "rankings": ("analyzers.rankings", "rank_at_each_layer"),
    "neuron-factors": ("analyzers.neuron_factors", "factorize_neurons"),
    "ablation": ("analyzers.ablation", "ablate_neurons"),
}

PREDICTING = ("causal", "masked", "seq2seq")
KINDS = {"saliency": (*PREDICTING, "encoder"), "neuron-factors": (*PREDICTING, "encoder")}
"""Kinds of models that an analysis reads, where they are more than those that predict tokens."""


def _analysis(name: str) -> Any:
    """The function of an analysis, imported when first needed: torch loads behind the first page."""
    module, function = _FUNCTIONS[name]
    return getattr(importlib.import_module(module), function)


def _release_memory() -> None:
    import gc

    import torch

    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
