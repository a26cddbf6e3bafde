"""What happens on the page: Run, Stop, the examples and the change of tab. Long work is one generator on a direct click."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator
from dataclasses import replace

import gradio as gr

from analyzers.common.errors import InputError
from analyzers.common.languages import Language
from analyzers.serving.dispatch import AnyAnswer, Step
from analyzers.serving.request import AnyRequest
from analyzers.serving.sharing import SharedRuns
from ui.components.base import empty_state
from ui.components.heading import Heading, tell_settings
from ui.components.notice import notice
from ui.components.top_bar import TopBar, top_bar
from ui.controls import Controls, fit_to_kind
from ui.errors import language_of, sentence_for
from ui.events import index_of
from ui.examples import EXAMPLES, Example, StandIn
from ui.links import asks_for_view
from ui.model_choices import model_choices, second_choices
from ui.opening import find_view
from ui.questions import Shared, ask, describe_question, end_question, is_answered, name_question, values_of
from ui.ready import requests_of
from ui.runs import LATEST, QUIET, LastQuestion, describe_step, follow, on_the_model, tell_missing
from ui.tabs.tab import AnyTab, SideRun
from ui.texts import say
from ui.values import Event, Updates

FOLD_ON_PHONE = """() => {
  if (window.innerWidth < 768) document.querySelector("#sidebar.open .toggle-button, #sidebar .open .toggle-button")?.click();
}"""
"""On a phone the controls lie over the answer: they make way when it is asked for, and when the page opens on one."""
RUN_BY_KEY = """() => document.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) document.querySelector("#run")?.click();
})"""
"""Ctrl+Enter, wherever the visitor is, runs."""

READ_ADDRESS = "() => window.eccolens.given()"
LINK_SECONDS = 10
"""What a link runs by itself takes no longer."""


def on_tab(name: str) -> str:
    """A script for when a tab is seen: the address is its own, and a chart that was hidden while the window changed its size,
    which has measured no width, measures again."""
    return f"""() => {{
  window.eccolens.select_tab("{name}");
  for (const wait of [50, 400]) setTimeout(() => window.dispatchEvent(new Event("resize")), wait);
}}"""


def connect(
    runner: SharedRuns,
    controls: Controls,
    tabs: list[AnyTab],
    items: list[gr.Tab],
    tab_bar: gr.Tabs,
    headings: list[Heading],
    pinned: gr.State,
    bar: TopBar,
    on_load: Callable[..., Event],
) -> None:
    """Set every event that more than one tab has part in."""
    widgets = {*controls.settings.values(), *(widget for tab in tabs for widget in tab.widgets.values())}
    selected = gr.State(tabs[0].analysis)
    was_elsewhere = gr.State(False)  # before a tab was chosen: Gradio also chooses the first one when the page opens
    last_shared = gr.State(None)  # None before the first run
    begun = gr.State(("", 0))  # the name of the last question, and how many answers it has
    address = gr.State(None)  # the query that the page was opened with
    heading_of = {tab.analysis: heading for tab, heading in zip(tabs, headings, strict=True)}
    stand_in = gr.State(None)  # of the last example, where another model runs than it was tried on
    second_models = [tab.second_model for tab in tabs if tab.second_model is not None]
    stops = [controls.stop, controls.stop_here]
    buttons = [controls.run, *stops]
    idle = {controls.run: gr.update(visible=True), **{stop: gr.update(visible=False) for stop in stops}}
    busy = {controls.run: gr.update(visible=False), **{stop: gr.update(visible=True) for stop in stops}}
    nothing = {controls.status: gr.skip()}

    def tab_of(values: Updates) -> AnyTab:
        return next((tab for tab in tabs if tab.analysis == values[selected]), tabs[0])

    def read_request(tab: AnyTab, values: Updates, position: int | None) -> tuple[AnyRequest, ...]:
        """The run, and the one beside it if there is one. Raises InputError."""
        raw = {name: values[widget] for name, widget in (controls.settings | tab.settings).items()}
        return ask(tab, raw, {name: values[widget] for name, widget in tab.extras.items()}, position)

    def run_tab(
        tab: AnyTab,
        requests: tuple[AnyRequest, ...],
        position: int | None,
        asked: LastQuestion,
        language: Language,
        remarks: Callable[[AnyAnswer | None], list[str]] = lambda _: [],
        most_seconds: float = math.inf,
        factor: int | None = None,
    ) -> Iterator[Updates]:
        """A run that is expected to take longer than `most_seconds` waits for Run to be pressed."""
        heading, begun_now = heading_of[tab.analysis], name_question(requests[0])
        # Busy with every word: a run from within a tab, which may end meanwhile, brings the buttons back.
        begins = {heading: {"tab": tab.analysis, "id": begun_now, "line": None}, begun: (begun_now, len(requests))}
        yield {**busy, last_shared: Shared.of(requests[0]), pinned: position, **begins}
        answers: list[AnyAnswer] = []
        for request in requests:
            fresh: AnyAnswer | None = None
            for status in follow(runner, request, language, is_wanted=asked.is_wanted):
                if status.expected is not None and status.expected > most_seconds and status.answer is None:
                    waits = notice("info", say("link_long", language, seconds=f"{status.expected:.0f}"))
                    yield {controls.status: waits, heading: end_question(tab.analysis, begun_now), **idle}
                    return
                updates: Updates = {controls.status: status.notice, **busy}
                if status.answer is not None:
                    is_first, fresh = fresh is None, status.answer
                    try:
                        shown = show(tab, [*answers, fresh], position, language, requests, factor, is_first=is_first)
                        updates |= shown
                    except Exception as error:  # a picture that cannot be drawn is said, and the buttons come back
                        yield {controls.status: notice("error", sentence_for(error, language)), **idle}
                        return
                # The last word and the buttons come in one update: whoever reads it can press Run again.
                if not status.is_error and not (status.is_over and request is requests[-1]):
                    yield updates
                    continue
                if status.is_error:
                    updates[heading] = end_question(tab.analysis, begun_now)
                elif said := remarks(fresh):
                    updates[controls.status] = notice("warning", *status.notice["lines"], *said)
                if tab.afterwards is not None and fresh is not None and not status.is_error:
                    yield updates
                    for more in tab.afterwards([*answers, fresh][0], language):
                        updates |= more
                yield updates | idle
                return
            if fresh is None or not asked.is_wanted():
                return
            answers.append(fresh)

    def show(
        tab: AnyTab,
        answers: list[AnyAnswer],
        position: int | None,
        language: Language,
        requests: tuple[AnyRequest, ...],
        factor: int | None = None,
        *,
        is_first: bool = True,
    ) -> Updates:
        if len(answers) > 1:
            beside = {} if tab.show_second is None else tab.show_second(answers[0], answers[1], language)
            return beside | {heading_of[tab.analysis]: describe_question(answers, requests, None, language)}
        if not is_first and tab.show_more is not None and position is None and answers[0].beside is None:
            return tab.show_more(answers[0], language)
        found = answers[0]
        updates = tab.show(found, position if tab.looks_at == "token" else factor, language)
        for fit in (one.fit_model for one in tabs if one.fit_model is not None):
            updates |= fit(found.model)
        heading = describe_question(answers, requests, updates.get(pinned, position), language)
        return updates | {heading_of[tab.analysis]: heading}

    def run(request: gr.Request, values: Updates) -> Iterator[Updates]:
        language = language_of(request)
        tab = tab_of(values)
        try:
            requests = read_request(tab, values, None)
        except InputError as error:
            yield {controls.status: notice("error", error.say(language)), **idle}
            return
        requests, remark = explain_something(tab, requests, language)
        stood_in: StandIn | None = values[stand_in]
        said = [stood_in.say(language)] if stood_in is not None and stood_in.runs(requests[0]) else []
        said += [] if remark is None else [remark]
        asked = LATEST.begin(request.session_hash)
        yield from asked.in_order(run_tab(tab, requests, None, asked, language, lambda _: said), nothing)

    def open_link(query: object, request: gr.Request) -> Iterator[Updates]:
        """The view that an address asks for. By itself it runs only what is known, or on this machine and short."""
        language = language_of(request)
        if not asks_for_view(query):
            yield nothing
            return
        try:
            view = find_view(query, runner, controls, tabs)
        except InputError as error:
            yield {controls.status: notice("error", say("link_refused", language), error.say(language)), **idle}
            return
        tab = view.tab
        values = {**view.values, selected: tab.analysis, stand_in: None, tab_bar: gr.update(selected=tab.analysis)}
        if view.why_waits is not None:
            waits = notice("warning", view.why_waits(language))
            yield {**values, controls.status: waits, pinned: view.link.pin, **idle}
            return
        yield values
        remarks = functools.partial(view.tell_differences, language)
        asked, pin, factor = LATEST.begin(request.session_hash), view.link.pin, view.link.factor
        steps = run_tab(tab, view.requests, pin, asked, language, remarks, LINK_SECONDS, factor)
        yield from asked.in_order(steps, nothing)

    def follow_link(event: gr.EventData, request: gr.Request) -> Iterator[Updates]:
        """The visitor went to another address: Back, Forward, or one typed by hand."""
        yield from open_link(index_of(event), request)

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

        def fill_in(chosen: object, example: Example = example) -> Updates:
            id = example.model(runner.store, chosen)
            return {
                **values_of(example.analysis, example.values_on(id), controls, tabs),
                model: id,
                selected: example.analysis,
                stand_in: example.stand_in(id),
                tab_bar: gr.update(selected=example.analysis),
            }

        fill = button.click(fill_in, model, [*widgets, selected, stand_in, tab_bar], queue=False, **QUIET)
        runs.append(fill.success(run, inputs, outputs, **QUIET, **alone))
    for button in (controls.run, *controls.examples):
        button.click(None, js=FOLD_ON_PHONE)

    def opener(tab: AnyTab) -> Callable[..., Iterator[Updates]]:
        def open_tab(request: gr.Request, values: Updates) -> Iterator[Updates]:
            """A tab that is opened after a run answers for the same text and token, unless it has already."""
            last, before, position = values[last_shared], values[tab.answer], values[pinned]
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
                asked = LATEST.join(request.session_hash)
                yield from asked.in_order(run_tab(tab, requests, position, asked, language_of(request)), nothing)

        return open_tab

    for tab, item in zip(tabs, items, strict=True):
        item.select(None, js=on_tab(tab.analysis), **QUIET)
        chosen_tab = item.select(
            lambda before, name=tab.analysis: (name, before != name),
            selected,
            [selected, was_elsewhere],
            queue=False,
            **QUIET,
        )
        asked = {last_shared, was_elsewhere, tab.answer, pinned, *widgets}
        runs.append(chosen_tab.success(opener(tab), asked, outputs, **QUIET, **alone))

    def framed(side: SideRun) -> Callable[..., Iterator[Updates]]:
        @functools.wraps(side.run)  # Gradio reads what it takes
        def run_side(*values: object, **named: object) -> Iterator[Updates]:
            yield busy
            for updates in side.run(*values, **named):
                yield {**updates, **busy}
            yield idle

        return run_side

    for side in (side for tab in tabs for side in tab.side_runs):
        affected = list(dict.fromkeys([*side.outputs, controls.status, *buttons]))
        runs.append(side.listen(framed(side), side.inputs, affected, **QUIET, **alone))

    def say_stopped(request: gr.Request, values: Updates) -> Updates:
        """What was known by then stays, with what it lacks."""
        language, tab, (name, n_asked) = language_of(request), tab_of(values), values[begun]
        answer: AnyAnswer | None = values[tab.answer]
        updates = {heading_of[tab.analysis]: end_question(tab.analysis, name)}
        if answer is None or name_question(answer.request) != name:
            key = "stopped_empty" if answer is None else "stopped_before"
            return {**updates, controls.status: notice("info", say(key, language)), **idle}
        if n_asked == 1:  # its last picture may have been on its way, and the page hears nothing of the run any more
            updates |= show(tab, [answer], values[pinned], language, (answer.request,))
        lines = tell_missing(answer, language)
        return {**updates, controls.status: notice("info", say("stopped", language), *lines), **idle}

    # Cancelled first and said after it, or a last word of the run would come after "Stopped".
    answers = {selected, begun, pinned, *(tab.answer for tab in tabs)}
    for stop in stops:
        stop.click(None, cancels=runs).then(say_stopped, answers, outputs, queue=False, **QUIET)

    def greet(query: object, request: gr.Request) -> Updates:
        """The page opens on what its address asks for, which `open_link` then does, else on the first experiment, where its
        answer is known; nothing is computed for that."""
        language = language_of(request)
        choices = {controls.settings["model"]: gr.update(choices=model_choices(runner))}
        choices |= {widget: gr.update(value=None, choices=second_choices(runner)) for widget in second_models}
        empty = {tab.empty: empty_state(tab.analysis, language) for tab in tabs if tab.empty is not None}
        updates: Updates = {controls.status: notice("info", say("ready", language)), **empty, **choices}
        updates |= {address: query, bar: top_bar(language)}
        if asks_for_view(query):
            return updates
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
        updates |= values_of(example.analysis, example.values_on(first.model or ""), controls, tabs) | choices
        updates[controls.settings["model"]] = gr.update(value=first.model, **choices[controls.settings["model"]])
        updates |= show(tab, [answer], None, language, (first,))
        return updates | {controls.status: known, last_shared: Shared.of(first)}

    for tab in tabs:
        asked_with = [*controls.settings.values(), *tab.widgets.values()]
        told = {"fn": None, "inputs": asked_with, "js": tell_settings(tab.analysis), **QUIET}
        gr.on([widget.change for widget in asked_with], **told)
        on_load(**told)
    on_load(None, js=RUN_BY_KEY, **QUIET)
    on_load(None, js=FOLD_ON_PHONE, **QUIET)
    arrived = gr.Textbox(visible=False)  # filled in by the page's script alone
    everywhere = [*outputs, *widgets, *second_models, selected, stand_in, tab_bar, address, bar]
    everywhere = list(dict.fromkeys(everywhere))
    greeted = on_load(greet, arrived, everywhere, js=READ_ADDRESS, queue=False, **QUIET)
    runs.append(greeted.then(open_link, address, everywhere, **QUIET, **alone))
    runs.append(bar.select(follow_link, None, everywhere, **QUIET, **alone))
