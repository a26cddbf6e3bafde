"""Neuron Factors in a real browser, as a visitor uses it."""

from __future__ import annotations

import re
from typing import Any

import pytest

from analyzers.sources.catalog import find_row
from analyzers.sources.local_files import is_on_this_machine

HOSTILE = "<img src=x onerror=window.hurt=1> ${1+1} {{7*7}}"
TEXT = "the keys to the cabinet are on the table and the cat sat on the mat"
TAB = "Neuron Factors"
ROWS = "#factor-view .row"


def factorise(seen: Any, text: str = TEXT, tab: str = TAB) -> None:
    """Open the tab, type a text, press Run, wait for the view."""
    seen.go_to(tab)
    seen.write(text)
    seen.press_run()
    seen.page.wait_for_selector(ROWS)


def fills(seen: Any) -> list[str]:
    """Background of every token, in the order of the text."""
    found: list[str] = seen.page.eval_on_selector_all(
        "#factor-view .fill", "fills => fills.map(fill => fill.style.backgroundColor)"
    )
    return found


def reading(seen: Any) -> str:
    found: str = seen.page.inner_text("#factor-view .reading")
    return found


def words_of(seen: Any, chart: str) -> list[str]:
    """Every text of a drawn chart."""
    found: list[str] = seen.page.locator(f"{chart} svg.marks text").all_text_contents()
    return found


def pressed(seen: Any) -> list[str]:
    found: list[str] = seen.page.eval_on_selector_all(
        ROWS, "rows => rows.filter(row => row.ariaPressed === 'true').map(row => row.dataset.factor)"
    )
    return found


@pytest.fixture
def factors(used: Any) -> Any:
    """A page on which the factors of the text stand, with the first one pinned and nothing hovered."""
    seen = used
    drawn = "".join(seen.page.locator("#factor-view .text .shown").all_text_contents())
    if not drawn.replace("␣", " ").startswith(TEXT):
        factorise(seen)
        assert pressed(seen) == ["0"]
        assert seen.said("factors-promoted").startswith("Factor 1:")
    elif pressed(seen) != ["0"]:
        pin(seen, 0)
    return seen


def pin(seen: Any, factor: int) -> None:
    """Click a factor's row, and wait until the panels are of it."""
    seen.page.locator(ROWS).nth(factor).click()
    seen.page.wait_for_selector(f"#factors-promoted p:text('Factor {factor + 1}:')")
    seen.page.locator("#text textarea").hover()


def test_a_run_draws_a_row_per_factor_and_every_token_once(factors: Any) -> None:
    seen = factors
    assert seen.page.locator(ROWS).count() == 8
    assert seen.page.locator(f"{ROWS} > span:first-child b").all_inner_texts() == [str(n) for n in range(1, 9)]
    assert all(len(named.split(" · ")) <= 3 for named in seen.page.locator(f"{ROWS} .named").all_inner_texts())
    assert seen.page.locator(f"{ROWS} svg path").count() == 8
    assert seen.page.locator(f"{ROWS} .shares i").count() == 8 * 3
    drawn = "".join(seen.page.locator("#factor-view .text .shown").all_inner_texts())
    assert drawn.replace("␣", " ").startswith(TEXT)
    colours = fills(seen)
    assert colours[0] == "transparent"
    assert any(colour.startswith("rgba(230, 118, 27") or colour == "rgb(230, 118, 27)" for colour in colours)
    assert pressed(seen) == ["0"]
    line = seen.said("factors-line")
    assert line.startswith("NMF · layers 0 to 2 · ")
    assert "left out: the" in line
    assert "promote" in seen.said("factors-promoted")


def test_hovering_a_factor_relights_the_text_without_asking_the_server(factors: Any) -> None:
    seen = factors
    first, said = fills(seen), reading(seen)
    seen.requests.clear()
    seen.page.locator(ROWS).nth(1).hover()
    second = fills(seen)
    assert second != first
    assert any(colour.startswith("rgba(59, 130, 246") for colour in second)
    assert not any(colour.startswith("rgba(230, 118, 27") for colour in second)
    assert reading(seen).startswith("Factor 2: “")
    assert pressed(seen) == ["0"]
    seen.page.locator("#text textarea").hover()
    assert fills(seen) == first
    assert reading(seen) == said
    assert seen.asked() == []


def test_hovering_a_token_names_its_factors(factors: Any) -> None:
    seen = factors
    seen.page.locator('#factor-view .glyph:has([data-position="3"]) [data-position="3"]').hover(force=True)
    said = reading(seen)
    assert "(position 3): Factor " in said
    assert said.endswith("%")
    seen.page.locator('#factor-view [data-position="0"]').hover(force=True)
    assert reading(seen) == "“the” (position 0): left out"


