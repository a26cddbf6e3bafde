"""Text boxes that hold what the settings take: an empty box is "not given"."""

from __future__ import annotations

from collections.abc import Iterable

import gradio as gr


class OptionalText(gr.Textbox):
    """A text, or None where the box is empty."""

    is_template = True  # drawn as its parent is

    def preprocess(self, payload: str | None) -> str | None:
        return payload or None


class OptionalInteger(gr.Textbox):
    """A whole number, or None where the box is empty; what is neither is passed on, to be refused by its name."""

    is_template = True

    def preprocess(self, payload: str | None) -> int | str | None:  # type: ignore[override]
        return read_integer(payload) if isinstance(payload, str) else payload or None

    def postprocess(self, value: int | str | None) -> str | None:  # type: ignore[override]
        return None if value is None else str(value)


class OptionalChoice(gr.Dropdown):
    """One of several, or None for the choice without a value."""

    is_template = True

    def preprocess(self, payload: object) -> object:  # type: ignore[override]
        return super().preprocess(payload) or None  # type: ignore[arg-type]

    def postprocess(self, value: object) -> object:  # type: ignore[override]
        return super().postprocess("" if value is None else value)  # type: ignore[arg-type]


class LayerChoice(gr.Dropdown):
    """A layer by its number or in a word; a number of the model before may stand there still, and goes to the gate, where
    `allow_custom_value` is set. No constructor of its own: with one, an update of the choices lost the label and the name."""

    is_template = True

    def preprocess(self, payload: object) -> object:  # type: ignore[override]
        return read_integer(payload) if isinstance(payload, str) else payload


class Words(gr.Textbox):
    """A word a line, leading spaces kept; empty lines are not words."""

    is_template = True

    def preprocess(self, payload: str | None) -> list[str]:  # type: ignore[override]
        return [word for word in payload.split("\n") if word.strip()] if isinstance(payload, str) else []

    def postprocess(self, value: str | Iterable[str] | None) -> str | None:  # type: ignore[override]
        return value if value is None or isinstance(value, str) else "\n".join(value)


def read_integer(typed: str) -> int | str | None:
    """A whole number, what was typed where it is none, and None for nothing."""
    text = typed.strip()
    is_number = text.removeprefix("-").isdecimal() and len(text) < 8
    return int(text) if is_number else text or None
