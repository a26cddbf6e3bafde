"""Every sentence exists, is used, and says the same in every language."""

from __future__ import annotations

import ast
import copy
import pickle
import re
import string
import tomllib
from pathlib import Path

import pytest

from analyzers.common.errors import InputError
from analyzers.common.languages import DEFAULT, FOLDER, LANGUAGES, read_texts
from analyzers.common.parameters import show_value
from analyzers.common.sentences import Sentence

ROOT = Path(__file__).parents[3]
SENTENCES = read_texts(FOLDER, DEFAULT)
SOURCES = [*ROOT.glob("analyzers/**/*.py"), *ROOT.glob("ui/**/*.py"), *ROOT.glob("app.py")]


PARTS = {key for key in SENTENCES if key == "quoted" or key.startswith("value_")}
"""Said within another sentence."""


def placeholders(template: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(template) if name is not None}


def calls() -> list[tuple[str, ast.Call]]:
    """Every `InputError(…)` and `Sentence.of(…)` with where it stands."""
    found = []
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and node.args:
                function = ast.unparse(node.func)
                if function in ("InputError", "errors.InputError", "Sentence.of"):
                    found.append((f"{path.relative_to(ROOT)}:{node.lineno}", node))
    return found


def test_every_key_named_in_the_source_exists() -> None:
    named = [(where, call.args[0].value) for where, call in calls() if isinstance(call.args[0], ast.Constant)]
    assert len(named) > 25
    assert [(where, key) for where, key in named if key not in SENTENCES] == []


def test_every_key_is_used_by_some_module() -> None:
    texts = {
        node.value
        for path in SOURCES
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }
    assert sorted(set(SENTENCES) - texts) == []


def test_each_call_gives_exactly_the_values_its_sentence_needs() -> None:
    wrong = []
    for where, call in calls():
        names = {keyword.arg for keyword in call.keywords}
        if isinstance(call.args[0], ast.Constant) and None not in names:
            key = str(call.args[0].value)
            if names != placeholders(SENTENCES[key]):
                wrong.append((where, key, names))
    assert wrong == []


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_language_takes_the_same_values_and_ends_as_sentences_do(language: str) -> None:
    for key, english in SENTENCES.items():
        text = read_texts(FOLDER, language)[key]
        assert placeholders(text) == placeholders(english), key
        assert key in PARTS or text.endswith((".", ".txt", "。")), key


def test_english_and_japanese_are_whole_and_in_their_own_letters() -> None:
    japanese = tomllib.loads((FOLDER / "ja.toml").read_text(encoding="utf-8"))
    assert japanese.keys() == SENTENCES.keys()
    for key, english in SENTENCES.items():
        assert key in PARTS or english[0].isupper() or english[0] in "{“", key
        assert key in PARTS or any("\u3041" <= c <= "\u30ff" for c in japanese[key]), key
        assert not any("\u3041" <= c <= "\u30ff" or "\u4e00" <= c <= "\u9fff" for c in english), key


def test_a_sentence_is_said_in_either_language_with_user_text_only_as_a_value() -> None:
    sentence = Sentence.of("not_a_text", name="{0} {name} <b>", value="“a”")
    assert sentence.say() == "{0} {name} <b> must be a text; this is “a”."
    assert sentence.say("ja").startswith("{0} {name} <b> は文字列")
    assert str(sentence) == sentence.say("en")


def test_a_quoted_value_has_the_marks_and_words_of_the_language_it_is_said_in() -> None:
    refused = InputError("not_a_text", name="text", value=show_value("a\nb"))
    assert refused.say() == "text must be a text; this is “a⟨0A⟩b”."
    assert "「a⟨0A⟩b」" in refused.say("ja")
    assert "“" not in refused.say("ja")
    for value in (None, 10**30, -(10**30), []):
        assert not re.search("[a-z]{6,}", InputError("not_a_text", name="text", value=show_value(value)).say("ja"))
    assert pickle.loads(pickle.dumps(refused)).say("ja") == refused.say("ja")


def test_an_unknown_key_is_a_programming_error() -> None:
    with pytest.raises(KeyError):
        Sentence.of("no_such_sentence")


def test_sentences_and_input_errors_survive_a_process_border() -> None:
    sentence = Sentence.of("no_tokens", model="tiny")
    assert pickle.loads(pickle.dumps(sentence)) == sentence
    assert copy.deepcopy(sentence) == sentence
    error = pickle.loads(pickle.dumps(InputError("no_tokens", model="tiny")))
    assert isinstance(error, InputError)
    assert str(error) == "This text becomes no token at all with tiny. Type some letters."
    assert error.say("ja") == InputError("no_tokens", model="tiny").say("ja")
