"""A line of text that is never read as HTML."""

from __future__ import annotations

from typing import Any

from ui.components.base import DrawnByScript


class Notice(DrawnByScript):
    """Lines of text with a kind: `info`, `busy`, `warning` or `error`. Value: what `notice` returns."""

    name = "notice"
    attributes = ' role="status" aria-live="polite"'

    def __init__(self, value: dict[str, Any] | None = None, **options: Any) -> None:
        super().__init__(value, elem_classes=["notice"], **options)


def notice(kind: str, *lines: str) -> dict[str, Any]:
    """A `Notice` value."""
    return {"kind": kind, "lines": list(lines)}
