"""The Rankings tab: how the written tokens, and watched ones, climb through the layers."""

from __future__ import annotations

import json
from typing import Any

import gradio as gr

from analyzers.common.languages import Language
from analyzers.serving.dispatch import Answer, Dispatcher
from analyzers.serving.document import document
from ui.components.base import empty_state
from ui.components.hover_strip import HoverStrip
from ui.components.notice import Notice, notice
from ui.downloads import DOWNLOADS
from ui.i18n import T
from ui.page_request import watched_words
from ui.tabs.lens_tabs import comparison_widgets, move_on_select, second_request
from ui.tabs.tab import Tab
from ui.texts import say

HEADERS = ("column_layer", "column_position", "column_token", "column_rank", "column_ties")


def build_tab(dispatcher: Dispatcher, pinned: gr.State) -> Tab:
    """The widgets and the handlers that the shared Run does not serve. Called inside `gr.Tab`."""
    with gr.Accordion(T("options"), open=True), gr.Row():
        with gr.Column(min_width=240):
            watch = gr.Textbox(label=T("watch"), info=T("watch_info"), lines=2, max_lines=16, elem_id="watch")
            spacing = gr.Button(T("watch_spacing"), size="sm")
        with gr.Column(min_width=240):
            extras = comparison_widgets()
    strip = HoverStrip(empty_state("rankings", "en"), elem_id="rankings-strip")
    line = Notice(elem_id="rankings-line")
    chips = Notice(elem_id="rankings-chips")
    answer = gr.State(None)
    warning = Notice(elem_id="rankings-warning")
    with gr.Row():
        watched = gr.Plot(show_label=False, visible=False, elem_id="watch-chart")
        watched_beside = gr.Plot(show_label=False, visible=False)
    with gr.Row():
        chart = gr.Plot(show_label=False, visible=False, elem_id="rankings-chart")
        beside = gr.Plot(show_label=False, visible=False)
    with gr.Column(visible=False) as panel:
        with gr.Accordion(T("table"), open=False):
            table = gr.Dataframe(
                headers=[say(key, "en") for key in HEADERS],
                datatype=["number", "number", "str", "number", "number"],
                interactive=False,
                show_search="search",
                buttons=["fullscreen", "copy"],
                max_height=420,
                show_label=False,
            )
        with gr.Row():
            csv_file = gr.DownloadButton(T("download_csv"), size="sm")
            json_file = gr.DownloadButton(T("download_json"), size="sm")
    with gr.Accordion(T("how_to_read"), open=False):
        gr.Markdown(T("rankings_help"))

    def show(found: Answer, wanted: int | None, language: Language) -> dict[Any, Any]:
        from ui.charts import rankings as charts

        result = found.result
        first = result.outputs[0].position if result.outputs else None
        position = result.watch.position if result.watch is not None else wanted or first
        lines_chart = charts.watch_chart(result, language)
        updates: dict[Any, Any] = {
            strip: charts.commitment_strip(result, language, position),
            line: notice("info", charts.line(result, language)),
            chips: notice("info", *charts.chips(result)),
            answer: found,
            pinned: position,
            watched: gr.update(value=lines_chart, visible=lines_chart is not None),
            watched_beside: gr.update(visible=False),
            beside: gr.update(visible=False),
            warning: notice("info"),
            panel: gr.update(visible=True),
            table: gr.update(
                value={"headers": [say(key, language) for key in HEADERS], "data": charts.table_rows(result)}
            ),
        }
        if result.outputs:
            updates[chart] = gr.update(value=charts.rankings_chart(result, language), visible=True)
        else:
            updates[chart] = gr.update(visible=False)
            updates[line] = notice("info", charts.line(result, language), say("rankings_none", language))
        updates[csv_file] = updates[json_file] = None  # never those of an earlier run
        if result.commitment_all is not None:
            updates[csv_file] = DOWNLOADS.save("rankings.csv", charts.csv_text(result))
            updates[json_file] = DOWNLOADS.save(
                "rankings.json", json.dumps(document(found, language), ensure_ascii=False, indent=1)
            )
        return updates

    def show_second(first: Answer, second: Answer, language: Language) -> dict[Any, Any]:
        from ui.charts import rankings as charts

        pictures: dict[Any, Any] = {}
        differ = first.request.text != second.request.text
        for found, heat, lines in ((first, chart, watched), (second, beside, watched_beside)):
            result, text = found.result, found.request.text if differ else None
            lines_chart = charts.watch_chart(result, language, text)
            pictures[lines] = gr.update(value=lines_chart, visible=lines_chart is not None)
            heat_map = charts.rankings_chart(result, language, text) if result.outputs else None
            pictures[heat] = gr.update(value=heat_map, visible=heat_map is not None)
        without = second.result.without_final_norm
        return pictures | {
            warning: notice("warning", say("norm_warning", language)) if without else notice("info"),
        }

    def add_spacing(text: Any) -> str:
        """Each word with its leading space and without, in the order written."""
        words = watched_words(text if isinstance(text, str) else "")
        both = [variant for word in words for variant in (word, word[1:] if word.startswith(" ") else f" {word}")]
        return "\n".join(dict.fromkeys(variant for variant in both if variant.strip()))

    spacing.click(add_spacing, watch, watch, show_progress="hidden", queue=False, api_visibility="private")
    outputs = [strip, line, chips, answer, pinned, watched, watched_beside, chart, beside, warning, panel, table]
    outputs += [csv_file, json_file]
    return Tab(
        analysis="rankings",
        settings={"watch": watch},
        answer=answer,
        empty=strip,
        outputs=outputs,
        show=show,
        extras=extras,
        second=second_request,
        show_second=show_second,
        events=(move_on_select(dispatcher, strip, line, answer, pinned, outputs, show, extras, show_second),),
    )
