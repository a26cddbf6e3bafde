"""The catalog's repositories as they lie on the Hub: names of weights, leftovers, old fields of configurations, and every
kind of tokenizer file, with small random weights. What stands in each follows the repositories' own listings."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tokenizer_files as files
import torch
from families import random_module
from safetensors.torch import save_file
from tokenizers import AddedToken, Regex, Tokenizer, decoders, pre_tokenizers, processors
from torch import Tensor

Weights = dict[str, Tensor]

NOT_WANTED = (
    ".gitattributes", "README.md", "pytorch_model.bin", "tf_model.h5", "flax_model.msgpack", "rust_model.ot",
    "64.tflite", "LICENSE.txt", "pytorch_model.bin.index.json", "tf_model.h5.index.json", "onnx/decoder_model.onnx", "onnx/config.json", "coreml/model.mlpackage",
)  # fmt: skip
"""What lies beside the weights in one repository or another, and is never fetched."""


@dataclass(frozen=True)
class Layout:
    """One repository."""

    model: str
    """The class that its config.json names."""
    config: dict[str, Any]
    """Fields as they stand in its config.json, old ones included."""
    tokenizer: Callable[[Path], None]
    """Writes its tokenizer files."""
    saved: Callable[[Weights], Weights] = dict
    """The model's own weights → those in the file."""
    dtype: torch.dtype = torch.float32


def lay_out(layout: Layout, folder: Path) -> Any:
    """Write a repository into an empty folder; the model itself, made without any of its files."""
    layout.tokenizer(folder)
    named = json.loads((folder / "tokenizer.json").read_text())
    n_tokens = 1 + max([*_ids(named["model"]["vocab"]), *(token["id"] for token in named["added_tokens"])])
    config = layout.config | {"architectures": [layout.model], "vocab_size": n_tokens, "transformers_version": "4.11.0"}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "generation_config.json").write_text(json.dumps({"_from_model_config": True}))
    module = random_module(layout.model, **config).float()
    with torch.no_grad():
        for weight in module.parameters():
            weight.copy_(weight.to(layout.dtype))
    own = module.state_dict()
    held = {name: tensor.to(layout.dtype) for name, tensor in own.items() if tensor.is_floating_point()}
    saved = {name: tensor.clone().contiguous() for name, tensor in layout.saved(held).items()}
    save_file(saved, folder / "model.safetensors", metadata={"format": "pt"})
    for name in NOT_WANTED:
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(b"not wanted")
    return module


def _ids(vocab: Any) -> range:
    return range(len(vocab))


def _without(*ends: str) -> Callable[[Weights], Weights]:
    return lambda own: {name: tensor for name, tensor in own.items() if not name.endswith(ends)}


def _renamed(own: Weights, *changes: tuple[str, str]) -> Weights:
    renamed = {}
    for name, tensor in own.items():
        for before, after in changes:
            name = name.replace(before, after)
        renamed[name] = tensor
    return renamed


def _masks(n_layers: int, prefix: str = "", n: int = 64) -> Weights:
    """GPT-2's causal masks, which it once kept among its weights."""
    return {f"{prefix}h.{i}.attn.bias": torch.ones(n, n).tril().view(1, 1, n, n) for i in range(n_layers)}


def _gpt2(own: Weights) -> Weights:
    return _renamed(_without("lm_head.weight")(own), ("transformer.", "")) | _masks(3)


def _distilgpt2(own: Weights) -> Weights:
    return _without("lm_head.weight")(own) | _masks(3, "transformer.")


def _bert(own: Weights) -> Weights:
    """BERT's, with the names of its first days and the leftovers of its other training task."""
    d = own["bert.embeddings.word_embeddings.weight"].shape[1]
    saved = _without("cls.predictions.decoder.weight", "cls.predictions.decoder.bias")(own)
    saved = _renamed(saved, ("LayerNorm.weight", "LayerNorm.gamma"), ("LayerNorm.bias", "LayerNorm.beta"))
    leftovers = {"bert.pooler.dense.weight": (d, d), "bert.pooler.dense.bias": (d,)}
    leftovers |= {"cls.seq_relationship.weight": (2, d), "cls.seq_relationship.bias": (2,)}
    return saved | {name: torch.randn(shape) for name, shape in leftovers.items()}


