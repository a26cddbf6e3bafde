from __future__ import annotations

import base64
from dataclasses import replace

import numpy as np
from conftest import completed
from families import tiny_model

from analyzers.common.progress import finish
from analyzers.saliency import Saliency, SaliencySettings, compute_saliency
from ui.charts.token_strip import draw_glyphs, strip_value

TEXT = "the keys\nto 東 the <b>"


def saliency(**settings: object) -> Saliency:
    model = tiny_model("gpt2")
    completion = completed(model, TEXT, target_text=" the cabinet")
    return finish(compute_saliency(model, completion, SaliencySettings(**settings)))  # type: ignore[arg-type]


def unpacked(packed: str, width: int) -> np.ndarray:
    return np.frombuffer(base64.b64decode(packed), dtype="<f4").reshape(-1, width)


def test_a_character_of_three_tokens_is_drawn_once() -> None:
    drawn = [glyph for glyph in draw_glyphs(saliency().tokens, (), "en") if "東" in glyph["text"]]
    assert [(glyph["text"].strip("␣"), len(glyph["parts"])) for glyph in drawn] == [("東", 3)]


def test_every_position_is_drawn_exactly_once_and_in_order() -> None:
    result = saliency()
    positions = [position for glyph in draw_glyphs(result.tokens, (), "en") for position in glyph["parts"]]
    assert positions == list(range(len(result.tokens)))


def test_a_newline_is_shown_and_breaks_the_line() -> None:
    (broken,) = [glyph for glyph in draw_glyphs(saliency().tokens, (), "en") if glyph["breaks"]]
    assert "↵" in broken["text"]
    assert broken["breaks"] == 1


def test_the_matrix_holds_the_signed_shares() -> None:
    result = saliency()
    value = strip_value(result, "en", None)
    assert result.shares is not None
    np.testing.assert_allclose(unpacked(value["matrix"], value["width"]), result.shares * result.signs, atol=1e-6)
    assert value["scale"] == 1.0
    assert value["is_signed"]


def test_signed_sums_are_divided_by_their_scale() -> None:
    result = saliency(method="input-x-gradient", aggregate="sum")
    value = strip_value(result, "en", None)
    matrix = unpacked(value["matrix"], value["width"])
    assert np.isclose(np.abs(matrix).max(), 1.0)
    np.testing.assert_allclose(matrix * value["scale"], result.scores, rtol=1e-5, atol=1e-8)


def test_two_maps_side_by_side_have_one_scale() -> None:
    result = saliency(method="input-x-gradient", aggregate="sum")
    weak = replace(result, scores=result.scores / 4)
    both = [strip_value(one, "en", None, beside=other) for one, other in ((result, weak), (weak, result))]
    assert both[0]["scale"] == both[1]["scale"] == np.abs(result.scores).max()
    first, second = (unpacked(value["matrix"], value["width"]) for value in both)
    np.testing.assert_allclose(second, first / 4, rtol=1e-5, atol=1e-8)
