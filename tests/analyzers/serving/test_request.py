"""The gate: whatever comes in is a request or one named sentence, never another exception."""

from __future__ import annotations

import math
from dataclasses import fields
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analyzers.common.errors import InputError
from analyzers.common.limits import LIMITS
from analyzers.common.parameters import Setting
from analyzers.common.settings import Generation, SaliencySettings
from analyzers.serving.request import Request, parameters_of, parse_request

TABLE = {setting.name: setting for setting in parameters_of("saliency")}

NEVER: list[Any] = [
    float("nan"), float("inf"), -float("inf"), 10**400, -(10**400), 10**5000, 2**63, -1, -0.5, 1e308, 3 + 4j, b"5",
    bytearray(b"x"), [], [1], ["occlusion"], (), {}, {"value": 1}, set(), frozenset({1}), object(), Exception, len,
    Decimal("NaN"), Decimal(1), Fraction(1, 2), np.int64(3), np.float32(0.5), np.array([1, 2]), range(3), iter([]),
    Ellipsis, NotImplemented,
]  # fmt: skip
"""No parameter takes any of these, but for -1 and the like where a text is asked."""

TEXTS: list[Any] = [
    "",
    "nan",
    "1",
    "inf",
    "None",
    "<script>",
    "a\nb\r\nc",
    "\x1b[31m",
    "\x00",
    "\ud800",
    "🚀" * 50,
    "x" * 20_001,
]


def bad_values(setting: Setting) -> list[Any]:
    bad = list(NEVER)
    if setting.type in ("choice", "flag", "integer", "number"):
        bad += TEXTS
    elif setting.type == "text":
        bad += ["", "x" * (LIMITS.characters + 1)]
    if setting.type != "flag":
        bad += [True, False]
    else:
        bad += [0, 1, 1.0, "true"]
    if setting.type in ("integer", "number"):
        bad += [setting.high + 1, setting.low - 1, setting.high * 2 + 0.5]
    if setting.type == "integer":
        bad += [0.5, 1.0000001]
    else:
        bad += [0, 0.0] if setting.type != "flag" else []
    if not setting.is_optional:
        bad.append(None)
    return bad


CASES = [(name, value) for name, setting in TABLE.items() for value in bad_values(setting)]


@pytest.mark.parametrize("name", list(TABLE))
def test_at_least_25_bad_values_are_tried_on_each_parameter(name: str) -> None:
    assert len([case for case in CASES if case[0] == name]) >= 25


@pytest.mark.parametrize("name", list(TABLE))
def test_every_bad_value_is_refused_by_the_name_of_its_parameter(name: str) -> None:
    taken = []
    for value in bad_values(TABLE[name]):
        try:
            parse_request("saliency", {"text": "a", name: value})
        except InputError as error:
            said = str(error)
            assert name in said, said
            assert len(said) < 400
            assert said.isprintable(), "one line that a terminal and a page can show"
            said.encode()
            error.say("ja").encode()
        else:
            taken.append(value)
    assert taken == []


@pytest.mark.parametrize("text", [None, 5, True, ["a"], {"text": "a"}, b"a", float("nan"), object()])
def test_a_text_that_is_none_is_refused(text: Any) -> None:
    with pytest.raises(InputError, match="text must be a text; this is"):
        parse_request("saliency", {"text": text})


def test_an_empty_or_left_out_text_is_refused() -> None:
    with pytest.raises(InputError, match="There is no text to look at"):
        parse_request("saliency", {"text": ""})
    with pytest.raises(InputError, match="text must be a text; this is missing"):
        parse_request("saliency", {})


def test_a_text_over_the_limit_is_refused_with_both_numbers() -> None:
    parse_request("saliency", {"text": "x" * LIMITS.characters})
    with pytest.raises(InputError, match=r"text has 20,001 characters; at most 20,000 are read. Shorten it\."):
        parse_request("saliency", {"text": "x" * (LIMITS.characters + 1)})


