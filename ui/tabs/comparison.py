"""What a comparison that is asked from within a tab draws: a line, a picture, its table and files, and how to read it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import gradio as gr

from analyzers.common.languages import Language
from analyzers.serving.dispatch import AnyAnswer
from ui.components.notice import Notice, notice
from ui.i18n import T
from ui.tabs.results import Results, build_results
from ui.values import Cells, Component, Updates, Value

if TYPE_CHECKING:
    from ui.charts.spreadsheet import Sheet
else:
    Sheet = object


@dataclass(frozen=True, eq=False)
class Comparison:
    """Its widgets."""

    line: Notice
    panel: gr.Column
    chart: gr.Plot
    results: Results

    @property
    def outputs(self) -> list[Component]:
        return [self.line, self.panel, self.chart, *self.results.outputs]

    def clear(self) -> Updates:
        """For another run, or another thing looked at."""
        return {self.line: notice("info"), self.panel: gr.update(visible=False)}

    def show(
        self,
        found: AnyAnswer,
        lines: list[str],
        is_good: bool,
        picture: Value,
        rows: Cells,
        sheet: Sheet,
        language: Language,
        columns: tuple[str, ...] = (),
    ) -> Updates:
        """What is known by now; files of a whole answer only. `lines` say it in words, and warn unless it `is_good`. `columns`:
        keys of the table's headers, where they are others than at first."""
        files = [(found, sheet)] if found.is_whole else []
        return {
            self.line: notice("info" if is_good else "warning", *lines),
            self.panel: gr.update(visible=True),
            self.chart: picture,
            **self.results.show_table(rows, language, columns),
            **self.results.show_files(language, *files),
        }


def build_comparison(analysis: str, columns: dict[str, str]) -> Comparison:
    """Called where it is to stand. `columns` as those of `build_results`."""
    line = Notice(elem_id=f"{analysis}-line")
    with gr.Column(visible=False, elem_classes=["apart"]) as panel:
        chart = gr.Plot(show_label=False, elem_id=f"{analysis}-chart")
        results = build_results(analysis, columns)
        with gr.Accordion(T("how_to_read_comparison"), open=False):
            gr.Markdown(T(f"{analysis}_help"))
    return Comparison(line, panel, chart, results)
