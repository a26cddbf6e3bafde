"""One loaded language model: load, encode, run. With anatomy, the only file that knows transformers."""

from __future__ import annotations

import errno
import json
import os
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from huggingface_hub.errors import StrictDataclassError
from jaxtyping import Float, Int
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor
from transformers import AutoConfig, AutoModel, AutoModelForCausalLM, AutoTokenizer
from transformers.utils import logging as transformers_logging

from analyzers.anatomy import Anatomy, dissect
from analyzers.converted import converted_folder, is_whole
from analyzers.errors import InputError
from analyzers.limits import LIMITS
from analyzers.neurons import find_down_projections
from analyzers.tokens import Token, TokenReader

transformers_logging.set_verbosity_error()
transformers_logging.disable_progress_bar()

BROKEN = (
    OSError, ValueError, KeyError, RuntimeError, TypeError, AttributeError, ImportError,
    SafetensorError, StrictDataclassError,
)  # fmt: skip
"""What the libraries raise for files that are no model; the last two descend from Exception alone."""

PROBE = "The cat sat on the mat because it was tired."


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

    Of the kinds, `causal` models predict the next token; an `encoder` has no head and predicts none.

    Not safe for two threads at once: hooks sit on the one shared module. `store.ModelStore.job` owns the lock.
    """

    def __init__(self, module: Any, tokenizer: Any, id: str, *, kind: str = "causal", revision: str | None = None):
        self.module = module.eval().requires_grad_(False)
        self.tokenizer = tokenizer
        self.reader = TokenReader(tokenizer)
        self._probe = tokenizer(PROBE, return_tensors="pt").input_ids[:, :16].to(module.device)
        self.anatomy: Anatomy = dissect(module, self._probe, id, has_head=kind == "causal")
        config = module.config.get_text_config()
        self.max_positions = int(getattr(config, "max_position_embeddings", None) or 2**31)
        generation = getattr(module, "generation_config", None)
        end = generation.eos_token_id if generation is not None else tokenizer.eos_token_id
        self.end_ids = frozenset(end if isinstance(end, list) else [] if end is None else [end])
        candidates = (tokenizer.pad_token_id, tokenizer.eos_token_id, tokenizer.unk_token_id, tokenizer.bos_token_id)
        self.baseline_id: int = next((id for id in candidates if id is not None), 0)
        """The token that stands for absence: padding, else end of text."""
        self.facts = ModelFacts(
            id=id,
            revision=revision,
            kind=kind,
            dtype=str(module.dtype).removeprefix("torch."),
            n_layers=len(self.anatomy.blocks),
            d_model=int(config.hidden_size),
            vocab=int(config.vocab_size),
            device=str(module.device.type),
            self_check=self.anatomy.max_difference,
        )

    @property
    def device(self) -> torch.device:
        return torch.device(self.module.device)

    @property
    def n_bytes(self) -> int:
        """Memory of the weights, counted once where they are tied."""
        return sum(weight.numel() * weight.element_size() for weight in self.module.parameters())

    @property
    def n_block_parameters(self) -> int:
        """Weights one token passes on its way through the blocks; the work of a forward is twice this a token."""
        return sum(weight.numel() for block in self.anatomy.blocks for weight in block.parameters())

    def move(self, device: str) -> None:
        """Put the weights elsewhere, once, before anything runs on them."""
        self.module.to(device)
        self._probe = self._probe.to(device)
        self.facts = replace(self.facts, device=device)

    def encode(self, text: str, *, name: str = "text", opening: bool = True) -> list[int]:
        """Ids of a text; `opening` adds what the tokenizer puts before a text (`<s>`, `[CLS]`).

        Raises InputError for text that is empty, longer than the limit, holds half a character, or makes no token.
        """
        check_text(text, name)
        ids = list(self.tokenizer(text, add_special_tokens=opening).input_ids)
        if not ids:
            raise InputError("no_tokens", model=self.facts.id)
        return ids

    def read(self, text: str, ids: Sequence[int], n_prompt: int) -> tuple[Token, ...]:
        """Tokens of ids whose first `n_prompt` are the text's own. A WordPiece vocabulary does not know white space, so
        there the text itself says where it stands."""
        if not self.reader.is_word_piece or n_prompt != len(ids):
            return self.reader.read(ids)
        offsets = self.tokenizer(text, return_offsets_mapping=True).offset_mapping
        spaced = [start > 0 and text[start - 1].isspace() for start, _ in offsets]
        return self.reader.read(ids, spaced=spaced)

    def embed(self, ids: Sequence[int]) -> Float[Tensor, "position d_model"]:
        """The vectors that enter the model as `inputs_embeds`. Position embeddings are not among them."""
        embedded: Tensor = self.anatomy.embedding(torch.tensor(ids, device=self.device))
        return embedded.detach()

    @cached_property
    def mean_embedding(self) -> Float[Tensor, " d_model"]:
        """Mean over the whole vocabulary of what the embedding layer gives."""
        ids = torch.arange(self.facts.vocab, device=self.device)
        with torch.no_grad():
            total = sum(self.anatomy.embedding(some).double().sum(0) for some in ids.split(4096))
        return torch.as_tensor(total / self.facts.vocab)

    @cached_property
    def down_projections(self) -> tuple[torch.nn.Module, ...]:
        """Each block's MLP down projection, found when first asked for. Raises InputError for a model without."""
        return find_down_projections(self.anatomy.blocks, lambda: self.run(self._probe), self.facts.id)

    def run(self, ids: Int[Tensor, "batch position"]) -> Any:
        """One forward of the model itself, for what hooks see on the way; the head runs at the last position only."""
        if self.facts.kind == "encoder":
            return self.module(input_ids=ids)
        return self.module(input_ids=ids, use_cache=False, logits_to_keep=1)

    @torch.no_grad()
    def next_logits(self, ids: Sequence[int], cache: Any) -> tuple[Float[Tensor, " vocab"], Any]:
        """Logits after `ids`, float32; with the cache of an earlier call only the ids since then are given."""
        out = self.module(
            input_ids=torch.tensor([list(ids)], device=self.device),
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=1,
        )
        return out.logits[0, -1].float(), out.get("past_key_values")

    def logits_at(
        self, embedded: Float[Tensor, "batch position d_model"], rows: Tensor
    ) -> Float[Tensor, "batch row vocab"]:
        """Logits at the positions `rows` only: the head is run for no other."""
        logits: Tensor = self.module(inputs_embeds=embedded, use_cache=False, logits_to_keep=rows).logits
        return logits


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
    folder: Path, id: str, *, kind: str = "causal", device: str = "auto", gguf_file: str | None = None
) -> LanguageModel:
    """A language model of a kind that is served (`causal`, `encoder`) from a folder, with no network, no remote code and no pickles, in float32.

    A GGUF file is dequantised once into a cache of safetensors (0.4 s to load instead of 13 s). Raises InputError, by
    name, for missing or non-finite weights, a broken file, or an anatomy that does not prove out.
    """
    try:
        if gguf_file is not None:
            folder = _converted(folder, gguf_file, id)
        family = AutoModel if kind == "encoder" else AutoModelForCausalLM
        module, info = family.from_pretrained(
            folder,
            dtype=torch.float32,
            local_files_only=True,
            trust_remote_code=False,
            use_safetensors=True,
            output_loading_info=True,
        )
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except BROKEN as error:
        raise InputError("model_broken", model=id, reason=_reason(error)) from error
    missing = sorted(info["missing_keys"]) + sorted(str(key[0]) for key in info["mismatched_keys"])
    if missing:
        raise InputError("model_missing_weights", model=id, n=len(missing), example=missing[0])
    for name, weight in module.named_parameters():
        if not bool(torch.isfinite(weight).all()):
            raise InputError("model_not_finite", model=id, example=name)
    n_ids, n_rows = len(tokenizer), int(module.get_input_embeddings().weight.shape[0])
    if not tokenizer(PROBE).input_ids or max(tokenizer.get_vocab().values()) >= n_rows:
        reason = f"its tokenizer has {n_ids:,} tokens, its embedding {n_rows:,}"
        raise InputError("model_broken", model=id, reason=reason)
    revision = folder.name if folder.parent.name == "snapshots" else None
    return LanguageModel(module.to(pick_device(device)), tokenizer, id, kind=kind, revision=revision)


