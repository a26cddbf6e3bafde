"""The lessons: every text there in every language, each opens its own example, its address asks for the same."""

from __future__ import annotations

import json
import re
from dataclasses import fields
from typing import Any

import pytest

from analyzers.common.languages import LANGUAGES, Language
from analyzers.models.store import ModelStore
from analyzers.serving.request import parse_request
from ui.examples import EXAMPLES
from ui.lessons import NUMBERS, Lesson, lesson_card, link_of_lesson, read_lessons
from ui.links import asks_for_view
from ui.ready import requests_of

STAND_INS = (3, 4, 5)
"""Lessons that another model always stands in for where the Hub is out of reach."""


@pytest.fixture(scope="module")
def store() -> ModelStore:
    return ModelStore()


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_lesson_has_each_of_its_texts(language: Language) -> None:
    lessons = read_lessons(language)
    assert tuple(lessons) == NUMBERS == tuple(range(1, 13))
    for number, lesson in lessons.items():
        for part in fields(Lesson):
            text = getattr(lesson, part.name)
            assert text.strip() == text, (number, part.name)
            assert bool(text) == (part.name != "instead" or number in STAND_INS), (number, part.name)
            assert language == "en" or not text or re.search(r"[぀-ヿ一-鿿]", text), (number, part.name)
            assert len(text) < 500, (number, part.name)


def test_japanese_lessons_are_punctuated_as_japanese() -> None:
    for number, lesson in read_lessons("ja").items():
        for part in fields(Lesson):
            text = getattr(lesson, part.name)
            assert not re.search(r"[“”()]|[぀-ヿ一-鿿][,.:;!?]", text), (number, part.name, text)


def test_a_lesson_without_a_text_is_refused() -> None:
    with pytest.raises(TypeError, match="beware"):
        Lesson(question="?", do="a", look="b", think="c", group="d")  # type: ignore[call-arg]


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_card_holds_them_and_the_buttons_that_open_them(store: ModelStore, language: Language) -> None:
    card = json.loads(json.dumps(lesson_card(store, language)))
    assert [lesson["number"] for lesson in card["lessons"]] == list(range(1, 13))
    ids = [step["id"] for lesson in card["lessons"] for step in lesson["steps"]]
    assert set(ids) <= {example.id for example in EXAMPLES}
    assert len(ids) == len(set(ids))
    for lesson in card["lessons"]:
        names = [step["name"] for step in lesson["steps"]]
        assert len(names) == len(set(names)), lesson["number"]
    assert set(card["parts"]) <= set(card["words"])


@pytest.mark.parametrize("number", NUMBERS)
def test_the_address_of_a_lesson_asks_for_its_first_example(store: ModelStore, number: int) -> None:
    example = next(one for one in EXAMPLES if one.number == number and one.can_be_had(store))
    assert asks_for_view(f"lesson={number}&lang=ja")
    link = link_of_lesson(f"lesson={number}&lang=ja", store)
    assert link is not None
    assert parse_request(link.tab, link.raw) == requests_of(example, store)[0]
    assert link.extras.get("compare") == example.values.get("compare")


@pytest.mark.parametrize(
    "query",
    ["lesson=0", "lesson=13", "lesson=", "lesson=x", "lesson=1&text=a", "lesson=%FF", "lesson=1" + "&a=1" * 200, 3],
)
def test_what_is_no_lesson_is_none(store: ModelStore, query: Any) -> None:
    assert link_of_lesson(query, store) is None


def test_where_a_space_is_a_token_the_counting_text_ends_with_it() -> None:
    (counting,) = (example for example in EXAMPLES if example.number == 11)
    assert counting.values_on("gpt2")["text"] == " 1, 1,"
    assert counting.values_on("smollm2-135m-instruct")["text"] == " 1, 1, "