@pytest.mark.parametrize("name", ["textt", "TEXT", "", "__class__", "self", "a\nb", "\ud800", "x" * 1000])
def test_an_unknown_setting_is_refused_with_the_ones_there_are(name: str) -> None:
    with pytest.raises(InputError, match="There is no setting called") as caught:
        parse_request("saliency", {"text": "a", name: 1})
    assert "method" in str(caught.value)
    assert str(caught.value).isprintable()
    str(caught.value).encode()


def test_what_is_left_out_has_the_default_of_the_settings_classes() -> None:
    assert parse_request("saliency", {"text": " a"}) == Request(
        "saliency", None, " a", Generation(), "auto", SaliencySettings()
    )
    assert all(setting.is_optional or setting.default is not None for setting in TABLE.values())


def test_null_is_left_out_where_a_parameter_is_optional() -> None:
    raw = {"text": "a"} | {name: None for name, setting in TABLE.items() if setting.is_optional}
    assert parse_request("saliency", raw) == parse_request("saliency", {"text": "a"})


def test_good_values_arrive_in_their_places() -> None:
    request = parse_request(
        "saliency",
        {
            "text": "café", "model": "gpt2", "generate": 3.0, "sample": True, "temperature": 2, "top_k": 5,
            "top_p": 0.5, "seed": 7, "device": "cpu", "method": "integrated-gradients", "target": "logit",
            "contrast": " Paris", "aggregate": "sum", "baseline": "zero", "tolerance": 0.01, "whole_words": True,
            "first": 4,
        },
    )  # fmt: skip
    assert request.generation == Generation(3, True, 2.0, 5, 0.5, 7, None)
    assert isinstance(request.generation.generate, int)
    assert request.settings == SaliencySettings(
        "integrated-gradients", "logit", " Paris", "sum", "zero", "auto", 0.01, True, 4
    )
    assert (request.model, request.device, request.text) == ("gpt2", "cpu", "café")


def value_of(name: str, value: Any) -> Any:
    """What a request holds of this setting."""
    request = parse_request("saliency", {"text": "a", name: value})
    holder = next(part for part in (request.settings, request.generation, request) if hasattr(part, name))
    return getattr(holder, name)


@pytest.mark.parametrize("name", [n for n, s in TABLE.items() if s.type in ("integer", "number")])
def test_both_ends_of_a_range_are_taken(name: str) -> None:
    setting = TABLE[name]
    for value in (setting.low, setting.high):
        assert value_of(name, value) == value


@pytest.mark.parametrize("name", [n for n, s in TABLE.items() if s.type == "choice"])
def test_every_listed_choice_is_taken(name: str) -> None:
    for value in TABLE[name].choices:
        assert value_of(name, value) == value


def test_settings_that_contradict_each_other_are_refused() -> None:
    with pytest.raises(InputError, match="either points"):
        parse_request("saliency", {"text": "a", "points": 50, "tolerance": 0.1})
    with pytest.raises(InputError, match="nothing to sample"):
        parse_request("saliency", {"text": "a", "target_text": " b", "sample": True})


def test_each_setting_of_an_analysis_has_a_parameter_of_the_same_default() -> None:
    for item in fields(SaliencySettings):
        assert TABLE[item.name].default == item.default
    for item in fields(Generation):
        assert TABLE[item.name].default == item.default


def test_command_line_flags_are_unique_and_spelled_with_dashes() -> None:
    flags = [setting.flag for setting in TABLE.values()]
    assert len(set(flags)) == len(flags)
    assert TABLE["top_k"].flag == "--top-k"


SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(st.characters(codec=None), max_size=20), st.binary()
)
ANYTHING = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3)
)


@settings(max_examples=300, deadline=None)
@given(name=st.sampled_from(["text", *TABLE]), value=ANYTHING)
def test_anything_at_all_is_a_request_or_a_sentence(name: str, value: Any) -> None:
    raw = {"text": "a", name: value}
    try:
        request = parse_request("saliency", raw)
    except InputError as error:
        said = str(error).encode().decode()
    else:
        said = ""
        for number in (request.generation.temperature, request.generation.top_p, request.settings.most_error):
            assert math.isfinite(number)
    assert said.isprintable()
