"""The grid of the whole text: layers down, positions across, the top token in each cell. Drawn with `textContent` only."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import gradio as gr

_FOLDER = Path(__file__).parent


class LensGrid(gr.HTML):
    """A grid of tokens; the event `select` carries `index`, [layer, position]. Arrow keys move, Enter selects.

    Value: what `ui.charts.layer_predictions.overview_grid` returns.
    """

    def __init__(self, value: dict[str, Any] | None = None, **options: Any) -> None:
        super().__init__(
            value=value,
            html_template='<div class="ecco-grid"></div>',
            css_template=(_FOLDER / "lens_grid.css").read_text(encoding="utf-8"),
            js_on_load=(_FOLDER / "lens_grid.js").read_text(encoding="utf-8"),
            **options,
        )

    def preprocess(self, payload: Any) -> None:
        """What a browser sends back as the value is not used."""
        return

    def postprocess(self, value: Any) -> Any:
        """As text: Gradio sends what changed inside an object, and its page can miss that; a text is replaced whole."""
        return json.dumps(value) if isinstance(value, dict) else value

    def api_info(self) -> dict[str, Any]:
        return {"type": "object", "description": "heads and cells, as drawn"}
