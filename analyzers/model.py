"""One loaded language model: load, encode, run. With anatomy, the only file that knows transformers."""

from __future__ import annotations

import errno
import logging
import os
import shutil
import threading
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from huggingface_hub.errors import StrictDataclassError
from jaxtyping import Float, Int
from safetensors import SafetensorError
from torch import Tensor
from transformers import (
    CONFIG_MAPPING,
    AutoConfig,
    AutoModel,
    AutoModelForCausalLM,
    AutoModelForMaskedLM,
    AutoModelForSeq2SeqLM,
    AutoTokenizer,
    BitsAndBytesConfig,
)
from transformers.utils import logging as transformers_logging

from analyzers.anatomy import Anatomy, dissect, run_at
from analyzers.converted import converted_folder, is_whole, write_copy
from analyzers.errors import InputError
from analyzers.gguf_header import read_gguf_header
from analyzers.limits import LIMITS
from analyzers.memory import free_disk, free_memory, free_of_each_gpu, is_out_of_memory
from analyzers.metadata import check_config, check_type, read_config
from analyzers.neurons import find_down_projections
from analyzers.placement import Placement
from analyzers.tokens import Token, TokenReader
from analyzers.weights import device_of, dtype_of, each_weight, held_bytes, widen_tail

transformers_logging.set_verbosity_error()
transformers_logging.disable_progress_bar()

BROKEN = (
    OSError, ValueError, KeyError, RuntimeError, TypeError, AttributeError, ImportError,
    SafetensorError, StrictDataclassError,
)  # fmt: skip
"""What the libraries raise for files that are no model; the last two descend from Exception alone."""

KNOWN_TYPES = frozenset(CONFIG_MAPPING.keys())
"""Of models that transformers has the code for."""

_BUILDING = threading.Lock()
"""transformers changes settings of the whole process while it builds a model: one at a time."""

PROBE = "The cat sat on the mat because it was tired."
MASK = "[MASK]"
"""How a user writes the mask, whatever the vocabulary calls it."""
FAMILIES = {
    "causal": AutoModelForCausalLM,
    "masked": AutoModelForMaskedLM,
    "seq2seq": AutoModelForSeq2SeqLM,
    "encoder": AutoModel,
}
"""Kind → what loads it."""


