"""What the Layer Predictions and Rankings tabs share: comparing side by side, and moving to another position."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, TypeAlias, TypeVar, cast

import gradio as gr

from analyzers.common.errors import InputError
from analyzers.common.languages import Language
from analyzers.common.limits import LIMITS
from analyzers.common.parameters import show_value
from analyzers.common.settings import LayerPredictionsSettings, RankingsSettings
from analyzers.serving.dispatch import Answer, AnyAnswer, Runner
from analyzers.serving.request import Request, parse_request
from ui.components.hover_strip import HoverStrip
from ui.components.notice import Notice, notice
from ui.errors import language_of
from ui.events import index_of, position_of
from ui.i18n import T
from ui.runs import QUIET, report
from ui.tabs.tab import SideRun
from ui.texts import say
from ui.values import Component, Mark, Updates, Value

LensSettings = TypeVar("LensSettings", LayerPredictionsSettings, RankingsSettings)
if TYPE_CHECKING:
    from analyzers.layer_predictions import LayerPredictions
    from analyzers.rankings import Rankings

    LensAnswer: TypeAlias = Answer[LayerPredictionsSettings, LayerPredictions] | Answer[RankingsSettings, Rankings]

SIDE_BY_SIDE = 320
"""Pixels that each of two pictures side by side has at least; else they stand one under the other."""
COMPARISONS = ("none", "norm", "text")


def comparison_widgets(second_model: gr.components.Component) -> dict[str, gr.components.Component]:
    """What is drawn beside the picture: nothing, the reading without the final norm, or another text; where a second model is
    chosen, that."""
    choices: list[Mark] = [(T(f"compare_{name}"), name) for name in COMPARISONS]
    compare = gr.Dropdown(choices, value="none", label=T("compare"), min_width=220)
    other = gr.Textbox(label=T("compare_text_box"), visible=False, max_length=LIMITS.characters, min_width=240)
    compare.change(lambda chosen: gr.update(visible=chosen == "text"), compare, other, queue=False, **QUIET)

    def make_way(chosen: object) -> tuple[Updates, Updates]:
        if chosen:  # what was compared before is not asked any more
            return gr.update(value="none", visible=False), gr.update(visible=False)
        return gr.update(visible=True), gr.skip()

    second_model.change(make_way, second_model, [compare, other], queue=False, **QUIET)
    return {"compare": compare, "compare_text": other}


def second_request(asked: Request[LensSettings], extras: Mapping[str, object]) -> Request[LensSettings] | None:
    """The run that stands beside the first, with the same settings. Raises InputError."""
    compare = "none" if asked.beside is not None else extras.get("compare")
    if compare not in COMPARISONS:
        raise InputError("not_a_choice", name="compare", choices=", ".join(COMPARISONS), value=show_value(compare))
    if compare == "norm":
        return replace(asked, settings=replace(asked.settings, final_norm=False))
    if compare == "text":
        checked = parse_request(asked.analysis, {"text": extras.get("compare_text")})
        return replace(asked, text=checked.text, settings=replace(asked.settings, position=None))
    return None


def move_on_select(
    runner: Runner,
    strip: HoverStrip,
    line: Notice,
    status: Notice,
    answer: gr.State,
    pinned: gr.State,
    outputs: list[Component],
    show: Callable[..., Updates],
    extras: Mapping[str, gr.components.Component],
    show_second: Callable[..., Updates],
) -> SideRun:
    """A token chosen in the strip is read at its own position; the other tabs follow."""

    def move(request: gr.Request, event: gr.EventData, found: AnyAnswer | None, *values: object) -> Iterator[Updates]:
        language = language_of(request)
        if found is None:
            yield {line: notice("info", say("pinned_none", language))}
            return
        try:
            position = position_of(index_of(event), tuple(found.completion.predictable_positions))
            settings = replace(cast(LayerPredictionsSettings, found.request.settings), position=position)
            asked = found.request.ask(found.request.analysis, settings)
            second = second_request(asked, dict(zip(extras, values, strict=True)))
        except InputError as error:
            yield {line: notice("error", error.say(language))}
            return
        first: list[AnyAnswer] = []

        def show_first(fresh: AnyAnswer) -> Updates:
            first[:] = [fresh]
            return {**show(fresh, position, language), pinned: position}

        yield from report(runner, asked, language, status, show_first)
        if second is not None and first:
            yield from report(runner, second, language, status, lambda beside: show_second(first[0], beside, language))

    affected = list(dict.fromkeys([*outputs, line, pinned]))
    return SideRun(strip.select, move, [answer, *extras.values()], affected)


def tell_check(found: LensAnswer, language: Language) -> Value:
    """That the last layer, read as the others, is the model's own output; else there would be no answer. Without the final
    norm the others are read otherwise, and nothing is claimed."""
    from ui.charts.style import format_self_check

    if not found.result.final_norm:
        return notice("info")
    difference = format_self_check(found.result.self_check, language)
    return notice("check", say("checked", language), say("check_lens", language, difference=difference))


def warn_of_norm(found: LensAnswer, language: Language) -> Value:
    """A notice beside a reading without the final norm; an empty one beside any other."""
    is_normed = found.result.final_norm
    return notice("info") if is_normed else notice("warning", say("norm_warning", language))
