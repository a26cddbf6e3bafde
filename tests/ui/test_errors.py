from __future__ import annotations

import logging
from types import SimpleNamespace
from typing import Any

import pytest

from analyzers.common.errors import InputError
from ui.errors import language_of, sentence_for
from ui.events import position_of


def request(accepts: str) -> Any:
    return SimpleNamespace(headers={"accept-language": accepts})


@pytest.mark.parametrize(
    ("accepts", "language"),
    [
        ("ja-JP,ja;q=0.9,en;q=0.8", "ja"),
        ("en-US,en;q=0.9,ja;q=0.8", "en"),
        ("fr-FR,ja;q=0.5", "ja"),
        ("", "en"),
        ("*", "en"),
    ],
)
def test_the_first_of_the_two_languages_is_chosen(accepts: str, language: str) -> None:
    assert language_of(request(accepts)) == language


def test_our_own_errors_say_nothing_of_the_visitors_text(caplog: pytest.LogCaptureFixture) -> None:
    secret = "my secret text"
    with caplog.at_level(logging.ERROR):
        try:
            raise RuntimeError(secret)
        except RuntimeError as error:
            said = sentence_for(error, "en")
    assert secret not in said + caplog.text
    assert "RuntimeError" in caplog.text


@pytest.mark.parametrize("value", [None, True, 1.5, "11", [11], {"index": 11}, 9, -1, float("nan")])
def test_a_position_that_is_not_one_is_refused(value: Any) -> None:
    with pytest.raises(InputError):
        position_of(value, (10, 11, 12))