def _t5(own: Weights) -> Weights:
    """T5's, with a bias that its code never reads and copies of its embedding."""
    extra = "decoder.block.0.layer.1.EncDecAttention.relative_attention_bias.weight"
    own = _without("lm_head.weight", "embed_tokens.weight")(own)
    copies = {f"{side}.embed_tokens.weight": own["shared.weight"] for side in ("encoder", "decoder")}
    return own | copies | {extra: torch.randn(32, 4)}


def _as_it_is(own: Weights) -> Weights:
    return own


def _write(folder: Path, tokenizer: Tokenizer, config: dict[str, Any], *, with_merges: bool = False) -> None:
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    if with_merges:
        tokenizer.model.save(str(folder))  # vocab.json and merges.txt


def _of_gpt2(folder: Path) -> None:
    _write(folder, files.byte_level(), {"model_max_length": 1024}, with_merges=True)


def _of_smollm2(folder: Path) -> None:
    tokenizer = files.byte_level()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True),
        ]
    )
    names = dict.fromkeys(("bos_token", "eos_token", "unk_token"), "<|end|>")
    _write(folder, tokenizer, names | {"tokenizer_class": "GPT2Tokenizer", "add_prefix_space": False}, with_merges=True)
    (folder / "special_tokens_map.json").write_text(json.dumps(names))


QWEN_SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)


def _of_qwen3(folder: Path) -> None:
    tokenizer = files.byte_level()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(QWEN_SPLIT), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.add_special_tokens(["<|im_start|>", "<|im_end|>"])
    tokenizer.add_tokens([AddedToken("<think>", normalized=False), AddedToken("</think>", normalized=False)])
    settings = {
        "tokenizer_class": "Qwen2Tokenizer",
        "eos_token": "<|im_end|>",
        "pad_token": "<|end|>",
        "bos_token": None,
    }
    _write(folder, tokenizer, settings | {"add_bos_token": False, "chat_template": "{{ messages }}"}, with_merges=True)


def _of_llm_jp(folder: Path) -> None:
    tokenizer = files.unigram()
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace(Regex("▁"), " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    names = {"unk_token": "<unk>", "bos_token": "<s>", "eos_token": "</s>"}
    _write(
        folder, tokenizer, names | {"tokenizer_class": "PreTrainedTokenizerFast", "clean_up_tokenization_spaces": False}
    )


def _of_bert(folder: Path) -> None:
    tokenizer = files.word_piece()
    _write(folder, tokenizer, {"do_lower_case": True, "model_max_length": 512})
    words = sorted(tokenizer.get_vocab().items(), key=lambda pair: pair[1])
    (folder / "vocab.txt").write_text("\n".join(word for word, _ in words), encoding="utf-8")


def _of_modernbert(folder: Path) -> None:
    tokenizer = files.byte_level()
    tokenizer.add_special_tokens(["[CLS]", "[SEP]", "[PAD]", AddedToken("[MASK]", lstrip=True, special=True)])
    around = [(name, tokenizer.token_to_id(name)) for name in ("[CLS]", "[SEP]")]
    tokenizer.post_processor = processors.TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=around)
    names = {
        "cls_token": "[CLS]",
        "sep_token": "[SEP]",
        "pad_token": "[PAD]",
        "mask_token": "[MASK]",
        "unk_token": "<|end|>",
    }
    _write(folder, tokenizer, names | {"tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": 8192})


def _of_modernbert_ja(folder: Path) -> None:
    tokenizer = files.unigram()
    tokenizer.add_special_tokens(["<mask>", "<pad>"])
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 1), ("</s>", 2)]
    )
    files.pieces(folder / "tokenizer.model", "unigram", vocab_size=300)
    names = {"unk_token": "<unk>", "bos_token": "<s>", "eos_token": "</s>", "cls_token": "<s>", "sep_token": "</s>"}
    settings = {"tokenizer_class": "LlamaTokenizer", "add_bos_token": True, "add_eos_token": True, "legacy": False}
    _write(folder, tokenizer, names | {"mask_token": "<mask>", "pad_token": "<pad>"} | settings)


def _of_t5(folder: Path) -> None:
    tokenizer = files.unigram()
    extra = [f"<extra_id_{i}>" for i in range(10)]
    tokenizer.add_special_tokens([*extra, "<pad>"])
    tokenizer.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 2)])
    names = {"unk_token": "<unk>", "eos_token": "</s>", "pad_token": "<pad>"}
    _write(folder, tokenizer, names | {"extra_ids": 10, "additional_special_tokens": extra, "model_max_length": 512})
    files.pieces(folder / "spiece.model", "unigram", vocab_size=300)


