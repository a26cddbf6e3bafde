"""Names for what Gradio and Altair take and give without types."""

from __future__ import annotations

from typing import Any, TypeAlias

Value: TypeAlias = dict[str, Any]
"""What a component of ours draws: plain data that becomes JSON."""
Row: TypeAlias = dict[str, Any]
"""One mark of a chart: its fields by name."""
Cells: TypeAlias = list[list[object]]
"""Of a table, row by row."""
Updates: TypeAlias = dict[Any, Any]
"""Components, and what becomes of them; or what they hold."""
Options: TypeAlias = dict[str, Any]
"""Of a component or an event, by name."""
Mark: TypeAlias = Any
"""A text that the browser fills in, in its own language, where Gradio takes a string; and choices made of them."""
Event: TypeAlias = Any
"""What Gradio gives for a listener: it can be cancelled, and followed by another."""
Component: TypeAlias = Any
"""A component or a state, as an event's output."""
