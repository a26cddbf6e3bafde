"""Every text of the page exists, and is there in every language."""

from __future__ import annotations

import ast
import re
import string
import tomllib
from pathlib import Path

from analyzers.common.languages import DEFAULT, LANGUAGES, read_texts
from analyzers.common.parameters import settings_of
from analyzers.common.settings import SaliencySettings
from ui.i18n import I18N
from ui.texts import FOLDER, say

UI = Path(__file__).parents[2] / "ui"
TEXTS = read_texts(FOLDER, DEFAULT)
SAME_IN_BOTH = {"csv_id", "home_python", "top_k", "top_p", "column_id"}


def named_keys() -> set[str]:
    """Keys that the source names as `T("key")` or `say("key", ...)`."""
    found: set[str] = set()
    for path in UI.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Name)
                and node.func.id in ("T", "say")
                and node.args
            ):
                found |= {
                    leaf.value
                    for leaf in ast.walk(node.args[0])
                    if isinstance(leaf, ast.Constant) and isinstance(leaf.value, str)
                }
    return found


def test_every_named_string_exists() -> None:
    whole = {key for key in named_keys() if re.fullmatch(r"[a-z][a-z0-9_]*[a-z0-9]", key)}
    assert not {key for key in whole if key not in TEXTS and not any(other.startswith(f"{key}_") for other in TEXTS)}


def test_every_choice_has_a_name() -> None:
    for setting in settings_of(SaliencySettings):
        for choice in setting.choices:
            assert f"{setting.name}_{choice}" in TEXTS


def test_every_language_fills_in_the_same_values() -> None:
    for language in LANGUAGES:
        for key, english in TEXTS.items():
            texts = (english, read_texts(FOLDER, language)[key])
            fields = [{name for _, name, _, _ in string.Formatter().parse(text) if name} for text in texts]
            assert fields[0] == fields[1], key


def test_japanese_is_whole_and_japanese() -> None:
    japanese = tomllib.loads((FOLDER / "ja.toml").read_text(encoding="utf-8"))
    assert japanese.keys() == TEXTS.keys()
    for key, english in TEXTS.items():
        assert english.strip(), key
        assert key in SAME_IN_BOTH or re.search(r"[、-〟！-～぀-ヿ一-鿿]", japanese[key]), key


def test_the_page_gets_every_text_in_every_language() -> None:
    assert set(I18N.translations) == set(LANGUAGES)
    assert all(texts.keys() == TEXTS.keys() for texts in I18N.translations.values())


def test_the_limits_are_filled_in() -> None:
    assert say("text_info", "en") == "A leading space counts. At most 20,000 characters, 512 tokens."
    assert "{limit" not in "".join(text for texts in I18N.translations.values() for text in texts.values())


def test_help_names_its_papers_in_every_language() -> None:
    for language in LANGUAGES:
        for paper in ("Sundararajan et al. 2017", "Yin & Neubig 2022", "Simonyan et al.", "Shrikumar et al. 2017"):
            assert paper in " ".join(say("saliency_help", language).split())


def test_quotation_marks_come_with_the_language() -> None:
    """A mark that the code sets would be the English one in every language."""
    for path in UI.rglob("*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        bodies = [node for node in ast.walk(tree) if isinstance(node, ast.Expr)]
        said = {id(node.value) for node in bodies}  # docstrings, which are for developers
        strings = [node for node in ast.walk(tree) if isinstance(node, ast.Constant) and id(node) not in said]
        assert not [node.value for node in strings if isinstance(node.value, str) and "“" in node.value], path
    for path in UI.rglob("*.js"):
        assert "“" not in path.read_text(encoding="utf-8"), path
