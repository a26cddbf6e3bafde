"""The README says what is so: its tables are the code's, its commands and its Python run."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from dataclasses import MISSING, fields
from pathlib import Path

import pytest
from families import FAMILIES

from analyzers.__main__ import main
from analyzers.common.limits import Limits
from analyzers.sources.catalog import CATALOG

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()


def blocks(language: str) -> list[str]:
    """The README's code blocks in a language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)


def table_under(heading: str) -> list[list[str]]:
    """The cells of the first table under a heading, its own headings left out."""
    section = README.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    rows = [line for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in rows[2:]]


def commands() -> list[str]:
    """Every `python -m analyzers …` of the README, in a block or in a line of text."""
    return [line for block in blocks("sh") for line in block.splitlines() if line.startswith("python -m analyzers")]


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
    tabs = ("saliency", "layer-predictions", "rankings", "neuron-factors")
    expected = [
        [f"`{name}`", family.kind, *("–" if tab in family.without else "✓" for tab in tabs)]
        for name, family in FAMILIES.items()
    ]
    assert [row[:6] for row in table_under("Families")] == expected


def test_limits_table_is_the_limits() -> None:
    # What depends on the machine is said in words.
    defaults = {
        item.name: "three quarters of the memory" if item.default is MISSING else f"{item.default:,}"
        for item in fields(Limits)
    }
    expected = [[f"`{name}`", default] for name, default in defaults.items()]
    assert [row[:2] for row in table_under("Limits")] == expected


def test_there_is_a_command_to_run() -> None:
    assert commands()


@pytest.mark.parametrize("command", commands())
def test_command_gives_the_output_shown(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(shlex.split(command)[3:]) == 0
    output = capsys.readouterr().out
    after = README.split(command)[1]
    shown = re.search(r"^```text\n(.*?)^```$", after, re.MULTILINE | re.DOTALL)
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


@pytest.mark.parametrize("command", re.findall(r"`(python -m analyzers [^`]+)`", README))
def test_command_in_the_text_is_understood(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    try:
        status = main(shlex.split(command)[3:])
    except SystemExit as end:  # --help
        status = int(end.code or 0)
    assert status == 0
    assert capsys.readouterr().out


@pytest.mark.parametrize("code", blocks("python"))
def test_python_runs(code: str, capsys: pytest.CaptureFixture[str]) -> None:
    exec(compile(code, "README.md", "exec"), {"__name__": "readme"})
    assert "London" in capsys.readouterr().out


def test_make_targets_exist() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = set(re.findall(r"^make ([a-z]+)|`make ([a-z]+)", README, re.MULTILINE))
    assert {"run", "test"} <= {a or b for a, b in named} <= targets


def test_options_are_those_of_the_app() -> None:
    found = subprocess.run([sys.executable, "app.py", "--help"], cwd=ROOT, capture_output=True, text=True, check=True)
    offered = set(re.findall(r"--[a-z-]+", found.stdout)) - {"--help"}
    assert {row[0].strip("`") for row in table_under("Run it")} == offered


def test_paths_exist() -> None:
    paths = [row[0].strip("`") for row in table_under("From click to chart")]
    assert len(paths) > 5
    assert [path for path in paths if not (ROOT / path).exists()] == []
