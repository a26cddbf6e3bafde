"""Layer predictions: equal to a lens written out by hand; every setting that cannot be met is refused in a sentence."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from conftest import TEXT, completed
from families import CAUSAL, tiny_model
from lens_by_hand import lens_by_hand, min_rank

from analyzers.common.errors import InputError
from analyzers.common.progress import finish
from analyzers.common.settings import LayerPredictionsSettings
from analyzers.layer_predictions import (
    LayerOverview,
    LayerPredictions,
    overview_of_each_layer,
    predict_from_each_layer,
)
from analyzers.methods import lens
from analyzers.models.completion import Completion
from analyzers.models.language_model import LanguageModel


def predicted(model: LanguageModel, completion: Completion, **settings: Any) -> LayerPredictions:
    return finish(predict_from_each_layer(model, completion, LayerPredictionsSettings(**settings)))


def overview(model: LanguageModel, completion: Completion, **settings: Any) -> LayerOverview:
    return finish(overview_of_each_layer(model, completion, LayerPredictionsSettings(**settings)))


# --- numbers


@pytest.mark.parametrize("norm", [True, False])
@pytest.mark.parametrize("family", sorted(CAUSAL))
def test_every_number_equals_a_direct_computation(family: str, norm: bool) -> None:
    model = tiny_model(family)
    completion = completed(model, generate=4)
    position = completion.n_prompt + 1
    result = predicted(model, completion, position=position, top=5, final_norm=norm)
    assert result.layers == (-1, 0, 1, 2)
    assert result.chosen == completion.tokens[position]
    rows = lens_by_hand(family, model.module, completion.ids, norm=norm)[:, position - 1]
    final = rows[-1].softmax(-1)
    for i, logits in enumerate(rows):
        p = logits.softmax(-1)
        falling = p.argsort(descending=True)[:5].tolist()
        assert [prediction.id for prediction in result.predictions[i]] == falling
        assert [x.probability for x in result.predictions[i]] == pytest.approx(p[falling].tolist(), rel=1e-3)
        assert result.entropy[i] == pytest.approx(float(-(p * p.log()).sum()), abs=1e-4)
        assert result.kl[i] == pytest.approx(float((final * (final / p).log()).sum()), rel=1e-3, abs=1e-5)
        assert result.chosen_rank is not None
        assert result.chosen_rank[i] == min_rank(logits, result.chosen.id)[0]
    assert result.kl[-1] == 0
    assert 0 <= result.self_check <= 2e-6


def test_the_first_generated_token_is_looked_at_and_is_the_last_layers_first(any_model: LanguageModel) -> None:
    completion = completed(any_model, generate=3)
    result = predicted(any_model, completion)
    assert result.position == completion.n_prompt
    assert result.chosen == completion.outputs[0]
    assert result.predictions[-1][0].id == completion.outputs[0].id
    assert result.chosen_rank is not None
    assert result.chosen_rank[-1] == 1


def test_without_generated_tokens_the_next_one_is_read_and_none_is_chosen(gpt2: LanguageModel) -> None:
    bare, longer = completed(gpt2, generate=0), completed(gpt2, generate=1)
    result = predicted(gpt2, bare)
    assert result.position == bare.n_positions
    assert (result.chosen, result.chosen_rank, result.chosen_ties) == (None,) * 3
    assert result.predictions[-1][0].id == longer.outputs[0].id


def test_one_layer_alone_has_the_numbers_it_has_among_all(llama: LanguageModel) -> None:
    completion = completed(llama, generate=2)
    whole = predicted(llama, completion)
    for row, layer in enumerate([-1, 0, 1, 2]):
        one = predicted(llama, completion, layer=layer)
        assert one.layers == (layer,)
        assert [x.id for x in one.predictions[0]] == [x.id for x in whole.predictions[row]]
        np.testing.assert_allclose(one.kl, whole.kl[row : row + 1], rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(one.entropy, whole.entropy[row : row + 1], rtol=1e-5)


def test_reading_the_last_layer_alone_without_the_norm_still_has_the_norm(llama: LanguageModel) -> None:
    completion = completed(llama, generate=2)
    result = predicted(llama, completion, layer=2, final_norm=False)
    assert [x.id for x in result.predictions[0]] == [x.id for x in predicted(llama, completion).predictions[-1]]


def test_predictions_inside_a_text_keep_their_leading_space(smollm2: LanguageModel) -> None:
    completion = completed(smollm2, "Heathrow airport is located in the city of", generate=1)
    result = predicted(smollm2, completion, top=3)
    assert result.layers == tuple(range(-1, 30))
    assert result.predictions[-1][0].text == " London"
    assert [len(row) for row in result.predictions] == [3] * 31
    assert result.self_check <= 1e-3
    # The embedding row of a tied model says the token it reads.
    assert result.predictions[0][0].text == completion.tokens[-2].text


def test_more_predictions_than_words_are_all_the_words(gpt2: LanguageModel) -> None:
    (row, *_) = predicted(gpt2, completed(gpt2, generate=1), top=50).predictions
    assert len(row) == 50
    assert [x.probability for x in row] == sorted((x.probability for x in row), reverse=True)


def test_equal_logits_are_counted_as_ties() -> None:
    model = tiny_model("llama")
    weight = model.module.lm_head.weight
    before = weight.clone()
    weight[[7, 8, 9]] = 0.0  # a logit of exactly 0 for these three
    try:
        completion = Completion(model.facts.id, model.reader.tokens_of([40, 41, 8]), 2)
        result = predicted(model, completion)
        logits = lens_by_hand("llama", model.module, completion.ids)[:, 1]
    finally:
        weight.copy_(before)
    assert result.chosen_ties is not None
    assert result.chosen_rank is not None
    assert result.chosen_ties.tolist() == [2, 2, 2, 2]
    assert result.chosen_rank.tolist() == [min_rank(row, 8)[0] for row in logits]


# --- the whole text


@pytest.mark.parametrize("norm", [True, False])
@pytest.mark.parametrize("family", sorted(CAUSAL))
def test_the_overview_holds_the_likeliest_token_of_every_cell(family: str, norm: bool) -> None:
    model = tiny_model(family)
    completion = completed(model, generate=3)
    result = overview(model, completion, final_norm=norm)
    p, ids = lens_by_hand(family, model.module, completion.ids, norm=norm).softmax(-1).max(-1)
    assert result.ids.tolist() == ids.tolist()
    np.testing.assert_allclose(result.probability, p.numpy(), rtol=1e-3)
    assert result.positions == tuple(range(1, completion.n_positions + 1))
    actual = [*completion.ids[1:], None]
    assert result.is_actual.tolist() == [[id == a for id, a in zip(row, actual, strict=True)] for row in ids.tolist()]
    assert not result.is_actual[:, -1].any()
    assert result.is_actual[-1, completion.n_prompt - 1 : -1].all(), "greedy tokens are the last layer's"
    assert {result.texts[id] for id in ids.flatten().tolist()} == {
        model.reader.text_of(id) for id in ids.flatten().tolist()
    }


def test_the_overview_and_the_single_position_say_the_same(smollm2: LanguageModel) -> None:
    completion = completed(smollm2, "The keys to the cabinet", generate=2)
    whole, one = overview(smollm2, completion), predicted(smollm2, completion, top=1)
    column = whole.positions.index(one.position)
    assert whole.ids[:, column].tolist() == [row[0].id for row in one.predictions]


def test_progress_rises_to_one_result(gpt2: LanguageModel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lens, "CELLS", 16)
    completion = completed(gpt2, generate=2)
    steps = list(overview_of_each_layer(gpt2, completion, LayerPredictionsSettings()))
    fractions = [step.fraction for step in steps]
    assert len(steps) > 5
    assert fractions == sorted(fractions)
    assert [step.result is not None for step in steps] == [False] * (len(steps) - 1) + [True]
    assert fractions[-1] == 1
    *_, last = predict_from_each_layer(gpt2, completion, LayerPredictionsSettings())
    assert last.fraction == 1
    assert last.result is not None


def test_the_same_input_twice_gives_the_same_numbers(any_model: LanguageModel) -> None:
    completion = completed(any_model, generate=2)
    first, second = predicted(any_model, completion), predicted(any_model, completion)
    assert first.predictions == second.predictions
    assert np.array_equal(first.kl, second.kl)
    assert np.array_equal(first.entropy, second.entropy)


# --- refusals


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"position": 0}, "position must be a whole number from 1 to 34; this is 0."),
        ({"position": 35}, "position must be a whole number from 1 to 34; this is 35."),
        ({"layer": -2}, "layer must be a whole number from -1 to 1,048,576; this is -2."),
        ({"layer": 3}, "layer must be a whole number from -1 to 2; this is 3."),
        ({"top": 0}, "top must be a whole number from 1 to 50; this is 0."),
        ({"top": 51}, "top must be a whole number from 1 to 50; this is 51."),
    ],
)
def test_what_is_not_there_is_refused_with_the_way_out(
    gpt2: LanguageModel, settings: dict[str, int], sentence: str
) -> None:
    completion = Completion("tiny-gpt2", gpt2.reader.tokens_of([*gpt2.encode(TEXT), *range(40, 80)][:34]), 30)
    with pytest.raises(InputError) as refusal:
        predicted(gpt2, completion, **settings)
    assert str(refusal.value) == sentence
    assert refusal.value.say("ja") != sentence


def test_the_ends_of_what_is_there_are_not_refused(gpt2: LanguageModel) -> None:
    completion = completed(gpt2, generate=2)
    for settings in ({"position": 1}, {"position": completion.n_positions}, {"layer": -1}, {"layer": 2}, {"top": 1}):
        assert predicted(gpt2, completion, **settings).predictions


def test_a_text_of_one_token_can_be_read(gpt2: LanguageModel) -> None:
    completion = Completion("tiny-gpt2", gpt2.reader.tokens_of([40]), 1)
    assert predicted(gpt2, completion).position == 1
    assert overview(gpt2, completion).ids.shape == (4, 1)


def test_numbers_that_are_not_finite_are_refused(gpt2: LanguageModel) -> None:
    completion = completed(gpt2, generate=1)
    weight = gpt2.module.transformer.ln_f.bias
    before = weight.clone()
    weight[3] = torch.inf
    try:
        with pytest.raises(InputError, match="is not finite for this text"):
            predicted(gpt2, completion)
        with pytest.raises(InputError, match="is not finite for this text"):
            overview(gpt2, completion)
    finally:
        weight.copy_(before)
