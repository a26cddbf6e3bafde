"""What is not of the catalog is opened elsewhere first, once. (Each of `odd_folders`, against the running app: see
`tests/ui/test_odd_models.py`.)"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from families import FAMILIES, tiny_module, tiny_tokenizer
from odd_folders import ODD

from analyzers.common.errors import InputError
from analyzers.models import trial
from analyzers.models.store import ModelStore
from analyzers.sources.resolver import Resolver
from analyzers.sources.source import Source

pytestmark = pytest.mark.xdist_group("trial")  # the libraries are imported once


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "good"
    tiny_module("gpt2").save_pretrained(folder)
    tiny_tokenizer(FAMILIES["gpt2"].kind).save_pretrained(folder)
    trial.prepare()
    return folder


@pytest.fixture
def store(good: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModelStore:
    monkeypatch.setenv("ECCOLENS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(trial, "_verdicts", {})
    monkeypatch.setattr(trial, "SECONDS", 3)
    (tmp_path / "models").mkdir()
    shutil.copytree(good, tmp_path / "models" / "good")
    return ModelStore(Resolver(models_folder=tmp_path / "models"), tries_first=True)


def test_what_is_slow_or_dies_is_named(store: ModelStore, tmp_path: Path) -> None:
    for name, said in (
        ("many-labels", "config.json (num_labels = 300,000,000)"),
        ("regex-nested", "its tokenizer.json makes what reads it crash"),
        ("pipe-beside", "its tokenizer_config.json is no plain file"),
    ):
        folder = tmp_path / "models" / name
        shutil.copytree(tmp_path / "models" / "good", folder)
        ODD[name](folder)
        with pytest.raises(InputError) as refused:
            store.load(name)
        assert said in str(refused.value)
        assert refused.value.say("ja") != refused.value.say("en")
        with pytest.raises(InputError, match=name):  # the verdict is kept
            store.describe(name)
        assert store.kind_of(name) is None
    assert store.load("good").encode("the keys")


def test_a_verdict_is_kept_by_the_files_and_not_by_the_name(
    store: ModelStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.load("good")
    tried: list[str] = []
    plain = trial._try_apart
    monkeypatch.setattr(trial, "_try_apart", lambda source, what: (tried.append(source.id), plain(source, what))[1])
    shutil.copytree(tmp_path / "models" / "good", tmp_path / "models" / "same")
    store.load("same")
    monkeypatch.setattr(trial, "_verdicts", {})  # another process, with the same disk
    store.load("same")
    assert tried == []
    config = tmp_path / "models" / "same" / "config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), "use_cache": False}))
    store.describe("same")
    assert tried == ["same"]


def test_a_broken_verdict_on_disk_is_no_verdict(store: ModelStore, tmp_path: Path) -> None:
    store.load("good")
    (kept,) = (tmp_path / "cache" / "trials").glob("*.json")
    for text in ("", "[1", "[1, 2]", '{"a": 1}'):
        kept.write_text(text)
        trial._verdicts.clear()
        assert store.describe("good").n_parameters > 0
        assert json.loads(kept.read_text()) is None


def test_a_link_inside_the_hubs_cache_is_followed_and_no_other(good: Path, tmp_path: Path) -> None:
    home = tmp_path / "models--a--b"
    (home / "blobs").mkdir(parents=True)
    snapshot = home / "snapshots" / "0123"
    snapshot.mkdir(parents=True)
    for number, path in enumerate(sorted(good.iterdir())):
        shutil.copy(path, home / "blobs" / str(number))
        (snapshot / path.name).symlink_to(f"../../blobs/{number}")
    assert len(trial._plain_files(Source("a/b", snapshot), snapshot)) == len(list(good.iterdir()))
    (snapshot / "other.json").symlink_to(good / "config.json")
    with pytest.raises(InputError, match=r"other\.json is no plain file"):
        trial._plain_files(Source("a/b", snapshot), snapshot)


def test_a_configuration_is_tried_before_anything_is_fetched(store: ModelStore, tmp_path: Path) -> None:
    config: dict[str, Any] = json.loads((tmp_path / "models" / "good" / "config.json").read_text())
    trial.try_config(Source("a/b", None), config)
    with pytest.raises(InputError, match="num_labels = 300,000,000"):
        trial.try_config(Source("a/b", None), {**config, "num_labels": 300_000_000})
