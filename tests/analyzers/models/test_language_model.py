"""The doors of a loaded model: whatever goes in, the model's own numbers come out, and the caller's tensors are its own."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import transformers
from conftest import completed
from families import BERT_LIKE, FAMILIES, random_module, tiny_model, tiny_tokenizer

from analyzers.common.progress import finish
from analyzers.common.settings import Generation, RankingsSettings, SaliencySettings
from analyzers.models.completion import Completion, complete
from analyzers.models.language_model import LanguageModel
from analyzers.rankings import rank_at_each_layer
from analyzers.saliency import compute_saliency

SPECIAL = {"causal": "the<|end|> café<|end|>", "seq2seq": "the<|end|> café<|end|> keys"}
HIDDEN = "<|end|>the<|end|><s> café [MASK]</s> the <|end|>keys [MASK] on<|end|>"
CTRL = dict(vocab_size=384, n_embd=32, dff=64, n_layer=3, n_head=4, n_positions=128)


def built(name: str, kind: str, **values: Any) -> LanguageModel:
    return LanguageModel(random_module(name, **values), tiny_tokenizer(kind), f"tiny-{name}", kind=kind)


OTHERS = {
    "ctrl": lambda: built("CTRLLMHeadModel", "causal", **CTRL),
    "xlm-roberta": lambda: built("XLMRobertaForMaskedLM", "masked", **BERT_LIKE),
    "camembert": lambda: built("CamembertForMaskedLM", "masked", **BERT_LIKE),
    "esm": lambda: built("EsmForMaskedLM", "masked", **BERT_LIKE, mask_token_id=3, token_dropout=True),
    "mpnet": lambda: built("MPNetForMaskedLM", "masked", **BERT_LIKE | {"pad_token_id": 1}),
}
"""Models that read more off their ids than their embeddings: positions that skip padding, scales that know of masks."""
EVERY = sorted({*FAMILIES, *OTHERS})


def model_of(name: str) -> LanguageModel:
    return OTHERS[name]() if name in OTHERS else tiny_model(name)


def with_special_tokens(model: LanguageModel) -> Completion:
    """A completion of a text that holds the pad token, and others that mean something to the model."""
    kind = model.facts.kind
    text = SPECIAL.get(kind, HIDDEN if kind == "masked" else HIDDEN.replace(" [MASK]", ""))
    *_, whole = complete(model, text, Generation(generate=2, target_text=text if kind == "encoder" else None))
    return whole


def own_values(model: LanguageModel, completion: Completion) -> list[float]:
    """The probability of each explained token, the model asked the plain way."""
    ids, n = torch.tensor([completion.ids]), completion.n_source
    sides = {"input_ids": ids} if n == 0 else {"input_ids": ids[:, :n], "decoder_input_ids": ids[:, n:]}
    with torch.no_grad():
        probabilities = model.module(**sides).logits[0].softmax(-1)
    return [float(probabilities[completion.row_of(t.position), t.id]) for t in completion.outputs]


@pytest.mark.parametrize("name", [name for name in EVERY if name != "minilm"])
def test_every_door_reads_the_same_text_with_special_tokens_in_it(name: str) -> None:
    model = model_of(name)
    whole = with_special_tokens(model)
    assert any(token.special for token in whole.tokens)
    own = own_values(model, whole)
    for method in ("occlusion", "input-x-gradient"):
        saliency = finish(compute_saliency(model, whole, SaliencySettings(method=method)))
        assert saliency.values.tolist() == pytest.approx(own, rel=1e-4)
    if model.facts.kind.predicts:
        rankings = finish(rank_at_each_layer(model, whole, RankingsSettings()))
        assert np.exp(rankings.log_probability).tolist() == pytest.approx(own, rel=1e-4)


def test_two_equal_texts_are_alike_whatever_stands_in_them() -> None:
    model = tiny_model("minilm")
    saliency = finish(compute_saliency(model, with_special_tokens(model), SaliencySettings(method="occlusion")))
    assert saliency.values.tolist() == pytest.approx([1.0], abs=1e-5)


@pytest.mark.parametrize("name", EVERY)
def test_what_is_given_to_a_model_is_not_changed(name: str) -> None:
    model = model_of(name)
    kind = model.facts.kind
    ids = model.encode("the café", opening=kind != "seq2seq")
    n_source = len(ids) if kind == "seq2seq" else 0
    ids = [*ids, *model.opening, *(ids if n_source else [])]
    given = torch.tensor([ids])
    embedded = model.embed(ids, n_source).unsqueeze(0)
    before, before_ids = embedded.clone(), given.clone()
    with torch.no_grad():
        first = model.run(given, n_source=n_source, embedded=embedded)
        second = model.run(given, n_source=n_source, embedded=embedded)
    assert torch.equal(embedded, before)
    assert torch.equal(given, before_ids)
    if kind != "encoder":
        assert torch.equal(first, second)


def test_each_hidden_token_of_a_model_that_scales_in_place_is_hidden_once() -> None:
    """CTRL: every occlusion was of an embedding √d_model larger than the one before."""
    model = OTHERS["ctrl"]()
    whole = completed(model, "the café: the", generate=1)
    scores = finish(compute_saliency(model, whole, SaliencySettings(method="occlusion", aggregate="sum"))).scores[0]
    (position,) = (token.position for token in whole.outputs)
    table = model.module.get_input_embeddings()
    for hidden in range(position):
        embedded = table(torch.tensor([whole.ids[:position]])).detach().clone()
        embedded[0, hidden] = table.weight[model.baseline_id]
        with torch.no_grad():
            whole_text = model.module(input_ids=torch.tensor([whole.ids[:position]])).logits[0, -1].softmax(-1)
            without = model.module(inputs_embeds=embedded).logits[0, -1].softmax(-1)
        drop = float(whole_text[whole.ids[position]] - without[whole.ids[position]])
        assert scores[hidden] == pytest.approx(drop, rel=1e-3, abs=1e-6)


def test_the_mean_of_a_decoders_own_vocabulary_is_its_own() -> None:
    values = FAMILIES["marian"].values | dict(
        vocab_size=500, decoder_vocab_size=384, share_encoder_decoder_embeddings=False
    )
    torch.manual_seed(0)
    module = transformers.MarianMTModel(transformers.MarianConfig(**values)).eval()
    model = LanguageModel(module, tiny_tokenizer("seq2seq"), "two-vocabularies", kind="seq2seq")
    mean = model.mean_embedding(5, n_source=3)
    source, target = module.get_encoder().embed_tokens.weight, module.get_decoder().embed_tokens.weight
    assert (len(source), len(target), model.facts.vocab) == (500, 384, 384)
    torch.testing.assert_close(mean[0].double(), source.double().mean(0))
    torch.testing.assert_close(mean[4].double(), target.double().mean(0))
