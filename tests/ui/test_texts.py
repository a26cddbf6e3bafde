from __future__ import annotations

import ast
import re
import string
from pathlib import Path

from analyzers.serving.request import SALIENCY
from ui.texts import TEXTS, translations

UI = Path(__file__).parents[2] / "ui"
SAME_IN_BOTH = {"top_k", "top_p", "text_placeholder", "column_id"}


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
    for setting in SALIENCY:
        for choice in setting.choices:
            assert f"{setting.name}_{choice}" in TEXTS


def test_both_languages_fill_in_the_same_values() -> None:
    for key, (english, japanese) in TEXTS.items():
        fields = [{name for _, name, _, _ in string.Formatter().parse(text) if name} for text in (english, japanese)]
        assert fields[0] == fields[1], key


def test_japanese_is_japanese() -> None:
    for key, (english, japanese) in TEXTS.items():
        assert english.strip(), key
        assert key in SAME_IN_BOTH or re.search(r"[぀-ヿ一-鿿]", japanese), key


def test_the_page_gets_every_string_in_both_languages() -> None:
    assert translations("en").keys() == translations("ja").keys() == TEXTS.keys()


def test_help_names_its_papers_in_both_languages() -> None:
    for text in TEXTS["saliency_help"]:
        for paper in ("Sundararajan et al. 2017", "Yin & Neubig 2022", "Simonyan et al.", "Shrikumar et al. 2017"):
            assert paper in " ".join(text.split())
