"""Every family that the README names, as a tiny random model built from its configuration, and what works on it."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache
from typing import Any

import torch
import transformers
from tokenizers import Tokenizer, decoders, pre_tokenizers, processors, trainers
from tokenizers.models import BPE

from analyzers.models.language_model import LanguageModel

_CORPUS = [
    "the keys to the cabinet are on the table and the cat sat on the mat",
    "Heathrow airport is located in the city of London and the countries are listed",
    "café naïve 東京 は 日本 の 首都 です",
]

SMALL: dict[str, Any] = dict(vocab_size=384, bos_token_id=0, eos_token_id=0, pad_token_id=0)
LLAMA_LIKE: dict[str, Any] = SMALL | dict(
    hidden_size=32,
    intermediate_size=64,
    num_hidden_layers=3,
    num_attention_heads=4,
    num_key_value_heads=2,
    max_position_embeddings=128,
)
BERT_LIKE: dict[str, Any] = dict(
    vocab_size=384,
    hidden_size=32,
    intermediate_size=64,
    num_hidden_layers=3,
    num_attention_heads=4,
    max_position_embeddings=128,
    pad_token_id=0,
)
BART_LIKE: dict[str, Any] = SMALL | dict(
    d_model=32,
    encoder_layers=3,
    decoder_layers=3,
    encoder_attention_heads=4,
    decoder_attention_heads=4,
    encoder_ffn_dim=64,
    decoder_ffn_dim=64,
    max_position_embeddings=128,
    decoder_start_token_id=0,
    forced_eos_token_id=None,
)


@dataclass(frozen=True)
class Family:
    """One row of the README's table."""

    kind: str
    model: str
    """The class that a user's `config.json` would name."""
    values: dict[str, Any] = field(hash=False)
    without: tuple[str, ...] = ()
    """Analyses and methods that it cannot have, and says so."""


FAMILIES: dict[str, Family] = {
    "gpt2": Family("causal", "GPT2LMHeadModel", SMALL | dict(n_embd=32, n_layer=3, n_head=4, n_positions=128)),
    "llama": Family("causal", "LlamaForCausalLM", LLAMA_LIKE),
    "mistral": Family("causal", "MistralForCausalLM", LLAMA_LIKE | dict(head_dim=8)),
    "qwen3": Family("causal", "Qwen3ForCausalLM", LLAMA_LIKE | dict(head_dim=8)),
    "gemma2": Family(
        "causal",
        "Gemma2ForCausalLM",
        LLAMA_LIKE | dict(head_dim=8, final_logit_softcapping=5.0, query_pre_attn_scalar=8),
    ),
    "gemma3": Family("causal", "Gemma3ForCausalLM", LLAMA_LIKE | dict(head_dim=8, query_pre_attn_scalar=8)),
    "gpt_neox": Family(
        "causal",
        "GPTNeoXForCausalLM",
        SMALL
        | dict(
            hidden_size=32,
            intermediate_size=64,
            num_hidden_layers=3,
            num_attention_heads=4,
            max_position_embeddings=128,
        ),
    ),
    "opt": Family(
        "causal",
        "OPTForCausalLM",
        SMALL
        | dict(
            hidden_size=32,
            ffn_dim=64,
            num_hidden_layers=3,
            num_attention_heads=4,
            max_position_embeddings=128,
            word_embed_proj_dim=16,
            do_layer_norm_before=True,
        ),
    ),
    "phi": Family("causal", "PhiForCausalLM", LLAMA_LIKE | dict(num_key_value_heads=4)),
    "falcon": Family(
        "causal", "FalconForCausalLM", SMALL | dict(hidden_size=32, num_hidden_layers=3, num_attention_heads=4)
    ),
    "cohere": Family("causal", "CohereForCausalLM", LLAMA_LIKE | dict(logit_scale=0.3)),
    "granite": Family("causal", "GraniteForCausalLM", LLAMA_LIKE | dict(logits_scaling=3.0, embedding_multiplier=2.0)),
    "mixtral": Family(
        "causal", "MixtralForCausalLM", LLAMA_LIKE | dict(num_local_experts=4), without=("neuron-factors",)
    ),
    "mamba": Family(
        "causal",
        "MambaForCausalLM",
        SMALL | dict(hidden_size=32, num_hidden_layers=3),
        without=("neuron-factors", "attn-lrp"),
    ),
    "bert": Family("masked", "BertForMaskedLM", BERT_LIKE),
    "distilbert": Family(
        "masked",
        "DistilBertForMaskedLM",
        dict(vocab_size=384, dim=32, n_layers=3, n_heads=4, hidden_dim=64, max_position_embeddings=128),
    ),
    "roberta": Family("masked", "RobertaForMaskedLM", BERT_LIKE),
    "albert": Family("masked", "AlbertForMaskedLM", BERT_LIKE | dict(embedding_size=16), without=("neuron-factors",)),
    "modernbert": Family("masked", "ModernBertForMaskedLM", BERT_LIKE),
    "deberta-v2": Family(
        "masked", "DebertaV2ForMaskedLM", BERT_LIKE | dict(relative_attention=True, pos_att_type=["p2c", "c2p"])
    ),
    "electra": Family("masked", "ElectraForMaskedLM", BERT_LIKE | dict(embedding_size=16)),
    "t5": Family(
        "seq2seq",
        "T5ForConditionalGeneration",
        dict(
            vocab_size=384,
            d_model=32,
            d_kv=8,
            d_ff=64,
            num_layers=3,
            num_heads=4,
            pad_token_id=0,
            eos_token_id=0,
            decoder_start_token_id=0,
        ),
    ),
    "bart": Family("seq2seq", "BartForConditionalGeneration", BART_LIKE),
    "marian": Family("seq2seq", "MarianMTModel", BART_LIKE | dict(scale_embedding=True)),
    "minilm": Family("encoder", "BertModel", BERT_LIKE, without=("layer-predictions", "rankings")),
}
CAUSAL = ("cohere", "gemma2", "gpt2", "gpt_neox", "granite", "llama", "opt", "qwen3")
"""The causal families whose lens `lens_by_hand` writes out; `test_families` goes through all of them."""


