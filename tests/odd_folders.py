"""Model folders broken, odd, or made to crash, hang or fill the memory of whoever opens them: a name, and what is done to a
good GPT-2; and GGUF files, made of a good Llama."""

from __future__ import annotations

import json
import os
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file, save_file

Change = Callable[[Path], object]


def _json(name: str, change: Callable[[dict[str, Any]], object]) -> Change:
    def do(folder: Path) -> None:
        path = folder / name
        found = json.loads(path.read_text(encoding="utf-8"))
        change(found)
        path.write_text(json.dumps(found), encoding="utf-8")

    return do


def config(**values: object) -> Change:
    return _json("config.json", lambda found: found.update(values))


def tokenizer(**parts: object) -> Change:
    return _json("tokenizer.json", lambda found: found.update(parts))


def replace(pattern: dict[str, str], content: str) -> dict[str, Any]:
    return {"type": "Replace", "pattern": pattern, "content": content}


def sequence(*steps: dict[str, Any]) -> dict[str, Any]:
    return {"type": "Sequence", "normalizers": list(steps)}


def split(pattern: str) -> dict[str, Any]:
    return {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False}


def pipe(name: str) -> Change:
    def do(folder: Path) -> None:
        (folder / name).unlink(missing_ok=True)
        os.mkfifo(folder / name)

    return do


def link(name: str, to: str) -> Change:
    def do(folder: Path) -> None:
        (folder / name).unlink(missing_ok=True)
        (folder / name).symlink_to(to)

    return do


def header(value: object) -> Change:
    """A safetensors file whose header says so."""

    def do(folder: Path) -> None:
        text = json.dumps(value).encode()
        (folder / "model.safetensors").write_bytes(struct.pack("<Q", len(text)) + text)

    return do


def many_words(folder: Path) -> None:
    def change(found: dict[str, Any]) -> None:
        found["model"]["vocab"] = {f"w{i}": i for i in range(3_000_000)}
        found["model"]["merges"] = []

    _json("tokenizer.json", change)(folder)


def write(name: str, content: bytes) -> Change:
    return lambda folder: (folder / name).write_bytes(content)


def cut(name: str, share: float) -> Change:
    def do(folder: Path) -> None:
        whole = (folder / name).read_bytes()
        (folder / name).write_bytes(whole[: int(len(whole) * share)])

    return do


def directory(name: str) -> Change:
    def do(folder: Path) -> None:
        (folder / name).unlink()
        (folder / name).mkdir()

    return do


def without(name: str) -> Change:
    return lambda folder: (folder / name).unlink()


def without_key(name: str, key: str) -> Change:
    return _json(name, lambda found: found.pop(key, None))


def model_part(**parts: object) -> Change:
    """Of the tokenizer's own model: its vocabulary, its merges."""
    return _json("tokenizer.json", lambda found: found["model"].update(parts))


def weights(change: Callable[[dict[str, Any]], object]) -> Change:
    def do(folder: Path) -> None:
        held = dict(load_file(folder / "model.safetensors"))
        change(held)
        save_file(held, folder / "model.safetensors", {"format": "pt"})

    return do


def first_weight(held: dict[str, Any]) -> str:
    return next(name for name in sorted(held) if name.endswith("c_fc.weight"))


def filled(value: float) -> Change:
    return weights(lambda held: held[first_weight(held)].fill(value))


def reshaped(held: dict[str, Any]) -> None:
    name = first_weight(held)
    held[name] = np.ascontiguousarray(held[name][:, :-1])


def of_type(kind: str) -> Change:
    return weights(lambda held: held.update({name: value.astype(kind) for name, value in held.items()}))


DAMAGES: dict[str, Callable[[str], Change]] = {
    "empty": lambda name: write(name, b""),
    "half": lambda name: cut(name, 0.5),
    "no-json": lambda name: write(name, b"<html>404</html>"),
    "null": lambda name: write(name, b"null"),
    "list": lambda name: write(name, b"[1, 2]"),
    "number": lambda name: write(name, b"1e400"),
    "latin-1": lambda name: write(name, '{"a": "é"}'.encode("latin-1")),
    "utf-16": lambda name: write(name, '{"a": 1}'.encode("utf-16")),
    "zeros": lambda name: write(name, bytes(1_000)),
    "deep": lambda name: write(name, b"[" * 200_000 + b"]" * 200_000),
    "repeated": lambda name: write(name, b'{"a":' * 3 + b"1" + b"}" * 3),
    "pipe": pipe,
    "device": lambda name: link(name, "/dev/zero"),
    "link-out": lambda name: link(name, "/etc/hostname"),
    "link-loop": lambda name: link(name, name),
    "directory": directory,
    "absent": without,
}
"""Of any one file."""

VALUES: dict[str, object] = {
    "zero": 0,
    "negative": -3,
    "fraction": 0.5,
    "huge": 10**30,
    "large": 500_000,
    "text": "many",
    "null": None,
    "list": [1, 2],
    "object": {"a": 1},
}
"""Of any one number of a configuration."""
NUMBERS = ("n_embd", "n_layer", "n_head", "vocab_size", "n_positions")

