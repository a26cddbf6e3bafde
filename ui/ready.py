"""The examples' answers, made before anybody asks: in the preparation, and while nobody computes."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator

from analyzers.common.errors import InputError
from analyzers.common.settings import LayerPredictionsSettings
from analyzers.models.store import Store
from analyzers.serving.answer_key import AnswerKey, key_of_request
from analyzers.serving.request import AnyRequest, parse_request
from analyzers.serving.sharing import SharedRuns
from analyzers.sources import catalog, local_files
from analyzers.sources.resolver import Resolver
from ui.examples import EXAMPLES, Example
from ui.tabs.lens_tabs import second_request

QUIET_SECONDS = 5.0
"""Nobody has asked for anything for so long: then the next example's turn has come."""
LOOK_SECONDS = 0.5
PATIENT_SECONDS = 600
"""A time limit keeps a visitor from waiting; here nobody waits."""


def requests_of(example: Example, store: Store) -> tuple[AnyRequest, ...]:
    """What the page asks for when an example is pressed."""
    model = example.model(store, None)
    values = example.values_on(model)
    first = parse_request(example.analysis, example.asks(model))
    if "compare" not in values:
        return (first,)
    second = second_request(first, {"compare_text": None, **values})  # type: ignore[type-var]
    return (first,) if second is None else (first, second)


def prepare() -> int:
    """Compute what the examples show on the models that came with this machine, and keep it. Exit status."""
    from analyzers.models.store import ModelStore
    from analyzers.serving.answer_cache import AnswerCache
    from analyzers.serving.dispatch import Dispatcher
    from analyzers.sources.gguf_cache import answers_folder

    store = ModelStore(Resolver(default=catalog.OFFLINE_MODEL))
    runner = SharedRuns(Dispatcher(store), AnswerCache(folder=answers_folder()))
    wanted = dict(_wanted(runner))
    runner.cache.forget_all_but(list(wanted))
    missing = [(key, request) for key, request in wanted.items() if not runner.cache.is_kept(key)]
    if missing:
        print(f"Computing the {len(missing)} answers of the examples, once:", end=" ", flush=True)
        for key, request in missing:
            _compute(runner, key, request)
            print(".", end="", flush=True)
        print()
    return 0


def compute_while_quiet(runner: SharedRuns) -> None:
    """The examples of the models on this machine, one after another, while nobody asks for anything. Ends with the last."""
    for key, request in _wanted(runner):
        while runner.quiet_seconds() < QUIET_SECONDS:
            time.sleep(LOOK_SECONDS)
        if not runner.cache.is_kept(key):
            _compute(runner, key, request)


def _wanted(runner: SharedRuns) -> Iterator[tuple[AnswerKey, AnyRequest]]:
    """Every request of an example whose model is on this machine."""
    seen: set[AnswerKey] = set()
    for example in EXAMPLES:
        requests = requests_of(example, runner.store)
        if example.analysis == "layer-predictions":  # the page reads the whole text after it
            requests += (requests[0].ask("layer-overview", LayerPredictionsSettings()),)
        try:
            keys = [key_of_request(runner.store, request) for request in requests]
        except InputError:  # said when it is pressed
            continue
        for key, request in zip(keys, requests, strict=True):
            row = catalog.find_row(request.model or "")
            is_here = row is None or local_files.is_on_this_machine(row)
            if key.files and is_here and key not in seen:
                seen.add(key)
                yield key, request


def _compute(runner: SharedRuns, key: AnswerKey, request: AnyRequest) -> None:
    try:
        for step in runner.run(request, PATIENT_SECONDS, is_wanted=lambda: False):
            if step.phase == "done" and step.answer is not None and step.answer.is_whole:
                runner.cache.keep(key, step.answer)
    except InputError as error:  # a visitor reads it when they press the example
        print(f"Example: {error}", file=sys.stderr, flush=True)
