"""Layer Predictions and Rankings in a real browser, as a visitor uses them."""

from __future__ import annotations

import re
from typing import Any

import pytest

from ui.examples import EXAMPLES, Example

HOSTILE = "<img src=x onerror=window.hurt=1> ${1+1} {{7*7}}"
TEXT = "the keys to the cabinet"
PREDICTIONS, RANKINGS = "Layer Predictions", "Rankings"
STRIPS = {"saliency": "saliency", "layer-predictions": "predictions", "rankings": "rankings"}


def cell_of(seen: Any, row: int, column: int) -> Any:
    return seen.page.locator(f'#overview-grid button[data-row="{row}"][data-column="{column}"]')


def read_whole_text(seen: Any) -> None:
    """It is read after the answer."""
    seen.page.wait_for_selector("#overview-grid td button")
    seen.ended()


def run_in(seen: Any, tab: str, text: str, new_tokens: int) -> None:
    """Open the tab, type a text, press Run, wait for the strip."""
    seen.go_to(tab)
    seen.write(text, new_tokens)
    seen.press_run()
    seen.answered({PREDICTIONS: "predictions", RANKINGS: "rankings"}[tab], text[:1])


def watch(seen: Any, words: str) -> None:
    seen.show_settings()
    seen.page.fill("#watch textarea", words)
    seen.page.keyboard.press("Tab")


def compare_with(seen: Any, text: str) -> None:
    """Ask for another text beside the first."""
    seen.choose("Compare side by side", "another text")
    seen.page.get_by_role("textbox", name="Other text").locator("visible=true").fill(text)
    seen.page.keyboard.press("Tab")


def test_opening_a_tab_answers_for_the_same_text(used: Any) -> None:
    seen = used
    seen.go_to("Saliency")
    seen.run(TEXT, 2)
    seen.open_tab(PREDICTIONS)
    seen.answered("predictions")
    assert seen.drawn("predictions").replace("␣", " ").startswith(TEXT)
    assert "Position" in seen.said("predictions-line")
    seen.open_tab(RANKINGS)
    seen.answered("rankings")
    assert seen.drawn("rankings").replace("␣", " ").startswith(TEXT)
    seen.page.wait_for_selector("#rankings-chart svg.marks")


def test_the_page_opens_on_the_first_experiment_and_each_tab_answers_for_it(visit: Any) -> None:
    seen = visit()
    seen.settled()  # or Gradio's clock is read with the check
    assert seen.status().startswith("Known already")
    assert "Integrated gradients" in seen.page.text_content("#saliency-chart svg.marks")
    assert seen.page.inner_text("#saliency-check") == "✓ checked"
    assert seen.page.locator("#saliency-strip .output").count() == 1
    seen.go_to(PREDICTIONS)
    seen.answered("predictions", "H")


def test_a_tab_that_has_answered_does_not_run_again(used: Any) -> None:
    seen = used
    seen.go_to("Saliency")
    before = seen.runs()
    seen.run("the keys to the mat", 2)
    seen.go_to(PREDICTIONS)
    seen.answered("predictions")
    seen.go_to("Saliency")
    seen.go_to(PREDICTIONS)
    assert seen.runs() == before + 2


def test_an_example_that_opens_its_tab_runs_once(used: Any) -> None:
    seen = used
    seen.go_to("Saliency")
    seen.run(TEXT, 1)
    before = seen.runs()
    seen.page.click("#example-7-layer-predictions")
    seen.answered("predictions", "The␣capital")
    seen.settled()
    assert seen.runs() == before + 1


def test_a_tab_with_a_setting_that_cannot_be_keeps_the_others_answering(used: Any) -> None:
    seen = used
    seen.go_to("Saliency")
    seen.run("the cabinet", 2)
    seen.go_to(PREDICTIONS)
    compare_with(seen, "")
    seen.go_to("Saliency")
    seen.go_to(PREDICTIONS)
    seen.go_to(RANKINGS)
    seen.answered("rankings")
    assert seen.drawn("rankings").replace("␣", " ").startswith("the cabinet")
    seen.go_to(PREDICTIONS)
    seen.choose("Compare side by side", "nothing")


