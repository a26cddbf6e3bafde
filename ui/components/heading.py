"""What a tab's picture is of, and whether that is still what is asked for."""

from __future__ import annotations

from ui.components.base import DrawnByScript


class Heading(DrawnByScript):
    """One line above a picture. Its script dims the tab, a `.stage`, while the settings differ from those that the picture
    was asked for with, and while another run is under way.

    Value: `tab`; `id` of the question; `line`, what it is of, or None when its run has only begun, or `is_over` without
    an answer; `moved`, what to say when the settings have moved on; `link`, the question's address;
    `pin`, the position that is looked at; `model` and `model_name`; `findings`, what the answer shows in sentences.
    """

    name = "heading"


def tell_settings(tab: str) -> str:
    """A script that is given a tab's settings, as they are now, whenever one of them changes."""
    return f"""(...values) => {{
  const page = window.eccolens;
  page.now["{tab}"] = JSON.stringify(values.map((value) => String(value ?? "")));
  window.dispatchEvent(new Event("eccolens-settings"));
  return [];
}}"""
