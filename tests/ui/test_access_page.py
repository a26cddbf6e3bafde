"""For whom the page is not a picture: axe's rules on every tab, language and theme, the first stop of the keyboard, charts
that say what they show."""

from __future__ import annotations

from importlib.resources import files
from typing import Any

import pytest

AXE = files("axe_playwright_python").joinpath("axe.min.js").read_text(encoding="utf-8")
TABS = {
    "en-US": ("Saliency", "Layer Predictions", "Rankings", "Neuron Factors"),
    "ja-JP": ("入力の寄与", "層ごとの予測", "順位", "ニューロン因子"),
}
BREACHES = """async () => {
  const found = await axe.run(document, { resultTypes: ["violations"] });
  const grave = found.violations.filter(({ impact }) => impact === "serious" || impact === "critical");
  return grave.map(({ id, nodes }) => `${id}: ${nodes.length} × ${nodes[0].html.slice(0, 160)} ${nodes[0].failureSummary}`);
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("locale", TABS)
def test_axe_finds_nothing_serious_on_any_tab(visit: Any, locale: str, scheme: str) -> None:
    seen = visit(locale=locale, color_scheme=scheme)
    seen.page.evaluate(AXE)
    seen.page.click(".ecco-lesson-card .all")
    seen.write("the keys to the cabinet", 2)
    seen.press_run()
    for tab in TABS[locale]:
        seen.go_to(tab)
        seen.page.wait_for_timeout(800)  # charts fade in, and what is half faded in is faint
        assert seen.page.evaluate(BREACHES) == [], tab


def test_the_first_stop_of_the_keyboard_leads_past_the_controls(visit: Any) -> None:
    seen = visit()
    seen.answered("saliency")
    seen.page.keyboard.press("Tab")
    assert seen.page.evaluate("document.activeElement.textContent") == "To the picture"
    assert seen.page.locator(".skip-link").bounding_box()["y"] >= 0
    seen.page.keyboard.press("Enter")
    assert seen.page.evaluate("Boolean(document.activeElement.closest('.stage'))")


def test_a_chart_says_what_it_shows(visit: Any) -> None:
    seen = visit()
    seen.run("the keys", 1)
    chart = seen.page.locator("#saliency-chart svg.marks")
    said = seen.page.evaluate(
        "[...document.querySelectorAll('#saliency-chart [aria-label]')].map(one => one.getAttribute('aria-label'))"
    )
    assert chart.count() == 1
    assert any("what drove" in line and "0 the: " in line for line in said)
