"""Which map should I believe? What is asked from the Saliency tab, of the token that is pinned there."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
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
from ui.tabs.results import Results, build_results
from ui.tabs.tab import SideRun
from ui.texts import say
from ui.values import Component, Updates

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


@dataclass(frozen=True, eq=False)
class Comparison:
    """Its widgets."""

    button: gr.Button
    methods: gr.CheckboxGroup
    line: Notice
    panel: gr.Column
    chart: gr.Plot
    results: Results

    @property
    def outputs(self) -> list[Component]:
        return [self.line, self.panel, self.chart, *self.results.outputs]

    def clear(self) -> Updates:
        """For another token, or another run."""
        return {self.line: notice("info"), self.panel: gr.update(visible=False)}

    def show(self, found: AnyAnswer, language: Language) -> Updates:
        """What is known of it by now."""
        from analyzers.map_comparison import MapComparison
        from ui.charts import map_comparison as charts

        result = found.result
        assert isinstance(result, MapComparison)
        lines, is_told = charts.verdict(result, language)
        files = [(found, charts.sheet(result))] if found.is_whole else []
        return {
            self.line: notice("info" if is_told else "warning", *lines),
            self.panel: gr.update(visible=True),
            self.chart: charts.comparison_chart(result, language),
            **self.results.show_table(charts.table_rows(result, language), language),
            **self.results.show_files(language, *files),
        }

    def side_run(self, runner: Runner, status: Notice, answer: gr.State, pinned: gr.State) -> SideRun:
        """What its button begins, of the tab's answer at the pinned token."""

        def compare(
            found: SaliencyAnswer | None, position: object, chosen: object, request: gr.Request
        ) -> Iterator[Updates]:
            language = language_of(request)
            if found is None or position is None:
                yield {self.line: notice("info", say("pinned_none", language))}
                return
            try:
                asked = ask_for_comparison(found, position, chosen)
            except InputError as error:
                yield {self.line: notice("error", sentence_for(error, language))}
                return
            yield from report(runner, asked, language, status, lambda tested: self.show(tested, language))

        return SideRun(self.button.click, compare, [answer, pinned, self.methods], self.outputs)


def build_comparison() -> Comparison:
    """Called where it is to stand, below the tab's own picture."""
    labels = [(label_of(f"method_{name}", name), name) for name in METHODS]
    with gr.Row(elem_classes=["compare-maps"]):
        button = gr.Button(T("map-comparison"), size="sm", elem_id="map-comparison-run")
        with gr.Accordion(T("methods"), open=False, elem_classes=["chip-box"]):
            methods = gr.CheckboxGroup(
                labels, value=methods_compared(()), show_label=False, container=False, elem_id="map-comparison-methods"
            )
    line = Notice(elem_id="map-comparison-line")
    with gr.Column(visible=False, elem_classes=["apart"]) as panel:
        chart = gr.Plot(show_label=False, elem_id="map-comparison-chart")
        results = build_results("map-comparison", COLUMNS)
        with gr.Accordion(T("how_to_read_comparison"), open=False):
            gr.Markdown(T("map-comparison_help"))
    return Comparison(button, methods, line, panel, chart, results)


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
