"""The text that every analysis reads: a prompt and what came after it, as ids, produced once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch

from analyzers.completion_settings import Generation
from analyzers.errors import InputError
from analyzers.limits import LIMITS
from analyzers.model import LanguageModel
from analyzers.sentences import Sentence
from analyzers.tokens import Token


@dataclass(frozen=True)
class Completion:
    """Prompt and continuation, token by token. Position p is predicted from position p − 1."""

    model: str
    tokens: tuple[Token, ...]
    n_prompt: int

    @property
    def ids(self) -> tuple[int, ...]:
        return tuple(token.id for token in self.tokens)

    @property
    def n_positions(self) -> int:
        return len(self.tokens)

    @property
    def outputs(self) -> tuple[Token, ...]:
        """The tokens after the prompt."""
        return self.tokens[self.n_prompt :]


def complete(model: LanguageModel, text: str, generation: Generation) -> Iterator[Completion]:
    """The prompt, then the same with one more token each time; the last one yielded is the whole.

    Sampling: temperature, then top-k (Fan et al. 2018), then top-p (Holtzman et al. 2020), drawn by a generator
    of its own in float64 on the CPU, so the same seed gives the same ids whatever ran before. Stops after an
    end-of-text token. An encoder's text is read as it is. Raises InputError for a text that is empty or too long for the model or the limits.
    """
    prompt = model.encode(text)
    wanted = generation.generate
    if model.facts.kind == "encoder":
        if generation.target_text is not None:
            raise InputError("encoder_continues_nothing", model=model.facts.id)
        wanted = 0
    if generation.target_text is not None:
        continuation = model.encode(generation.target_text, name="target_text", opening=False)
        wanted = len(continuation)
        if wanted > LIMITS.new_tokens:
            raise InputError("too_many_to_score", n=wanted, limit=LIMITS.new_tokens)
    limit = min(LIMITS.tokens(model.device.type), model.max_positions)
    if len(prompt) + wanted > limit:
        raise InputError("too_many_tokens", n=len(prompt), limit=limit, wanted=wanted)
    if generation.target_text is not None:
        yield _completion(model, [*prompt, *continuation], len(prompt))
        return
    if wanted == 0:
        yield Completion(model.facts.id, model.read(text, prompt, len(prompt)), len(prompt))
        return
    yield from _generate(model, prompt, generation)


def _generate(model: LanguageModel, prompt: list[int], generation: Generation) -> Iterator[Completion]:
    random = torch.Generator().manual_seed(generation.seed)
    ids = list(prompt)
    yield _completion(model, ids, len(prompt))
    cache, fresh = None, prompt
    while len(ids) < len(prompt) + generation.generate:
        logits, cache = model.next_logits(fresh if cache is not None else ids, cache)
        chosen = _sample(logits, generation, random) if generation.sample else int(logits.argmax())
        ids.append(chosen)
        fresh = [chosen]
        yield _completion(model, ids, len(prompt))
        if chosen in model.end_ids:
            return


def _sample(logits: torch.Tensor, generation: Generation, random: torch.Generator) -> int:
    scaled = logits.double().cpu() / generation.temperature
    likeliest, ids = scaled.topk(min(generation.top_k, scaled.numel()))
    probabilities = likeliest.softmax(-1)
    before = probabilities.cumsum(-1) - probabilities
    kept = torch.where(before < generation.top_p, probabilities, torch.zeros_like(probabilities))
    return int(ids[torch.multinomial(kept, 1, generator=random)])


def _completion(model: LanguageModel, ids: list[int], n_prompt: int) -> Completion:
    return Completion(model.facts.id, model.reader.read(ids), n_prompt)


@dataclass(frozen=True)
class NamedToken:
    """What a word that the user wrote resolved to."""

    id: int
    text: str
    note: Sentence | None
    """Said when the word is several tokens and only its first counts."""


def resolve_token(model: LanguageModel, word: str, name: str) -> NamedToken:
    """The token a word names, its leading space included: `London`, ` London` and `london` differ.

    A word of several tokens is its first one, and says so; where the other spacing would be one token, it is
    named. Raises InputError for a word that is empty or becomes no token.
    """
    if not word:
        raise InputError("empty_setting", name=name)
    ids = model.encode(word, name=name, opening=False)
    first = model.reader.text_of(ids[0])
    if len(ids) == 1:
        return NamedToken(ids[0], first, None)
    values = {"text": word, "n": len(ids), "first": first, "id": ids[0]}
    other = word[1:] if word.startswith(" ") else f" {word}"
    if other.strip():
        other_ids = model.encode(other, name=name, opening=False)
        if len(other_ids) == 1:
            note = Sentence.of("token_other_spacing", **values, other=other, other_id=other_ids[0])
            return NamedToken(ids[0], first, note)
    return NamedToken(ids[0], first, Sentence.of("token_of_several", **values))
