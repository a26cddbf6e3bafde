"""The page in a real browser, as a visitor uses it."""

from __future__ import annotations

from typing import Any

import pytest

HOSTILE = "<img src=x onerror=window.hurt=1> ${1+1} {{7*7}} {{{value}}} `tick` <b>the</b> 東京 👩‍🚀 café"


@pytest.fixture
def strip(used: Any) -> Any:
    """A page on which the strip of four tokens stands."""
    seen = used
    if seen.page.locator("#saliency-strip .output").count() != 4:
        seen.run("the keys to the cabinet", 4)
    return seen


def test_hover_repaints_with_no_request(strip: Any) -> None:
    seen = strip
    outputs = seen.page.locator("#saliency-strip .output")
    outputs.nth(0).hover()
    before = seen.colours()
    seen.requests.clear()
    outputs.nth(2).hover()
    after = seen.colours()
    assert before != after
    assert any(colour not in ("", "transparent") for colour in after)
    assert seen.asked() == []


def test_arrow_keys_do_what_hover_does(strip: Any) -> None:
    seen = strip
    outputs = seen.page.locator("#saliency-strip .output")
    outputs.nth(0).focus()
    first, reading = seen.colours(), seen.page.inner_text("#saliency-strip .reading")
    seen.requests.clear()
    seen.page.keyboard.press("ArrowRight")
    assert seen.colours() != first
    assert seen.page.inner_text("#saliency-strip .reading") != reading
    assert seen.asked() == []
    assert seen.page.evaluate("document.activeElement.dataset.position") == outputs.nth(1).get_attribute(
        "data-position"
    )
    seen.page.keyboard.press("Home")
    assert seen.colours() == first


def test_a_click_or_enter_pins_a_token_below(strip: Any) -> None:
    seen = strip
    before = seen.said("saliency-check")
    seen.page.locator("#saliency-strip .output").nth(3).click()
    pinned = seen.changed("saliency-check", before)
    assert "✓ checked" in seen.page.inner_text("#saliency-check")
    assert "points" not in seen.page.locator("#saliency-check").inner_text()  # the detail opens at a click
    seen.page.locator("#saliency-check summary").click()
    assert "7 points" in seen.page.locator("#saliency-check").inner_text()
    assert "points" in pinned
    seen.page.locator("#saliency-strip .output").nth(1).focus()
    seen.page.keyboard.press("Enter")
    seen.changed("saliency-check", pinned)


def test_hostile_text_is_drawn_literally(used: Any) -> None:
    seen = used
    seen.run(HOSTILE, 2)
    drawn = seen.page.eval_on_selector_all(
        "#saliency-strip .shown", "parts => parts.map(part => part.textContent).join('')"
    )
    for piece in (
        "<img␣src=x␣onerror=window.hurt=1>",
        "${1+1}",
        "{{7*7}}",
        "{{{value}}}",
        "`tick`",
        "東京",
        "👩‍🚀",
        "café",
    ):
        assert piece in drawn
    assert seen.page.evaluate("window.hurt") is None
    assert seen.page.locator("#saliency-strip img").count() == 0
    assert "�" not in seen.page.inner_text("body")


def test_bad_input_is_a_sentence_and_the_buttons_come_back(used: Any) -> None:
    seen = used
    seen.write("")
    seen.page.click("#run")
    seen.refused("Type one, or choose an example")
    seen.run("the keys", 1)
    assert seen.page.locator("#status p.error").count() == 0


