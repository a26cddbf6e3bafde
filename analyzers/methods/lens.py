"""The logit lens: what the model would say if it stopped after a layer (nostalgebraist 2020).

`lens_l = head(final_norm(h_l))`, `h_l` being the output of block l, taken by a hook (`hidden_states[-1]` of most
models is already normed), and the norm's statistics being those of `h_l` itself. Everything after the last block is
the model's own code (`anatomy.unembed`), so bias, logit scale and soft-cap are in it. It is a reading, not the model's
belief: no layer but the last was trained to be decoded (Belrose et al. 2023, arXiv 2303.08112).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Generic, TypeAlias, TypeVar

import torch
from jaxtyping import Float, Int
from torch import Tensor

from analyzers.common.errors import InputError
from analyzers.methods.attribution import SHARED_OUT, split_evenly
from analyzers.methods.workers import open_workers
from analyzers.models.anatomy import observe_blocks, unembed
from analyzers.models.completion import Completion
from analyzers.models.dissection import is_rounding
from analyzers.models.language_model import LanguageModel
from analyzers.models.sublayers import observe_states

Logits: TypeAlias = Float[Tensor, "row layer vocab"]
LayerNumber: TypeAlias = int | float
"""Number of a block, from 0; −1 is what enters the first, l − 0.5 the stream after the attention of block l."""

CELLS = 256
"""(layer, position) cells read at once: the head runs 15 times faster on 256 rows than on one."""
NUMBERS = 2**24
"""Logits held at once, 64 MB of them: fewer cells for a vocabulary above 65,536."""
CHECKED = 16
"""Positions at which the last layer is compared with the model's own logits, spread evenly over those read."""


Reduced = TypeVar("Reduced")


@dataclass(frozen=True, eq=False)
class LensChunk(Generic[Reduced]):
    """Some of the cells asked for."""

    rows: slice
    """Which of the rows asked for."""
    value: Reduced
    """What is kept of their logits."""
    self_check: float
    """|lens at the last layer − the model's own logits|, the largest so far."""
    fraction: float
    """How much of the work is done, 0 to 1."""


