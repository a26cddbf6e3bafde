"""A line of text that is never read as HTML."""

from __future__ import annotations

from ui.components.base import DrawnByScript
from ui.values import Value


class Notice(DrawnByScript):
    """Lines of text with a kind: `info`, `busy`, `warning` or `error`; or `check`, of which the first line is in sight and
    the others open at a click. Value: what `notice` returns."""

    name = "notice"
    attributes = ' role="status" aria-live="polite"'

    def __init__(self, value: Value | None = None, **options: object) -> None:
        super().__init__(value, elem_classes=["notice"], **options)


def notice(kind: str, *lines: str) -> Value:
    """A `Notice` value."""
    return {"kind": kind, "lines": list(lines)}
