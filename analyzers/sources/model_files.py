"""What a model's files say of it before a weight is read, and what they may not say. Neither torch nor transformers."""

from __future__ import annotations

import importlib.util
import json
import math
import re
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any, TypeAlias

from analyzers.common.errors import InputError
from analyzers.common.kinds import Kind
from analyzers.sources.catalog import BYTE_LEVEL, TOKENIZERS
from analyzers.sources.gguf_header import MOST_TENSORS, read_gguf_header

Json: TypeAlias = Mapping[str, Any]
"""An object of JSON."""
LARGEST_CONFIG = 8 * 2**20
LARGEST_HEADER = 100 * 10**6
"""Bytes; safetensors itself takes no longer header."""
MOST: tuple[tuple[str, int], ...] = (
    (r"layers?$|_layer$|blocks?$|depth|groups$", 2_000),
    (r"heads?$|experts$", 100_000),
    (r"^vocab_size$|_vocab_size$", 20_000_000),
    (r"(hidden|intermediate|embed\w*|model|ffn\w*|inner|head|state|expert)_(size|dim)$|embd|d_model|d_ff|dim$", 1_000_000),
)  # fmt: skip
"""What a configuration's numbers may be at most, by name: far above any model, and small enough to build one without
weights. What they come to is checked against the memory after that."""
INDEX = "model.safetensors.index.json"
ADAPTER = "adapter_config.json"
DISCRIMINATORS = ("Electra", "Funnel", "Splinter")
BOTH_WAYS = frozenset({
    "albert", "bert", "big_bird", "camembert", "convbert", "data2vec-text", "deberta", "deberta-v2", "distilbert",
    "electra", "ernie", "esm", "esmc", "eurobert", "flaubert", "fnet", "funnel", "gte", "ibert",
    "jina_embeddings_v3", "layoutlm", "longformer", "luke", "megatron-bert", "mobilebert", "modernbert", "mpnet",
    "mra", "neomme", "nomic_bert", "nystromformer", "perceiver", "rembert", "roberta", "roberta-prelayernorm",
    "roc_bert", "roformer", "squeezebert", "tapas", "ultrabert", "xlm", "xlm-roberta", "xlm-roberta-xl", "xmod",
    "yoso", "bert-generation", "clip_text_model",
})  # fmt: skip
"""Types of models that read both ways, for files that name no architecture."""
HEADS = re.compile(
    r"(cls\.predictions|lm_head|vocab_(transform|projector)|generator_(lm_head|predictions)|predictions|pred_layer"
    r"|lm_predictions|head)\b"
)
"""Names of weights that only a language-model head of such a model has."""


@dataclass(frozen=True)
class ModelFiles:
    """A model in figures."""

    kind: Kind
    n_numbers: int
    """In the files: buffers, a tied head that was saved and weights of other heads included."""
    n_bytes: int
    """Of the files that loading reads."""
    config: Json | None = None
    """config.json; None for a GGUF file, which has none."""


@dataclass(frozen=True)
class Header:
    """What a safetensors file says of itself."""

    names: tuple[str, ...]
    """Of its weights."""
    n_by_type: Counter[str]
    """How many numbers of each type (`F32`, `BF16`, `I64`)."""


def inspect_folder(folder: Path, id: str) -> ModelFiles:
    """Figures of a model folder, from its configuration and the headers of its weights.

    Raises InputError, by name, for one that cannot be used: no configuration or one that asks for code, kernels or
    absurd sizes; no tokenizer; no weights but pickles; weights cut short.
    """
    config = read_config(folder, id)
    check_config(config, id)
    try:
        names = {path.name for path in folder.iterdir()}
    except OSError as error:
        raise InputError("model_broken", model=id, reason=error.strerror or type(error).__name__) from error
    index = None
    if INDEX in names and "model.safetensors" not in names:
        index = _read_json(folder / INDEX, id, LARGEST_HEADER)
    weights = choose_weights(names, index, id)
    check_tokenizer(names, id, config)
    headers = [read_header(folder / name, id) for name in weights]
    n_by_type = sum((header.n_by_type for header in headers), Counter[str]())
    check_types(n_by_type, config, id)
    n_bytes = sum((folder / name).stat().st_size for name in weights)
    kind = kind_of(config, [name for header in headers for name in header.names])
    return ModelFiles(kind, n_by_type.total(), n_bytes, config)


