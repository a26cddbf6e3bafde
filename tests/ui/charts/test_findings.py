"""What each analysis shows in a sentence, from numbers put in by hand."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
from conftest import completed
from families import tiny_model

from analyzers.common.progress import finish
from analyzers.common.settings import NeuronFactorsSettings, RankingsSettings, SaliencySettings
from analyzers.neuron_factors import factorize_neurons
from analyzers.rankings import Rankings, rank_at_each_layer
from analyzers.saliency import Saliency, compute_saliency
from ui.charts.findings import findings

MODEL = tiny_model("gpt2")
NAN = np.nan


def said(result: object, language: Any = "en", text: str = "") -> list[str]:
    return findings([answer(result, text)], language)


def answer(result: object, text: str = "", model: str = "m") -> Any:
    return SimpleNamespace(
        result=result, request=SimpleNamespace(text=text), model=SimpleNamespace(id=model), beside=None
    )


def saliency(shares: list[list[float]], **values: Any) -> Saliency:
    """the the to → the, =, the."""
    completion = completed(MODEL, "the the to", target_text=" the= the")
    result = finish(compute_saliency(MODEL, completion, SaliencySettings()))
    numbers = np.array(shares)
    return replace(result, scores=numbers, shares=np.abs(numbers), hidden_values=None, aggregate="l2", **values)


def rankings(watch: list[list[int]] | None) -> Rankings:
    completion = completed(MODEL, "the the to", target_text=" the= the")
    settings = RankingsSettings(watch=(" the", " to") if watch else ())
    result = finish(rank_at_each_layer(MODEL, completion, settings))
    if watch is None or result.watch is None:
        even = {"ranks": np.ones((8, 3), int), "ties": np.zeros((8, 3), int), "layers": tuple(range(8))}
        return replace(result, commitment=(2, None, 6), **even)
    ranks = np.array(watch)
    even = {"ties": np.zeros_like(ranks), "probability": np.zeros(ranks.shape)}
    return replace(result, layers=tuple(range(len(ranks))), watch=replace(result.watch, ranks=ranks, **even))


def test_each_written_word_is_said_to_come_from_the_word_with_most_and_signs_are_not_words() -> None:
    made = saliency([[0.2, 0.5, 0.3, 0, 0], [0.1, 0.1, 0.1, 0.7, 0], [0.05, 0.05, 0.1, 0.2, 0.6]])
    assert said(made) == ["“␣the”: 50% from “the” · “␣the”: 60% from “=”"]
    assert said(made, "ja") == ["「␣the」：「the」から 50% · 「␣the」：「=」から 60%"]


def test_a_word_that_nothing_works_for_has_no_source() -> None:
    made = saliency([[-0.2, -0.5, -0.3, 0, 0], [-0.1, 0, 0, -0.9, 0], [-0.1, -0.1, -0.2, -0.6, 0]])
    assert said(made) == []


def test_scores_without_shares_say_nothing() -> None:
    assert said(replace(saliency([[1.0, 2, 3, 0, 0]] * 3), shares=None)) == []


def test_ranks_say_how_many_are_settled_early_and_name_the_first_and_the_last() -> None:
    (line,) = said(rankings(None))
    assert line.startswith("1 of 3 tokens stand first already in the lower half of the layers")
    assert "the earliest is “␣the” (from layer 2 on), the latest “␣the” (layer 6)." in line


def test_watched_words_are_told_half_way_and_at_the_end_and_who_leads_since_when() -> None:
    ranks = [[3, 40], [3, 50], [3, 60], [2, 90], [2, 7], [9, 4], [3, 2], [30, 1]]
    assert said(rankings(ranks)) == [
        "“␣the”: rank 2 at layer 4, rank 30 at the last. “␣to”: rank 7 at layer 4, rank 1 at the last. "
        "“␣to” leads from layer 5 on."
    ]


def test_who_leads_from_the_beginning_leads_from_layer_0() -> None:
    assert said(rankings([[1, 2]] * 8))[0].endswith("“␣the” leads from layer 0 on.")


def test_a_factor_is_named_by_the_tokens_it_is_strongest_on() -> None:
    completion = completed(MODEL, "the the to = <b>", generate=0)
    settings = NeuronFactorsSettings(factors=2)
    result = finish(factorize_neurons(MODEL, completion, settings))
    rows = [[NAN, 4.0, 9.0, 0.0], [NAN, 0.0, 0.0, 2.0]]
    n = len(result.tokens)
    made = [
        replace(one, activations=np.array([*row, *[0.0] * (n - 4)]))
        for one, row in zip(result.factors, rows, strict=True)
    ]
    assert said(replace(result, factors=tuple(made))) == ["1: “␣to”, “␣the” · 2: “␣”"]


def test_two_texts_are_told_apart_and_one_text_is_not_repeated() -> None:
    made = rankings([[1, 2]] * 8)
    first, second = findings([answer(made, "a"), answer(made, " a")], "en")
    assert (first[:5], second[:6]) == ("“a”: ", "“␣a”: ")
    assert not findings([answer(made, "a"), answer(made, "a")], "en")[0].startswith("“a”")


def test_two_models_are_told_apart_by_their_names_also_where_one_came_beside_the_other() -> None:
    made = rankings([[1, 2]] * 8)
    first, second = answer(made, model="one"), answer(made, model="two")
    both = findings([first, second], "en")
    assert [line.split(":")[0] for line in both] == ["one", "two"]
    first.beside = second
    assert findings([first], "en") == both


def test_tokens_of_which_none_is_first_in_the_end_are_said_to_be_so() -> None:
    made = replace(rankings(None), commitment=(None, None, None))
    assert said(made) == ["none of the 3 tokens stands first at the last layer."]
    assert said(made, "ja") == ["3 トークンのどれも、最終層で 1 位ではありません。"]
    assert said(replace(made, commitment=(), outputs=())) == []
