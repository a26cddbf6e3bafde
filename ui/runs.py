"""From a click to an answer: parse strictly, run through the one dispatcher, say how it goes. Shared by all tabs."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from typing import Any

from analyzers.common.languages import Language
from analyzers.common.memory import format_bytes
from analyzers.serving.dispatch import Answer, Dispatcher, Step
from analyzers.serving.request import Request
from ui.components.notice import notice
from ui.errors import sentence_for
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


WORTH_SAYING = 5
"""Seconds; a run that is expected to be quicker says only how far it is."""


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
        values |= {"done": format_bytes(step.transfer.done), "total": format_bytes(step.transfer.total)}
    line = say(f"phase_{step.phase}", language, **values)
    if step.expected is not None and step.expected >= WORTH_SAYING:
        return notice("busy", line, say("phase_expected", language, seconds=f"{step.expected:.0f}"))
    return notice("busy", line)
