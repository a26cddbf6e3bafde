"""One loaded language model: text to ids, ids to tokens, and its own forward."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TypeAlias

import torch
from jaxtyping import Float, Int
from torch import Tensor

from analyzers.common.errors import InputError
from analyzers.common.kinds import Kind
from analyzers.common.tokens import Token
from analyzers.models.anatomy import Anatomy, run_at
from analyzers.models.dissection import dissect
from analyzers.models.library import Config, Kwargs, Module, Output, Tokenizer
from analyzers.models.neurons import find_down_projections
from analyzers.models.sublayers import Place, find_states_after_attention
from analyzers.models.token_reader import TokenReader
from analyzers.models.tokenizing import check_text, find_around, told_of_panic
from analyzers.models.weights import count_bytes, device_of, dtype_of

State: TypeAlias = tuple[int, Output, Output]
"""How many ids were seen, what is kept of them, and what a source became."""
_TOKENIZING = threading.Lock()  # a tokenizer may be switched to the target's side for the time of a call
PROBE = "The cat sat on the mat because it was tired."
MASK = "[MASK]"
NO_LIMIT = 2**31  # of positions, where nothing is said
"""How a user writes the mask, whatever the vocabulary calls it."""
SEAMS = ("\n", ".", "。", "x", "1", "あ")
"""What a word is read after: the first of them that it does not run into."""


@dataclass(frozen=True)
class ModelFacts:
    """What is said of a model beside every result; plain data."""

    id: str
    revision: str | None
    kind: Kind
    dtype: str
    n_layers: int
    d_model: int
    vocab: int
    device: str
    self_check: float
    """|lens at the last layer − own logits|, the largest on the probe at load."""


class LanguageModel:
    """A language model with its tokenizer and its proven anatomy, weights frozen, in float32.

    Four kinds: `causal` predicts the next token; `masked` a hidden token, from both sides; `seq2seq` reads a source and
    writes a target; an `encoder` has no head and predicts none. Ids of a seq2seq model are the source's, then the
    target's: `n_source` says how many are the source's, and rows count from the target's first token.

    """

    def __init__(
        self, module: Module, tokenizer: Tokenizer, id: str, *, kind: str = Kind.CAUSAL, revision: str | None = None
    ):
        kind = Kind(kind)
        self.module = module.eval().requires_grad_(False)
        self.tokenizer = tokenizer
        self.reader = TokenReader(tokenizer)
        self.mask_id: int | None = tokenizer.mask_token_id if kind.fills_masks else None
        if kind.fills_masks and self.mask_id is None:
            raise InputError("anatomy_part_missing", model=id, part="mask token")
        config = module.config.get_text_config(decoder=True) if kind.has_source else module.config.get_text_config()
        generation = getattr(module, "generation_config", None)
        self.opening: tuple[int, ...] = _find_opening(generation, module.config) if kind.has_source else ()
        """What a decoder starts from."""
        source = tokenizer(PROBE, return_tensors="pt").input_ids[:, :15].to(device_of(module))
        target = None
        if kind.has_source:
            written = [*self.opening, *tokenizer(text_target=PROBE).input_ids[:8]]
            target = torch.tensor([written], dtype=source.dtype, device=source.device)
        self._probe = source if target is None else torch.cat([source, target], dim=1)
        self._n_probe_source = 0 if target is None else source.shape[1]
        self.anatomy: Anatomy = dissect(
            module, source, id, has_head=kind.predicts, target=target, is_causal=kind.writes
        )
        self.max_positions = _max_positions(module, config, tokenizer)
        end = generation.eos_token_id if generation is not None else tokenizer.eos_token_id
        self.end_ids = frozenset(end if isinstance(end, list) else [] if end is None else [end])
        candidates = (tokenizer.pad_token_id, tokenizer.eos_token_id, tokenizer.unk_token_id, tokenizer.bos_token_id)
        self.baseline_id: int = next(
            (id for id in candidates if id is not None and id < _n_rows(self.anatomy.embedding)), 0
        )
        """The token that stands for absence: padding, else end of text."""
        self.around = find_around(tokenizer, PROBE)
        """What the tokenizer puts before and after every text."""
        self.facts = ModelFacts(
            id=id,
            revision=revision,
            kind=kind,
            dtype=dtype_of(module),
            n_layers=len(self.anatomy.blocks),
            d_model=int(config.hidden_size),
            vocab=_n_rows(self._tables[-1]),
            device=device_of(module).type,
            self_check=self.anatomy.max_difference,
        )
        self._down_projections: dict[str, tuple[torch.nn.Module, ...]] = {}

    @property
    def device(self) -> torch.device:
        return device_of(self.module)

    @property
    def n_bytes(self) -> int:
        """Memory of the weights, counted once where they are tied."""
        return count_bytes(self.module)

    @cached_property
    def n_block_parameters(self) -> int:
        """Weights one token passes on its way through the blocks; the work of a forward is twice this a token."""
        blocks = (*self.anatomy.blocks, *self.anatomy.source_blocks)
        return sum(weight.numel() for block in blocks for weight in block.parameters())

    def move(self, device: str) -> None:
        """Put the weights elsewhere, once, before anything runs on them."""
        self.module.to(device)
        self._probe = self._probe.to(device)
        self.facts = replace(self.facts, device=device)

    def encode(self, text: str, *, name: str = "text", opening: bool = True, is_target: bool = False) -> list[int]:
        """Ids of a text; `opening` adds what the tokenizer puts around a text (`<s>`, `[CLS]` … `[SEP]`), less what closes
        it where the model is causal and goes on from there. `is_target` reads it as a seq2seq model's target. In a
        masked model's text `[MASK]` is its mask.

        Raises InputError for text that is empty, longer than the limit, holds half a character or a token that the model
        has no vector for, or makes no token.
        """
        check_text(text, name)
        ids = self._ids(text if is_target else self.with_mask(text), is_target, opening)
        closing = self.around[1]
        if opening and self.facts.kind.continues_its_text and closing and tuple(ids[-len(closing) :]) == closing:
            ids = ids[: -len(closing)]
        if not ids:
            raise InputError("no_tokens", model=self.facts.id)
        n_rows = _n_rows(self._tables[-1 if is_target else 0])
        beyond = next((id for id in ids if id >= n_rows), None)
        if beyond is not None:
            token = self.tokenizer.convert_ids_to_tokens(beyond)
            raise InputError(
                "token_without_row", name=name, token=token, id=beyond, model=self.facts.id, last=n_rows - 1
            )
        return ids

    def encode_word(self, word: str, name: str, before: str = "") -> list[int]:
        """Ids of a word as it stands inside a text: after `before`, else, where the two run into each other, after a
        character that it does not join. Many tokenizers put a space before a text, and none belongs to a word.

        Raises InputError as `encode`.
        """
        is_target = self.facts.kind.has_source
        alone = self.encode(word, name=name, opening=False, is_target=is_target)
        if self.reader.is_word_piece:  # its vocabulary knows no white space, and a word there stands by itself
            return alone
        for lead in (before, *SEAMS):
            head = self._ids(lead, is_target) if lead else []
            whole = self._ids(lead + word, is_target) if head else []
            rest = whole[len(head) :]
            if rest and whole[: len(head)] == head and self._is_spaced(whole, head) == word[:1].isspace():
                return rest
        return alone

    def _ids(self, text: str, is_target: bool, opening: bool = False) -> list[int]:
        with _TOKENIZING, told_of_panic(self.facts.id):
            said = self.tokenizer(**{"text_target" if is_target else "text": text}, add_special_tokens=opening)
        return list(said.input_ids)

    def _is_spaced(self, whole: Sequence[int], head: Sequence[int]) -> bool:
        """Whether there is white space where `head` ends."""
        n_before = len(self._decode(head))
        return self._decode(whole)[n_before : n_before + 1].isspace()

    def find_dropped(self, text: str) -> str:
        """The characters of a text that its ids hold nothing of, or only a part, in their order; white space aside, which
        Python takes some control characters for."""
        characters = [c for c in dict.fromkeys(text) if not c.isspace() or c in "\x0b\x0c\x1c\x1d\x1e\x1f\x85"]
        if not characters:
            return ""
        read = [self._ids(character, is_target=False) for character in characters]
        return "".join(
            c
            for c, ids in zip(characters, read, strict=True)
            if not ids or ("\ufffd" in self._decode(ids) and c != "\ufffd")
        )

    def _decode(self, ids: Sequence[int]) -> str:
        return str(self.tokenizer.decode(ids, clean_up_tokenization_spaces=False))

    def with_mask(self, text: str) -> str:
        """The text with `[MASK]` spelled as the vocabulary spells it."""
        return text if self.mask_id is None else text.replace(MASK, str(self.tokenizer.mask_token))

    def tokens_of(self, ids: Sequence[int], *, text: str | None = None, n_source: int = 0) -> tuple[Token, ...]:
        """Tokens of ids, those of a seq2seq model with their side. A WordPiece vocabulary does not know white space, so
        there the `text` that the first ids come from says where it stands."""
        spaced = None if text is None else self.reader.find_spaces(self.with_mask(text))
        if n_source:
            source = self.reader.tokens_of(ids[:n_source], spaced=spaced)
            target = self.reader.tokens_of(ids[n_source:], n_source)
            return (*(replace(t, side="source") for t in source), *(replace(t, side="target") for t in target))
        return self.reader.tokens_of(ids, spaced=spaced)

    def embed(self, ids: Sequence[int], n_source: int = 0) -> Float[Tensor, "position d_model"]:
        """The vectors that the embedding gives for ids, as they enter the model. Position embeddings are not among them."""
        given = torch.tensor(ids, device=self.device)
        sides = (given[:n_source], given[n_source:]) if len(self._tables) > 1 else (given,)
        return torch.cat([table(side) for table, side in zip(self._tables, sides, strict=True)]).detach()

    @property
    def _tables(self) -> tuple[torch.nn.Module, ...]:
        """The one embedding, or the source's and the target's."""
        target = self.anatomy.target_embedding
        return (self.anatomy.embedding,) if target is None else (self.anatomy.embedding, target)

    def mean_embedding(self, n_positions: int, n_source: int = 0) -> Float[Tensor, "position d_model"]:
        """Mean over the whole vocabulary of what the embedding layer gives, at every position."""
        first, *others = self._means
        return torch.cat([first.expand(n_source, -1), (others or [first])[0].expand(n_positions - n_source, -1)])

    @cached_property
    def _means(self) -> tuple[Float[Tensor, " d_model"], ...]:
        means = []
        with torch.no_grad():
            for table in self._tables:
                ids = torch.arange(_n_rows(table), device=self.device)
                total = sum(table(chunk).double().sum(0) for chunk in ids.split(4096))
                means.append(torch.as_tensor(total) / len(ids))
        return tuple(means)

    def down_projections(self, side: str = "target") -> tuple[torch.nn.Module, ...]:
        """Each block's MLP down projection, found when first asked for; `source` are the encoder's of a seq2seq model.
        Raises InputError for a model without."""
        if side not in self._down_projections:
            blocks = self.anatomy.source_blocks if side == "source" else self.anatomy.blocks
            found = find_down_projections(blocks, self.run_probe, self.facts.id)
            self._down_projections[side] = found
        return self._down_projections[side]

    @cached_property
    def states_after_attention(self) -> tuple[Place, ...]:
        """Where the stream passes between attention and MLP of each block. Raises InputError for a model whose blocks hold no
        such state."""
        return find_states_after_attention(self.anatomy.blocks, self.run_probe, self.facts.id)

    def run_probe(self) -> Output:
        """One forward over a short text, for what hooks see on the way."""
        return self.run(self._probe, n_source=self._n_probe_source)

    def run(
        self,
        ids: Int[Tensor, "batch position"],
        rows: Tensor | None = None,
        *,
        n_source: int = 0,
        embedded: Float[Tensor, "batch position d_embedding"] | None = None,
    ) -> Output:
        """One forward of the model itself: its logits at `rows` (None: at the last), or an encoder's output. Vectors that
        are `embedded` enter in the place of the ids' own; the head is run for no row but those asked for."""
        sides = {"input_ids": ids}
        if n_source:
            sides = {"input_ids": ids[:, :n_source], "decoder_input_ids": ids[:, n_source:]}
        given = [] if embedded is None else [embedded[:, :n_source], embedded[:, n_source:]] if n_source else [embedded]
        with self.anatomy.taps.wanting(embedded=tuple(given)):
            if not self.facts.kind.predicts:
                return self.module(**sides)
            if rows is None:
                rows = torch.tensor([ids.shape[1] - n_source - 1], device=self.device)
            return run_at(self.module, self.anatomy, rows, **sides).logits

    @torch.no_grad()
    def next_logits(
        self, ids: Sequence[int], n_source: int = 0, state: State | None = None
    ) -> tuple[Float[Tensor, " vocab"], State | None]:
        """Logits of a causal or seq2seq model after `ids`, half precision as float32; with the state of an earlier call only
        the ids since then are computed."""
        n_seen, cache, source = state or (n_source, None, None)
        fresh = torch.tensor([list(ids[n_seen:])], device=self.device)
        sides: Kwargs = {"input_ids": fresh}
        if n_source:
            if source is None:
                source = self.module.get_encoder()(input_ids=torch.tensor([list(ids[:n_source])], device=self.device))
            sides = {"encoder_outputs": source, "decoder_input_ids": fresh}
        if cache is not None:
            sides["past_key_values"] = cache
        last = torch.tensor([fresh.shape[1] - 1], device=self.device)
        out = run_at(self.module, self.anatomy, last, **sides, use_cache=True)
        cache = out.get("past_key_values")
        logits = out.logits[0, -1]
        logits = logits if logits.dtype == torch.float64 else logits.float()
        return logits, None if cache is None else (len(ids), cache, source)

    def pool(
        self, ids: Int[Tensor, "batch position"], embedded: Float[Tensor, "batch position d_embedding"] | None = None
    ) -> Float[Tensor, "batch d_model"]:
        """An encoder's vector of a text: the mean of its last hidden states over all tokens (Reimers & Gurevych 2019)."""
        return torch.as_tensor(self.run(ids, embedded=embedded).last_hidden_state.mean(1))


