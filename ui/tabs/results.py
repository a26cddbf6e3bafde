"""What stands below every tab's picture: the numbers as a table, and to save."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

import gradio as gr

from analyzers.common.languages import DEFAULT, Language
from analyzers.serving.dispatch import AnyAnswer
from analyzers.serving.document import document
from ui.components.notice import Notice
from ui.components.take_home import TableRows, TakeHome
from ui.downloads import DOWNLOADS
from ui.i18n import T
from ui.take_home import asked_for, file_name, take_home
from ui.texts import say
from ui.values import Cells, Component, Updates

if TYPE_CHECKING:
    from ui.charts.spreadsheet import Sheet
else:
    Sheet = object


@dataclass(frozen=True, eq=False)
class Results:
    """A table with its two buttons, and whether the numbers passed their own check."""

    columns: tuple[str, ...]
    """Keys of the table's headers."""
    table: gr.Dataframe
    table_rows: TableRows
    menu: TakeHome
    csv_file: gr.DownloadButton
    json_file: gr.DownloadButton
    check: Notice

    @property
    def outputs(self) -> list[Component]:
        return [self.table, self.table_rows, self.menu, self.csv_file, self.json_file, self.check]

    def show_table(self, rows: Cells, language: Language, columns: tuple[str, ...] = ()) -> Updates:
        headers = [say(key, language) for key in columns or self.columns]
        return {
            self.table: gr.update(value={"headers": headers, "data": rows}),
            self.table_rows: {"headers": headers, "rows": rows},
        }

    def show_tables(self, language: Language, *tables: tuple[str, Cells]) -> Updates:
        """Rows of two answers, one under the other, each with what its answer is of at its end; of a model beside itself the
        second's are marked ², as in the pictures."""
        rows: Cells = []
        for number, (of, table) in enumerate(tables):
            mark = " ²" if number and of == tables[0][0] else ""
            rows += [[*cells, of + mark] for cells in table]
        return self.show_table(rows, language, (*self.columns, "column_of"))

    def show_files(self, language: Language, *sheets: tuple[AnyAnswer, Sheet]) -> Updates:
        """An answer and its rows, or two that are compared. None while an answer is not whole: then there are no files, and
        none of an earlier run."""
        from ui.charts.spreadsheet import write_csv

        if not sheets:
            return {self.csv_file: None, self.json_file: None, self.menu: None}
        answers = [answer for answer, _ in sheets]
        return {
            self.csv_file: DOWNLOADS.save(f"{file_name(answers[0].request)}.csv", write_csv(sheets, language)),
            self.json_file: save_document(language, *asked_for(answers)),
            self.menu: take_home(answers, language),
        }


def build_results(name: str, columns: dict[str, str]) -> Results:
    """`columns`: the key of each header, and the type of what stands under it. Called where it is to stand."""
    table_rows = TableRows()
    with gr.Row(elem_classes=["take-home"]):
        menu = TakeHome(elem_id=f"{name}-home")
        csv_file = gr.DownloadButton(T("download_csv"), size="sm", min_width=60)
        json_file = gr.DownloadButton(T("download_json"), size="sm", min_width=60)
        check = Notice(elem_id=f"{name}-check")
    with gr.Accordion(T("table"), open=False):
        table = gr.Dataframe(
            headers=[say(key, DEFAULT) for key in columns],
            datatype=list(columns.values()),
            interactive=False,
            show_search="search",
            buttons=["fullscreen", "copy"],
            max_height=420,
            show_label=False,
            elem_id=f"{name}-table",
        )
    return Results(tuple(columns), table, table_rows, menu, csv_file, json_file, check)


def save_document(language: Language, answer: AnyAnswer, *compared: AnyAnswer) -> str | None:
    """Path of the JSON document to download, or None where the disk takes no more. What an answer is compared with
    stands in it under `compared_with`."""
    whole = document(answer, language)
    if compared:
        whole = {**whole, "compared_with": [document(one, language) for one in compared]}
    return DOWNLOADS.save(f"{file_name(answer.request)}.json", json.dumps(whole, ensure_ascii=False, indent=1))
