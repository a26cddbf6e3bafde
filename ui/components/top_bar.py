"""What stands above everything: the languages, the larger letters, the link to this view."""

from __future__ import annotations

from analyzers.common.languages import LANGUAGES, Language
from ui.components.base import DrawnByScript
from ui.texts import say
from ui.values import Value


class TopBar(DrawnByScript):
    """Buttons that ask no server. Its event `select` carries `index`, the query of an address that the visitor went to: by
    Back, Forward, or by hand.

    Value: what `top_bar` returns.
    """

    name = "top_bar"


def top_bar(language: Language) -> Value:
    """A `TopBar` value."""
    return {
        "languages": [{"code": code, "name": say("language_name", code)} for code in LANGUAGES],
        "words": {name: say(f"bar_{name}", language) for name in ("languages", "large", "link", "copied", "by_hand")},
    }
