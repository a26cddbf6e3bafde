from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from conftest import completed
from families import tiny_model

from analyzers.common.progress import finish
from analyzers.common.settings import MapComparisonSettings
from analyzers.map_comparison import MapComparison, compare_maps
from analyzers.methods.deletion import Curves
from ui.charts.map_comparison import comparison_chart, sheet, strip_rows, table_rows, verdict


@pytest.fixture(scope="module")
def made() -> MapComparison:
    """Numbers put in by hand: occlusion falls at once, the gradient as the random orders do."""
    model = tiny_model("gpt2")
    completion = completed(model, "the the to", target_text=" the")
    settings = MapComparisonSettings(methods=("occlusion", "gradient"))
    result = finish(compare_maps(model, completion, settings))
    maps = np.array([[0.7, -0.2, 0.1], [0.1, 0.2, 0.7]])
    falls = [[0, -9, -9, -9], [0, -3, -6, -9], *([[0, -3, -6, -9]] * 20)]
    rises = [[-9, -1, -1, 0], [-9, -6, -3, 0], *([[-9, -6, -3, 0]] * 20)]
    return replace(result, maps=maps, curves=Curves(np.array(falls, dtype=float), np.array(rises, dtype=float)))


def test_the_verdict_names_the_best_the_last_and_how_far_they_agree(made: MapComparison) -> None:
    lines, is_told = verdict(made, "en")
    assert is_told
    assert lines[0].startswith("Believe Occlusion (leave one out) first: taken together, its order makes “␣the”")
    assert "4.00 nats, above 20 of 20 random orders (which reach 0.00)" in lines[0]
    assert lines[1] == "Last comes Gradient: 0.00 nats, above 0 of 20."
    assert lines[2] == "Rank agreement of Occlusion (leave one out) and Gradient: ρ = -0.50."
    assert verdict(made, "ja")[0][0].startswith("まず信じるべきは遮蔽法")


def test_where_no_map_is_above_chance_it_says_so(made: MapComparison) -> None:
    assert made.curves is not None
    same = Curves(made.curves.deletion[[1, 1, *range(2, 22)]], made.curves.insertion[[1, 1, *range(2, 22)]])
    lines, is_told = verdict(replace(made, curves=same), "en")
    assert not is_told
    assert lines[0].startswith("No map here is safely above chance. The best, Occlusion (leave one out), Gradient, has")
    assert not any(line.startswith("Last comes") for line in lines)


def test_before_the_orders_are_known_only_the_agreement_is_said(made: MapComparison) -> None:
    early = replace(made, curves=None)
    lines, is_told = verdict(early, "en")
    assert not is_told
    assert lines == ["The maps are not tested yet: what stands here is their agreement alone."]
    assert len(comparison_chart(early, "en").to_dict()["vconcat"]) == 1
    assert [row[1:] for row in table_rows(early, "en")] == [[None] * 4] * 2
    assert [row[4:] for row in sheet(early).rows] == [[None] * 4] * 6


def test_strips_are_the_maps_with_their_signs(made: MapComparison) -> None:
    assert [(row["method"], row["label"], round(row["share"], 6), row["effect"]) for row in strip_rows(made, "en")] == [
        ("Occlusion (leave one out)", "0 the", 70, "supports it"),
        ("Occlusion (leave one out)", "1 ␣the", -20, "works against it"),
        ("Occlusion (leave one out)", "2 ␣to", 10, "supports it"),
        ("Gradient", "0 the", 10, "supports it"),
        ("Gradient", "1 ␣the", 20, "supports it"),
        ("Gradient", "2 ␣to", 70, "supports it"),
    ]


def test_table_and_sheet_have_every_maps_test(made: MapComparison) -> None:
    assert table_rows(made, "en") == [
        ["Occlusion (leave one out)", "4.000", "9.000", "0.667", "20 / 20"],
        ["Gradient", "0.000", "6.000", "3.000", "0 / 20"],
        ["random orders", "≤ 0.000", "6.000 ± 0.000", "3.000 ± 0.000", None],
    ]
    first, *_ = sheet(made).rows
    assert first == ["occlusion", 0, "the", 0.7, 4.0, 9.0, pytest.approx(2 / 3), 20]
    assert len(sheet(made).rows) == 6


@pytest.mark.parametrize("language", ["en", "ja"])
def test_one_picture_holds_strips_agreement_and_curves_on_a_fixed_scale(made: MapComparison, language: str) -> None:
    chart = comparison_chart(made, language).to_dict()  # type: ignore[arg-type]
    maps, curves = chart["vconcat"]
    assert len(maps["hconcat"]) == len(curves["hconcat"]) == 2
    strips, agreement = maps["hconcat"]
    assert strips["layer"][0]["encoding"]["opacity"]["scale"]["domain"] == [0, 70]
    assert agreement["layer"][0]["encoding"]["opacity"]["scale"]["domain"] == [0, 1]
    for part in curves["hconcat"]:
        legend = part["layer"][1]["encoding"]["color"]
        assert legend["legend"]["orient"] == "bottom"
        assert len(legend["scale"]["domain"]) == 3
    assert chart["description"]


def test_a_long_text_keeps_its_strongest_forty_and_says_so() -> None:
    model = tiny_model("gpt2")
    completion = completed(model, "the keys to the cabinet " * 10, target_text=" the")
    result = finish(compare_maps(model, completion, MapComparisonSettings(methods=("gradient",))))
    positions = [int(row["label"].split()[0]) for row in strip_rows(result, "en")]
    assert len(positions) == 40
    assert positions == sorted(positions)
    assert "40 largest" in str(comparison_chart(result, "en").to_dict()["title"]["subtitle"])
