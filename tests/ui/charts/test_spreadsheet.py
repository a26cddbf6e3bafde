"""What a spreadsheet reads of a tab's numbers."""

from __future__ import annotations

import csv
import io
from typing import Any

import pytest
from conftest import completed
from families import tiny_model

from analyzers.serving.dispatch import Answer
from analyzers.serving.request import parse_request
from ui.charts.spreadsheet import MARK, Sheet, write_csv


def answer_to(text: str) -> Any:
    model = tiny_model("gpt2")
    return Answer(parse_request("saliency", {"text": text}), model.facts, completed(model), None, {})


def read(*sheets: tuple[str, Sheet]) -> list[list[str]]:
    written = write_csv([(answer_to(text), sheet) for text, sheet in sheets])
    assert written.startswith(MARK), "Excel would take it for something else"
    return list(csv.reader(io.StringIO(written.removeprefix(MARK))))


@pytest.mark.parametrize("token", ["=1+1", "+to", "-5", "@a", "\t=1", "\r=1"])
def test_no_cell_is_a_formula(token: str) -> None:
    sheet = Sheet(("token", "score"), [[token, -0.5]])
    assert read((token, sheet))[1] == [f"'{token}", "-0.5", "tiny-gpt2", "occlusion", f"'{token}"]


def test_the_header_is_in_the_language_and_every_column_has_a_name() -> None:
    sheet = Sheet(("position", "factor_1", "factor_12"), [[0, 0.5, 0.25]])
    written = write_csv([(answer_to("a"), sheet)], "ja")
    assert next(csv.reader(io.StringIO(written.removeprefix(MARK)))) == [
        "位置",
        "因子_1",
        "因子_12",
        "モデル",
        "手法",
        "テキスト",
    ]


def test_every_line_says_its_model_and_its_text_and_what_is_not_known_is_empty() -> None:
    text = 'a, "quoted"\nline 東京 👩‍🚀'
    rows = read((text, Sheet(("token", "share"), [["the", None]])))
    assert rows == [["token", "share", "model", "method", "text"], ["the", "", "tiny-gpt2", "occlusion", text]]


def test_both_runs_of_a_comparison_stand_in_it() -> None:
    one, other = (Sheet(("rank", "final_norm"), [[1, is_normed]]) for is_normed in (True, False))
    assert [row[:2] + row[4:] for row in read(("a", one), ("b", other))[1:]] == [
        ["1", "True", "a"],
        ["1", "False", "b"],
    ]
