"""Masked, encoder–decoder and encoder models: what is hidden, what is said there, and how each is asked for."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import completed
from families import FAMILIES, tiny_model, tiny_module, tiny_tokenizer

from analyzers.__main__ import main
from analyzers.common.errors import InputError
from analyzers.common.progress import finish
from analyzers.common.settings import MapComparisonSettings, NeuronFactorsSettings, SaliencySettings
from analyzers.map_comparison import compare_maps
from analyzers.methods.lens import find_predicted_position
from analyzers.models.completion import Completion
from analyzers.models.language_model import LanguageModel
from analyzers.models.loading import load_model
from analyzers.models.placement import Placement
from analyzers.neuron_factors import factorize_neurons
from analyzers.saliency import compute_saliency

MASKED = "the café [MASK] the keys"


@pytest.fixture
def bert() -> LanguageModel:
    return tiny_model("bert")


def mask_logits(model: LanguageModel, completion: Completion, position: int) -> torch.Tensor:
    with torch.no_grad():
        logits: torch.Tensor = model.module(input_ids=torch.tensor([completion.ids])).logits[0, position]
    return logits


def test_a_mask_is_answered_by_its_own_likeliest_token(bert: LanguageModel) -> None:
    found = completed(bert, MASKED)
    (answer,) = found.outputs
    assert found.tokens[answer.position].id == bert.tokenizer.mask_token_id
    assert found.tokens[answer.position].special
    assert answer.id == int(mask_logits(bert, found, answer.position).argmax())
    assert answer.text == bert.reader.text_of(answer.id)
    assert found.n_prompt == found.n_positions
    assert found.tokens[0].text == "<s>"


def test_the_mask_may_be_written_as_the_vocabulary_does(bert: LanguageModel) -> None:
    assert completed(bert, MASKED.replace("[MASK]", "<mask>")).ids == completed(bert, MASKED).ids


def test_a_sampled_answer_is_the_same_for_the_same_seed(bert: LanguageModel) -> None:
    draws = [completed(bert, MASKED, sample=True, seed=seed).outputs[0].id for seed in range(12)]
    assert draws == [completed(bert, MASKED, sample=True, seed=seed).outputs[0].id for seed in range(12)]
    assert len(set(draws)) > 1


def test_a_token_can_be_hidden_and_is_what_is_explained(bert: LanguageModel) -> None:
    plain = completed(bert, "the café: the keys")
    found = completed(bert, "the café: the keys", hide=2)
    (answer,) = found.outputs
    assert (answer.position, answer.id) == (2, plain.ids[2])
    assert [p for p, (a, b) in enumerate(zip(plain.ids, found.ids, strict=True)) if a != b] == [2]
    assert found.ids[2] == bert.tokenizer.mask_token_id
    assert found.token_at(2) == answer


def test_words_can_be_given_for_the_masks(bert: LanguageModel) -> None:
    words = [int(bert.encode(word, opening=False)[0]) for word in ("k", "t")]
    found = completed(bert, "the [MASK] and [MASK]", target_text="kt")
    assert [token.id for token in found.outputs] == words
    with pytest.raises(InputError, match="are 1 tokens, and 2 are hidden"):
        completed(bert, "the [MASK] and [MASK]", target_text="k")


@pytest.mark.parametrize("position", [0, 6, 99])
def test_what_cannot_be_hidden_is_said(bert: LanguageModel, position: int) -> None:
    last = completed(bert, "the keys").n_positions - 1
    with pytest.raises(InputError, match="There is no token to hide"):
        completed(bert, "the keys", hide=last if position == 6 else position)


@pytest.mark.parametrize("family", ["gpt2", "t5", "minilm"])
def test_only_a_masked_model_hides(family: str) -> None:
    with pytest.raises(InputError, match="Only a masked model"):
        completed(tiny_model(family), "the keys", hide=1)


def test_too_many_masks_are_refused_before_any_is_answered(bert: LanguageModel) -> None:
    with pytest.raises(InputError, match="hides 65 tokens; at most 64"):
        completed(bert, "[MASK]" * 65)


def test_a_text_that_hides_nothing_asks_for_a_mask(bert: LanguageModel) -> None:
    found = completed(bert, "the keys")
    assert found.outputs == ()
    with pytest.raises(InputError, match="where it should guess"):
        finish(compute_saliency(bert, found, SaliencySettings()))
    with pytest.raises(InputError, match="where it should guess"):
        find_predicted_position(found, None)
    assert find_predicted_position(found, 2) == 2
    assert finish(factorize_neurons(bert, found, NeuronFactorsSettings(factors=1))).left_out[0] == 0


def test_a_hidden_token_rests_on_both_sides_and_not_on_the_masks(bert: LanguageModel) -> None:
    found = completed(bert, "the [MASK] keys [MASK] on")
    result = finish(compute_saliency(bert, found, SaliencySettings(method="occlusion")))
    masks = list(result.explained)
    for row in range(2):
        assert not result.scores[row, masks].any()
        assert result.scores[row, masks[0] + 1 : masks[1]].any()
        assert result.scores[row, masks[1] + 1 :].any()
        assert result.scores[row].sum() > 0


@pytest.mark.parametrize("family", ["bert", "t5"])
def test_deletion_starts_from_the_text_and_ends_with_nothing_of_it(family: str) -> None:
    model = tiny_model(family)
    found = completed(model, MASKED if family == "bert" else "the café: the keys", generate=2)
    position = found.outputs[0].position
    seen = found.positions_seen_from(position)
    result = finish(compare_maps(model, found, MapComparisonSettings(methods=("gradient",), position=position)))
    curves = result.of_methods
    assert curves is not None
    own = finish(compute_saliency(model, found, SaliencySettings(method="gradient", target="log-probability")))
    assert curves.deletion[0, 0] == pytest.approx(own.values[0], abs=1e-4)
    assert curves.insertion[0, -1] == pytest.approx(curves.deletion[0, 0], abs=1e-5)
    assert curves.deletion[0, -1] == pytest.approx(curves.insertion[0, 0], abs=1e-5)
    assert result.counts[-1] == len(seen)


def test_an_encoder_is_alike_to_itself_and_explains_the_likeness() -> None:
    model = tiny_model("minilm")
    same = completed(model, "the café", target_text="the café")
    result = finish(compute_saliency(model, same, SaliencySettings(method="gradient")))
    assert result.values[0] == pytest.approx(1.0, abs=1e-6)
    assert result.explained == (same.n_positions,)
    assert result.explained_tokens[0].text == "≈the café"
    assert result.objective == "similarity"
    with pytest.raises(InputError, match="Give a second text"):
        finish(compute_saliency(model, completed(model, "the café"), SaliencySettings()))
    with pytest.raises(InputError, match="no other token to contrast with"):
        finish(compute_saliency(model, same, SaliencySettings(contrast="the")))


def test_each_side_of_two_stacks_has_its_own_factors() -> None:
    model = tiny_model("t5")
    found = completed(model, "the café: the keys", generate=4)
    source = finish(factorize_neurons(model, found, NeuronFactorsSettings(factors=2, side="source")))
    target = finish(factorize_neurons(model, found, NeuronFactorsSettings(factors=2)))
    n = found.n_source
    assert np.isnan(source.factors[0].activations[n:]).all()
    assert np.isnan(target.factors[0].activations[: n + 1]).all()
    assert np.isfinite(source.factors[0].activations[1 : n - 1]).all()
    assert source.factors[0].promoted == ()
    assert len(target.factors[0].promoted) == 10
    with pytest.raises(InputError, match="no source side"):
        finish(
            factorize_neurons(tiny_model("gpt2"), completed(tiny_model("gpt2")), NeuronFactorsSettings(side="source"))
        )


@pytest.fixture
def folder(tmp_path: Path, request: Any) -> Path:
    """A local model folder of a family, as `save_pretrained` writes it."""
    where = tmp_path / f"my-{request.param}"
    tiny_module(request.param).save_pretrained(where)
    tiny_tokenizer(FAMILIES[request.param].kind).save_pretrained(where)
    return where


@pytest.mark.parametrize("folder", ["bert", "albert", "bart", "minilm"], indirect=True)
def test_a_local_folder_of_any_kind_answers_on_the_command_line(folder: Path, capsys: Any) -> None:
    family = FAMILIES[folder.name.removeprefix("my-")]
    text = MASKED if family.kind == "masked" else "the café: the keys"
    extra = {"saliency": ["--target-text", "a café"]} if family.kind == "encoder" else {}
    options = {"neuron-factors": ["--factors", "1"], "saliency": []}
    for analysis in ("saliency", "layer-predictions", "rankings", "neuron-factors"):
        given = [*options.get(analysis, []), *extra.get(analysis, [])]
        if family.kind == "seq2seq":
            given += ["--generate", "3"]
        status = main([analysis, text, "--model", str(folder), "--json", *given])
        out, err = capsys.readouterr()
        if analysis in family.without:
            assert (status, out) == (2, "")
            assert err.startswith(("my-", "The neurons of my-"))
            assert err.count("\n") == 1
            continue
        assert (status, err) == (0, "")
        found = json.loads(out)
        assert found["kind"] == family.kind
        sides = {token["side"] for token in found["tokens"]}
        assert sides == ({"source", "target"} if family.kind == "seq2seq" else {None})
        if analysis == "saliency":
            assert all(sum(row) == pytest.approx(1) for row in found["shares"])
        if analysis == "layer-predictions":
            assert found["layers"][-1]["predictions"][0]["id"] == found["chosen"]["id"]
        if analysis == "rankings":
            assert found["ranks"][-1] == [1] * len(found["outputs"])


@pytest.mark.parametrize("folder", ["bert", "t5", "minilm"], indirect=True)
def test_every_kind_proves_out_in_half_precision(folder: Path) -> None:
    kind = FAMILIES[folder.name.removeprefix("my-")].kind
    model = load_model(folder, "a", kind=kind, placement=Placement("cpu", "half", 0, 0))
    assert (model.facts.dtype, model.facts.self_check) == ("bfloat16", 0.0)
    second = "a café" if kind == "encoder" else None
    found = completed(model, MASKED if kind == "masked" else "the café: the keys", generate=2, target_text=second)
    for method in ("occlusion", "gradient"):
        result = finish(compute_saliency(model, found, SaliencySettings(method=method)))  # type: ignore[arg-type]
        assert result.shares is not None
        np.testing.assert_allclose(result.shares.sum(1), 1, atol=1e-3)
