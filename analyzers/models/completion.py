"""The text that every analysis reads: a prompt and what came after it, as ids, produced once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace

import torch

from analyzers.common.kinds import Kind
from analyzers.common.sentences import Sentence
from analyzers.common.settings import Generation
from analyzers.common.tokens import Token
from analyzers.models.language_model import LanguageModel
from analyzers.models.prompt import Prompt, read_prompt
from analyzers.models.torch_threads import one_thread

SHORT_WORK = 4e9
"""Floating-point operations of a forward that one thread does about as fast as two."""


@dataclass(frozen=True)
class FirstToken:
    """What the model gave the first token that it wrote."""

    logit: float
    log_probability: float
    """Natural logarithm."""
    probability: float


@dataclass(frozen=True)
class Completion:
    """What a model reads and what it predicts, token by token.

    Position p of a causal model is predicted from position p − 1, at row p − 1. A masked model predicts each hidden
    position at its own row, from both sides. The tokens of a seq2seq model are the source's, then the target's, whose
    rows count from the target's first token.
    """

    model: str
    tokens: tuple[Token, ...]
    n_prompt: int
    """Tokens that were given: everything before the first generated one; all of a masked model's."""
    kind: Kind = Kind.CAUSAL
    n_source: int = 0
    """How many of the tokens are the source's (seq2seq)."""
    answers: tuple[Token, ...] = ()
    """What a masked model says, or was asked to say, at each hidden position."""
    second: tuple[Token, ...] = ()
    """The text that an encoder compares with."""
    unhidden: tuple[Token, ...] = ()
    """The text's own tokens, where a masked model is made to hide one."""
    notes: tuple[Sentence, ...] = ()
    """How the text was read, where that is not as it was written."""
    first_token: FirstToken | None = field(default=None, compare=False)
    """Of the first token that the model wrote: to the bit what one more forward over the prompt would give. None where the
    model wrote none, or read the prompt on several threads."""

    @property
    def ids(self) -> tuple[int, ...]:
        return tuple(token.id for token in self.tokens)

    @property
    def n_positions(self) -> int:
        return len(self.tokens)

    @property
    def outputs(self) -> tuple[Token, ...]:
        """The predicted tokens: those after the prompt, or what stands for the hidden ones."""
        return self.answers if self.kind.fills_masks else self.tokens[self.n_prompt :]

    @property
    def predictable_positions(self) -> range:
        """Positions whose prediction can be read; a token that was not written yet is the last of them."""
        if self.kind.fills_masks:
            return range(self.n_positions)
        return range(self.n_source + 1, self.n_positions + 1)

    @property
    def offset(self) -> int:
        """How far before a predicted position its prediction is read: 1, or 0 in a masked model."""
        return 0 if self.kind.fills_masks else 1

    def row_of(self, position: int) -> int:
        """Row of the model's output that predicts a position."""
        return position - self.offset - self.n_source

    def token_at(self, position: int) -> Token | None:
        """The token that stands, or is said, at a position; None where none was written."""
        answer = next((token for token in self.answers if token.position == position), None)
        return answer or (self.tokens[position] if position < self.n_positions else None)

    def positions_seen_from(self, position: int) -> tuple[int, ...]:
        """Positions whose tokens a prediction rests on: the earlier ones, or all that is not hidden."""
        if not self.kind.fills_masks:
            return tuple(range(position))
        hidden = {token.position for token in self.answers}
        return tuple(p for p in range(self.n_positions) if p not in hidden)


def complete(model: LanguageModel, text: str, generation: Generation) -> Iterator[Completion]:
    """The prompt, then the same with one more token each time; the last one yielded is the whole. Raises InputError as
    `read_prompt`. Nothing of the first token is kept: the model may be changed before it is asked about the text.

    Arguments:
        model: what continues the text.
        text: the prompt; its leading space counts.
        generation: how many tokens, how they are chosen, or what is scored instead.
    """
    for completion in continue_prompt(model, read_prompt(model, text, generation), generation):
        yield replace(completion, first_token=None)


