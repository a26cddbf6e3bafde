"""The Neuron Factors tab: which neurons fire together, what turning them down changes, and three layers compared."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import gradio as gr

from analyzers.common.errors import InputError
from analyzers.common.languages import Language
from analyzers.common.limits import LIMITS
from analyzers.common.settings import AblationSettings
from analyzers.serving.dispatch import Answer, Dispatcher
from analyzers.serving.document import document
from ui.components.base import empty_state
from ui.components.factor_view import FactorView
from ui.components.notice import Notice, notice
from ui.downloads import DOWNLOADS
from ui.errors import language_of, sentence_for
from ui.events import index_of, number_within, position_of
from ui.i18n import T
from ui.runs import follow
from ui.tabs.tab import Tab
from ui.texts import say

HEADERS = ("column_factor", "column_layer", "column_neuron", "column_part", "column_weight")
MOST_NEURONS = 20


def build_tab(dispatcher: Dispatcher, _pinned: gr.State) -> Tab:
    """The widgets and the handlers that the shared Run does not serve. Called inside `gr.Tab`."""
    settings = _settings()
    view = FactorView(empty_state("neuron-factors", "en"), elem_id="factor-view")
    line = Notice(elem_id="factors-line")
    answer, factor = gr.State(None), gr.State(0)
    quiet: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
    alone: dict[str, Any] = {"concurrency_id": "model", "concurrency_limit": dispatcher.at_once}
    with gr.Column(visible=False) as panel:
        promoted = Notice(elem_id="factors-promoted")
        leading = gr.HighlightedText(
            label=T("leading"), combine_adjacent=False, show_legend=True, interactive=False, elem_id="factors-leading"
        )
        with gr.Accordion(T("table"), open=False):
            table = gr.Dataframe(
                headers=[say(key, "en") for key in HEADERS],
                datatype=["number", "number", "number", "str", "number"],
                interactive=False,
                show_search="search",
                buttons=["fullscreen", "copy"],
                max_height=420,
                show_label=False,
            )
        with gr.Row():
            csv_file = gr.DownloadButton(T("download_csv"), size="sm")
            json_file = gr.DownloadButton(T("download_json"), size="sm")
        with gr.Accordion(T("cause"), open=False, elem_id="cause"):
            with gr.Row():
                scale = gr.Slider(0, 2, value=0, step=0.1, label=T("cause_scale"))
                how_many = gr.Slider(1, MOST_NEURONS, value=10, step=1, label=T("cause_neurons"))
            turn = gr.Button(T("cause_run"), size="sm", elem_id="cause-run")
            cause_line = Notice()
            cause_chart = gr.Plot(show_label=False, visible=False, elem_id="cause-chart")
        with gr.Accordion(T("compare_layers"), open=False, elem_id="compare-layers"):
            compare = gr.Button(T("compare_layers_run"), size="sm", elem_id="compare-layers-run")
            compare_line = Notice()
            compare_chart = gr.Plot(show_label=False, visible=False, elem_id="compare-layers-chart")
    with gr.Accordion(T("how_to_read"), open=False):
        gr.Markdown(T("neuron-factors_help"))

    def show(found: Answer, _wanted: int | None, language: Language) -> dict[Any, Any]:
        from ui.charts import neuron_factors as charts

        result = found.result
        pairs, colours = charts.highlight_tokens(result)
        return {
            view: charts.view_value(result, language, 0),
            line: notice("info" if result.converged else "warning", charts.line(result, language)),
            promoted: notice("info", *charts.promoted_line(result, 0, language)),
            answer: found,
            factor: 0,
            panel: gr.update(visible=True),
            leading: gr.update(value=pairs, color_map=colours),
            table: gr.update(
                value={"headers": [say(key, language) for key in HEADERS], "data": charts.neuron_rows(result)}
            ),
            csv_file: DOWNLOADS.save("neuron_factors.csv", charts.csv_text(result)),
            json_file: DOWNLOADS.save(
                "neuron_factors.json", json.dumps(document(found, language), ensure_ascii=False, indent=1)
            ),
            cause_chart: gr.update(visible=False),
            cause_line: notice("info"),
            compare_chart: gr.update(visible=False),
            compare_line: notice("info"),
        }

    def pin(found: Answer | None, request: gr.Request, event: gr.EventData) -> dict[Any, Any]:
        """The factor that the panels below are about."""
        from ui.charts.neuron_factors import promoted_line

        language = language_of(request)
        if found is None:
            return {promoted: notice("info", say("pinned_none", language))}
        try:
            number = position_of(index_of(event), tuple(range(len(found.result.factors))))
        except InputError as error:
            return {promoted: notice("error", error.say(language))}
        return {promoted: notice("info", *promoted_line(found.result, number, language)), factor: number}

    def turn_down(found: Answer | None, number: Any, by: Any, n: Any, request: gr.Request) -> Iterator[dict[Any, Any]]:
        """The next token with the factor's strongest neurons scaled."""
        from ui.charts.neuron_factors import ablation_chart

        language = language_of(request)
        if found is None or found.model.kind == "encoder":
            key = "pinned_none" if found is None else "cause_encoder"
            yield {cause_line: notice("info", say(key, language))}
            return
        try:
            number = position_of(number, tuple(range(len(found.result.factors))))
            times, most = number_within("scale", by, 0, 2), int(number_within("neurons", n, 1, MOST_NEURONS))
        except InputError as error:
            yield {cause_line: notice("error", sentence_for(error, language))}
            return
        neurons = found.result.factors[number].top_neurons[:most]
        chosen = AblationSettings(neurons, times, side=found.request.settings.side)
        for said, after in follow(dispatcher, replace(found.request, analysis="ablation", settings=chosen), language):
            if after is None:
                yield {cause_line: said}
                continue
            yield {
                cause_line: notice("info", say("cause_note", language)),
                cause_chart: gr.update(value=ablation_chart(after.result, number, language), visible=True),
            }
            return

    def compare_three(found: Answer | None, request: gr.Request) -> Iterator[dict[Any, Any]]:
        """The same text at the first, the middle and the last layer."""
        from ui.charts.neuron_factors import comparison_chart

        language = language_of(request)
        if found is None:
            yield {compare_line: notice("info", say("pinned_none", language))}
            return
        runs = []
        for preset in ("first", "middle", "last"):
            own = replace(found.request.settings, first_layer=None, last_layer=None, preset=preset)
            fresh: Answer | None = None
            for said, fresh_or_none in follow(dispatcher, replace(found.request, settings=own), language):
                fresh = fresh_or_none or fresh
                yield {compare_line: said}
            if fresh is None:
                return
            runs.append(fresh.result)
        yield {
            compare_line: notice("info", say("compare_layers_note", language)),
            compare_chart: gr.update(value=comparison_chart(runs, language), visible=True),
        }

    view.select(pin, [answer], [promoted, factor], queue=False, **quiet)
    outputs = [view, line, promoted, answer, factor, panel, leading, table, csv_file, json_file]
    outputs += [cause_chart, cause_line, compare_chart, compare_line]
    return Tab(
        analysis="neuron-factors",
        settings=settings,
        answer=answer,
        empty=view,
        outputs=outputs,
        show=show,
        events=(
            turn.click(turn_down, [answer, factor, scale, how_many], [cause_line, cause_chart], **quiet, **alone),
            compare.click(compare_three, [answer], [compare_line, compare_chart], **quiet, **alone),
        ),
    )


