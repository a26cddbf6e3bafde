"""What the page needs to know of a tab."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import gradio as gr

from analyzers.dispatch import Answer
from analyzers.sentences import Language


@dataclass(frozen=True, eq=False)
class Tab:
    """One analysis on the page."""

    analysis: str
    settings: dict[str, gr.components.Component]
    """Widget of each setting, by the name that the request gate knows."""
    outputs: list[Any]
    """Everything that `show` may update."""
    show: Callable[[Answer, Language], dict[Any, Any]]
    """An answer, whole or not yet, as updates."""
    events: tuple[Any, ...] = field(default=())
    """Runs of the tab's own, which Stop ends too."""
