"""The sentences that an analysis says to a person: an error, or what to be careful about.

An analysis names a sentence by its key and gives the values; the page, the endpoint or the command line that shows it
chooses the language. A visitor's text is only ever a value, never part of a template.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from types import MappingProxyType

from analyzers.common.languages import DEFAULT, FOLDER, Language, read_texts


@dataclass(frozen=True)
class Sentence:
    """A sentence by key and values; `say` puts it in a language, and with it the values that are sentences themselves."""

    key: str
    values: MappingProxyType[str, object] = field(default_factory=lambda: MappingProxyType({}))

    @classmethod
    def of(cls, key: str, **values: object) -> Sentence:
        """Raises KeyError for a key that there is no sentence for."""
        read_texts(FOLDER, DEFAULT)[key]
        return cls(key, MappingProxyType(values))

    def say(self, language: Language = DEFAULT) -> str:
        said = {
            name: value.say(language) if isinstance(value, Sentence) else value for name, value in self.values.items()
        }
        return read_texts(FOLDER, language)[self.key].format(**said)

    def __str__(self) -> str:
        return self.say()

    def __reduce__(self) -> tuple[object, ...]:  # a mapping proxy does not pickle
        return _restore, (self.key, dict(self.values))


def quote(text: str, most: int = 60) -> Sentence:
    """A user's text inside a sentence: short, on one line, whole characters only, so that anyone can pass it on."""
    cut = text if len(text) <= most else f"{text[:most]}…"
    return Sentence.of("quoted", text="".join(c if c.isprintable() else f"⟨{ord(c):02X}⟩" for c in cut))


def _restore(key: str, values: dict[str, object]) -> Sentence:
    return Sentence.of(key, **values)
