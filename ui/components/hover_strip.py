"""A text whose tokens are coloured by one of them."""

from __future__ import annotations

from ui.components.base import DrawnByScript


class HoverStrip(DrawnByScript):
    """A text whose tokens are coloured by the row of the token that is hovered, focused, tapped or pinned.

    Value: what `ui.charts.token_strip.strip_value` returns. The event `select` carries `index`, a position, when a
    token is pinned; nothing else ever asks the server.
    """

    name = "hover_strip"
