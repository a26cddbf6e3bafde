"""The study group's experiments as lessons: a question each, its texts in a language, and the examples that open it."""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import cache
from pathlib import Path
from urllib.parse import parse_qs

import gradio as gr

from analyzers.common.languages import Language
from analyzers.models.store import Store
from ui.components.lesson_card import LessonCard
from ui.errors import language_of
from ui.examples import EXAMPLES, Example, label_of
from ui.links import MOST_CHARACTERS, MOST_FIELDS, Link
from ui.runs import QUIET
from ui.texts import say
from ui.values import Event, Options, Value

FOLDER = Path(__file__).parent / "lessons"
TRIED_ON = "gpt2"
"""What the group used where an experiment names no model."""
NUMBERS = tuple(dict.fromkeys(sorted(example.number for example in EXAMPLES)))


@dataclass(frozen=True)
class Lesson:
    """The texts of one experiment."""

    question: str
    do: str
    look: str
    """What to look for."""
    think: str
    beware: str
    """Where the picture misleads."""
    group: str
    """What the study group looked for and saw."""
    instead: str = ""
    """What to expect of the model that stands in, where it is always the same."""


@cache
def read_lessons(language: Language) -> dict[int, Lesson]:
    """Every lesson by its number. Raises TypeError where a text is missing or not one of a lesson's."""
    texts = tomllib.loads((FOLDER / f"{language}.toml").read_text(encoding="utf-8"))
    return {int(number): Lesson(**texts[number]) for number in sorted(texts, key=int)}


def lesson_card(store: Store, language: Language) -> Value:
    """A `LessonCard` value: the lessons, what opens each, and the words around them."""
    words = ("name", "choose", "previous", "next", "all", "guide", "seen", "not_here", "other_model", "other", "shows")
    parts = [part.name for part in fields(Lesson) if part.name not in ("question", "instead")]
    own = ("own", "own_help", "own_title", "own_note", "own_copy", "own_from")
    return {
        "lessons": [
            {
                **{part: getattr(lesson, part) for part in (*parts, "question", "instead")},
                "number": number,
                "tried": tried.models[0] if (tried := _of(number)[0]).models else TRIED_ON,
                "tried_name": label_of(tried.models[0] if tried.models else TRIED_ON),
                "texts": list(dict.fromkeys(str(one.values_on(one.model(store, None))["text"]) for one in _of(number))),
                "steps": [{"id": one.id, "name": _name(one, language)} for one in _of(number) if one.can_be_had(store)],
            }
            for number, lesson in read_lessons(language).items()
        ],
        "parts": parts,
        "words": {word: say(f"lesson_{word}", language) for word in (*words, *parts, *own)}
        | {"copied": say("bar_copied", language), "by_hand": say("bar_by_hand", language)},
    }


def build_lesson_card(store: Store, on_load: Callable[..., Event]) -> LessonCard:
    """The card above the tabs. It presses the examples' own buttons, and asks nothing of the server but its texts."""
    card = LessonCard(elem_id="lesson-card")

    def fill(request: gr.Request) -> Value:
        return lesson_card(store, language_of(request))

    on_load(fill, None, card, queue=False, **QUIET)
    return card


def link_of_lesson(query: object, store: Store) -> Link | None:
    """What the address of a lesson alone asks for: its first example. None where it asks for a text of its own."""
    if not isinstance(query, str) or len(query) > MOST_CHARACTERS:
        return None
    try:
        given = parse_qs(query, max_num_fields=MOST_FIELDS)
    except ValueError:
        return None
    number = given.get("lesson", [""])[0]
    if "text" in given or number not in map(str, NUMBERS):
        return None
    example = next((one for one in _of(int(number)) if one.can_be_had(store)), _of(int(number))[0])
    model = example.model(store, None)
    values = example.values_on(model)
    extras: Options = {name: values[name] for name in ("compare", "compare_text") if name in values}
    return Link(example.analysis, example.asks(model), extras)


def _of(number: int) -> list[Example]:
    return [example for example in EXAMPLES if example.number == number]


def _name(example: Example, language: Language) -> str:
    """Of a step, beside the others of its lesson."""
    if example.is_variant:
        return say(example.label, language)
    beside = [other for other in _of(example.number) if other.is_variant]
    if not beside:
        return say(example.analysis, language)
    return say("example_greedy" if beside[0].label == "example_sampled" else "example_all_layers", language)
