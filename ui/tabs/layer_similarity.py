"""Which layers are alike: what is asked from the Neuron Factors tab, of the text that stands there."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, TypeAlias

import gradio as gr

from analyzers.common.errors import InputError
from analyzers.common.languages import Language
from analyzers.common.parameters import build_settings, settings_of
from analyzers.common.settings import LayerSimilaritySettings, NeuronFactorsSettings
from analyzers.serving.dispatch import Answer, AnyAnswer, Runner
from analyzers.serving.request import parse_request
from ui.components.notice import Notice, notice
from ui.errors import language_of, sentence_for
from ui.i18n import T, label_of
from ui.model_choices import choose_second_model
from ui.runs import report
from ui.tabs.comparison import Comparison, build_comparison
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
COLUMNS_OF_TWO = {
    "column_layer": "str",
    "column_closest": "str",
    "column_similarity": "number",
    "column_floor": "number",
}
CHOSEN = ("measure", "representation")
"""Settings that have a widget; the tokens are those of the factors."""


def build_layer_similarity(runner: Runner, status: Notice, answer: gr.State) -> tuple[Comparison, SideRun, Component]:
    """Its widgets and the run that they begin, of the tab's answer. Called where they are to stand."""
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
        second_model = choose_second_model(runner, "layer-similarity")
    comparison = build_comparison("layer-similarity", COLUMNS)

    def compare(
        found: FactorsAnswer | None, measure: object, representation: object, second: object, request: gr.Request
    ) -> Iterator[Updates]:
        language = language_of(request)
        if found is None:
            yield {comparison.line: notice("info", say("pinned_none", language))}
            return
        try:
            chosen = {"measure": measure, "representation": representation}
            asked = found.request.ask("layer-similarity", read_settings(found.request.settings, chosen))
            beside = parse_request("layer-similarity", {"text": asked.text, "beside": second}).beside
            asked = replace(asked, beside=beside)
        except InputError as error:
            yield {comparison.line: notice("error", sentence_for(error, language))}
            return
        yield from report(runner, asked, language, status, lambda fresh: _show(comparison, fresh, language))

    return (
        comparison,
        SideRun(button.click, compare, [answer, *choices, second_model], comparison.outputs),
        second_model,
    )


def _show(comparison: Comparison, found: AnyAnswer, language: Language) -> Updates:
    from analyzers.layer_similarity import LayerSimilarity
    from ui.charts import layer_similarity as charts
    from ui.charts.style import tell_model

    result = found.result
    assert isinstance(result, LayerSimilarity)
    lines, is_quiet = charts.finding(result, language)
    if result.second is not None:
        lines += [tell_model(model, language) for model in (found.model, result.second.model)]
    picture, rows = charts.similarity_chart(result, language), charts.table_rows(result, language)
    columns = COLUMNS if result.second is None else COLUMNS_OF_TWO
    return comparison.show(found, lines, is_quiet, picture, rows, charts.sheet(result), language, tuple(columns))


def read_settings(factors: NeuronFactorsSettings, chosen: dict[str, object]) -> LayerSimilaritySettings:
    """Of the same tokens as the factors. Raises InputError for what cannot be chosen."""
    settings = {setting.name: setting for setting in settings_of(LayerSimilaritySettings)}
    tokens = {name: getattr(factors, name) for name in ("include_first_token", "include_special")}
    return build_settings(
        LayerSimilaritySettings, {name: settings[name].parse(value) for name, value in (chosen | tokens).items()}
    )
