"""The text that every analysis reads: produced once, the same for the same seed."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from conftest import TEXT, completed
from families import tiny_model, tiny_module

from analyzers.common.settings import Generation
from analyzers.models.completion import _sample, complete
from analyzers.models.language_model import LanguageModel

SAMPLED = Generation(generate=8, sample=True, temperature=1.5, seed=11)


def sampled_ids(model: LanguageModel, generation: Generation = SAMPLED) -> tuple[int, ...]:
    *_, last = complete(model, TEXT, generation)
    return last.ids[last.n_prompt :]


def test_greedy_is_what_generate_gives(any_model: LanguageModel) -> None:
    ids = torch.tensor([any_model.encode(TEXT)])
    theirs = any_model.module.generate(
        ids, attention_mask=torch.ones_like(ids), max_new_tokens=8, do_sample=False, pad_token_id=0
    )
    assert completed(any_model, generate=8).ids == tuple(theirs[0].tolist())


def test_the_same_seed_gives_the_same_ids_whatever_ran_before(any_model: LanguageModel) -> None:
    first = sampled_ids(any_model)
    torch.manual_seed(5)
    torch.rand(100)
    completed(any_model, "other", generate=3, sample=True, seed=1)
    state = torch.get_rng_state()
    assert sampled_ids(any_model) == first
    assert torch.equal(torch.get_rng_state(), state), "nobody else's random numbers are touched"


def test_another_seed_gives_other_ids(gpt2: LanguageModel) -> None:
    assert len({sampled_ids(gpt2, replace(SAMPLED, seed=seed)) for seed in range(6)}) > 1


def test_interleaved_completions_do_not_disturb_each_other(gpt2: LanguageModel, llama: LanguageModel) -> None:
    alone = [sampled_ids(gpt2), sampled_ids(llama), sampled_ids(gpt2, replace(SAMPLED, seed=2))]
    runs = [
        complete(gpt2, TEXT, SAMPLED),
        complete(llama, TEXT, SAMPLED),
        complete(gpt2, TEXT, replace(SAMPLED, seed=2)),
    ]
    together: list[tuple[int, ...]] = [()] * 3
    pending = {0, 1, 2}
    while pending:
        for i in sorted(pending):
            torch.manual_seed(i)
            step = next(runs[i], None)
            if step is None:
                pending.discard(i)
            else:
                together[i] = step.ids[step.n_prompt :]
    assert together == alone


def test_each_step_adds_one_token_and_never_changes_an_id_before(gpt2: LanguageModel) -> None:
    steps = list(complete(gpt2, TEXT, replace(SAMPLED, generate=4)))
    assert steps[0].outputs == ()
    assert steps[0].ids == tuple(gpt2.encode(TEXT))
    for before, after in pairwise(steps):
        assert after.ids[:-1] == before.ids
        assert after.n_prompt == before.n_prompt


def test_the_positions_count_through_prompt_and_outputs(gpt2: LanguageModel) -> None:
    whole = completed(gpt2, generate=3)
    assert [token.position for token in whole.tokens] == list(range(whole.n_positions))
    assert whole.outputs[0].position == whole.n_prompt


def test_generation_stops_after_an_end_of_text() -> None:
    model = LanguageModel(tiny_module("gpt2"), tiny_model("gpt2").tokenizer, "stops")
    free = completed(model, generate=6)
    model.end_ids = frozenset({free.ids[free.n_prompt + 1]})
    stopped = completed(model, generate=6)
    assert stopped.ids == free.ids[: free.ids.index(free.ids[free.n_prompt + 1], free.n_prompt) + 1]


def test_the_end_of_text_is_the_models_own() -> None:
    assert tiny_model("gpt2").end_ids == frozenset({0})


HAND = torch.tensor([0.1, 0.4, 0.2, 0.3]).log()
"""Four tokens; by falling probability 1, 3, 2, 0; cumulated 0.4, 0.7, 0.9, 1.0."""


def drawn(n: int = 400, **settings: float) -> Counter[int]:
    generation = replace(Generation(sample=True), **settings)
    random = torch.Generator().manual_seed(0)
    return Counter(_sample(HAND, generation, random) for _ in range(n))


@pytest.mark.parametrize(
    ("top_p", "kept"),
    [
        (0.01, {1}),
        (0.39, {1}),
        (0.41, {1, 3}),
        (0.69, {1, 3}),
        (0.71, {1, 2, 3}),
        (0.91, {0, 1, 2, 3}),
        (1.0, {0, 1, 2, 3}),
    ],
)
def test_top_p_keeps_the_smallest_set_that_holds_the_probability(top_p: float, kept: set[int]) -> None:
    assert set(drawn(top_p=top_p)) == kept


@pytest.mark.parametrize(
    ("top_k", "kept"), [(1, {1}), (2, {1, 3}), (3, {1, 2, 3}), (4, {0, 1, 2, 3}), (99, {0, 1, 2, 3})]
)
def test_top_k_keeps_the_k_likeliest(top_k: int, kept: set[int]) -> None:
    assert set(drawn(top_k=top_k)) == kept


def test_top_p_is_taken_of_what_top_k_left() -> None:
    # of the two likeliest, 0.4 and 0.3, the first holds 0.571
    assert set(drawn(top_k=2, top_p=0.57)) == {1}
    assert set(drawn(top_k=2, top_p=0.58)) == {1, 3}


def test_samples_come_as_often_as_they_are_likely() -> None:
    counts = drawn(n=4000)
    for id, probability in enumerate((0.1, 0.4, 0.2, 0.3)):
        assert counts[id] / 4000 == pytest.approx(probability, abs=0.03)


def test_a_low_temperature_sharpens_and_a_high_one_flattens() -> None:
    assert set(drawn(temperature=0.01)) == {1}
    flat = drawn(n=2000, temperature=10.0)
    assert min(flat.values()) > 400


def test_extreme_logits_are_drawn_from() -> None:
    random = torch.Generator().manual_seed(0)
    logits = torch.tensor([-torch.inf, 3e38, -3e38, 0.0])
    assert _sample(logits, Generation(sample=True, temperature=0.01), random) == 1


def test_no_new_token_is_the_prompt_alone(gpt2: LanguageModel) -> None:
    assert completed(gpt2, generate=0).outputs == ()