def _settings() -> dict[str, gr.components.Component]:
    with gr.Accordion(T("options"), open=True), gr.Row():
        factors = gr.Slider(1, LIMITS.factors, value=8, step=1, label=T("factors"), min_width=160)
        presets: list[Any] = [(T(f"layers_{name}"), name) for name in ("all", "first", "middle", "last", "range")]
        layers = gr.Dropdown(presets, value="all", label=T("layers"), min_width=130)
        first = gr.Number(0, label=T("first_layer"), precision=0, visible=False, min_width=110)
        last = gr.Number(0, label=T("last_layer"), precision=0, visible=False, min_width=110)
        parts = gr.Dropdown(
            [(T(f"parts_{name}"), name) for name in ("positive", "split")], value="positive", label=T("parts")
        )
        side = gr.Dropdown(
            [(T(f"side_{name}"), name) for name in ("target", "source")],
            value="target",
            label=T("side"),
            visible=False,
            elem_id="side",
        )
        with gr.Column(min_width=200):
            first_token = gr.Checkbox(label=T("include_first_token"))
            special = gr.Checkbox(label=T("include_special"))
            unscaled = gr.Checkbox(label=T("unscaled"))
    layers.change(
        lambda chosen: (gr.update(visible=chosen == "range"),) * 2,
        layers,
        [first, last],
        show_progress="hidden",
        queue=False,
        api_visibility="private",
    )
    return {
        "factors": factors,
        "layers": layers,
        "first_layer": first,
        "last_layer": last,
        "parts": parts,
        "include_first_token": first_token,
        "include_special": special,
        "unscaled": unscaled,
        "side": side,
    }
