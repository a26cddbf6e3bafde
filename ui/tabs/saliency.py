"""The Saliency tab: its settings, the hover strip, and what is shown of the pinned token."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import gradio as gr

from analyzers.common.errors import InputError
from analyzers.common.languages import DEFAULT, Language
from analyzers.common.methods import METHODS
from analyzers.common.parameters import settings_of
from analyzers.common.settings import SaliencySettings
from analyzers.serving.dispatch import Answer, Runner
from ui.components.base import empty_state
from ui.components.heading import Heading
from ui.components.hover_strip import HoverStrip
from ui.components.inputs import OptionalText
from ui.components.notice import Notice, notice
from ui.errors import language_of
from ui.events import index_of, position_of
from ui.i18n import T, label_of
from ui.model_choices import choose_second_model
from ui.runs import QUIET
from ui.tabs.map_comparison import build_map_comparison
from ui.tabs.results import build_results
from ui.tabs.tab import AnyTab, Tab
from ui.texts import say
from ui.values import Mark, Updates

if TYPE_CHECKING:
    from analyzers.saliency import Saliency

    SaliencyAnswer: TypeAlias = Answer[SaliencySettings, Saliency]
else:
    SaliencyAnswer = Answer  # what Gradio reads of a handler, before torch is loaded

COLUMNS = {
    "column_position": "number",
    "column_token": "str",
    "column_id": "number",
    "column_score": "number",
    "column_share": "number",
    "column_hidden": "number",
}
FIRST_TARGET = "log-probability"
"""What the page begins with: with the probability every other map of the default method is flat
(`docs/decisions/first-answer.md`). The command line keeps the probability, as ecco."""
POINTS = (16, 50, 128, 256, 512)


def build_tab(runner: Runner, pinned: gr.State, status: Notice, heading: Heading) -> AnyTab:
    """The widgets, and the handlers that the shared Run does not serve. Called inside `gr.Tab`; `pinned` is the position
    of the predicted token looked at, shared by all tabs."""
    settings, settings_box = _settings(runner)
    heading.render()
    name = Notice(elem_id="saliency-name")
    strip = HoverStrip(empty_state("saliency", DEFAULT), elem_id="saliency-strip")
    second_name = Notice(elem_id="saliency-second-name")
    second_strip = HoverStrip(elem_id="saliency-second-strip")
    answer = gr.State(None)
    with gr.Column(visible=False) as panel:
        chart = gr.Plot(show_label=False, elem_id="saliency-chart")
        results = build_results("saliency", COLUMNS)
        comparison, compare = build_map_comparison(runner, status, answer, pinned)
        with gr.Accordion(T("highlighted"), open=False):
            highlighted = gr.HighlightedText(
                show_label=False,
                combine_adjacent=False,
                show_legend=True,
                interactive=False,
                elem_id="saliency-highlighted",
            )
    with gr.Accordion(T("how_to_read"), open=False):
        gr.Markdown(T("saliency_help"))

    pinned_outputs = [results.check, chart, highlighted, results.table, results.table_rows, *comparison.outputs, pinned]
    pinned_outputs += [name, second_name, second_strip]

    def show(found: SaliencyAnswer, wanted: int | None, language: Language) -> Updates:
        from ui.charts.saliency import name_settings
        from ui.charts.token_strip import strip_value

        explained = found.result.explained
        first = wanted if wanted is not None and wanted in explained else explained[0]
        return {
            strip: strip_value(found.result, language, first, beside=_second_map(found)),
            answer: found,
            panel: gr.update(visible=True),
            settings_box: gr.update(label=name_settings(found.result, language)),
            **show_pinned(found, first, language),
            **show_files(found, language),
        }

    def show_second(found: SaliencyAnswer, position: int, language: Language) -> Updates:
        """The second model's text under the first's, each with its name and its own check."""
        from ui.charts.saliency_beside import find_second_position, first_positions
        from ui.charts.style import tell_model
        from ui.charts.token_strip import strip_value

        if found.beside is None:
            return {name: notice("info"), second_name: notice("info"), second_strip: None}

        there = find_second_position(found, found.beside, position)
        value = strip_value(found.beside.result, language, None if there is None else there[0], beside=found.result)
        value["pins"] = first_positions(found, found.beside)
        return {
            name: notice("info", tell_model(found.model, language)),
            second_name: notice("info", tell_model(found.beside.model, language)),
            second_strip: value,
        }

    def show_more(found: SaliencyAnswer, language: Language) -> Updates:
        from ui.charts.token_strip import strip_value

        if len(found.result.explained) == 1 or METHODS[found.result.method].hides_tokens:
            return show(found, None, language)
        # The first token's map, which is drawn, is not touched by those of the others.
        strip_now = strip_value(found.result, language, None, beside=_second_map(found))
        return {strip: strip_now, answer: found, **show_files(found, language)}

    def show_files(found: SaliencyAnswer, language: Language) -> Updates:
        from ui.charts.saliency import sheet

        both = (found,) if found.beside is None else (found, found.beside)
        is_complete = all(len(one.result.explained) >= len(one.completion.outputs) for one in both)
        return results.show_files(language, *([(one, sheet(one.result)) for one in both] if is_complete else []))

    def show_pinned(found: SaliencyAnswer, position: int, language: Language) -> Updates:
        from ui.charts import saliency as charts
        from ui.charts.saliency_beside import beside_chart, find_second_position

        said, is_passed = charts.tell_check(found.result, position, language)
        there = None if found.beside is None else find_second_position(found, found.beside, position)
        if found.beside is not None and there is not None:  # both maps are drawn, so both are checked
            more, is_too = charts.tell_check(found.beside.result, there[0], language)
            said, is_passed = [*said, *(f"{found.beside.model.id}: {line}" for line in more)], is_passed and is_too
        return {
            **show_second(found, position, language),
            results.check: notice("check", say("checked", language), *said) if is_passed else notice("warning", *said),
            chart: charts.saliency_chart(found.result, position, language)
            if found.beside is None
            else beside_chart(found, found.beside, position, language),
            highlighted: charts.highlight_tokens(found.result, position),
            **show_rows(found, position, None if there is None else there[0], language),
            **comparison.clear(),
            pinned: position,
        }

    def show_rows(found: SaliencyAnswer, position: int, there: int | None, language: Language) -> Updates:
        from ui.charts.saliency import table_rows

        rows = table_rows(found.result, position)
        if found.beside is None or there is None:
            return results.show_table(rows, language)
        second = table_rows(found.beside.result, there)
        return results.show_tables(language, (found.model.id, rows), (found.beside.model.id, second))

    def pin(found: SaliencyAnswer | None, event: gr.EventData, request: gr.Request) -> Updates:
        """Show the token that was clicked in the strip."""
        language = language_of(request)
        if found is None:
            return {results.check: notice("info", say("pinned_none", language))}
        try:
            position = position_of(index_of(event), found.result.explained)
        except InputError as error:
            return {results.check: notice("error", error.say(language))}
        return show_pinned(found, position, language)

    def pin_second(found: SaliencyAnswer | None, event: gr.EventData, request: gr.Request) -> Updates:
        """Show the first model's token for the one of the second that was clicked."""
        from ui.charts.saliency_beside import first_positions

        language = language_of(request)
        if found is None or found.beside is None:
            return {results.check: notice("info", say("pinned_none", language))}
        try:
            there = position_of(index_of(event), found.beside.result.explained)
        except InputError as error:
            return {results.check: notice("error", error.say(language))}
        position = first_positions(found, found.beside)[found.beside.result.row_of(there)]
        if position is None:
            return {results.check: notice("info", say("saliency_beside_none", language, model=found.model.id))}
        from ui.charts.token_strip import strip_value

        again = strip_value(found.result, language, position, beside=_second_map(found))
        return {strip: again, **show_pinned(found, position, language)}

    strip.select(pin, [answer], pinned_outputs, queue=False, **QUIET)
    second_strip.select(pin_second, [answer], [strip, *pinned_outputs], queue=False, **QUIET)
    return Tab(
        analysis="saliency",
        settings=settings,
        answer=answer,
        second_model=settings["beside"],
        empty=strip,
        extra_defaults={"target": FIRST_TARGET},
        follow_pin=True,
        explains=True,
        outputs=[
            strip,
            answer,
            panel,
            settings_box,
            *results.outputs,
            *pinned_outputs,
        ],
        show=show,
        show_more=show_more,
        side_runs=(compare,),
    )


