"""What the page needs to know of a tab."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import gradio as gr

from analyzers.common.languages import Language
from analyzers.serving.dispatch import Answer
from analyzers.serving.request import Request


@dataclass(frozen=True, eq=False)
class Tab:
    """One analysis on the page."""

    analysis: str
    settings: dict[str, gr.components.Component]
    """Widget of each setting, by the name that the request gate knows."""
    answer: gr.State
    """Holds the tab's last `Answer`, or None."""
    outputs: list[Any]
    """Everything that `show` may update, `answer` included."""
    show: Callable[[Answer, int | None, Language], dict[Any, Any]]
    """An answer, whole or not yet, as updates; the position is the token looked at in another tab, if any."""
    extras: dict[str, gr.components.Component] = field(default_factory=dict)
    """Widgets of the page alone, by name."""
    second: Callable[[Request, Mapping[str, Any]], Request | None] | None = None
    """The run that is drawn beside the first, from the values of `extras`. Raises InputError."""
    show_second: Callable[[Answer, Answer, Language], dict[Any, Any]] | None = None
    """Both answers as updates."""
    empty: Any = None
    """The component that says, before the first run, what will stand there."""
    follow_pin: bool = False
    """Whether an answer can be shown at another position without a run."""
    events: tuple[Any, ...] = field(default=())
    """Runs of the tab's own, which Stop ends too."""
