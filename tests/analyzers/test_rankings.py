"""Rankings: equal to a full sort, with and without ties, and to ecco's own loop where the norm is left out."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch
from conftest import TEXT, completed
from families import CAUSAL, tiny_model
from lens_by_hand import lens_by_hand, min_rank

from analyzers.common.errors import InputError
from analyzers.common.limits import LIMITS
from analyzers.common.progress import finish
from analyzers.common.settings import RankingsSettings
from analyzers.methods import lens
from analyzers.models.completion import Completion
from analyzers.models.language_model import LanguageModel
from analyzers.rankings import Rankings, commitment_layer, rank_at_each_layer


def ranked(model: LanguageModel, completion: Completion, **settings: Any) -> Rankings:
    return finish(rank_at_each_layer(model, completion, RankingsSettings(**settings)))


def ranks_of_ecco(module: Any, completion: Completion) -> np.ndarray:
    """ecco's loop as it stood: every entry of hidden_states but the embeddings through the head alone, one argsort per
    cell. The last entry is normed already, the others are not."""
    with torch.no_grad():
        module = copy.deepcopy(module)  # asked for hidden states, transformers leaves hooks behind
        out = module(input_ids=torch.tensor([completion.ids]), output_hidden_states=True, use_cache=False)
    ranks = np.zeros((len(out.hidden_states) - 1, len(completion.outputs)), dtype=np.int64)
    for i, level in enumerate(out.hidden_states[1:]):
        for j, hidden in enumerate(level[0, completion.n_prompt - 1 : -1]):
            with torch.no_grad():
                order = torch.argsort(module.get_output_embeddings()(hidden), descending=True)
            ranks[i, j] = order.tolist().index(completion.outputs[j].id) + 1
    return ranks


# --- ranks


@pytest.mark.parametrize("norm", [True, False])
@pytest.mark.parametrize("family", sorted(CAUSAL))
def test_every_rank_equals_a_full_sort_of_the_lens_by_hand(family: str, norm: bool) -> None:
    model = tiny_model(family)
    completion = completed(model, generate=4)
    result = ranked(model, completion, final_norm=norm)
    logits = lens_by_hand(family, model.module, completion.ids, norm=norm)
    outputs = range(completion.n_prompt, completion.n_positions)
    expected = [[min_rank(row[p - 1], completion.ids[p])[0] for p in outputs] for row in logits]
    assert result.ranks.tolist() == expected[1:]
    assert not result.ties.any()
    final = logits[-1].log_softmax(-1)
    everything = [float(final[p - 1, completion.ids[p]]) for p in range(1, completion.n_positions)]
    assert result.log_probability_all is not None
    np.testing.assert_allclose(result.log_probability_all, everything, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(result.log_probability, everything[completion.n_prompt - 1 :], rtol=1e-4, atol=1e-5)
    assert 0 <= result.self_check <= 2e-6


@pytest.mark.parametrize("family", ["gpt2", "llama", "gpt_neox", "qwen3", "cohere", "granite"])
def test_without_the_final_norm_the_ranks_are_those_of_ecco(family: str) -> None:
    """The other two are compared above: ecco fed OPT's 32 dimensions to a head of 16, and knew no soft-cap."""
    model = tiny_model(family)
    completion = completed(model, generate=4)
    ecco = ranks_of_ecco(model.module, completion)
    assert ranked(model, completion, final_norm=False).ranks.tolist() == ecco.tolist()
    assert ranked(model, completion).ranks[:-1].tolist() != ecco[:-1].tolist(), "the norm changes nothing here"


def test_greedy_tokens_end_at_rank_one(any_model: LanguageModel) -> None:
    completion = completed(any_model, generate=4)
    result = ranked(any_model, completion)
    assert result.outputs == completion.outputs
    assert result.ranks.shape == (3, 4)
    assert (result.ranks[-1] == 1).all()


