"""The page: shared text, model and generation on the left, the tabs on the right."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import gradio as gr

from analyzers.common.errors import InputError
from analyzers.common.languages import Language
from analyzers.common.limits import LIMITS
from analyzers.serving.dispatch import Answer, Dispatcher
from analyzers.serving.request import COMMON, SETTINGS, Request
from ui.components.base import empty_state
from ui.components.notice import notice
from ui.controls import Controls, build_controls, fit_to_kind
from ui.endpoints import add_endpoints
from ui.errors import language_of, sentence_for
from ui.examples import EXAMPLES, Example, label_of
from ui.gradio_patches import Page
from ui.i18n import I18N, T
from ui.page_request import page_request
from ui.runs import follow
from ui.tabs import layer_predictions, neuron_factors, rankings, saliency
from ui.tabs.tab import Tab
from ui.texts import say
from ui.theme import CSS

TABS = (
    ("saliency", saliency.build_tab),
    ("layer-predictions", layer_predictions.build_tab),
    ("rankings", rankings.build_tab),
    ("neuron-factors", neuron_factors.build_tab),
)
"""Name and builder of each tab, in order. The name is the key of its label and of its analysis."""

FOLD_ON_PHONE = """() => { if (window.innerWidth < 768) document.querySelector("#sidebar .toggle-button")?.click(); }"""
"""On a phone the controls lie over the answer: they make way when it is asked for."""


def launch_options() -> dict[str, Any]:
    """What the app is launched with, everywhere: tests pass the same."""
    return {
        "theme": gr.themes.Default(primary_hue="orange", neutral_hue="zinc", font=["system-ui", "sans-serif"]).set(
            # Gradio's own greys for what explains a control are too faint to read on a projector.
            block_info_text_color="*neutral_600",
            block_info_text_color_dark="*neutral_300",
            block_label_text_color="*neutral_700",
            block_label_text_color_dark="*neutral_200",
            body_text_color_subdued="*neutral_600",
            body_text_color_subdued_dark="*neutral_300",
            input_placeholder_color="*neutral_500",
            input_placeholder_color_dark="*neutral_400",
        ),
        "css": CSS,
        "i18n": I18N,
        "show_error": False,
        "max_file_size": "1mb",
        "enable_monitoring": False,
        "run_history": False,
        "state_session_capacity": 100,
        "footer_links": ["api", "settings"],
    }


def build_app(dispatcher: Dispatcher) -> gr.Blocks:
    """The whole page and its endpoints. Loads no model."""
    with Page(title="Eccolens", analytics_enabled=False, delete_cache=(3600, 7200)) as app:
        with gr.Sidebar(width=380, elem_id="sidebar"):
            controls = build_controls(dispatcher)
        pinned = gr.State(None)
        # Above the tabs and always in view: with the sidebar folded or scrolled, a run still says how it goes.
        with gr.Row(elem_id="bar"):
            controls.status.render()
            controls.stop_here.render()
        tabs: list[Tab] = []
        items: list[gr.Tab] = []
        with gr.Tabs() as tab_bar:
            for name, build in TABS:
                with gr.Tab(T(name), id=name) as item:
                    tabs.append(build(dispatcher, pinned))
                items.append(item)
        _connect(dispatcher, controls, tabs, items, tab_bar, pinned)
        strips = [tab.empty for tab in tabs]

        def greet(request: gr.Request) -> list[Any]:
            language = language_of(request)
            return [notice("info", say("ready", language)), *(empty_state(tab.analysis, language) for tab in tabs)]

        app.load(greet, None, [controls.status, *strips], queue=False, show_progress="hidden", api_visibility="private")
        add_endpoints(dispatcher)
    app.queue(max_size=LIMITS.queue, default_concurrency_limit=4)
    return app


def _connect(
    dispatcher: Dispatcher, controls: Controls, tabs: list[Tab], items: list[gr.Tab], tab_bar: gr.Tabs, pinned: gr.State
) -> None:
    """Run, Stop, the examples and the change of tab. Long work is one generator on a direct click."""
    shared = list(controls.settings)
    own = [(tab, name, widget) for tab in tabs for name, widget in (tab.settings | tab.extras).items()]
    widgets = [*controls.settings.values(), *(widget for _, _, widget in own)]
    selected = gr.State(tabs[0].analysis)
    last_text = gr.State(None)  # what the shared controls asked for last; None before the first run
    stand_in = gr.State(None)  # (what the example was tried on, what runs, its text) where the two differ
    stops = [controls.stop, controls.stop_here]
    idle = {controls.run: gr.update(visible=True), **{stop: gr.update(visible=False) for stop in stops}}
    busy = {controls.run: gr.update(visible=False), **{stop: gr.update(visible=True) for stop in stops}}

    def asked_for(tab: Tab, values: tuple[Any, ...], position: int | None) -> tuple[Request, Request | None]:
        """The run, and the one beside it. Raises InputError."""
        raw = dict(zip(shared, values, strict=False))
        mine = {name: v for (of, name, _), v in zip(own, values[len(shared) :], strict=True) if of is tab}
        if position is not None and any(setting.name == "position" for setting in SETTINGS[tab.analysis]):
            raw["position"] = position
        asked = page_request(tab.analysis, raw | {name: mine[name] for name in tab.settings})
        extras = {name: mine[name] for name in tab.extras}
        return asked, None if tab.second is None else tab.second(asked, extras)

    def run_tab(
        tab: Tab,
        asked: Request,
        second: Request | None,
        position: int | None,
        language: Language,
        stands: tuple[str, str, str] | None = None,
    ) -> Iterator[dict[Any, Any]]:
        yield {
            **busy,
            last_text: (asked.model, asked.text, asked.generation),
            pinned: position,
        }
        first: Answer | None = None
        for each in (asked, second):
            if each is None or (each is second and first is None):
                break
            for said, answer in follow(dispatcher, each, language):
                updates = {controls.status: said}
                if answer is not None:
                    try:
                        if each is asked:
                            updates |= tab.show(answer, position, language)
                        elif tab.show_second is not None and first is not None:
                            updates |= tab.show_second(first, answer, language)
                    except Exception as error:  # a picture that cannot be drawn is said, and the buttons come back
                        yield {controls.status: notice("error", sentence_for(error, language)), **idle}
                        return
                    first = answer if each is asked else first
                # The last word and the buttons come in one update: whoever reads it can press Run again.
                is_last = said["kind"] == "error" or (said["kind"] != "busy" and (each is second or second is None))
                if not is_last:
                    yield updates
                    continue
                if stands is not None and stands[1:] == (asked.model, asked.text) and said["kind"] != "error":
                    told = say("stand_in", language, missed=stands[0], model=label_of(stands[1]))
                    updates[controls.status] = notice("warning", *said["lines"], told)
                yield updates | idle
                return

    def run(request: gr.Request, name: Any, stands: Any, *values: Any) -> Iterator[dict[Any, Any]]:
        language = language_of(request)
        tab = next((tab for tab in tabs if tab.analysis == name), tabs[0])
        try:
            asked, second = asked_for(tab, values, None)
        except InputError as error:
            yield {controls.status: notice("error", error.say(language)), **idle}
            return
        yield from run_tab(tab, asked, second, None, language, stands)

    fit_to_kind(dispatcher, controls, tabs)
    buttons = [controls.run, *stops]
    everything = [*buttons, controls.status, last_text, pinned, *(output for tab in tabs for output in tab.outputs)]
    outputs = list(dict.fromkeys(everything))
    quiet: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
    alone: dict[str, Any] = {"concurrency_id": "model", "concurrency_limit": dispatcher.at_once}
    runs = [controls.run.click(run, [selected, stand_in, *widgets], outputs, **quiet, **alone)]
    for button, example in zip(controls.examples, EXAMPLES, strict=True):
        values = [
            example.values[name] if name in example.values else _default(name, "") for name in shared if name != "model"
        ]
        values += [
            example.values[name]
            if name in example.values and tab.analysis == example.analysis
            else _default(name, tab.analysis)
            for tab, name, _ in own
        ]

        def fill_in(current: Any, example: Example = example, values: list[Any] = values) -> list[Any]:
            model = example.model(dispatcher.store, current)
            missed = example.missed(model)
            stands = None if missed is None else (missed, model, example.values["text"])
            return [model, *values, example.analysis, stands, gr.update(selected=example.analysis)]

        others = [w for w in widgets if w is not controls.settings["model"]]
        fill = button.click(
            fill_in,
            controls.settings["model"],
            [controls.settings["model"], *others, selected, stand_in, tab_bar],
            queue=False,
            **quiet,
        )
        runs.append(fill.success(run, [selected, stand_in, *widgets], outputs, **quiet, **alone))
    for button in (controls.run, *controls.examples):
        button.click(None, js=FOLD_ON_PHONE)

    def opener(tab: Tab) -> Any:
        def opened(
            request: gr.Request, last: Any, before: Answer | None, position: int | None, *values: Any
        ) -> Iterator[dict[Any, Any]]:
            """A tab that is opened after a run answers for the same text and token, unless it has already."""
            try:
                asked, second = asked_for(tab, values, position)
            except InputError:  # said when Run is pressed
                yield {last_text: last}
                return
            if last is None or last != (asked.model, asked.text, asked.generation):
                yield {last_text: last}
            elif before is not None and is_answered(before, asked, position):
                follows = tab.follow_pin and position is not None
                yield tab.show(before, position, language_of(request)) if follows else {last_text: last}
            else:
                yield from run_tab(tab, asked, second, position, language_of(request))

        return opened

    for tab, item in zip(tabs, items, strict=True):
        chosen_tab = item.select(lambda name=tab.analysis: name, None, selected, queue=False, **quiet)
        runs.append(
            chosen_tab.success(opener(tab), [last_text, tab.answer, pinned, *widgets], outputs, **quiet, **alone)
        )

    def stopped(request: gr.Request) -> dict[Any, Any]:
        return {controls.status: notice("info", say("stopped", language_of(request))), **idle}

    # Cancelled first and said after it, or a last word of the run would come after "Stopped".
    for stop in stops:
        cancelled = stop.click(None, cancels=[*runs, *(event for tab in tabs for event in tab.events)])
        cancelled.then(stopped, None, [*buttons, controls.status], queue=False, **quiet)


def is_answered(before: Answer, asked: Request, position: int | None) -> bool:
    """Whether a tab shows what is asked for already: the same request, be the position named or the one it took."""
    if before.request == asked or not hasattr(asked.settings, "position"):
        return before.request == asked
    result = before.result
    watch = getattr(result, "watch", None)
    shown = getattr(result, "position", None) if watch is None else watch.position
    unplaced = replace(asked, settings=replace(asked.settings, position=None))
    return before.request == unplaced and shown in (None, position)


def _default(name: str, analysis: str) -> Any:
    """What a widget holds when an example leaves it alone."""
    page: dict[str, Any] = {
        "contrast": "",
        "target_text": "",
        "hide": "",
        "points": "auto",
        "layer": "all",
        "watch": "",
        "compare": "none",
    }
    page |= {"compare_text": "", "layers": "all", "first_layer": 0, "last_layer": 0, "factors": 8}
    if name in page:
        return page[name]
    return next((s.default for s in (*SETTINGS.get(analysis, ()), *COMMON) if s.name == name), None)
