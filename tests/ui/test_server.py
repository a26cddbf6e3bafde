"""Who may name which model, decided when the app starts."""

from __future__ import annotations

import socket
from collections.abc import Iterator

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


@pytest.fixture
def taken() -> Iterator[int]:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        yield other.getsockname()[1]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--port", "0"], "There is no port 0. Give --port a number from 1 to 65535"),
        (["--port", "70000"], "There is no port 70000."),
        (["--host", "no.such.name.invalid"], "There is no address 'no.such.name.invalid'."),
        (["--host", "192.0.2.1"], "'192.0.2.1' is no address of this machine."),
    ],
)
def test_an_address_that_cannot_be_served_on_is_a_sentence(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert server.serve(arguments) == 2
    assert said in capsys.readouterr().err


def test_a_port_in_use_is_a_sentence_with_another(taken: int, capsys: pytest.CaptureFixture[str]) -> None:
    assert server.serve(["--port", str(taken)]) == 2
    assert f"Port {taken} is in use" in (said := capsys.readouterr().err)
    assert f"--port {taken + 1}" in said


def test_a_port_of_the_environment_that_is_no_number_is_a_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("GRADIO_SERVER_PORT", "many")
    with pytest.raises(SystemExit):
        server.serve([])
    assert "invalid int value: 'many'" in capsys.readouterr().err


@pytest.mark.parametrize(("host", "shown"), [("127.0.0.1", "127.0.0.1"), ("::1", "[::1]"), ("nlp.local", "nlp.local")])
def test_the_address_that_is_printed_can_be_opened(host: str, shown: str) -> None:
    assert server._reachable(host) == shown


def test_of_an_app_that_listens_everywhere_this_machines_own_address_is_printed() -> None:
    assert server._reachable("0.0.0.0") not in ("0.0.0.0", "")
