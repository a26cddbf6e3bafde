"""The factor view: a row per factor with its sparkline and layers, and the text lit by the factor looked at. Drawn with
`textContent` only."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import gradio as gr

_FOLDER = Path(__file__).parent


class FactorView(gr.HTML):
    """Hover a factor and its tokens light; hover a token and its factors are named. The event `select` carries `index`,
    a factor counted from 0, when one is pinned.

    Value: what `ui.charts.neuron_factors.view_value` returns.
    """

    def __init__(self, value: dict[str, Any] | None = None, **options: Any) -> None:
        super().__init__(
            value=value,
            html_template='<div class="ecco-factors"></div>',
            css_template=(_FOLDER / "factor_view.css").read_text(encoding="utf-8"),
            js_on_load=(_FOLDER / "factor_view.js").read_text(encoding="utf-8"),
            **options,
        )

    def preprocess(self, payload: Any) -> None:
        """What a browser sends back as the value is not used."""
        return

    def postprocess(self, value: Any) -> Any:
        """As text: Gradio sends what changed inside an object, and its page can miss that; a text is replaced whole."""
        return json.dumps(value) if isinstance(value, dict) else value

    def api_info(self) -> dict[str, Any]:
        return {"type": "object", "description": "glyphs and factors, as drawn"}
