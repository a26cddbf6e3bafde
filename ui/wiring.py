"""What happens on the page: Run, Stop, the examples and the change of tab. Long work is one generator on a direct click."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import gradio as gr

from analyzers.common.errors import InputError
from analyzers.common.languages import Language
from analyzers.common.settings import LayerPredictionsSettings, RankingsSettings, SaliencySettings
from analyzers.serving.dispatch import AnyAnswer, Step
from analyzers.serving.request import AnyRequest, parameters_of, parse_request
from analyzers.serving.sharing import SharedRuns
from ui.charts.style import quote_text
from ui.components.base import empty_state
from ui.components.heading import Heading, tell_settings
from ui.components.notice import notice
from ui.controls import Controls, fit_to_kind, model_choices
from ui.errors import language_of, sentence_for
from ui.examples import EXAMPLES, Example, StandIn
from ui.ready import requests_of
from ui.runs import QUIET, describe_step, follow, on_the_model, spaced
from ui.tabs.tab import AnyTab, SideRun
from ui.texts import say
from ui.values import Event, Updates, Value

FOLD_ON_PHONE = """() => {
  if (window.innerWidth < 768) document.querySelector("#sidebar.open .toggle-button, #sidebar .open .toggle-button")?.click();
}"""
"""On a phone the controls lie over the answer: they make way when it is asked for, and when the page opens on one."""
RUN_BY_KEY = """() => document.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) document.querySelector("#run")?.click();
})"""
"""Ctrl+Enter, wherever the visitor is, runs."""

MEASURE_AGAIN = (
    """() => { for (const wait of [50, 400]) setTimeout(() => window.dispatchEvent(new Event("resize")), wait); }"""
)
"""A chart that was hidden while the window changed its size has measured no width: it measures again when it is seen."""


@dataclass(frozen=True)
class Shared:
    """What the shared controls asked for, whatever the tab."""

    model: str | None
    text: str
    generation: object

    @classmethod
    def of(cls, request: AnyRequest) -> Shared:
        return cls(request.model, request.text, request.generation)


def connect(
    runner: SharedRuns,
    controls: Controls,
    tabs: list[AnyTab],
    items: list[gr.Tab],
    tab_bar: gr.Tabs,
    headings: list[Heading],
    pinned: gr.State,
    on_load: Callable[..., Event],
) -> None:
    """Set every event that more than one tab has part in."""
    widgets = {*controls.settings.values(), *(widget for tab in tabs for widget in tab.widgets.values())}
    selected = gr.State(tabs[0].analysis)
    was_elsewhere = gr.State(False)  # before a tab was chosen: Gradio also chooses the first one when the page opens
    last_shared = gr.State(None)  # None before the first run
    begun = gr.State("")  # the name of the last question
    heading_of = {tab.analysis: heading for tab, heading in zip(tabs, headings, strict=True)}
    stand_in = gr.State(None)  # of the last example, where another model runs than it was tried on
    stops = [controls.stop, controls.stop_here]
    buttons = [controls.run, *stops]
    idle = {controls.run: gr.update(visible=True), **{stop: gr.update(visible=False) for stop in stops}}
    busy = {controls.run: gr.update(visible=False), **{stop: gr.update(visible=True) for stop in stops}}

    def read_request(tab: AnyTab, values: Updates, position: int | None) -> tuple[AnyRequest, ...]:
        """The run, and the one beside it if there is one. Raises InputError."""
        raw = {name: values[widget] for name, widget in (controls.settings | tab.settings).items()}
        if position is not None and any(setting.name == "position" for setting in parameters_of(tab.analysis)):
            raw["position"] = position
        request = parse_request(tab.analysis, raw)
        extras = {name: values[widget] for name, widget in tab.extras.items()}
        second = None if tab.second is None else tab.second(request, extras)
        return (request,) if second is None else (request, second)

    def run_tab(
        tab: AnyTab,
        requests: tuple[AnyRequest, ...],
        position: int | None,
        language: Language,
        stood_in: StandIn | None = None,
        remark: str | None = None,
    ) -> Iterator[Updates]:
        heading, begun_now = heading_of[tab.analysis], name_question(requests[0])
        # Busy with every word: a run from within a tab, which may end meanwhile, brings the buttons back.
        begins = {heading: {"tab": tab.analysis, "id": begun_now, "line": None}, begun: begun_now}
        yield {**busy, last_shared: Shared.of(requests[0]), pinned: position, **begins}
        answers: list[AnyAnswer] = []
        for request in requests:
            fresh: AnyAnswer | None = None
            for status in follow(runner, request, language):
                updates: Updates = {controls.status: status.notice, **busy}
                if status.answer is not None:
                    is_first, fresh = fresh is None, status.answer
                    try:
                        updates |= show(tab, [*answers, fresh], position, language, is_first=is_first)
                    except Exception as error:  # a picture that cannot be drawn is said, and the buttons come back
                        yield {controls.status: notice("error", sentence_for(error, language)), **idle}
                        return
                # The last word and the buttons come in one update: whoever reads it can press Run again.
                if not status.is_error and not (status.is_over and request is requests[-1]):
                    yield updates
                    continue
                if status.is_error:
                    updates[heading] = {"tab": tab.analysis, "id": begun_now, "line": None, "is_over": True}
                if stood_in is not None and stood_in.runs(requests[0]) and not status.is_error:
                    lines = (*status.notice["lines"], stood_in.say(language))
                    updates[controls.status] = notice("warning", *lines)
                if remark is not None and not status.is_error:
                    updates[controls.status] = notice("warning", *updates[controls.status]["lines"], remark)
                yield updates | idle
                return
            if fresh is None:
                return
            answers.append(fresh)

    def show(
        tab: AnyTab, answers: list[AnyAnswer], position: int | None, language: Language, *, is_first: bool = True
    ) -> Updates:
        if len(answers) == 1 and not is_first and tab.show_more is not None and position is None:
            return tab.show_more(answers[0], language)
        if len(answers) == 1:
            found = answers[0]
            updates: Updates = {heading_of[tab.analysis]: describe_question(tab.analysis, found, language)}
            for fit in (one.fit_model for one in tabs if one.fit_model is not None):
                updates |= fit(found.model)
            return updates | tab.show(found, position, language)
        return {} if tab.show_second is None else tab.show_second(answers[0], answers[1], language)

    def run(request: gr.Request, values: Updates) -> Iterator[Updates]:
        language = language_of(request)
        tab = next((tab for tab in tabs if tab.analysis == values[selected]), tabs[0])
        try:
            requests = read_request(tab, values, None)
        except InputError as error:
            yield {controls.status: notice("error", error.say(language)), **idle}
            return
        requests, remark = explain_something(tab, requests, language)
        yield from spaced(run_tab(tab, requests, None, language, values[stand_in], remark))

    def explain_something(
        tab: AnyTab, requests: tuple[AnyRequest, ...], language: Language
    ) -> tuple[tuple[AnyRequest, ...], str | None]:
        """No new token was asked for, perhaps by an example of another tab: then one is written, and that is said."""
        first = requests[0]
        kind = runner.store.kind_of(first.model or runner.store.resolver.default_id())
        is_empty = first.generation.generate == 0 and first.generation.target_text is None
        if not tab.explains or not is_empty or kind is None or not kind.writes:
            return requests, None
        written = replace(first, generation=replace(first.generation, generate=1))
        return (written, *requests[1:]), say("one_token_written", language)

    fit_to_kind(runner, controls, tabs)
    everything = [*buttons, controls.status, last_shared, begun, pinned, *headings]
    everything += [output for tab in tabs for output in tab.outputs]
    outputs = list(dict.fromkeys(everything))
    inputs = {selected, stand_in, *widgets}
    alone = on_the_model()
    runs = [controls.run.click(run, inputs, outputs, **QUIET, **alone)]
    model = controls.settings["model"]
    for button, example in zip(controls.examples, EXAMPLES, strict=True):
        filled = _values_of(example, controls, tabs)
        del filled[model]

        def fill_in(chosen: object, example: Example = example, filled: Updates = filled) -> Updates:
            id = example.model(runner.store, chosen)
            return {
                **filled,
                model: id,
                selected: example.analysis,
                stand_in: example.stand_in(id),
                tab_bar: gr.update(selected=example.analysis),
            }

        fill = button.click(fill_in, model, [model, *filled, selected, stand_in, tab_bar], queue=False, **QUIET)
        runs.append(fill.success(run, inputs, outputs, **QUIET, **alone))
    for button in (controls.run, *controls.examples):
        button.click(None, js=FOLD_ON_PHONE)

    def opener(tab: AnyTab) -> Callable[..., Iterator[Updates]]:
        def open_tab(request: gr.Request, values: Updates) -> Iterator[Updates]:
            """A tab that is opened after a run answers for the same text and token, unless it has already."""
            last, before, position = values[last_shared], values[tab.answer], values[pinned]
            nothing = {last_shared: last}
            if not values[was_elsewhere]:
                yield nothing
                return
            try:
                requests = read_request(tab, values, position)
            except InputError:  # said when Run is pressed
                yield nothing
                return
            if last is None or last != Shared.of(requests[0]):
                yield nothing
            elif before is not None and is_answered(before, requests[0], position):
                follows = tab.follow_pin and position is not None
                yield tab.show(before, position, language_of(request)) if follows else nothing
            else:
                yield from spaced(run_tab(tab, requests, position, language_of(request)))

        return open_tab

    for tab, item in zip(tabs, items, strict=True):
        item.select(None, js=MEASURE_AGAIN, **QUIET)
        chosen_tab = item.select(
            lambda before, name=tab.analysis: (name, before != name),
            selected,
            [selected, was_elsewhere],
            queue=False,
            **QUIET,
        )
        asked = {last_shared, was_elsewhere, tab.answer, pinned, *widgets}
        runs.append(chosen_tab.success(opener(tab), asked, outputs, **QUIET, **alone))

    def frame(messages: Iterator[Updates]) -> Iterator[Updates]:
        yield busy
        for updates in messages:
            yield {**updates, **busy}
        yield idle

    def framed(side: SideRun) -> Callable[..., Iterator[Updates]]:
        @functools.wraps(side.run)  # Gradio reads what it takes
        def run_side(*values: object, **named: object) -> Iterator[Updates]:
            yield from spaced(frame(side.run(*values, **named)))

        return run_side

    for side in (side for tab in tabs for side in tab.side_runs):
        affected = list(dict.fromkeys([*side.outputs, controls.status, *buttons]))
        runs.append(side.listen(framed(side), side.inputs, affected, **QUIET, **alone))

    def say_stopped(request: gr.Request, values: Updates) -> Updates:
        """What was known by then stays, with what it lacks."""
        language = language_of(request)
        name = values[selected]
        answer: AnyAnswer | None = next(values[tab.answer] for tab in tabs if tab.analysis == name)
        over = {heading_of[name]: {"tab": name, "id": values[begun], "line": None, "is_over": True}}
        is_of_this_run = answer is not None and name_question(answer.request) == values[begun]
        missing = getattr(answer.result, "missing", None) if is_of_this_run and answer is not None else None
        lines = [] if missing is None else [missing.say(language)]
        key = "stopped" if is_of_this_run else "stopped_empty" if answer is None else "stopped_before"
        return {controls.status: notice("info", say(key, language), *lines), **idle, **over}

    # Cancelled first and said after it, or a last word of the run would come after "Stopped".
    answers = {selected, begun, *(tab.answer for tab in tabs)}
    for stop in stops:
        cancelled = stop.click(None, cancels=runs)
        cancelled.then(say_stopped, answers, [*buttons, controls.status, *headings], queue=False, **QUIET)

    def greet(request: gr.Request) -> Updates:
        """The page opens on the first experiment, where its answer is known; nothing is computed for that."""
        language = language_of(request)
        choices = {controls.settings["model"]: gr.update(choices=model_choices(runner))}
        empty = {tab.empty: empty_state(tab.analysis, language) for tab in tabs if tab.empty is not None}
        updates: Updates = {controls.status: notice("info", say("ready", language)), **empty, **choices}
        example = EXAMPLES[0]
        tab = next(tab for tab in tabs if tab.analysis == example.analysis)
        try:
            (first,) = requests_of(example, runner.store)
            answer = runner.known(first)
        except InputError:  # said when it is pressed
            return updates
        if answer is None:
            return updates
        known = describe_step(Step("done", 1.0, answer, is_known=True), first, language)
        updates |= _values_of(example, controls, tabs)
        updates[controls.settings["model"]] = gr.update(value=first.model, **choices[controls.settings["model"]])
        updates |= show(tab, [answer], None, language)
        return updates | {controls.status: known, last_shared: Shared.of(first)}

    for tab in tabs:
        asked_with = [*controls.settings.values(), *tab.widgets.values()]
        told = {"fn": None, "inputs": asked_with, "js": tell_settings(tab.analysis), **QUIET}
        gr.on([widget.change for widget in asked_with], **told)
        on_load(**told)
    on_load(None, js=RUN_BY_KEY, **QUIET)
    on_load(None, js=FOLD_ON_PHONE, **QUIET)
    on_load(greet, None, list(dict.fromkeys([*outputs, *widgets])), queue=False, **QUIET)


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


def describe_question(tab: str, answer: AnyAnswer, language: Language) -> Value:
    """The value of the heading above a picture: its text, its model and what else tells it from others."""
    from ui.charts.saliency import method_name

    request, parts = answer.request, [quote_text(answer.request.text, 60), answer.model.id]
    if isinstance(request.settings, SaliencySettings):
        parts.append(method_name(request.settings.method, language))
    if request.generation.sample:
        parts.append(say("sampled", language, seed=request.generation.seed))
    return {
        "tab": tab,
        "id": name_question(request),
        "line": " · ".join(parts),
        "moved": say("settings_moved", language),
    }


def _values_of(example: Example, controls: Controls, tabs: list[AnyTab]) -> Updates:
    """What each widget holds when an example is chosen: the example's value in its own tab, elsewhere the default."""
    values: Updates = {}
    for tab in tabs:
        defaults = {setting.name: setting.default for setting in parameters_of(tab.analysis)}
        own = example.values if tab.analysis == example.analysis else {}
        for name, widget in controls.settings.items():
            values[widget] = example.values.get(name, defaults.get(name))
        for name, widget in tab.widgets.items():
            values[widget] = own.get(name, defaults.get(name, tab.extra_defaults.get(name)))
    return values
