"""What a user can cause. Everything else propagates with its traceback."""

from __future__ import annotations

from analyzers.common.languages import DEFAULT, Language
from analyzers.common.sentences import Sentence


class InputError(ValueError):
    """Something the user can put right: its sentence is shown as it is.

    >>> str(InputError("empty_text"))
    'There is no text to look at. Type one, or choose an example.'
    """

    def __init__(self, key: str, **values: object) -> None:
        self.sentence = Sentence.of(key, **values)
        super().__init__(self.sentence.say())

    def say(self, language: Language = DEFAULT) -> str:
        return self.sentence.say(language)

    def __reduce__(self) -> tuple[object, ...]:
        return _restore, (self.sentence,)


def _restore(sentence: Sentence) -> InputError:
    return InputError(sentence.key, **sentence.values)


def reason_of(error: BaseException) -> str:
    """The first line of another library's error, without paths."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    line = (str(error).strip().splitlines() or [type(error).__name__])[0]
    return " ".join("…" if "/" in word or "\\" in word else word for word in line.split())[:200]
