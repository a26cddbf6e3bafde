"""The factor view: a row per factor with its sparkline and layers, and the text lit by the factor looked at."""

from __future__ import annotations

from ui.components.base import DrawnByScript


class FactorView(DrawnByScript):
    """Hover a factor and its tokens light; hover a token and its factors are named. The event `select` carries `index`,
    a factor counted from 0, when one is pinned.

    Value: what `ui.charts.neuron_factors.view_value` returns.
    """

    name = "factor_view"