def test_a_contrast_of_several_tokens_says_which_one_counts(used: Any) -> None:
    seen = used
    seen.show_settings()
    seen.page.fill("#contrast textarea, #contrast input", "zebra")
    seen.run("the keys to the", 1)
    seen.page.wait_for_selector("#status p.warning")
    assert "tokens for this model" in seen.said("status")
    seen.show_settings()
    seen.page.fill("#contrast textarea, #contrast input", "")


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"color_scheme": "dark"},
        {"viewport": {"width": 390, "height": 844}},
        {"locale": "ja-JP"},
    ],
    ids=["light", "dark", "phone", "japanese"],
)
def test_nothing_is_wider_than_the_screen(visit: Any, options: dict[str, Any]) -> None:
    seen = visit(**options)
    width = options.get("viewport", {"width": 1400})["width"]
    if width < 700 and not seen.page.is_visible("#run"):
        seen.page.click("#sidebar .toggle-button")
    seen.run("the café: the keys to the 東京 cabinet", 3)
    seen.page.wait_for_selector("#saliency-chart svg.marks", state="attached")
    assert seen.page.evaluate("document.documentElement.scrollWidth") <= width
    words = {"ja-JP": "実行"}.get(options.get("locale", ""), "Run")
    assert seen.page.inner_text("#run") == words


def test_the_maps_of_the_pinned_token_are_compared_in_one_click(used: Any) -> None:
    seen = used
    seen.run("the keys to the cabinet are on the table", 2)
    seen.page.locator("#saliency-strip .output").nth(1).click()
    seen.settled()
    seen.page.click("#map-comparison-run")
    seen.page.wait_for_function(
        "document.querySelectorAll('#map-comparison-chart svg.marks .mark-line').length", timeout=30_000
    )
    seen.settled()
    said = seen.said("map-comparison-line")
    assert "random orders" in said
    assert seen.page.locator("#map-comparison-line p", has_text="random orders").first.is_visible()
    # The quick methods, in strips, curves and table.
    labels = seen.page.locator("#map-comparison-chart svg.marks").text_content()
    for name in ("Occlusion (leave one out)", "AttnLRP (relevance)", "Input × gradient", "Gradient"):
        assert name in labels
    assert "Shapley values" not in labels
    rows = seen.page.evaluate(
        "document.querySelector('#map-comparison-chart').closest('.apart').querySelector('.ecco-table-rows').rows.rows"
    )
    assert all(row[0] in labels for row in rows)
    assert len(rows) in (5, 6)  # the map that the page showed may be a further one
    for kind in ("CSV", "JSON"):
        link = seen.page.locator(".apart a[download], .apart button", has_text=kind).first
        with seen.page.expect_download() as download:
            link.click()
        text = download.value.path().read_text(encoding="utf-8")
        assert "occlusion" in text
    # Another token has not been tested.
    seen.page.locator("#saliency-strip .output").nth(0).click()
    seen.page.wait_for_selector("#map-comparison-chart", state="hidden")
    assert seen.said("map-comparison-line") == ""


def test_a_chart_is_whole_when_the_window_changed_while_it_was_hidden(visit: Any) -> None:
    seen = visit(viewport={"width": 1280, "height": 720})
    seen.page.wait_for_selector("#saliency-chart svg.marks")
    for name in ("Rankings", "Saliency"):
        seen.go_to(name)
        if name == "Rankings":
            seen.page.set_viewport_size({"width": 1000, "height": 700})
            seen.page.wait_for_timeout(500)  # nothing is to happen meanwhile, so there is nothing to wait for
    seen.page.wait_for_function(
        "document.querySelector('#saliency-chart svg.marks')?.getBoundingClientRect().width > 200", timeout=5_000
    )


def test_a_result_is_dimmed_and_says_so_while_the_settings_differ(visit: Any) -> None:
    seen = visit()
    seen.run("the keys to", 1)
    stale = seen.page.locator("#saliency-heading p.stale")
    assert "the keys to" in seen.page.inner_text("#saliency-heading p.of")
    assert not stale.is_visible()
    seen.page.wait_for_timeout(
        600
    )  # `fill` presses no key: only from then on is what it changes taken for the visitor's
    seen.write("the keys to the cabinet")
    stale.wait_for(state="visible", timeout=5_000)
    seen.page.wait_for_function(
        "(strip => strip && getComputedStyle(strip).opacity < 0.5)"
        "(document.querySelector('.stage.moved .ecco-hover-strip'))",
        timeout=5_000,
    )
    seen.write("the keys to")
    stale.wait_for(state="hidden", timeout=5_000)
    seen.choose("Method", "Gradient")
    stale.wait_for(state="visible", timeout=5_000)
    seen.press_run()
    stale.wait_for(state="hidden", timeout=5_000)
    assert "Gradient" in seen.page.inner_text("#saliency-heading p.of")


