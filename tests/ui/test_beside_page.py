"""Two models side by side in a real browser: the second is one of hostile name and vocabulary, and cuts the text otherwise."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import urlencode

import pytest
from hostile import NAME

TEXT = "the keys to the cabinet"
CONTINUED = " are the keys"
SECOND_PICTURES = {
    "saliency": "#saliency-second-strip .output",
    "layer-predictions": "#predictions-beside svg.marks",
    "rankings": "#rankings-beside svg.marks",
}


TABLES = {
    "saliency": "#saliency-table",
    "layer-predictions": "#layer_predictions-table",
    "rankings": "#rankings-table",
}
STRIPS = ("saliency-strip", "saliency-second-strip")


def link(address: str, tab: str, **more: str) -> str:
    fields = {"tab": tab, "text": TEXT, "model": "tiny", "target_text": CONTINUED, "beside": NAME}
    return f"{address}/?{urlencode(fields | more)}"


@pytest.mark.parametrize("tab", SECOND_PICTURES)
def test_an_address_opens_both_with_their_names_and_checks(tab: str, visit: Any, address: str) -> None:
    seen = visit(at=link(address, tab))
    seen.page.wait_for_selector(SECOND_PICTURES[tab])
    seen.ended()
    assert f"tiny beside {NAME}" in seen.status()
    heading = seen.page.locator(".ecco-heading").locator("visible=true").inner_text()
    assert f"tiny beside {NAME}" in heading
    everything = seen.page.text_content("body")
    assert f"{NAME} (float32)" in everything
    assert "tiny (float32)" in everything
    assert "max difference" in everything or "differ by at most" in everything
    table = seen.page.locator(TABLES[tab])
    seen.page.get_by_text("Table", exact=True).locator("visible=true").click()
    table.get_by_text("of", exact=True).locator("visible=true").wait_for()
    table.get_by_text("tiny", exact=True).locator("visible=true").first.wait_for()
    copied = seen.page.evaluate(
        "[...document.querySelectorAll('.ecco-table-rows')].filter(home => home.rows).map(home => home.rows.rows)"
    )
    assert {"tiny", NAME} in [{row[-1] for row in rows} for rows in copied]
    assert seen.page.evaluate("typeof hurt") == "undefined"
    assert seen.page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_it_is_chosen_run_pinned_and_left_again_in_japanese(visit: Any) -> None:
    seen = visit(locale="ja-JP")
    seen.choose("2 つ目のモデル", f"{NAME}  ✓")
    seen.page.get_by_text("サンプリングと続きの指定").click()
    seen.page.fill("#target-text textarea", CONTINUED)
    seen.write(TEXT)
    seen.press_run()
    seen.page.wait_for_selector("#saliency-second-strip .output")
    assert f"tiny と {NAME}" in seen.status()
    assert "最大" in seen.said("saliency-second-name")
    before = seen.page.text_content("#saliency-chart svg.marks")
    seen.page.locator("#saliency-second-strip .output").last.click()
    seen.page.wait_for_function(
        "before => document.querySelector('#saliency-chart svg.marks')?.textContent !== before", arg=before
    )
    legends = [seen.page.locator(f"#{strip} .legend").inner_text() for strip in STRIPS]
    assert legends[0] == legends[1], "colours mean the same in both"
    both = [seen.page.locator(f"#{strip} .output.pinned").inner_text() for strip in STRIPS]
    assert both[0] == both[1]
    seen.choose("2 つ目のモデル", "なし")
    seen.press_run()
    seen.page.wait_for_selector("#saliency-second-strip .output", state="detached")
    assert NAME not in seen.status()
    assert seen.said("saliency-name") == ""
    heads = (
        "[...document.querySelectorAll('.ecco-table-rows')].filter(home => home.rows).map(home => home.rows.headers)"
    )
    assert "対象" not in [name for names in seen.page.evaluate(heads) for name in names]


def test_files_hold_both(visit: Any, address: str) -> None:
    seen = visit(at=link(address, "rankings", watch=" the"))
    seen.page.wait_for_selector(SECOND_PICTURES["rankings"])
    seen.ended()
    found = {}
    for label in ("CSV", "JSON"):
        with seen.page.expect_download() as download:
            seen.page.get_by_text(f"as {label}").locator("visible=true").click()
        found[label] = download.value.path().read_text("utf-8-sig")
    whole = json.loads(found["JSON"])
    assert whole["model"] == "tiny"
    assert whole["beside"]["model"] == NAME
    assert "compared_with" not in whole
    assert "".join(one["text"] for one in whole["aligned"]) == TEXT + CONTINUED
    assert {line.split(",")[-3] for line in found["CSV"].splitlines()[1:]} == {"tiny", NAME}


def test_another_kind_is_refused_in_a_sentence(visit: Any, address: str) -> None:
    seen = visit(at=link(address, "saliency", beside="tiny-bert"))
    seen.refused("are not of one kind")


def test_all_layers_of_both_are_compared(visit: Any) -> None:
    seen = visit()
    seen.go_to("Neuron Factors")
    seen.write(TEXT + CONTINUED, 2)
    seen.press_run()
    seen.unfold("Compare first, middle and last layer", "#layer-similarity-run")
    seen.page.locator("#layer-similarity-beside input").click()
    seen.page.get_by_role("option", name=NAME).locator("visible=true").click()
    seen.page.click("#layer-similarity-run")
    seen.page.wait_for_selector("#layer-similarity-chart svg.marks")
    assert f"of {NAME}:" in seen.said("layer-similarity-line")
    assert seen.said("layer-similarity-line").count("differ by at most") == 2
    assert f"layer of {NAME}" in seen.page.text_content("#layer-similarity-chart svg.marks")
    assert seen.page.evaluate("typeof hurt") == "undefined"
