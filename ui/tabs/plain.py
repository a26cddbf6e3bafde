"""The tab of an analysis that has no pictures of its own: its settings, and its answer as text."""

from __future__ import annotations

import gradio as gr

from analyzers.common.languages import Language
from analyzers.common.parameters import Setting, settings_of
from analyzers.serving.analyses import Analysis
from analyzers.serving.dispatch import AnyAnswer
from analyzers.serving.table import table
from ui.components.inputs import OptionalInteger, OptionalText, Words
from ui.i18n import T, label_of
from ui.tabs.results import save_document
from ui.tabs.tab import AnyTab, Tab
from ui.values import Mark, Updates


def build_tab(row: Analysis) -> AnyTab:
    """A widget for each setting, made from its type. Called inside `gr.Tab`."""
    with gr.Row():
        settings = {setting.name: build_widget(setting) for setting in settings_of(row.settings)}
    lines = gr.Textbox(label=label_of(row.name), lines=8, interactive=False, elem_id=f"{row.name}-lines")
    json_file = gr.DownloadButton(T("download_json"), size="sm")
    answer = gr.State(None)

    def show(found: AnyAnswer, _wanted: int | None, language: Language) -> Updates:
        return {lines: table(found, language), answer: found, json_file: save_document(language, found)}

    return Tab(row.name, settings, answer, [lines, answer, json_file], show)


def build_widget(setting: Setting) -> gr.components.Component:
    """What takes the values that a setting takes."""
    label: Mark = label_of(setting.name)
    default: Mark = setting.default
    if setting.type == "flag":
        return gr.Checkbox(value=default, label=label, info=setting.help)
    if setting.type == "choice":
        return gr.Dropdown(list(setting.choices), value=default, label=label, info=setting.help)
    if setting.type == "texts":
        return Words(label=label, info=setting.help, lines=2)
    if setting.type == "number":
        return gr.Number(value=default, label=label, info=setting.help)
    box = OptionalInteger if setting.type == "integer" else OptionalText
    return box(value=default, label=label, info=setting.help)
