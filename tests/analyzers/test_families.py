"""What the README's table of families promises, on a tiny random model of each, against captum, the model's own logits
and hooks placed by hand. Nothing here knows how the analyzers find their parts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from captum.attr import FeatureAblation, InputXGradient, IntegratedGradients
from captum.attr import Saliency as CaptumGradient
from families import FAMILIES, tiny_model
from lens_by_hand import min_rank
from torch import Tensor, nn

from analyzers.common.errors import InputError
from analyzers.common.kinds import PREDICTING
from analyzers.common.methods import METHODS
from analyzers.common.progress import finish
from analyzers.common.settings import (
    Generation,
    LayerPredictionsSettings,
    NeuronFactorsSettings,
    RankingsSettings,
    SaliencySettings,
)
from analyzers.layer_predictions import overview_of_each_layer, predict_from_each_layer
from analyzers.models.completion import Completion, complete
from analyzers.models.language_model import LanguageModel
from analyzers.neuron_factors import factorize_neurons
from analyzers.rankings import rank_at_each_layer
from analyzers.saliency import compute_saliency
from analyzers.serving.analyses import ANALYSES

POINTS = 6
PREDICTS = sorted(name for name, family in FAMILIES.items() if family.kind in PREDICTING)


def completion_of(model: LanguageModel) -> Completion:
    masked = model.facts.kind == "masked"
    text = "the café [MASK] the keys [MASK] on" if masked else "the café: the keys"
    second = "a café 東京" if model.facts.kind == "encoder" else None
    *_, whole = complete(model, text, Generation(generate=3, target_text=second))
    return whole


def own_logits(model: LanguageModel, completion: Completion) -> Tensor:
    """(row, vocab): the model asked the plain way, rows in its own order."""
    ids, n = torch.tensor([completion.ids]), completion.n_source
    sides = {"input_ids": ids} if n == 0 else {"input_ids": ids[:, :n], "decoder_input_ids": ids[:, n:]}
    with torch.no_grad():
        logits: Tensor = model.module(**sides).logits[0]
    return logits


class ByHand:
    """One explained token as captum needs it: f of the embeddings, x and x′. Written from the families' own classes."""

    def __init__(self, model: LanguageModel, completion: Completion, i: int) -> None:
        module, kind = model.module, model.facts.kind
        ids, n = torch.tensor(completion.ids), completion.n_source
        self.tables = [module.get_input_embeddings()]
        if kind == "seq2seq":
            self.tables = [module.get_encoder().get_input_embeddings(), module.get_decoder().get_input_embeddings()]
        # Marian's decoder scales what it is given, its encoder does not.
        scale = model.module.config.d_model**0.5 if FAMILIES[model.facts.id[5:]].model == "MarianMTModel" else 1.0
        absent = torch.full_like(ids, model.baseline_id)

        def embedded(ids: Tensor) -> Tensor:
            sides = [ids] if kind != "seq2seq" else [ids[:n], ids[n:]]
            with torch.no_grad():
                parts = [table(side) for table, side in zip(self.tables, sides, strict=False)]
            return torch.cat(parts).unsqueeze(0)

        self.x, self.baseline = embedded(ids), embedded(absent)
        self.n_seen = len(ids)
        if kind == "encoder":
            with torch.no_grad():
                second = torch.tensor([[token.id for token in completion.second]])
                other = module(input_ids=second).last_hidden_state.mean(1)
            self.value: Callable[[Tensor], Tensor] = lambda x: torch.cosine_similarity(
                module(inputs_embeds=x).last_hidden_state.mean(1), other
            )
            return
        token = completion.outputs[i]
        if kind == "masked":
            masks = [p for p, id in enumerate(completion.ids) if id == model.tokenizer.mask_token_id]
            self.baseline[:, masks] = self.x[:, masks]
            self.value = lambda x: module(inputs_embeds=x).logits[:, token.position].softmax(-1)[:, token.id]
        elif kind == "seq2seq":
            row = token.position - n - 1
            self.value = lambda x: (
                module(inputs_embeds=x[:, :n] * scale, decoder_inputs_embeds=x[:, n:], use_cache=False)
                .logits[:, row]
                .softmax(-1)[:, token.id]
            )
        else:
            self.n_seen = token.position
            self.value = lambda x: module(inputs_embeds=x, use_cache=False).logits[:, -1].softmax(-1)[:, token.id]
        self.x, self.baseline = self.x[:, : self.n_seen], self.baseline[:, : self.n_seen]

    def scores(self, method: str) -> np.ndarray:
        """L2 scores of every position, by captum."""
        x = self.x.clone().requires_grad_(True)
        if method == "gradient":
            found = CaptumGradient(self.value).attribute(x, abs=False)
        elif method == "input-x-gradient":
            found = InputXGradient(self.value).attribute(x)
        elif method == "integrated-gradients":
            found = IntegratedGradients(self.value).attribute(
                x, baselines=self.baseline, n_steps=POINTS, method="gausslegendre"
            )
        else:
            mask = torch.arange(x.shape[1])[None, :, None].expand_as(x)
            found = FeatureAblation(self.value).attribute(x.detach(), baselines=self.baseline, feature_mask=mask)
            return np.asarray(found[0, :, 0].abs().detach())
        return np.asarray(found[0].norm(dim=-1).detach())

    def dividends(self, seen: list[int]) -> np.ndarray:
        """Shapley values by Harsanyi's dividends (1963), another way than ours: what a set of tokens makes beyond all its
        subsets is shared equally among its members."""
        n = len(seen)
        present = torch.tensor([[mask >> player & 1 for player in range(n)] for mask in range(2**n)], dtype=torch.bool)
        x = self.baseline.repeat(2**n, 1, 1)
        x[:, seen] = torch.where(present[..., None], self.x[:, seen], self.baseline[:, seen])
        with torch.no_grad():
            dividends = torch.cat([self.value(one) for one in x.split(64)]).double()
        for player in range(n):  # Möbius: subtract what the set makes without this player
            has = torch.arange(2**n) >> player & 1 == 1
            dividends[has] -= dividends[torch.arange(2**n)[has] - (1 << player)]
        shared = dividends / present.sum(1).clamp_min(1)
        return np.asarray((shared[:, None] * present).sum(0))


