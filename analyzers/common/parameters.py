"""Settings that describe and check themselves: what each field takes stands in its annotation, once.

The command line, the endpoints and the page's widgets are made from `settings_of`, and the gate (`serving.request`)
parses what comes from outside with `Setting.parse`, so they cannot drift apart.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import MISSING, dataclass, fields
from types import NoneType, UnionType
from typing import Annotated, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from analyzers.common.errors import InputError
from analyzers.common.limits import LIMITS
from analyzers.common.sentences import Sentence, quote

S = TypeVar("S", bound="Settings")
ValueType = Literal["text", "choice", "integer", "number", "flag", "texts"]
MOST_LAYERS = MOST_POSITIONS = 2**20


@dataclass(frozen=True)
class Parameter:
    """What a field of settings takes, beside its type. Stands in its annotation."""

    help: str
    low: int | float = 0
    high: int | float = 0
    """Both included."""
    choices: Collection[str] = ()
    """Of a text that is one of these; read when it is needed, so a table of rows may stand here."""
    turns_off: str = ""
    """The public name of a flag that is on unless this is given, such as `unscaled` of `scale_layers`."""


@dataclass(frozen=True)
class Setting:
    """One named parameter: what it takes, what it is when left out, and what it means."""

    name: str
    """As the command line and the endpoints have it."""
    field: str
    """Of the settings class."""
    type: ValueType
    default: object
    help: str
    low: int | float = 0
    high: int | float = 0
    listed: Collection[str] = ()
    words: tuple[str, ...] = ()
    """What an integer may be instead, such as `all`."""
    is_optional: bool = False
    """Whether null is a value: "not given"."""

    @property
    def choices(self) -> tuple[str, ...]:
        return tuple(self.listed)

    @property
    def flag(self) -> str:
        """As the command line spells it."""
        return "--" + self.name.replace("_", "-")

    @property
    def turns_off(self) -> bool:
        """Whether the flag is the opposite of its field."""
        return self.name != self.field

    def parse(self, value: object) -> object:
        """A value from outside as the field takes it. Raises InputError with the name and what is allowed."""
        if value is None and self.is_optional:
            return self.default
        if self.type == "text":
            return _parse_text(self.name, value)
        if self.type == "choice":
            return self._parse_choice(value)
        if self.type == "flag":
            if not isinstance(value, bool):
                raise InputError("not_a_flag", name=self.name, value=show_value(value))
            return value
        if self.type == "texts":
            return self._parse_texts(value)
        if isinstance(value, str) and value in self.words:
            return value
        return self._parse_number(value)

    def _parse_choice(self, value: object) -> str:
        if not isinstance(value, str) or value not in self.choices:
            raise InputError("not_a_choice", name=self.name, choices=", ".join(self.choices), value=show_value(value))
        return value

    def _parse_texts(self, value: object) -> tuple[str, ...]:
        items = value if isinstance(value, (list, tuple)) else None
        texts = tuple(item for item in items or () if isinstance(item, str))
        if items is None or len(texts) < len(items):
            most = len(self.listed) or int(self.high)
            raise InputError("not_a_list", name=self.name, most=most, value=show_value(value))
        if self.listed:
            for text in texts:
                self._parse_choice(text)
            return tuple(choice for choice in self.choices if choice in texts)
        if len(texts) > self.high:
            raise InputError("too_many_watched", n=len(texts), limit=int(self.high))
        return texts

    def _parse_number(self, value: object) -> int | float:
        is_integer = self.type == "integer"
        low, high = (int(self.low), int(self.high)) if is_integer else (self.low, self.high)
        bounds = {"name": self.name, "low": f"{low:,}", "high": f"{high:,}", "value": show_value(value)}
        bad = InputError("not_an_integer" if is_integer else "not_a_number", **bounds)
        if self.words and isinstance(value, str):
            bad = InputError("not_a_word_or_integer", words=", ".join(self.words), **bounds)
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise bad
        # Compared first: an int can be too large to become a float, and NaN is in no range.
        if not low <= value <= high or (is_integer and value != int(value)):
            raise bad
        return int(value) if is_integer else float(value)


@dataclass(frozen=True)
class Settings:
    """Base of frozen dataclasses whose annotated fields are settings. They are checked when they are made."""

    def __post_init__(self) -> None:
        """Raises InputError for a value that its field does not take."""
        for setting in settings_of(type(self)):
            value = getattr(self, setting.field)
            setting.parse(not value if setting.turns_off else value)


_READ: dict[type, tuple[Setting, ...]] = {}


def settings_of(cls: type[Settings]) -> tuple[Setting, ...]:
    """The settings of a class, in the order of its fields. A field without a `Parameter` is none."""
    if cls not in _READ:
        _READ[cls] = _read_settings(cls)
    return _READ[cls]


def _read_settings(cls: type[Settings]) -> tuple[Setting, ...]:
    hints = get_type_hints(cls, include_extras=True)
    defaults = {item.name: item.default for item in fields(cls)}  # type: ignore[arg-type]
    return tuple(
        _read_setting(name, hint, defaults[name])
        for name, hint in hints.items()
        if name in defaults and get_origin(hint) is Annotated
    )


def build_settings(cls: type[S], given: Mapping[str, object]) -> S:
    """Settings from values that `Setting.parse` returned, by their public names; others have their defaults.

    Raises InputError where they contradict each other.
    """
    return cls(
        **{
            setting.field: not given[setting.name] if setting.turns_off else given[setting.name]
            for setting in settings_of(cls)
            if setting.name in given
        }
    )


def show_value(value: object) -> Sentence | str:
    """A value as a sentence quotes it: short, on one line."""
    if value is None:
        return Sentence.of("value_missing")
    if isinstance(value, str):
        return quote(value, 40)
    if isinstance(value, int) and abs(value) >= 10**20:  # Python refuses to spell out thousands of digits
        return Sentence.of("value_very_large" if value > 0 else "value_very_small")
    if isinstance(value, (bool, int, float)):
        return str(value)
    return Sentence.of("value_of_type", type=type(value).__name__)


def _parse_text(name: str, value: object) -> str:
    if not isinstance(value, str):
        raise InputError("not_a_text", name=name, value=show_value(value))
    if not value:
        raise InputError("empty_setting", name=name)
    if len(value) > LIMITS.characters:
        raise InputError("text_too_long", name=name, n=f"{len(value):,}", limit=f"{LIMITS.characters:,}")
    return value


def _read_setting(field: str, hint: object, default: object) -> Setting:
    annotated, parameter = get_args(hint)
    parts = get_args(annotated) if get_origin(annotated) in (Union, UnionType) else (annotated,)
    words = tuple(word for part in parts if get_origin(part) is Literal for word in get_args(part))
    types = [part for part in parts if part is not NoneType and get_origin(part) is not Literal]
    is_listed = (bool(parameter.choices) or not types) and types != [tuple[str, ...]]
    return Setting(
        name=parameter.turns_off or field,
        field=field,
        type="choice" if is_listed else _type_of(types[0]),
        default=False if parameter.turns_off else None if default is MISSING else default,
        help=parameter.help,
        low=parameter.low,
        high=parameter.high,
        listed=parameter.choices or (words if is_listed else ()),
        words=() if is_listed else words,
        is_optional=NoneType in parts or bool(words and types),
    )


def _type_of(type_: object) -> ValueType:
    by_type: dict[object, ValueType] = {bool: "flag", int: "integer", float: "number", str: "text"}
    return "texts" if get_origin(type_) is tuple else by_type[type_]
