"""The import table of the architecture, read from the source and kept true."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FOLDERS = ("common", "sources", "models", "methods", "", "serving")
"""Of `analyzers`, lowest first; the six analyses themselves lie in none. Each imports from those below it, and from its own."""
MODULES = sorted([*ROOT.glob("analyzers/**/*.py"), *ROOT.glob("ui/**/*.py"), *ROOT.glob("app.py")])


def imported_by(source: str) -> set[str]:
    """Top-level packages that a source imports anywhere, inside functions too."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            found.add(node.module.partition(".")[0])
    return found


def may_import(package: str, path: str) -> bool:
    """The table."""
    in_charts = path.startswith("ui/charts/")
    in_analyzers = path.startswith("analyzers/")
    if package == "torch":
        return in_analyzers and folder_of(path) != "sources"
    if package == "transformers":
        return path in ("analyzers/models/loading.py", "analyzers/models/tokenizing.py", "analyzers/models/anatomy.py")
    if package == "gradio":
        return path == "app.py" or (path.startswith("ui/") and not in_charts)
    if package == "altair":
        return in_charts
    if package == "spaces":
        return path == "ui/zero_gpu.py"
    if package == "ui":
        return not in_analyzers
    return True


def folder_of(path: str) -> str:
    """The folder of a module of `analyzers`; empty for the analyses."""
    parts = path.split("/")
    return parts[1] if len(parts) == 3 else ""


def climbs(path: str, source: str) -> list[str]:
    """Imports between the folders of `analyzers` that go up: `common <- sources <- models <- methods <- the analyses <-
    serving`. What only a type checker reads, and what `__main__` reads, may come from anywhere."""
    if not path.startswith("analyzers/") or path.endswith("__main__.py"):
        return []
    tree = ast.parse(source)
    unread = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"
        for inner in ast.walk(node)
    }
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module and id(node) not in unread:
            parts = node.module.split(".")
            if parts[0] == "analyzers" and len(parts) > 1:
                folder = parts[1] if parts[1] in FOLDERS else ""
                if FOLDERS.index(folder) > FOLDERS.index(folder_of(path)):
                    found.append(f"{path} imports {node.module}, which stands above it")
    return found


def broken_rules(path: str, source: str) -> list[str]:
    outside = [f"{path} imports {name}" for name in sorted(imported_by(source)) if not may_import(name, path)]
    return [*outside, *climbs(path, source)]


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_each_module_imports_only_what_its_place_allows(path: Path) -> None:
    assert broken_rules(path.relative_to(ROOT).as_posix(), path.read_text()) == []


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("ui/tabs/saliency.py", "import torch.nn"),
        ("ui/charts/saliency.py", "def f():\n    import gradio as gr"),
        ("ui/tabs/saliency.py", "from altair import Chart"),
        ("analyzers/saliency.py", "from transformers import AutoModel"),
        ("analyzers/saliency.py", "import ui.texts"),
        ("analyzers/serving/table.py", "import gradio"),
        ("analyzers/serving/dispatch.py", "import spaces"),
    ],
)
def test_a_forbidden_import_is_seen_wherever_it_stands(path: str, source: str) -> None:
    assert len(broken_rules(path, source)) == 1


def test_the_first_page_needs_neither_torch_nor_transformers() -> None:
    names = ["sources.catalog", "models.store", "common.sentences", "common.limits"]
    names += [f"serving.{name}" for name in ("request", "dispatch", "document", "table")]
    lines = [f"import analyzers.{name}" for name in names]
    lines += ["import sys", "print(sorted({'torch', 'transformers', 'gradio', 'altair'} & set(sys.modules)))"]
    run = subprocess.run(
        [sys.executable, "-c", "; ".join(lines)], cwd=ROOT, capture_output=True, text=True, timeout=60, check=True
    )
    assert run.stdout.strip() == "[]"


def test_importing_the_app_imports_no_model_library_and_nothing_of_a_space() -> None:
    source = "import app, sys; print(sorted({'torch', 'transformers', 'gradio', 'spaces'} & set(sys.modules)))"
    run = subprocess.run(
        [sys.executable, "-c", source], cwd=ROOT, capture_output=True, text=True, timeout=60, check=True
    )
    assert run.stdout.strip() == "[]"
