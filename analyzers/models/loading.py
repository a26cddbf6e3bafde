"""A model's files become a `LanguageModel`: no network, no remote code, no pickles, and nothing taken on trust."""

from __future__ import annotations

import errno
import json
import logging
import os
import re
import shutil
import tempfile
import threading
from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import torch
from huggingface_hub.errors import StrictDataclassError
from safetensors import SafetensorError
from safetensors.torch import save_file
from transformers import (
    CONFIG_MAPPING,
    MODEL_FOR_CAUSAL_LM_MAPPING,
    MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING,
    MODEL_FOR_MASKED_LM_MAPPING,
    MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING,
    MODEL_MAPPING,
    AutoConfig,
    AutoModel,
    AutoModelForCausalLM,
    AutoModelForImageTextToText,
    AutoModelForMaskedLM,
    AutoModelForSeq2SeqLM,
    AutoTokenizer,
    BitsAndBytesConfig,
)
from transformers.modeling_gguf_pytorch_utils import load_gguf_checkpoint
from transformers.utils import logging as transformers_logging

from analyzers.common.errors import InputError, reason_of
from analyzers.common.kinds import Kind
from analyzers.common.memory import free_disk, free_memory, free_of_each_gpu, is_out_of_memory
from analyzers.models.gguf_splits import SPLITS, set_space, set_split
from analyzers.models.language_model import PROBE, LanguageModel, pick_device
from analyzers.models.library import Kwargs, Module, Tokenizer
from analyzers.models.placement import Placement
from analyzers.models.tokenizing import load_tokenizer
from analyzers.models.weights import iterate_weights, upcast_tail_to_float32
from analyzers.sources.gguf_cache import find_converted_folder, forget_old, is_complete, is_undamaged, note_whole
from analyzers.sources.gguf_header import read_gguf_header
from analyzers.sources.model_files import Json, ModelFiles, check_config, check_type, read_config
from analyzers.sources.source import Source

transformers_logging.set_verbosity_error()
transformers_logging.disable_progress_bar()

BROKEN = (
    OSError, ValueError, LookupError, RuntimeError, TypeError, AttributeError, ImportError, ArithmeticError,
    AssertionError, SafetensorError, StrictDataclassError,
)  # fmt: skip
"""What the libraries raise for files that are no model; the last two descend from Exception alone."""

SPARE_TIMES, SPARE = 4, 10_000_000
"""How many more weights a configuration may describe than its files hold numbers: two to a byte in 4 bits, a head that was
not saved."""

KNOWN_TYPES = frozenset(CONFIG_MAPPING.keys())
"""Of models that transformers has the code for."""

_BUILDING = threading.Lock()
"""transformers changes settings of the whole process while it builds a model: one at a time."""

READERS: dict[Kind, tuple[tuple[Module, Mapping[type, object]], ...]] = {
    Kind.CAUSAL: (
        (AutoModelForCausalLM, MODEL_FOR_CAUSAL_LM_MAPPING),
        (AutoModelForImageTextToText, MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING),
    ),
    Kind.MASKED: ((AutoModelForMaskedLM, MODEL_FOR_MASKED_LM_MAPPING),),
    Kind.SEQ2SEQ: ((AutoModelForSeq2SeqLM, MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING),),
    Kind.ENCODER: ((AutoModel, MODEL_MAPPING),),
}
"""Kind → what loads it, and which models that knows. Of a model that sees pictures too, the text part is run."""


def find_reader(model_type: str, kind: Kind, id: str) -> Module:
    """What loads a model of this type and kind. Raises InputError for a type that reads no text of that kind."""
    config = CONFIG_MAPPING[model_type]
    for reader, known in READERS[kind]:
        # A base model is known of every type, those of pictures and sound too.
        if config in known and (kind.predicts or hasattr(config().get_text_config(), "vocab_size")):
            return reader
    raise InputError("model_not_of_text", model=id, type=model_type)