@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_shapley_values_of_few_tokens_are_dividends_shared_out(family: str) -> None:
    model = tiny_model(family, torch.float64)
    masked, second = model.facts.kind == "masked", "a café" if model.facts.kind == "encoder" else None
    text = "a [MASK] é [MASK]" if masked else "a é" if model.facts.kind == "seq2seq" else "a, é"
    *_, completion = complete(model, text, Generation(generate=2, target_text=second))
    result = finish(compute_saliency(model, completion, SaliencySettings(method="shapley")))
    assert result.relevance is not None
    assert result.errors is not None
    for i, position in enumerate(result.explained):
        row, seen = result.row_of(position), list(result.seen[i])
        assert 2 <= len(seen) <= 11
        theirs = ByHand(model, completion, i).dividends(seen)
        np.testing.assert_allclose(result.relevance[row, seen], theirs, rtol=1e-6, atol=1e-7 * np.abs(theirs).max())
        assert np.abs(theirs).max() > 0
        assert not np.delete(result.scores[row], seen).any()
        assert not result.errors[row].any()
        found = result.completeness[row]
        assert found is not None
        assert found.converged


BY_HAND = ("shapley", "attn-lrp")
"""Methods that captum has not, or not of so many tokens: above, and in `test_relevance.py`."""


@pytest.mark.parametrize("method", [name for name in METHODS if name not in BY_HAND])
@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_saliency_is_what_captum_finds_one_token_at_a_time(family: str, method: str) -> None:
    model = tiny_model(family, torch.float64)
    completion = completion_of(model)
    points: Any = POINTS if method == "integrated-gradients" else "auto"
    result = finish(compute_saliency(model, completion, SaliencySettings(method=method, points=points)))
    for i, position in enumerate(result.explained):
        seen = list(result.seen[i])
        theirs = ByHand(model, completion, i).scores(method)
        ours = result.scores[result.row_of(position)]
        np.testing.assert_allclose(ours[seen], theirs[seen], rtol=1e-6, atol=1e-6 * theirs[seen].max())
        assert theirs[seen].max() > 0
        assert not np.delete(ours, seen).any()


@pytest.mark.parametrize("family", PREDICTS)
def test_the_last_layer_is_the_models_own_distribution(family: str) -> None:
    model = tiny_model(family)
    assert model.facts.self_check == 0.0
    completion = completion_of(model)
    logits = own_logits(model, completion)
    result = finish(rank_at_each_layer(model, completion, RankingsSettings(watch=(" the",))))
    assert len(result.outputs) == len(completion.outputs) >= 2
    for column, token in enumerate(completion.outputs):
        row = logits[completion.row_of(token.position)]
        assert (result.ranks[-1, column], result.ties[-1, column]) == min_rank(row, token.id)
        assert result.log_probability[column] == pytest.approx(float(row.log_softmax(-1)[token.id]), abs=1e-5)
        found = finish(predict_from_each_layer(model, completion, LayerPredictionsSettings(position=token.position)))
        top = found.predictions[-1][0]
        assert top.id == int(row.argmax())
        assert top.probability == pytest.approx(float(row.softmax(-1).max()), abs=1e-5)
        assert found.kl[-1] == 0.0
        assert found.chosen is not None
        assert found.chosen.id == token.id
    assert result.ranks[-1].tolist() == [1] * len(completion.outputs)
    overview = finish(overview_of_each_layer(model, completion, LayerPredictionsSettings()))
    rows = [completion.row_of(position) for position in overview.positions]
    assert overview.ids[-1].tolist() == logits[rows].argmax(-1).tolist()


