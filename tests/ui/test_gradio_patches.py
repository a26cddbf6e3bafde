"""What the page leaves out of Gradio's work: nobody sees the difference, but everybody waits less."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import gradio as gr
import pytest
from gradio.state_holder import SessionState
from loops import apart

from analyzers.models.store import ModelStore
from analyzers.serving.dispatch import Dispatcher
from analyzers.serving.sharing import SharedRuns
from ui.components.notice import Notice, notice
from ui.gradio_patches import Page
from ui.layout import build_app
from ui.listeners import LISTENERS


def page_of(kind: type[gr.Blocks]) -> Any:
    """A page with one event of four outputs."""
    with kind() as page:
        outputs = [Notice(), gr.Textbox(), gr.Button("Run"), gr.State(1)]
        gr.Button().click(lambda: None, None, outputs)
    return page


async def said_by(page: Any, steps: list[Any]) -> list[list[Any]]:
    """What one visitor is sent for each step: a list of values, or some values by the number of their output."""
    state = SessionState(page)
    event = page.fns[0]
    said = []
    for step in deepcopy(steps):  # Gradio takes an update apart
        by_number = isinstance(step, dict) and "__type__" not in step
        given = {event.outputs[n]: value for n, value in step.items()} if by_number else step
        said.append(await page.postprocess_data(event, given, state))
    return said


STEPS: list[Any] = [
    {0: notice("info", "a")},
    {1: "b", 2: gr.update(visible=False)},
    {0: gr.update(value=notice("busy", "c"), visible=True), 3: 5},
    {2: gr.update(visible=True)},
    {3: 6},
    gr.skip(),
    [notice("info", "d"), "e", gr.update(visible=False), 7],
    (notice("info", "f"), "g", gr.skip(), 8),
]


def test_a_visitor_is_sent_what_gradio_itself_would_send() -> None:
    async def both() -> list[list[list[Any]]]:
        return [await said_by(page_of(kind), STEPS) for kind in (Page, gr.Blocks)]

    ours, theirs = apart(both())
    for value in (value for step in ours + theirs for value in step if isinstance(value, dict)):
        if value.get("props") == {"__type__": "update"}:  # a slip of Gradio's: an HTML has no such property
            del value["props"]
    assert ours == theirs
    assert ours[1] == [gr.skip(), "b", {"__type__": "update", "visible": False}, None]


def test_of_what_a_step_leaves_alone_nothing_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[str] = []

    async def step() -> None:
        page = page_of(Page)
        for kind in (Notice, gr.Textbox, gr.Button):
            own: Any = kind.__init__

            def counted(self: Any, *given: Any, own: Any = own, name: str = kind.__name__, **named: Any) -> None:
                made.append(name)
                own(self, *given, **named)

            monkeypatch.setattr(kind, "__init__", counted)
            monkeypatch.setattr(kind, "get_config", lambda *_: pytest.fail("described, and nobody asked"))
        await said_by(page, [{2: gr.update(visible=False)}])

    apart(step())
    assert made == ["Button"]


def test_a_new_visitor_costs_no_description_of_the_page(monkeypatch: pytest.MonkeyPatch) -> None:
    async def visit() -> None:
        app = build_app(SharedRuns(Dispatcher(ModelStore())))
        assert len([one for one in app.get_config_file()["components"] if one["props"]]) > 100, (
            "the page itself is whole"
        )
        monkeypatch.setattr(
            gr.components.Component, "get_config", lambda *_: pytest.fail("described, and nobody asked")
        )
        state = SessionState(app)
        assert len(state.blocks_config.blocks) == len(app.blocks)

    apart(visit())


def test_a_message_changes_nothing_in_the_one_before() -> None:
    """Gradio's page draws later than it reads: what is edited in place by then was never drawn."""
    nothing = {"__type__": "update"}
    first = [{**nothing, "value": "picture", "visible": True}, "a", "b", None]

    async def send() -> list[list[Any]]:
        page = page_of(Page)

        def said(data: list[Any], *, final: bool = False) -> list[Any]:
            found: list[Any] = page.handle_streaming_diffs(page.fns[0], deepcopy(data), "visitor", "run", final=final)
            return found

        given = [first, [nothing, "a", "bc", None], [nothing, "a", "bc", {"deep": [1]}]]
        return [*(said(data) for data in given), said([None] * 4, final=True)]

    assert apart(send()) == [
        first,
        [[["replace", [], nothing]], [], [["replace", [], "bc"]], []],
        [[], [], [], [["replace", [], {"deep": [1]}]]],
        [nothing, "a", "bc", {"deep": [1]}],
    ]


def test_a_page_keeps_the_answer_of_who_listens_whoever_else_never_comes() -> None:
    async def boxes() -> list[str]:
        page = page_of(Page)
        page.queue()
        held = page._queue.pending_messages_per_session
        LISTENERS.open("waits")
        for name in ("waits", *map(str, range(2_500))):  # Gradio's own table holds 2,000
            held[name] = "said"
        LISTENERS.close("waits")
        return list(held)

    found = apart(boxes())
    assert found[0] == "waits"
    assert len(found) == 2_000
