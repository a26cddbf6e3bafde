"""From seeing to cause: what the model says next when a factor's neurons are turned down or up."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from analyzers.common.errors import InputError
from analyzers.common.progress import Progress
from analyzers.common.sentences import Sentence
from analyzers.common.settings import AblationSettings, FactorNeuron
from analyzers.models.completion import Completion
from analyzers.models.language_model import LanguageModel
from analyzers.models.library import Args
from analyzers.models.neurons import record_activations


@dataclass(frozen=True)
class TokenChange:
    """One token's chance of coming next."""

    id: int
    text: str
    before: float
    """Probability, 0 to 1, of the model as it is."""
    after: float
    """Probability with the neurons scaled."""


@dataclass(frozen=True, eq=False)
class Ablation:
    """The next token after the last one of the completion (a masked model's: the first hidden one), before and after.

    Evidence that these neurons matter to this prediction on this text; other neurons may do the same work, and a
    model pushed off its usual activations may answer for reasons of its own.
    """

    scale: float
    n_neurons: int
    changes: tuple[TokenChange, ...]
    """The likeliest tokens before or after, by the larger of the two probabilities."""
    kl: float
    """KL(before ‖ after) over the whole vocabulary, in nats: 0 where nothing changed."""
    notes: tuple[Sentence, ...] = ()


@torch.no_grad()
def ablate_neurons(
    model: LanguageModel, completion: Completion, settings: AblationSettings
) -> Iterator[Progress[Ablation]]:
    """Scale the chosen neurons on every token, each in the half of its range that belongs to its factor.

    Two forwards; probabilities in float64 over the whole vocabulary. Raises InputError for a
    neuron that the model does not have.

    Arguments:
        model: whose neurons are scaled.
        completion: from `complete`; the token after it is predicted.
        settings: which neurons, such as `Factor.top_neurons`, and by how much.
    """
    if completion.kind.fills_masks and not completion.outputs:
        raise InputError("no_mask", model=completion.model)
    projections = model.down_projections(settings.side)

    def next_logits() -> Tensor:
        if not completion.kind.fills_masks:
            return model.next_logits(completion.ids, completion.n_source)[0]
        row = completion.row_of(completion.outputs[0].position)
        ids, rows = (torch.tensor(numbers, device=model.device) for numbers in ([completion.ids], [row]))
        return torch.as_tensor(model.run(ids, rows)[0, 0].float())

    yield Progress(0.0)
    logits: list[Tensor] = []
    recorded = record_activations(projections, lambda: logits.append(next_logits()))
    for neuron in settings.neurons:
        if not (0 <= neuron.layer < len(recorded) and 0 <= neuron.neuron < recorded[neuron.layer].shape[-1]):
            raise InputError("no_such_neuron", neuron=neuron.neuron, layer=neuron.layer, model=model.facts.id)
    before = logits[0].double().log_softmax(-1)
    yield Progress(0.5)
    with scale_neurons(projections, settings.neurons, settings.scale):
        after = next_logits().double().log_softmax(-1)
    if not bool(torch.isfinite(after).all()):
        raise InputError("not_finite", what="probability")
    kl = float((before.exp() * (before - after)).sum().clamp_min(0))
    top = min(settings.top, before.numel())
    ids = {*before.topk(top).indices.tolist(), *after.topk(top).indices.tolist()}
    changes = [TokenChange(id, model.reader.text_of(id), float(before[id].exp()), float(after[id].exp())) for id in ids]
    changes.sort(key=lambda change: (-max(change.before, change.after), change.id))
    yield Progress(1.0, Ablation(settings.scale, len(settings.neurons), tuple(changes), kl))


@contextmanager
def scale_neurons(
    down_projections: Sequence[nn.Module], neurons: Sequence[FactorNeuron], scale: float
) -> Iterator[None]:
    """While open, the positive or the negative part of each neuron's activation is multiplied by `scale`."""
    with ExitStack() as stack:
        for layer, projection in enumerate(down_projections):
            positive = [n.neuron for n in neurons if n.layer == layer and n.part == "positive"]
            negative = [n.neuron for n in neurons if n.layer == layer and n.part == "negative"]

            def scale_input(
                _module: nn.Module,
                args: Args,
                positive: list[int] = positive,
                negative: list[int] = negative,
            ) -> Args:
                return (_scale(args[0], positive, negative, scale), *args[1:])

            if positive or negative:
                stack.callback(projection.register_forward_pre_hook(scale_input).remove)
        yield


def _scale(
    activations: Float[Tensor, "*rows neuron"], positive: list[int], negative: list[int], scale: float
) -> Float[Tensor, "*rows neuron"]:
    factors = torch.ones_like(activations)
    factors[..., positive] = torch.where(activations[..., positive] > 0, scale, factors[..., positive])
    factors[..., negative] = torch.where(activations[..., negative] < 0, scale, factors[..., negative])
    return activations * factors
