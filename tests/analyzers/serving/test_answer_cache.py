"""What is kept is what was computed, or it is not used."""

from __future__ import annotations

import hashlib
import pickle
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import completed
from families import FAMILIES, tiny_model

from analyzers.common.functions import load_function
from analyzers.common.progress import finish
from analyzers.common.sentences import Sentence
from analyzers.common.settings import FactorNeuron, Generation
from analyzers.models.completion import complete
from analyzers.serving import answer_cache
from analyzers.serving.analyses import ANALYSES
from analyzers.serving.answer_cache import AnswerCache, count_bytes
from analyzers.serving.answer_key import AnswerKey
from analyzers.serving.dispatch import Answer
from analyzers.serving.request import Request, parse_request


def key_of(text: str) -> AnswerKey:
    return AnswerKey("folder", "files", "auto", parse_request("saliency", {"text": text}))


def made(result: Any = None) -> Any:
    model = tiny_model("gpt2")
    notes = (Sentence.of("stopped_early", limit=60),)
    return Answer(
        parse_request("saliency", {"text": "the"}), model.facts, completed(model), result, {"load": 1.0}, notes
    )


def test_the_least_recently_used_go_first_and_bytes_are_counted() -> None:
    cache = AnswerCache(megabytes=3)
    for name in "abc":
        cache.put(key_of(name), made(np.zeros(10**6, np.uint8)))
        cache.get(key_of("a"))
    assert [cache.get(key_of(name)) is not None for name in "abc"] == [True, False, True]
    assert cache.n_bytes <= 3 * 10**6
    cache.put(key_of("d"), made(np.zeros(4 * 10**6, np.uint8)))
    assert cache.get(key_of("d")) is None, "larger than the whole budget"
    assert cache.get(key_of("a")) is not None


def test_memory_stays_within_its_budget_over_many_requests() -> None:
    cache = AnswerCache(megabytes=1)
    for number in range(1_000):
        cache.put(key_of(str(number)), made(np.zeros(20_000, np.uint8)))
    assert cache.n_bytes <= 10**6
    assert cache.n_bytes == sum(size for _, size in cache._held.values())


def test_bytes_of_arrays_texts_and_rows_are_counted() -> None:
    assert count_bytes(np.zeros(1000)) >= 8000
    assert count_bytes(("x" * 1000, {"a": "y" * 1000}, [1, None])) >= 2000
    assert count_bytes(made(np.zeros(1000))) >= 8000 + count_bytes(made()) - 100


def test_the_disk_gives_back_what_it_was_given(tmp_path: Path) -> None:
    AnswerCache(folder=tmp_path).keep(key_of("a"), made(np.arange(5.0)))
    found = AnswerCache(folder=tmp_path).get(key_of("a"))
    assert found is not None
    assert np.array_equal(found.result, np.arange(5.0))
    assert found.notes[0].say() == made().notes[0].say()
    assert found.completion == made().completion
    assert AnswerCache(folder=tmp_path).get(key_of("b")) is None
    assert AnswerCache().get(key_of("a")) is None


