"""The Layer Predictions tab: what each layer would have said, at one position and over the whole text."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import gradio as gr

from analyzers.common.errors import InputError
from analyzers.common.languages import Language
from analyzers.common.settings import MOST_PREDICTIONS, LayerPredictionsSettings
from analyzers.serving.dispatch import Answer, Dispatcher
from analyzers.serving.document import document
from analyzers.serving.request import parse_request
from ui.components.base import empty_state
from ui.components.hover_strip import HoverStrip
from ui.components.lens_grid import LensGrid
from ui.components.notice import Notice, notice
from ui.downloads import DOWNLOADS
from ui.errors import language_of
from ui.events import index_of
from ui.i18n import T
from ui.runs import follow
from ui.tabs.lens_tabs import comparison_widgets, move_on_select, second_request
from ui.tabs.tab import Tab
from ui.texts import say

MOST_LAYERS = 96
HEADERS = ("column_layer", "column_rank", "column_token", "column_id", "column_probability")


def build_tab(dispatcher: Dispatcher, pinned: gr.State) -> Tab:
    """The widgets and the handlers that the shared Run does not serve. Called inside `gr.Tab`."""
    with gr.Accordion(T("options"), open=True), gr.Row():
        top = gr.Slider(1, MOST_PREDICTIONS, value=10, step=1, label=T("top"), min_width=180)
        layers: list[Any] = [(T("layer_all"), "all"), (T("layer_last"), "last"), (T("layer_embedding"), -1)]
        layer = gr.Dropdown([*layers, *((str(n), n) for n in range(MOST_LAYERS))], value="all", label=T("layer"))
        extras = comparison_widgets()
    strip = HoverStrip(empty_state("layer-predictions", "en"), elem_id="predictions-strip")
    line = Notice(elem_id="predictions-line")
    answer = gr.State(None)
    warning = Notice(elem_id="predictions-warning")
    with gr.Row():
        chart = gr.Plot(show_label=False, visible=False, elem_id="predictions-chart")
        beside = gr.Plot(show_label=False, visible=False, elem_id="predictions-beside")
    with gr.Column(visible=False) as panel:
        with gr.Accordion(T("table"), open=False):
            table = gr.Dataframe(
                headers=[say(key, "en") for key in HEADERS],
                datatype=["str", "number", "str", "number", "number"],
                interactive=False,
                show_search="search",
                buttons=["fullscreen", "copy"],
                max_height=420,
                show_label=False,
            )
        with gr.Row():
            csv_file = gr.DownloadButton(T("download_csv"), size="sm")
            json_file = gr.DownloadButton(T("download_json"), size="sm")
        with gr.Accordion(T("overview"), open=False):
            read_all = gr.Button(T("overview_run"), size="sm", elem_id="overview-run")
            overview_line = Notice(elem_id="overview-line")
            grid = LensGrid(elem_id="overview-grid")
            cell = Notice(elem_id="overview-cell")
    with gr.Accordion(T("how_to_read"), open=False):
        gr.Markdown(T("layer-predictions_help"))

    def show(found: Answer, _wanted: int | None, language: Language) -> dict[Any, Any]:
        from ui.charts import layer_predictions as charts

        result = found.result
        return {
            strip: _strip(found, language),
            line: notice("info", charts.line(result, language)),
            answer: found,
            pinned: result.position,
            chart: gr.update(value=charts.predictions_chart(result, language), visible=True),
            beside: gr.update(visible=False),
            warning: notice("info"),
            panel: gr.update(visible=True),
            table: gr.update(
                value={
                    "headers": [say(key, language) for key in HEADERS],
                    "data": charts.table_rows(result, language),
                }
            ),
            csv_file: DOWNLOADS.save("layer_predictions.csv", charts.csv_text(result)),
            json_file: DOWNLOADS.save(
                "layer_predictions.json", json.dumps(document(found, language), ensure_ascii=False, indent=1)
            ),
        }

    def show_fresh(found: Answer, wanted: int | None, language: Language) -> dict[Any, Any]:
        """As `show`, for a run: a grid of what was there before would not belong to it."""
        return {**show(found, wanted, language), grid: None, overview_line: notice("info"), cell: notice("info")}

    def show_second(first: Answer, second: Answer, language: Language) -> dict[Any, Any]:
        from ui.charts import layer_predictions as charts

        without = second.result.without_final_norm
        differ = first.request.text != second.request.text
        pictures: dict[Any, Any] = {
            plot: gr.update(
                value=charts.predictions_chart(
                    found.result, language, compact=True, text=found.request.text if differ else None
                ),
                visible=True,
            )
            for plot, found in ((chart, first), (beside, second))
        }
        return pictures | {
            warning: notice("warning", say("norm_warning", language)) if without else notice("info"),
        }

    def read_overview(found: Answer | None, request: gr.Request) -> Iterator[dict[Any, Any]]:
        """The top token of every layer at every position."""
        from ui.charts.layer_predictions import overview_grid

        language = language_of(request)
        if found is None:
            yield {overview_line: notice("info", say("pinned_none", language))}
            return
        asked = replace(found.request, analysis="layer-overview", settings=LayerPredictionsSettings())
        for said, fresh in follow(dispatcher, asked, language):
            yield {overview_line: said} | (
                {grid: overview_grid(fresh.result, language, found.result.position)} if fresh is not None else {}
            )

    def read_cell(found: Answer | None, request: gr.Request, event: gr.EventData) -> Iterator[dict[Any, Any]]:
        """The ten likeliest tokens of one cell."""
        language = language_of(request)
        place = index_of(event)
        if found is None or not isinstance(place, list) or len(place) != 2:
            yield {cell: notice("info", say("pinned_none", language))}
            return
        try:
            raw = {"text": found.request.text, "layer": place[0], "position": place[1]}
            settings = parse_request("layer-predictions", raw).settings
        except InputError as error:
            yield {cell: notice("error", error.say(language))}
            return
        for said, fresh in follow(dispatcher, replace(found.request, settings=settings), language):
            if fresh is not None:
                yield {cell: _cell_notice(fresh, language)}
            elif said["kind"] == "error":
                yield {cell: said}

    outputs = [strip, line, answer, pinned, chart, beside, warning, panel, table, csv_file, json_file]
    quiet: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
    alone: dict[str, Any] = {"concurrency_id": "model", "concurrency_limit": dispatcher.at_once}
    return Tab(
        analysis="layer-predictions",
        settings={"top": top, "layer": layer},
        answer=answer,
        empty=strip,
        outputs=[*outputs, grid, overview_line, cell],
        show=show_fresh,
        extras=extras,
        second=second_request,
        show_second=show_second,
        events=(
            move_on_select(dispatcher, strip, line, answer, pinned, outputs, show, extras, show_second),
            read_all.click(read_overview, [answer], [overview_line, grid], **quiet, **alone),
            grid.select(read_cell, [answer], [cell], **quiet, **alone),
        ),
    )


def _strip(found: Answer, language: Language) -> dict[str, Any]:
    from ui.charts.token_strip import position_readings, reading_strip

    completion = found.completion
    return reading_strip(
        completion.tokens,
        position_readings(completion, language),
        language,
        pinned=found.result.position,
        said=completion.answers,
        next_token=completion.n_positions in completion.predictable_positions,
    )


def _cell_notice(found: Answer, language: Language) -> dict[str, Any]:
    from ui.charts.layer_predictions import layer_name, percent, rows

    result = found.result
    head = say("cell_title", language, layer=layer_name(result.layers[0], language), position=result.position)
    return notice(
        "info", head, *(f"{row['rank']}. {row['token']} · {percent(row['probability'])}" for row in rows(result))
    )
