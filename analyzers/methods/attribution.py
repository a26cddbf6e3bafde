"""The mathematics of attribution: values, gradients, path integrals and occlusion, for many explained tokens at once.

Attention is causal, so one forward over the whole completion serves every explained token: what comes after a token
changes nothing before it. (A masked model's hidden tokens are all read from one text, and a decoder's from one source.)
The head runs at the explained positions only, and its gradient is taken once: each value depends on its own row of the
head's input alone, so only the products with the blocks' Jacobian are done per token, batched. Equal to one call per
token; see tests and `benchmarks/saliency.py`.
"""

from __future__ import annotations

import itertools
import math
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from typing import TypeVar

import torch
from jaxtyping import Float, Int
from torch import Tensor

from analyzers.common.progress import Progress
from analyzers.common.settings import Objective
from analyzers.methods.workers import open_workers
from analyzers.models.completion import FirstToken
from analyzers.models.language_model import LanguageModel
from analyzers.models.torch_threads import one_thread

Item = TypeVar("Item")

CHUNK_WORK = {"cpu": 6e10}
"""Floating-point operations of one worker between two yields, about a second: Stop is heard there. Fixed, not measured,
so that the same request is cut the same way, and so rounds the same way, every time."""
CHUNK_WORK_GPU = 2e13
LEAST_SHARED = 6
"""Targets whose gradients are worth a second forward."""
SHARED_OUT = 4
"""Chunks that work is cut into at least, where there is enough of it, so that several workers have some."""


