"""A second model beside the first: the same text, the same places, two answers."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import completed
from families import FAMILIES, byte_tokenizer, random_module, tiny_model, tiny_module, tiny_tokenizer

from analyzers.common.errors import InputError
from analyzers.common.limits import LIMITS
from analyzers.common.sentences import Sentence
from analyzers.common.settings import SHUFFLES
from analyzers.common.stopping import always
from analyzers.methods.similarity import compare_layers
from analyzers.models.language_model import LanguageModel
from analyzers.models.store import ModelStore
from analyzers.serving.analyses import public_analyses
from analyzers.serving.answer_key import key_of_request
from analyzers.serving.beside import ask_second, read_alike
from analyzers.serving.dispatch import Dispatcher, Step, answer
from analyzers.serving.document import document
from analyzers.serving.request import parse_request
from analyzers.serving.sharing import SharedRuns
from analyzers.serving.table import table
from analyzers.sources.resolver import Resolver

TEXT = "the keys to the cabinet, the café"
APART = tuple(row.name for row in public_analyses() if row.takes_second and not row.joint_function)
ONES = {"one": "gpt2", "again": "gpt2", "masked": "bert", "other-masked": "roberta"}
ONES |= {"pair": "t5", "other-pair": "bart", "encoder": "minilm", "other-encoder": "minilm"}

WRITES = {"sample": True, "seed": 4}
"""So that the first model writes whole characters."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Models of every kind; `letters` is a llama that reads byte by byte, `deep` has twice the layers."""
    made = tmp_path_factory.mktemp("models")
    for name, family in ONES.items():
        tiny_module(family).save_pretrained(made / name)
        tiny_tokenizer(FAMILIES[family].kind).save_pretrained(made / name)
    tiny_module("llama").save_pretrained(made / "letters")
    byte_tokenizer().save_pretrained(made / "letters")
    random_module("GPT2LMHeadModel", **FAMILIES["gpt2"].values | {"n_layer": 6}).save_pretrained(made / "deep")
    tiny_tokenizer().save_pretrained(made / "deep")
    return made


@pytest.fixture(scope="module")
def dispatcher(folder: Path) -> Dispatcher:
    return Dispatcher(ModelStore(Resolver(models_folder=folder, default="one")))


def asked(analysis: str = "saliency", **values: Any) -> Any:
    return parse_request(analysis, {"text": TEXT, "generate": 3, "device": "cpu"} | values)


def written(found: Any) -> str:
    return "".join(token.glyph_text for token in found.completion.outputs if token.glyph_start == token.position)


@pytest.mark.parametrize("analysis", APART)
def test_a_model_beside_itself_says_the_same(analysis: str, dispatcher: Dispatcher) -> None:
    given = {"target_text": " keys, and the café"}
    first = answer(dispatcher, asked(analysis, beside="again", **given))
    assert first.beside is not None
    alone, beside = document(answer(dispatcher, asked(analysis, **given))), document(first.beside)
    for name in set(alone) - {"model", "request", "seconds", "warnings", "beside", "aligned"}:
        assert beside[name] == alone[name], name
    said = document(first)
    assert said["beside"] == beside
    assert said["aligned"]
    assert all(one["first"] == one["second"] for one in said["aligned"])
    json.dumps(said, allow_nan=False)
    assert [line for line in table(first).split("\n") if line.startswith(("one ", "again "))]


@pytest.mark.parametrize("analysis", APART)
def test_the_second_reads_what_the_first_wrote_and_is_asked_at_the_same_character(
    analysis: str, dispatcher: Dispatcher
) -> None:
    found = answer(dispatcher, asked(analysis, beside="letters", **WRITES))
    assert found.beside is not None
    assert found.beside.model.id == "letters"
    assert written(found)
    assert found.beside.completion.n_positions > found.completion.n_positions
    assert written(found.beside) == written(found)
    starts = [
        len(
            "".join(
                t.glyph_text for t in one.completion.tokens[: one.completion.n_prompt] if t.glyph_start == t.position
            )
        )
        for one in (found, found.beside)
    ]
    assert starts == [len(TEXT)] * 2
    assert [note.key for note in found.notes] == []
    segments = document(found)["aligned"]
    assert isinstance(segments, list)
    assert "".join(one["text"] for one in segments) == TEXT + written(found)