_GPT2 = {
    "model_type": "gpt2", "n_embd": 32, "n_layer": 3, "n_head": 4, "n_positions": 64, "n_ctx": 64,
    "activation_function": "gelu_new", "attn_pdrop": 0.1, "bos_token_id": 0, "eos_token_id": 0,
    "summary_activation": None, "summary_first_dropout": 0.1, "summary_type": "cls_index", "layer_norm_epsilon": 1e-05,
    "task_specific_params": {"text-generation": {"do_sample": True, "max_length": 50}},
}  # fmt: skip
_LLAMA = {
    "model_type": "llama", "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 3,
    "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 128, "rope_theta": 100_000,
    "rope_scaling": None, "torch_dtype": "bfloat16", "bos_token_id": 0, "eos_token_id": 0, "pretraining_tp": 1,
}  # fmt: skip
_BERT = {
    "model_type": "bert", "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 3,
    "num_attention_heads": 4, "max_position_embeddings": 64, "gradient_checkpointing": False, "pad_token_id": 0,
    "position_embedding_type": "absolute", "type_vocab_size": 2, "use_cache": True,
}  # fmt: skip
_MODERNBERT = {
    "model_type": "modernbert", "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 3,
    "num_attention_heads": 4, "max_position_embeddings": 128, "global_rope_theta": 160_000.0,
    "local_rope_theta": 10_000.0, "global_attn_every_n_layers": 3, "local_attention": 16, "torch_dtype": "float32",
    "deterministic_flash_attn": False, "classifier_pooling": "mean", "position_embedding_type": "absolute",
    "pad_token_id": 0, "bos_token_id": 0, "eos_token_id": 0, "cls_token_id": 0, "sep_token_id": 0,
}  # fmt: skip

LAYOUTS: dict[str, Layout] = {
    "gpt2": Layout("GPT2LMHeadModel", _GPT2, _of_gpt2, _gpt2),
    "distilgpt2": Layout("GPT2LMHeadModel", _GPT2 | {"_num_labels": 1, "id2label": {"0": "LABEL_0"}}, _of_gpt2, _distilgpt2),
    "smollm2-135m": Layout(
        "LlamaForCausalLM",
        _LLAMA | {"is_llama_config": True, "rope_interleaved": False, "tie_word_embeddings": True},
        _of_smollm2,
        _without("lm_head.weight"),
        torch.bfloat16,
    ),
    "qwen3-0.6b": Layout(
        "Qwen3ForCausalLM",
        _LLAMA
        | {"model_type": "qwen3", "head_dim": 8, "tie_word_embeddings": True, "sliding_window": None, "max_window_layers": 3},
        _of_qwen3,
        _as_it_is,
        torch.bfloat16,
    ),
    "llm-jp-3-150m": Layout(
        "LlamaForCausalLM",
        _LLAMA | {"tie_word_embeddings": False, "bos_token_id": 1, "eos_token_id": 2},
        _of_llm_jp,
        _as_it_is,
        torch.bfloat16,
    ),
    "distilbert": Layout(
        "DistilBertForMaskedLM",
        {
            "model_type": "distilbert", "dim": 32, "n_layers": 3, "n_heads": 4, "hidden_dim": 64, "activation": "gelu",
            "max_position_embeddings": 64, "sinusoidal_pos_embds": False, "tie_weights_": True, "pad_token_id": 0,
        },
        _of_bert,
        _without("vocab_projector.weight"),
    ),
    "bert": Layout("BertForMaskedLM", _BERT, _of_bert, _bert),
    "modernbert": Layout("ModernBertForMaskedLM", _MODERNBERT, _of_modernbert, _without("decoder.weight")),
    "modernbert-ja-130m": Layout("ModernBertForMaskedLM", _MODERNBERT, _of_modernbert_ja, _without("decoder.weight")),
    "t5-small": Layout(
        "T5ForConditionalGeneration",
        {
            "model_type": "t5", "d_model": 32, "d_kv": 8, "d_ff": 64, "num_layers": 3, "num_heads": 4, "n_positions": 512,
            "is_encoder_decoder": True, "output_past": True, "relative_attention_num_buckets": 32, "eos_token_id": 2,
            "pad_token_id": 0, "decoder_start_token_id": 0,
            "task_specific_params": {"summarization": {"num_beams": 4, "prefix": "summarize: "}},
        },
        _of_t5,
        _t5,
    ),
}  # fmt: skip
"""Catalog id → how its repository is laid out."""
