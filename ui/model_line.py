"""The line beneath the choice of model: what it is and needs, before Run downloads anything."""

from __future__ import annotations

from typing import Any

from analyzers.common.errors import InputError
from analyzers.common.languages import Language
from analyzers.common.memory import format_bytes
from analyzers.serving.dispatch import Dispatcher
from ui.components.notice import notice
from ui.errors import sentence_for
from ui.texts import say


def model_line(dispatcher: Dispatcher, model: Any, language: Language) -> dict[str, Any]:
    """A notice: kind, size and memory, or the sentence that refuses. Never raises."""
    try:
        if not isinstance(model, str) or not model:
            raise InputError("empty_setting", name="model")
        found = dispatcher.store.describe(model)
    except Exception as error:  # said, and logged where it is ours
        return notice("error", sentence_for(error, language))
    fetched = "model_at_hand" if found.to_fetch == 0 else "model_to_fetch"
    line = say(
        "model_line",
        language,
        kind=say(f"kind_{found.kind}", language),
        parameters=f"{found.n_parameters:,}",
        fetched=say(fetched, language, size=format_bytes(found.to_fetch)),
        needed=format_bytes(found.placement.needed),
        precision=found.placement.precision,
        device=found.placement.device,
        free=format_bytes(found.free),
    )
    return notice("info", line)
