"""What the Saliency tab asks when maps are compared: the map on the page beside those chosen, of the pinned token."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from analyzers.common.errors import InputError
from analyzers.common.methods import METHODS
from analyzers.common.settings import MapComparisonSettings
from analyzers.serving.request import parse_request
from ui.tabs.map_comparison import ask_for_comparison


def answer_of(method: str) -> Any:
    raw = {"text": "the keys", "method": method, "baseline": "mean", "aggregate": "sum", "whole_words": True}
    request = parse_request("saliency", {**raw, "contrast": " a", "target": "logit", "generate": 2})
    return SimpleNamespace(request=request, result=SimpleNamespace(explained=(2, 3)))


def test_the_map_on_the_page_is_among_them_with_its_settings() -> None:
    asked = ask_for_comparison(answer_of("shapley"), 3, ["gradient", "occlusion"])
    assert asked.analysis == "map-comparison"
    assert asked.generation.generate == 2
    methods = ("occlusion", "shapley", "gradient")
    assert asked.settings == MapComparisonSettings(methods, 3, "logit", " a", "sum", "mean", True)
    assert asked.settings.methods == tuple(name for name in METHODS if name in methods)


@pytest.mark.parametrize("chosen", [None, "gradient", ["nonsense"], [3], {"a": 1}, 10**40])
def test_what_is_no_list_of_methods_is_refused_by_name(chosen: object) -> None:
    with pytest.raises(InputError, match="methods must be"):
        ask_for_comparison(answer_of("gradient"), 2, chosen)


@pytest.mark.parametrize("position", [1, 4, "x", None, float("nan")])
def test_a_token_that_is_not_explained_is_refused(position: object) -> None:
    with pytest.raises(InputError):
        ask_for_comparison(answer_of("gradient"), position, ["gradient"])


def test_methods_named_twice_or_in_another_order_are_one_question() -> None:
    asked = [
        parse_request("map-comparison", {"text": "a", "methods": methods})
        for methods in (["gradient", "occlusion"], ["occlusion", "gradient", "occlusion"])
    ]
    assert asked[0] == asked[1]