def continue_prompt(model: LanguageModel, prompt: Prompt, generation: Generation) -> Iterator[Completion]:
    """What a model makes of a prompt, as `complete`; to be asked about of this very model, as it is now.

    Sampling: temperature, then top-k (Fan et al. 2018), then top-p (Holtzman et al. 2020), drawn by a generator
    of its own in float64 on the CPU, so the same seed gives the same ids whatever ran before. Stops after an
    end-of-text token. A masked model answers for every `[MASK]`, in one step; an encoder's text is read as it is.
    """
    kind = model.facts.kind
    if kind.fills_masks:
        yield _fill_masks(model, prompt, generation)
        return
    n_prompt = len(prompt.ids)

    def completion(ids: Sequence[int], first_token: FirstToken | None = None) -> Completion:
        return Completion(
            model.facts.id,
            model.tokens_of(ids, text=prompt.text, n_source=prompt.n_source),
            n_prompt,
            kind,
            prompt.n_source,
            second=prompt.second,
            notes=prompt.notes,
            first_token=first_token,
        )

    if not kind.writes or prompt.continuation is not None:
        yield completion((*prompt.ids, *(prompt.continuation or ())))
        return
    random = torch.Generator().manual_seed(generation.seed)
    ids = list(prompt.ids)
    yield completion(ids)
    state, first_token = None, None
    while len(ids) < n_prompt + generation.generate:
        is_kept = len(ids) == n_prompt and _reads_on_one_thread(model, n_prompt)
        with one_thread() if is_kept else nullcontext():
            logits, state = model.next_logits(ids, prompt.n_source, state)
            ids.append(_choose(logits, generation, random))
            if is_kept:
                logit = logits[ids[-1]]
                log_probability = logit - logits.logsumexp(-1)
                first_token = FirstToken(float(logit), float(log_probability), float(log_probability.exp()))
        yield completion(ids, first_token)
        if ids[-1] in model.end_ids:
            return


def _reads_on_one_thread(model: LanguageModel, n_positions: int) -> bool:
    """Whether a text is so short that torch's threads would win nothing: its bits do not depend on how many there are then,
    as they never do on a GPU."""
    return model.device.type != "cpu" or 2 * model.n_block_parameters * n_positions <= SHORT_WORK


def _fill_masks(model: LanguageModel, prompt: Prompt, generation: Generation) -> Completion:
    """What a masked model says at each mask that nothing was given for, from one forward."""
    answer_ids = dict(prompt.answers)
    if len(answer_ids) < len(prompt.masks):
        random = torch.Generator().manual_seed(generation.seed)
        with torch.no_grad():
            rows = torch.tensor(prompt.masks, device=model.device)
            logits = model.run(torch.tensor([prompt.ids], device=model.device), rows)[0]
        for row, position in zip(logits.float(), prompt.masks, strict=True):
            answer_ids.setdefault(position, _choose(row, generation, random))
    answers = tuple(_answer(model, position, answer_ids[position]) for position in prompt.masks)
    return Completion(
        model.facts.id,
        prompt.tokens,
        len(prompt.ids),
        model.facts.kind,
        answers=answers,
        unhidden=prompt.unhidden,
        notes=prompt.notes,
    )


def _answer(model: LanguageModel, position: int, id: int) -> Token:
    text = model.reader.text_of(id)
    return Token(position, id, text, model.tokens_of([id])[0].special, position, text)


def _choose(logits: torch.Tensor, generation: Generation, random: torch.Generator) -> int:
    return _sample(logits, generation, random) if generation.sample else int(logits.argmax())


def _sample(logits: torch.Tensor, generation: Generation, random: torch.Generator) -> int:
    scaled = logits.double().cpu() / generation.temperature
    likeliest, ids = scaled.topk(min(generation.top_k, scaled.numel()))
    probabilities = likeliest.softmax(-1)
    before = probabilities.cumsum(-1) - probabilities
    kept = torch.where(before < generation.top_p, probabilities, torch.zeros_like(probabilities))
    return int(ids[torch.multinomial(kept, 1, generator=random)])