def test_a_click_pins_the_factor_and_the_panels_follow(factors: Any) -> None:
    seen = factors
    before = seen.said("factors-promoted")
    assert before.startswith("Factor 1:")
    seen.page.locator(ROWS).nth(2).click()
    seen.changed("factors-promoted", before)
    assert seen.said("factors-promoted").startswith("Factor 3:")
    assert pressed(seen) == ["2"]
    pinned = fills(seen)
    seen.page.locator(ROWS).nth(4).hover()
    assert fills(seen) != pinned
    seen.page.locator("#text textarea").hover()
    assert fills(seen) == pinned


def test_arrow_keys_move_between_factors_and_enter_pins(factors: Any) -> None:
    seen = factors
    assert seen.page.locator(f'{ROWS}[tabindex="0"]').count() == 1
    seen.page.locator(ROWS).nth(0).focus()
    for key, factor in (("ArrowUp", "0"), ("ArrowDown", "1"), ("ArrowDown", "2"), ("ArrowUp", "1")):
        seen.page.keyboard.press(key)
        assert seen.page.evaluate("document.activeElement.dataset.factor") == factor, key
        assert reading(seen).startswith(f"Factor {int(factor) + 1}:")
    before = seen.said("factors-promoted")
    seen.page.keyboard.press("Enter")
    seen.changed("factors-promoted", before)
    assert pressed(seen) == ["1"]


def test_turning_neurons_down_draws_the_next_token_before_and_after(factors: Any) -> None:
    seen = factors
    before = seen.said("factors-promoted")
    seen.page.locator(ROWS).nth(1).click()
    seen.changed("factors-promoted", before)
    seen.unfold("From seeing to cause", "#cause-run")
    assert not seen.page.is_visible("#cause-chart svg.marks")
    seen.press("cause-run")
    seen.page.wait_for_selector("#cause-chart svg.marks")
    said = words_of(seen, "#cause-chart")
    assert any(text.startswith("The next token, with 10 neurons of factor 2 × 0: KL ") for text in said)
    assert seen.page.locator("#cause-chart svg.marks .mark-rect path").count() >= 20
    assert seen.page.locator("p.error").count() == 0


def test_three_layers_are_drawn_side_by_side(factors: Any) -> None:
    seen = factors
    seen.unfold("Compare first, middle and last layer", "#compare-layers-run")
    seen.press("compare-layers-run")
    seen.page.wait_for_selector("#compare-layers-chart svg.marks")
    said = words_of(seen, "#compare-layers-chart")
    for start in ("layer 0, error 0.", "layer 1, error 0.", "layer 2, error 0.", "Factor 1", "Factor 8"):
        assert any(text.startswith(start) for text in said)
    # A cosine stands in the cells of the middle and the last layer, for every factor.
    cosines = [text for text in said if re.fullmatch(r"[01]\.\d\d", text)]
    assert len(cosines) >= 16
    assert seen.page.locator("p.error").count() == 0


def test_another_run_clears_the_panels_of_the_one_before(used: Any) -> None:
    seen = used
    factorise(seen)
    seen.unfold("From seeing to cause", "#cause-run")
    seen.press("cause-run")
    seen.page.wait_for_selector("#cause-chart svg.marks")
    seen.write("the cat sat on the mat and the keys are on the table")
    seen.press_run()
    seen.page.wait_for_selector("#cause-chart svg.marks", state="hidden")
    assert pressed(seen) == ["0"]


def test_too_few_tokens_are_a_sentence(visit: Any) -> None:
    seen = visit()
    seen.go_to(TAB)
    seen.write("t", 0)
    seen.page.click("#run")
    seen.refused("0 of 1 tokens are left to factorise; at least 2 are needed")


def test_a_range_of_layers_is_asked_for_and_kept(used: Any) -> None:
    seen = used
    seen.go_to(TAB)
    seen.show_settings()
    seen.page.get_by_label("From layer", exact=True).fill("1")
    seen.page.get_by_label("To layer (inclusive)", exact=True).fill("2")
    factorise(seen)
    assert seen.said("factors-line").startswith("NMF · layers 1 to 2 · ")
    assert seen.page.locator(f"{ROWS} .shares i").count() == 8 * 2
    seen.page.get_by_label("To layer (inclusive)", exact=True).fill("0")
    seen.page.keyboard.press("Tab")
    seen.page.click("#run")
    seen.refused("no layers 1 to 0")
    for label in ("From layer", "To layer (inclusive)"):
        seen.page.get_by_label(label, exact=True).fill("")