def test_a_token_of_the_strip_is_read_where_it_stands_and_the_other_tab_follows(used: Any) -> None:
    seen = used
    run_in(seen, PREDICTIONS, TEXT, 3)
    seen.page.locator('#predictions-strip .output[data-position="2"]').click()
    seen.page.wait_for_selector("#predictions-line :text('Position 2, read at position 1')")
    seen.page.wait_for_selector('#predictions-strip .output.pinned[data-position="2"]')
    seen.page.wait_for_selector("#predictions-chart svg.marks :text('What each layer would say at position 2')")
    seen.open_tab(RANKINGS)
    seen.answered("rankings")
    seen.page.wait_for_selector('#rankings-strip .output.pinned[data-position="2"]')


def test_the_token_after_the_text_can_be_read(used: Any) -> None:
    seen = used
    run_in(seen, PREDICTIONS, TEXT, 1)
    outputs = seen.page.locator("#predictions-strip .output")
    assert "next token" in (outputs.last.get_attribute("aria-label") or "")
    outputs.last.click()
    place = outputs.last.get_attribute("data-position")
    seen.page.wait_for_selector(f"#predictions-line :text('Position {place},')")
    seen.page.wait_for_function(
        "!document.querySelector('#predictions-chart svg.marks')?.textContent.includes('outlined')", timeout=10_000
    )


def test_without_the_final_norm_there_are_two_pictures_and_a_warning(used: Any) -> None:
    seen = used
    run_in(seen, PREDICTIONS, TEXT, 2)
    assert not seen.page.is_visible("#predictions-beside svg.marks")
    seen.choose("Compare side by side", "no final norm (as ecco did)")
    seen.press_run()
    seen.page.wait_for_selector("#predictions-beside svg.marks :text('WITHOUT the final norm')", timeout=30_000)
    assert seen.page.is_visible("#predictions-chart svg.marks")
    assert "WITHOUT" not in seen.page.inner_text("#predictions-chart")
    warning = seen.page.locator("#predictions-warning p.warning")
    assert "wrong in every layer but the last" in warning.inner_text()
    seen.choose("Compare side by side", "nothing")
    seen.press_run()
    seen.page.wait_for_selector("#predictions-beside svg.marks", state="hidden")
    warning.wait_for(state="detached")


@pytest.mark.parametrize("tab", [PREDICTIONS, RANKINGS])
def test_two_texts_stand_side_by_side(used: Any, tab: str) -> None:
    seen = used
    run_in(seen, tab, TEXT, 1)
    compare_with(seen, "the cat sat on the mat")
    seen.press_run()
    seen.page.wait_for_function("document.querySelectorAll('[role=tabpanel] svg.marks').length >= 2")
    panel = seen.page.locator("[role=tabpanel]:visible")
    panel.locator("svg.marks").nth(1).wait_for(state="visible", timeout=20_000)
    assert panel.locator("svg.marks:visible").count() == 2
    assert seen.page.locator("p.error").count() == 0
    seen.choose("Compare side by side", "nothing")


def test_another_text_that_is_empty_is_a_sentence(used: Any) -> None:
    seen = used
    run_in(seen, PREDICTIONS, TEXT, 1)
    compare_with(seen, "")
    seen.page.click("#run")
    seen.refused("There is no text to look at")
    seen.choose("Compare side by side", "nothing")


def test_watched_words_are_chips_with_ids_and_lines(used: Any) -> None:
    seen = used
    run_in(seen, RANKINGS, TEXT, 1)
    assert not seen.page.is_visible("#watch-chart svg.marks")
    watch(seen, " is\n are")
    seen.press_run()
    seen.page.wait_for_selector("#watch-chart svg.marks", timeout=20_000)
    chips = seen.said("rankings-chips")
    ids = re.fullmatch(r"“␣is” = id (\d+) · “␣are” = id (\d+)", chips.strip())
    assert ids is not None, chips
    named = seen.page.locator("#watch-chart svg.marks").text_content()
    assert re.search(r"␣is  \d+", named)
    assert re.search(r"␣are  \d+", named)
    watch(seen, "")
    seen.press_run()
    seen.page.wait_for_selector("#watch-chart svg.marks", state="hidden")
    seen.page.wait_for_selector("#rankings-chips p", state="detached")


