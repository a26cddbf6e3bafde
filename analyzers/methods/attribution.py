"""The mathematics of attribution: values, gradients, path integrals and occlusion, for many explained tokens at once.

Attention is causal, so one forward over the whole completion serves every explained token: what comes after a token
changes nothing before it. (A masked model's hidden tokens are all read from one text, and a decoder's from one source.)
The head runs at the explained positions only, and its gradient is taken once: each value depends on its own row of the
head's input alone, so only the products with the blocks' Jacobian are done per token, batched. Equal to one call per
token; see tests and `benchmarks/saliency.py`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from analyzers.common.progress import Progress
from analyzers.common.settings import Target
from analyzers.models.model import LanguageModel

CHUNK_WORK = {"cpu": 1e11}
"""Floating-point operations between two yields, about a second: Stop is heard there. Fixed, not measured, so that the
same request is cut the same way, and so rounds the same way, every time."""
CHUNK_WORK_GPU = 2e13


@dataclass(frozen=True, eq=False)
class Question:
    """Which scalars are explained: one per target, read off the logits at `rows`."""

    text: Int[Tensor, " position"]
    """Ids of the text; vectors that are asked about enter in the place of theirs."""
    rows: Int[Tensor, " target"]
    """Rows of the model's output that predict the explained tokens."""
    ids: Int[Tensor, " target"]
    target: Target
    contrast_id: int | None = None
    """B of logit(A) − logit(B), for the target `contrast`."""
    n_source: int = 0
    """How many of the positions are the source's (seq2seq)."""

    @property
    def n_targets(self) -> int:
        return len(self.rows)

    def only(self, chosen: Sequence[int]) -> Question:
        """The same question of some of its targets."""
        index = torch.tensor(list(chosen), device=self.rows.device, dtype=torch.long)
        return replace(self, rows=self.rows[index], ids=self.ids[index])

    def ask(
        self, model: LanguageModel, embedded: Float[Tensor, "batch position d_model"]
    ) -> Float[Tensor, "batch target"]:
        """The scalars, from one forward."""
        return self.values(
            model.run(self.text.expand(len(embedded), -1), self.rows, n_source=self.n_source, embedded=embedded)
        )

    def values(self, logits: Float[Tensor, "batch target vocab"]) -> Float[Tensor, "batch target"]:
        """The scalar of each target. Half precision is read as float32."""
        logits = logits.float() if logits.dtype in (torch.float16, torch.bfloat16) else logits
        index = self.ids.expand(logits.shape[0], -1).unsqueeze(-1)
        chosen = logits.gather(-1, index).squeeze(-1)
        if self.target == "logit":
            return chosen
        if self.target == "contrast":
            return chosen - logits[..., self.contrast_id]
        log_probability = chosen - logits.logsumexp(-1)
        return log_probability if self.target == "log-probability" else log_probability.exp()


@dataclass(frozen=True, eq=False)
class Likeness:
    """The one scalar of an encoder: the cosine of its vector of a text with the vector of another text."""

    text: Int[Tensor, " position"]
    """Ids of the first text."""
    other: Float[Tensor, " d_model"]
    """The vector of the second."""
    n_targets: int = 1

    def only(self, _chosen: Sequence[int]) -> Likeness:
        return self

    def ask(
        self, model: LanguageModel, embedded: Float[Tensor, "batch position d_model"]
    ) -> Float[Tensor, "batch target"]:
        """The cosine, −1 to 1, as a batch of one target."""
        vectors = model.pooled(self.text.expand(len(embedded), -1), embedded)
        return torch.cosine_similarity(vectors, self.other, dim=-1).unsqueeze(-1)


def gauss_legendre(points: int) -> tuple[np.ndarray, np.ndarray]:
    """Nodes and weights on [0, 1]; exact for polynomials up to degree 2·points − 1."""
    nodes, weights = np.polynomial.legendre.leggauss(points)
    return (nodes + 1) / 2, weights / 2


@torch.no_grad()
def evaluate(
    model: LanguageModel, embedded: Float[Tensor, "batch position d_model"], question: Question | Likeness
) -> Float[Tensor, "batch target"]:
    """The targets' values, no gradient."""
    return question.ask(model, embedded)


