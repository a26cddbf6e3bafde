"""What a view is taken home as, in a real browser: a page that lives without the server, pictures, a table."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hostile import NAME, PAYLOADS

TABS = {"Saliency": "saliency", "Layer Predictions": "predictions", "Rankings": "rankings", "Neuron Factors": "factor"}
MADE = "img, iframe, object, embed, link, base, form, marquee, video, details, math, svg a"


def press(seen: Any, name: str) -> Any:
    return seen.page.locator(".ecco-take-home").locator("visible=true").get_by_role("button", name=name, exact=True)


def save(seen: Any, button: Any, folder: Path) -> Path:
    with seen.page.expect_download() as download:
        button.click()
    path = folder / download.value.suggested_filename
    download.value.save_as(path)
    return path


@pytest.fixture
def at_home(browser: Callable[[str], Any]) -> Any:
    """Opens a file from disk with the network off; afterwards nothing was asked for."""
    pages: list[Any] = []
    asked: list[str] = []

    def open_file(path: Path, scheme: str = "light") -> Any:
        page = browser("en-US").new_page()
        page.emulate_media(color_scheme=scheme)
        page.on("request", lambda request: asked.append(request.url))
        page.on("pageerror", lambda error: asked.append(str(error)))
        pages.append(page)
        page.route(re.compile(r"^https?:"), lambda route: route.abort())
        page.goto(path.as_uri())
        return page

    yield open_file
    for page in pages:
        page.close()
    assert [url for url in asked if not url.startswith("file:")] == []


@pytest.mark.parametrize("tab", TABS)
def test_the_page_lives_at_home(visit: Any, at_home: Any, tmp_path: Path, tab: str) -> None:
    seen = visit()
    seen.run("ab cd ef", 3)
    seen.go_to(tab)
    path = save(seen, press(seen, "Page"), tmp_path)
    assert path.stat().st_size < 1_000_000
    box = ".ecco-factor-view" if tab == "Neuron Factors" else ".ecco-hover-strip"
    drawn = f".stage {box} .text"
    here = seen.page.locator(drawn).locator("visible=true").inner_text()
    page = at_home(path)
    assert page.locator(f"{box} .text").inner_text() == here
    assert seen.page.url in page.inner_text("body")
    assert page.locator("h1").inner_text() == page.title()
    if tab == "Neuron Factors":
        page.locator(".row").nth(1).hover()
        assert "Factor 2" in page.inner_text(".reading")
    else:
        first = page.inner_text(".reading")
        page.locator(".output").first.focus()
        page.keyboard.press("ArrowRight")
        assert page.inner_text(".reading") not in ("", first)
        assert page.locator("figure svg").count() >= 1
    cells = page.locator(".numbers td").all_inner_texts()
    rows = seen.page.evaluate(
        "[...document.querySelectorAll('.stage')].find(stage => stage.getClientRects().length)"
        ".querySelector('.ecco-table-rows').rows.rows.flat().map(cell => String(cell ?? ''))"
    )
    assert cells == rows


@pytest.mark.parametrize("tab", TABS)
def test_no_text_becomes_a_part_of_the_page(visit: Any, at_home: Any, tmp_path: Path, tab: str) -> None:
    """With a model whose tokens they are: a token that ends the script stands in the page's data whole."""
    seen = visit()
    seen.page.locator("#model input").click()
    seen.page.get_by_role("option", name=NAME).click()
    seen.write("".join(PAYLOADS[:3]) + "<!-- ]]> -->", 1)
    seen.press_run()
    seen.go_to(tab)
    page = at_home(save(seen, press(seen, "Page"), tmp_path))
    assert page.evaluate("typeof hurt") == "undefined"
    assert page.locator(MADE).count() == 0
    assert page.locator("script").count() == 1
    assert PAYLOADS[0] in page.inner_text("h1")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("tab", TABS)
def test_pictures_stand_on_white_with_what_they_are_of(visit: Any, tmp_path: Path, tab: str, scheme: str) -> None:
    seen = visit(color_scheme=scheme)
    seen.run("<i>&ab cd", 2)
    seen.go_to(tab)
    press(seen, "Picture").click()
    lines = seen.page.locator(".ecco-take-home .picture").locator("visible=true")
    assert lines.count() >= (1 if tab == "Neuron Factors" else 2)
    for number in range(lines.count()):
        svg = save(seen, lines.nth(number).get_by_text("SVG"), tmp_path)
        png = save(seen, lines.nth(number).get_by_text("PNG"), tmp_path)
        assert svg.name.startswith("eccolens-i-ab-cd-")
        root = ET.fromstring(svg.read_text(encoding="utf-8"))
        said = "".join(root.itertext())
        assert "tiny (float32)" in said
        assert "<i>&ab" in said
        assert root[0].attrib["fill"] == "white"
        size = int.from_bytes(png.read_bytes()[16:20], "big"), int.from_bytes(png.read_bytes()[20:24], "big")
        assert size == (2 * int(root.attrib["width"]), 2 * int(root.attrib["height"]))


def test_an_enlarged_page_gives_the_same_pictures(visit: Any, tmp_path: Path) -> None:
    seen = visit()
    seen.run("ab cd", 1)
    press(seen, "Picture").click()
    line = seen.page.locator(".ecco-take-home .picture").locator("visible=true").first

    def letters() -> dict[str, tuple[float, float]]:
        root = ET.fromstring(save(seen, line.get_by_text("SVG"), tmp_path).read_text(encoding="utf-8"))
        drawn = [node for node in root.iter("{http://www.w3.org/2000/svg}text") if "textLength" in node.attrib]
        return {
            f"{node.text}": (float(node.attrib["textLength"]), float(node.attrib["font-size"][:-2])) for node in drawn
        }

    before = letters()
    seen.page.locator(".large-switch").click()
    enlarged = letters()
    seen.page.locator(".large-switch").click()
    assert len(before) > 3
    for text, (wide, size) in before.items():
        assert enlarged[text] == (pytest.approx(wide, rel=0.05), size)


def test_the_table_is_copied_with_its_headers_and_tabs(visit: Any, address: str) -> None:
    seen = visit()
    seen.page.context.grant_permissions(["clipboard-read", "clipboard-write"], origin=address)
    seen.run("ab cd", 1)
    press(seen, "Copy table").click()
    seen.page.wait_for_function(
        "() => [...document.querySelectorAll('.ecco-take-home button')].some(b => b.innerText.includes('✓'))"
    )
    lines = seen.page.evaluate("navigator.clipboard.readText()").split("\n")
    assert lines[0].split("\t") == ["position", "token", "id", "score", "share %", "when hidden"]
    assert all(len(line.split("\t")) == 6 for line in lines[1:])
    assert lines[1].startswith("0\t")
    press(seen, "Command line").click()
    assert seen.page.locator(".ecco-take-home pre").inner_text().startswith("python -m analyzers saliency --model=tiny")
    seen.page.context.clear_permissions()
