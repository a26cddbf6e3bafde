"""Which language is chosen, and what a language costs: one file beside the others."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from analyzers.common.languages import FOLDER, LANGUAGES, choose_language, read_texts


@pytest.mark.parametrize(
    ("codes", "language"),
    [
        (["ja-JP", "en"], "ja"),
        (["en-US", "ja"], "en"),
        (["fr-FR", " ja"], "ja"),
        (["ja_JP.UTF-8"], "ja"),
        (["jam"], "en"),
        (["*", ""], "en"),
        ([], "en"),
    ],
)
def test_the_first_language_that_there_is_a_file_for_is_chosen(codes: list[str], language: str) -> None:
    assert choose_language(codes) == language


def test_the_languages_are_the_files_there_are_english_first() -> None:
    assert LANGUAGES == ("en", "ja")
    assert {file.stem for file in FOLDER.iterdir()} == set(LANGUAGES)


def test_what_a_language_leaves_out_is_said_in_english(tmp_path: Path) -> None:
    (tmp_path / "en.toml").write_text('a = "one"\nb = "two"\n')
    (tmp_path / "fr.toml").write_text('b = "deux"\n', encoding="utf-8")
    assert dict(read_texts(tmp_path, "fr")) == {"a": "one", "b": "deux"}
    assert read_texts(tmp_path, "xx") == read_texts(tmp_path, "en")


@pytest.mark.parametrize("folder", [FOLDER, FOLDER.parents[2] / "ui" / "languages"], ids=["analyzers", "ui"])
def test_punctuation_beside_japanese_letters_is_full_width(folder: Path) -> None:
    letter = r"[\u3040-\u30ff\u3400-\u9fff]"
    texts = tomllib.loads((folder / "ja.toml").read_text(encoding="utf-8"))
    wrong = {key: text for key, text in texts.items() if re.search(f"{letter}[():?]|[():?]{letter}", text)}
    assert not wrong
