"""In a real browser: the address of a view opens it again, in the language it was seen in; Back goes back."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

import pytest

TEXT = " 日本 🗼\n<script>alert(1)</script> & 100%"
TABS = {
    "Saliency": "saliency",
    "Layer Predictions": "layer-predictions",
    "Rankings": "rankings",
    "Neuron Factors": "neuron-factors",
}


def download_json(visit: Any) -> dict[str, Any]:
    with visit.page.expect_download() as download:
        visit.page.get_by_text("All results as JSON").locator("visible=true").click()
    found: dict[str, Any] = json.loads(Path(download.value.path()).read_text(encoding="utf-8"))
    del found["seconds"]
    return found


@pytest.mark.parametrize("tab", TABS)
@pytest.mark.parametrize("text", [pytest.param(TEXT, id="hostile"), pytest.param("a b c " * 8, id="long")])
def test_a_link_opens_the_same_view_in_a_fresh_browser(visit: Any, address: str, tab: str, text: str) -> None:
    made = visit()
    made.write(text, 2)
    made.press_run()
    made.go_to(tab)
    made.page.wait_for_function("tab => location.hash.includes(`tab=${tab}&`)", arg=TABS[tab])
    link, before = made.page.url, download_json(made)
    assert parse_qs(urlsplit(link).fragment)["text"] == [text]
    made.close_here()

    opened = visit(at=link)
    opened.page.locator("#status p", has_text="Known already").wait_for(state="attached")
    opened.ended()
    opened.page.get_by_role("tab", name=tab, exact=True, selected=True).wait_for()
    assert opened.page.input_value("#text textarea") == text
    assert download_json(opened) == before
    assert opened.page.url == link


def test_a_slow_browser_draws_every_picture(visit: Any, address: str) -> None:
    """Messages come faster there than they are drawn."""
    opened = visit(at=f"{address}/#tab=layer-predictions&text=a%20b%20c&compare=text&compare_text=k%20l&lang=en")
    session = opened.page.context.new_cdp_session(opened.page)
    session.send("Emulation.setCPUThrottlingRate", {"rate": 8})
    opened.page.wait_for_selector("#predictions-chart svg.marks", timeout=60_000)
    opened.page.wait_for_selector("#predictions-beside svg.marks", timeout=60_000)
    session.send("Emulation.setCPUThrottlingRate", {"rate": 1})


def test_the_group_of_neurons_that_is_looked_at_is_in_the_link(visit: Any, address: str) -> None:
    made = visit(at=f"{address}/#tab=neuron-factors&text=the%20keys%20to%20the%20cabinet&factors=3&generate=0&lang=en")
    made.page.wait_for_selector("#factor-view .row")
    made.ended()
    first = made.said("factors-promoted")
    made.page.locator("#factor-view .row").nth(2).click()
    third = made.changed("factors-promoted", first)
    made.page.wait_for_function("() => location.hash.includes('&factor=3')")
    link = made.page.url
    made.close_here()

    opened = visit(at=link)
    opened.page.wait_for_selector("#factor-view .row.pinned[data-factor='2']")
    assert opened.changed("factors-promoted", first) == third
    assert opened.page.url == link
    opened.write("other words altogether", 0)
    opened.press_run()
    opened.page.wait_for_function("() => location.hash.includes('text=other')")
    assert "factor=" not in opened.page.url
    opened.page.wait_for_selector("#factor-view .row.pinned[data-factor='0']")


def test_a_link_to_a_model_that_is_not_here_fetches_nothing(visit: Any, address: str) -> None:
    opened = visit(at=f"{address}/#tab=saliency&text=x&model=gpt2&lang=en")
    opened.page.wait_for_selector("#status p.warning")
    assert "gpt2, which is not on this machine; nothing was downloaded" in opened.status()
    assert opened.page.input_value("#text textarea") == "x"
    assert not opened.runs()


def test_a_link_by_hand_without_a_model_keeps_the_one_that_is_chosen(visit: Any, address: str) -> None:
    opened = visit(at=f"{address}/#text=a%20b%20c&method=shapley")
    opened.page.wait_for_selector("#saliency-chart svg.marks")
    assert opened.page.input_value("#model input") != ""
    assert "empty" not in opened.page.inner_text("body")
    assert "model=tiny&" in opened.page.url
    assert "target=log-probability" in opened.page.url, "as the box has it"
    assert "method=shapley" in opened.page.url


def test_a_link_that_is_refused_says_so_and_leaves_the_page_usable(visit: Any, address: str) -> None:
    opened = visit(at=f"{address}/#tab=saliency&text=x&method={quote('<b>magic</b>')}&lang=en")
    opened.page.wait_for_selector("#status p.error")
    assert "This link cannot be opened as it is." in opened.status()
    assert "<b>magic</b>" in opened.status()
    opened.run("ab", 1)


def test_back_and_forward_go_from_question_to_question(visit: Any) -> None:
    used = visit()
    used.run("ab cd", 1)
    first = used.page.url
    used.run("ef gh", 1)
    used.page.go_back()
    used.page.wait_for_function("() => document.querySelector('#text textarea').value === 'ab cd'")
    used.answered("saliency", "ab")
    assert used.page.url == first
    used.page.go_forward()
    used.answered("saliency", "ef")
    assert used.page.input_value("#text textarea") == "ef gh"


def test_reload_keeps_the_pinned_token(visit: Any) -> None:
    used = visit()
    used.run("ab cd", 3)
    used.page.locator("#saliency-strip .output").last.click()
    used.page.wait_for_function("() => /pin=\\d+/.test(location.hash)")
    pinned = re.findall(r"pin=(\d+)", used.page.url)
    used.page.reload()
    used.page.wait_for_selector("#saliency-strip .output.pinned")
    assert used.page.get_attribute("#saliency-strip .output.pinned", "data-position") == pinned[0]


def test_a_pin_of_another_text_is_not_in_the_next_address(visit: Any) -> None:
    used = visit()
    used.run("ab cd ef gh", 1)
    assert "pin=" in used.page.url
    used.open_tab("Neuron Factors")
    used.page.wait_for_function("() => location.hash.includes('tab=neuron-factors')")
    used.write("ij kl mn op", 0)
    used.press_run()
    used.page.wait_for_function("() => location.hash.includes('text=ij%20kl')")
    assert "pin=" not in used.page.url


def test_the_language_switch_changes_everything_and_is_kept(visit: Any, address: str) -> None:
    used = visit()
    used.run("ab cd", 1)
    assert used.page.evaluate("document.documentElement.lang") == "en"
    used.page.click("#top-bar button[lang=ja]")
    used.page.wait_for_selector("#saliency-strip .output")
    used.page.wait_for_function("() => document.querySelector('#status').innerText.includes('計算済み')")
    assert used.page.evaluate("document.documentElement.lang") == "ja"
    assert used.page.input_value("#text textarea") == "ab cd"
    texts = used.page.inner_text("body")
    assert all(word in texts for word in ("入力の寄与", "層ごとの予測", "順位", "ニューロン因子", "実行"))
    assert "lang=ja" in used.page.url
    # An error, a notice from the server, and the next visit without a link.
    used.page.goto("about:blank")
    used.page.goto(address)
    used.page.wait_for_function("() => document.querySelector('#status p')?.innerText.match(/計算済み|準備/)")
    used.page.fill("#text textarea", "")
    used.page.click("#run")
    used.page.wait_for_selector("#status p.error")
    assert "テキストが空です" in used.status()


def test_a_link_in_another_language_is_opened_in_that(visit: Any, address: str) -> None:
    opened = visit(at=f"{address}/#lang=ja")
    opened.page.wait_for_function("() => document.querySelector('#run').innerText.includes('実行')")
    assert opened.page.evaluate("document.documentElement.lang") == "ja"


def test_an_address_that_names_no_text_opens_the_first_experiment(visit: Any, address: str) -> None:
    opened = visit(at=f"{address}/#lang=en&compare_text=x")
    opened.answered("saliency", "Heathrow"[:1])
    assert not opened.page.locator("#status p.error").count()


def test_on_a_space_the_parent_page_is_kept_in_step(visit: Any, address: str) -> None:
    """The parent's own script is stood for by a frame around the page."""
    made = visit()
    told = made.page.evaluate(
        """async (address) => {
            const page = await (await fetch(address)).text();
            const own = page.slice(page.indexOf("<script>window.eccolens_start"));
            const source = own.slice("<script>".length, own.indexOf("</script>"));
            const on_space = source.replace('"space": null', '"space": "owner/name"');
            const told = [];
            const frame = document.createElement("iframe");
            frame.src = `${address}/theme.css`;
            document.body.append(frame);
            await new Promise((done) => { frame.onload = done; });
            const inner = frame.contentWindow;
            Object.defineProperty(inner, "parent", { value: { postMessage: (...what) => told.push(what) } });
            inner.eval(on_space);
            inner.eccolens.show_link("saliency", "tab=saliency&text=%20a", 3);
            told.push(inner.eccolens.address());
            return told;
        }""",
        address,
    )
    message, home = told[0]
    assert home == "https://huggingface.co"
    assert parse_qs(message["queryString"].removeprefix("?"))["text"] == [" a"]
    assert told[-1].startswith("https://huggingface.co/spaces/owner/name?tab=saliency&text=%20a&pin=3")


def test_the_page_previews_as_itself(visit: Any, address: str) -> None:
    import urllib.request

    with urllib.request.urlopen(address, timeout=10) as reply:
        page = reply.read().decode()
    assert '<meta property="og:title" content="Eccolens' in page
    assert "Click to try out the app!" not in page
    assert "{url}" not in page.split("<script", 1)[0]
    assert page.count('property="og:title"') == 1