def test_settings_that_arrive_late_are_not_the_visitors(visit: Any) -> None:
    """On a busy machine what an example fills in reaches the settings long after its run has begun."""
    seen = visit()
    seen.run("the keys to", 1)
    stale = seen.page.locator("#saliency-heading p.stale")
    seen.page.wait_for_timeout(600)  # until what the run was asked with is noted for good
    arrive = """(name) => {
        eccolens.now.saliency = name;
        window.dispatchEvent(new Event("eccolens-settings"));
    }"""
    seen.page.evaluate(arrive, "another question")
    assert not stale.is_visible()
    seen.page.locator("#text textarea").press("Shift")
    seen.page.evaluate(arrive, "a third question")
    assert stale.is_visible()


def test_enlarged_for_a_projector_the_four_tabs_stay_in_sight(visit: Any) -> None:
    seen = visit(viewport={"width": 1280, "height": 720})
    seen.run("the keys to", 1)
    strip = seen.page.locator("#saliency-strip .text")
    before = strip.bounding_box()["height"]
    seen.page.locator(".large-switch").click()
    assert strip.bounding_box()["height"] > 1.4 * before
    for name in ("Saliency", "Layer Predictions", "Rankings", "Neuron Factors"):
        assert seen.page.get_by_role("tab", name=name, exact=True).is_visible()
    assert seen.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    seen.page.locator(".large-switch").click()


def test_control_and_enter_run(visit: Any) -> None:
    seen = visit()
    seen.write("the keys", 1)
    seen.page.locator("#text textarea").press("Control+Enter")
    seen.page.locator("#saliency-heading p.of", has_text="the keys").wait_for(timeout=20_000)


def test_no_new_token_is_one_for_a_map_and_that_is_said(visit: Any) -> None:
    seen = visit()
    seen.write("the keys to", 0)
    seen.press_run()
    assert "No new token was asked for: one was written" in seen.status()
    assert seen.page.locator("#saliency-strip .output").count() == 1


def test_the_four_tabs_and_the_strip_are_in_sight_on_a_phone(visit: Any) -> None:
    seen = visit(viewport={"width": 390, "height": 844})
    for name in ("Saliency", "Layer Predictions", "Rankings", "Neuron Factors"):
        box = seen.page.get_by_role("tab", name=name, exact=True).locator("visible=true").bounding_box()
        assert box is not None
        assert 0 <= box["x"] < box["x"] + box["width"] <= 390
    strip = seen.page.locator("#saliency-strip .text").bounding_box()
    assert strip is not None
    assert strip["y"] + strip["height"] < 844
    heights = [part.bounding_box()["height"] for part in seen.page.locator("#saliency-strip .output").all()]
    assert min(heights) >= 24


def test_where_the_line_is_full_the_page_asks_again(visit: Any) -> None:
    seen = visit()
    left = [503, 503]

    def refuse(route: Any) -> None:
        if left:
            route.fulfill(status=left.pop(), json={"detail": "Queue is full."})
        else:
            route.continue_()

    seen.write("kl mn op", 1)
    seen.page.route("**/queue/join*", refuse)
    seen.page.click("#run")
    seen.answered("saliency", "k")
    assert left == []
    assert "Done in " in seen.status()


def test_a_new_question_does_not_wait_for_the_one_before(visit: Any) -> None:
    seen = visit()
    seen.choose("Method", "Shapley values")
    seen.write("the keys to the cabinet " * 16, 30)
    seen.page.click("#run")
    seen.page.wait_for_selector("#status p.busy", timeout=30_000)
    seen.press_example("example-1-saliency")  # also waits until the run before has ended
    assert seen.status().startswith("Known already")
    seen.page.wait_for_timeout(1_500)
    assert seen.status().startswith("Known already")
