"""The texts of the page, by key; `ui/languages` has a file for each language. The analyses' sentences are their own."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

from analyzers.common.languages import DEFAULT, Language, read_texts
from analyzers.common.limits import LIMITS

FOLDER = Path(__file__).parent / "languages"
LIMIT_VALUES = {f"{{limit_{name}}}": f"{value:,}" for name, value in asdict(LIMITS).items()}


def say(key: str, language: Language, **values: object) -> str:
    """A text in a language, its values filled in. Raises KeyError for an unknown key or a missing value."""
    template = read_texts(FOLDER, language)[key]
    for name, value in LIMIT_VALUES.items():
        template = template.replace(name, value)
    return template.format(**values) if values else template


def quote(text: str, language: Language) -> str:
    """A text in the language's own quotation marks."""
    return say("quoted", language, text=text)


def text_keys() -> tuple[str, ...]:
    """The key of every text."""
    return tuple(read_texts(FOLDER, DEFAULT))
