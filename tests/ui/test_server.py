"""Who may name which model, decided when the app starts."""

from __future__ import annotations

import pytest

from ui import server


@pytest.mark.parametrize(
    ("arguments", "on_space", "any_model"),
    [
        ([], False, True),
        (["--host", "localhost"], False, True),
        (["--host", "0.0.0.0"], False, False),
        (["--share"], False, False),
        ([], True, False),
        (["--share", "--any-model"], False, True),
        (["--any-model"], True, True),
        (["--no-any-model"], False, False),
    ],
)
def test_any_model_may_be_typed_on_ones_own_machine_and_elsewhere_only_if_asked_for(
    arguments: list[str], on_space: bool, any_model: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SPACE_ID", raising=False)
    if on_space:
        monkeypatch.setenv("SPACE_ID", "someone/space")
    given = server._options().parse_args(arguments)
    assert server._any_model(given) is any_model


@pytest.mark.parametrize("precision", ["8bit", "4bit"])
def test_quantized_weights_without_bitsandbytes_are_a_sentence_at_start(
    precision: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("analyzers.models.placement.importlib.util.find_spec", lambda _name: None)
    assert server.serve(["--precision", precision]) == 2
    assert "pip install bitsandbytes" in capsys.readouterr().err