BY_HAND: dict[str, Change] = {
    "replace-bomb": tokenizer(normalizer=sequence(*[replace({"String": "z"}, "z" * 40)] * 8)),
    "replace-bomb-rare-letter": tokenizer(normalizer=sequence(*[replace({"String": "ß"}, "ß" * 40)] * 8)),
    "replace-bomb-regex": tokenizer(normalizer=sequence(*[replace({"Regex": "[a-z]"}, "abcdefgh" * 9)] * 6)),
    "regex-nested": tokenizer(pre_tokenizer=split("(x+x+)+y")),
    "regex-nested-rare-letter": tokenizer(pre_tokenizer=split("(ж+ж+)+щ")),
    "regex-normalizer": tokenizer(normalizer=replace({"Regex": "(a|aa)+$"}, "")),
    "precompiled-bad": tokenizer(normalizer={"type": "Precompiled", "precompiled_charsmap": "AAAA"}),
    "fixed-length-zero": tokenizer(pre_tokenizer={"type": "FixedLength", "length": 0}),
    "many-labels": config(num_labels=300_000_000),
    "many-positions": config(n_positions=30_000_000, max_position_embeddings=30_000_000),
    "many-experts": config(model_type="mixtral", num_local_experts=100_000, num_hidden_layers=32),
    "many-layers": config(n_layer=2_000, num_hidden_layers=2_000),
    "sinusoids": config(model_type="distilbert", sinusoidal_pos_embds=True, max_position_embeddings=30_000_000),
    "deep-config": lambda folder: (folder / "config.json").write_text('{"a":' * 100_000 + "1" + "}" * 100_000) and None,
    "pipe-config": pipe("config.json"),
    "pipe-tokenizer": pipe("tokenizer.json"),
    "pipe-weights": pipe("model.safetensors"),
    "pipe-beside": pipe("tokenizer_config.json"),
    "device-config": link("config.json", "/dev/zero"),
    "device-weights": link("model.safetensors", "/dev/zero"),
    "link-out": link("config.json", "/etc/hostname"),
    "link-loop": link("config.json", "config.json"),
    "long-shape": header({"wte": {"dtype": "F32", "shape": [1] * 3_000_000, "data_offsets": [0, 4]}}),
    "many-words": many_words,
    "large-file": lambda folder: (folder / "config.json").write_text(
        '{"model_type": "gpt2", "a": "' + "x" * 9_000_000 + '"}'
    ),
    "layers-fewer": config(n_layer=1),
    "type-unknown": config(model_type="sphinx"),
    "type-script": config(model_type="<script>alert(1)</script>"),
    "type-of-pictures": config(model_type="vit", architectures=["ViTForImageClassification"]),
    "type-of-sound": config(model_type="whisper", architectures=["WhisperForConditionalGeneration"]),
    "type-number": config(model_type=7),
    "type-other": config(model_type="llama", architectures=["LlamaForCausalLM"]),
    "architecture-other": config(architectures=["BertForMaskedLM"]),
    "architecture-object": config(architectures={"a": 1}),
    "code": config(model_type="mine", auto_map={"AutoModelForCausalLM": "modeling.Mine"}),
    "kernel": config(_attn_implementation="somebody/kernel"),
    "quantized": config(quantization_config={"quant_method": "gptq", "bits": 4}),
    "activation-unknown": config(activation_function="os.system"),
    "epsilon-nan": config(layer_norm_epsilon=float("nan")),
    "epsilon-text": config(layer_norm_epsilon="1e-5"),
    "labels-object": config(id2label={"a": 1}, label2id=[1]),
    "dtype-unknown": config(dtype="float3", torch_dtype="float3"),
    "tied-text": config(tie_word_embeddings="perhaps"),
    "n_inner-large": config(n_inner=900_000),
    "surrogate-name": config(**{"\ud800": "\ud800"}),
    "tokenizer-no-model": without_key("tokenizer.json", "model"),
    "tokenizer-model-unknown": tokenizer(model={"type": "Sphinx"}),
    "tokenizer-no-vocab": model_part(vocab={}),
    "tokenizer-vocab-list": model_part(vocab=[1]),
    "tokenizer-vocab-negative": model_part(vocab={"a": -1}, merges=[]),
    "tokenizer-vocab-huge-id": model_part(vocab={"a": 2**31}, merges=[]),
    "tokenizer-of-another": model_part(vocab={chr(19_968 + i): 1_000 + i for i in range(500)}, merges=[]),
    "tokenizer-merges-unknown": model_part(merges=[["zzz", "yyy"]]),
    "tokenizer-decoder-unknown": tokenizer(decoder={"type": "Sphinx"}),
    "tokenizer-replace-grows": tokenizer(normalizer=sequence(*[replace({"String": "a"}, "a" * 1_000)] * 3)),
    "tokenizer-prepend-large": tokenizer(normalizer={"type": "Prepend", "prepend": "x" * 5_000_000}),
    "tokenizer-regex-broken": tokenizer(pre_tokenizer=split("(((")),
    "tokenizer-regex-backtracks": tokenizer(pre_tokenizer=split("(.*)*(.*)*(.*)*z!")),
    "tokenizer-truncation": tokenizer(
        truncation={"direction": "Right", "max_length": 0, "strategy": "LongestFirst", "stride": 9}
    ),
    "tokenizer-padding": tokenizer(
        padding={
            "strategy": {"Fixed": 2_000_000_000},
            "direction": "Right",
            "pad_to_multiple_of": None,
            "pad_id": 0,
            "pad_type_id": 0,
            "pad_token": "x",
        }
    ),
    "tokenizer-template-unknown": tokenizer(
        post_processor={
            "type": "TemplateProcessing",
            "single": [{"SpecialToken": {"id": "[NO]", "type_id": 0}}],
            "pair": [],
            "special_tokens": {},
        }
    ),
    "tokenizer-added-huge-id": tokenizer(
        added_tokens=[
            {
                "id": 2**40,
                "content": "<a>",
                "single_word": False,
                "lstrip": False,
                "rstrip": False,
                "normalized": False,
                "special": True,
            }
        ]
    ),
    "tokenizer-class-of-code": _json(
        "tokenizer_config.json",
        lambda found: found.update(tokenizer_class="Mine", auto_map={"AutoTokenizer": ["mine.Mine", None]}),
    ),
    "tokenizer-length-text": _json("tokenizer_config.json", lambda found: found.update(model_max_length="long")),
    "tokenizer-length-negative": _json("tokenizer_config.json", lambda found: found.update(model_max_length=-5)),
    "tokenizer-template-hostile": _json(
        "tokenizer_config.json", lambda found: found.update(chat_template="{% for i in range(10**9) %}x{% endfor %}")
    ),
    "generation-hostile": _json(
        "generation_config.json", lambda found: found.update(eos_token_id="x", max_length=-1, temperature="hot")
    ),
    "generation-forced": _json("generation_config.json", lambda found: found.update(forced_bos_token_id=10**9)),
    "weights-nan": filled(float("nan")),
    "weights-infinite": filled(float("inf")),
    "weights-missing": weights(lambda held: held.pop(first_weight(held))),
    "weights-reshaped": weights(reshaped),
    "weights-scalar": weights(lambda held: held.update({first_weight(held): np.array(1, np.float32)})),
    "weights-integers": of_type("int32"),
    "weights-bytes": of_type("int8"),
    "weights-none": weights(lambda held: held.clear()),
    "header-empty": header({}),
    "header-list": header([]),
    "header-type-unknown": header({"wte": {"dtype": "F3", "shape": [1], "data_offsets": [0, 4]}}),
    "header-beyond": header({"wte": {"dtype": "F32", "shape": [10**9], "data_offsets": [0, 4 * 10**9]}}),
    "header-overlaps": header({n: {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]} for n in "ab"}),
    "header-backwards": header({"a": {"dtype": "F32", "shape": [1], "data_offsets": [4, 0]}}),
    "header-negative": header({"a": {"dtype": "F32", "shape": [-1], "data_offsets": [0, 4]}}),
    "header-overflow": header({"a": {"dtype": "F32", "shape": [2**32, 2**32, 2], "data_offsets": [0, 4]}}),
    "header-length-huge": write("model.safetensors", struct.pack("<Q", 2**63) + b"{}"),
    "header-many": header({f"w{i}": {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]} for i in range(200_000)}),
    "index-leads-out": lambda folder: (
        (folder / "model.safetensors").unlink(),
        (folder / "model.safetensors.index.json").write_text('{"weight_map": {"a": "../good/model.safetensors"}}'),
    ),
    "index-absent-file": lambda folder: (
        (folder / "model.safetensors").unlink(),
        (folder / "model.safetensors.index.json").write_text('{"weight_map": {"a": "model-1.safetensors"}}'),
    ),
    "index-list": lambda folder: (
        (folder / "model.safetensors").unlink(),
        (folder / "model.safetensors.index.json").write_text('{"weight_map": {"a": ["model-1.safetensors"]}}'),
    ),
    "pickle-only": lambda folder: (folder / "model.safetensors").rename(folder / "pytorch_model.bin"),
    "adapter": lambda folder: (folder / "adapter_config.json").write_text(
        '{"base_model_name_or_path": "somebody/base", "peft_type": "LORA"}'
    ),
    "nothing": lambda folder: (shutil.rmtree(folder), folder.mkdir()),
}
"""What the outside attack found, and siblings."""

DAMAGED = ("config.json", "tokenizer.json", "tokenizer_config.json", "generation_config.json", "model.safetensors")
ODD: dict[str, Change] = (
    BY_HAND
    | {f"{file.partition('.')[0]}-{name}": how(file) for file in DAMAGED for name, how in DAMAGES.items()}
    | {f"{number}-{name}": config(**{number: value}) for number in NUMBERS for name, value in VALUES.items()}
)
