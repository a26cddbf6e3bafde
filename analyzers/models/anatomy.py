"""The parts of a transformer once they are found, and what is done with them: the tail alone, the layers watched, other
vectors in the place of the embedding's.

The tail (final norm, head) is never rebuilt: `unembed` runs the model's *own* forward with its blocks silenced, so a
logit scale (Cohere, Granite, T5), a soft-cap (Gemma), a projection (OPT) or a masked-LM transform (BERT) is included by
construction.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cached_property
from inspect import signature

from jaxtyping import Float
from torch import Tensor, nn
from transformers.modeling_outputs import BaseModelOutput

from analyzers.models.library import Args, Kwargs, Module, Output
from analyzers.models.taps import Taps


@dataclass(frozen=True, eq=False)
class Anatomy:
    """Where the parts of one model are."""

    embedding: nn.Module
    """Token ids → vectors, as they are before the model scales them or adds positions."""
    blocks: tuple[nn.Module, ...]
    """Layer 0 first. A block whose weights serve several layers (ALBERT) stands there several times."""
    tuple_lengths: tuple[int, ...]
    """How many values each block returns in a tuple, its output first; 0 where it returns the output alone."""
    final_norm: nn.Module | None
    """The norm between the last block and the head; None in a post-norm model, whose blocks end normed."""
    head: nn.Module | None
    """The unembedding; None in an encoder without a language-model head."""
    target_embedding: nn.Module | None = None
    """The decoder's own embedding, in a model with two stacks."""
    source_blocks: tuple[nn.Module, ...] = ()
    """The encoder's blocks, in a model with two stacks; `blocks` are the decoder's."""
    max_difference: float = float("nan")
    """|lens at the last layer − the model's own logits|, the largest over the probe: 0.0 in float32."""

    @cached_property
    def taps(self) -> Taps:
        """The hooks that forwards of this model go through."""
        return Taps(self)


def run_at(module: Module, anatomy: Anatomy, rows: Tensor | None, **inputs: object) -> Output:
    """The model's own output, its logits for `rows` only (None: for all): the head is run for no other. No cache is
    kept unless `inputs` ask for it."""
    if "use_cache" in signature(module.forward).parameters:
        inputs = {"use_cache": False, **inputs}
    with anatomy.taps.wanting(rows=rows):
        return module(**inputs)


def unembed(
    module: Module, anatomy: Anatomy, hidden: Float[Tensor, "batch row d_model"], *, final_norm: bool = True
) -> Float[Tensor, "batch row vocab"]:
    """Logits of block outputs: everything the model itself does after its last block, each row on its own.

    With `final_norm=False` the final norm is passed over, as ecco did for every layer but the last; those logits
    are on no scale that the head was trained for. The caller holds the model's lock: blocks are silenced meanwhile.
    """
    # What enters is thrown away by the silenced blocks; only its shape counts, and it can be narrower than d_model (OPT).
    embedding = anatomy.target_embedding or anatomy.embedding
    entering = hidden.new_zeros(*hidden.shape[:2], next(embedding.parameters()).shape[-1])
    with anatomy.taps.reading(hidden, final_norm=final_norm):
        if anatomy.target_embedding is None:
            logits: Tensor = run_at(module, anatomy, None, inputs_embeds=entering).logits
        else:
            source = BaseModelOutput(last_hidden_state=entering[:, :1])
            logits = run_at(module, anatomy, None, encoder_outputs=source, decoder_inputs_embeds=entering).logits
    return logits


@contextmanager
def observe_blocks(anatomy: Anatomy, see: Callable[[int, Tensor], None]) -> Iterator[None]:
    """While open, `see(layer, hidden)` is called with each block's output, (batch, position, d_model), and with the
    input of the first block as layer −1. For one forward: layers are counted as they run. The hooks are always removed."""
    layers = iter(range(len(anatomy.blocks)))

    def see_input(_module: nn.Module, args: Args, kwargs: Kwargs) -> None:
        first.remove()
        see(-1, args[0] if args else kwargs["hidden_states"])

    def see_output(_module: nn.Module, _args: object, output: Output) -> None:
        see(next(layers), first_output(output))

    with ExitStack() as stack:
        first = anatomy.blocks[0].register_forward_pre_hook(see_input, with_kwargs=True)
        stack.callback(first.remove)
        for block in dict.fromkeys(anatomy.blocks):
            stack.callback(block.register_forward_hook(see_output).remove)
        yield


def first_output(output: Output) -> Tensor:
    hidden = output[0] if isinstance(output, (tuple, list)) else output
    if not isinstance(hidden, Tensor):
        raise TypeError(f"a block returned {type(hidden).__name__}, not a tensor")
    return hidden