def kind_of_folder(folder: Path, id: str) -> str:
    """`causal`, `masked`, `seq2seq` or `encoder`, from the architecture that config.json names."""
    try:
        config = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except BROKEN as error:
        raise InputError("model_broken", model=id, reason=_reason(error)) from error
    name = (getattr(config, "architectures", None) or [""])[0]
    if getattr(config, "is_encoder_decoder", False):
        return "seq2seq"
    if name.endswith("ForMaskedLM"):
        return "masked"
    return "causal" if name.endswith(("ForCausalLM", "LMHeadModel")) else "encoder"


def _converted(folder: Path, gguf_file: str, id: str) -> Path:
    """A folder with the same model as safetensors, made on first use. A broken one is made anew.

    Raises InputError where the copy cannot be written, as on a full disk.
    """
    target = converted_folder(folder, gguf_file)
    if is_whole(target):
        return target
    shutil.rmtree(target, ignore_errors=True)
    module = AutoModelForCausalLM.from_pretrained(
        folder, gguf_file=gguf_file, dtype=torch.float32, local_files_only=True, trust_remote_code=False
    )
    tokenizer = AutoTokenizer.from_pretrained(
        folder, gguf_file=gguf_file, local_files_only=True, trust_remote_code=False
    )
    try:
        _write_copy(module, tokenizer, target)
    except (OSError, SafetensorError) as error:
        megabytes = sum(weight.numel() * weight.element_size() for weight in module.parameters()) // 10**6
        reason = os.strerror(errno.ENOSPC) if "os error 28" in str(error) else _reason(error)
        raise InputError("conversion_failed", model=id, megabytes=megabytes, reason=reason) from error
    return target


def _write_copy(module: Any, tokenizer: Any, target: Path) -> None:
    """All of the folder or nothing: it is written under another name first."""
    target.parent.mkdir(parents=True, exist_ok=True)
    fresh = Path(tempfile.mkdtemp(dir=target.parent, prefix=".converting-"))
    try:
        config = module.config.to_dict()
        config.pop("quantization_config", None)
        config["architectures"] = [type(module).__name__]
        (fresh / "config.json").write_text(json.dumps(config, indent=1, default=str))
        module.generation_config.save_pretrained(fresh)
        tokenizer.save_pretrained(fresh)
        tied = set(getattr(module, "all_tied_weights_keys", None) or ())
        weights = {name: weight.contiguous() for name, weight in module.state_dict().items() if name not in tied}
        save_file(weights, fresh / "model.safetensors", metadata={"format": "pt"})
        (fresh / "whole.json").write_text(json.dumps({p.name: p.stat().st_size for p in fresh.iterdir()}))
        try:
            fresh.rename(target)
        except OSError:  # another process was quicker
            if not is_whole(target):
                raise
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


def _reason(error: Exception) -> str:
    """The first line of an error, without paths."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    line = (str(error).strip().splitlines() or [type(error).__name__])[0]
    return " ".join("…" if "/" in word or "\\" in word else word for word in line.split())[:200]