def inspect_gguf(file: Path, id: str) -> ModelFiles:
    """Figures of a GGUF file: one file that holds everything, of a causal model. Raises InputError."""
    return ModelFiles(Kind.CAUSAL, read_gguf_header(file, id).n_parameters, file.stat().st_size)


def read_config(folder: Path, id: str) -> Json:
    """config.json as it stands. Raises InputError."""
    return _read_json(folder / "config.json", id, LARGEST_CONFIG)


def kind_of(config: Json, weights: Collection[str] = ()) -> Kind:
    """From the architecture that the configuration names; where it names none, from the type of model and, for one that
    reads both ways, from whether the `weights` (their names, where known) hold a language-model head."""
    named = config.get("architectures")
    first = named[0] if isinstance(named, list) and named else named
    name = first if isinstance(first, str) else ""
    if name.endswith(("EncoderModel", "TextModel")):
        return Kind.ENCODER
    if config.get("is_encoder_decoder") is True:
        return Kind.SEQ2SEQ
    if name.endswith("ForPreTraining"):  # those of the others tell true tokens from false ones
        return Kind.ENCODER if name.startswith(DISCRIMINATORS) else Kind.MASKED
    if not name:
        if config.get("model_type") not in BOTH_WAYS or config.get("is_decoder") is True:
            return Kind.CAUSAL
        return Kind.MASKED if any(HEADS.match(weight) for weight in weights) else Kind.ENCODER
    if name.endswith("ForMaskedLM") or name in ("XLMWithLMHeadModel", "FlaubertWithLMHeadModel"):
        return Kind.MASKED
    is_causal = name.endswith(
        ("ForCausalLM", "LMHeadModel", "LMHead", "DoubleHeadsModel", "ForConditionalGeneration", "GenerationDecoder")
    )
    return Kind.CAUSAL if is_causal else Kind.ENCODER


def check_config(config: Json, id: str) -> None:
    """Refuse what a configuration must not ask for, in itself or in a part of it. Raises InputError."""
    try:
        for name, value in _every(config):
            if value and (name in ("kernel_config", "use_kernels") or _is_hub_kernel(name, value)):
                raise InputError("model_kernels", model=id, name=name)
            if (isinstance(value, dict) and re.search(r"quant|^compression", name)) or name == "quant_method":
                _check_quantization(value if isinstance(value, dict) else {name: value}, name, id)
            if isinstance(value, (int, float)) and not isinstance(value, bool):
                most = next((most for pattern, most in MOST if re.search(pattern, name)), math.inf)
                if value > most:
                    raise InputError("model_absurd", model=id, name=name, value=_show(value), most=f"{most:,}")
    except RecursionError as error:
        raise InputError("model_broken", model=id, reason="config.json is nested too deeply") from error


def check_type(config: Json, id: str, known: Collection[str]) -> None:
    """Refuse a model that needs code from its own repository: none is ever run. Raises InputError."""
    named = config.get("model_type")
    if not isinstance(named, str) or named not in known:
        shown = named[:40] if isinstance(named, str) and named[:40].isprintable() else "?"
        key = "model_remote_code" if config.get("auto_map") else "model_type_unknown"
        raise InputError(key, model=id, type=shown)


def check_tokenizer(names: Collection[str], id: str, config: Json) -> None:
    """Raises InputError where no file among `names` holds a tokenizer, and the configuration names none that needs none."""
    if not any(name in names for name in TOKENIZERS) and config.get("tokenizer_class") not in BYTE_LEVEL:
        raise InputError("model_no_tokenizer", model=id)


def choose_weights(names: Collection[str], index: Json | None, id: str) -> tuple[str, ...]:
    """The files among `names` that hold the weights as safetensors; `index` is what lists several of them.

    Raises InputError where there are none, one that is listed is missing, or they are an adapter's.
    """
    if ADAPTER in names:  # ignored, or, where peft is installed, read with the model that it names
        raise InputError("model_adapter", model=id, file=ADAPTER)
    if "model.safetensors" in names:
        return ("model.safetensors",)
    if index is not None:
        listed = index.get("weight_map")
        files = {str(name) for name in listed.values()} if isinstance(listed, dict) and listed else {""}
        # A listed name must be the name of a file that is there: it cannot lead anywhere else.
        absent = files.difference(names)
        if absent:
            raise InputError(
                "model_broken", model=id, reason=f"{len(absent)} of its {len(files)} weight files are missing"
            )
        return tuple(sorted(files))
    if any(name.endswith((".bin", ".pt", ".pth", ".ckpt", ".pkl", ".h5", ".msgpack")) for name in names):
        raise InputError("model_pickles_only", model=id)
    raise InputError("model_no_weights", model=id)