def test_hostile_text_is_drawn_literally_everywhere(used: Any) -> None:
    seen = used
    factorise(seen, HOSTILE)
    drawn = "".join(seen.page.locator("#factor-view .text .shown").all_inner_texts())
    for piece in ("<img␣src=x␣onerror=window.hurt=1>", "${1+1}", "{{7*7}}"):
        assert piece in drawn
    for number in range(seen.page.locator(ROWS).count()):
        seen.page.locator(ROWS).nth(number).hover()
    seen.page.locator('#factor-view [data-position="1"]').hover(force=True)
    seen.unfold("From seeing to cause", "#cause-run")
    seen.press("cause-run")
    seen.page.wait_for_selector("#cause-chart svg.marks")
    places = "#factor-view img, #factors-line img, #factors-promoted img, #factors-leading img, #cause-chart img"
    assert seen.page.locator(places).count() == 0
    assert seen.page.evaluate("document.querySelectorAll('img[onerror], svg [onerror], svg image').length") == 0
    assert seen.page.evaluate("window.hurt") is None
    assert "�" not in seen.page.inner_text("body")


@pytest.mark.parametrize("options", [{"viewport": {"width": 390, "height": 844}}, {"locale": "ja-JP"}], ids=str)
def test_nothing_is_wider_than_the_screen(visit: Any, options: dict[str, Any]) -> None:
    seen = visit(**options)
    width = options.get("viewport", {"width": 1400})["width"]
    is_japanese = "locale" in options
    tab = "ニューロン因子" if is_japanese else TAB
    if width < 700 and not seen.page.is_visible("#run"):
        seen.page.click("#sidebar .toggle-button")
    seen.run("the café: the keys to the 東京 cabinet", 6)
    seen.open_tab(tab)
    seen.page.wait_for_selector(ROWS, timeout=30_000)
    seen.ended()
    assert seen.page.evaluate("document.documentElement.scrollWidth") <= width
    box = seen.page.locator("#factor-view").bounding_box()
    assert box is not None
    assert box["x"] >= 0
    assert box["x"] + box["width"] <= width
    assert ("因子 1" if is_japanese else "Factor 1") in seen.page.inner_text("#factor-view .reading")
    assert "⟨E6" not in "".join(seen.page.locator("#factor-view .text .shown").all_inner_texts())


def bundled(id: str) -> bool:
    row = find_row(id)
    return row is not None and is_on_this_machine(row)


def model_of(seen: Any) -> str:
    found: str = seen.page.input_value("#model input")
    return found


@pytest.mark.skipif(not bundled("minilm-l6"), reason="the bundled encoder is not installed")
def test_an_example_of_the_encoder_runs_on_it_and_the_next_on_a_model_that_can(used: Any) -> None:
    seen = used
    factorise(seen)
    before = model_of(seen)
    assert before.startswith("tiny")
    seen.press_example("example-3-neuron-factors")
    assert seen.status().startswith(("Done in ", "Known already"))
    assert model_of(seen).startswith("MiniLM")
    assert "minilm-l6" in seen.said("status")
    drawn = "".join(seen.page.locator("#factor-view .text .shown").all_inner_texts())
    assert "␣crows" in drawn
    assert "[SEP]" in drawn
    assert seen.said("factors-line").endswith("left out: nothing")
    seen.page.wait_for_selector("#factors-promoted p", state="detached")
    seen.unfold("From seeing to cause", "#cause-run")
    seen.page.click("#cause-run")
    seen.page.wait_for_selector("#cause :text('An encoder predicts no next token.')")
    seen.press_example("example-1-saliency")
    assert seen.status().startswith(("Done in ", "Known already"))
    assert model_of(seen) == before
    assert seen.page.locator("p.error").count() == 0


def test_all_layers_are_compared_beside_their_noise_floor(factors: Any) -> None:
    seen = factors
    if not seen.page.is_visible("#layer-similarity-run"):
        seen.page.click("#compare-layers > button")
    seen.page.click("#layer-similarity-run")
    seen.page.wait_for_selector("#layer-similarity-chart svg.marks", timeout=30_000)
    seen.settled()
    assert "Most changes from layer" in seen.said("layer-similarity-line")
    drawn = seen.page.locator("#layer-similarity-chart svg.marks").text_content()
    assert "linear CKA, debiased" in drawn
    assert "Noise floor: one side’s tokens shuffled" in drawn
    factorise(seen, "another text of some words")
    seen.page.wait_for_selector("#layer-similarity-chart", state="hidden")
