"""A tab's numbers as CSV, for a spreadsheet: every line says what it is of."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass

from analyzers.common.languages import DEFAULT, Language
from analyzers.serving.dispatch import AnyAnswer
from ui.texts import say
from ui.values import Cells

MARK = "\ufeff"
"""A byte order mark, without which Excel takes UTF-8 for something else."""


@dataclass(frozen=True)
class Sheet:
    """One answer's rows."""

    columns: tuple[str, ...]
    rows: Cells


def write_csv(sheets: Sequence[tuple[AnyAnswer, Sheet]], language: Language = DEFAULT) -> str:
    """Rows of all answers, one under the other, each with its model, method and text at its end; the header in a language. Texts are quoted where they
    must be, and kept from being read as a formula; what is not known is empty."""
    out = io.StringIO()
    out.write(MARK)
    writer = csv.writer(out)
    writer.writerow([_header(name, language) for name in (*sheets[0][1].columns, "model", "method", "text")])
    for answer, sheet in sheets:
        method = getattr(answer.request.settings, "method", answer.request.analysis)
        for row in sheet.rows:
            cells = [*row, answer.model.id, method, answer.request.text]
            writer.writerow([escape_formula(cell) if isinstance(cell, str) else cell for cell in cells])
    return out.getvalue()


def _header(name: str, language: Language) -> str:
    """A column's name: in English one word, as a script would have it; `factor_3` is a name with a number."""
    key, _, number = name.rpartition("_") if name[-1:].isdigit() else (name, "", "")
    return say(f"csv_{key}", language) + (f"_{number}" if number else "")


def escape_formula(text: str) -> str:
    """A cell that no spreadsheet reads as a formula."""
    return f"'{text}" if text[:1] in ("=", "+", "-", "@", "\t", "\r") else text
