"""The languages there are, and the texts of one: a TOML file for each, here for the analyses and in `ui` for the page.

A further language is two files. What it leaves out is said in English.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from types import MappingProxyType

Language = str
"""A code such as `en`, the name of its files."""
FOLDER = Path(__file__).parent / "languages"
DEFAULT: Language = "en"
LANGUAGES: tuple[Language, ...] = (
    DEFAULT,
    *sorted(file.stem for file in FOLDER.glob("*.toml") if file.stem != DEFAULT),
)


@cache
def read_texts(folder: Path, language: Language) -> Mapping[str, str]:
    """Every text by its key, those of the default language where the file has none."""
    import tomllib  # 9 ms that importing the app need not wait for

    texts = tomllib.loads((folder / f"{DEFAULT}.toml").read_text(encoding="utf-8"))
    file = folder / f"{language}.toml"
    if language != DEFAULT and file.is_file():
        texts |= tomllib.loads(file.read_text(encoding="utf-8"))
    return MappingProxyType(texts)


def choose_language(codes: Iterable[str]) -> Language:
    """The first of these codes (`ja-JP`, `ja_JP.UTF-8`) that there is a language for, else the default."""
    for code in codes:
        for language in LANGUAGES:
            if code.strip().lower().replace("_", "-").split(".")[0].split("-")[0] == language:
                return language
    return DEFAULT
