"""Where a name leads, and what is said of the model there."""

from __future__ import annotations

import pytest

from analyzers.errors import InputError
from analyzers.metadata import Metadata
from analyzers.sources import Source, checked_kind

FILES = Metadata("causal", 10, 40, {"model_type": "gpt2"})


def test_the_kind_that_is_said_of_a_model_goes_before_that_of_its_files() -> None:
    assert checked_kind(Source("a", None, kind="encoder"), FILES) == "encoder"
    assert checked_kind(Source("a", None), FILES) == "causal"


def test_a_type_that_needs_code_of_its_own_is_refused_whatever_is_said_of_it() -> None:
    with pytest.raises(InputError, match="own-code") as refused:
        checked_kind(Source("a", None, kind="causal"), Metadata("causal", 10, 40, {"model_type": "own-code"}))
    assert refused.value.sentence.key == "model_type_unknown"