def test_equal_logits_share_the_better_rank_and_are_counted() -> None:
    model = tiny_model("llama")
    weight = model.module.lm_head.weight
    before = weight.clone()
    weight[[7, 8, 9, 10]] = 0.0  # a logit of exactly 0 for these four
    try:
        completion = Completion(model.facts.id, model.reader.tokens_of([40, 41, 8, 10, 50]), 2)
        result = ranked(model, completion)
        logits = lens_by_hand("llama", model.module, completion.ids)[1:]
    finally:
        weight.copy_(before)
    assert result.ties.tolist() == [[3, 3, 0]] * 3
    expected = [[min_rank(row[p - 1], completion.ids[p])[0] for p in (2, 3, 4)] for row in logits]
    assert result.ranks.tolist() == expected


def test_the_real_model_settles_on_london_late(smollm2: LanguageModel) -> None:
    completion = completed(smollm2, "Heathrow airport is located in the city of", generate=1)
    result = ranked(smollm2, completion)
    assert [token.text for token in result.outputs] == [" London"]
    logits = lens_by_hand("llama", smollm2.module, completion.ids)[1:]
    expected = [min_rank(row[-2].float(), completion.ids[-1])[0] for row in logits]
    assert result.ranks.shape == (30, 1)
    found = result.ranks[:, 0].tolist()
    # Float64 by hand and float32 here may order two neighbours of a large rank differently.
    assert all(abs(a - b) <= 1 + b // 1000 for a, b in zip(found, expected, strict=True))
    assert found[-1] == 1
    assert result.commitment[0] == max(i for i, rank in enumerate(found) if rank > 1) + 1
    assert result.self_check <= 1e-3


# --- commitment


def test_commitment_is_the_first_layer_from_which_the_rank_stays_one() -> None:
    ranks = np.array(
        # token: 0  1  2  3  4
        [
            [5, 1, 1, 1, 2],  # layer 0
            [3, 1, 2, 1, 1],  # layer 1
            [1, 1, 1, 4, 2],  # layer 2
        ]
    )
    assert commitment_layer(ranks, (0, 1, 2)) == (2, 0, 2, None, None)
    assert commitment_layer(ranks[:, :0], (0, 1, 2)) == ()


def test_the_strip_covers_every_token_but_the_first(gpt2: LanguageModel) -> None:
    completion = completed(gpt2, generate=3)
    result = ranked(gpt2, completion)
    logits = lens_by_hand("gpt2", gpt2.module, completion.ids)[1:]
    ranks = np.array(
        [[min_rank(r[p - 1], completion.ids[p])[0] for p in range(1, completion.n_positions)] for r in logits]
    )
    assert result.predicted == completion.tokens[1:]
    assert result.commitment_all == commitment_layer(ranks, (0, 1, 2))
    assert result.commitment == result.commitment_all[completion.n_prompt - 1 :]


def test_the_outputs_come_first_and_the_prompt_after(gpt2: LanguageModel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lens, "CELLS", 16)
    completion = completed(gpt2, generate=3)
    steps = list(rank_at_each_layer(gpt2, completion, RankingsSettings(watch=("k",))))
    fractions = [step.fraction for step in steps]
    assert fractions == sorted(fractions)
    assert fractions[-1] == 1
    early, whole = [step.result for step in steps if step.result is not None]
    assert (early.commitment_all, early.log_probability_all) == (None, None)
    assert early.ranks.tolist() == whole.ranks.tolist()
    assert early.watch is not None
    assert whole.watch is not None
    assert early.watch.ranks.tolist() == whole.watch.ranks.tolist()
    assert whole.commitment_all is not None


# --- watched words


@pytest.mark.parametrize("place", ["output", "prompt", "next"])
def test_watched_words_are_ranked_at_their_position(any_model: LanguageModel, place: str) -> None:
    completion = completed(any_model, generate=3)
    position = {"output": completion.n_prompt + 1, "prompt": 4, "next": completion.n_positions}[place]
    result = ranked(any_model, completion, watch=("k", " the", "é"), position=position)
    family = any_model.facts.id.removeprefix("tiny-")
    logits = lens_by_hand(family, any_model.module, completion.ids)[:, position - 1]
    watch = result.watch
    assert watch is not None
    assert watch.position == position
    ids = [token.id for token in watch.tokens]
    assert ids == [any_model.encode(word)[0] for word in ("k", " the", "é")]
    expected = [[min_rank(row, id)[0] for id in ids] for row in logits]
    assert watch.ranks.tolist() == expected[1:]
    np.testing.assert_allclose(watch.probability, logits.softmax(-1)[1:, ids].numpy(), rtol=1e-3)
    assert result.ranks.tolist() == ranked(any_model, completion).ranks.tolist(), "watching changes the outputs"


def test_words_are_watched_at_the_first_generated_token_or_the_next_one(gpt2: LanguageModel) -> None:
    for generate in (2, 0):
        completion = completed(gpt2, generate=generate)
        watch = ranked(gpt2, completion, watch=("k",)).watch
        assert watch is not None
        assert watch.position == completion.n_prompt
    assert ranked(gpt2, completed(gpt2, generate=1)).watch is None


def test_agreement_can_be_watched_without_generating(smollm2: LanguageModel) -> None:
    completion = completed(smollm2, "The keys to the cabinet", generate=0)
    result = ranked(smollm2, completion, watch=(" is", " are"))
    assert result.ranks.shape == (30, 0)
    assert result.commitment_all is not None
    assert len(result.commitment_all) == completion.n_positions - 1
    watch = result.watch
    assert watch is not None
    assert [token.text for token in watch.tokens] == [" is", " are"]
    # The more probable of two is the better ranked, at every layer.
    assert ((watch.probability[:, 0] > watch.probability[:, 1]) == (watch.ranks[:, 0] < watch.ranks[:, 1])).all()


def test_a_word_of_several_tokens_is_its_first_and_says_so(gpt2: LanguageModel) -> None:
    completion = completed(gpt2, generate=1)
    result = ranked(gpt2, completion, watch=("zebra", "k", "zebra", "zoo"))
    assert result.watch is not None
    assert [token.text for token in result.watch.tokens] == ["z", "k"], "the same token is watched once"
    assert [note.key for note in result.notes] == ["token_of_several"] * 2
    assert "“zebra” is 5 tokens" in str(result.notes[0])
    assert "“zoo”" in str(result.notes[1])
    assert result.watch.tokens[0].note == result.notes[0], "the first word names it"
    assert result.watch.ranks.shape == (3, 2)


# --- refusals and edges


def test_what_cannot_be_watched_is_refused_with_the_way_out(gpt2: LanguageModel) -> None:
    completion = completed(gpt2, generate=1)
    n = completion.n_positions
    words = tuple("k" * i for i in range(1, LIMITS.watched_tokens + 2))
    refused: list[tuple[dict[str, Any], str]] = [
        ({"watch": ("",)}, "watch is empty. Type a word, or leave the setting out."),
        ({"watch": ("k", "")}, "watch is empty. Type a word, or leave the setting out."),
        ({"watch": words}, "At most 16 words can be watched at once; these are 17. Leave some out."),
        ({"watch": ("k",), "position": 0}, f"position must be a whole number from 1 to {n}; this is 0."),
        ({"watch": ("k",), "position": n + 1}, f"position must be a whole number from 1 to {n}; this is {n + 1}."),
    ]
    for settings, sentence in refused:
        with pytest.raises(InputError) as refusal:
            ranked(gpt2, completion, **settings)
        assert str(refusal.value) == sentence
        assert refusal.value.say("ja") != sentence
    assert ranked(gpt2, completion, watch=words[: LIMITS.watched_tokens]).watch is not None


def test_a_lone_token_has_nothing_to_rank_unless_a_word_is_watched(gpt2: LanguageModel) -> None:
    alone = Completion("tiny-gpt2", gpt2.reader.tokens_of([40]), 1)
    with pytest.raises(InputError, match="no predicted token"):
        ranked(gpt2, alone)
    result = ranked(gpt2, alone, watch=("k",))
    assert result.watch is not None
    assert result.watch.ranks.shape == (3, 1)
    assert result.commitment_all == ()


def test_logits_that_are_not_finite_are_refused(gpt2: LanguageModel) -> None:
    completion = completed(gpt2, TEXT, generate=1)
    weight = gpt2.module.transformer.ln_f.bias
    before = weight.clone()
    weight[0] = float("nan")
    try:
        with pytest.raises(InputError, match="is not finite for this text"):
            ranked(gpt2, completion)
    finally:
        weight.copy_(before)
