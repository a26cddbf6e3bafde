"""What is said of a text that a tokenizer can hardly read."""

from __future__ import annotations

import pytest
from families import tiny_model

from analyzers.models.reading_notes import note_reading

JAPANESE = "日本の首都は東京"


def keys(text: str) -> list[str]:
    model = tiny_model("gpt2")
    return [note.key for note in note_reading(model, text, model.encode(text))]


def test_a_japanese_text_in_pieces_is_said_with_the_model_that_reads_it_better() -> None:
    assert keys(JAPANESE) == ["characters_in_pieces", "reads_japanese_better"]
    model = tiny_model("gpt2")
    better = note_reading(model, JAPANESE, model.encode(JAPANESE))[-1]
    assert "LLM-jp" in better.say("en")
    assert "LLM-jp" in better.say("ja")


@pytest.mark.parametrize("text", ["the keys to the café", "an 👩‍🚀 in the air", "the 東京 of"])
def test_of_other_texts_and_of_a_word_or_two_nothing_is_said(text: str) -> None:
    assert keys(text) == []


def test_a_text_in_chinese_is_not_called_japanese() -> None:
    assert keys("北京是中国的首都") == ["characters_in_pieces"]
