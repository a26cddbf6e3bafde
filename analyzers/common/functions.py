"""Functions by name, so that a row can name one whose module, and torch with it, is loaded when it is first used."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any


def load_function(name: str) -> Callable[..., Any]:
    """The function that `package.module:function` names. Raises ImportError or AttributeError where there is none."""
    module, _, function = name.partition(":")
    loaded: Callable[..., Any] = getattr(importlib.import_module(module), function)
    return loaded