def load_model(
    folder: Path,
    id: str,
    *,
    kind: str = Kind.CAUSAL,
    device: str = "auto",
    gguf_file: str | None = None,
    placement: Placement | None = None,
    offload_folder: Path | None = None,
    alone: AbstractContextManager[object] | None = None,
) -> LanguageModel:
    """A language model from a folder, with no network, no remote code and no pickles; in float32 unless `placement`
    says otherwise, which then says the device too.

    A GGUF file is dequantised once into a cache of safetensors (0.4 s to load instead of 13 s). `alone` is held while a
    model in another precision than float32 is built: transformers sets that for the whole process, runs included.
    Raises InputError, by name, for missing or non-finite weights, a broken file, or an anatomy that does not prove out.
    """
    kind = Kind(kind)
    placement = placement or Placement(pick_device(device), "float32", 0, 0)
    with _BUILDING, alone if alone is not None and placement.precision != "float32" else nullcontext():
        try:
            if gguf_file is not None:
                folder = _convert_once(folder, gguf_file, id)
            config = _config(folder, id)
            module, info = find_reader(config.model_type, kind, id).from_pretrained(
                folder,
                config=config,
                local_files_only=True,
                trust_remote_code=False,
                use_safetensors=True,
                output_loading_info=True,
                ignore_mismatched_sizes=True,  # told below, by name
                **_loading_options(placement, offload_folder),
            )
            tokenizer = load_tokenizer(folder, id)
        except BROKEN as error:
            if isinstance(error, InputError) or is_out_of_memory(error):
                raise
            raise _unusable(error, id) from error
    missing = sorted(info["missing_keys"]) + sorted(str(key[0]) for key in info["mismatched_keys"])
    if missing and not (not kind.predicts and _are_unread(module, missing, tokenizer)):
        raise InputError("model_missing_weights", model=id, n=len(missing), example=missing[0])
    _check_layers(module, info["unexpected_keys"], id)
    for name, weight in iterate_weights(module):
        # The least and the greatest show NaN and infinity too, ten times as fast as a look at each number.
        if weight.numel() and not bool(torch.isfinite(torch.stack(torch.aminmax(weight))).all()):
            raise InputError("model_not_finite", model=id, example=name)
    n_rows = int(module.get_input_embeddings().weight.shape[0])
    probe = tokenizer(PROBE).input_ids
    if not probe or max(probe) >= n_rows:
        raise InputError("tokenizer_of_another", model=id, n=f"{len(tokenizer):,}", rows=f"{n_rows:,}")
    if placement.precision in ("float32", "half") and not placement.spread:
        module = module.to(placement.device)
    revision = folder.name if folder.parent.name == "snapshots" else None
    model = LanguageModel(module, tokenizer, id, kind=kind, revision=revision)
    if placement.precision == "float32":
        return model
    upcast_tail_to_float32(module, model.anatomy.blocks[-1], model.run_probe)
    return LanguageModel(module, tokenizer, id, kind=kind, revision=revision)  # proved again, as it is now


def _check_layers(module: Module, unexpected: Iterable[str], id: str) -> None:
    """Refuse files that hold weights of more blocks than the configuration describes: the model would lack its last ones,
    and say so nowhere. Raises InputError."""
    lists = {name: len(part) for name, part in module.named_modules() if isinstance(part, torch.nn.ModuleList)}
    beyond: dict[int, tuple[str, int]] = {}
    for key in sorted(unexpected):
        found = re.match(r"(?:.*\.)?(\w+)\.(\d{1,9})\.", key)
        n = next((n for name, n in lists.items() if found and f".{name}".endswith(f".{found[1]}")), None)
        if found and n is not None and int(found[2]) >= n:
            beyond[int(found[2])] = (key[:80], n)
    if beyond:
        example, n = beyond[max(beyond)]
        raise InputError("model_more_layers", model=id, held=max(beyond) + 1, example=example, described=n)


def _unusable(error: Exception, id: str) -> InputError:
    """What a library stumbled over, in our words: its own are told where they are meant for a reader."""
    if isinstance(error, (OSError, SafetensorError)):
        return InputError("model_broken", model=id, reason=reason_of(error))
    is_meant = isinstance(error, (ValueError, StrictDataclassError, ImportError))
    return InputError("model_unfit", model=id, reason=reason_of(error) if is_meant else type(error).__name__)


def check_kind(source: Source, files: ModelFiles) -> Kind:
    """The kind that is said of a model, else that of its files. Raises InputError for a type of model that needs code of
    its own, and for one that is none of text."""
    kind = source.kind or files.kind
    if files.config is not None:
        check_type(files.config, source.id, KNOWN_TYPES)
        find_reader(files.config["model_type"], kind, source.id)
    return kind


def count_model_parameters(source: Source, files: ModelFiles) -> int:
    """How many weights the model has: what its configuration describes, a tied head once and no buffer, whatever the files
    hold. Raises InputError."""
    if files.config is None:  # a GGUF file, which says it itself
        return files.n_numbers
    n = count_parameters(files.config, source.id, check_kind(source, files))
    check_held(n, files, source.id)
    return n


def check_held(n: int, files: ModelFiles, id: str) -> None:
    """Refuse a model of `n` weights whose files cannot hold them, before memory is taken for what could only be missing.
    Raises InputError."""
    if n > SPARE_TIMES * files.n_numbers + SPARE:
        raise InputError("model_not_in_files", model=id, n=f"{n:,}", held=f"{files.n_numbers:,}")


@torch.no_grad()
def _are_unread(module: Module, names: list[str], tokenizer: Tokenizer) -> bool:
    """Whether no weight of these names moves an encoder's last hidden states: a pooler that was not saved. They are zero
    afterwards."""
    held = module.state_dict()
    if any(name not in held or not held[name].is_floating_point() for name in names):
        return False
    ids = tokenizer(PROBE, return_tensors="pt").input_ids.to(module.device)
    for name in names:
        held[name].fill_(float("nan"))
    is_whole = bool(torch.isfinite(module(input_ids=ids).last_hidden_state).all())
    for name in names:
        held[name].zero_()
    return is_whole


