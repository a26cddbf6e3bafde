"""What a browser sends with an event, checked."""

from __future__ import annotations

import gradio as gr

from analyzers.common.errors import InputError


def number_within(name: str, value: object, low: float, high: float) -> float:
    """A number that the browser sent. Raises InputError where it is none from low to high."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not low <= value <= high:
        raise InputError("not_a_number", name=name, low=low, high=high, value=type(value).__name__)
    return float(value)


def index_of(event: gr.EventData) -> object:
    """What a component sent with its event; None where it sent anything else."""
    return event._data.get("index") if isinstance(event._data, dict) else None


def position_of(value: object, choices: tuple[int, ...]) -> int:
    """A position that the browser sent. Raises InputError where it is not one of `choices`."""
    if isinstance(value, bool) or not isinstance(value, int) or value not in choices:
        shown = value if isinstance(value, (int, float)) else type(value).__name__
        raise InputError("position_not_explained", position=shown, first=choices[0], last=choices[-1])
    return value
