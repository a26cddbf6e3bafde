"""What the charts share: their theme, and how texts and numbers stand on them."""

from __future__ import annotations

from typing import Any
from unicodedata import east_asian_width

import altair as alt
import numpy as np

from analyzers.common.languages import Language
from analyzers.common.tokens import SPACE, show_whitespace
from analyzers.models.language_model import ModelFacts
from analyzers.serving.dispatch import AnyAnswer
from ui.texts import quote, say
from ui.theme import CHART, EMBED


def apply_theme(chart: Any, said: str = "") -> Any:
    """The page's chart theme: transparent, in the text's own colour, exportable as SVG and PNG. Who does not see it is read
    its title and what is `said` of it."""
    title = chart.title if isinstance(chart.title, alt.TitleParams) else None
    parts = [] if title is None else [title.text] if isinstance(title.text, str) else list(title.text)
    return chart.configure(**CHART).properties(
        usermeta=EMBED, description=". ".join([" ".join(parts), said]).strip(". ")
    )


def wrap_line(line: str, width: int = 52) -> list[str]:
    """A line in lines of about `width` letters, broken at its own dots; a Japanese letter is as wide as two."""
    dot = " · " if " · " in line else "・"
    lines = [""]
    for part in line.split(dot):
        if lines[-1] and text_width(lines[-1]) + text_width(part) > width:
            lines.append("")
        lines[-1] += f"{dot}{part}" if lines[-1] else part
    return lines


def text_width(text: str) -> int:
    """How wide a text is drawn, in Latin letters."""
    return sum(2 if east_asian_width(character) in "WF" else 1 for character in text)


def format_self_check(difference: float, language: Language) -> str:
    """The self-check's number; what is left in float32 is rounding, and says so."""
    return np.format_float_positional(difference, 1, fractional=False, trim="-") + (
        say("rounding", language) if 0 < difference <= 1e-3 else ""
    )


def quote_text(text: str, language: Language, most: int = 44) -> str:
    """A text as a chart names it: in quotes, on one line, its leading and trailing white space visible."""
    words = text.strip(" ")
    lead = len(text) - len(text.lstrip(" "))
    seen = SPACE * lead + " ".join(show_whitespace(word) for word in words.split(" "))
    seen += SPACE * (len(text) - lead - len(words))
    return quote(seen if len(seen) <= most else seen[: most - 1] + "…", language)


def name_model(model: ModelFacts) -> str:
    """A model with its revision and its precision."""
    name = model.id if model.revision is None or "@" in model.id else f"{model.id}@{model.revision[:12]}"
    return f"{name} ({model.dtype})"


def tell_model(model: ModelFacts, language: Language) -> str:
    """A model, and how far it passed its own check."""
    check = format_self_check(model.self_check, language)
    return say("model_checked", language, model=name_model(model), check=check)


def name_beside(answer: AnyAnswer, other: AnyAnswer, language: Language) -> str:
    """What tells an answer from the one beside it: its model, or its text; empty where the two differ in neither."""
    if answer.model.id != other.model.id:
        layers = say("layers_line", language, n=answer.model.n_layers)
        return f"{name_model(answer.model)} · {layers}"
    return quote_text(answer.request.text, language) if answer.request.text != other.request.text else ""


def name_reading(answer: AnyAnswer, other: AnyAnswer, language: Language) -> str:
    """What tells an answer from the one beside it in a cell of a table: its model, its text, or whether the final norm was
    applied; its model where the two differ in none of these."""
    norms = [getattr(one.result, "final_norm", True) for one in (answer, other)]
    if answer.model.id == other.model.id and answer.request.text != other.request.text:
        return quote_text(answer.request.text, language)
    if answer.model.id == other.model.id and norms[0] != norms[1]:
        return say("own_norm" if norms[0] else "compare_norm", language)
    return answer.model.id


def percent(probability: float) -> str:
    """With one digit; what would read 0 is said to be small."""
    return f"{probability:.1%}" if probability >= 0.0005 else "< 0.1%"
