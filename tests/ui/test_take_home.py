"""The command and the Python that a view is taken home as: run in a fresh process, they give its numbers."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from analyzers.models.store import ModelStore
from analyzers.serving.analyses import public_analyses
from analyzers.serving.dispatch import Dispatcher, answer
from analyzers.serving.document import document
from analyzers.serving.request import parse_request
from analyzers.sources.resolver import Resolver
from ui.take_home import command_line, file_name, plain_paragraphs, python_code, take_home

ROOT = Path(__file__).parents[2]
TEXT = ' -it\'s “日本” $HOME `id` "q"\n<b>\\n'
ASKED: dict[str, dict[str, Any]] = {
    "saliency": {"method": "input-x-gradient", "aggregate": "sum", "contrast": " a", "generate": 3, "sample": True},
    "layer-predictions": {"top": 3, "without_final_norm": True, "position": 4, "generate": 0},
    "rankings": {"watch": [" is", "-are", " a b"], "target_text": " x"},
    "neuron-factors": {"factors": 2, "unscaled": True, "parts": "split", "layers": "last"},
    "layer-similarity": {"measure": "cka", "representation": "neurons", "include_first_token": True, "generate": 2},
    "map-comparison": {"methods": ["gradient", "occlusion"], "contrast": " a", "generate": 2, "whole_words": True},
}


BESIDE: dict[str, dict[str, Any]] = {
    "rankings": {"watch": [" is"], "target_text": " x"},
}
"""With a second model."""


def run(parts: list[str]) -> str:
    done = subprocess.run(parts, cwd=ROOT, capture_output=True, text=True, timeout=120, env={**os.environ})
    assert done.returncode == 0, done.stderr
    return done.stdout


def without_seconds(found: Any) -> Any:
    kept = {name: value for name, value in found.items() if name != "seconds"}
    if isinstance(kept.get("beside"), dict):
        kept["beside"] = without_seconds(kept["beside"])
    return json.loads(json.dumps(kept))


def test_every_public_analysis_is_asked_here() -> None:
    assert set(ASKED) == {row.name for row in public_analyses()}
    assert set(BESIDE) < {row.name for row in public_analyses() if row.takes_second}


@pytest.mark.parametrize(
    ("analysis", "values", "second"),
    [
        *((name, values, None) for name, values in ASKED.items()),
        *((name, values, "llama") for name, values in BESIDE.items()),
    ],
)
def test_command_and_python_give_the_numbers_of_the_view(
    analysis: str, values: dict[str, Any], second: str | None, save_model: Any, tmp_path: Path
) -> None:
    folder = str(save_model())
    named = {} if second is None else {"beside": str(save_model(second))}
    request = parse_request(analysis, {"text": TEXT, "model": folder, **values, **named})
    found = answer(Dispatcher(ModelStore(Resolver(any_folder=True))), request)
    words = shlex.split(command_line(request, folder))
    assert words[:3] == ["python", "-m", "analyzers"]
    printed = json.loads(run([sys.executable, *words[1:]]))
    assert without_seconds(printed) == without_seconds(document(found))
    kept = tmp_path / "result.pickle"
    script = f"{python_code(request, folder)}\nimport pickle\npickle.dump(result, open({str(kept)!r}, 'wb'))"
    run([sys.executable, "-c", script])
    if found.beside is not None:
        said = run([sys.executable, "-c", f"{python_code(request, folder)}\nprint(found.beside.model.id)"])
        assert said.splitlines()[-1] == found.beside.model.id
    import pickle

    result = pickle.loads(kept.read_bytes())
    assert type(result) is type(found.result)
    for name, value in vars(found.result).items():
        if isinstance(value, np.ndarray):
            np.testing.assert_array_equal(getattr(result, name), value)


def test_a_document_holds_the_whole_request(save_model: Any) -> None:
    folder = str(save_model())
    raw = {"text": TEXT, "model": folder, **ASKED["saliency"], "seed": 7}
    found = answer(Dispatcher(ModelStore(Resolver(any_folder=True))), parse_request("saliency", raw))
    asked: Any = document(found)["request"]
    assert parse_request(asked.pop("analysis"), asked) == found.request
    assert asked["seed"] == 7


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("Heathrow airport is located in the city of", "eccolens-heathrow-airport-is-located-in-rankings"),
        ("日本の首都は、", "eccolens-日本の首都は-rankings"),
        ("../../etc/passwd\0", "eccolens-etc-passwd-rankings"),
        ("!?", "eccolens-rankings"),
    ],
)
def test_a_file_is_named_by_its_text(text: str, name: str) -> None:
    assert file_name(parse_request("rankings", {"text": text})) == name


def test_a_help_text_is_read_without_its_marks() -> None:
    assert plain_paragraphs("**What** it\nshows.\n\n- one `x`\n- two *y*") == ["What it shows.", "- one x", "- two y"]


@pytest.mark.parametrize("language", ["en", "ja"])
@pytest.mark.parametrize("analysis", ASKED)
def test_what_is_taken_home_says_what_it_is_of(analysis: str, language: str, save_model: Any) -> None:
    folder = str(save_model())
    request = parse_request(analysis, {"text": "a b", "model": folder, "sample": True, "seed": 3, "generate": 2})
    found = answer(Dispatcher(ModelStore(Resolver(any_folder=True))), request)
    value = take_home([found, found], language)
    assert len(value["caption"]) == 2
    assert all(found.model.id in line and "3" in line and "Eccolens" in line for line in value["caption"])
    assert value["help"]
    assert value["python"].count("result = ") == 2


def test_two_models_are_one_command_and_two_captions(save_model: Any) -> None:
    folder, other = str(save_model()), str(save_model("llama"))
    raw = {"text": "a b", "model": folder, "beside": other, "target_text": " keys"}
    found = answer(Dispatcher(ModelStore(Resolver(any_folder=True))), parse_request("rankings", raw))
    assert found.beside is not None
    value = take_home([found, found.beside], "en")
    assert [line.split(" ")[0] for line in value["caption"]] == ["gpt2", "llama"]
    assert value["command"].count("python -m") == 1
    assert f"--beside={other}" in value["command"]
    assert value["python"].count("result = ") == 1
