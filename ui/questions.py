"""What is asked: whether two questions are the same, what one is called, and what the widgets hold for it."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace

from analyzers.common.languages import Language
from analyzers.common.settings import LayerPredictionsSettings, RankingsSettings, SaliencySettings
from analyzers.serving.dispatch import AnyAnswer
from analyzers.serving.request import AnyRequest, parameters_of, parse_request
from ui.charts.style import quote_text
from ui.controls import Controls
from ui.examples import label_of
from ui.links import write_link
from ui.tabs.tab import AnyTab
from ui.texts import say
from ui.values import Options, Updates, Value


@dataclass(frozen=True)
class Shared:
    """What the shared controls asked for, whatever the tab."""

    model: str | None
    text: str
    generation: object

    @classmethod
    def of(cls, request: AnyRequest) -> Shared:
        return cls(request.model, request.text, request.generation)


def is_answered(before: AnyAnswer, asked: AnyRequest, position: int | None) -> bool:
    """Whether a tab shows what is asked for already: the same request, be the position named or the one it took."""
    settings = asked.settings
    if before.request == asked or not isinstance(settings, (LayerPredictionsSettings, RankingsSettings)):
        return before.request == asked
    watch = getattr(before.result, "watch", None)
    shown = getattr(before.result, "position", None) if watch is None else watch.position
    unplaced = asked.ask(asked.analysis, replace(settings, position=None))
    return before.request == unplaced and shown in (None, position)


def name_question(request: AnyRequest) -> str:
    """The same for the same question at another position."""
    settings = request.settings
    if isinstance(settings, (LayerPredictionsSettings, RankingsSettings)):
        settings = replace(settings, position=None)
    return hashlib.sha256(repr(replace(request, settings=settings)).encode()).hexdigest()[:16]


def describe_question(
    answers: Sequence[AnyAnswer], requests: tuple[AnyRequest, ...], pin: int | None, language: Language
) -> Value:
    """The value of the heading above a picture: its text, its model and what else tells it from others, what it shows, and
    the address of the view. `answers` and `requests` are the tab's and what stands beside it; `pin` is the position that is
    looked at; it stays when a second answer comes."""
    from ui.charts.findings import findings
    from ui.charts.saliency import method_name

    request, answer = requests[0], answers[0]
    parts = [quote_text(request.text, language, 60), answer.model.id]
    if answer.beside is not None:
        parts[-1] = say("beside_line", language, model=answer.model.id, second=answer.beside.model.id)
    if isinstance(request.settings, SaliencySettings):
        parts.append(method_name(request.settings.method, language))
    if request.generation.sample:
        parts.append(say("sampled", language, seed=request.generation.seed))
    return {
        "tab": request.analysis,
        "id": name_question(request),
        "line": " · ".join(parts),
        "moved": say("settings_moved", language),
        "link": write_link(requests, answer.model),
        "model": answer.model.id,
        "model_name": label_of(answer.model.id),
        "findings": findings(answers, language),
        **({} if len(answers) > 1 else {"pin": pin}),
    }


def end_question(analysis: str, id: str) -> Value:
    """What the heading is told when a question ends without an answer."""
    return {"tab": analysis, "id": id, "line": None, "is_over": True}


def ask(tab: AnyTab, raw: Options, extras: Options, position: int | None) -> tuple[AnyRequest, ...]:
    """A tab's run, and the one beside it if there is one. Raises InputError."""
    if position is not None and any(setting.name == "position" for setting in parameters_of(tab.analysis)):
        raw = {**raw, "position": position}
    request = parse_request(tab.analysis, raw)
    second = None if tab.second is None else tab.second(request, {**tab.extra_defaults, **extras})
    return (request,) if second is None else (request, second)


def values_of(analysis: str, given: Options, controls: Controls, tabs: list[AnyTab]) -> Updates:
    """What each widget holds for a tab's settings that are given, by an example or a link; elsewhere the default."""
    values: Updates = {}
    for tab in tabs:
        defaults = {setting.name: setting.default for setting in parameters_of(tab.analysis)}
        own = given if tab.analysis == analysis else {}
        for name, widget in controls.settings.items():
            values[widget] = given.get(name, defaults.get(name))
        for name, widget in tab.widgets.items():
            values[widget] = own.get(name, tab.extra_defaults.get(name, defaults.get(name)))
    return values
