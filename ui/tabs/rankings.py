"""The Rankings tab: how the written tokens, and watched ones, climb through the layers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, TypeAlias

import gradio as gr

from analyzers.common.languages import DEFAULT, Language
from analyzers.common.settings import RankingsSettings
from analyzers.serving.dispatch import Answer, Runner
from ui.components.base import empty_state
from ui.components.heading import Heading
from ui.components.hover_strip import HoverStrip
from ui.components.inputs import Words
from ui.components.notice import Notice, notice
from ui.i18n import T
from ui.model_choices import choose_second_model
from ui.runs import QUIET
from ui.tabs.lens_tabs import SIDE_BY_SIDE, comparison_widgets, move_on_select, second_request, tell_check, warn_of_norm
from ui.tabs.results import build_results
from ui.tabs.tab import AnyTab, Tab
from ui.texts import say
from ui.values import Updates, Value

if TYPE_CHECKING:
    from analyzers.rankings import Rankings

    RankingsAnswer: TypeAlias = Answer[RankingsSettings, Rankings]

COLUMNS = {
    "column_layer": "number",
    "column_position": "number",
    "column_token": "str",
    "column_rank": "number",
    "column_ties": "number",
}


def build_tab(runner: Runner, pinned: gr.State, status: Notice, heading: Heading) -> AnyTab:
    """The widgets and the handlers that the shared Run does not serve. Called inside `gr.Tab`."""
    with gr.Accordion(T("options"), open=False, elem_classes=["settings-box"]) as box, gr.Row():
        with gr.Column(min_width=240):
            watch = Words(label=T("watch"), info=T("watch_info"), lines=2, max_lines=16, elem_id="watch")
            spacing = gr.Button(T("watch_spacing"), size="sm")
        with gr.Column(min_width=240):
            after_attention = gr.Checkbox(label=T("after_attention"), info=T("after_attention_info"))
            second_model = choose_second_model(runner, "rankings")
            extras = comparison_widgets(second_model)
    heading.render()
    strip = HoverStrip(empty_state("rankings", DEFAULT), elem_id="rankings-strip")
    line = Notice(elem_id="rankings-line")
    chips = Notice(elem_id="rankings-chips")
    answer = gr.State(None)
    warning = Notice(elem_id="rankings-warning")
    with gr.Row():
        watched = gr.Plot(show_label=False, visible=False, min_width=SIDE_BY_SIDE, elem_id="watch-chart")
        watched_beside = gr.Plot(show_label=False, visible=False, min_width=SIDE_BY_SIDE)
    with gr.Column():  # one under the other: all layers of both stand on the page
        chart = gr.Plot(show_label=False, visible=False, elem_id="rankings-chart")
        beside = gr.Plot(show_label=False, visible=False, elem_id="rankings-beside")
    with gr.Column(visible=False) as panel:
        results = build_results("rankings", COLUMNS)
    with gr.Accordion(T("how_to_read"), open=False):
        gr.Markdown(T("rankings_help"))

    def show(found: RankingsAnswer, wanted: int | None, language: Language) -> Updates:
        from ui.charts import rankings as charts

        result = found.result
        first = result.outputs[0].position if result.outputs else None
        position = result.watch.position if result.watch is not None else wanted or first
        lines_chart = charts.watch_chart(result, language)
        updates: Updates = {
            strip: charts.commitment_strip(result, language, position),
            line: tell_findings([found], language),
            chips: notice("info", *charts.chips(result, language)),
            answer: found,
            pinned: position,
            watched: gr.update(value=lines_chart, visible=lines_chart is not None),
            watched_beside: gr.update(visible=False),
            beside: gr.update(visible=False),
            warning: notice("info"),
            panel: gr.update(visible=True),
            box: gr.update(label=charts.name_settings(result, language)),
            results.check: tell_check(found, language),
            **results.show_table(charts.table_rows(result), language),
        }
        if result.outputs:
            updates[chart] = gr.update(value=charts.rankings_chart(result, language), visible=True)
        else:
            updates[chart] = gr.update(visible=False)
        is_complete = result.commitment_all is not None
        updates |= results.show_files(language, *([(found, charts.sheet(result))] if is_complete else []))
        return updates | (show_second(found, found.beside, language) if found.beside is not None else {})

    def show_second(first: RankingsAnswer, second: RankingsAnswer, language: Language) -> Updates:
        from ui.charts import rankings as charts
        from ui.charts.style import name_beside, name_reading

        both = ((first, second), (second, first))
        pictures: Updates = {line: tell_findings([first, second], language)}
        deepest = max(len(first.result.ranks), len(second.result.ranks))
        for (found, other), heat, lines in zip(both, (chart, beside), (watched, watched_beside), strict=True):
            result, name = found.result, name_beside(found, other, language)
            lines_chart = charts.watch_chart(result, language, name)
            pictures[lines] = gr.update(value=lines_chart, visible=lines_chart is not None)
            heat_map = charts.rankings_chart(result, language, name, deepest) if result.outputs else None
            pictures[heat] = gr.update(value=heat_map, visible=heat_map is not None)
        whole = all(found.result.commitment_all is not None for found in (first, second))
        sheets = [(found, charts.sheet(found.result)) for found in (first, second) if whole]
        tables = [(name_reading(*pair, language), charts.table_rows(pair[0].result)) for pair in both]
        pictures |= results.show_tables(language, *tables)
        return pictures | results.show_files(language, *sheets) | {warning: warn_of_norm(second, language)}

    def add_spacing(words: list[str]) -> list[str]:
        """Each word with its leading space and without, in the order written."""
        both = [variant for word in words for variant in (word, word[1:] if word.startswith(" ") else f" {word}")]
        return [variant for variant in dict.fromkeys(both) if variant.strip()]

    spacing.click(add_spacing, watch, watch, queue=False, **QUIET)
    outputs = [strip, line, chips, answer, pinned, watched, watched_beside, chart, beside, warning, panel, box]
    outputs += results.outputs
    return Tab(
        analysis="rankings",
        settings={"watch": watch, "after_attention": after_attention, "beside": second_model},
        answer=answer,
        second_model=second_model,
        empty=strip,
        outputs=outputs,
        show=show,
        extras=extras,
        extra_defaults={"compare": "none", "compare_text": ""},
        second=second_request,
        show_second=show_second,
        side_runs=(move_on_select(runner, strip, line, status, answer, pinned, outputs, show, extras, show_second),),
    )


def tell_findings(answers: Sequence[RankingsAnswer], language: Language) -> Value:
    """What the pictures show, and why there is none where no token was written."""
    from ui.charts.findings import findings

    said = findings(answers, language)
    if not any(found.result.outputs for found in answers):
        said.append(say("rankings_none", language))
    return notice("info", *said)
