"""The lens written out by hand, family by family, in float64: what the analyzers are compared with.

Independent of `analyzers.models.anatomy`: nothing is hooked, silenced or found by structure. Block outputs come from
`output_hidden_states`, whose last entry is already normed, so the last layer is the model's own logits instead.
"""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import torch
from torch import Tensor


def _layer_norm(hidden: Tensor, norm: Any, eps: float) -> Tensor:
    centred = hidden - hidden.mean(-1, keepdim=True)
    normed = centred / (centred.pow(2).mean(-1, keepdim=True) + eps).sqrt() * norm.weight.double()
    bias = getattr(norm, "bias", None)
    return normed if bias is None else normed + bias.double()


def _rms_norm(hidden: Tensor, scale: Tensor, eps: float) -> Tensor:
    return hidden / (hidden.pow(2).mean(-1, keepdim=True) + eps).sqrt() * scale.double()


def tail_by_hand(family: str, module: Any, h: Tensor, *, norm: bool) -> Tensor:
    """Final norm (or none) and head of one family."""
    config = module.config
    if family == "gpt2":
        h = _layer_norm(h, module.transformer.ln_f, config.layer_norm_epsilon) if norm else h
        return h @ module.lm_head.weight.double().T
    if family == "gpt_neox":
        h = _layer_norm(h, module.gpt_neox.final_layer_norm, config.layer_norm_eps) if norm else h
        return h @ module.get_output_embeddings().weight.double().T
    if family == "opt":
        decoder = module.model.decoder
        h = _layer_norm(h, decoder.final_layer_norm, 1e-5) if norm else h
        return h @ decoder.project_out.weight.double().T @ module.lm_head.weight.double().T
    if family == "cohere":
        h = _layer_norm(h, module.model.norm, config.layer_norm_eps) if norm else h
        return h @ module.lm_head.weight.double().T * config.logit_scale
    scale = 1.0 + module.model.norm.weight if family == "gemma2" else module.model.norm.weight
    h = _rms_norm(h, scale, config.rms_norm_eps) if norm else h
    logits = h @ module.lm_head.weight.double().T
    if family == "gemma2":
        return config.final_logit_softcapping * torch.tanh(logits / config.final_logit_softcapping)
    return logits / config.logits_scaling if family == "granite" else logits


@torch.no_grad()
def lens_by_hand(family: str, module: Any, ids: tuple[int, ...], *, norm: bool = True) -> Tensor:
    """Logits (layer, position, vocab) in float64; row 0 is the embedding row, the last the model's own logits."""
    module = copy.deepcopy(module)  # asked for hidden states, transformers leaves hooks behind
    out = module(input_ids=torch.tensor([list(ids)]), output_hidden_states=True, use_cache=False)
    hidden = torch.stack([of_layer[0] for of_layer in out.hidden_states[:-1]]).double()
    return torch.cat([tail_by_hand(family, module, hidden, norm=norm), out.logits.double()])


def min_rank(logits: Any, id: int) -> tuple[int, int]:
    """Rank and ties of one id by a full sort: equal logits share the better rank."""
    falling = np.sort(-np.asarray(logits))
    left, right = (int(np.searchsorted(falling, -float(logits[id]), side=side)) for side in ("left", "right"))
    return left + 1, right - left - 1