def test_a_position_is_that_of_the_token_which_begins_at_the_same_character(dispatcher: Dispatcher) -> None:
    first = answer(dispatcher, asked("layer-predictions", **WRITES))
    tokens = first.completion.tokens
    for token in tokens[1:]:
        found = answer(dispatcher, asked("layer-predictions", beside="letters", position=token.position, **WRITES))
        assert found.beside is not None
        before = "".join(t.glyph_text for t in tokens[: token.glyph_start] if t.glyph_start == t.position)
        part = token.position - token.glyph_start  # é is two tokens in both
        assert found.beside.result.position == len(before.encode()) + part  # a token a byte
        assert "beside_begins_elsewhere" not in [note.key for note in found.notes]
    last = answer(dispatcher, asked("layer-predictions", beside="letters", position=len(tokens), **WRITES))
    assert last.beside is not None
    assert last.beside.result.position == last.beside.completion.n_positions


def test_what_holds_the_place_is_named_where_no_token_begins_there(dispatcher: Dispatcher) -> None:
    found = answer(dispatcher, asked("layer-predictions", model="letters", beside="one", position=6))
    assert found.beside is not None
    token = found.beside.completion.tokens[found.beside.result.position]
    assert token.text == " keys"
    (note,) = [note for note in found.notes if note.key == "beside_begins_elsewhere"]
    assert "“␣keys”" in note.say("en")
    with pytest.raises(InputError, match="one reads the place of position 2 as the beginning"):
        answer(dispatcher, asked("layer-predictions", model="letters", beside="one", position=2))


def test_what_the_second_cannot_be_given_is_said(dispatcher: Dispatcher) -> None:
    written_greedily = answer(dispatcher, asked("rankings")).completion.outputs
    assert written_greedily[0].text == "⟨BF⟩"
    found = answer(dispatcher, asked("rankings", beside="letters"))
    assert found.beside is not None
    assert found.beside.completion.outputs == ()
    assert [(n.key, n.values["n"]) for n in found.notes] == [("beside_reads_less", 3)]
    with pytest.raises(InputError, match="What one wrote cannot be given to letters"):
        answer(dispatcher, asked("saliency", beside="letters"))


@pytest.mark.parametrize(("layer", "expected"), [(-1, -1), (0, 1), (1, 3), (2, 5), ("last", 5)])
def test_a_layer_is_the_one_of_the_same_relative_depth(layer: Any, expected: int, dispatcher: Dispatcher) -> None:
    found = answer(dispatcher, asked("layer-predictions", beside="deep", layer=layer))
    assert found.beside is not None
    assert found.beside.result.layers == (expected,)
    back = answer(dispatcher, asked("layer-predictions", model="deep", beside="one", layer=expected))
    assert back.beside is not None
    assert back.beside.result.layers == found.result.layers


def test_a_given_continuation_and_watched_words_go_to_both(dispatcher: Dispatcher) -> None:
    found = answer(dispatcher, asked("rankings", beside="letters", target_text=" keys", watch=[" a"]))
    assert found.beside is not None
    assert written(found) == written(found.beside) == " keys"
    assert [token.text for token in found.beside.result.watch.tokens] == [" "]
    assert any(
        note.key == "beside_note" and note.say("en").endswith("the second model, letters.") for note in found.notes
    )


@pytest.mark.parametrize(
    ("first", "second", "values"),
    [
        ("masked", "other-masked", {"text": "the <mask> are <mask>"}),
        ("masked", "other-masked", {"text": TEXT, "hide": 2}),
        ("pair", "other-pair", {"text": TEXT, "sample": True, "seed": 2}),
        ("encoder", "other-encoder", {"text": TEXT, "target_text": "the cabinet"}),
    ],
)
@pytest.mark.parametrize("analysis", APART)
def test_every_kind(analysis: str, first: str, second: str, values: dict[str, Any], dispatcher: Dispatcher) -> None:
    request = asked(analysis, model=first, beside=second, **{"generate": 2} | values)
    if FAMILIES[ONES[first]].without and analysis in FAMILIES[ONES[first]].without:
        with pytest.raises(InputError):
            answer(dispatcher, request)
        return
    found = answer(dispatcher, request)
    assert found.beside is not None
    assert (found.model.id, found.beside.model.id) == (first, second)
    outputs = [[token.position for token in one.completion.outputs] for one in (found, found.beside)]
    if found.model.kind == "masked":
        assert outputs[0] == outputs[1]
    json.dumps(document(found), allow_nan=False)


