"""The shared controls: text, model, generation, the examples, Run and Stop."""

from __future__ import annotations

from dataclasses import dataclass

import gradio as gr

from analyzers.common.kinds import Kind
from analyzers.common.limits import LIMITS
from analyzers.common.parameters import settings_of
from analyzers.common.settings import Generation
from analyzers.serving.analyses import analyses_with_tab
from analyzers.serving.dispatch import Runner
from ui.components.inputs import OptionalInteger, OptionalText
from ui.components.notice import Notice, notice
from ui.errors import language_of
from ui.examples import EXAMPLES
from ui.i18n import T
from ui.model_choices import model_choices
from ui.model_line import model_line
from ui.runs import QUIET
from ui.tabs.tab import AnyTab
from ui.values import Updates, Value

INSERT_MASK = """() => {
  const box = document.querySelector("#text textarea");
  box.setRangeText("[MASK]", box.selectionStart, box.selectionEnd, "end");
  box.dispatchEvent(new Event("input", { bubbles: true }));
  box.focus();
}"""
TARGET_TEXTS = {Kind.MASKED: "masked_words", Kind.ENCODER: "second_text"}
"""What the continuation is called for a kind that continues nothing."""


@dataclass(frozen=True, eq=False)
class Controls:
    """The shared widgets, by the names that the request gate knows, and the buttons."""

    settings: dict[str, gr.components.Component]
    masking: gr.Column
    """What only a masked model has."""
    sampling: gr.Accordion
    run: gr.Button
    stop: gr.Button
    stop_here: gr.Button
    """Stop once more, beside the status line: the sidebar may be folded."""
    status: Notice
    examples: tuple[gr.Button, ...]


def build_controls(runner: Runner) -> Controls:
    """The widgets, in their column. Called inside the sidebar."""
    default = {setting.name: setting.default for setting in settings_of(Generation)}
    with gr.Column(elem_id="title"):
        gr.Markdown("# Eccolens")
        gr.Markdown(T("tagline"))
    text = gr.Textbox(
        value=EXAMPLES[0].values["text"],
        label=T("text"),
        info=T("text_info"),
        lines=3,
        max_lines=10,
        max_length=LIMITS.characters,
        elem_id="text",
    )
    with gr.Row():
        run = gr.Button(T("run"), variant="primary", elem_id="run")
        stop = gr.Button(T("stop"), variant="stop", visible=False, elem_id="stop")
    status = Notice(notice("info"), elem_id="status", render=False)
    stop_here = gr.Button(T("stop"), variant="stop", size="sm", visible=False, elem_id="stop-here", render=False)
    model = gr.Dropdown(
        model_choices(runner),
        value=runner.store.resolver.default_id(),
        label=T("model"),
        info=T("model_info_any" if runner.store.resolver.any_hub_id else "model_info"),
        allow_custom_value=runner.store.resolver.any_hub_id,
        elem_id="model",
    )
    line = Notice(notice("info"), elem_id="model-line")

    def describe(chosen: object, request: gr.Request) -> Value:
        return model_line(runner, chosen, language_of(request))

    model.change(
        describe,
        model,
        line,
        **QUIET,
        trigger_mode="always_last",
        concurrency_id="model-line",
        concurrency_limit=2,
    )
    with gr.Column(visible=False, elem_id="masking") as masking:
        insert = gr.Button(T("insert_mask"), size="sm")
        hide = OptionalInteger(label=T("hide"), info=T("hide_info"), max_lines=1, max_length=6, elem_id="hide")
    insert.click(None, js=INSERT_MASK)
    generate = gr.Slider(0, LIMITS.new_tokens, value=1, step=1, label=T("generate"), elem_id="generate")
    with gr.Accordion(T("sampling"), open=False) as sampling:
        sample = gr.Checkbox(value=False, label=T("sample"))
        with gr.Row():
            temperature = gr.Number(1.0, label=T("temperature"), step=0.1, min_width=90)
            top_k = gr.Number(default["top_k"], label=T("top_k"), precision=0, min_width=90)
            top_p = gr.Number(1.0, label=T("top_p"), step=0.05, min_width=90)
            seed = gr.Number(0, label=T("seed"), precision=0, min_width=90)
    target_text = OptionalText(
        label=T("target_text"),
        info=T("target_text_info"),
        lines=1,
        max_length=LIMITS.characters,
        elem_id="target-text",
    )
    gr.Markdown(T("examples"))
    with gr.Column(elem_id="examples"):
        examples = _example_buttons(runner)
    settings: dict[str, gr.components.Component] = {
        "text": text,
        "model": model,
        "generate": generate,
        "sample": sample,
        "temperature": temperature,
        "top_k": top_k,
        "top_p": top_p,
        "seed": seed,
        "target_text": target_text,
        "hide": hide,
    }
    return Controls(settings, masking, sampling, run, stop, stop_here, status, examples)


def _example_buttons(runner: Runner) -> tuple[gr.Button, ...]:
    """In the order of `EXAMPLES`: a heading per tab, an experiment per row, its variants small beside it."""
    buttons = []
    for row in analyses_with_tab():
        of_tab = [example for example in EXAMPLES if example.analysis == row.name]
        if of_tab:
            gr.Markdown(T(row.name))
        for number in dict.fromkeys(example.number for example in of_tab):
            with gr.Row(elem_classes=["example"]):
                for example in (variant for variant in of_tab if variant.number == number):
                    label = T(example.label) if example.is_variant else example.label
                    can = example.can_be_had(runner.store)
                    buttons.append(gr.Button(label, size="sm", min_width=60, elem_id=example.id, visible=can))
    return tuple(buttons)


def fit_to_kind(runner: Runner, controls: Controls, tabs: list[AnyTab]) -> None:
    """Only what the chosen kind of model has is shown."""
    side = next(tab.settings["side"] for tab in tabs if "side" in tab.settings)
    model, text, hide = (controls.settings[name] for name in ("model", "target_text", "hide"))

    def fit(chosen: object) -> tuple[Updates | None, ...]:
        kind = runner.store.kind_of(chosen) if isinstance(chosen, str) else None
        writes, fills = kind is None or kind.writes, kind is not None and kind.fills_masks
        has_source = kind is not None and kind.has_source
        key = "target_text" if kind is None else TARGET_TEXTS.get(kind, "target_text")
        return (
            gr.update(visible=fills),
            gr.update() if fills else None,
            gr.update(visible=writes),
            gr.update(visible=writes or fills),
            gr.update(label=T(key), info=T(f"{key}_info")),
            gr.update(visible=True) if has_source else gr.update(visible=False, value="target"),
        )

    outputs = [controls.masking, hide, controls.settings["generate"], controls.sampling, text, side]
    model.change(fit, model, outputs, queue=False, **QUIET)
