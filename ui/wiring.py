"""What happens on the page: Run, Stop, the examples and the change of tab. Long work is one generator on a direct click."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import gradio as gr

from analyzers.common.errors import InputError
from analyzers.common.languages import Language
from analyzers.common.settings import LayerPredictionsSettings, RankingsSettings
from analyzers.serving.dispatch import AnyAnswer, Step
from analyzers.serving.request import AnyRequest, parameters_of, parse_request
from analyzers.serving.sharing import SharedRuns
from ui.components.base import empty_state
from ui.components.notice import notice
from ui.controls import Controls, fit_to_kind
from ui.errors import language_of, sentence_for
from ui.examples import EXAMPLES, Example, StandIn
from ui.ready import requests_of
from ui.runs import QUIET, describe_step, follow, on_the_model, spaced
from ui.tabs.tab import AnyTab, SideRun
from ui.texts import say
from ui.values import Event, Updates

FOLD_ON_PHONE = """() => { if (window.innerWidth < 768) document.querySelector("#sidebar .toggle-button")?.click(); }"""
"""On a phone the controls lie over the answer: they make way when it is asked for."""


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
    pinned: gr.State,
    on_load: Callable[..., Event],
) -> None:
    """Set every event that more than one tab has part in."""
    widgets = {*controls.settings.values(), *(widget for tab in tabs for widget in tab.widgets.values())}
    selected = gr.State(tabs[0].analysis)
    was_elsewhere = gr.State(False)  # before a tab was chosen: Gradio also chooses the first one when the page opens
    last_shared = gr.State(None)  # None before the first run
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
    ) -> Iterator[Updates]:
        # Busy with every word: a run from within a tab, which may end meanwhile, brings the buttons back.
        yield {**busy, last_shared: Shared.of(requests[0]), pinned: position}
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
                if stood_in is not None and stood_in.runs(requests[0]) and not status.is_error:
                    lines = (*status.notice["lines"], stood_in.say(language))
                    updates[controls.status] = notice("warning", *lines)
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
            return tab.show(answers[0], position, language)
        return {} if tab.show_second is None else tab.show_second(answers[0], answers[1], language)

    def run(request: gr.Request, values: Updates) -> Iterator[Updates]:
        language = language_of(request)
        tab = next((tab for tab in tabs if tab.analysis == values[selected]), tabs[0])
        try:
            requests = read_request(tab, values, None)
        except InputError as error:
            yield {controls.status: notice("error", error.say(language)), **idle}
            return
        yield from spaced(run_tab(tab, requests, None, language, values[stand_in]))

    fit_to_kind(runner, controls, tabs)
    everything = [*buttons, controls.status, last_shared, pinned, *(output for tab in tabs for output in tab.outputs)]
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
        answer: AnyAnswer | None = next(values[tab.answer] for tab in tabs if tab.analysis == values[selected])
        missing = None if answer is None or answer.is_whole else getattr(answer.result, "missing", None)
        lines = [] if missing is None else [missing.say(language)]
        return {controls.status: notice("info", say("stopped", language), *lines), **idle}

    # Cancelled first and said after it, or a last word of the run would come after "Stopped".
    answers = {selected, *(tab.answer for tab in tabs)}
    for stop in stops:
        cancelled = stop.click(None, cancels=runs)
        cancelled.then(say_stopped, answers, [*buttons, controls.status], queue=False, **QUIET)

    def greet(request: gr.Request) -> Updates:
        """The page opens on the first experiment, where its answer is known; nothing is computed for that."""
        language = language_of(request)
        empty = {tab.empty: empty_state(tab.analysis, language) for tab in tabs if tab.empty is not None}
        updates: Updates = {controls.status: notice("info", say("ready", language)), **empty}
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
        updates |= _values_of(example, controls, tabs) | {controls.settings["model"]: first.model}
        updates |= show(tab, [answer], None, language)
        return updates | {controls.status: known, last_shared: Shared.of(first)}

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