def test_a_hidden_token_that_the_second_cuts_otherwise_is_refused() -> None:
    first = tiny_model("bert")
    completion = completed(first, "the keys", hide=1)
    request = asked(model="masked", text="the keys", hide=1)
    other = LanguageModel(tiny_module("bert"), tiny_tokenizer("masked"), "cut-otherwise", kind="masked")
    assert read_alike(completion, request, other)[1].hide == 1
    merged = completed(first, "thé keys", hide=1)
    wrong = replace(request, text="the keys")  # as if the second read “the” where the first has “th” and “é”
    with pytest.raises(InputError, match="cuts the text otherwise"):
        read_alike(merged, wrong, other)


@pytest.mark.parametrize("second", ["masked", "pair", "encoder"])
@pytest.mark.parametrize("analysis", APART)
def test_another_kind_is_refused_before_anything_is_computed(
    analysis: str, second: str, dispatcher: Dispatcher
) -> None:
    steps = dispatcher.run(asked(analysis, beside=second))
    with pytest.raises(InputError, match="are not of one kind"):
        next(steps)


def test_one_that_there_is_not_is_refused(dispatcher: Dispatcher) -> None:
    with pytest.raises(InputError, match="nowhere"):
        answer(dispatcher, asked(beside="nowhere"))
    with pytest.raises(InputError, match="beside"):
        parse_request("neuron-factors", {"text": TEXT, "beside": "again"})
    for bad in (3, "", ["again"], 10**40):
        with pytest.raises(InputError, match="beside"):
            asked(beside=bad)


