"""From a click to an answer: parse strictly, run through the one dispatcher, say how it goes. Shared by all tabs."""

from __future__ import annotations

import math
import shutil
import tempfile
import time
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import gradio as gr

from analyzers.common.errors import InputError
from analyzers.common.memory import size
from analyzers.common.sentences import Language
from analyzers.common.settings import DEFAULT_FACTORS
from analyzers.serving.dispatch import Answer, Dispatcher, Step
from analyzers.serving.request import Request, parse_request
from ui.errors import sentence_for
from ui.hover_strip import notice
from ui.texts import say

TELL_SECONDS = 0.25
"""Between two words on how far a phase of a run is. The page takes 70 ms to take in each, longer than a step of a short run."""


def follow(
    dispatcher: Dispatcher, request: Request, language: Language
) -> Iterator[tuple[dict[str, Any], Answer | None]]:
    """What to say, and the answer as far as it is known. Never raises: what goes wrong is said."""
    last: Answer | None = None
    whole: Answer | None = None
    told, phase = -math.inf, ""
    steps = dispatcher.run(request)
    try:
        for step in steps:
            fresh = step.answer if step.answer is not last else None
            last = step.answer or last
            if fresh is not None and step.phase == "analyzing" and step.fraction >= 1:
                # "Done" follows at once. In one message: of two within one tick Gradio's page can lose the picture.
                whole = fresh
                continue
            if fresh is None and step.phase == phase and time.monotonic() < told + TELL_SECONDS:
                continue
            yield _said(step, request, language), fresh or whole
            told, phase = time.monotonic(), step.phase
            whole = None
    except Exception as error:
        # The last line of defence between a visitor and a stack trace; it is logged there without their text.
        yield notice("error", sentence_for(error, language)), None
    finally:
        steps.close()  # type: ignore[attr-defined]


def page_request(analysis: str, raw: Mapping[str, Any]) -> Request:
    """A request from the page's widgets, where an empty box means "not given". Raises InputError."""
    given = dict(raw)
    for name in ("contrast", "target_text", "hide"):
        if given.get(name) == "":
            del given[name]
    for name, left_out in (("points", "auto"), ("layer", "all")):
        if given.get(name) == left_out:
            del given[name]
    if isinstance(given.get("hide"), str) and given["hide"].isdecimal() and len(given["hide"]) < 7:
        given["hide"] = int(given["hide"])
    only_last = analysis == "layer-predictions" and given.get("layer") == "last"
    if only_last:
        del given["layer"]
    if isinstance(given.get("watch"), str):
        given["watch"] = watched_words(given["watch"])
    if analysis == "neuron-factors":
        return _factors_request(given)
    asked = parse_request(analysis, given)
    return replace(asked, settings=replace(asked.settings, only_last=True)) if only_last else asked


def _factors_request(given: dict[str, Any]) -> Request:
    """The page names layers by preset, or by a range."""
    presets = ("all", "first", "middle", "last", "range")
    preset = given.pop("layers", "all")
    if preset not in presets:
        raise InputError("not_a_choice", name="layers", choices=", ".join(presets), value="“…”")
    if preset != "range":
        given.pop("first_layer", None)
        given.pop("last_layer", None)
    if given.get("factors") == DEFAULT_FACTORS:  # the slider as it stands: fewer where the text is short
        del given["factors"]
    asked = parse_request("neuron-factors", given)
    if preset == "range":
        return asked
    return replace(asked, settings=replace(asked.settings, preset=preset))


def number_within(name: str, value: Any, low: float, high: float) -> float:
    """A number that the browser sent. Raises InputError where it is none from low to high."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not low <= value <= high:
        raise InputError("not_a_number", name=name, low=low, high=high, value=type(value).__name__)
    return float(value)


def watched_words(text: str) -> list[str]:
    """One word a line, leading spaces kept; empty lines are not words."""
    return [word for word in text.split("\n") if word.strip()]


def index_of(event: gr.EventData) -> Any:
    """What a component sent with its event; None where it sent anything else."""
    return event._data.get("index") if isinstance(event._data, dict) else None


def position_of(value: Any, choices: tuple[int, ...]) -> int:
    """A position that the browser sent. Raises InputError where it is not one of `choices`."""
    if isinstance(value, bool) or not isinstance(value, int) or value not in choices:
        shown = value if isinstance(value, (int, float)) else type(value).__name__
        raise InputError("position_not_explained", position=shown, first=choices[0], last=choices[-1])
    return value


WORTH_SAYING = 5
"""Seconds; a run that is expected to be quicker says only how far it is."""
_HOME = tempfile.TemporaryDirectory(prefix="eccolens-")
"""Removed with the process."""
_SAVED: deque[Path] = deque()
KEPT_FILES = 64
"""Downloads kept; Gradio copies each into its own cache, which it empties by age."""


def saved(name: str, text: str) -> str | None:
    """Path of a file to download, or None where the disk takes no more. Old ones are removed."""
    try:
        folder = Path(tempfile.mkdtemp(dir=_HOME.name))
        _SAVED.append(folder)
        while len(_SAVED) > KEPT_FILES:
            shutil.rmtree(_SAVED.popleft(), ignore_errors=True)
        (folder / name).write_text(text, encoding="utf-8")
    except OSError:
        return None
    return str(folder / name)


def _said(step: Step, request: Request, language: Language) -> dict[str, Any]:
    if step.phase == "done" and step.answer is not None:
        model, seconds = step.answer.model, sum(step.answer.seconds.values())
        line = say(
            "phase_done", language, seconds=f"{seconds:.1f}", model=model.id, device=model.device, dtype=model.dtype
        )
        notes = [note.say(language) for note in step.answer.notes]
        return notice("warning" if notes else "info", line, *notes)
    values = {"percent": f"{100 * step.fraction:.0f}", "model": request.model or ""}
    if step.transfer is not None:
        values |= {"done": size(step.transfer.done), "total": size(step.transfer.total)}
    line = say(f"phase_{step.phase}", language, **values)
    if step.expected is not None and step.expected >= WORTH_SAYING:
        return notice("busy", line, say("phase_expected", language, seconds=f"{step.expected:.0f}"))
    return notice("busy", line)
