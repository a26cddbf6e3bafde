"""The Space's card and its requirements: the same as the code's, and installable where a Space installs them."""

from __future__ import annotations

import functools
import hashlib
import json
import os
import re
import subprocess
import sys
import urllib.request
import zipfile
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import pytest
import yaml

from analyzers.sources.catalog import CATALOG
from ui.server import _options

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
REQUIREMENTS = (ROOT / "requirements.txt").read_text().splitlines()
COLOURS = {"red", "yellow", "green", "blue", "indigo", "purple", "pink", "gray"}
NEEDED = ["config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"]


@pytest.fixture(scope="module")
def card() -> dict[str, Any]:
    """The front matter of the README."""
    assert README.startswith("---\n")
    found: dict[str, Any] = yaml.safe_load(README.split("---\n")[1])
    return found


def pinned(name: str) -> str:
    return next(line for line in REQUIREMENTS if line.startswith(f"{name}==")).partition("==")[2]


def test_the_space_runs_the_gradio_that_is_tested(card: dict[str, Any]) -> None:
    import gradio

    assert card["sdk"] == "gradio"
    assert card["sdk_version"] == pinned("gradio") == gradio.__version__


def test_the_space_runs_a_python_that_is_supported(card: dict[str, Any]) -> None:
    assert isinstance(card["python_version"], str), "3.10 as a number would be 3.1"
    assert card["python_version"] in ("3.10", "3.12"), "what ZeroGPU has"
    project = (ROOT / "pyproject.toml").read_text()
    low, high = re.findall(r"(\d+)", re.search(r'requires-python = ">=3\.(\d+),<3\.(\d+)"', project)[0])[1::2]  # type: ignore[index]
    assert int(low) <= int(card["python_version"].split(".")[1]) < int(high)


def test_the_models_are_those_of_the_catalog(card: dict[str, Any]) -> None:
    assert card["models"] == [row.hub_id for row in CATALOG if row.hub_id]


def test_what_a_model_needs_at_hand_is_in_the_image(card: dict[str, Any]) -> None:
    preloaded = [entry.split(" ") for entry in card["preload_from_hub"]]
    assert [entry[0] for entry in preloaded] == card["models"]
    for row, (_, files) in zip([row for row in CATALOG if row.hub_id], preloaded, strict=True):
        generation = ["generation_config.json"] if row.kind == "causal" else []
        assert files.split(",") == sorted([*NEEDED, *generation])


def test_the_card_is_one_that_the_hub_takes(card: dict[str, Any]) -> None:
    assert len(card["short_description"]) <= 60
    assert {card["colorFrom"], card["colorTo"]} <= COLOURS
    assert card["title"] == re.search(r"^# (.+)$", README, re.MULTILINE)[1]  # type: ignore[index]
    assert (card["license"], (ROOT / "LICENSE").read_text().split()[:2]) == ("apache-2.0", ["Apache", "License"])
    for name in (card["app_file"], card["thumbnail"]):
        assert (ROOT / name).is_file()
    settings = yaml.safe_load((ROOT / ".huggingface" / "space.yaml").read_text())
    assert card["suggested_hardware"] == settings["hardware"]
    assert all(re.fullmatch(r"[a-z0-9-]+", tag) for tag in card["tags"])


def test_on_a_space_the_app_can_be_reached_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    assert _options().parse_args([]).host == "127.0.0.1"
    monkeypatch.setenv("SPACE_ID", "someone/eccolens")
    assert _options().parse_args([]).host == "0.0.0.0"


# --- requirements, against the package index


@functools.cache
def index_answers() -> bool:
    """Whether pip's index can be reached."""
    asked = [sys.executable, "-m", "pip", "config", "get", "global.index-url"]
    configured = os.environ.get("PIP_INDEX_URL") or subprocess.run(asked, capture_output=True, text=True).stdout.strip()
    address = (configured or "https://pypi.org/simple").rstrip("/")
    try:
        with urllib.request.urlopen(f"{address}/jaxtyping/", timeout=10) as reply:
            return bool(reply.status == 200)
    except OSError:
        return False


