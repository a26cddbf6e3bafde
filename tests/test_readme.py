"""README and docs say what is so: their tables are the code's, their commands and their Python run, their links lead somewhere."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
import tomllib
from dataclasses import MISSING, fields
from pathlib import Path

import pytest
from families import FAMILIES
from reading_guide import GUIDE, reading_guide

from analyzers.__main__ import main
from analyzers.common.limits import Limits
from analyzers.common.version import VERSION
from analyzers.serving.analyses import analyses_with_tab
from analyzers.sources.catalog import CATALOG

ROOT = Path(__file__).parent.parent
PAGES = {
    path.relative_to(ROOT).as_posix(): path.read_text() for path in (ROOT / "README.md", *ROOT.glob("docs/**/*.md"))
}
README = PAGES["README.md"]


def blocks(language: str) -> list[tuple[str, str]]:
    """Every code block in a language, with the page that it stands on."""
    pattern = re.compile(rf"^```{language}\n(.*?)^```$", re.MULTILINE | re.DOTALL)
    return [(page, block) for page, text in PAGES.items() for block in pattern.findall(text)]


def table_under(heading: str, page: str = "README.md") -> list[list[str]]:
    """The cells of the first table under a heading, its own headings left out."""
    section = PAGES[page].split(f"# {heading}\n")[1].split("\n## ")[0]
    rows = [line for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in rows[2:]]


def commands() -> list[tuple[str, str]]:
    """Every `python -m analyzers …` in a block, with its page."""
    return [
        (page, line)
        for page, block in blocks("sh")
        for line in block.splitlines()
        if line.startswith("python -m analyzers")
    ]


def percentages(output: str) -> list[tuple[str, float]]:
    """Token and share of each line of a table of shares."""
    return [(token, float(share)) for token, share in re.findall(r"^ +\d+ (\S+) +([\d.]+)%", output, re.MULTILINE)]


def test_models_table_is_the_catalog() -> None:
    expected = [
        [f"`{row.id}`", row.label, row.kind, f"{row.megabytes:,} MB", f"`{row.hub_id}`" if row.hub_id else "bundled"]
        for row in CATALOG
    ]
    assert table_under("Models") == expected


def test_families_table_is_what_the_tests_go_through() -> None:
    tabs = [row.name for row in analyses_with_tab()]
    expected = [
        [f"`{name}`", family.kind, *("–" if tab in family.without else "✓" for tab in tabs)]
        for name, family in FAMILIES.items()
    ]
    assert [row[:6] for row in table_under("Families", "docs/models.md")] == expected


def test_limits_table_is_the_limits() -> None:
    # What depends on the machine is said in words.
    defaults = {
        item.name: "three quarters of the memory" if item.default is MISSING else f"{item.default:,}"
        for item in fields(Limits)
    }
    expected = [[f"`{name}`", default] for name, default in defaults.items()]
    assert [row[:2] for row in table_under("Limits", "docs/limits.md")] == expected


def test_the_reading_guide_is_the_pages_help() -> None:
    assert GUIDE.read_text(encoding="utf-8") == reading_guide(), "write it anew: python tests/reading_guide.py"


@pytest.mark.parametrize(("page", "command"), commands())
def test_command_gives_the_output_shown(page: str, command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(shlex.split(command)[3:]) == 0
    output = capsys.readouterr().out
    shown = re.search(r"^```text\n(.*?)^```$", PAGES[page].split(command)[1], re.MULTILINE | re.DOTALL)
    assert shown is not None
    assert len(percentages(shown[1])) > 5
    assert [token for token, _ in percentages(output)] == [token for token, _ in percentages(shown[1])]
    # Another processor rounds otherwise in the last digit shown.
    assert [share for _, share in percentages(output)] == pytest.approx([s for _, s in percentages(shown[1])], abs=0.2)
    # All but the first line, which holds this run's seconds.
    words = [re.sub(r"[\d.]+", "0", line) for line in output.splitlines()[1:]]
    assert [w.rstrip(" █") for w in words] == [
        re.sub(r"[\d.]+", "0", line).rstrip(" █") for line in shown[1].splitlines()[1:]
    ]


@pytest.mark.parametrize(
    "command",
    sorted({command for text in PAGES.values() for command in re.findall(r"`(python -m analyzers [^`]+)`", text)}),
)
def test_command_in_the_text_is_understood(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    try:
        status = main(shlex.split(command)[3:])
    except SystemExit as end:  # --help
        status = int(end.code or 0)
    assert status == 0
    assert capsys.readouterr().out


@pytest.mark.parametrize(("page", "code"), blocks("python"))
def test_python_runs(page: str, code: str, capsys: pytest.CaptureFixture[str]) -> None:
    exec(compile(code, page, "exec"), {"__name__": "readme"})
    assert "London" in capsys.readouterr().out


def test_there_is_something_to_run() -> None:
    assert commands()
    assert blocks("python")


def test_make_targets_exist() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = {
        a or b for text in PAGES.values() for a, b in re.findall(r"^make ([a-z]+)|`make ([a-z]+)", text, re.MULTILINE)
    }
    assert {"run", "test"} <= named <= targets


def test_options_are_those_of_the_app() -> None:
    found = subprocess.run([sys.executable, "app.py", "--help"], cwd=ROOT, capture_output=True, text=True, check=True)
    offered = set(re.findall(r"--[a-z-]+", found.stdout)) - {"--help"}
    assert {row[0].strip("`") for row in table_under("Run it")} == offered


@pytest.mark.parametrize("page", PAGES)
def test_what_a_page_links_to_or_names_is_there(page: str) -> None:
    folder = (ROOT / page).parent
    links = [link.split("#")[0] for link in re.findall(r"\]\((?!https?:)([^)]*)\)", PAGES[page])]
    assert [link for link in links if link and not (folder / link).exists()] == []
    paths = re.findall(r"`((?:analyzers|ui|tests|benchmarks|docs)/[\w/.]+)`", PAGES[page])
    assert [path for path in paths if not (ROOT / path).exists() and "NAME" not in path and "CODE" not in path] == []


def test_every_page_and_decision_is_linked_from_its_index() -> None:
    indexed = {
        link for page in ("README.md", "docs/decisions/README.md") for link in re.findall(r"\]\(([^)]*)\)", PAGES[page])
    }
    for page in PAGES.keys() - {"README.md", "docs/decisions/README.md"}:
        assert page in indexed or page.rpartition("/")[2] in indexed, page


def test_the_version_is_the_project_files() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert project["project"]["version"] == VERSION