def test_the_other_spacing_is_added_once(used: Any) -> None:
    seen = used
    seen.go_to(RANKINGS)
    watch(seen, "is\n are")
    both = "is\n is\n are\nare"
    for _ in range(2):
        with seen.page.expect_response(lambda reply: "/run/" in reply.url):
            seen.page.get_by_role("button", name="other spacing").click()
        seen.page.wait_for_function("text => document.querySelector('#watch textarea').value === text", arg=both)
    assert seen.page.input_value("#watch textarea") == both
    watch(seen, "")


def test_too_many_watched_words_are_a_sentence(used: Any) -> None:
    seen = used
    run_in(seen, RANKINGS, TEXT, 1)
    watch(seen, "\n".join(f" w{n}" for n in range(17)))
    seen.page.click("#run")
    seen.refused("At most 16")
    watch(seen, "")


@pytest.fixture
def grid(used: Any) -> Any:
    """A page on which the grid of the whole text stands."""
    seen = used
    seen.go_to(PREDICTIONS)
    if not cell_of(seen, 3, 0).is_visible():
        run_in(seen, PREDICTIONS, TEXT, 1)
        read_whole_text(seen)
    return seen


def test_a_cell_of_the_whole_text_lists_its_ten_likeliest(grid: Any) -> None:
    seen = grid
    assert seen.page.locator("#overview-grid tbody tr").count() == 4
    assert seen.page.inner_text("#overview-grid tbody tr:last-child th") == "embedding"
    for row, name in ((0, "embedding"), (2, "1")):
        cell = cell_of(seen, row, 1)
        cell.click()
        seen.page.wait_for_selector(f"#overview-cell :text('Layer {name}, position 2')")
        lines = seen.page.locator("#overview-cell p").all_inner_texts()
        assert lines[0] == f"Layer {name}, position 2"
        assert [line.split(".")[0] for line in lines[1:]] == [str(n) for n in range(1, 11)]
        assert lines[1].startswith(f"1. {cell.locator('span').inner_text()} · ")


def test_arrow_keys_move_in_the_whole_text(grid: Any) -> None:
    seen = grid

    def focused() -> list[str]:
        found: list[str] = seen.page.evaluate(
            "[document.activeElement.dataset.row, document.activeElement.dataset.column]"
        )
        return found

    assert seen.page.locator('#overview-grid button[tabindex="0"]').count() == 1
    cell_of(seen, 3, 0).focus()
    seen.requests.clear()
    for key, place in (
        ("ArrowRight", ["3", "1"]),
        ("ArrowDown", ["2", "1"]),
        ("ArrowLeft", ["2", "0"]),
        ("ArrowLeft", ["2", "0"]),
        ("ArrowUp", ["3", "0"]),
        ("ArrowUp", ["3", "0"]),
    ):
        seen.page.keyboard.press(key)
        assert focused() == place, key
    assert seen.asked() == []
    seen.page.keyboard.press("ArrowDown")
    seen.page.keyboard.press("Enter")
    seen.page.wait_for_selector("#overview-cell :text('Layer 1, position 1')", timeout=20_000)


def test_the_grid_of_another_text_does_not_stay(grid: Any) -> None:
    seen = grid
    seen.page.fill("#text textarea", "the mat")
    seen.page.keyboard.press("Tab")
    seen.press_run()
    assert "cabinet" not in seen.page.inner_text("#overview-grid thead")
    assert "mat" in seen.page.inner_text("#overview-grid thead")
    assert (
        seen.page.locator("#overview-grid td button").count()
        == 4 * seen.page.locator("#overview-grid thead th.around, #overview-grid thead th:not(:first-child)").count()
    )