@pytest.fixture
def resolve(cache: pytest.Cache, tmp_path: Path) -> Callable[[str, str], tuple[list[dict[str, Any]] | None, str]]:
    """What pip would install, or None, and what it said. Asked once a day for the same requirements."""

    def ask(python: str, torch: str) -> tuple[list[dict[str, Any]] | None, str]:
        asked = hashlib.sha256("\n".join([*REQUIREMENTS, python, torch, date.today().isoformat()]).encode()).hexdigest()
        if cache.get(f"resolved/{python}/asked", None) != asked:
            if not index_answers():
                pytest.skip("the package index cannot be reached, so nothing can be resolved")
            ran = ask_pip(tmp_path, python, torch)
            installed = json.loads((tmp_path / "report.json").read_text())["install"] if ran.returncode == 0 else None
            packages = installed and [
                {"name": i["metadata"]["name"], "version": i["metadata"]["version"]} for i in installed
            ]
            cache.set(f"resolved/{python}/answer", [packages, ran.stderr])
            cache.set(f"resolved/{python}/asked", asked)
        packages, said = cache.get(f"resolved/{python}/answer", None)
        return packages, said

    return ask


def ask_pip(tmp_path: Path, python: str, torch: str) -> subprocess.CompletedProcess[str]:
    """A dry run for a Python, told that this torch is there: the gigabytes of the real one stay where they are."""
    folder = f"torch-{torch}.dist-info"
    with zipfile.ZipFile(tmp_path / f"torch-{torch}-py3-none-any.whl", "w") as wheel:
        wheel.writestr(f"{folder}/METADATA", f"Metadata-Version: 2.1\nName: torch\nVersion: {torch}\n")
        wheel.writestr(f"{folder}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{folder}/RECORD", "")
    (tmp_path / "constraints.txt").write_text(f"torch=={torch}\n")
    where = [
        "--python-version",
        python,
        "--implementation",
        "cp",
        "--only-binary=:all:",
        "--target",
        str(tmp_path / "t"),
    ]
    where += [part for tag in ("2_28", "2_27", "2_17", "2014") for part in ("--platform", platform(tag))]
    where += ["--find-links", str(tmp_path), "-c", str(tmp_path / "constraints.txt")]
    what = ["--report", str(tmp_path / "report.json"), "-r", str(ROOT / "requirements.txt")]
    return subprocess.run(
        [sys.executable, "-m", "pip", "install", "--dry-run", "--ignore-installed", "--quiet", *where, *what],
        capture_output=True,
        text=True,
        timeout=600,
    )


def platform(tag: str) -> str:
    """Spaces run on Linux with an Intel or AMD processor."""
    return f"manylinux{tag}_x86_64" if tag.startswith("20") else f"manylinux_{tag}_x86_64"


@pytest.mark.parametrize(("python", "torch"), [("3.11", "2.13.0+here"), ("3.12", "2.8.0+space")])
def test_the_requirements_resolve_for_the_pythons_of_this_machine_and_of_the_space(
    resolve: Any, python: str, torch: str
) -> None:
    packages, said = resolve(python, torch)
    assert packages is not None, said
    found = {package["name"].lower(): package["version"] for package in packages}
    assert found["torch"] == torch
    for name in ("gradio", "transformers", "altair"):
        assert found[name] == pinned(name)
    assert {"spaces", "gguf", "accelerate", "scikit-learn", "numpy", "jaxtyping"} <= set(found)


def test_python_3_10_is_ruled_out_by_the_pinned_transformers(resolve: Any, card: dict[str, Any]) -> None:
    packages, said = resolve("3.10", "2.8.0+space")
    assert packages is None
    assert f"No matching distribution found for transformers=={pinned('transformers')}" in said
    assert f"{pinned('transformers')} Requires-Python >=3.11" in said
    assert card["python_version"] != "3.10"