def _n_rows(table: torch.nn.Module) -> int:
    """How many ids an embedding has a vector for."""
    return int(next(table.parameters()).shape[0])


def _find_opening(generation: Config, config: Config) -> tuple[int, ...]:
    """The token that a decoder starts from, and the one it is made to write first, if any (BART)."""
    of = {name: getattr(generation, name, None) for name in ("decoder_start_token_id", "forced_bos_token_id")}
    start = of["decoder_start_token_id"]
    if start is None:
        start = getattr(config, "decoder_start_token_id", None)
    ids = (0 if start is None else start, of["forced_bos_token_id"])
    return tuple(int(id) for id in ids if id is not None)


def _max_positions(module: Module, config: Config, tokenizer: Tokenizer) -> int:
    """How many tokens the model reads: what its configuration and its tokenizer say, less the rows that a padded table of
    positions keeps for itself (RoBERTa)."""
    n = int(getattr(config, "max_position_embeddings", None) or NO_LIMIT)
    for part in module.modules():
        if isinstance(part, torch.nn.Embedding) and part.num_embeddings == n and part.padding_idx is not None:
            n -= part.padding_idx + 1
            break
    told = tokenizer.model_max_length
    return min(one for one in (n, int(told) if isinstance(told, (int, float)) else 0, NO_LIMIT) if one > 0)


def pick_device(device: str) -> str:
    """`auto` → cuda where there is one. Raises InputError for cuda where there is none."""
    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cuda" and not torch.cuda.is_available():
        raise InputError("no_cuda")
    return device
