"""From what the page's widgets hold to a request."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from analyzers.common.errors import InputError
from analyzers.common.settings import DEFAULT_FACTORS
from analyzers.serving.request import Request, parse_request


def page_request(analysis: str, raw: Mapping[str, Any]) -> Request:
    """A request from the page's widgets, where an empty box means "not given". Raises InputError."""
    given = dict(raw)
    for name in ("contrast", "target_text", "hide"):
        if given.get(name) == "":
            del given[name]
    for name, left_out in (("points", "auto"), ("layer", "all")):
        if given.get(name) == left_out:
            del given[name]
    if isinstance(given.get("hide"), str) and given["hide"].isdecimal() and len(given["hide"]) < 7:
        given["hide"] = int(given["hide"])
    only_last = analysis == "layer-predictions" and given.get("layer") == "last"
    if only_last:
        del given["layer"]
    if isinstance(given.get("watch"), str):
        given["watch"] = watched_words(given["watch"])
    if analysis == "neuron-factors":
        return _factors_request(given)
    asked = parse_request(analysis, given)
    return replace(asked, settings=replace(asked.settings, only_last=True)) if only_last else asked


def _factors_request(given: dict[str, Any]) -> Request:
    """The page names layers by preset, or by a range."""
    presets = ("all", "first", "middle", "last", "range")
    preset = given.pop("layers", "all")
    if preset not in presets:
        raise InputError("not_a_choice", name="layers", choices=", ".join(presets), value="“…”")
    if preset != "range":
        given.pop("first_layer", None)
        given.pop("last_layer", None)
    if given.get("factors") == DEFAULT_FACTORS:  # the slider as it stands: fewer where the text is short
        del given["factors"]
    asked = parse_request("neuron-factors", given)
    if preset == "range":
        return asked
    return replace(asked, settings=replace(asked.settings, preset=preset))


def watched_words(text: str) -> list[str]:
    """One word a line, leading spaces kept; empty lines are not words."""
    return [word for word in text.split("\n") if word.strip()]
