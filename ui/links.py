"""The address of a view: the whole question as a query, written from an answer's request and read back through the gate."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, quote, urlencode

from analyzers.common.errors import InputError
from analyzers.common.limits import LIMITS
from analyzers.common.parameters import Setting, show_value
from analyzers.common.version import VERSION
from analyzers.serving.analyses import analyses_with_tab
from analyzers.serving.request import AnyRequest, is_idle, parameters_of, value_in
from ui.values import Options

if TYPE_CHECKING:
    from analyzers.models.language_model import ModelFacts

PLACES = ("first", "position")
"""Settings that say which token is looked at: that is the link's `pin`."""
MOST_CHARACTERS = 20 * LIMITS.characters
MOST_FIELDS = 100


@dataclass(frozen=True)
class Link:
    """What an address asks for; not yet checked by the gate."""

    tab: str
    raw: Options
    """Settings by the names that the gate knows, `text` and `model` among them."""
    extras: Options = field(default_factory=dict)
    """Of the tab's own widgets: what is compared."""
    pin: int | None = None
    """Position of the token that was looked at."""
    factor: int | None = None
    """Number of the group of neurons that was looked at, from 0; the address counts from 1."""
    revision: str | None = None
    """Of the model, when the link was made."""
    version: str | None = None
    """Of Eccolens, likewise."""


def write_link(requests: Sequence[AnyRequest], model: ModelFacts) -> str:
    """The question of an answer, and what stands beside it, as a query: everything that determines it, defaults included, so
    that it means the same when a default changes. The page adds the pinned token and
    its language."""
    request = requests[0]
    fields: list[tuple[str, str]] = [("tab", request.analysis), ("text", request.text), ("model", model.id)]
    if model.revision is not None and "@" not in model.id:
        fields.append(("revision", model.revision))
    for setting in parameters_of(request.analysis):
        if setting.name in ("model", *PLACES) or is_idle(setting.name, request):
            continue
        value = value_in(request, setting)
        values = value if isinstance(value, tuple) else () if value is None or value is False else (value,)
        fields += [(setting.name, "1" if one is True else str(one)) for one in values]
    for second in requests[1:]:
        if second.text != request.text:
            fields += [("compare", "text"), ("compare_text", second.text)]
        else:
            fields.append(("compare", "norm"))
    return urlencode([*fields, ("v", VERSION)], quote_via=quote)


def asks_for_view(query: object) -> bool:
    """Whether an address holds a question or a lesson: it may name a language alone."""
    return isinstance(query, str) and any(part.startswith(("text=", "lesson=")) for part in query.split("&"))


def read_link(query: object) -> Link:
    """What an address asks for. Raises InputError where it cannot be an address of this page."""
    if not isinstance(query, str) or len(query) > MOST_CHARACTERS:
        raise InputError("link_unreadable")
    try:
        pairs = parse_qsl(query, keep_blank_values=True, max_num_fields=MOST_FIELDS, errors="strict")
    except ValueError:  # UnicodeDecodeError is one
        raise InputError("link_unreadable") from None
    given = dict(reversed(pairs))  # the first of a name counts
    tab = given.get("tab", "saliency")
    if tab not in (row.name for row in analyses_with_tab()):
        choices = ", ".join(row.name for row in analyses_with_tab())
        raise InputError("not_a_choice", name="tab", choices=choices, value=show_value(tab))
    raw: Options = {}
    for setting in parameters_of(tab):
        values = [value for name, value in pairs if name == setting.name]
        if values and setting.name not in PLACES:
            raw[setting.name] = tuple(values) if setting.type == "texts" else _read(setting, values[0])
    if "text" in given:
        raw["text"] = given["text"]
    return Link(
        tab=tab,
        raw=raw,
        extras={name: given[name] for name in ("compare", "compare_text") if name in given},
        pin=_whole(given.get("pin")),
        factor=number - 1 if (number := _whole(given.get("factor"))) else None,
        revision=given.get("revision"),
        version=given.get("v"),
    )


def _read(setting: Setting, value: str) -> object:
    if setting.type == "flag":
        return value == "1" if value in ("0", "1") else value
    if setting.type in ("integer", "number") and value not in setting.words:
        try:
            return int(value) if setting.type == "integer" else float(value)
        except ValueError:
            return value  # refused by its name
    return value


def _whole(value: str | None) -> int | None:
    return int(value) if value is not None and value.isascii() and value.isdecimal() and len(value) < 8 else None
