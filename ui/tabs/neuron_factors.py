"""The Neuron Factors tab: which neurons fire together, what turning them down changes, and three layers compared."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, TypeAlias

import gradio as gr

from analyzers.common.errors import InputError
from analyzers.common.languages import DEFAULT, Language
from analyzers.common.limits import LIMITS
from analyzers.common.settings import AblationSettings, LayerSet, NeuronFactorsSettings
from analyzers.serving.analyses import ANALYSES
from analyzers.serving.dispatch import Answer, AnyAnswer, Runner
from ui.components.base import empty_state
from ui.components.factor_view import FactorView
from ui.components.heading import Heading
from ui.components.inputs import OptionalInteger
from ui.components.notice import Notice, notice
from ui.errors import language_of, sentence_for
from ui.events import index_of, number_within, position_of
from ui.i18n import T
from ui.runs import QUIET, follow, report
from ui.tabs.layer_similarity import build_layer_similarity
from ui.tabs.results import build_results
from ui.tabs.tab import AnyTab, SideRun, Tab
from ui.texts import say
from ui.values import Mark, Updates

if TYPE_CHECKING:
    from analyzers.neuron_factors import NeuronFactors

    FactorsAnswer: TypeAlias = Answer[NeuronFactorsSettings, NeuronFactors]
else:
    FactorsAnswer = Answer  # what Gradio reads of a handler, before torch is loaded

COLUMNS = {
    "column_factor": "number",
    "column_layer": "number",
    "column_neuron": "number",
    "column_part": "str",
    "column_weight": "number",
}
COMPARED: tuple[LayerSet, ...] = ("first", "middle", "last")
MOST_NEURONS = 20


def build_tab(runner: Runner, _pinned: gr.State, status: Notice, heading: Heading) -> AnyTab:
    """The widgets and the handlers that the shared Run does not serve. Called inside `gr.Tab`."""
    settings, box = _settings()
    heading.render()
    view = FactorView(empty_state("neuron-factors", DEFAULT), elem_id="factor-view")
    line = Notice(elem_id="factors-line")
    answer, factor = gr.State(None), gr.State(0)
    with gr.Column(visible=False) as panel:
        promoted = Notice(elem_id="factors-promoted")
        leading = gr.HighlightedText(
            label=T("leading"), combine_adjacent=False, show_legend=True, interactive=False, elem_id="factors-leading"
        )
        results = build_results("neuron_factors", COLUMNS)
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
            similarity, compare_all, second_model = build_layer_similarity(runner, status, answer)
    with gr.Accordion(T("how_to_read"), open=False):
        gr.Markdown(T("neuron-factors_help"))

    def show(found: FactorsAnswer, wanted: int | None, language: Language) -> Updates:
        from ui.charts import neuron_factors as charts

        result = found.result
        number = wanted if wanted is not None and wanted < len(result.factors) else 0
        pairs, colours = charts.highlight_tokens(result)
        return {
            view: charts.view_value(result, language, number),
            line: notice("info" if result.converged else "warning", charts.line(result, language)),
            promoted: notice("info", *charts.describe_promoted(result, number, language)),
            answer: found,
            factor: number,
            panel: gr.update(visible=True),
            box: gr.update(label=charts.name_settings(result, language)),
            leading: gr.update(value=pairs, color_map=colours),
            **results.show_table(charts.neuron_rows(result), language),
            **results.show_files(language, (found, charts.sheet(result))),
            cause_chart: gr.update(visible=False),
            cause_line: notice("info"),
            compare_chart: gr.update(visible=False),
            compare_line: notice("info"),
            **similarity.clear(),
        }

    def pin(found: FactorsAnswer | None, request: gr.Request, event: gr.EventData) -> Updates:
        """The factor that the panels below are about."""
        from ui.charts.neuron_factors import describe_promoted

        language = language_of(request)
        if found is None:
            return {promoted: notice("info", say("pinned_none", language))}
        try:
            number = position_of(index_of(event), tuple(range(len(found.result.factors))))
        except InputError as error:
            return {promoted: notice("error", error.say(language))}
        return {promoted: notice("info", *describe_promoted(found.result, number, language)), factor: number}

    def turn_down(
        found: FactorsAnswer | None, number: object, times: object, n: object, request: gr.Request
    ) -> Iterator[Updates]:
        """The next token with the factor's strongest neurons scaled."""
        language = language_of(request)
        if found is None or found.model.kind not in ANALYSES["ablation"].kinds:
            key = "pinned_none" if found is None else "cause_encoder"
            yield {cause_line: notice("info", say(key, language))}
            return
        try:
            chosen = position_of(number, tuple(range(len(found.result.factors))))
            most = int(number_within("neurons", n, 1, MOST_NEURONS))
            neurons = found.result.factors[chosen].top_neurons[:most]
            side = found.request.settings.side
            settings = AblationSettings(neurons, number_within("scale", times, 0, 2), side=side)
        except InputError as error:
            yield {cause_line: notice("error", sentence_for(error, language))}
            return

        def show_change(after: AnyAnswer) -> Updates:
            from analyzers.ablation import Ablation
            from ui.charts.neuron_factors import ablation_chart

            assert isinstance(after.result, Ablation)
            return {
                cause_line: notice("info", say("cause_note", language)),
                cause_chart: gr.update(value=ablation_chart(after.result, chosen, language), visible=True),
            }

        asked = found.request.ask("ablation", settings)
        yield from report(runner, asked, language, status, show_change)

    def compare_three(found: FactorsAnswer | None, request: gr.Request) -> Iterator[Updates]:
        """The same text at the first, the middle and the last layer."""
        from analyzers.neuron_factors import NeuronFactors
        from ui.charts.neuron_factors import comparison_chart

        language = language_of(request)
        if found is None:
            yield {compare_line: notice("info", say("pinned_none", language))}
            return
        compared: list[NeuronFactors] = []
        for layers in COMPARED:
            settings = replace(found.request.settings, first_layer=None, last_layer=None, layers=layers)
            result: object = None
            for said in follow(runner, replace(found.request, settings=settings), language):
                result = said.answer.result if said.answer is not None else result
                yield {status: said.notice}
            if not isinstance(result, NeuronFactors):
                return
            compared.append(result)
        yield {
            compare_line: notice("info", say("compare_layers_note", language)),
            compare_chart: gr.update(value=comparison_chart(compared, language), visible=True),
        }

    view.select(pin, [answer], [promoted, factor], queue=False, **QUIET)
    outputs = [view, line, promoted, answer, factor, panel, box, leading, *results.outputs]
    outputs += [cause_chart, cause_line, compare_chart, compare_line, *similarity.outputs]
    return Tab(
        analysis="neuron-factors",
        settings=settings,
        answer=answer,
        second_model=second_model,
        empty=view,
        looks_at="factor",
        outputs=outputs,
        show=show,
        side_runs=(
            SideRun(turn.click, turn_down, [answer, factor, scale, how_many], [cause_line, cause_chart]),
            SideRun(compare.click, compare_three, [answer], [compare_line, compare_chart]),
            compare_all,
        ),
    )


