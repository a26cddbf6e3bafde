"""The page's texts as marks that the browser fills in, in its own language."""

from __future__ import annotations

import gradio as gr

from analyzers.common.languages import LANGUAGES
from ui.texts import say, text_keys
from ui.values import Mark

I18N = gr.I18n(**{language: {key: say(key, language) for key in text_keys()} for language in LANGUAGES})
"""Given to `launch`; the page follows the browser's language and Settings → Language."""


def T(key: str) -> Mark:
    """A text that the browser shows in its own language. Raises KeyError for an unknown key."""
    if key not in I18N.translations[LANGUAGES[0]]:
        raise KeyError(key)
    return I18N(key)


def label_of(key: str, otherwise: str = "") -> Mark:
    """As `T`, and for what has no text in any language its own name."""
    return T(key) if key in text_keys() else otherwise or key
