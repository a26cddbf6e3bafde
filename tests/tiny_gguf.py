"""A tiny Llama as a GGUF file, written by gguf's own writer."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from families import tiny_tokenizer
from gguf import GGUFWriter

NAMES = {
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
}
"""Of a block's parts: transformers' → llama.cpp's."""


def write_gguf(
    file: Path,
    module: Any,
    *,
    architecture: str = "llama",
    split: str | None = "gpt-2",
    tokenizer_model: str = "gpt2",
    scaling: str | None = None,
    extra: str | None = None,
    **changed: int,
) -> Path:
    """A Llama module and the tests' tokenizer as one file; `changed` are values that do not fit the weights, `split` is
    `tokenizer.ggml.pre`, `scaling` the type of stretched positions and `extra` the name of a tensor more."""
    config = module.config
    writer = GGUFWriter(str(file), architecture)
    sizes = {
        "block_count": config.num_hidden_layers,
        "context_length": config.max_position_embeddings,
        "embedding_length": config.hidden_size,
        "feed_forward_length": config.intermediate_size,
        "attention.head_count": config.num_attention_heads,
        "attention.head_count_kv": config.num_key_value_heads,
        "rope.dimension_count": config.hidden_size // config.num_attention_heads,
        "vocab_size": config.vocab_size,
    }
    for name, value in (sizes | changed).items():
        writer.add_uint32(f"{architecture}.{name}", value)
    writer.add_float32(f"{architecture}.attention.layer_norm_rms_epsilon", config.rms_norm_eps)
    writer.add_float32(f"{architecture}.rope.freq_base", 10_000.0)
    tokenizer = tiny_tokenizer()
    by_id = sorted(tokenizer.get_vocab(), key=tokenizer.get_vocab().get)
    by_id[0] = "<|endoftext|>"  # transformers adds it where it is not there
    merges = json.loads(tokenizer.backend_tokenizer.to_str())["model"]["merges"]
    writer.add_tokenizer_model(tokenizer_model)
    if split is not None:
        writer.add_tokenizer_pre(split)
    if scaling is not None:
        writer.add_string(f"{architecture}.rope.scaling.type", scaling)
    if extra is not None:
        writer.add_tensor(extra, np.ones(4, dtype=np.float32))
    writer.add_token_list(by_id + [f"[unused{i}]" for i in range(config.vocab_size - len(by_id))])
    writer.add_token_types([3] + [1] * (config.vocab_size - 1))
    writer.add_token_merges([" ".join(pair) for pair in merges])
    writer.add_bos_token_id(0)
    writer.add_eos_token_id(0)
    for name, weight in module.state_dict().items():
        array = weight.float().numpy()
        if "q_proj" in name or "k_proj" in name:
            heads = config.num_attention_heads if "q_proj" in name else config.num_key_value_heads
            array = array.reshape(heads, 2, -1, array.shape[-1]).swapaxes(1, 2).reshape(array.shape)
        writer.add_tensor(_gguf_name(name), np.ascontiguousarray(array))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return file


def _gguf_name(name: str) -> str:
    fixed = {"model.embed_tokens.weight": "token_embd", "model.norm.weight": "output_norm", "lm_head.weight": "output"}
    if name in fixed:
        return f"{fixed[name]}.weight"
    _, _, layer, *part, _ = name.split(".")
    return f"blk.{layer}.{NAMES['.'.join(part)]}.weight"