def _settings() -> tuple[dict[str, gr.components.Component], gr.Accordion]:
    def choices(name: str, *values: str) -> list[Mark]:
        return [(T(f"{name}_{value}"), value) for value in values]

    counts: list[Mark] = [(T("factors_auto"), "auto"), *((str(n), n) for n in range(1, LIMITS.factors + 1))]
    with gr.Accordion(T("options"), open=False, elem_classes=["settings-box"]) as box, gr.Row():
        factors = gr.Dropdown(counts, value="auto", label=T("factors"), min_width=160)
        layer_sets = choices("layers", "all", "first", "middle", "last")
        layers = gr.Dropdown(layer_sets, value="all", label=T("layers"), min_width=130)
        first = OptionalInteger(label=T("first_layer"), max_lines=1, max_length=6, min_width=110)
        last = OptionalInteger(label=T("last_layer"), max_lines=1, max_length=6, min_width=110)
        parts = gr.Dropdown(choices("parts", "positive", "split"), value="positive", label=T("parts"), min_width=240)
        side = gr.Dropdown(
            choices("side", "target", "source"), value="target", label=T("side"), visible=False, elem_id="side"
        )
        with gr.Column(min_width=200):
            first_token = gr.Checkbox(label=T("include_first_token"))
            special = gr.Checkbox(label=T("include_special"))
            unscaled = gr.Checkbox(label=T("unscaled"))
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
    }, box