@dataclass(frozen=True)
class ModelFacts:
    """What is said of a model beside every result; plain data."""

    id: str
    revision: str | None
    kind: str
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

    Not safe for two threads at once: hooks sit on the one shared module. `store.ModelStore.job` owns the lock.
    """

    def __init__(self, module: Any, tokenizer: Any, id: str, *, kind: str = "causal", revision: str | None = None):
        self.module = module.eval().requires_grad_(False)
        self.tokenizer = tokenizer
        self.reader = TokenReader(tokenizer)
        self.mask_id: int | None = tokenizer.mask_token_id if kind == "masked" else None
        if kind == "masked" and self.mask_id is None:
            raise InputError("anatomy_part_missing", model=id, part="mask token")
        config = module.config.get_text_config(decoder=True) if kind == "seq2seq" else module.config.get_text_config()
        generation = getattr(module, "generation_config", None)
        self.opening: tuple[int, ...] = _opening(generation, module.config) if kind == "seq2seq" else ()
        """What a decoder starts from."""
        source = tokenizer(PROBE, return_tensors="pt").input_ids[:, :16].to(device_of(module))
        opening = torch.tensor([self.opening], dtype=source.dtype, device=source.device)
        target = torch.cat([opening, source[:, :8]], dim=1) if kind == "seq2seq" else None
        self._probe = source if target is None else torch.cat([source, target], dim=1)
        self._n_probe_source = 0 if target is None else source.shape[1]
        self.anatomy: Anatomy = dissect(module, source, id, has_head=kind != "encoder", target=target)
        self.max_positions = _max_positions(module, config, tokenizer)
        end = generation.eos_token_id if generation is not None else tokenizer.eos_token_id
        self.end_ids = frozenset(end if isinstance(end, list) else [] if end is None else [end])
        candidates = (tokenizer.pad_token_id, tokenizer.eos_token_id, tokenizer.unk_token_id, tokenizer.bos_token_id)
        self.baseline_id: int = next((id for id in candidates if id is not None), 0)
        """The token that stands for absence: padding, else end of text."""
        self.facts = ModelFacts(
            id=id,
            revision=revision,
            kind=kind,
            dtype=dtype_of(module),
            n_layers=len(self.anatomy.blocks),
            d_model=int(config.hidden_size),
            vocab=int(config.vocab_size),
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
        return held_bytes(self.module)

    @property
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
        """Ids of a text; `opening` adds what the tokenizer puts around a text (`<s>`, `[CLS]` … `[SEP]`). `is_target`
        reads it as a seq2seq model's target. In a masked model's text `[MASK]` is its mask.

        Raises InputError for text that is empty, longer than the limit, holds half a character, or makes no token.
        """
        check_text(text, name)
        texts = {"text_target": text} if is_target else {"text": self._with_mask(text)}
        ids = list(self.tokenizer(**texts, add_special_tokens=opening).input_ids)
        if not ids:
            raise InputError("no_tokens", model=self.facts.id)
        return ids

    def _with_mask(self, text: str) -> str:
        return text if self.mask_id is None else text.replace(MASK, str(self.tokenizer.mask_token))

    def read(self, ids: Sequence[int], *, text: str | None = None, n_source: int = 0) -> tuple[Token, ...]:
        """Tokens of ids, those of a seq2seq model with their side. A WordPiece vocabulary does not know white space, so
        there the `text` that all the ids come from says where it stands."""
        if n_source:
            source = self.reader.read(ids[:n_source])
            target = self.reader.read(ids[n_source:], n_source)
            return (*(replace(t, side="source") for t in source), *(replace(t, side="target") for t in target))
        if text is None or not self.reader.is_word_piece:
            return self.reader.read(ids)
        text = self._with_mask(text)
        offsets = self.tokenizer(text, return_offsets_mapping=True).offset_mapping
        spaced = [start > 0 and text[start - 1].isspace() for start, _ in offsets]
        return self.reader.read(ids, spaced=spaced)

    def embed(self, ids: Sequence[int], n_source: int = 0) -> Float[Tensor, "position d_model"]:
        """The vectors that enter the model as `inputs_embeds`. Position embeddings are not among them."""
        given = torch.tensor(ids, device=self.device)
        parts = self._embeddings
        sides = (given,) if len(parts) == 1 else (given[:n_source], given[n_source:])
        embedded = [
            embedding(some) if scale == 1 else embedding(some) * scale
            for (embedding, scale), some in zip(parts, sides, strict=True)
        ]
        return torch.cat(embedded).detach()

    @property
    def _embeddings(self) -> tuple[tuple[torch.nn.Module, float], ...]:
        """Each embedding with its scale: the one, or the source's and the target's."""
        anatomy = self.anatomy
        one = (anatomy.embedding, anatomy.embedding_scale)
        return (one,) if anatomy.target_embedding is None else (one, (anatomy.target_embedding, anatomy.target_scale))

    def mean_embedding(self, n_positions: int, n_source: int = 0) -> Float[Tensor, "position d_model"]:
        """Mean over the whole vocabulary of what the embedding layer gives, at every position."""
        first, *others = self._means
        return torch.cat([first.expand(n_source, -1), (others or [first])[0].expand(n_positions - n_source, -1)])

    @cached_property
    def _means(self) -> tuple[Float[Tensor, " d_model"], ...]:
        ids = torch.arange(self.facts.vocab, device=self.device)
        means = []
        with torch.no_grad():
            for embedding, scale in self._embeddings:
                total = sum(embedding(some).double().sum(0) for some in ids.split(4096))
                means.append(torch.as_tensor(total) / self.facts.vocab * scale)
        return tuple(means)

    def down_projections(self, side: str = "target") -> tuple[torch.nn.Module, ...]:
        """Each block's MLP down projection, found when first asked for; `source` are the encoder's of a seq2seq model.
        Raises InputError for a model without."""
        if side not in self._down_projections:
            blocks = self.anatomy.source_blocks if side == "source" else self.anatomy.blocks
            found = find_down_projections(blocks, self.run_probe, self.facts.id)
            self._down_projections[side] = found
        return self._down_projections[side]

    def run_probe(self) -> Any:
        """One forward over a short text, for what hooks see on the way."""
        return self.run(self._probe, n_source=self._n_probe_source)

    def run(self, ids: Int[Tensor, "batch position"], rows: Tensor | None = None, *, n_source: int = 0) -> Any:
        """One forward of the model itself: its logits at `rows` (None: at the last), or an encoder's output."""
        if self.facts.kind == "encoder":
            return self.module(input_ids=ids)
        if rows is None:
            rows = torch.tensor([ids.shape[1] - n_source - 1], device=self.device)
        sides = {"input_ids": ids}
        if n_source:
            sides = {"input_ids": ids[:, :n_source], "decoder_input_ids": ids[:, n_source:]}
        return run_at(self.module, self.anatomy, rows, **sides).logits

    @torch.no_grad()
    def next_logits(
        self, ids: Sequence[int], n_source: int = 0, state: Any = None
    ) -> tuple[Float[Tensor, " vocab"], Any]:
        """Logits of a causal or seq2seq model after `ids`, float32; with the state of an earlier call only the ids since
        then are computed."""
        n_seen, cache, source = state or (n_source, None, None)
        fresh = torch.tensor([list(ids[n_seen:])], device=self.device)
        sides: dict[str, Any] = {"input_ids": fresh}
        if n_source:
            if source is None:
                source = self.module.get_encoder()(input_ids=torch.tensor([list(ids[:n_source])], device=self.device))
            sides = {"encoder_outputs": source, "decoder_input_ids": fresh}
        if cache is not None:
            sides["past_key_values"] = cache
        last = torch.tensor([fresh.shape[1] - 1], device=self.device)
        out = run_at(self.module, self.anatomy, last, **sides, use_cache=True)
        cache = out.get("past_key_values")
        return out.logits[0, -1].float(), None if cache is None else (len(ids), cache, source)

    def logits_at(
        self, embedded: Float[Tensor, "batch position d_model"], rows: Tensor, n_source: int = 0
    ) -> Float[Tensor, "batch row vocab"]:
        """Logits at `rows` only: the head is run for no other."""
        if n_source == 0:
            inputs = {"inputs_embeds": embedded}
        else:
            inputs = {"inputs_embeds": embedded[:, :n_source], "decoder_inputs_embeds": embedded[:, n_source:]}
        logits: Tensor = run_at(self.module, self.anatomy, rows, **inputs).logits
        return logits

    def pooled(self, embedded: Float[Tensor, "batch position d_model"]) -> Float[Tensor, "batch d_model"]:
        """An encoder's vector of a text: the mean of its last hidden states over all tokens (Reimers & Gurevych 2019)."""
        return torch.as_tensor(self.module(inputs_embeds=embedded).last_hidden_state.mean(1))