@pytest.mark.parametrize("damage", ["cut", "bit", "empty", "no digest", "another key", "another version"])
def test_a_damaged_file_is_not_used(tmp_path: Path, damage: str, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = AnswerCache(folder=tmp_path)
    cache.keep(key_of("a"), made(np.arange(5.0)))
    (file,) = tmp_path.iterdir()
    written = file.read_bytes()
    if damage == "cut":
        file.write_bytes(written[:-1])
    elif damage == "bit":
        file.write_bytes(written[:-40] + bytes([written[-40] ^ 1]) + written[-39:])
    elif damage == "empty":
        file.write_bytes(b"")
    elif damage == "no digest":
        file.write_bytes(written.partition(b"\n")[2])
    elif damage == "another key":
        cache.keep(key_of("b"), made(np.arange(6.0)))
        (other,) = set(tmp_path.iterdir()) - {file}
        other.replace(file)
    else:
        monkeypatch.setattr(answer_cache, "code_version", lambda: "of tomorrow")
    assert cache.get(key_of("a")) is None
    cache.keep(key_of("a"), made(np.arange(5.0)))
    assert AnswerCache(folder=tmp_path).get(key_of("a")) is not None, "it is written anew"


class Hurts:
    """What a file from elsewhere may hold."""

    def __reduce__(self) -> Any:
        return Path.touch, (Path("hurt"),)


@pytest.mark.parametrize("payload", [Hurts(), (key_of("a"), Hurts())], ids=["bare", "inside"])
def test_a_file_runs_nothing(tmp_path: Path, payload: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    cache = AnswerCache(folder=tmp_path / "answers")
    cache.keep(key_of("a"), made())
    (file,) = (tmp_path / "answers").iterdir()
    written = pickle.dumps(payload)
    file.write_bytes(hashlib.sha256(written).hexdigest().encode() + b"\n" + written)
    assert cache.get(key_of("a")) is None
    assert not Path("hurt").exists()


def test_a_disk_that_takes_nothing_is_no_fault(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    cache = AnswerCache(folder=tmp_path / "file" / "answers")
    cache.keep(key_of("a"), made())
    assert cache.get(key_of("a")) is None


def test_what_other_code_left_is_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = AnswerCache(folder=tmp_path)
    cache.keep(key_of("a"), made())
    monkeypatch.setattr(answer_cache, "code_version", lambda: "of tomorrow")
    cache.keep(key_of("a"), made())
    assert len(list(tmp_path.iterdir())) == 2
    cache.forget_all_but([key_of("a")])
    assert len(list(tmp_path.iterdir())) == 1
    assert cache.is_kept(key_of("a"))


def test_an_answer_of_a_model_that_is_not_here_is_not_held() -> None:
    cache = AnswerCache()
    key = replace(key_of("a"), files="")
    cache.put(key, made())
    assert cache.get(key) is None


@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_what_is_kept_is_what_would_be_computed_for_every_analysis(
    family: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = tiny_model(family)
    text = "the [MASK] to the café" if model.facts.kind.fills_masks else "the keys to the café"
    generation = Generation(generate=3, target_text=None if model.facts.kind.predicts else "a café")
    *_, completion = complete(model, text, generation)
    own: dict[str, dict[str, Any]] = {
        "ablation": {"neurons": (FactorNeuron(0, 1, "positive", 1.0),)},
        "neuron-factors": {"factors": 2},
    }
    for analysis in ANALYSES.values():
        asked_from = {"ablation": "neuron-factors"}.get(analysis.name, analysis.name)
        if model.facts.kind not in analysis.kinds or asked_from in FAMILIES[family].without:
            continue
        settings = analysis.settings(**own.get(analysis.name, {}))
        if analysis.name == "layer-similarity" and completion.n_source:  # over the target's tokens: more of them
            generation = Generation(target_text="the café and the keys to the cabinet")
            *_, completion = complete(model, text, generation)
        request = Request(analysis.name, None, text, generation, "cpu", settings)
        compute = load_function(analysis.function)
        first, again = (finish(compute(model, completion, request.settings)) for _ in range(2))
        key = AnswerKey("folder", "files", "auto", request)
        AnswerCache(folder=tmp_path).keep(key, Answer(request, model.facts, completion, first, {}))
        kept = AnswerCache(folder=tmp_path).get(key)
        assert kept is not None, analysis.name
        assert bits(kept.result) == bits(again), analysis.name
        assert kept.completion == completion


def bits(value: Any) -> Any:
    """All that a result holds, arrays as bytes."""
    if isinstance(value, np.ndarray):
        return value.dtype.str, value.shape, value.tobytes()
    if is_dataclass(value):
        return {field.name: bits(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, dict):
        return {key: bits(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [bits(item) for item in value]
    return repr(value)
