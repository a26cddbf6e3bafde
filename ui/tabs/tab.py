"""What the page needs to know of a tab."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeAlias, TypeVar

import gradio as gr

from analyzers.common.languages import Language
from analyzers.common.parameters import Settings
from analyzers.serving.dispatch import Answer, Runner
from analyzers.serving.request import Request
from ui.components.base import DrawnByScript
from ui.components.heading import Heading
from ui.components.notice import Notice
from ui.values import Component, Event, Updates

if TYPE_CHECKING:
    from analyzers.models.language_model import ModelFacts

S = TypeVar("S", bound=Settings)
R = TypeVar("R")


@dataclass(frozen=True, eq=False)
class SideRun:
    """A run that is asked for from within a tab. Told on the status line, and ended by Stop, as that of Run."""

    listen: Callable[..., Event]
    """What begins it, such as `button.click`."""
    run: Callable[..., Iterator[Updates]]
    inputs: list[Component]
    outputs: list[Component]
    """Everything that it may update but the status line."""


@dataclass(frozen=True, eq=False)
class Tab(Generic[S, R]):
    """One analysis on the page."""

    analysis: str
    settings: dict[str, gr.components.Component]
    """Widget of each setting, by the name that the request gate knows."""
    answer: gr.State
    """Holds the tab's last `Answer`, or None."""
    outputs: list[Component]
    """Everything that `show` may update, `answer` included."""
    show: Callable[[Answer[S, R], int | None, Language], Updates]
    """An answer, whole or not yet, as updates; the number is what is looked at, if anything: see `looks_at`."""
    show_more: Callable[[Answer[S, R], Language], Updates] | None = None
    """An answer of a run that has shown one before: what the visitor looks at meanwhile stays. None: as `show`."""
    extras: dict[str, gr.components.Component] = field(default_factory=dict)
    """Widgets of the page alone, by name."""
    extra_defaults: Mapping[str, object] = field(default_factory=dict)
    """What its widgets begin with, where that is no setting's default."""
    second: Callable[[Request[S], Mapping[str, object]], Request[S] | None] | None = None
    """The run that is drawn beside the first, from the values of `extras`. Raises InputError."""
    show_second: Callable[[Answer[S, R], Answer[S, R], Language], Updates] | None = None
    """Both answers as updates."""
    second_model: gr.components.Component | None = None
    """The widget that chooses a second model, where there is one."""
    empty: DrawnByScript | None = None
    """The component that says, before the first run, what will stand there."""
    looks_at: Literal["token", "factor"] = "token"
    """A token by its position, as in the other tabs, or a factor by its number, from 0."""
    follow_pin: bool = False
    """Whether an answer can be shown at another position without a run."""
    fit_model: Callable[[ModelFacts], Updates] | None = None
    """What there is to choose on the model of the last answer."""
    explains: bool = False
    """Whether it needs a token that is written or given."""
    side_runs: tuple[SideRun, ...] = ()
    afterwards: Callable[[Answer[S, R], Language], Iterator[Updates]] | None = None
    """What else is read once the answer stands, where that is quick; never raises."""

    @property
    def widgets(self) -> dict[str, gr.components.Component]:
        return self.settings | self.extras


AnyTab: TypeAlias = Tab[Any, Any]
TabBuilder: TypeAlias = Callable[[Runner, gr.State, Notice, Heading], AnyTab]