def count_parameters(raw: Json, id: str, kind: Kind) -> int:
    """How many weights a configuration describes, a tied head once, found without allocating one. Raises InputError."""
    check_config(raw, id)
    check_type(raw, id, KNOWN_TYPES)
    find_reader(raw["model_type"], kind, id)
    try:
        config = CONFIG_MAPPING[raw["model_type"]].from_dict(dict(raw))
        config._attn_implementation = config._experts_implementation = None
        known = next(known for _, known in READERS[kind] if type(config) in known)[type(config)]
        classes = known if isinstance(known, tuple) else (known,)
        named = [c for c in classes if c.__name__ in (config.architectures or ())]
        with torch.device("meta"):  # the class itself: `from_config` would change a setting of the whole process
            module = (named or classes)[0](config)
        return sum(weight.numel() for weight in module.parameters())
    except BROKEN as error:
        raise _unusable(error, id) from error


def describe_gguf(file: Path) -> Json:
    """The configuration that transformers makes of a GGUF file's header."""
    described: Json = load_gguf_checkpoint(str(file), return_tensors=False)["config"]
    return {**described, "architectures": None}


def _config(folder: Path, id: str) -> Module:
    """The configuration, once it asks for nothing that it must not. Raises InputError."""
    raw = read_config(folder, id)
    check_config(raw, id)
    check_type(raw, id, KNOWN_TYPES)
    try:
        config = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        config._attn_implementation = None  # transformers' own choice: a named one may be fetched as a kernel
        config._experts_implementation = None
    except BROKEN as error:
        raise _unusable(error, id) from error
    return config


def _loading_options(placement: Placement, offload_folder: Path | None) -> Kwargs:
    """What `from_pretrained` is told of precision and place."""
    half = torch.bfloat16 if placement.device == "cpu" or torch.cuda.is_bf16_supported() else torch.float16
    if placement.precision in ("8bit", "4bit"):
        logging.getLogger("bitsandbytes").setLevel(logging.ERROR)  # it says at every product that it rounds
        is_8bit = placement.precision == "8bit"
        quantization = BitsAndBytesConfig(
            load_in_8bit=is_8bit, load_in_4bit=not is_8bit, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=half
        )
        where: int | str = 0 if placement.device != "cpu" else "cpu"
        return {"dtype": half, "quantization_config": quantization, "device_map": {"": where}}
    held: Kwargs = {"dtype": torch.float32 if placement.precision == "float32" else half}
    if not placement.spread:
        return held
    room: dict[int | str, int] = {"cpu": int(free_memory() * 0.8)}  # the rest of it is for the work
    if placement.device != "cpu":
        room |= {i: int(free * 0.8) for i, free in enumerate(free_of_each_gpu())}
    return held | {"device_map": "auto", "max_memory": room, "offload_folder": offload_folder}


def _convert_once(folder: Path, gguf_file: str, id: str) -> Path:
    """A folder with the same model as safetensors, made on first use. A broken one is made anew.

    Raises InputError where the copy cannot be written, as on a full disk.
    """
    target = find_converted_folder(folder, gguf_file)
    if is_undamaged(target):
        return target
    header = read_gguf_header(folder / gguf_file, id)
    n_bytes = 4 * header.n_parameters
    if header.tokenizer not in ("gpt2", "llama"):
        raise InputError("gguf_tokenizer", model=id, name=header.tokenizer)
    if header.tokenizer == "gpt2" and header.split not in SPLITS:
        raise InputError("gguf_split", model=id, name=header.split or "—")
    if n_bytes > free_disk(target):
        reason = os.strerror(errno.ENOSPC)
        raise InputError("conversion_failed", model=id, megabytes=n_bytes // 10**6, reason=reason)
    shutil.rmtree(target, ignore_errors=True)
    module, info = AutoModelForCausalLM.from_pretrained(
        folder,
        gguf_file=gguf_file,
        dtype=torch.float32,
        local_files_only=True,
        trust_remote_code=False,
        output_loading_info=True,
    )
    if missing := sorted(info["missing_keys"]):
        raise InputError("model_missing_weights", model=id, n=len(missing), example=missing[0])
    tokenizer = AutoTokenizer.from_pretrained(
        folder, gguf_file=gguf_file, local_files_only=True, trust_remote_code=False
    )
    if header.tokenizer == "gpt2":
        set_split(tokenizer.backend_tokenizer, header.split)
    else:
        set_space(tokenizer.backend_tokenizer, header.puts_space)
    try:
        write_copy(module, tokenizer, target)
    except (OSError, SafetensorError) as error:
        reason = os.strerror(errno.ENOSPC) if "os error 28" in str(error) else reason_of(error)
        raise InputError("conversion_failed", model=id, megabytes=n_bytes // 10**6, reason=reason) from error
    forget_old(folder, gguf_file)
    return target


def write_copy(module: Module, tokenizer: Tokenizer, target: Path) -> None:
    """A module and its tokenizer as a folder, all of it or nothing: it is written under another name first."""
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
        note_whole(fresh)
        try:
            fresh.rename(target)
        except OSError:  # another process was quicker
            if not is_complete(target):
                raise
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
