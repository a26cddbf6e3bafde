"""Deletion and insertion curves against forwards of our own, their steps, and the numbers read off them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from conftest import completed

from analyzers.common.progress import finish
from analyzers.common.settings import SaliencySettings
from analyzers.methods import deletion
from analyzers.methods.asking import Question, ask
from analyzers.methods.deletion import Curves, count_in_steps, follow_orders, random_orders
from analyzers.models.language_model import LanguageModel


@pytest.fixture
def question(gpt2: LanguageModel) -> Question:
    completion = completed(gpt2, "the café: the keys", generate=1)
    settings = SaliencySettings(target="log-probability", baseline="mean", whole_words=True)
    return ask(gpt2, completion, (completion.outputs[0].position,), settings, None)


def by_hand(question: Question, hidden: list[int]) -> float:
    """The log-probability with the baseline at these positions, from the model itself."""
    embedded = question.embedded.clone()
    embedded[hidden] = question.baseline[hidden]
    with torch.no_grad():
        logits = question.model.module(inputs_embeds=embedded.unsqueeze(0)).logits[0, -1]
    return float(torch.log_softmax(logits, -1)[question.objective.ids[0]])


def test_each_point_is_a_forward_with_the_first_hidden_or_only_these_kept(question: Question) -> None:
    groups, n = question.groups, len(question.groups)
    assert n < question.embedded.shape[0]  # words, some of several tokens
    order = np.random.default_rng(1).permutation(n)
    counts = count_in_steps(n)
    curves = finish(follow_orders(question, groups, [order], counts))
    for step, count in enumerate(counts):
        first, rest = ([p for i in part for p in groups[i]] for part in (order[:count], order[count:]))
        assert curves.deletion[0, step] == pytest.approx(by_hand(question, first), abs=1e-4)
        assert curves.insertion[0, step] == pytest.approx(by_hand(question, rest), abs=1e-4)


def test_an_order_and_its_reverse_differ_in_sign_and_need_the_same_forwards(
    question: Question, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    real = deletion.occlude

    def count(model: object, embedded: object, baseline: object, objective: object, groups: list[list[int]]) -> object:
        asked.append(len(groups))
        return real(model, embedded, baseline, objective, groups)  # type: ignore[arg-type]

    monkeypatch.setattr(deletion, "occlude", count)
    n = len(question.groups)
    counts = count_in_steps(n)
    orders = random_orders(n, 3)
    curves = finish(follow_orders(question, question.groups, orders, counts))
    finish(follow_orders(question, question.groups, orders[::2], counts))
    assert asked[0] == asked[1]
    assert np.array_equal(curves.gain[::2], -curves.gain[1::2])
    assert curves.gain[::2].any()
    for once, reverse in zip(orders[::2], orders[1::2], strict=True):
        assert sorted(once) == list(range(n))
        assert list(once) == list(reverse)[::-1]


@pytest.mark.parametrize("n", [*range(1, 40), 511])
def test_steps_go_from_nothing_to_all_and_mirror_themselves(n: int) -> None:
    counts = count_in_steps(n).tolist()
    assert counts[0] == 0
    assert counts[-1] == n
    assert counts == sorted(n - count for count in counts)
    assert len(set(counts)) == len(counts) <= 2 * n.bit_length() + 1


def test_steps_double_to_the_half() -> None:
    assert count_in_steps(20).tolist() == [0, 1, 2, 4, 8, 12, 16, 18, 19, 20]
    assert count_in_steps(1).tolist() == [0, 1]


def test_numbers_worked_by_hand() -> None:
    """Hidden: 10 falls to 4 and 1. Kept: 1 rises to 7 and 10."""
    curves = Curves(np.array([[10.0, 4.0, 1.0]]), np.array([[1.0, 7.0, 10.0]]))
    assert curves.comprehensiveness.tolist() == [(6 + 9) / 2]
    assert curves.sufficiency.tolist() == [(3 + 0) / 2]
    assert curves.gain.tolist() == [((1 - 10) + (7 - 4) + (10 - 1)) / 3]