def check_types(n_by_type: Mapping[str, int], config: Json, id: str) -> None:
    """Refuse weights that another tool made integers or bytes of, whatever the configuration says of it. Raises
    InputError."""
    odd = [name for name in n_by_type if re.match(r"I8|I16|I32|U16|U32|F8|F6|F4", name)]
    of_bitsandbytes = isinstance(config.get("quantization_config"), dict)  # any other one was refused before
    if not of_bitsandbytes and sum(n_by_type[name] for name in odd) > 0.01 * sum(n_by_type.values()):
        raise InputError("model_quantized", model=id, method=max(odd, key=lambda name: n_by_type[name]))


def read_header(file: Path, id: str) -> Header:
    """What a safetensors file says of itself. Raises InputError for a file that is cut short or is none."""
    from safetensors import SafetensorError, safe_open  # a library that the first page need not wait for

    try:
        n_by_type = Counter[str]()
        with safe_open(file, "np") as opened:  # reads the header alone, and holds it against the file's size
            names = tuple(opened.keys())
            if len(names) > MOST_TENSORS:
                raise InputError("model_broken", model=id, reason=f"{file.name} lists {len(names):,} tensors")
            for tensor in map(opened.get_slice, names):
                n_by_type[tensor.get_dtype()] += math.prod(tensor.get_shape())
    except (OSError, SafetensorError) as error:
        if re.search("header too (small|large)|invalid header length|not fully covered", str(error)):
            n_bytes = f"{file.stat().st_size:,}"
            raise InputError("model_cut_short", model=id, file=file.name, n=n_bytes) from error
        raise InputError("model_broken", model=id, reason=f"{file.name} is not a safetensors file") from error
    return Header(names, n_by_type)


def _read_json(file: Path, id: str, largest: int) -> Json:
    try:
        if file.stat().st_size > largest:
            raise InputError("model_broken", model=id, reason=f"{file.name} is larger than {largest:,} bytes")
        found = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        if isinstance(error, InputError):
            raise
        reason = error.strerror if isinstance(error, OSError) else "it is not JSON"
        raise InputError("model_broken", model=id, reason=f"{file.name}: {reason}") from error
    return as_mapping(found, file.name, id)


def as_mapping(found: object, name: str, id: str) -> Json:
    """Raises InputError where JSON is no object."""
    if not isinstance(found, dict):
        raise InputError("model_broken", model=id, reason=f"{name} holds no object")
    return found


def _every(config: Json) -> Iterator[tuple[str, object]]:
    """Names and values, those of parts included."""
    for name, value in config.items():
        yield str(name), value
        parts = value if isinstance(value, list) else [value]
        for part in parts:
            if isinstance(part, dict) and name not in ("id2label", "label2id", "auto_map"):
                yield from _every(part)
            elif isinstance(value, list) and isinstance(part, (int, float)):
                yield str(name), part


def _show(number: int | float) -> str:
    shown = f"{number:,}"
    return shown if len(shown) <= 24 else f"{Decimal(number):.1E}"


def numbers_in(config: Json) -> Iterator[tuple[str, int | float]]:
    """Its numbers by name, those of parts included."""
    for name, value in _every(config):
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            yield name, value


def _is_hub_kernel(name: str, value: object) -> bool:
    """An attention or experts implementation that names a repository: its code would be downloaded and run."""
    if "implementation" not in name:
        return False
    named = value.values() if isinstance(value, dict) else [value]
    return any(isinstance(v, str) and "/" in v for v in named)


def _check_quantization(quantization: Json, name: str, id: str) -> None:
    """Only bitsandbytes needs nothing but itself: others bring kernels along, or cannot be differentiated."""
    method = str(quantization.get("quant_method") or name)[:40]
    if method != "bitsandbytes" or importlib.util.find_spec("bitsandbytes") is None:
        raise InputError("model_quantized", model=id, method=method if method.isprintable() else "?")
