"""The Saliency tab: its settings, the hover strip, and what is shown of the pinned token."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import gradio as gr

from analyzers.common.errors import InputError
from analyzers.common.languages import Language
from analyzers.common.settings import FaithfulnessSettings
from analyzers.serving.dispatch import Answer, Dispatcher
from analyzers.serving.document import document
from analyzers.serving.request import SALIENCY, Request
from ui.components.base import empty_state
from ui.components.hover_strip import HoverStrip
from ui.components.notice import Notice, notice
from ui.downloads import DOWNLOADS
from ui.errors import language_of, sentence_for
from ui.events import index_of, position_of
from ui.i18n import T
from ui.runs import follow
from ui.tabs.tab import Tab
from ui.texts import say

POINTS = (16, 50, 128, 256, 512)


def build_tab(dispatcher: Dispatcher, pinned: gr.State) -> Tab:
    """The widgets, and the handlers that the shared Run does not serve. Called inside `gr.Tab`; `pinned` is the position
    of the predicted token looked at, shared by all tabs."""
    settings = _settings()
    strip = HoverStrip(empty_state("saliency", "en"), elem_id="saliency-strip")
    line = Notice(elem_id="saliency-line")
    answer = gr.State(None)
    with gr.Column(visible=False) as panel:
        chart = gr.Plot(show_label=False, elem_id="saliency-chart")
        highlighted = gr.HighlightedText(
            label=T("highlighted"),
            combine_adjacent=False,
            show_legend=True,
            interactive=False,
            elem_id="saliency-highlighted",
        )
        headers = ["column_position", "column_token", "column_id", "column_score", "column_share", "column_hidden"]
        with gr.Accordion(T("table"), open=False):
            table = gr.Dataframe(
                headers=[say(key, "en") for key in headers],
                datatype=["number", "str", "number", "number", "number", "number"],
                interactive=False,
                show_search="search",
                buttons=["fullscreen", "copy"],
                max_height=420,
                show_label=False,
                elem_id="saliency-table",
            )
        with gr.Row():
            csv_file = gr.DownloadButton(T("download_csv"), size="sm")
            json_file = gr.DownloadButton(T("download_json"), size="sm")
        with gr.Accordion(T("faithfulness"), open=False):
            test = gr.Button(T("faithfulness_run"), size="sm")
            test_line = Notice()
            curves = gr.Plot(show_label=False, visible=False)
    with gr.Accordion(T("how_to_read"), open=False):
        gr.Markdown(T("saliency_help"))

    pinned_outputs = [line, chart, highlighted, table, curves, test_line, pinned]

    def show(found: Answer, wanted: int | None, language: Language) -> dict[Any, Any]:
        from ui.charts.saliency import csv_text
        from ui.charts.token_strip import strip_value

        explained: tuple[int, ...] = found.result.explained
        is_whole = len(explained) >= len(found.completion.outputs)
        files: dict[Any, Any] = {csv_file: None, json_file: None}  # never those of an earlier run
        if is_whole:
            document_text = json.dumps(document(found, language), ensure_ascii=False, indent=1)
            files = {
                csv_file: DOWNLOADS.save("saliency.csv", csv_text(found.result)),
                json_file: DOWNLOADS.save("saliency.json", document_text),
            }
        if found.result.method == "integrated-gradients" and len(explained) > 1 and wanted is None:
            # More tokens of a run that already shows its first: what is pinned meanwhile stays.
            return {strip: strip_value(found.result, language, None), answer: found, **files}
        first = wanted if wanted is not None and wanted in explained else explained[0]
        return {
            strip: strip_value(found.result, language, first),
            answer: found,
            panel: gr.update(visible=True),
            **show_pinned(found, first, language),
            **files,
        }

    def show_pinned(found: Answer, position: int, language: Language) -> dict[Any, Any]:
        from ui.charts import saliency as charts

        completeness = found.result.completeness[found.result.row_of(position)]
        kind = "info" if completeness is None or completeness.converged else "warning"
        return {
            line: notice(kind, charts.describe(found.result, position, language)),
            chart: charts.saliency_chart(found.result, position, language),
            highlighted: charts.highlight_tokens(found.result, position),
            table: gr.update(
                value={
                    "headers": [say(key, language) for key in headers],
                    "data": charts.table_rows(found.result, position),
                }
            ),
            curves: gr.update(visible=False),
            test_line: notice("info"),
            pinned: position,
        }

    def pin(found: Answer | None, event: gr.EventData, request: gr.Request) -> dict[Any, Any]:
        """Show the token that was clicked in the strip."""
        language = language_of(request)
        if found is None:
            return {line: notice("info", say("pinned_none", language))}
        try:
            position = position_of(index_of(event), found.result.explained)
        except InputError as error:
            return {line: notice("error", error.say(language))}
        return show_pinned(found, position, language)

    def test_map(found: Answer | None, position: int | None, request: gr.Request) -> Iterator[dict[Any, Any]]:
        """Deletion and insertion curves of the pinned token."""
        from ui.charts.saliency import faithfulness_chart

        language = language_of(request)
        if found is None or position is None:
            yield {test_line: notice("info", say("pinned_none", language))}
            return
        if found.model.kind == "encoder":
            yield {test_line: notice("info", say("faithfulness_encoder", language))}
            return
        try:
            asked = _faithfulness_request(found, position_of(position, found.result.explained))
        except InputError as error:
            yield {test_line: notice("error", sentence_for(error, language))}
            return
        for said, tested in follow(dispatcher, asked, language):
            if tested is None:
                yield {test_line: said}
                continue
            result = tested.result
            numbers = {
                name: f"{getattr(result, name):.2f}"
                for name in ("comprehensiveness", "comprehensiveness_random", "sufficiency", "sufficiency_random")
            }
            yield {
                test_line: notice("info", say("faithfulness_note", language, orders=result.n_orders, **numbers)),
                curves: gr.update(value=faithfulness_chart(result, language), visible=True),
            }
            return

    strip.select(pin, [answer], pinned_outputs, show_progress="hidden", queue=False, api_visibility="private")
    tested = test.click(
        test_map,
        [answer, pinned],
        [test_line, curves],
        show_progress="hidden",
        concurrency_id="model",
        concurrency_limit=dispatcher.at_once,
        api_visibility="private",
    )
    return Tab(
        analysis="saliency",
        settings=settings,
        answer=answer,
        empty=strip,
        follow_pin=True,
        outputs=[strip, answer, panel, csv_file, json_file, *pinned_outputs],
        show=show,
        events=(tested,),
    )


def _settings() -> dict[str, gr.components.Component]:
    """The widgets of the settings, under the names that the request gate knows."""
    table = {setting.name: setting for setting in SALIENCY}

    def choices(name: str) -> list[Any]:
        return [(T(f"{name}_{choice}"), choice) for choice in table[name].choices]

    with gr.Accordion(T("settings"), open=True), gr.Row(elem_id="settings-row"):
        method = gr.Dropdown(choices("method"), value="occlusion", label=T("method"), elem_id="method", min_width=200)
        target = gr.Dropdown(choices("target"), value="probability", label=T("target"), min_width=140)
        contrast = gr.Textbox(
            label=T("contrast"), placeholder=T("contrast_info"), max_lines=1, min_width=180, elem_id="contrast"
        )
        baseline = gr.Dropdown(choices("baseline"), value="token", label=T("baseline"), min_width=200)
        aggregate = gr.Dropdown(choices("aggregate"), value="l2", label=T("aggregate"), min_width=150)
        automatic: list[Any] = [(T("points_auto"), "auto")]
        points = gr.Dropdown(
            automatic + [(str(n), n) for n in POINTS], value="auto", label=T("points"), min_width=150, visible=False
        )
        whole_words = gr.Checkbox(label=T("whole_words"), min_width=140)

    def fit(chosen: Any) -> tuple[Any, ...]:
        """Only what the method uses is shown."""
        uses_baseline = chosen in ("occlusion", "integrated-gradients")
        return (
            gr.update(visible=uses_baseline),
            gr.update(visible=chosen == "integrated-gradients"),
            gr.update(visible=chosen == "occlusion"),
        )

    method.change(
        fit, method, [baseline, points, whole_words], show_progress="hidden", queue=False, api_visibility="private"
    )
    return {
        "method": method,
        "target": target,
        "contrast": contrast,
        "baseline": baseline,
        "aggregate": aggregate,
        "points": points,
        "whole_words": whole_words,
    }


def _faithfulness_request(found: Answer, position: int) -> Request:
    """The map on the page put to the test: signed scores, so that what works against the token is deleted last."""
    result = found.result
    row = result.row_of(position)
    signed = (abs(result.scores[row]) * result.signs[row])[list(result.seen[row])]
    settings = FaithfulnessSettings(position, tuple(float(x) for x in signed), found.request.settings.baseline)
    asked = found.request
    return Request("faithfulness", asked.model, asked.text, asked.generation, asked.device, settings)
