"""The hover strip's value: the text in glyphs, and one row of numbers per explained token. No HTML."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Any

import numpy as np

from analyzers.saliency import Saliency
from analyzers.sentences import Language
from analyzers.tokens import Token, named, visible
from ui.texts import say


def strip_value(result: Saliency, language: Language, pinned: int | None) -> dict[str, Any]:
    """What the strip draws. `matrix` is (explained, position) float32, base64, little-endian: signed shares −1 to 1,
    or signed scores divided by `scale`."""
    if result.shares is not None:
        numbers, scale = result.shares * result.signs, 1.0
    else:
        scale = float(np.abs(result.scores).max()) or 1.0
        numbers = result.scores / scale
    return {
        "glyphs": glyphs(result.tokens),
        "names": [named(token) for token in result.tokens],
        "explained": list(result.explained),
        "values": [float(value) for value in result.values],
        "width": int(numbers.shape[1]),
        "matrix": _packed(numbers),
        "hidden": None if result.hidden_values is None else _packed(result.hidden_values),
        "scale": scale,
        "is_share": result.shares is not None,
        "is_percent": result.target == "probability",
        "is_signed": result.is_signed,
        "pinned": pinned,
        "words": {
            "label": say("strip_label", language),
            "help": say("strip_help", language),
            "legend": say("legend_share" if result.shares is not None else "legend_score", language),
            "for": say("legend_for", language),
            "against": say("legend_against", language),
            "target": target_name(result, language),
            "output": say("reading_output", language),
            "share": say("reading_share", language),
            "score": say("reading_score", language),
            "hidden": say("reading_hidden", language),
        },
    }


def empty_strip(language: Language) -> dict[str, Any]:
    """The strip before the first run."""
    return {"empty": say("strip_empty", language)}


def glyphs(tokens: Sequence[Token]) -> list[dict[str, Any]]:
    """What is drawn, in order: each run of tokens that share characters once, with the positions of its parts."""
    drawn: list[dict[str, Any]] = []
    for token in tokens:
        if drawn and drawn[-1]["parts"][0] == token.glyph_start:
            drawn[-1]["parts"].append(token.position)
        else:
            drawn.append(
                {
                    "text": visible(token.text if token.special else token.glyph_text),
                    "parts": [token.position],
                    "special": token.special,
                    "breaks": (0 if token.special else token.glyph_text.count("\n")),
                    "starts": token.special or token.glyph_text[:1].isspace() or token.position == 0,
                }
            )
    return drawn


def target_name(result: Saliency, language: Language) -> str:
    """The explained number, in words."""
    if result.contrast is not None:
        return say("target_contrast", language, text=visible(result.contrast.text), id=result.contrast.id)
    return say(f"target_{result.target}", language)


def _packed(numbers: np.ndarray) -> str:
    return base64.b64encode(np.ascontiguousarray(numbers, dtype="<f4").tobytes()).decode()
