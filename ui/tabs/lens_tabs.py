"""What the Layer Predictions and Rankings tabs share: comparing side by side, and moving to another position."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import gradio as gr

from analyzers.common.errors import InputError
from analyzers.common.languages import Language
from analyzers.common.limits import LIMITS
from analyzers.serving.dispatch import Answer, Dispatcher
from analyzers.serving.request import Request, parse_request
from ui.components.hover_strip import HoverStrip
from ui.components.notice import Notice, notice
from ui.errors import language_of
from ui.events import index_of, position_of
from ui.i18n import T
from ui.runs import follow
from ui.texts import say

COMPARISONS = ("none", "norm", "text")


def comparison_widgets() -> dict[str, gr.components.Component]:
    """What is drawn beside the picture: nothing, the reading without the final norm, or another text."""
    choices: list[Any] = [(T(f"compare_{name}"), name) for name in COMPARISONS]
    compare = gr.Dropdown(choices, value="none", label=T("compare"), min_width=220)
    other = gr.Textbox(label=T("compare_text_box"), visible=False, max_length=LIMITS.characters, min_width=240)
    compare.change(
        lambda chosen: gr.update(visible=chosen == "text"),
        compare,
        other,
        show_progress="hidden",
        queue=False,
        api_visibility="private",
    )
    return {"compare": compare, "compare_text": other}


def second_request(asked: Request, extras: Mapping[str, Any]) -> Request | None:
    """The run that stands beside the first, with the same settings. Raises InputError."""
    compare = extras.get("compare")
    if compare not in COMPARISONS:
        raise InputError("not_a_choice", name="compare", choices=", ".join(COMPARISONS), value="“…”")
    if compare == "norm":
        return replace(asked, settings=replace(asked.settings, without_final_norm=True))
    if compare == "text":
        checked = parse_request(asked.analysis, {"text": extras.get("compare_text")})
        return replace(asked, text=checked.text, settings=replace(asked.settings, position=None))
    return None


def move_on_select(
    dispatcher: Dispatcher,
    strip: HoverStrip,
    line: Notice,
    answer: gr.State,
    pinned: gr.State,
    outputs: list[Any],
    show: Callable[[Answer, int | None, Language], dict[Any, Any]],
    extras: Mapping[str, gr.components.Component],
    show_second: Callable[[Answer, Answer, Language], dict[Any, Any]],
) -> Any:
    """A token chosen in the strip is read at its own position; the other tabs follow. Returns the event."""

    def moved(request: gr.Request, event: gr.EventData, found: Answer | None, *values: Any) -> Iterator[dict[Any, Any]]:
        language = language_of(request)
        if found is None:
            yield {line: notice("info", say("pinned_none", language))}
            return
        try:
            positions = tuple(found.completion.predictable_positions)
            position = position_of(index_of(event), positions)
            asked = replace(found.request, settings=replace(found.request.settings, position=position))
            second = second_request(asked, dict(zip(extras, values, strict=True)))
        except InputError as error:
            yield {line: notice("error", error.say(language))}
            return
        first: Answer | None = None
        for said, fresh in follow(dispatcher, asked, language):
            if fresh is not None:
                first = fresh
                yield {**show(fresh, position, language), pinned: position}
            elif said["kind"] == "error":
                yield {line: said}
        if second is None or first is None:
            return
        for said, beside in follow(dispatcher, second, language):
            if beside is not None:
                yield show_second(first, beside, language)
            elif said["kind"] == "error":
                yield {line: said}

    return strip.select(
        moved,
        [answer, *extras.values()],
        list(dict.fromkeys([*outputs, line, pinned])),
        show_progress="hidden",
        concurrency_id="model",
        concurrency_limit=dispatcher.at_once,
        api_visibility="private",
    )