def test_the_last_layer_stands_on_top_and_signs_can_be_shown_in_full(grid: Any) -> None:
    seen = grid
    rows = seen.page.locator("#overview-grid tbody th").all_inner_texts()
    assert rows == ["2", "1", "0", "embedding"]
    fade = seen.page.get_by_role("button", name="Fade what is no word")
    assert seen.page.locator("#overview-grid table.faded").count() == 1
    fade.click()
    assert seen.page.locator("#overview-grid table.faded").count() == 0
    assert fade.get_attribute("aria-pressed") == "false"
    fade.click()


def test_the_ten_of_the_place_that_is_looked_at_stand_beside_the_whole_text(grid: Any) -> None:
    seen = grid
    seen.page.locator('#predictions-strip .output[data-position="1"]').click()
    seen.page.wait_for_selector("#overview-cell :text('Layer 2, position 1')")
    assert len(seen.page.locator("#overview-cell p").all_inner_texts()) == 11


def test_moving_to_another_token_keeps_the_grid(grid: Any) -> None:
    seen = grid
    seen.page.locator('#predictions-strip .output[data-position="2"]').click()
    seen.page.wait_for_selector("#predictions-line :text('Position 2, read at position 1')")
    assert seen.page.locator("#overview-grid button").count() > 0


def test_hostile_text_is_drawn_literally_everywhere(used: Any) -> None:
    seen = used
    run_in(seen, RANKINGS, HOSTILE, 1)
    watch(seen, HOSTILE)
    seen.press_run()
    seen.page.wait_for_selector("#watch-chart svg.marks", timeout=20_000)
    seen.page.wait_for_selector("#rankings-chips :text('“<” = id')")
    assert HOSTILE in seen.status()
    seen.go_to(PREDICTIONS)
    seen.answered("predictions")
    read_whole_text(seen)
    cell_of(seen, 1, 0).click()
    seen.page.wait_for_selector("#overview-cell :text('Layer 0, position 1')", timeout=20_000)
    for strip in ("rankings", "predictions"):
        drawn = seen.drawn(strip)
        for piece in ("<img␣src=x␣onerror=window.hurt=1>", "${1+1}", "{{7*7}}"):
            assert piece in drawn
    heads = seen.page.inner_text("#overview-grid thead")
    assert "$" in heads
    assert "{" in heads
    for place in ("#overview-grid", "#predictions-strip", "#rankings-strip", "#rankings-chips", "#status"):
        assert seen.page.locator(f"{place} img").count() == 0
    assert seen.page.evaluate("document.querySelectorAll('img[onerror], svg [onerror], svg image').length") == 0
    assert seen.page.evaluate("window.hurt") is None
    assert "�" not in seen.page.inner_text("body")
    seen.go_to(RANKINGS)
    watch(seen, "")


@pytest.mark.parametrize(
    "example",
    [example for example in EXAMPLES if example.analysis in ("layer-predictions", "rankings")],
    ids=lambda example: example.id,
)
def test_an_example_opens_its_tab_and_ends_well(used: Any, example: Example) -> None:
    values = example.values
    seen = used
    seen.press_example(example.id)
    assert seen.page.input_value("#text textarea") == values["text"]
    selected = seen.page.locator("[role=tab][aria-selected=true]").inner_text()
    assert selected == {"layer-predictions": PREDICTIONS, "rankings": RANKINGS}[example.analysis]
    assert seen.drawn(STRIPS[example.analysis]).replace("␣", " ").startswith(values["text"].replace("\n", "↵"))
    assert seen.status().startswith(("Done in ", "Known already"))
    assert seen.page.locator("p.error").count() == 0
    panel = seen.page.locator("[role=tabpanel]:visible")
    pictures = {8: 4, 10: 2}.get(example.number, 1)
    panel.locator("svg.marks").nth(pictures - 1).wait_for(state="visible", timeout=20_000)
    assert panel.locator("svg.marks:visible").count() == pictures
    if "watch" in values:
        words = values["watch"]
        assert seen.said("rankings-chips").count(" = id ") == len(words)


