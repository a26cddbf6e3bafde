"""What the components that draw with a script share: a value of plain data in, an event with an index out.

They draw with `textContent` only, and their templates hold no value, so nothing that a visitor types is ever parsed by
the browser or by Gradio's template engine.
"""

from __future__ import annotations

import json
from pathlib import Path

import gradio as gr

from analyzers.common.languages import Language
from ui.texts import say
from ui.values import Value

FOLDER = Path(__file__).parent


class DrawnByScript(gr.HTML):
    """A component drawn by the script of its name, with `base.js` read before it. Never filled in by a visitor."""

    name: str
    """Of its script and its stylesheet, and of the one element in its template."""
    attributes: str = ""
    """Of that element."""

    def __init__(self, value: Value | None = None, **options: object) -> None:
        script = "".join((FOLDER / name).read_text(encoding="utf-8") for name in ("base.js", f"{self.name}.js"))
        super().__init__(
            value=value,
            html_template=f'<div class="ecco-{self.name.replace("_", "-")}"{self.attributes}></div>',
            css_template=(FOLDER / f"{self.name}.css").read_text(encoding="utf-8"),
            js_on_load=script,
            **options,
        )

    def preprocess(self, payload: object) -> None:
        """What a browser sends back as the value is not used."""
        return

    def postprocess(self, value: object) -> object:
        """As text: Gradio sends what changed inside an object, and its page can miss that; a text is replaced whole."""
        return json.dumps(value) if isinstance(value, dict) else value

    def api_info(self) -> Value:
        return {"type": "object", "description": "what is drawn"}


def empty_state(analysis: str, language: Language) -> Value:
    """The value of a tab's strip or view before its first run: what will stand there, and how to get it."""
    return {"empty": say(f"empty_{analysis}", language), "how": say(f"empty_{analysis}_how", language)}
