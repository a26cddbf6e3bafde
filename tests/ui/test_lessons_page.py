"""A lesson followed in a real browser: by keyboard alone, by its address, and a teacher's own by a link."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from hostile import PAYLOADS

CARD = ".ecco-lesson-card"


def question(seen: Any) -> str:
    found: str = seen.page.inner_text(f"{CARD} .question")
    return found


def test_the_page_opens_on_the_first_lesson(visit: Any) -> None:
    seen = visit()
    seen.page.wait_for_selector(f"{CARD} .do")
    assert question(seen) == "Which words made the model name this city?"
    assert seen.page.is_disabled(f"{CARD} [aria-label='Previous lesson']")
    seen.page.wait_for_function("location.hash.includes('lesson=1&')")


def test_a_lesson_is_followed_by_keyboard_alone(visit: Any) -> None:
    seen = visit()
    seen.page.wait_for_selector(f"{CARD} .do")
    seen.page.focus(f"{CARD} .all")
    seen.page.keyboard.press("Enter")
    menu = seen.page.locator(f"{CARD} .menu button")
    assert menu.count() == 12
    before = seen.runs()
    for _ in range(20):  # past the other lessons, in the order of the page
        seen.page.keyboard.press("Tab")
        if seen.page.evaluate("document.activeElement.textContent").startswith("10 · "):
            break
    seen.page.keyboard.press("Enter")
    seen.page.wait_for_function("before => window.runs.size > before", arg=before)
    seen.ended()
    assert question(seen) == "When does the plural win?"
    seen.page.get_by_role("tab", name="Rankings", exact=True, selected=True).wait_for()
    assert seen.page.input_value("#text textarea") == "The keys to the cabinet"
    seen.page.focus(f"{CARD} .opens")
    seen.page.keyboard.press("Enter")
    assert seen.page.evaluate("document.activeElement.className") == "opens"
    guide = seen.page.locator(f"{CARD} .guide")
    for part in ("Look for", "Think", "Beware", "What the study group saw", "Another model here"):
        assert part in guide.inner_text()
    shows = guide.locator(".part", has_text="What this model shows").inner_text()
    assert "“␣are”: rank" in shows
    assert seen.page.locator(f"{CARD} .menu").count() == 0
    seen.page.focus(f"{CARD} .all")
    seen.page.keyboard.press("Enter")
    assert "seen" in [tick.get_attribute("aria-label") for tick in seen.page.locator(f"{CARD} .menu .tick").all()]


def test_the_address_of_a_lesson_opens_it_in_its_language_and_steps_lead_on(visit: Any, address: str) -> None:
    seen = visit(at=f"{address}/#lesson=9&lang=ja")
    seen.page.wait_for_function("location.hash.includes('tab=rankings&')")
    seen.ended()
    assert question(seen) == "早い層で決まるのは、どんな語か？"
    seen.page.locator(f"{CARD} .step", has_text="サンプリング").click()
    seen.page.wait_for_function("location.hash.includes('sample=1&')")
    assert parse_qs(urlsplit(seen.page.url).fragment)["lesson"] == ["9"]
    seen.page.go_back()
    seen.page.wait_for_function("!location.hash.includes('sample=1&')")
    seen.page.wait_for_function("document.querySelector('#rankings-strip .output')")
    assert question(seen) == "早い層で決まるのは、どんな語か？"


def test_another_text_is_not_the_lessons_in_the_address(visit: Any) -> None:
    seen = visit()
    seen.run("ab cd", 1)
    seen.page.wait_for_function("location.hash.includes('text=ab%20cd&')")
    assert "lesson=" not in seen.page.url
    assert question(seen) == "Which words made the model name this city?"


def test_an_examples_own_button_begins_its_lesson(visit: Any) -> None:
    seen = visit()
    seen.press_example("example-7-layer-predictions")
    assert question(seen) == "When do Japanese cities appear?"


@pytest.mark.parametrize(
    "viewport", [{"width": 1400, "height": 1000}, {"width": 390, "height": 844}], ids=["wide", "phone"]
)
def test_a_teachers_own_lesson_is_a_link_and_inert(visit: Any, viewport: dict[str, int]) -> None:
    made = visit()
    made.run("ab cd", 1)
    made.page.evaluate("navigator.clipboard.writeText = async (text) => { window.copied = text; }")
    if not made.page.is_visible(f"{CARD} .guide"):
        made.page.click(f"{CARD} .opens")
    made.page.click(f"{CARD} .own summary")
    title, note = f"一課 {PAYLOADS[1]}", "\n".join(PAYLOADS)[:2000]
    made.page.fill(f"{CARD} .own input", title)
    made.page.fill(f"{CARD} .own textarea", note)
    made.page.click(f"{CARD} .own button")
    made.page.wait_for_function("window.copied")
    link = made.page.evaluate("window.copied")
    made.close_here()

    opened = visit(at=link, viewport=viewport)
    opened.page.wait_for_function("location.hash.includes('text=ab%20cd&')")
    opened.ended()
    assert question(opened) == title
    assert opened.page.locator(f"{CARD} .note").evaluate("note => note.textContent") == note.strip()
    assert opened.page.evaluate("typeof hurt") == "undefined"
    assert opened.page.locator(f"{CARD} :is(img, script, iframe, a, svg, form)").count() == 0
    assert parse_qs(urlsplit(opened.page.url).fragment)["title"] == [title]
    assert opened.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    opened.page.click(f"{CARD} [aria-label='Next lesson']")
    opened.page.wait_for_function("!location.hash.includes('title=')")
    assert question(opened) == "Which words made the model name this city?"
