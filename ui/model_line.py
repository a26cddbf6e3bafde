"""The line beneath the choice of model: what it is and needs, before Run downloads anything."""

from __future__ import annotations

from analyzers.common.errors import InputError
from analyzers.common.languages import Language
from analyzers.common.memory import format_bytes
from analyzers.serving.dispatch import Runner
from ui.components.notice import notice
from ui.errors import sentence_for
from ui.texts import say
from ui.values import Value


def model_line(runner: Runner, model: object, language: Language) -> Value:
    """A notice: kind, size and memory, or the sentence that refuses. Never raises."""
    try:
        if not isinstance(model, str) or not model:
            raise InputError("empty_setting", name="model")
        summary = runner.store.describe(model)
    except Exception as error:  # said, and logged where it is ours
        return notice("error", sentence_for(error, language))
    fetched = "model_at_hand" if summary.to_fetch == 0 else "model_to_fetch"
    line = say(
        "model_line",
        language,
        kind=say(f"kind_{summary.kind}", language),
        parameters=f"{summary.n_parameters:,}",
        fetched=say(fetched, language, size=format_bytes(summary.to_fetch)),
        needed=format_bytes(summary.placement.needed),
        precision=summary.placement.precision,
        device=summary.placement.device,
        free=format_bytes(summary.free),
    )
    return notice("info", line)