@dataclass(frozen=True, eq=False)
class TokenObjective:
    """Which scalars are explained: one per target, read off the logits at `rows`."""

    text: Int[Tensor, " position"]
    """Ids of the text; vectors that are asked about enter in the place of theirs."""
    rows: Int[Tensor, " target"]
    """Rows of the model's output that predict the explained tokens."""
    ids: Int[Tensor, " target"]
    scalar: Objective
    contrast_id: int | None = None
    """B of logit(A) − logit(B), for the scalar `contrast`."""
    n_source: int = 0
    """How many of the positions are the source's (seq2seq)."""

    @property
    def n_targets(self) -> int:
        return len(self.rows)

    def only(self, chosen: Sequence[int]) -> TokenObjective:
        """The same objective of some of its targets."""
        index = torch.tensor(list(chosen), device=self.rows.device, dtype=torch.long)
        return replace(self, rows=self.rows[index], ids=self.ids[index])

    def read_by(self, first: int, last: int) -> int:
        """How many positions the targets from `first` to `last` (exclusive) rest on, in a model that sees none after them."""
        return self.n_source + int(self.rows[first:last].max()) + 1

    def up_to(self, n_positions: int) -> TokenObjective:
        """The same of a text that ends there."""
        return replace(self, text=self.text[:n_positions])

    def evaluate(
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
        if self.scalar == "logit":
            return chosen
        if self.scalar == "contrast":
            return chosen - logits[..., self.contrast_id]
        log_probability = chosen - logits.logsumexp(-1)
        return log_probability if self.scalar == "log-probability" else log_probability.exp()

    def find_in(self, token: FirstToken) -> float | None:
        """The scalar of a token that the model wrote, from what was kept of it; None for a difference of two logits."""
        of = {"logit": token.logit, "log-probability": token.log_probability, "probability": token.probability}
        return of.get(self.scalar)


@dataclass(frozen=True, eq=False)
class SimilarityObjective:
    """The one scalar of an encoder: the cosine of its vector of a text with the vector of another text."""

    text: Int[Tensor, " position"]
    """Ids of the first text."""
    other: Float[Tensor, " d_model"]
    """The vector of the second."""
    n_targets: int = 1

    def only(self, _chosen: Sequence[int]) -> SimilarityObjective:
        return self

    def evaluate(
        self, model: LanguageModel, embedded: Float[Tensor, "batch position d_model"]
    ) -> Float[Tensor, "batch target"]:
        """The cosine, −1 to 1, as a batch of one target."""
        vectors = model.pool(self.text.expand(len(embedded), -1), embedded)
        return torch.cosine_similarity(vectors, self.other, dim=-1).unsqueeze(-1)


@torch.no_grad()
def evaluate(
    model: LanguageModel,
    embedded: Float[Tensor, "batch position d_model"],
    objective: TokenObjective | SimilarityObjective,
) -> Float[Tensor, "batch target"]:
    """The targets' values, no gradient."""
    return objective.evaluate(model, embedded)


def evaluate_text(
    model: LanguageModel,
    embedded: Float[Tensor, "position d_model"],
    objective: TokenObjective | SimilarityObjective,
) -> Float[Tensor, " target"]:
    """The targets' values for one text, on one thread."""
    with one_thread():
        return evaluate(model, embedded.unsqueeze(0), objective)[0]


class RecordedForward:
    """A forward whose graph is kept until the gradients of all its targets were taken, some at a time. Never touches the
    weights' gradients. May be asked by several threads, one after another."""

    def __init__(
        self,
        model: LanguageModel,
        make_embedded: Callable[[], Float[Tensor, "batch position d_model"]],
        objective: TokenObjective | SimilarityObjective,
        rules: Callable[[], AbstractContextManager[object]] = nullcontext,
    ) -> None:
        """`make_embedded` is called when the first gradient is asked for; the forward is recorded within `rules`."""
        self._model, self._make_embedded, self._objective, self._rules = model, make_embedded, objective, rules
        self._n_left = objective.n_targets
        self._lock = threading.Lock()
        self._graph: tuple[Tensor, Tensor, Tensor] | None = None
        self._values: Tensor | None = None

    @property
    def values(self) -> Float[Tensor, "batch target"]:
        """The targets' values; known once a gradient was asked for."""
        assert self._values is not None
        return self._values

    def gradient(self, first: int, last: int) -> Float[Tensor, "some_targets batch position d_model"]:
        """∂value/∂embedding of the targets from `first` to `last` (exclusive), each of which may be asked for once."""
        with self._lock, torch.enable_grad():
            self._n_left -= last - first
            if isinstance(self._objective, SimilarityObjective):
                embedded = self._make_embedded().detach().requires_grad_(True)
                with self._rules():
                    values = self._objective.evaluate(self._model, embedded)
                self._values = values.detach()
                (gradient,) = torch.autograd.grad(values.sum(), embedded)
                return gradient.unsqueeze(0)
            embedded, head_input, at_head = self._graph = self._graph or self._record(self._objective)
            # Row t of the head's input moves value t alone, so one product gives every row's own gradient.
            directions = head_input.new_zeros(last - first, *head_input.shape)
            for i in range(last - first):
                directions[i, :, first + i] = at_head[:, first + i]
            is_kept = self._n_left > 0
            if not is_kept:
                self._graph = None
            if last - first == 1:
                (gradient,) = torch.autograd.grad(head_input, embedded, directions[0], retain_graph=is_kept)
                return gradient.unsqueeze(0)
            (gradient,) = torch.autograd.grad(
                head_input, embedded, directions, retain_graph=is_kept, is_grads_batched=True
            )
            return gradient

    def _record(self, objective: TokenObjective) -> tuple[Tensor, Tensor, Tensor]:
        embedded = self._make_embedded().detach().requires_grad_(True)
        head_inputs: list[Tensor] = []
        with self._model.anatomy.taps.wanting(head_inputs=head_inputs), self._rules():
            values = objective.evaluate(self._model, embedded)
        self._values = values.detach()
        (head_input,) = head_inputs
        (at_head,) = torch.autograd.grad(values.sum(), head_input, retain_graph=True)
        return embedded, head_input, at_head


def gradients(
    model: LanguageModel,
    embedded: Float[Tensor, "batch position d_model"],
    objective: TokenObjective | SimilarityObjective,
    rules: Callable[[], AbstractContextManager[object]] = nullcontext,
) -> Iterator[tuple[slice, Float[Tensor, "some_targets batch position d_model"]]]:
    """∂value/∂embedding of every target, a few targets at a time, on all cores; by `rules`, which are entered in each thread
    around its forward, other than the chain rule's."""
    groups = []
    for start, stop, n_read in _share_out_targets(model, objective, embedded.shape[1]):
        some = objective.only(range(start, stop))
        some = some.up_to(n_read) if isinstance(some, TokenObjective) else some
        forward = RecordedForward(model, partial(embedded.narrow, 1, 0, n_read), some, rules)
        most = targets_at_once(model, embedded.shape[0] * n_read)
        groups.append([(forward, start, *chunk) for chunk in split_evenly(stop - start, most)])
    with model.anatomy.taps.open(), open_workers(model.device) as workers:
        chunks = take_in_turns(groups, workers.n)
        results = workers.map(lambda chunk: chunk[0].gradient(*chunk[2:]), chunks)
        for (_, start, first, last), gradient in zip(chunks, results, strict=True):
            n_unread = embedded.shape[1] - gradient.shape[2]
            yield slice(start + first, start + last), torch.nn.functional.pad(gradient, (0, 0, 0, n_unread))


def _share_out_targets(
    model: LanguageModel, objective: TokenObjective | SimilarityObjective, n_positions: int
) -> list[tuple[int, int, int]]:
    """First and last (exclusive) target of one forward, or of two that take about as long, and how many positions it reads: no
    more than its targets rest on, where the model sees nothing after them."""
    n = objective.n_targets

    def read_by(first: int, last: int) -> int:
        if model.facts.kind.writes and isinstance(objective, TokenObjective):
            return min(n_positions, objective.read_by(first, last))
        return n_positions

    if n < LEAST_SHARED:
        return [(0, n, read_by(0, n))]
    work = [max(read_by(0, cut) * (1 + cut), read_by(cut, n) * (1 + n - cut)) for cut in range(1, n)]
    cut = 1 + work.index(min(work))
    return [(0, cut, read_by(0, cut)), (cut, n, read_by(cut, n))]


def targets_at_once(model: LanguageModel, n_rows: int) -> int:
    """Targets whose products with the blocks' Jacobian are taken together, at so many rows (positions × batch)."""
    return max(1, int(chunk_work(model) / (2 * model.n_block_parameters * n_rows)))


def take_in_turns(groups: Sequence[Sequence[Item]], n: int) -> list[Item]:
    """The items of `n` groups side by side, so that as many workers each have a group: its first items, its second ones."""
    return [
        item
        for start in range(0, len(groups), n)
        for items in itertools.zip_longest(*groups[start : start + n])
        for item in items
        if item is not None
    ]


def occlude(
    model: LanguageModel,
    embedded: Float[Tensor, "position d_model"],
    baseline: Float[Tensor, "position d_model"],
    objective: TokenObjective | SimilarityObjective,
    groups: Sequence[Sequence[int]],
) -> Iterator[Progress[Float[Tensor, "group target"]]]:
    """Each target's value with the embeddings at one group of positions replaced by the baseline's (Zeiler & Fergus
    2014; leave one out). Positions do not move. What is known between two steps is of the first groups."""
    most = max(1, int(chunk_work(model) // (2 * model.n_block_parameters * embedded.shape[0])))
    chunks = [groups[start:stop] for start, stop in split_evenly(len(groups), most, min(SHARED_OUT, len(groups) // 2))]

    def work(chunk: Sequence[Sequence[int]]) -> Float[Tensor, "some_groups target"]:
        hidden = embedded.repeat(len(chunk), 1, 1)
        for row, group in enumerate(chunk):
            hidden[row, list(group)] = baseline[list(group)]
        return evaluate(model, hidden, objective)

    values: list[Tensor] = []
    n_done = 0
    with model.anatomy.taps.open(), open_workers(model.device) as workers:
        for chunk, result in zip(chunks, workers.map(work, chunks), strict=True):
            values.append(result)
            n_done += len(chunk)
            if n_done < len(groups):
                yield Progress(n_done / len(groups), make_result=lambda: torch.cat(values))
    yield Progress(1.0, torch.cat(values))


def chunk_work(model: LanguageModel) -> float:
    return CHUNK_WORK.get(model.device.type, CHUNK_WORK_GPU)


def split_evenly(n: int, most: int, least_chunks: int = 1) -> list[tuple[int, int]]:
    """First and last (exclusive) of chunks of at most so many, which differ by one at the most, and are at least so many
    where there are enough to share out."""
    chunks = max(math.ceil(n / most), min(n, least_chunks))
    return [(n * i // chunks, n * (i + 1) // chunks) for i in range(chunks)]
