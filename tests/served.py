"""The app itself, started as a user starts it, with a tiny model; and a real browser."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from hostile import NAME, save

from analyzers.serving.request import parameters_of
from ui.examples import EXAMPLES

ROOT = Path(__file__).parents[1]
CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or "/usr/bin/chromium"
CHROMIUM_ARGUMENTS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


WRITE_DOWN_RUNS = """
    window.ended = new Set();  // events that have ended, and whose last word is drawn
    window.runs = new Set();  // events that said how a run goes, or what is known already
    const parse = JSON.parse;
    JSON.parse = (text, ...rest) => {
        const found = parse(text, ...rest);
        // A value is drawn within a quarter of a second of its message, and a frame.
        if (found && found.msg === "process_completed") {
            setTimeout(() => requestAnimationFrame(() => window.ended.add(found.event_id)), 300);
        }
        const says = text.includes(String.raw`\\"busy\\"`) || /Known already|Done in |計算済み/.test(text);
        if (found && found.event_id && says) window.runs.add(found.event_id);
        return found;
    };
"""


class Served(NamedTuple):
    """The app that runs."""

    address: str
    pid: int
    log: Path
    """All that it has said."""


@pytest.fixture(scope="session")
def address(served_app: Served) -> str:
    """Where the app is."""
    return served_app.address


@pytest.fixture(scope="session")
def served_app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """Where `python app.py` serves a tiny model of each kind from a models folder, and one of hostile name and vocabulary."""
    from families import FAMILIES, tiny_module, tiny_tokenizer

    folder = tmp_path_factory.mktemp("models")
    for name, family in (("tiny", "gpt2"), ("tiny-bert", "bert"), ("tiny-t5", "t5"), ("tiny-encoder", "minilm")):
        tiny_module(family).save_pretrained(folder / name)
        tiny_tokenizer(FAMILIES[family].kind).save_pretrained(folder / name)
    save(folder / NAME)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    log = (tmp_path_factory.mktemp("log") / "app.log").open("w+")
    process = subprocess.Popen(
        [sys.executable, "app.py", "--port", port, "--models-dir", str(folder), "--model", "tiny", "--no-background"],
        cwd=ROOT,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
        stdout=log,
        stderr=subprocess.STDOUT,
    )
    try:
        found = None
        deadline = time.monotonic() + 60
        while found is None and time.monotonic() < deadline and process.poll() is None:
            time.sleep(0.2)
            found = re.search(r"http://127\.0\.0\.1:\d+", Path(log.name).read_text())
        assert found is not None, Path(log.name).read_text()
        answer_first_example(found.group())
        yield Served(found.group(), process.pid, Path(log.name))
    finally:
        process.terminate()
        process.wait(10)
        log.close()


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Any]]:
    """Chromium, headless, of a language. Its profile is on disk, where it keeps Gradio's scripts compiled: that halves what
    a visit costs. Without Chromium these tests are skipped, and say how to get it."""
    if not Path(CHROMIUM).exists():
        pytest.skip("no Chromium here: install it (apt-get install chromium) or set CHROMIUM to its path")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        started: dict[str, Any] = {}

        def of(locale: str) -> Any:
            if locale not in started:
                started[locale] = playwright.chromium.launch_persistent_context(
                    tmp_path_factory.mktemp("profile"),
                    executable_path=CHROMIUM,
                    args=CHROMIUM_ARGUMENTS,
                    locale=locale,
                )
            return started[locale]

        yield of
        for one in started.values():
            one.close()


def answer_first_example(address: str) -> None:
    """Ask for it as a script does, so that every page of the session opens on it."""
    values = EXAMPLES[0].values
    data = [values["text"], *(values.get(setting.name, setting.default) for setting in parameters_of("saliency"))]
    call = f"{address}/gradio_api/call/saliency"
    posted = urllib.request.Request(call, json.dumps({"data": data}).encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(posted, timeout=30) as reply:
        event = json.load(reply)["event_id"]
    with urllib.request.urlopen(f"{call}/{event}", timeout=60) as stream:
        assert "event: complete" in stream.read().decode()


class Visit:
    """A page with everything on it that must not happen written down."""

    def __init__(
        self,
        browser: Callable[[str], Any],
        address: str,
        *,
        locale: str = "en-US",
        viewport: dict[str, int] | None = None,
        color_scheme: str = "light",
        at: str | None = None,
    ) -> None:
        self.page = browser(locale).new_page()
        self.page.set_viewport_size(viewport or {"width": 1400, "height": 1000})
        self.page.emulate_media(color_scheme=color_scheme)
        self.errors: list[str] = []
        self.foreign: list[str] = []
        self.requests: list[str] = []
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.joined: set[str] = set()
        self.page.on("request", self._requested)
        self.page.on("response", self._answered)
        self.page.add_init_script(WRITE_DOWN_RUNS)
        self.page.goto(at or address)
        # The greeting comes from the page's own script: before it stands, a click can be lost.
        self.page.wait_for_selector("#status p", state="attached", timeout=30_000)

    def close_here(self) -> None:
        """Another page of the same browser is wanted, without what this one kept."""
        self.page.evaluate("localStorage.clear(); sessionStorage.clear()")

    def close(self) -> None:
        """Leave nothing behind for the next visit."""
        self.page.evaluate("localStorage.clear(); sessionStorage.clear()")
        self.page.context.clear_cookies()
        self.page.close()

    def _requested(self, request: Any) -> None:
        self.requests.append(request.url)
        if not request.url.startswith(("http://127.0.0.1", "data:", "blob:")):
            self.foreign.append(request.url)

    def _answered(self, response: Any) -> None:
        if "/queue/join" in response.url and response.ok:
            self.joined.add(response.json()["event_id"])

    def settled(self) -> None:
        """Wait until everything that was asked of the queue has ended and is drawn."""
        self.page.wait_for_function(
            "events => events.every(event => window.ended.has(event))", arg=sorted(self.joined), timeout=60_000
        )

    def asked(self) -> list[str]:
        """What the server was asked to do since `requests` was cleared: neither its files nor the page's heartbeat."""
        return [
            url for url in self.requests if "/gradio_api/" in url and "heartbeat" not in url and "/file=" not in url
        ]

    def write(self, text: str, new_tokens: int | None = None) -> None:
        """Fill in the shared controls."""
        self.page.fill("#text textarea", text)
        if new_tokens is not None:
            self.page.fill("#generate input[type=number]", str(new_tokens))
        self.page.keyboard.press("Tab")

    def run(self, text: str, new_tokens: int = 3) -> None:
        """Type a text, press Run, wait for the strip."""
        self.write(text, new_tokens)
        self.press_run()
        self.answered("saliency", text[:1])

    def press(self, button: str) -> None:
        """Press the button of this id, and wait until what it asked of the server has ended and is drawn."""
        component = self.page.evaluate(
            "id => window.gradio_config.components.find(one => one.props.elem_id === id).id", button
        )

        def is_its(reply: Any) -> bool:
            # A tab that was just opened asks the queue too.
            return "/queue/join" in reply.url and reply.request.post_data_json["trigger_id"] == component

        self.show_controls()
        with self.page.expect_response(is_its, timeout=30_000) as reply:
            self.page.click(f"#{button}")
        event = reply.value.json()["event_id"]
        self.page.wait_for_function("event => window.ended.has(event)", arg=event, timeout=60_000)

    def press_run(self) -> None:
        """Press Run in whatever tab is open, and wait until that run has ended."""
        self.press("run")
        self.ended()

    def press_example(self, id: str) -> None:
        """Press an example, and wait until its run has ended."""
        before = self.runs()
        self.page.click(f"#{id}")
        self.page.wait_for_function(
            "before => window.runs.size > before && [...window.runs].every(event => window.ended.has(event))",
            arg=before,
            timeout=60_000,
        )
        self.ended()

    def refused(self, sentence: str) -> None:
        """Wait until the status line says an error that holds this sentence, and Run is back."""
        self.page.locator("#status p.error", has_text=sentence).wait_for(state="attached", timeout=30_000)
        self.ended()

    def ended(self) -> None:
        """Wait until Stop is gone, Run is back, and the status line says how it went."""
        self.page.wait_for_selector("#status p:not(.busy)", state="attached", timeout=30_000)
        self.page.wait_for_selector("#stop", state="hidden", timeout=30_000)
        # On a phone the sidebar has folded away over Run, which is then there but not in view.
        self.page.wait_for_function(
            "() => { const run = document.querySelector('#run'); return run && getComputedStyle(run).display !== 'none'; }",
            timeout=30_000,
        )

    def said(self, notice: str) -> str:
        """What the notice of this id says, be it in sight or not; not the clock that Gradio lays over it."""
        return "\n".join(self.page.locator(f"#{notice} p").all_text_contents())

    def status(self) -> str:
        """What the status line says."""
        return self.said("status")

    def runs(self) -> int:
        """How many runs have said since the page was opened how they go."""
        found: int = self.page.evaluate("window.runs.size")
        return found

    def open_tab(self, name: str) -> None:
        """On a narrow screen the last tabs are in a menu."""
        tab = self.page.get_by_role("tab", name=name, exact=True).locator("visible=true")
        if tab.count() == 0:
            self.page.locator(".overflow-menu > button").click()
            tab = self.page.locator(".overflow-dropdown button", has_text=name)
        tab.click()

    def go_to(self, name: str) -> None:
        """Open a tab unless it is open, and wait until what that set going has ended and is drawn."""
        if self.page.get_by_role("tab", name=name, exact=True, selected=True).count():
            return
        with self.page.expect_response(lambda reply: "/queue/join" in reply.url, timeout=30_000) as reply:
            self.open_tab(name)
        event = reply.value.json()["event_id"]
        self.page.wait_for_function("event => window.ended.has(event)", arg=event, timeout=60_000)
        self.ended()

    def unfold(self, label: str, shown: str) -> None:
        """Open the accordion of this label, unless what is in it is shown already."""
        if not self.page.is_visible(shown):
            self.page.get_by_text(label).locator("visible=true").click()
            self.page.wait_for_selector(shown, state="visible")
            self.page.wait_for_timeout(300)  # what is in it is put up anew, and takes what comes only then

    def answered(self, strip: str, text: str = "") -> None:
        """Wait until a tab's strip stands, with this text in it, and Run is back."""
        self.page.wait_for_selector(f"#{strip}-strip .output", timeout=30_000)
        self.page.wait_for_function(
            "([parts, text]) => [...document.querySelectorAll(parts)].map(part => part.textContent).join('').includes(text)",
            arg=[f"#{strip}-strip .shown", text],
            timeout=30_000,
        )
        self.ended()

    def drawn(self, name: str) -> str:
        """The text of a strip, as it is drawn."""
        found: str = self.page.eval_on_selector_all(
            f"#{name}-strip .shown", "parts => parts.map(part => part.textContent).join('')"
        )
        return found

    def changed(self, notice: str, before: str) -> str:
        """Wait until a notice says something, and something else; what it says then."""
        self.page.wait_for_function(
            """([selector, before]) => {
                const said = [...document.querySelectorAll(selector)].map(line => line.textContent).join("\\n");
                return said && said !== before;
            }""",
            arg=[f"#{notice} p", before],
        )
        return self.said(notice)

    def show_controls(self) -> None:
        """On a narrow screen the sidebar is folded away."""
        narrow = self.page.viewport_size["width"] < 768
        if narrow and self.page.locator("#sidebar").bounding_box()["x"] < 0:
            self.page.click("#sidebar .toggle-button")
            self.page.wait_for_function("document.querySelector('#sidebar').getBoundingClientRect().x >= 0")

    def show_settings(self) -> None:
        """Open the settings of the tab that is open."""
        closed = self.page.locator(".settings-box > button:not(.open)").locator("visible=true")
        if closed.count():
            closed.first.click()
            self.page.wait_for_timeout(300)  # what was folded away is put up anew, and takes what is typed only then

    def choose(self, label: str, choice: str) -> None:
        """Pick a choice of the drop-down of this label in the tab that is open, or beside it."""
        self.show_settings()
        self.page.get_by_label(label, exact=True).locator("visible=true").click()
        self.page.get_by_role("option", name=choice, exact=True).locator("visible=true").click()
        self.page.wait_for_timeout(300)  # a box that this brings into sight takes what is typed only then

    def colours(self) -> list[str]:
        """Background of every token part in the strip."""
        found: list[str] = self.page.eval_on_selector_all(
            "#saliency-strip .fill", "fills => fills.map(fill => fill.style.backgroundColor)"
        )
        return found


def _visits(browser: Callable[[str], Any], address: str) -> Iterator[Any]:
    """Opens the page; afterwards: no foreign request, no error in the page, and nothing stays in the browser."""
    opened: list[Visit] = []

    def start(**options: Any) -> Visit:
        opened.append(Visit(browser, address, **options))
        return opened[-1]

    yield start
    for one in opened:
        one.close()
        assert not one.errors
        assert not one.foreign


visit = pytest.fixture(_visits, name="visit")
shared_visit = pytest.fixture(_visits, scope="module", name="shared_visit")


@pytest.fixture(scope="module")
def used(shared_visit: Any) -> Any:
    """One page for a file's tests: each finds it as the others left it. Whoever sets more than the text, the number of new
    tokens or the model sets it back."""
    return shared_visit()