def gradients(
    model: LanguageModel, embedded: Float[Tensor, "batch position d_model"], question: Question | Likeness
) -> Iterator[tuple[slice, Float[Tensor, "some_targets batch position d_model"]]]:
    """∂value/∂embedding of every target, a few targets at a time, in order. Never touches the weights' gradients."""
    n_targets = question.n_targets
    with torch.enable_grad():
        embedded = embedded.detach().requires_grad_(True)
        if isinstance(question, Likeness):
            (gradient,) = torch.autograd.grad(question.ask(model, embedded).sum(), embedded)
            yield slice(0, 1), gradient.unsqueeze(0)
            return
        entered: list[Tensor] = []
        assert model.anatomy.head is not None  # the dispatcher hands over models that predict
        hook = model.anatomy.head.register_forward_hook(lambda _module, args, _out: entered.append(args[0]))
        try:
            values = question.ask(model, embedded)
        finally:
            hook.remove()
        (head_input,) = entered
        # Row t of the head's input moves value t alone, so one product gives every row's own gradient.
        (at_head,) = torch.autograd.grad(values.sum(), head_input, retain_graph=True)
        del values
        for start, stop in _chunks_of_targets(model, embedded.shape[0] * embedded.shape[1], n_targets):
            keep = stop < n_targets
            if stop - start == 1:
                direction = torch.zeros_like(head_input)
                direction[:, start] = at_head[:, start]
                (gradient,) = torch.autograd.grad(head_input, embedded, direction, retain_graph=keep)
                yield slice(start, stop), gradient.unsqueeze(0)
            else:
                directions = head_input.new_zeros(stop - start, *head_input.shape)
                for i in range(start, stop):
                    directions[i - start, :, i] = at_head[:, i]
                (gradient,) = torch.autograd.grad(
                    head_input, embedded, directions, retain_graph=keep, is_grads_batched=True
                )
                yield slice(start, stop), gradient


def integrate(
    model: LanguageModel,
    embedded: Float[Tensor, "position d_model"],
    baseline: Float[Tensor, "position d_model"],
    question: Question | Likeness,
    points: int,
) -> Iterator[Progress[Float[Tensor, "target position d_model"]]]:
    """Integrated gradients (Sundararajan et al. 2017): (x − x′) ∘ ∫ ∇f(x′ + α(x − x′)) dα by Gauss–Legendre."""
    nodes, weights = gauss_legendre(points)
    n_targets, n_positions = question.n_targets, embedded.shape[0]
    total = embedded.new_zeros(n_targets, *embedded.shape)
    step = _points_at_once(model, n_positions, n_targets)
    for start in range(0, points, step):
        alphas = torch.as_tensor(nodes[start : start + step], dtype=embedded.dtype, device=embedded.device)
        shares = torch.as_tensor(weights[start : start + step], dtype=embedded.dtype, device=embedded.device)
        path = baseline + alphas[:, None, None] * (embedded - baseline)
        for targets, gradient in gradients(model, path, question):
            total[targets] += torch.einsum("k,tkpd->tpd", shares, gradient)
            part = (targets.stop / n_targets) * len(alphas)
            yield Progress((start + part) / points)
    yield Progress(1.0, (embedded - baseline) * total)


def occlude(
    model: LanguageModel,
    embedded: Float[Tensor, "position d_model"],
    baseline: Float[Tensor, "position d_model"],
    question: Question | Likeness,
    groups: Sequence[Sequence[int]],
) -> Iterator[Progress[Float[Tensor, "group target"]]]:
    """Each target's value with the embeddings at one group of positions replaced by the baseline's (Zeiler & Fergus
    2014; leave one out). Positions do not move."""
    rows = max(1, int(_chunk_work(model) // (2 * model.n_block_parameters * embedded.shape[0])))
    values: list[Tensor] = []
    for start in range(0, len(groups), rows):
        chunk = groups[start : start + rows]
        hidden = embedded.repeat(len(chunk), 1, 1)
        for row, group in enumerate(chunk):
            hidden[row, list(group)] = baseline[list(group)]
        values.append(evaluate(model, hidden, question))
        yield Progress(min(1.0, (start + len(chunk)) / len(groups)) * 0.999)
    yield Progress(1.0, torch.cat(values))


def integration_work(model: LanguageModel, n_positions: int, n_targets: int, points: int) -> float:
    """Floating-point operations of an integral: a forward, and a backward for each target, at each point."""
    return 2.0 * model.n_block_parameters * n_positions * (1 + n_targets) * points


def tokens_at_once(model: LanguageModel, n_positions: int) -> int:
    """How many explained tokens share an integral, so that a long text shows its first maps before its last."""
    one_target = integration_work(model, n_positions, 1, 16) / 2
    return int(max(1, 12 * _chunk_work(model) // one_target - 1))


def doubling_budget(model: LanguageModel, n_targets: int) -> float:
    """Work that may go into doubling the points: about ten seconds and two more a token. A number of operations, not
    of seconds, so that the same request ends at the same number of points every time."""
    return _chunk_work(model) * (10 + 2 * n_targets)


def _chunk_work(model: LanguageModel) -> float:
    return CHUNK_WORK.get(model.device.type, CHUNK_WORK_GPU)


def _points_at_once(model: LanguageModel, n_positions: int, n_targets: int) -> int:
    one = integration_work(model, n_positions, n_targets, 1)
    return int(min(10, max(1, _chunk_work(model) // one)))


def _chunks_of_targets(model: LanguageModel, n_rows: int, n_targets: int) -> list[tuple[int, int]]:
    """First and last (exclusive) of the targets whose products are taken together, in chunks that differ by one at the most:
    one of a single target would cost nearly as much as one of three."""
    one = 2 * model.n_block_parameters * n_rows
    most = max(
        1, int(1.05 * _chunk_work(model) / one)
    )  # 5 % over a second lets four through where three fit just short
    chunks = math.ceil(n_targets / most)
    return [(n_targets * i // chunks, n_targets * (i + 1) // chunks) for i in range(chunks)]
