"""Which layers are alike: what is asked from the Neuron Factors tab, of the text that stands there."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import gradio as gr

from analyzers.common.errors import InputError
from analyzers.common.languages import Language
from analyzers.common.parameters import build_settings, settings_of
from analyzers.common.settings import LayerSimilaritySettings, NeuronFactorsSettings
from analyzers.serving.dispatch import Answer, AnyAnswer, Runner
from ui.components.notice import Notice, notice
from ui.errors import language_of, sentence_for
from ui.i18n import T, label_of
from ui.runs import report
from ui.tabs.results import Results, build_results
from ui.tabs.tab import SideRun
from ui.texts import say
from ui.values import Component, Updates

if TYPE_CHECKING:
    from analyzers.neuron_factors import NeuronFactors

    FactorsAnswer: TypeAlias = Answer[NeuronFactorsSettings, NeuronFactors]
else:
    FactorsAnswer = Answer  # what Gradio reads of a handler, before torch is loaded

COLUMNS = {
    "column_layer": "str",
    "column_to_next": "number",
    "column_to_last": "number",
    "column_floor": "number",
}
CHOSEN = ("measure", "representation")
"""Settings that have a widget; the tokens are those of the factors."""


@dataclass(frozen=True, eq=False)
class Similarity:
    """Its widgets."""

    button: gr.Button
    choices: list[Component]
    line: Notice
    panel: gr.Column
    chart: gr.Plot
    results: Results

    @property
    def outputs(self) -> list[Component]:
        return [self.line, self.panel, self.chart, *self.results.outputs]

    def clear(self) -> Updates:
        """For another run."""
        return {self.line: notice("info"), self.panel: gr.update(visible=False)}

    def show(self, found: AnyAnswer, language: Language) -> Updates:
        """What is known of it by now."""
        from analyzers.layer_similarity import LayerSimilarity
        from ui.charts import layer_similarity as charts

        result = found.result
        assert isinstance(result, LayerSimilarity)
        lines, is_quiet = charts.finding(result, language)
        files = [(found, charts.sheet(result))] if found.is_whole else []
        return {
            self.line: notice("info" if is_quiet else "warning", *lines),
            self.panel: gr.update(visible=True),
            self.chart: charts.similarity_chart(result, language),
            **self.results.show_table(charts.table_rows(result, language), language),
            **self.results.show_files(language, *files),
        }

    def side_run(self, runner: Runner, status: Notice, answer: gr.State) -> SideRun:
        """What its button begins, of the tab's answer."""

        def compare(
            found: FactorsAnswer | None, measure: object, representation: object, request: gr.Request
        ) -> Iterator[Updates]:
            language = language_of(request)
            if found is None:
                yield {self.line: notice("info", say("pinned_none", language))}
                return
            try:
                settings = read_settings(found.request.settings, {"measure": measure, "representation": representation})
            except InputError as error:
                yield {self.line: notice("error", sentence_for(error, language))}
                return
            asked = found.request.ask("layer-similarity", settings)
            yield from report(runner, asked, language, status, lambda fresh: self.show(fresh, language))

        return SideRun(self.button.click, compare, [answer, *self.choices], self.outputs)


def build_similarity() -> Similarity:
    """Called where it is to stand."""
    settings = {setting.name: setting for setting in settings_of(LayerSimilaritySettings)}
    with gr.Row(elem_classes=["compare-maps"]):
        button = gr.Button(T("layer-similarity_run"), size="sm", elem_id="layer-similarity-run")
        choices: list[Component] = [
            gr.Dropdown(
                [(label_of(f"{name}_{choice}", choice), choice) for choice in settings[name].choices],
                value=settings[name].default,
                label=T(name),
                min_width=180,
                elem_id=f"layer-similarity-{name}",
            )
            for name in CHOSEN
        ]
    line = Notice(elem_id="layer-similarity-line")
    with gr.Column(visible=False, elem_classes=["apart"]) as panel:
        chart = gr.Plot(show_label=False, elem_id="layer-similarity-chart")
        results = build_results("layer-similarity", COLUMNS)
        with gr.Accordion(T("how_to_read_comparison"), open=False):
            gr.Markdown(T("layer-similarity_help"))
    return Similarity(button, choices, line, panel, chart, results)


def read_settings(factors: NeuronFactorsSettings, chosen: dict[str, object]) -> LayerSimilaritySettings:
    """Of the same tokens as the factors. Raises InputError for what cannot be chosen."""
    settings = {setting.name: setting for setting in settings_of(LayerSimilaritySettings)}
    tokens = {name: getattr(factors, name) for name in ("include_first_token", "include_special")}
    return build_settings(
        LayerSimilaritySettings, {name: settings[name].parse(value) for name, value in (chosen | tokens).items()}
    )