def _opening(generation: Any, config: Any) -> tuple[int, ...]:
    """The token that a decoder starts from, and the one it is made to write first, if any (BART)."""
    of = {name: getattr(generation, name, None) for name in ("decoder_start_token_id", "forced_bos_token_id")}
    start = of["decoder_start_token_id"]
    if start is None:
        start = getattr(config, "decoder_start_token_id", None)
    ids = (0 if start is None else start, of["forced_bos_token_id"])
    return tuple(int(id) for id in ids if id is not None)


def _max_positions(module: Any, config: Any, tokenizer: Any) -> int:
    """How many tokens the model reads: what its configuration and its tokenizer say, less the rows that a padded table of
    positions keeps for itself (RoBERTa)."""
    n = int(getattr(config, "max_position_embeddings", None) or 2**31)
    for part in module.modules():
        if isinstance(part, torch.nn.Embedding) and part.num_embeddings == n and part.padding_idx is not None:
            n -= part.padding_idx + 1
            break
    return int(min(n, tokenizer.model_max_length))


def check_text(text: str, name: str) -> None:
    """Refuse, before any tokenizer sees it, what none can read. Raises InputError."""
    if not text:
        raise InputError("empty_text") if name == "text" else InputError("empty_setting", name=name)
    if len(text) > LIMITS.characters:
        raise InputError("text_too_long", name=name, n=f"{len(text):,}", limit=f"{LIMITS.characters:,}")
    for position, character in enumerate(text):
        if 0xD800 <= ord(character) <= 0xDFFF:
            raise InputError("lone_surrogate", name=name, code=f"{ord(character):04X}", position=position)