def _settings(runner: Runner) -> tuple[dict[str, gr.components.Component], gr.Accordion]:
    """The widgets of the settings, under the names that the request gate knows."""
    choices = {
        setting.name: [(label_of(f"{setting.name}_{choice}", choice), choice) for choice in setting.choices]
        for setting in settings_of(SaliencySettings)
    }
    first = next(iter(METHODS))
    with gr.Accordion(T("settings"), open=False, elem_classes=["settings-box"]) as box, gr.Row(elem_id="settings-row"):
        method = gr.Dropdown(choices["method"], value=first, label=T("method"), elem_id="method", min_width=200)
        target = gr.Dropdown(choices["target"], value=FIRST_TARGET, label=T("target"), min_width=140)
        contrast = OptionalText(
            label=T("contrast"), placeholder=T("contrast_info"), max_lines=1, min_width=180, elem_id="contrast"
        )
        baseline = gr.Dropdown(choices["baseline"], value="token", label=T("baseline"), min_width=200)
        aggregate = gr.Dropdown(choices["aggregate"], value="l2", label=T("aggregate"), min_width=150)
        counts: list[Mark] = [(T("points_auto"), "auto"), *((str(n), n) for n in POINTS)]
        points = gr.Dropdown(counts, value="auto", label=T("points"), min_width=150, visible=False)
        whole_words = gr.Checkbox(label=T("whole_words"), min_width=140)
        second_model = choose_second_model(runner, "saliency")

    def fit(chosen: object) -> tuple[Updates, ...]:
        """Only what the method uses is shown."""
        row = METHODS.get(chosen) if isinstance(chosen, str) else None
        uses = (True, True, True, True)
        if row is not None:
            uses = (row.uses_baseline, row.integrates, row.hides_tokens, not row.shares_out)
        return tuple(gr.update(visible=is_used) for is_used in uses)

    method.change(fit, method, [baseline, points, whole_words, target], queue=False, **QUIET)
    return {
        "method": method,
        "target": target,
        "contrast": contrast,
        "baseline": baseline,
        "aggregate": aggregate,
        "points": points,
        "whole_words": whole_words,
        "beside": second_model,
    }, box


def _second_map(found: SaliencyAnswer) -> Saliency | None:
    return None if found.beside is None else found.beside.result
