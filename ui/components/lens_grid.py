"""The grid of the whole text: layers down, positions across, the top token in each cell."""

from __future__ import annotations

from ui.components.base import DrawnByScript


class LensGrid(DrawnByScript):
    """A grid of tokens; the event `select` carries `index`, [layer, position]. Arrow keys move, Enter selects.

    Value: what `ui.charts.layer_predictions.overview_grid` returns.
    """

    name = "lens_grid"