@pytest.mark.parametrize("options", [{"viewport": {"width": 390, "height": 844}}, {"locale": "ja-JP"}, {}], ids=str)
def test_nothing_is_wider_than_the_screen(visit: Any, options: dict[str, Any]) -> None:
    seen = visit(**options)
    width = options.get("viewport", {"width": 1400})["width"]
    names = ("層ごとの予測", "順位") if "locale" in options else (PREDICTIONS, RANKINGS)
    if width < 700 and not seen.page.is_visible("#run"):
        seen.page.click("#sidebar .toggle-button")
    seen.run("the café: the keys to the 東京 cabinet", 6)
    for tab, strip in zip(names, ("predictions", "rankings"), strict=True):
        seen.open_tab(tab)
        seen.answered(strip)
        seen.page.wait_for_selector(f"#{strip}-chart svg.marks")
        assert seen.page.evaluate("document.documentElement.scrollWidth") <= width
        box = seen.page.locator(f"#{strip}-strip").bounding_box()
        assert box is not None
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= width


def test_stop_gives_the_buttons_back(used: Any) -> None:
    seen = used
    seen.go_to("Saliency")
    seen.run("the keys", 1)
    seen.choose("Method", "Integrated gradients")
    seen.page.fill("#text textarea", "the keys to the cabinet are on the table " * 6)
    seen.page.fill("#generate input[type=number]", "60")
    seen.page.keyboard.press("Tab")
    seen.page.click("#run")
    seen.page.wait_for_selector("#stop", state="visible")
    seen.page.wait_for_selector("#run", state="hidden")
    seen.page.click("#stop")
    seen.page.wait_for_selector("#status :text('Stopped')", timeout=10_000)
    seen.page.wait_for_selector("#run", state="visible", timeout=1_000)
    seen.page.wait_for_selector("#stop", state="hidden", timeout=1_000)
    seen.page.wait_for_timeout(1_500)  # a late word of the stopped run would come by then; there is nothing to wait for
    if seen.page.is_visible("#saliency-heading p.stale"):  # nothing of it was ready yet: the picture is of another text
        assert seen.status().startswith("Stopped before anything was ready. The picture is that of the run before.")
    else:
        assert seen.status().startswith("Stopped. What was ready stays.")
        assert "cabinet" in seen.page.inner_text("#saliency-heading p.of")
    seen.choose("Method", "Occlusion (leave one out)")
    seen.run("the keys", 1)
    seen.open_tab(RANKINGS)
    seen.answered("rankings")


@pytest.mark.parametrize(("tab", "chart"), [("layer-predictions", "predictions"), ("rankings", "rankings")])
def test_the_stream_after_attention_is_read_where_it_is_asked_for(
    tab: str, chart: str, visit: Any, address: str
) -> None:
    seen = visit(at=f"{address}/?tab={tab}&text=the%20keys&model=tiny&generate=2&after_attention=1")
    seen.page.wait_for_selector(f"#{chart}-chart svg.marks")
    seen.ended()
    drawn = seen.page.text_content(f"#{chart}-chart svg.marks")
    assert ("0 attn" if chart == "predictions" else "½") in drawn
    assert "also after each attention" in seen.page.locator(".settings-box").locator("visible=true").inner_text()
    seen.show_settings()
    if tab == "layer-predictions":  # its choices came with the model, while it was folded away
        assert seen.page.locator("#layer").get_by_text("Layer", exact=True).is_visible()
    assert seen.page.get_by_label("also after each attention").locator("visible=true").is_checked()
    seen.page.get_by_label("also after each attention").locator("visible=true").uncheck()
    seen.press_run()
    drawn = seen.page.text_content(f"#{chart}-chart svg.marks")
    assert "attn" not in drawn
    assert "½" not in drawn
