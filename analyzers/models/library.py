"""Names for what transformers, tokenizers and torch's hooks hand over without types."""

from __future__ import annotations

from typing import Any, TypeAlias

Module: TypeAlias = Any
"""A model of transformers: a torch module with a `config`, called with ids or embeddings by name."""
Tokenizer: TypeAlias = Any
"""A tokenizer of transformers: called with a text or several, it gives `input_ids`."""
Config: TypeAlias = Any
"""A configuration, as an object."""
Output: TypeAlias = Any
"""What a module returns: a tensor, a tuple with one first, or an object with fields."""
Args: TypeAlias = tuple[Any, ...]
"""What a module is called with by position."""
Kwargs: TypeAlias = dict[str, Any]
"""What it is called with by name."""