def stream_logits(
    model: LanguageModel,
    ids: Sequence[int],
    rows: Sequence[int],
    layers: Sequence[LayerNumber],
    reduce: Callable[[slice, Logits], Reduced],
    *,
    n_source: int = 0,
    final_norm: bool = True,
) -> Iterator[LensChunk[Reduced]]:
    """Every asked layer read at every asked position, a few whole positions at a time, from one forward, on all cores.

    `reduce` says what is kept of some rows' logits, (row, layer, vocab) in float32; the last layer is the model's output.

    `rows` are the rows read (`Completion.row_of`), of a seq2seq model the decoder's; `layers` ascend, −1 is the input of the first
    block, l − 0.5 the stream after the attention of block l, and the last of them is the last block. `final_norm=False` is ecco's reading: the norm is passed over on
    every layer but the last. Never more than `CELLS` × vocabulary logits exist at once for each worker (for a model
    deeper than `CELLS` layers: one position's).

    Raises InputError for a model without a head, for a layer after attention where a block has no such state, where a logit is not finite, or where the last layer is not the model's own output.
    """
    if not rows or layers[-1] != model.facts.n_layers - 1:
        raise ValueError("the lens reads at least one row, and the last block last")
    if model.anatomy.head is None:
        raise InputError("kind_not_served", model=model.facts.id)
    n_checked = min(CHECKED, len(rows))
    checked = [round(i * (len(rows) - 1) / max(1, n_checked - 1)) for i in range(n_checked)]
    hidden, own = _observe(model, ids, rows, layers, [rows[i] for i in checked], n_source)
    own_of = dict(zip(checked, own, strict=True))
    cells = min(CELLS, max(1, NUMBERS // model.facts.vocab))
    size = max(1, cells // len(layers))
    batches = [slice(*batch) for batch in split_evenly(len(rows), size, min(SHARED_OUT, len(rows) // 4))]

    def work(batch: slice) -> tuple[Reduced, float]:
        logits = _read(model, hidden[batch], final_norm=final_norm)
        _refuse_infinite(logits, rows[batch], layers)
        differences = [
            _check_difference(model, logits[i - batch.start, -1], own_of[i].to(logits.device))
            for i in range(batch.start, batch.stop)
            if i in own_of
        ]
        return reduce(batch, logits), max(differences, default=0.0)

    self_check = 0.0
    with model.anatomy.taps.open(), model.anatomy.taps.silenced(), open_workers(model.device) as workers:
        for batch, (value, difference) in zip(batches, workers.map(work, batches), strict=True):
            self_check = max(self_check, difference)
            yield LensChunk(batch, value, self_check, batch.stop / len(rows))


def lens_logits(
    model: LanguageModel,
    completion: Completion,
    positions: Sequence[int],
    layers: Sequence[LayerNumber],
    reduce: Callable[[slice, Logits], Reduced],
    *,
    final_norm: bool = True,
) -> Iterator[LensChunk[Reduced]]:
    """`stream_logits` of a completion: where the tokens at `positions` are predicted, each of the layers."""
    rows = [completion.row_of(position) for position in positions]
    return stream_logits(
        model, completion.ids, rows, layers, reduce, n_source=completion.n_source, final_norm=final_norm
    )


def layers_read(n_layers: int, *, after_attention: bool) -> tuple[LayerNumber, ...]:
    """Every row of a lens: −1 for what enters the first block, then each block, after its attention too where asked for."""
    between = [layer - 0.5 for layer in range(n_layers)] if after_attention else []
    return tuple(sorted([*range(-1, n_layers), *between]))


def find_predicted_position(completion: Completion, position: int | None) -> int:
    """The position of the predicted token that is asked for: by default the first after the prompt, or the first hidden.

    A causal model predicts position 0 from nothing; position n_positions is the token that would have come next.
    Raises InputError for a position that is not predicted.
    """
    if position is None and completion.kind.fills_masks:
        if not completion.outputs:
            raise InputError("no_mask", model=completion.model)
        return completion.outputs[0].position
    asked = completion.n_prompt if position is None else position
    return check_integer("position", asked, completion.predictable_positions[0], completion.predictable_positions[-1])


def check_integer(name: str, value: int, low: int, high: int) -> int:
    """The value itself. Raises InputError outside of low to high, both included."""
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise InputError("not_an_integer", name=name, low=f"{low:,}", high=f"{high:,}", value=value)
    return value


def rank_and_ties(
    logits: Float[Tensor, "*cell vocab"], targets: Int[Tensor, "*cell"]
) -> tuple[Int[Tensor, "*cell"], Int[Tensor, "*cell"]]:
    """Rank of each target, 1 + #{v: logit_v > logit_t}, and how many *other* entries have exactly its logit."""
    own = logits.gather(-1, targets.unsqueeze(-1))
    rank = 1 + (logits > own).sum(-1, dtype=torch.int32).long()
    ties = (logits == own).sum(-1, dtype=torch.int32).long() - 1
    return rank, ties


def log_probability(logits: Float[Tensor, "*cell vocab"], targets: Int[Tensor, "*cell"]) -> Float[Tensor, "*cell"]:
    """Natural logarithm of each target's share of the softmax over the whole vocabulary."""
    return logits.gather(-1, targets.unsqueeze(-1))[..., 0] - logits.logsumexp(-1)


def entropy(log_probabilities: Float[Tensor, "*cell vocab"]) -> Float[Tensor, "*cell"]:
    """−Σ p ln p, in nats: 0 when certain, ln(vocab) when all are alike."""
    return -(log_probabilities.exp() * log_probabilities).sum(-1).clamp(max=0.0)


def kl_divergence(
    final: Float[Tensor, " vocab"], log_probabilities: Float[Tensor, "layer vocab"]
) -> Float[Tensor, " layer"]:
    """KL(final ‖ layer) = Σ p_final (ln p_final − ln p_layer), in nats: how far a layer still is from the output."""
    return (final.exp() * (final - log_probabilities)).sum(-1).clamp(min=0.0)


@torch.no_grad()
def _observe(
    model: LanguageModel,
    ids: Sequence[int],
    rows: Sequence[int],
    layers: Sequence[LayerNumber],
    checked: Sequence[int],
    n_source: int,
) -> tuple[Float[Tensor, "row layer d_model"], Float[Tensor, "checked vocab"]]:
    """Block outputs at `rows`, and the model's own logits at `checked`, from the model's own forward over `ids`."""
    wanted = set(layers)
    kept: dict[LayerNumber, Tensor] = {}

    def see(layer: LayerNumber, hidden: Tensor) -> None:
        if layer in wanted:
            kept[layer] = hidden[0, list(rows)].to(model.device)

    between = model.states_after_attention if any(layer % 1 for layer in layers) else ()
    with observe_blocks(model.anatomy, see), observe_states(between, lambda layer, hidden: see(layer - 0.5, hidden)):
        given = torch.tensor([list(ids)], device=model.device)
        own = model.run(given, torch.tensor(list(checked), device=model.device), n_source=n_source)
    return torch.stack([kept[layer] for layer in layers], dim=1), own[0].float()


@torch.no_grad()
def _read(
    model: LanguageModel, hidden: Float[Tensor, "row layer d_model"], *, final_norm: bool
) -> Float[Tensor, "row layer vocab"]:
    """Every cell is a sequence of its own, so a model with few learned positions takes any number of them."""

    def read(cells: Tensor, *, is_normed: bool) -> Tensor:
        logits: Tensor = unembed(model.module, model.anatomy, cells.flatten(0, 1).unsqueeze(1), final_norm=is_normed)
        return logits[:, 0].float().view(*cells.shape[:2], -1)

    if final_norm or hidden.shape[1] == 1:
        return read(hidden, is_normed=True)
    return torch.cat([read(hidden[:, :-1], is_normed=False), read(hidden[:, -1:], is_normed=True)], dim=1)


def _refuse_infinite(
    logits: Float[Tensor, "row layer vocab"], rows: Sequence[int], layers: Sequence[LayerNumber]
) -> None:
    low, high = torch.aminmax(logits)  # NaN comes through; a mask of isfinite costs twelve times as much
    if not bool(torch.isfinite(low) & torch.isfinite(high)):
        row, layer = (~logits.isfinite()).any(-1).nonzero()[0].tolist()
        raise InputError("not_finite", what=f"logit (layer {layers[layer]}, position {rows[row]})")


def _check_difference(model: LanguageModel, lens: Float[Tensor, " vocab"], own: Float[Tensor, " vocab"]) -> float:
    difference = float((lens - own).abs().max())
    if not is_rounding(difference, own):
        raise InputError("lens_disproved", model=model.facts.id, difference=f"{difference:.3g}")
    return difference