def pick_device(device: str) -> str:
    """`auto` → cuda where there is one. Raises InputError for cuda where there is none."""
    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cuda" and not torch.cuda.is_available():
        raise InputError("no_cuda")
    return device


def load_model(
    folder: Path,
    id: str,
    *,
    kind: str = "causal",
    device: str = "auto",
    gguf_file: str | None = None,
    placement: Placement | None = None,
    offload_folder: Path | None = None,
    alone: threading.Lock | None = None,
) -> LanguageModel:
    """A language model from a folder, with no network, no remote code and no pickles; in float32 unless `placement`
    says otherwise, which then says the device too.

    A GGUF file is dequantised once into a cache of safetensors (0.4 s to load instead of 13 s). `alone` is held while a
    model in another precision than float32 is built: transformers sets that for the whole process, runs included.
    Raises InputError, by name, for missing or non-finite weights, a broken file, or an anatomy that does not prove out.
    """
    placement = placement or Placement(pick_device(device), "float32", 0, 0)
    with _BUILDING, alone if alone is not None and placement.precision != "float32" else nullcontext():
        try:
            if gguf_file is not None:
                folder = _converted(folder, gguf_file, id)
            module, info = FAMILIES[kind].from_pretrained(
                folder,
                config=_config(folder, id),
                local_files_only=True,
                trust_remote_code=False,
                use_safetensors=True,
                output_loading_info=True,
                **_held(placement, offload_folder),
            )
            tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        except BROKEN as error:
            if isinstance(error, InputError) or is_out_of_memory(error):
                raise
            raise InputError("model_broken", model=id, reason=_reason(error)) from error
    missing = sorted(info["missing_keys"]) + sorted(str(key[0]) for key in info["mismatched_keys"])
    if missing:
        raise InputError("model_missing_weights", model=id, n=len(missing), example=missing[0])
    for name, weight in each_weight(module):
        if not bool(torch.isfinite(weight).all()):
            raise InputError("model_not_finite", model=id, example=name)
    n_ids, n_rows = len(tokenizer), int(module.get_input_embeddings().weight.shape[0])
    if not tokenizer(PROBE).input_ids or max(tokenizer.get_vocab().values()) >= n_rows:
        reason = f"its tokenizer has {n_ids:,} tokens, its embedding {n_rows:,}"
        raise InputError("model_broken", model=id, reason=reason)
    if placement.precision in ("float32", "half") and not placement.spread:
        module = module.to(placement.device)
    revision = folder.name if folder.parent.name == "snapshots" else None
    model = LanguageModel(module, tokenizer, id, kind=kind, revision=revision)
    if placement.precision == "float32":
        return model
    widen_tail(module, model.anatomy.blocks[-1], model.run_probe)
    return LanguageModel(module, tokenizer, id, kind=kind, revision=revision)  # proved again, as it is now


