"""The Layer Predictions tab: what each layer would have said, at one position and over the whole text."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, TypeAlias

import gradio as gr

from analyzers.common.errors import InputError
from analyzers.common.languages import DEFAULT, Language
from analyzers.common.settings import MOST_PREDICTIONS, LayerPredictionsSettings
from analyzers.serving.dispatch import Answer, AnyAnswer, Runner
from analyzers.serving.request import parse_request
from ui.components.base import empty_state
from ui.components.heading import Heading
from ui.components.hover_strip import HoverStrip
from ui.components.inputs import LayerChoice
from ui.components.lens_grid import LensGrid
from ui.components.notice import Notice, notice
from ui.errors import language_of
from ui.events import index_of
from ui.i18n import T
from ui.model_choices import choose_second_model
from ui.runs import follow, report
from ui.tabs.lens_tabs import SIDE_BY_SIDE, comparison_widgets, move_on_select, second_request, tell_check, warn_of_norm
from ui.tabs.results import build_results
from ui.tabs.tab import AnyTab, SideRun, Tab
from ui.texts import say
from ui.values import Mark, Updates, Value

if TYPE_CHECKING:
    from analyzers.layer_predictions import LayerOverview, LayerPredictions

    PredictionsAnswer: TypeAlias = Answer[LayerPredictionsSettings, LayerPredictions]
else:
    PredictionsAnswer = Answer  # what Gradio reads of a handler, before torch is loaded

SHORT_SECONDS = 2.0
"""The whole text is read unasked where that is expected to take no longer."""
DRAW_SECONDS = 0.15
"""That a browser on the same machine has to draw the picture, before the whole text is read and takes its cores."""
COLUMNS = {
    "column_layer": "str",
    "column_rank": "number",
    "column_token": "str",
    "column_id": "number",
    "column_probability": "number",
}


def build_tab(runner: Runner, pinned: gr.State, status: Notice, heading: Heading) -> AnyTab:
    """The widgets and the handlers that the shared Run does not serve. Called inside `gr.Tab`."""
    with gr.Accordion(T("options"), open=False, elem_classes=["settings-box"]) as box, gr.Row():
        with gr.Column(min_width=240):
            top = gr.Slider(1, MOST_PREDICTIONS, value=10, step=1, label=T("top"))
            layers: list[Mark] = [(T("layer_all"), "all"), (T("layer_last"), "last"), (T("layer_embedding"), -1)]
            layer = LayerChoice(layers, value="all", label=T("layer"), allow_custom_value=True, elem_id="layer")
            after_attention = gr.Checkbox(label=T("after_attention"), info=T("after_attention_info"))
        with gr.Column(min_width=240):
            second_model = choose_second_model(runner, "layer-predictions")
            extras = comparison_widgets(second_model)
    heading.render()
    strip = HoverStrip(empty_state("layer-predictions", DEFAULT), elem_id="predictions-strip")
    line = Notice(elem_id="predictions-line")
    answer = gr.State(None)
    warning = Notice(elem_id="predictions-warning")
    read_all = gr.Button(T("overview_run"), size="sm", visible=False, elem_id="overview-run")
    overview_line = Notice(elem_id="overview-line")
    with gr.Row(elem_classes=["lens"]):
        grid = LensGrid(elem_id="overview-grid")
        cell = Notice(elem_id="overview-cell")
    with gr.Row():
        chart = gr.Plot(show_label=False, visible=False, min_width=SIDE_BY_SIDE, elem_id="predictions-chart")
        beside = gr.Plot(show_label=False, visible=False, min_width=SIDE_BY_SIDE, elem_id="predictions-beside")
    with gr.Column(visible=False) as panel:
        results = build_results("layer_predictions", COLUMNS)
    with gr.Accordion(T("how_to_read"), open=False):
        gr.Markdown(T("layer-predictions_help"))

    def show(found: PredictionsAnswer, _wanted: int | None, language: Language) -> Updates:
        from ui.charts import layer_predictions as charts

        result = found.result
        return {
            strip: _strip(found, language),
            line: notice("info", charts.finding(result, language)),
            answer: found,
            pinned: result.position,
            chart: gr.update(value=charts.predictions_chart(result, language), visible=True),
            beside: gr.update(visible=False),
            warning: notice("info"),
            cell: _ten(result, language),
            panel: gr.update(visible=True),
            box: gr.update(label=charts.name_settings(result, language)),
            results.check: tell_check(found, language),
            **results.show_table(charts.table_rows(result, language), language),
            **results.show_files(language, (found, charts.sheet(result))),
        } | (show_second(found, found.beside, language) if found.beside is not None else {})

    def show_fresh(found: PredictionsAnswer, wanted: int | None, language: Language) -> Updates:
        """As `show`, for a run: the grid of another text makes room for that of this one."""
        from ui.charts.layer_predictions import grid_outline

        is_read = len(found.result.layers) > 1
        outline = grid_outline(found.result, found.completion, language) if is_read else None
        no_button = {read_all: gr.update(visible=False), overview_line: notice("info")}
        return {**show(found, wanted, language), grid: outline, **no_button}

    def read_short(found: PredictionsAnswer, language: Language) -> Iterator[Updates]:
        """The whole text after its answer; a long one waits for a click."""
        from ui.charts.layer_predictions import overview_grid

        if len(found.result.layers) == 1:
            return
        asked = found.request.ask("layer-overview", LayerPredictionsSettings())
        time.sleep(DRAW_SECONDS)
        for said in follow(runner, asked, language, SHORT_SECONDS):
            # Nothing is computed by then.
            is_long = said.expected is not None and said.expected > SHORT_SECONDS and said.answer is None
            if is_long or said.is_error:
                yield {grid: None, read_all: gr.update(visible=True)}
                return
            if said.answer is not None:
                yield {grid: overview_grid(_overview(said.answer), language, found.result.position)}

    def show_second(first: PredictionsAnswer, second: PredictionsAnswer, language: Language) -> Updates:
        from ui.charts import layer_predictions as charts
        from ui.charts.findings import findings
        from ui.charts.style import name_beside, name_reading

        both = ((first, second), (second, first))
        deepest = max(len(first.result.layers), len(second.result.layers))
        pictures: Updates = {
            plot: gr.update(
                value=charts.predictions_chart(
                    found.result, language, compact=True, name=name_beside(found, other, language), deepest=deepest
                ),
                visible=True,
            )
            for plot, (found, other) in zip((chart, beside), both, strict=True)
        }
        files = results.show_files(language, *((found, charts.sheet(found.result)) for found in (first, second)))
        tables = [(name_reading(*pair, language), charts.table_rows(pair[0].result, language)) for pair in both]
        said = {warning: warn_of_norm(second, language), line: notice("info", *findings([first, second], language))}
        return pictures | files | results.show_tables(language, *tables) | said

    def read_overview(found: PredictionsAnswer | None, request: gr.Request) -> Iterator[Updates]:
        """The top token of every layer at every position."""
        language = language_of(request)
        if found is None:
            yield {overview_line: notice("info", say("pinned_none", language))}
            return
        position = found.result.position

        def show_grid(fresh: AnyAnswer) -> Updates:
            from ui.charts.layer_predictions import overview_grid

            return {grid: overview_grid(_overview(fresh), language, position)}

        asked = found.request.ask("layer-overview", LayerPredictionsSettings())
        yield from report(runner, asked, language, status, show_grid)

    def read_cell(found: PredictionsAnswer | None, request: gr.Request, event: gr.EventData) -> Iterator[Updates]:
        """The ten likeliest tokens of one cell."""
        language = language_of(request)
        place = index_of(event)
        if found is None or not isinstance(place, list) or len(place) != 2:
            yield {cell: notice("info", say("pinned_none", language))}
            return
        try:
            raw = {"text": found.request.text, "layer": place[0], "position": place[1]}
            asked = found.request.ask(found.request.analysis, parse_request(found.request.analysis, raw).settings)
        except InputError as error:
            yield {cell: notice("error", error.say(language))}
            return
        yield from report(runner, asked, language, status, lambda fresh: {cell: _ten(fresh.result, language)})

    outputs = [strip, line, answer, pinned, chart, beside, warning, cell, panel, box, *results.outputs]
    return Tab(
        analysis="layer-predictions",
        settings={"top": top, "layer": layer, "after_attention": after_attention, "beside": second_model},
        answer=answer,
        second_model=second_model,
        empty=strip,
        outputs=[*outputs, layer, grid, read_all, overview_line],
        fit_model=lambda model: {layer: gr.update(choices=[*layers, *((str(n), n) for n in range(model.n_layers))])},
        show=show_fresh,
        afterwards=read_short,
        extras=extras,
        extra_defaults={"compare": "none", "compare_text": ""},
        second=second_request,
        show_second=show_second,
        side_runs=(
            move_on_select(runner, strip, line, status, answer, pinned, outputs, show, extras, show_second),
            SideRun(read_all.click, read_overview, [answer], [overview_line, grid]),
            SideRun(grid.select, read_cell, [answer], [cell]),
        ),
    )


def _strip(found: PredictionsAnswer, language: Language) -> Value:
    from ui.charts.token_strip import build_reading_strip, position_readings

    completion = found.completion
    return build_reading_strip(
        completion.tokens,
        position_readings(completion, language),
        language,
        pinned=found.result.position,
        answers=completion.answers,
        written=[token.position for token in completion.outputs],
        next_token=completion.n_positions in completion.predictable_positions,
    )


def _overview(found: AnyAnswer) -> LayerOverview:
    from analyzers.layer_predictions import LayerOverview

    assert isinstance(found.result, LayerOverview)
    return found.result


def _ten(result: object, language: Language) -> Value:
    """What the last layer that was read says, the likeliest first."""
    from analyzers.layer_predictions import LayerPredictions
    from ui.charts.layer_predictions import layer_name, rows
    from ui.charts.style import percent

    assert isinstance(result, LayerPredictions)
    last = result.layers[-1]
    head = say("cell_title", language, layer=layer_name(last, language), position=result.position)
    said = [row for row in rows(result) if row["layer"] == last]
    return notice("info", head, *(f"{row['rank']}. {row['token']} · {percent(row['probability'])}" for row in said))