DOWN = {
    "gpt2": "mlp.c_proj",
    "gpt_neox": "mlp.dense_4h_to_h",
    "falcon": "mlp.dense_4h_to_h",
    "opt": "fc2",
    "phi": "mlp.fc2",
    "bert": "output.dense",
    "minilm": "output.dense",
    "roberta": "output.dense",
    "deberta-v2": "output.dense",
    "electra": "output.dense",
    "distilbert": "ffn.lin2",
    "modernbert": "mlp.Wo",
    "t5": "layer.2.DenseReluDense.wo",
    "bart": "fc2",
    "marian": "fc2",
}
"""Down projection within a block, as read off each family's source by a person; `mlp.down_proj` where not named."""


@pytest.mark.parametrize("family", sorted(name for name, of in FAMILIES.items() if "neuron-factors" not in of.without))
def test_factors_are_of_what_a_hook_on_the_named_module_sees(family: str) -> None:
    model = tiny_model(family)
    completion = completion_of(model)
    settings = NeuronFactorsSettings(factors=2, scale_layers=False, include_first_token=True, include_special=True)
    result = finish(factorize_neurons(model, completion, settings))
    seen: list[Tensor] = []
    handles = [
        block.get_submodule(DOWN.get(family, "mlp.down_proj")).register_forward_pre_hook(
            lambda _module, args: seen.append(args[0].detach().flatten(0, -2).clamp_min(0))
        )
        for block in model.anatomy.blocks
    ]
    if model.facts.kind == "encoder":
        model.module(input_ids=torch.tensor([completion.ids]))
    else:
        own_logits(model, completion)
    for handle in handles:
        handle.remove()
    matrix = torch.cat(seen, dim=1).double()
    rows = [factor.activations[completion.n_source :] for factor in result.factors]
    weights = torch.tensor(np.stack(rows), dtype=torch.float64).T
    # W is the best there is for some H ≥ 0, so no H does better than the error that is claimed.
    best = matrix - weights @ torch.linalg.lstsq(weights, matrix).solution
    assert float(best.norm() / matrix.norm()) <= result.error + 1e-6
    assert result.error < 1
    for factor in result.factors:
        for neuron in factor.top_neurons[:3]:
            column = sum(part.shape[1] for part in seen[: neuron.layer]) + neuron.neuron
            assert matrix[:, column].max() > 0


@pytest.mark.parametrize("family", sorted(name for name, of in FAMILIES.items() if of.without))
def test_what_a_family_cannot_have_is_said(family: str) -> None:
    model = tiny_model(family)
    completion = completion_of(model)
    runs: dict[str, Callable[[], Any]] = {
        "neuron-factors": lambda: finish(factorize_neurons(model, completion, NeuronFactorsSettings())),
        "layer-predictions": lambda: finish(predict_from_each_layer(model, completion, LayerPredictionsSettings())),
        "rankings": lambda: finish(rank_at_each_layer(model, completion, RankingsSettings())),
        "attn-lrp": lambda: finish(compute_saliency(model, completion, SaliencySettings(method="attn-lrp"))),
    }
    for analysis in FAMILIES[family].without:
        with pytest.raises(InputError) as refused:
            runs[analysis]()
        assert model.facts.id in str(refused.value)
        assert refused.value.say("ja") != str(refused.value)


@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_afterwards_no_hook_is_left_and_the_outputs_are_the_same_bits(family: str) -> None:
    model = tiny_model(family)
    completion = completion_of(model)
    ids = torch.tensor([completion.ids])

    def output() -> Tensor:
        if model.facts.kind == "encoder":
            hidden: Tensor = model.module(input_ids=ids).last_hidden_state
            return hidden.detach()
        return own_logits(model, completion)

    before = output().clone()
    for method in METHODS:
        if method in FAMILIES[family].without:
            continue
        finish(compute_saliency(model, completion, SaliencySettings(method=method)))
    if model.facts.kind in ANALYSES["rankings"].kinds:
        finish(rank_at_each_layer(model, completion, RankingsSettings(final_norm=False)))
    assert torch.equal(output(), before)
    assert not any(part._forward_hooks or part._forward_pre_hooks for part in model.module.modules())
    assert all(weight.grad is None and not weight.requires_grad for weight in model.module.parameters())
    assert not any("forward" in vars(part) for part in model.module.modules() if isinstance(part, nn.Module))


@pytest.mark.parametrize("family", sorted(name for name, of in FAMILIES.items() if of.kind == "seq2seq"))
def test_a_decoder_writes_what_generate_writes(family: str) -> None:
    model = tiny_model(family)
    completion = completion_of(model)
    theirs = model.module.generate(
        input_ids=torch.tensor([completion.ids[: completion.n_source]]), max_new_tokens=3, do_sample=False, num_beams=1
    )
    assert list(completion.ids[completion.n_source :]) == theirs[0].tolist()
    assert [token.side for token in completion.tokens] == ["source"] * completion.n_source + ["target"] * 4
    assert completion.n_prompt == completion.n_source + 1
