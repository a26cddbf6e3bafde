"""What one takes home of a view, made in the browser from what is drawn there."""

from __future__ import annotations

from ui.components.base import DrawnByScript


class TakeHome(DrawnByScript):
    """Buttons that make a page, pictures, a table, Python and a command line of the tab's view. They ask no server.

    Value: what `ui.take_home.take_home` returns.
    """

    name = "take_home"


class TableRows(DrawnByScript):
    """The rows of the table beside it, as the page and the copy have them; draws nothing.

    Value: `headers` and `rows`.
    """

    name = "table_rows"
