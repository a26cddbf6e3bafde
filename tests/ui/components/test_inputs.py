"""What the text boxes of the page hold is what the settings take."""

from __future__ import annotations

import pytest

from analyzers.serving.request import parse_request
from ui.components.inputs import LayerChoice, OptionalInteger, OptionalText, Words


def test_an_empty_box_is_not_given() -> None:
    raw = {"text": "the", "contrast": OptionalText().preprocess(""), "hide": OptionalInteger().preprocess(" ")}
    assert parse_request("saliency", raw) == parse_request("saliency", {"text": "the"})
    assert OptionalText().preprocess(" London") == " London"


@pytest.mark.parametrize(
    ("typed", "value"),
    [("3", 3), (" 12 ", 12), ("-1", -1), ("x", "x"), ("1.5", "1.5"), ("9" * 9, "9" * 9), (None, None)],
)
def test_a_box_for_a_number_holds_one_or_what_the_gate_refuses(typed: str | None, value: int | str | None) -> None:
    assert OptionalInteger().preprocess(typed) == value
    assert OptionalInteger().postprocess(3) == "3"


@pytest.mark.parametrize(("typed", "value"), [("17", 17), ("last", "last"), (" -1 ", -1), (5, 5), ("", None)])
def test_a_layer_is_a_number_or_a_word_and_one_of_another_model_goes_to_the_gate(typed: object, value: object) -> None:
    assert LayerChoice([("all", "all")]).preprocess(typed) == value


def test_words_stand_one_a_line_with_their_spaces() -> None:
    assert Words().preprocess(" is\n\n are\n  \n") == [" is", " are"]
    assert Words().preprocess(None) == []
    assert Words().postprocess((" is", " are")) == " is\n are"
