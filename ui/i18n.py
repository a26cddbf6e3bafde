"""The page's strings as marks that the browser fills in, in its own language."""

from __future__ import annotations

from typing import Any

import gradio as gr

from ui.texts import TEXTS, translations

I18N = gr.I18n(en=translations("en"), ja=translations("ja"))
"""Given to `launch`; the page follows the browser's language and Settings → Language."""


def T(key: str) -> Any:
    """A string that the browser shows in its own language. Raises KeyError for an unknown key."""
    TEXTS[key]
    return I18N(key)
