"""An address holds the whole question: what is written is read back the same, and what is no address is refused."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from analyzers.common.errors import InputError
from analyzers.serving.analyses import analyses_with_tab
from analyzers.serving.request import parameters_of, parse_request, settings_given
from ui.links import MOST_CHARACTERS, asks_for_view, read_link, write_link

TEXTS = (
    " Heathrow airport",
    "日本の首都は、🗼と\n改行\n\n",
    "<script>alert(1)</script>&tab=rankings#x",
    "100% + 1 = 2; a%20b",
    "あ" * 2000,
)
SETTINGS: dict[str, dict[str, Any]] = {
    "saliency": {"method": "integrated-gradients", "points": 50, "contrast": " Manchester", "whole_words": True},
    "layer-predictions": {"layer": "last", "top": 3, "without_final_norm": True},
    "rankings": {"watch": (" is", " are", "\n")},
    "neuron-factors": {"factors": 4, "layers": "first", "unscaled": True, "include_special": True},
}
SAMPLED = {"generate": 7, "sample": True, "temperature": 0.7, "top_k": 11, "top_p": 0.9, "seed": 2**32 - 1}
FACTS: Any = SimpleNamespace(id="tiny", revision="abc")


def test_every_analysis_with_a_tab_has_settings_here() -> None:
    assert set(SETTINGS) == {row.name for row in analyses_with_tab()}


@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("generation", [SAMPLED, {"generate": 0}, {"target_text": " Paris\n"}])
@pytest.mark.parametrize("analysis", SETTINGS)
def test_what_is_written_is_read_back_the_same(analysis: str, generation: dict[str, Any], text: str) -> None:
    asked = parse_request(analysis, {"text": text, "model": "tiny", **generation, **SETTINGS[analysis]})
    link = read_link(write_link([asked], FACTS))
    assert (link.tab, link.revision) == (analysis, "abc")
    assert parse_request(link.tab, link.raw) == asked


@pytest.mark.parametrize("analysis", SETTINGS)
def test_a_link_holds_every_setting_that_is_not_null(analysis: str) -> None:
    """So that it means the same when a default changes."""
    asked = parse_request(analysis, {"text": "x"})
    written = read_link(write_link([asked], FACTS)).raw
    held = {
        s.name for s in parameters_of(analysis) if s.default is not None and s.default is not False and s.default != ()
    }
    assert held - set(written) == {"temperature", "top_k", "top_p", "seed", "device"}


def test_what_is_compared_is_in_the_link() -> None:
    asked = parse_request("rankings", {"text": "a b", "watch": [" c"]})
    other = parse_request("rankings", {"text": " a b", "watch": [" c"]})
    bare = parse_request("rankings", {"text": "a b", "watch": [" c"], "without_final_norm": True})
    assert read_link(write_link([asked, other], FACTS)).extras == {"compare": "text", "compare_text": " a b"}
    assert read_link(write_link([asked, bare], FACTS)).extras == {"compare": "norm"}


@pytest.mark.parametrize(
    "query",
    [
        "tab=admin&text=x",
        "text=" + "x" * MOST_CHARACTERS,
        "&".join(f"a{i}=1" for i in range(200)),
        "text=%ff%fe",
        None,
        ["text=x"],
    ],
)
def test_what_is_no_address_is_refused_in_a_sentence(query: Any) -> None:
    with pytest.raises(InputError):
        read_link(query)


@pytest.mark.parametrize(
    "query", ["text=x&generate=many", "text=x&generate=1e999", "text=x&sample=yes", "text=x&method=magic", "generate=1"]
)
def test_the_gate_refuses_what_a_link_may_not_ask(query: str) -> None:
    link = read_link(query)
    with pytest.raises(InputError):
        parse_request(link.tab, link.raw)


def test_a_pin_that_is_no_position_is_no_pin() -> None:
    assert [read_link(f"text=x&pin={pin}").pin for pin in ("3", "-1", "x", "٣", "9" * 30)] == [
        3,
        None,
        None,
        None,
        None,
    ]


def test_only_what_differs_from_a_default_is_given() -> None:
    asked = parse_request("saliency", {"text": "x", "generate": 3, "method": "gradient"})
    assert dict(settings_given(asked)) == {"generate": 3, "method": "gradient"}


@pytest.mark.parametrize(
    ("query", "is_view"),
    [
        ("text=x", True),
        ("lang=ja&text=x", True),
        ("lang=ja", False),
        ("compare_text=x", False),
        ("", False),
        (None, False),
    ],
)
def test_an_address_without_a_text_is_no_view(query: Any, is_view: bool) -> None:
    assert asks_for_view(query) is is_view
