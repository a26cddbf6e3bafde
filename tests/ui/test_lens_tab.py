"""What the Layer Predictions tab reads beyond its answer, the whole text where that is quick, and what Rankings says."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import gradio as gr
import pytest
from loops import apart

from analyzers.models.store import ModelStore
from analyzers.serving import dispatch
from analyzers.serving.answer_cache import AnswerCache
from analyzers.serving.dispatch import Dispatcher
from analyzers.serving.request import parse_request
from analyzers.serving.sharing import SharedRuns
from analyzers.sources.resolver import Resolver
from ui.charts.style import name_reading
from ui.components.heading import Heading
from ui.components.notice import Notice, notice
from ui.tabs import layer_predictions
from ui.tabs.rankings import tell_findings
from ui.texts import say


@pytest.fixture
def build(save_model: Callable[..., Path], tmp_path: Path) -> Callable[..., tuple[Any, Any]]:
    save_model("gpt2").rename(tmp_path / "tiny")
    store = ModelStore(Resolver(models_folder=tmp_path, default="tiny"))
    runner = SharedRuns(Dispatcher(store), AnswerCache())

    def make(**settings: Any) -> tuple[Any, Any]:
        async def build_tab() -> Any:
            with gr.Blocks():
                status, heading = Notice(notice("info")), Heading(render=False)
                return layer_predictions.build_tab(runner, gr.State(None), status, heading)

        tab = apart(build_tab())
        asked = parse_request("layer-predictions", {"text": "the keys", "generate": 1, "model": "tiny", **settings})
        answer = [step.answer for step in runner.run(asked) if step.answer is not None][-1]
        return tab, answer

    return make


def grids(tab: Any, answer: Any) -> list[Any]:
    (grid,) = (one for one in tab.outputs if one.elem_id == "overview-grid")
    return [updates[grid] for updates in tab.afterwards(answer, "en")]


def test_a_short_text_is_read_whole(build: Any) -> None:
    tab, answer = build()
    (grid,) = grids(tab, answer)
    assert [row["label"] for row in grid["body"]] == ["embedding", "0", "1", "2"]
    assert all(len(row["cells"]) == len(grid["heads"]) for row in grid["body"])
    assert grid["around"] == answer.result.position


def test_a_long_one_waits_for_a_click_and_nothing_is_computed(build: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    tab, answer = build()
    monkeypatch.setattr(layer_predictions, "SHORT_SECONDS", -1.0)
    (button,) = (one for one in tab.outputs if one.elem_id == "overview-run")
    (updates,) = tab.afterwards(answer, "en")
    assert updates[button]["visible"]
    assert next(iter(updates.values())) is None


def test_one_layer_alone_is_not_followed_by_all(build: Any) -> None:
    tab, answer = build(layer="last")
    assert grids(tab, answer) == []


def test_rankings_say_why_there_is_no_heat_map_after_what_a_watched_token_shows(
    save_model: Callable[..., Path], tmp_path: Path
) -> None:
    save_model("gpt2").rename(tmp_path / "tiny")
    runner = Dispatcher(ModelStore(Resolver(models_folder=tmp_path, default="tiny")))

    def lines_of(**settings: Any) -> list[str]:
        asked = parse_request("rankings", {"text": "the keys", "model": "tiny", **settings})
        answered: Any = dispatch.answer(runner, asked)
        both = tell_findings([answered, answered], "en")["lines"]
        alone = list(tell_findings([answered], "en")["lines"])
        assert len(both) == 2 * len(alone) - (say("rankings_none", "en") in alone)
        return alone

    none = say("rankings_none", "en")
    assert lines_of(generate=0) == [none]
    seen, said = lines_of(generate=0, watch=[" a"])
    assert seen != none
    assert said == none
    assert none not in lines_of(generate=1)


def test_rows_of_two_readings_are_told_apart_by_model_text_or_norm(build: Any) -> None:
    _, first = build()
    _, other_text = build(text="the cats")
    _, unnormed = build(without_final_norm=True)
    other_model = replace(first, model=replace(first.model, id="other"))
    assert [name_reading(*pair, "en") for pair in ((first, other_model), (other_model, first))] == ["tiny", "other"]
    assert [name_reading(*pair, "en") for pair in ((first, other_text), (other_text, first))] == [
        "“the keys”",
        "“the cats”",
    ]
    assert [name_reading(*pair, "en") for pair in ((first, unnormed), (unnormed, first))] == [
        say("own_norm", "en"),
        say("compare_norm", "en"),
    ]
    assert name_reading(first, first, "en") == "tiny", "a model beside itself"


def test_rows_of_a_model_beside_itself_are_told_apart(build: Any) -> None:
    tab, first = build()
    updates = tab.show_second(first, first, "en")
    (table,) = (value for value in updates.values() if isinstance(value, dict) and "rows" in value)
    assert list(dict.fromkeys(row[-1] for row in table["rows"])) == ["tiny", "tiny ²"]
    assert table["headers"][-1] == say("column_of", "en")
