"""The lesson that a visitor follows: its question always in sight, its guide on demand."""

from __future__ import annotations

from ui.components.base import DrawnByScript


class LessonCard(DrawnByScript):
    """Questions to go through, the guide to one, and a form for a lesson of one's own, which is a link. It asks no server.

    Value: what `ui.lessons.lesson_card` returns.
    """

    name = "lesson_card"
