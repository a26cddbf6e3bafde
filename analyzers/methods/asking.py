"""What a saliency method is asked: a completion and its settings as embeddings, a baseline and the explained scalars."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from analyzers.common.methods import METHODS
from analyzers.common.settings import Baseline, Objective, SaliencySettings
from analyzers.common.tokens import Token, group_by_word
from analyzers.methods.attribution import SimilarityObjective, TokenObjective, evaluate_text
from analyzers.models.completion import Completion
from analyzers.models.language_model import LanguageModel
from analyzers.models.prompt import NamedToken


@dataclass(frozen=True, eq=False)
class Question:
    """What a method is asked: which tokens drove these scalars."""

    model: LanguageModel
    objective: TokenObjective | SimilarityObjective
    embedded: Float[Tensor, "position d_model"]
    """The text's own embeddings."""
    baseline: Float[Tensor, "position d_model"]
    """What stands for an absent token; `embedded` itself at positions that are held."""
    values: Float[Tensor, " explained"]
    """The scalars of the text as it is."""
    seen: tuple[tuple[int, ...], ...]
    """Per explained token the positions that it rests on."""
    groups: list[list[int]]
    """Positions that are hidden together: one each, or those of a word."""
    settings: SaliencySettings


def ask(
    model: LanguageModel,
    completion: Completion,
    explained: tuple[int, ...],
    settings: SaliencySettings,
    contrast: NamedToken | None,
) -> Question:
    """The question of these positions (of the predicted tokens), from one forward, or none where the completion tells the
    scalar. `contrast` is B of logit(A) − logit(B). A masked model's hidden tokens are held as they are."""
    seen = tuple(completion.positions_seen_from(position) for position in explained)
    ids = completion.ids
    if not completion.kind.fills_masks:  # nothing after the last explained token's predecessor matters
        ids = ids[: max(map(max, seen)) + 1]
    embedded = model.embed(ids, completion.n_source)
    baseline = baseline_embedding(model, settings.baseline, ids, completion.n_source)
    held = sorted(set(range(len(ids))).difference(*seen))
    baseline[held] = embedded[held]  # a mask is what is asked about: it stays as it is
    objective = _objective(model, completion, ids, explained, settings, contrast)
    kept_value = _find_kept_value(completion, explained, objective)
    if kept_value is None:
        values = evaluate_text(model, embedded, objective)
    else:
        values = embedded.new_tensor([kept_value], dtype=torch.promote_types(embedded.dtype, torch.float32))
    groups = groups_of([completion.tokens[p] for p in range(len(ids)) if p not in held], settings.whole_words)
    return Question(model, objective, embedded, baseline, values, seen, groups, settings)


def _find_kept_value(
    completion: Completion, explained: tuple[int, ...], objective: TokenObjective | SimilarityObjective
) -> float | None:
    """The scalar where the first token that the model wrote is explained alone, and it was kept."""
    token = completion.first_token
    if token is None or explained != (completion.n_prompt,) or not isinstance(objective, TokenObjective):
        return None
    return objective.find_in(token)


def _objective(
    model: LanguageModel,
    completion: Completion,
    ids: Sequence[int],
    explained: tuple[int, ...],
    settings: SaliencySettings,
    contrast: NamedToken | None,
) -> TokenObjective | SimilarityObjective:
    text = torch.tensor(ids, device=model.device)
    if not completion.kind.predicts:
        second = torch.tensor([[token.id for token in completion.second]], device=model.device)
        with torch.no_grad():
            return SimilarityObjective(text, model.pool(second)[0])
    ids_at = {token.position: token.id for token in completion.outputs}
    rows = torch.tensor([completion.row_of(p) for p in explained], device=model.device)
    targets = torch.tensor([ids_at[p] for p in explained], device=model.device)
    contrast_id = contrast.id if contrast else None
    return TokenObjective(text, rows, targets, scalar_of(settings, contrast), contrast_id, completion.n_source)


def scalar_of(settings: SaliencySettings, contrast: NamedToken | None) -> Objective:
    """Which number of a predicted token is explained: the one that was chosen, but the logit where a method shares that out."""
    if contrast is not None:
        return "contrast"
    return "logit" if METHODS[settings.method].shares_out else settings.target


def baseline_embedding(
    model: LanguageModel, baseline: Baseline, ids: Sequence[int], n_source: int = 0
) -> Float[Tensor, "position d_model"]:
    """What stands for an absent token at each position, as the embedding layer would give it."""
    if baseline == "mean":
        return model.mean_embedding(len(ids), n_source).to(model.embed(ids[:1], min(1, n_source))).clone()
    absent = model.embed([model.baseline_id] * len(ids), n_source)
    return torch.zeros_like(absent) if baseline == "zero" else absent


def groups_of(tokens: Sequence[Token], whole_words: bool) -> list[list[int]]:
    """Positions that are scored as one: those of a word, or each alone."""
    return group_by_word(tokens) if whole_words else [[token.position] for token in tokens]
