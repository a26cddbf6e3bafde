"""Which map should I believe? What is asked from the Saliency tab, of the token that is pinned there."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, TypeAlias

import gradio as gr

from analyzers.common.errors import InputError
from analyzers.common.languages import Language
from analyzers.common.methods import METHODS, methods_compared
from analyzers.common.parameters import settings_of
from analyzers.common.settings import MapComparisonSettings, SaliencySettings
from analyzers.serving.dispatch import Answer, AnyAnswer, Runner
from analyzers.serving.request import AnyRequest
from ui.components.notice import Notice, notice
from ui.errors import language_of, sentence_for
from ui.events import position_of
from ui.i18n import T, label_of
from ui.runs import report
from ui.tabs.comparison import Comparison, build_comparison
from ui.tabs.tab import SideRun
from ui.texts import say
from ui.values import Updates

if TYPE_CHECKING:
    from analyzers.saliency import Saliency

    SaliencyAnswer: TypeAlias = Answer[SaliencySettings, Saliency]
else:
    SaliencyAnswer = Answer  # what Gradio reads of a handler, before torch is loaded

COLUMNS = {
    "method": "str",
    "column_gain": "str",
    "column_comprehensiveness": "str",
    "column_sufficiency": "str",
    "column_beaten": "str",
}


def build_map_comparison(
    runner: Runner, status: Notice, answer: gr.State, pinned: gr.State
) -> tuple[Comparison, SideRun]:
    """Its widgets and the run that they begin, of the tab's answer at the pinned token. Called where they are to stand."""
    labels = [(label_of(f"method_{name}", name), name) for name in METHODS]
    with gr.Row(elem_classes=["compare-maps"]):
        button = gr.Button(T("map-comparison"), size="sm", elem_id="map-comparison-run")
        with gr.Accordion(T("methods"), open=False, elem_classes=["chip-box"]):
            methods = gr.CheckboxGroup(
                labels, value=methods_compared(()), show_label=False, container=False, elem_id="map-comparison-methods"
            )
    comparison = build_comparison("map-comparison", COLUMNS)

    def compare(
        found: SaliencyAnswer | None, position: object, chosen: object, request: gr.Request
    ) -> Iterator[Updates]:
        language = language_of(request)
        if found is None or position is None:
            yield {comparison.line: notice("info", say("pinned_none", language))}
            return
        try:
            asked = ask_for_comparison(found, position, chosen)
        except InputError as error:
            yield {comparison.line: notice("error", sentence_for(error, language))}
            return
        yield from report(runner, asked, language, status, lambda tested: _show(comparison, tested, language))

    return comparison, SideRun(button.click, compare, [answer, pinned, methods], comparison.outputs)


def _show(comparison: Comparison, found: AnyAnswer, language: Language) -> Updates:
    from analyzers.map_comparison import MapComparison
    from ui.charts import map_comparison as charts

    result = found.result
    assert isinstance(result, MapComparison)
    lines, is_told = charts.verdict(result, language)
    picture, rows = charts.comparison_chart(result, language), charts.table_rows(result, language)
    return comparison.show(found, lines, is_told, picture, rows, charts.sheet(result), language)


def ask_for_comparison(found: SaliencyAnswer, position: object, chosen: object) -> AnyRequest:
    """The map on the page beside those that were chosen. Raises InputError for what cannot be asked."""
    own = found.request.settings
    settings = {setting.name: setting for setting in settings_of(MapComparisonSettings)}
    named = settings["methods"].parse(chosen)
    assert isinstance(named, tuple)
    asked = MapComparisonSettings(
        methods=tuple(name for name in METHODS if name in (*named, own.method)),
        position=position_of(position, found.result.explained),
        target=own.target,
        contrast=own.contrast,
        aggregate=own.aggregate,
        baseline=own.baseline,
        whole_words=own.whole_words,
    )
    return found.request.ask("map-comparison", asked)
