"""Two custom components: the hover strip, and a line of text that is never read as HTML.

Both draw with `textContent` only; the template holds no value, so nothing a user types is ever parsed by the browser
or by Gradio's template engine.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import gradio as gr

from analyzers.common.sentences import Language
from ui.texts import say

_FOLDER = Path(__file__).parent


class HoverStrip(gr.HTML):
    """A text whose tokens are coloured by the row of the token that is hovered, focused, tapped or pinned.

    Value: what `ui.charts.token_strip.strip_value` returns. The event `select` carries `index`, a position, when a
    token is pinned; nothing else ever asks the server.
    """

    def __init__(self, value: dict[str, Any] | None = None, **options: Any) -> None:
        super().__init__(
            value=value,
            html_template='<div class="ecco-strip"></div>',
            css_template=(_FOLDER / "hover_strip.css").read_text(encoding="utf-8"),
            js_on_load=(_FOLDER / "hover_strip.js").read_text(encoding="utf-8"),
            **options,
        )

    def preprocess(self, payload: Any) -> None:
        """What a browser sends back as the value is not used."""
        return

    def postprocess(self, value: Any) -> Any:
        """As text: Gradio sends what changed inside an object, and its page can miss that; a text is replaced whole."""
        return json.dumps(value) if isinstance(value, dict) else value

    def api_info(self) -> dict[str, Any]:
        return {"type": "object", "description": "glyphs and numbers, as drawn"}


class Notice(gr.HTML):
    """Lines of text with a kind: `info`, `busy`, `warning` or `error`. Value: `{"kind": ..., "lines": [...]}`."""

    def __init__(self, value: dict[str, Any] | None = None, **options: Any) -> None:
        super().__init__(
            value=value,
            html_template='<div class="ecco-notice" role="status" aria-live="polite"></div>',
            css_template=(_FOLDER / "notice.css").read_text(encoding="utf-8"),
            js_on_load=(_FOLDER / "notice.js").read_text(encoding="utf-8"),
            elem_classes=["notice"],
            **options,
        )

    def preprocess(self, payload: Any) -> None:
        """What a browser sends back as the value is not used."""
        return

    def postprocess(self, value: Any) -> Any:
        """As text: Gradio sends what changed inside an object, and its page can miss that; a text is replaced whole."""
        return json.dumps(value) if isinstance(value, dict) else value

    def api_info(self) -> dict[str, Any]:
        return {"type": "object", "description": "kind and lines"}


def empty(analysis: str, language: Language) -> dict[str, Any]:
    """The value of a tab's strip or view before its first run: what will stand there, and how to get it."""
    return {"empty": say(f"empty_{analysis}", language), "how": say(f"empty_{analysis}_how", language)}


def notice(kind: str, *lines: str) -> dict[str, Any]:
    """A `Notice` value."""
    return {"kind": kind, "lines": list(lines)}