@pytest.mark.parametrize("analysis", [*APART, "layer-similarity"])
def test_one_that_does_not_fit_beside_the_first_is_refused_with_the_figures(
    analysis: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dispatcher = Dispatcher(ModelStore(Resolver(models_folder=folder, default="one")))
    weights = dispatcher.store.describe("one", "cpu").placement.weights
    monkeypatch.setattr("analyzers.models.room.budget_of", lambda _device: int(1.5 * weights))
    answer(dispatcher, asked(analysis, **WRITES))  # alone it fits
    answer(dispatcher, asked(analysis, beside="one", **WRITES))  # and beside itself
    with pytest.raises(
        InputError,
        match=r"again does not fit into memory beside one: it needs about \d+ MB .* kept, \d MB can be had on cpu",
    ):
        answer(dispatcher, asked(analysis, beside="again"))


def test_the_first_answer_is_shown_before_the_second_and_progress_never_falls(dispatcher: Dispatcher) -> None:
    steps: list[Step] = list(dispatcher.run(asked(beside="letters", method="occlusion", **WRITES)))
    shown = [step.answer for step in steps if step.answer is not None]
    assert shown[0].beside is None
    assert not shown[0].is_whole
    assert shown[-1].beside is not None
    assert shown[-1].is_whole
    assert all(one.request.beside == "letters" for one in shown)
    fractions = [step.fraction for step in steps if step.phase == "analyzing"]
    assert fractions == sorted(fractions)
    assert max(fractions) <= 1
    assert [step.phase for step in steps].count("done") == 1
    assert steps[-1].phase == "done"
    total = shown[-1].seconds
    assert total["analyze"] == pytest.approx(shown[0].seconds["analyze"] + shown[-1].beside.seconds["analyze"])


def test_each_part_is_computed_once_and_known_by_itself(dispatcher: Dispatcher) -> None:
    shared = SharedRuns(dispatcher)
    answer(shared, asked("rankings"))
    assert shared.n_computed == 1
    first = answer(shared, asked("rankings", beside="letters"))
    assert shared.n_computed == 2
    *_, again = shared.run(asked("rankings", beside="letters"))
    assert shared.n_computed == 2
    assert again.is_known
    assert again.answer is not None
    assert again.answer.beside is not None
    assert first.beside is not None
    assert np.array_equal(again.answer.beside.result.ranks, first.beside.result.ranks)
    assert (
        shared.known(asked("rankings", beside="letters")) is None
    )  # what the second is asked is not known before it reads


class Cut(Dispatcher):
    """A time limit cuts the run of one model short."""

    cut = "one"

    def run(self, request: Any, seconds: int | None = None, is_wanted: Any = always) -> Iterator[Step]:
        for step in super().run(request, seconds, is_wanted):
            if request.beside is None and step.answer is not None and step.answer.model.id == self.cut:
                notes = (Sentence.of("stopped_early", limit=1),)
                yield replace(step, answer=replace(step.answer, is_whole=False, notes=notes))
            else:
                yield step


@pytest.mark.parametrize(("cut", "key"), [("one", "stopped_early"), ("letters", "beside_note"), ("nobody", None)])
def test_a_time_limit_that_cuts_either_short_is_said_of_both(cut: str, key: str | None, dispatcher: Dispatcher) -> None:
    cutting = Cut(dispatcher.store)
    cutting.cut = cut
    found = answer(cutting, asked("rankings", beside="letters", **WRITES))
    assert found.beside is not None
    assert found.is_whole == (key is None)
    assert [note.key for note in found.notes] == ([] if key is None else [key])


def test_layers_of_two_models_over_the_tokens_that_end_at_the_same_character(dispatcher: Dispatcher) -> None:
    found = answer(dispatcher, asked("layer-similarity", beside="letters", measure="cka", **WRITES))
    result = found.result
    assert result.second is not None
    assert result.second.model.id == "letters"
    kept = [p for p in range(len(result.tokens)) if p not in result.left_out]
    texts = [
        ["".join(t.glyph_text for t in tokens[: p + 1] if t.glyph_start == t.position) for p in places]
        for tokens, places in ((result.tokens, kept), (result.second.tokens, result.second.positions))
    ]
    assert texts[0] == texts[1]
    assert 0 not in kept
    assert 0 not in result.second.positions
    hidden = []
    for name, ids, places in (
        ("gpt2", [t.id for t in result.tokens], kept),
        ("llama", [t.id for t in result.second.tokens], list(result.second.positions)),
    ):
        with torch.no_grad():
            states = tiny_module(name)(torch.tensor([ids]), output_hidden_states=True).hidden_states
        hidden.append([layer[0, places].double().numpy() for layer in states])
    for i, one in enumerate(hidden[0][:-1]):  # the last is normed there
        for j, other in enumerate(hidden[1][:-1]):
            a, b = one - one.mean(0), other - other.mean(0)
            expected = np.linalg.norm(a.T @ b) ** 2 / (np.linalg.norm(a.T @ a) * np.linalg.norm(b.T @ b))
            assert result.similarity[i, j] == pytest.approx(expected, rel=1e-6)
    random = np.random.default_rng(0)
    orders = [random.permutation(len(kept)) for _ in range(SHUFFLES)]
    floors = [compare_layers("cka", hidden[0][:-1], [layer[order] for layer in hidden[1][:-1]], 3) for order in orders]
    np.testing.assert_allclose(result.floor[:-1, :-1], np.mean(floors, axis=0), rtol=1e-5)
    said = document(found)
    assert said["beside"]["model"] == "letters"  # type: ignore[index]
    json.dumps(said, allow_nan=False)
    assert "columns: letters" in table(found)


@pytest.mark.parametrize("measure", ["cka-debiased", "cka", "svcca", "pwcca"])
def test_layers_of_a_model_beside_itself_are_those_of_the_model(measure: Any, dispatcher: Dispatcher) -> None:
    values = {"measure": measure, "components": 3, "generate": 0}
    alone = answer(dispatcher, asked("layer-similarity", **values)).result
    both = answer(dispatcher, asked("layer-similarity", beside="again", **values)).result
    assert np.array_equal(alone.similarity, both.similarity)
    assert np.array_equal(alone.floor, both.floor)
    assert alone.left_out == both.left_out
    assert both.second.layers == alone.layers


def test_layers_of_a_causal_model_beside_those_of_an_encoder(dispatcher: Dispatcher) -> None:
    found = answer(dispatcher, asked("layer-similarity", beside="encoder", **WRITES))
    assert found.result.similarity.shape == (4, 4)
    read = "".join(t.glyph_text for t in found.result.second.tokens if not t.special and t.glyph_start == t.position)
    assert read == TEXT + written(found)


def test_an_answer_of_two_models_has_a_key_of_its_own(dispatcher: Dispatcher) -> None:
    requests = [asked("layer-similarity", **({"beside": name} if name else {})) for name in (None, "again", "letters")]
    keys = [key_of_request(dispatcher.store, request) for request in requests]
    assert len(set(keys)) == 3
    shared = SharedRuns(dispatcher)
    sizes = [answer(shared, request).result.column_layers for request in requests + requests]
    assert sizes[:3] == sizes[3:]
    assert shared.n_computed == 3
    assert all(shared.known(request) is not None for request in requests)


def test_what_the_second_cannot_read_is_refused_by_its_name_before_the_first_is_run(dispatcher: Dispatcher) -> None:
    for values in ({"target_text": " the" * (LIMITS.new_tokens // 2)}, {"text": "the keys to " * 20}):
        told = Told(dispatcher.store)
        answer(told, asked("rankings", **values))
        with pytest.raises(InputError, match=r"token.*This is about the second model, letters\."):
            answer(told, asked("rankings", beside="letters", **values))
        assert [line for line in told.told if line.startswith("begins")] == ["begins None"]
    found = answer(
        dispatcher, asked("rankings", model="masked", beside="other-masked", text="the keys", hide=1, target_text="c")
    )
    assert found.beside is not None


class Told(Dispatcher):
    """Says which model's run began and ended, and refuses the second as too slow where it is told to."""

    def __init__(self, store: ModelStore, *, is_slow: bool = False) -> None:
        super().__init__(store)
        self.is_slow = is_slow
        self.told: list[str] = []

    def run(self, request: Any, seconds: int | None = None, is_wanted: Any = always) -> Iterator[Step]:
        if request.beside is not None:
            yield from super().run(request, seconds, is_wanted)
            return
        if self.is_slow and request.model == "letters":
            raise InputError("too_slow", limit=1)
        try:
            self.told.append(f"begins {request.model}")
            yield from super().run(request, seconds, is_wanted)
        finally:
            self.told.append(f"ends {request.model}")


def test_what_the_first_said_stays_where_the_second_takes_too_long(dispatcher: Dispatcher) -> None:
    found = answer(Told(dispatcher.store, is_slow=True), asked("rankings", beside="letters", **WRITES))
    assert found.beside is None
    assert not found.is_whole
    assert len(found.result.ranks) == 3
    said = found.notes[-1].say("en")
    assert said.startswith("This took more than 1 seconds")
    assert said.endswith("This is about the second model, letters.")
    assert document(found)["beside"] is None
    again = Told(dispatcher.store)
    assert answer(again, asked("rankings", beside="letters", **WRITES)).beside is not None
    with pytest.raises(InputError, match="tokens"):  # what can be put right is refused
        answer(again, asked("rankings", beside="letters", target_text=" the" * 40))


@pytest.mark.parametrize("n_steps", [1, 2, 3, 4, 5, 6])
def test_whoever_stops_ends_the_run_of_whichever_model_computes(n_steps: int, dispatcher: Dispatcher) -> None:
    told = Told(dispatcher.store)
    steps = told.run(asked("saliency", model="one", beside="letters", **WRITES))
    for _ in range(n_steps):
        next(steps)
    steps.close()  # type: ignore[attr-defined]
    begun = [line.removeprefix("begins ") for line in told.told if line.startswith("begins")]
    assert begun
    assert told.told[-1] == f"ends {begun[-1]}"
    assert len(told.told) == 2 * len(begun)


def test_an_end_of_text_that_only_the_first_has_is_no_news(dispatcher: Dispatcher) -> None:
    model = dispatcher.store.load("one", "cpu")
    completion = completed(model, TEXT, target_text=" keys")
    end = model.tokens_of([*completion.ids, 0])[-1]
    assert end.special
    ended = replace(completion, tokens=(*completion.tokens, end))
    first = replace(answer(dispatcher, asked("rankings")), completion=ended)
    request, notes = ask_second(first, asked("rankings", beside="letters"), dispatcher.store.load("letters", "cpu"))
    assert request.generation.target_text == " keys"
    assert notes == ()
    letters, at_end = dispatcher.store.load("letters", "cpu"), end.position

    def place(analysis: str, **values: int) -> Any:
        return ask_second(first, asked(analysis, beside="letters", **values), letters)[0].settings

    n_bytes = len((TEXT + " keys").encode())
    assert place("rankings", position=at_end).position == n_bytes  # what would come there, as the first was asked
    with pytest.raises(InputError, match="letters is not given all that the first model wrote"):
        place("rankings", position=at_end + 1)
    assert place("saliency", first=at_end).first is None
    assert place("saliency", first=at_end - 1).first == n_bytes - 5


@pytest.mark.parametrize("second", ["masked", "other-masked"])
@pytest.mark.parametrize("hidden", range(1, 8))
def test_a_part_of_a_character_is_hidden_in_both(second: str, hidden: int, dispatcher: Dispatcher) -> None:
    values = {"model": "masked", "beside": second, "text": "東京 の é keys", "hide": hidden}
    found = answer(dispatcher, asked("rankings", **values))
    assert found.beside is not None
    assert [token.position for token in found.beside.completion.answers] == [hidden]


def test_what_the_second_is_not_given_is_said_of_layers_too(dispatcher: Dispatcher) -> None:
    found = answer(dispatcher, asked("layer-similarity", beside="letters"))
    assert [note.key for note in found.notes] == ["beside_reads_less"]
