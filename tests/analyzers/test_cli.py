"""The command line: exit status, what is on which stream, and nothing else there."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from families import tiny_module

from analyzers.__main__ import main

ROOT = Path(__file__).parents[2]
HEATHROW = "Heathrow airport is located in the city of"


@pytest.fixture
def tiny(save_model: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> str:
    for name in ("LC_ALL", "LC_MESSAGES", "LANG"):
        monkeypatch.delenv(name, raising=False)
    return str(save_model("gpt2"))


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    try:
        status = main(list(arguments))
    except SystemExit as exit:
        status = int(exit.code or 0)
    out, err = capsys.readouterr()
    return status, out, err


def test_the_table_is_the_default_and_nothing_is_on_standard_error(tiny: str, capsys: Any) -> None:
    status, out, err = run(capsys, "saliency", "the keys", "--model", tiny, "--device", "cpu")
    assert (status, err) == (0, "")
    assert out.startswith("gpt2 (causal, 3 layers, float32;")
    assert "occlusion · probability" in out


def test_layer_predictions_are_a_table_or_json(tiny: str, capsys: Any) -> None:
    asked = ["layer-predictions", "the keys", "--model", tiny, "--device", "cpu", "--top", "3"]
    status, out, err = run(capsys, *asked)
    assert (status, err) == (0, "")
    assert "embed" in out
    assert "layer entropy     KL  predictions" in out
    status, out, err = run(capsys, *asked, "--json", "--layer", "-1", "--position", "1", "--without-final-norm")
    assert (status, err) == (0, "")
    found = json.loads(out)
    assert found["position"] == 1
    assert [(row["layer"], len(row["predictions"])) for row in found["layers"]] == [(-1, 3)]
    assert found["without_final_norm"] is True


def test_rankings_are_a_table_or_json(tiny: str, capsys: Any) -> None:
    asked = ["rankings", "the keys", "--model", tiny, "--device", "cpu", "--generate", "2", "--watch", " the"]
    status, out, err = run(capsys, *asked)
    assert (status, err) == (0, "")
    assert "first from layer: " in out
    assert "␣the (259)" in out
    status, out, err = run(capsys, *asked, "--watch", " to", "--position", "2", "--json")
    assert (status, err) == (0, "")
    found = json.loads(out)
    assert found["watch"]["position"] == 2
    assert [token["text"] for token in found["watch"]["tokens"]] == [" the", " to"]
    assert [len(row) for row in found["ranks"]] == [2, 2, 2]


def test_neuron_factors_are_a_table_or_json(tiny: str, capsys: Any) -> None:
    text = "the keys<|end|> to the cabinet"
    asked = ["neuron-factors", text, "--model", tiny, "--device", "cpu", "--generate", "0", "--factors", "3"]
    status, out, err = run(capsys, *asked)
    assert (status, err) == (0, "")
    assert "NMF of the neurons of layers 0 to 2 · positive parts · each layer scaled alike" in out
    assert "left out: the, <|end|>" in out
    assert [line.split()[1] for line in out.splitlines() if line.startswith("factor ")] == ["1", "2", "3"]
    status, out, err = run(
        capsys, *asked, "--first-layer", "1", "--last-layer", "2", "--include-first-token", "--include-special",
        "--unscaled", "--parts", "split", "--json",
    )  # fmt: skip
    assert (status, err) == (0, "")
    found = json.loads(out)
    assert (found["layers"], found["left_out"], found["parts"], found["scaled"]) == ([1, 2], [], "split", False)
    assert {one["layer"] for factor in found["factors"] for one in factor["top_neurons"]} <= {1, 2}
    assert all(value is not None for factor in found["factors"] for value in factor["activations"])


@pytest.mark.parametrize("order", [("--json", "saliency", "the keys"), ("saliency", "the keys", "--json")])
def test_json_is_the_whole_of_standard_output(tiny: str, capsys: Any, order: tuple[str, ...]) -> None:
    status, out, err = run(capsys, *order, "--model", tiny, "--device", "cpu", "--generate", "2")
    assert (status, err) == (0, "")
    assert out.count("\n") == 1
    found = json.loads(out)
    assert [sum(row) for row in found["shares"]] == pytest.approx([1, 1])


def test_a_contrast_of_several_tokens_is_a_warning_not_an_error(tiny: str, capsys: Any) -> None:
    status, out, err = run(capsys, "saliency", "the keys", "--model", tiny, "--contrast", "zebra", "--json")
    assert (status, err) == (0, "")
    assert "the first" in json.loads(out)["warnings"][0]
    status, out, _ = run(capsys, "saliency", "the keys", "--model", tiny, "--contrast", "zebra")
    assert out.splitlines()[-1].startswith("! “zebra” is ")


BAD = [
    (["saliency", ""], "There is no text"),
    (["saliency", "x" * 20_001], "text has 20,001 characters"),
    (["saliency", "!" * 600, "--model", "TINY"], "tokens; at most"),
    (["saliency", "a", "--model", "nothing"], "There is no model called “nothing”"),
    (["saliency", "a", "--model", "a\nb"], "There is no model called"),
    (["saliency", "a", "--model", "./nowhere"], "There is no model folder at"),
    (["saliency", "a", "--model", "~nobody-at-all/x"], "There is no model folder at"),
    (["saliency", "a", "--model", "minilm-l6"], "is an encoder without a language-model head"),
    (["saliency", "a", "--temperature", "nan"], "temperature must be a number"),
    (["saliency", "a", "--temperature", "inf"], "temperature must be a number"),
    (["saliency", "a", "--top-p", "0"], "top_p must be a number"),
    (["saliency", "a", "--points", "1e999"], "points must be a whole number"),
    (["saliency", "a", "--seed", "9" * 4000], "seed must be a whole number"),
    (["saliency", "a", "--generate", "-1"], "generate must be a whole number"),
    (["saliency", "a", "--generate", "ten"], "generate must be a whole number"),
    (["saliency", "a", "--method", "guess\nwork"], "method must be one of"),
    (["saliency", "a", "--points", "5", "--tolerance", "0.1"], "either points"),
    (["saliency", "a", "--generate", "0", "--model", "TINY"], "no predicted token"),
    (["saliency", "a\ud800", "--model", "TINY"], "lone surrogate"),
    (["saliency", "a", "--contrast", "", "--model", "TINY"], "contrast is empty"),
    (["saliency", "a", "--first", "0", "--model", "TINY"], "Position 0 is not"),
    (["layer-predictions", "a", "--position", "0", "--model", "TINY"], "position"),
    (["layer-predictions", "a", "--position", "9", "--model", "TINY"], "position"),
    (["layer-predictions", "a", "--layer", "3", "--model", "TINY"], "layer must be a whole number from -1 to 2"),
    (["layer-predictions", "a", "--top", "51"], "top must be a whole number from 1 to 50"),
    (["layer-predictions", "a", "--watch", "b"], "--watch"),
    (["rankings", "a", "--watch", "", "--model", "TINY"], "watch is empty"),
    (["rankings", "a", *["--watch", "b"] * 17], "At most 16 words can be watched at once; these are 17"),
    (["rankings", "a", "--watch", "b", "--position", "9", "--model", "TINY"], "position"),
    (["rankings", "a", "--generate", "0", "--model", "TINY"], "no predicted token"),
    (["neuron-factors", "a", "--factors", "0"], "factors must be a whole number from 1 to 32"),
    (["neuron-factors", "a", "--factors", "33"], "factors must be a whole number from 1 to 32"),
    (["neuron-factors", "a", "--factors", "nan"], "factors must be a whole number from 1 to 32"),
    (["neuron-factors", "a", "--factors", "2.5"], "factors must be a whole number from 1 to 32"),
    (["neuron-factors", "a b", "--generate", "0", "--factors", "9", "--model", "TINY"], "9 factors cannot be told"),
    (["neuron-factors", "a", "--generate", "0", "--model", "TINY"], "0 of 1 tokens are left to factorise"),
    (["neuron-factors", "a b c", "--first-layer", "2", "--last-layer", "1", "--model", "TINY"], "no layers 2 to 1"),
    (["neuron-factors", "a b c", "--last-layer", "3", "--model", "TINY"], "they go from 0 to 2"),
    (["neuron-factors", "a", "--first-layer", "-1"], "first_layer must be a whole number from 0"),
    (["neuron-factors", "a", "--parts", "negative"], "parts must be one of positive, split"),
    (["neuron-factors", "a", "--preset", "first"], "--preset"),
    (["saliency"], "TEXT"),
    (["saliency", "a", "--no-such\noption"], "--no-such"),
    (["draw", "a"], "draw"),
    ([], "Name a command"),
]


@pytest.mark.parametrize(("arguments", "said"), BAD, ids=range(len(BAD)))
def test_bad_input_is_status_2_and_one_line_on_standard_error(
    tiny: str, capsys: Any, arguments: list[str], said: str
) -> None:
    status, out, err = run(capsys, *(tiny if argument == "TINY" else argument for argument in arguments))
    assert (status, out) == (2, "")
    assert said in err
    assert err.count("\n") == 1
    assert "Traceback" not in err


def test_a_model_with_a_weight_that_is_no_number_is_status_2(tiny: str, tmp_path: Path, capsys: Any) -> None:
    module = tiny_module("gpt2")
    with torch.no_grad():
        module.transformer.h[0].mlp.c_fc.weight[0, 0] = float("nan")
    module.save_pretrained(tiny)
    status, out, err = run(capsys, "saliency", "a", "--model", tiny)
    assert (status, out) == (2, "")
    assert err == (
        "gpt2 cannot be used: its weight transformer.h.0.mlp.c_fc.weight holds numbers that are not finite. "
        "The model in use is unchanged.\n"
    )


def test_errors_are_said_in_the_language_of_the_terminal(tiny: str, capsys: Any, monkeypatch: Any) -> None:
    monkeypatch.setenv("LANG", "ja_JP.UTF-8")
    assert run(capsys, "saliency", "")[2] == "テキストが空です。入力するか、例を選んでください。\n"
    monkeypatch.setenv("LC_ALL", "C.UTF-8")
    assert run(capsys, "saliency", "")[2].startswith("There is no text")


def test_every_model_is_listed_with_whether_it_is_at_hand(capsys: Any) -> None:
    status, out, err = run(capsys, "--models", "--json")
    rows = json.loads(out)
    assert (status, err) == (0, "")
    assert {row["id"]: row["at_hand"] for row in rows}["smollm2-135m-instruct"] is True
    assert len(run(capsys, "--models")[1].splitlines()) == len(rows)


def test_help_names_every_option(capsys: Any) -> None:
    status, out, _ = run(capsys, "saliency", "--help")
    assert status == 0
    for flag in (
        "--method",
        "--target",
        "--contrast",
        "--aggregate",
        "--baseline",
        "--points",
        "--tolerance",
        "--seed",
    ):
        assert flag in out


def test_the_real_command_finds_london() -> None:
    """The whole way, as a person types it: no terminal, so no progress; JSON and nothing else."""
    done = subprocess.run(
        [sys.executable, "-m", "analyzers", "saliency", HEATHROW, "--model", "smollm2-135m-instruct", "--json"],
        cwd=ROOT, capture_output=True, text=True, timeout=120, env=os.environ | {"LC_ALL": "C.UTF-8"},
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    found = json.loads(done.stdout)
    assert found["tokens"][-1]["text"] == " London"
    assert "".join(token["text"] for token in found["tokens"]) == HEATHROW + " London"
    assert sum(found["shares"][0]) == pytest.approx(1)
    assert (found["method"], found["target"]) == ("occlusion", "probability")


def test_a_real_refusal_is_one_line_and_status_2() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "analyzers", "saliency", "a", "--model", "../nowhere"],
        cwd=ROOT, capture_output=True, text=True, timeout=60, env=os.environ | {"LC_ALL": "C.UTF-8"},
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("There is no model folder at")
    assert done.stderr.count("\n") == 1
