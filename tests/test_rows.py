"""An analysis is one row and one function, and so is a saliency method: everything else reads the rows."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gradio as gr
import pytest
from loops import apart
from toy_rows import ANALYSIS, METHOD

from analyzers.__main__ import main
from analyzers.common.functions import load_function
from analyzers.common.methods import METHODS
from analyzers.models.store import ModelStore
from analyzers.serving.analyses import ANALYSES
from analyzers.serving.dispatch import Dispatcher, answer
from analyzers.serving.document import document
from analyzers.serving.request import parse_request
from analyzers.serving.sharing import SharedRuns
from analyzers.sources.resolver import Resolver
from ui.layout import build_app


@pytest.fixture
def toys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(ANALYSES, ANALYSIS.name, ANALYSIS)
    monkeypatch.setitem(METHODS, METHOD.name, METHOD)


@pytest.fixture
def runner(save_model: Callable[..., Path]) -> Dispatcher:
    return Dispatcher(ModelStore(Resolver(models_folder=save_model("gpt2").parent, any_folder=True)))


@pytest.mark.usefixtures("toys")
def test_both_are_on_the_command_line(save_model: Callable[..., Path], capsys: pytest.CaptureFixture[str]) -> None:
    model = str(save_model("gpt2"))
    assert main(["lengths", "the café", "--at-least", "2", "--model", model, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["lengths"]
    assert main(["lengths", "the café", "--at-least", "101"]) == 2
    assert "at_least must be a whole number from 0 to 100" in capsys.readouterr().err
    assert main(["saliency", "the café", "--method", "by-length", "--model", model, "--json"]) == 0
    (scores,) = json.loads(capsys.readouterr().out)["scores"]
    assert scores == [float(position) for position in range(len(scores))]
    with pytest.raises(SystemExit):
        main(["--help"])
    assert "How long each token is." in capsys.readouterr().out


@pytest.mark.usefixtures("toys")
def test_both_are_at_the_endpoints_and_among_the_choices_of_the_page(
    runner: Dispatcher, save_model: Callable[..., Path]
) -> None:
    async def build() -> gr.Blocks:
        return build_app(SharedRuns(runner))

    app = apart(build())
    endpoint = next(event for event in app.fns.values() if event.api_name == "lengths")
    given = {"model": str(save_model("gpt2")), "generate": 0, "at_least": 2}
    assert endpoint.fn is not None
    assert endpoint.fn("the café", **given)["lengths"]
    labels = [block.id for block in app.blocks.values() if isinstance(block, gr.Tab)]
    assert labels == ["saliency", "layer-predictions", "rankings", "neuron-factors", "lengths"]
    methods: Any = next(block for block in app.blocks.values() if getattr(block, "elem_id", None) == "method")
    assert [value for _, value in methods.choices] == [*METHODS]
    assert "by-length" in METHODS


@pytest.mark.usefixtures("toys")
def test_their_answers_have_a_cost_a_document_and_a_table(runner: Dispatcher, save_model: Callable[..., Path]) -> None:
    raw: dict[str, Any] = {"text": "the café", "model": str(save_model("gpt2")), "generate": 1}
    for analysis, settings in (("lengths", {}), ("saliency", {"method": "by-length"})):
        found = answer(runner, parse_request(analysis, raw | settings))
        assert document(found)["tokens"]


@pytest.mark.parametrize("name", [*ANALYSES])
def test_what_a_row_names_is_there(name: str) -> None:
    row = ANALYSES[name]
    for function in (row.function, row.cost, row.document, row.table):
        assert not function or callable(load_function(function))
    assert row.is_public is bool(row.document) is bool(row.table) is bool(row.purpose) is bool(row.smoke_key)
    assert row.kinds


@pytest.mark.parametrize("name", [*METHODS])
def test_what_a_method_names_is_there(name: str) -> None:
    assert callable(load_function(METHODS[name].function))
    assert callable(load_function(METHODS[name].cost))