def count_parameters(folder: Path, id: str, kind: str) -> int:
    """How many parameters a folder's configuration describes, found without allocating one. Raises InputError."""
    config = _config(folder, id)
    try:
        with _BUILDING, torch.device("meta"):
            module = FAMILIES[kind].from_config(config, dtype=torch.float32, trust_remote_code=False)
        return sum(weight.numel() for weight in (*module.parameters(), *module.buffers()))
    except BROKEN as error:
        raise InputError("model_broken", model=id, reason=_reason(error)) from error


def _config(folder: Path, id: str) -> Any:
    """The configuration, once it asks for nothing that it must not. Raises InputError."""
    raw = read_config(folder, id)
    check_config(raw, id)
    check_type(raw, id, KNOWN_TYPES)
    try:
        config = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        config._attn_implementation = None  # transformers' own choice: a named one may be fetched as a kernel
        config._experts_implementation = None
    except BROKEN as error:
        raise InputError("model_broken", model=id, reason=_reason(error)) from error
    return config


def _held(placement: Placement, offload_folder: Path | None) -> dict[str, Any]:
    """What `from_pretrained` is told of precision and place."""
    half = torch.bfloat16 if placement.device == "cpu" or torch.cuda.is_bf16_supported() else torch.float16
    if placement.precision in ("8bit", "4bit"):
        logging.getLogger("bitsandbytes").setLevel(logging.ERROR)  # it says at every product that it rounds
        is_8bit = placement.precision == "8bit"
        quantization = BitsAndBytesConfig(
            load_in_8bit=is_8bit, load_in_4bit=not is_8bit, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=half
        )
        where: Any = 0 if placement.device != "cpu" else "cpu"
        return {"dtype": half, "quantization_config": quantization, "device_map": {"": where}}
    held: dict[str, Any] = {"dtype": torch.float32 if placement.precision == "float32" else half}
    if not placement.spread:
        return held
    room: dict[int | str, int] = {"cpu": int(free_memory() * 0.8)}  # the rest of it is for the work
    if placement.device != "cpu":
        room |= {i: int(free * 0.8) for i, free in enumerate(free_of_each_gpu())}
    return held | {"device_map": "auto", "max_memory": room, "offload_folder": offload_folder}


def _converted(folder: Path, gguf_file: str, id: str) -> Path:
    """A folder with the same model as safetensors, made on first use. A broken one is made anew.

    Raises InputError where the copy cannot be written, as on a full disk.
    """
    target = converted_folder(folder, gguf_file)
    if is_whole(target):
        return target
    n_bytes = 4 * read_gguf_header(folder / gguf_file, id).n_parameters
    if n_bytes > free_disk(target):
        reason = os.strerror(errno.ENOSPC)
        raise InputError("conversion_failed", model=id, megabytes=n_bytes // 10**6, reason=reason)
    shutil.rmtree(target, ignore_errors=True)
    module = AutoModelForCausalLM.from_pretrained(
        folder, gguf_file=gguf_file, dtype=torch.float32, local_files_only=True, trust_remote_code=False
    )
    tokenizer = AutoTokenizer.from_pretrained(
        folder, gguf_file=gguf_file, local_files_only=True, trust_remote_code=False
    )
    try:
        write_copy(module, tokenizer, target)
    except (OSError, SafetensorError) as error:
        reason = os.strerror(errno.ENOSPC) if "os error 28" in str(error) else _reason(error)
        raise InputError("conversion_failed", model=id, megabytes=n_bytes // 10**6, reason=reason) from error
    return target


def _reason(error: Exception) -> str:
    """The first line of an error, without paths."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    line = (str(error).strip().splitlines() or [type(error).__name__])[0]
    return " ".join("…" if "/" in word or "\\" in word else word for word in line.split())[:200]
