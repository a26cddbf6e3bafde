"""The study group's experiments: all there, with their settings, on the model they were tried on or one that stands in."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from typing import Any

import pytest

from analyzers.models.store import ModelStore
from analyzers.serving.answer_cache import AnswerCache
from analyzers.serving.dispatch import Dispatcher
from analyzers.serving.request import parse_request
from analyzers.serving.sharing import SharedRuns
from analyzers.sources import catalog, hub_probe, local_files
from analyzers.sources.resolver import Resolver
from ui.examples import EXAMPLES, WILDLIFE, Example
from ui.layout import build_app

AT_HAND = "smollm2-135m-instruct", "minilm-l6"


def of(number: int, analysis: str = "") -> list[Example]:
    return [one for one in EXAMPLES if one.number == number and (not analysis or one.analysis == analysis)]


@pytest.fixture
def store() -> ModelStore:
    return ModelStore()


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Says whether the Hub answers; nothing but the bundled models is at hand."""

    def set_to(answers: bool) -> None:
        monkeypatch.setattr(hub_probe, "HUB", hub_probe.HubProbe(ask=lambda seconds: answers))
        monkeypatch.setattr(local_files, "is_on_this_machine", lambda row: row.id in AT_HAND)

    return set_to


def test_all_twelve_experiments_are_there() -> None:
    assert sorted({example.number for example in EXAMPLES}) == list(range(1, 13))
    assert len({example.id for example in EXAMPLES}) == len(EXAMPLES)


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.id)
def test_every_setting_of_an_example_passes_the_gate(example: Example) -> None:
    page_only = {"compare", "compare_text"}
    asked = parse_request(example.analysis, {k: v for k, v in example.values.items() if k not in page_only})
    assert asked.text == example.values["text"]
    settings = asdict(asked.generation) | asdict(asked.settings)
    for name in example.values.keys() & {"method", "sample", "seed", "generate", "top", "factors"}:
        assert settings[name] == example.values[name]


def test_the_settings_are_those_of_the_experiments() -> None:
    assert (of(1)[0].values["generate"], of(1)[0].values["method"]) == (1, "integrated-gradients")
    assert (of(2)[0].values["generate"], of(2)[0].values["sample"]) == (10, True)
    assert [one.values.get("layers") for one in of(3)] == [None, "first", "last"]
    assert [one.values.get("layers") for one in of(4)] == [None, "last"]
    assert all(one.values["text"] == WILDLIFE for number in (3, 4, 5) for one in of(number))
    assert all(one.values["factors"] == 8 for number in (3, 4, 5) for one in of(number))
    assert [one.values.get("layer") for one in of(6)] == [None, "last"]
    assert of(6)[0].values["top"] == 10
    assert all(one.values["text"].startswith(" ") for number in (6, 7, 11) for one in of(number))
    assert of(8)[0].values["compare_text"] == f" {of(8)[0].values['text']}"
    assert [one.values.get("sample", False) for one in of(9)] == [False, True]
    assert of(9)[0].values["text"] == "Good afternoon. "
    assert of(10)[0].values["watch"] == [" is", " are"]
    assert [one.analysis for one in of(12)] == ["saliency", "rankings"]
    assert all(one.values["generate"] == 20 for one in of(12))


@pytest.mark.parametrize(("number", "stand_in"), [(3, "minilm-l6"), (4, "minilm-l6"), (5, "smollm2-135m-instruct")])
def test_without_the_hub_a_bundled_model_stands_in_and_is_said(
    hub: Any, store: ModelStore, number: int, stand_in: str
) -> None:
    hub(False)
    for example in of(number):
        assert example.model(store, "gpt2") == stand_in
        row = catalog.find_row(example.models[0])
        assert row is not None
        stood_in = example.stand_in(stand_in)
        assert stood_in is not None
        assert (stood_in.missing, stood_in.model) == (row.label, stand_in)


def test_with_the_hub_the_experiment_runs_on_its_own_model(hub: Any, store: ModelStore) -> None:
    hub(True)
    assert of(5)[0].model(store, "minilm-l6") == "gpt2"
    assert of(5)[0].stand_in("gpt2") is None


def test_an_example_of_no_model_keeps_the_chosen_one_unless_that_cannot(hub: Any, store: ModelStore) -> None:
    hub(False)
    assert of(1)[0].model(store, "distilgpt2") == "distilgpt2"
    assert of(1)[0].model(store, "minilm-l6") == "smollm2-135m-instruct"
    for nonsense in (None, "", "../etc", ["gpt2"], 1):
        assert of(1)[0].model(store, nonsense) == "smollm2-135m-instruct"
    assert of(1)[0].stand_in("smollm2-135m-instruct") is None


def test_a_button_fills_in_what_its_model_needs() -> None:
    """Where a space is a token of its own, lesson 11's text ends with it: the widget holds that text too."""

    async def build() -> Any:
        return build_app(SharedRuns(Dispatcher(ModelStore(Resolver(default=catalog.OFFLINE_MODEL))), AnswerCache()))

    with ThreadPoolExecutor(1) as own_loop:  # this thread may be running the browser's
        app = own_loop.submit(asyncio.run, build()).result()
    named = {block.elem_id: id for id, block in app.blocks.items() if getattr(block, "elem_id", None)}
    button, text = named["example-11-layer-predictions"], app.blocks[named["text"]]
    fills = [fn for fn in app.fns.values() if (button, "click") in fn.targets and fn.fn is not None and not fn.queue]
    (filled,) = (fn.fn(catalog.OFFLINE_MODEL) for fn in fills)
    assert filled[text] == " 1, 1, "