@cache
def tiny_tokenizer(kind: str = "causal") -> Any:
    """A byte-level BPE tokenizer: 256 bytes, a few merges, `<|end|>` as its end of text (id 0). Masked models and
    encoders have theirs with `<mask>`, and `<s>` and `</s>` around a text."""
    tokenizer = Tokenizer(BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    two_sided = kind in ("masked", "encoder")
    special = ["<|end|>", *(["<s>", "</s>", "<mask>"] if two_sided else [])]
    trainer = trainers.BpeTrainer(vocab_size=384, special_tokens=special, initial_alphabet=alphabet)
    tokenizer.train_from_iterator(_CORPUS, trainer)
    names = dict(eos_token="<|end|>", bos_token="<|end|>", pad_token="<|end|>")
    if two_sided:
        tokenizer.post_processor = processors.TemplateProcessing(
            single="<s> $A </s>", special_tokens=[("<s>", 1), ("</s>", 2)]
        )
        names = dict(pad_token="<|end|>", cls_token="<s>", sep_token="</s>", mask_token="<mask>")
    if kind == "seq2seq":
        tokenizer.post_processor = processors.TemplateProcessing(single="$A <|end|>", special_tokens=[("<|end|>", 0)])
    return transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer, **names)


@cache
def byte_tokenizer() -> Any:
    """A token for every byte of a text: it is cut otherwise than by any other."""
    alphabet = ["<|end|>", *sorted(pre_tokenizers.ByteLevel.alphabet())]
    tokenizer = Tokenizer(BPE(vocab={character: id for id, character in enumerate(alphabet)}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    names = dict(eos_token="<|end|>", bos_token="<|end|>", pad_token="<|end|>")
    return transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer, **names)


def random_module(name: str, **values: Any) -> Any:
    """A fresh random model of a class of transformers, seeded; weights spread wide enough that its answers differ from
    uniform."""
    kind = getattr(transformers, name)
    torch.manual_seed(0)
    return spread(kind(kind.config_class.from_dict(values)))


def spread(module: Any) -> Any:
    with torch.no_grad():
        for weight in module.parameters():
            weight.add_(torch.randn_like(weight) * 0.15)
    return module.eval()


def tiny_module(family: str, dtype: torch.dtype = torch.float32) -> Any:
    """A fresh random model of a family, as `random_module` makes it."""
    kind = getattr(transformers, FAMILIES[family].model)
    torch.manual_seed(0)
    config = kind.config_class(**FAMILIES[family].values)
    if dtype == torch.float64:
        config._experts_implementation = "eager"  # the fast one of mixtures knows no float64
    return spread(kind(config)).to(dtype)


@cache
def tiny_model(family: str, dtype: torch.dtype = torch.float32) -> LanguageModel:
    """The same, loaded: tokenizer, anatomy, lock-free. Shared between tests, as the app shares it."""
    kind = FAMILIES[family].kind
    return LanguageModel(tiny_module(family, dtype), tiny_tokenizer(kind), f"tiny-{family}", kind=kind)
