"""What a link does by itself: nothing is fetched for it, and no large model loaded."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from analyzers.models.store import ModelStore
from analyzers.sources.resolver import Resolver
from ui import opening


def test_a_large_model_is_loaded_at_a_click(
    save_model: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = save_model("gpt2").rename(tmp_path / "tiny")
    store = ModelStore(Resolver(models_folder=folder.parent))
    source = store.resolver.find(folder.name)
    assert opening._why_wait(store, source) is None
    monkeypatch.setattr(opening, "LINK_BYTES", 1)
    waits = opening._why_wait(store, source)
    assert waits is not None
    assert folder.name in waits("en")
    assert "press Run to load it" in waits("en")
    assert "「実行」" in waits("ja")
    store.load(folder.name)
    assert opening._why_wait(store, source) is None
