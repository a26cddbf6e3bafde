"""Hostile text in every place that text can reach, in a real browser: drawn literally, and nothing runs."""

from __future__ import annotations

from typing import Any

import pytest
from hostile import NAME, PAYLOADS

from analyzers.common.tokens import show_whitespace

MADE = "img, iframe, object, embed, script, style, link, base, meta, form, marquee, video, details, math, svg a"
"""Elements that only a text which was read as HTML makes; the page's own stand in `HOMES` nowhere."""
HOMES = (
    "#status, #saliency-strip, #saliency-check, #saliency-highlighted .textfield, #saliency-chart svg.marks, .table-wrap, "
    "#predictions-strip, #predictions-line, #predictions-chart svg.marks, #predictions-beside svg.marks, #overview-grid, "
    "#overview-cell, #rankings-strip, #rankings-chips, #watch-chart svg.marks, #rankings-chart svg.marks, #factor-view, "
    "#factors-line, #factors-promoted, #factors-leading .textfield, #cause-chart svg.marks, #compare-layers-chart svg.marks, "
    "#map-comparison-chart svg.marks, #map-comparison-line"
)


def is_unhurt(seen: Any) -> None:
    made = seen.page.evaluate(
        "([homes, made]) => [...document.querySelectorAll(homes)].flatMap(home => [...home.querySelectorAll(made)])"
        ".map(one => one.outerHTML.slice(0, 200)).filter(html => !html.includes('ecco-'))",
        [HOMES, MADE],
    )
    assert made == []
    handlers = (
        "document.querySelectorAll('[onerror], [onload], [ontoggle], [onfocus], [onmouseover], [onstart]').length"
    )
    assert seen.page.evaluate(handlers) == 0
    assert seen.page.evaluate("typeof hurt") == "undefined"
    assert seen.page.title() == "Eccolens"
    assert seen.page.is_visible("#text textarea")


def hover_all(seen: Any, selector: str, most: int = 60) -> None:
    """Look at every part as the mouse does."""
    seen.page.eval_on_selector_all(
        selector,
        "(parts, most) => parts.slice(0, most).forEach(part => part.dispatchEvent(new MouseEvent('mouseover', {bubbles: true})))",
        most,
    )


def is_whole(drawn: str) -> None:
    for payload in PAYLOADS:
        assert show_whitespace(payload) in drawn, payload


@pytest.fixture(scope="module")
def hostile(used: Any) -> Any:
    """The page with the model whose tokens are hostile, under a hostile name."""
    seen = used
    seen.run("the keys", 1)  # the app's own model is loaded then
    seen.page.locator("#model input").click()
    seen.page.get_by_role("option", name=NAME).click()
    return seen


def test_prompt_contrast_and_continuation_are_text_in_the_saliency_tab(hostile: Any) -> None:
    seen = hostile
    seen.show_settings()
    seen.page.fill("#contrast textarea, #contrast input", PAYLOADS[3])
    seen.page.get_by_text("Sampling and continuation").click()
    seen.page.get_by_label("Score this continuation instead").fill("".join(PAYLOADS[:3]))
    seen.write("".join(PAYLOADS), 1)
    seen.press_run()
    assert "Done in " in seen.status()
    is_whole(seen.drawn("saliency"))
    assert NAME in seen.status()
    hover_all(seen, "#saliency-strip .output, #saliency-strip .fill")
    seen.page.locator("#saliency-strip .output").nth(1).click()
    seen.settled()
    assert (
        show_whitespace(PAYLOADS[3]) in seen.page.locator(".settings-box > button").locator("visible=true").inner_text()
    )
    seen.page.locator("[role=tabpanel]:visible").get_by_text("Table", exact=True).click()
    seen.page.locator("#saliency-table").get_by_text(show_whitespace(PAYLOADS[1]), exact=True).locator(
        "visible=true"
    ).first.wait_for()
    seen.page.wait_for_selector("#saliency-chart svg.marks")
    seen.page.click("#map-comparison-run")
    seen.page.wait_for_selector("#map-comparison-chart svg.marks", timeout=60_000)
    seen.settled()
    is_unhurt(seen)
    seen.page.get_by_label("Score this continuation instead").fill("")
    seen.show_settings()
    seen.page.fill("#contrast textarea, #contrast input", "")


def test_tokens_watched_words_and_the_other_text_are_text_in_the_lens_tabs(hostile: Any) -> None:
    seen = hostile
    seen.write("".join(PAYLOADS), 3)
    seen.go_to("Rankings")
    for words in (PAYLOADS[:16], PAYLOADS[16:32], PAYLOADS[32:48]):
        seen.show_settings()
        seen.page.fill("#watch textarea", "\n".join(words))
        seen.page.keyboard.press("Tab")
        seen.press_run()
        chips = seen.said("rankings-chips")
        assert all(f"“{show_whitespace(word)}” = id " in chips for word in words)
    is_whole(seen.drawn("rankings"))
    seen.page.wait_for_selector("#watch-chart svg.marks")
    is_unhurt(seen)
    seen.go_to("Layer Predictions")
    seen.answered("predictions")
    seen.choose("Compare side by side", "another text")
    box = seen.page.get_by_role("textbox", name="Other text").locator("visible=true")
    box.fill("".join(reversed(PAYLOADS)))
    seen.page.keyboard.press("Tab")
    seen.press_run()
    seen.page.wait_for_selector("#predictions-beside svg.marks")
    is_whole(seen.drawn("predictions"))
    seen.page.locator("#overview-grid tbody button").first.click()
    seen.page.wait_for_selector("#overview-cell p")
    hover_all(seen, "#predictions-strip .output, #overview-grid button")
    is_unhurt(seen)


def test_tokens_are_text_in_the_factors(hostile: Any) -> None:
    seen = hostile
    seen.write("".join(PAYLOADS), 1)
    seen.go_to("Neuron Factors")
    seen.press_run()
    is_whole("".join(seen.page.locator("#factor-view .text .shown").all_text_contents()))
    hover_all(seen, "#factor-view .row, #factor-view .fill")
    seen.unfold("From seeing to cause", "#cause-run")
    seen.press("cause-run")
    seen.page.wait_for_selector("#cause-chart svg.marks")
    seen.unfold("Compare first, middle and last layer", "#compare-layers-run")
    seen.press("compare-layers-run")
    seen.page.wait_for_selector("#compare-layers-chart svg.marks")
    is_unhurt(seen)


def test_what_is_typed_comes_back_as_text_in_a_refusal(visit: Any) -> None:
    seen = visit()
    seen.open_tab("Rankings")
    seen.write("the keys", 1)
    for words in (PAYLOADS[:16], PAYLOADS[16:32], PAYLOADS[32:48]):  # of several tokens here: quoted in the status line
        seen.show_settings()
        seen.page.fill("#watch textarea", "\n".join(words))
        seen.page.keyboard.press("Tab")
        seen.press_run()
        said = seen.status()
        assert sum(word[:20] in said for word in words) >= 12
        is_unhurt(seen)
