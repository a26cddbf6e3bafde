"""Writes docs/reading.md from the page's own help: `python tests/reading_guide.py`."""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from analyzers.common.languages import DEFAULT  # noqa: E402
from analyzers.serving.analyses import public_analyses  # noqa: E402
from ui.texts import say  # noqa: E402

GUIDE = ROOT / "docs" / "reading.md"
HEAD = """# How to read each tab

The page says the same under “How to read this”, in every language it has; this file is written from it
(`python tests/reading_guide.py`).
"""


def reading_guide() -> str:
    """The whole file."""
    sections = [f"## {say(row.name, DEFAULT)}\n\n{say(f'{row.name}_help', DEFAULT)}\n" for row in public_analyses()]
    return "\n".join([HEAD, *sections])


if __name__ == "__main__":
    GUIDE.write_text(reading_guide(), encoding="utf-8")
