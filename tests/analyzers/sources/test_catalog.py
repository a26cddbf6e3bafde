from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from analyzers.sources import catalog, hub_probe, local_files, resolver
from analyzers.sources.catalog import CATALOG
from analyzers.sources.hub_probe import HubProbe


def test_ids_labels_and_hub_ids_are_unique() -> None:
    names = [row.id for row in CATALOG] + [row.hub_id for row in CATALOG if row.hub_id]
    assert len(set(names)) == len(names)
    assert len({row.label for row in CATALOG}) == len(CATALOG)


@pytest.mark.parametrize("row", CATALOG, ids=lambda row: row.id)
def test_each_row_says_where_it_comes_from_and_is_found_by_either_name(row: catalog.CatalogModel) -> None:
    assert row.bundled != (row.hub_id is not None)
    assert row.megabytes > 0
    assert row.id == row.id.lower()
    assert catalog.find_row(row.id) is row
    assert row.hub_id is None or catalog.find_row(row.hub_id) is row


def test_the_bundled_models_are_at_hand_and_the_fallback_is_one_of_them() -> None:
    bundled = {row.id for row in CATALOG if row.bundled}
    assert bundled == {"smollm2-135m-instruct", "minilm-l6"}
    assert catalog.OFFLINE_MODEL in bundled
    assert all(local_files.is_on_this_machine(row) for row in CATALOG if row.bundled)


def test_a_name_that_is_no_row_is_not_found() -> None:
    assert catalog.find_row("GPT2") is None
    assert catalog.find_row("") is None


class _Hub(BaseHTTPRequestHandler):
    status = 200
    asked: list[str]

    def do_HEAD(self) -> None:
        self.asked.append(self.path)
        self.send_response(self.status)
        self.end_headers()

    def log_message(self, *_args: object) -> None:
        pass


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[_Hub]]:
    """A Hub on this machine."""
    handler = type("Hub", (_Hub,), {"asked": []})
    server = HTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    yield handler
    server.shutdown()
    thread.join()
    server.server_close()


def test_the_hub_is_asked_once(hub: type[_Hub]) -> None:
    probe = HubProbe()
    assert [probe.answers() for _ in range(3)] == [True, True, True]
    assert len(hub.asked) == 1


@pytest.mark.parametrize(("status", "answers"), [(200, True), (401, True), (404, True), (429, True), (503, False)])
def test_an_error_of_the_hub_itself_is_no_answer(hub: type[_Hub], status: int, answers: bool) -> None:
    hub.status = status
    assert HubProbe().answers() is answers


def test_a_silent_hub_costs_no_more_than_the_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{silent.getsockname()[1]}")
        monkeypatch.setenv("HF_HUB_OFFLINE", "0")
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        started = time.perf_counter()
        assert not HubProbe(seconds=0.3).answers()
        assert time.perf_counter() - started < 2


def test_a_hub_that_refuses_the_connection_is_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{port}")
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    assert not HubProbe().answers()


@pytest.mark.parametrize("offline", ["1", "true", "YES", "On"])
def test_offline_means_that_nothing_is_asked(hub: type[_Hub], monkeypatch: pytest.MonkeyPatch, offline: str) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", offline)
    assert not HubProbe().answers()
    assert hub.asked == []


@pytest.mark.parametrize("endpoint", ["file:///etc/passwd", "ftp://127.0.0.1/", "", "huggingface.co"])
def test_only_http_is_asked(monkeypatch: pytest.MonkeyPatch, endpoint: str) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    monkeypatch.setenv("HF_ENDPOINT", endpoint)
    assert not HubProbe().answers()


def test_the_default_is_gpt2_where_the_hub_answers_and_the_bundled_model_where_not(
    hub: type[_Hub], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local_files, "find_cached_folder", lambda row: None)
    monkeypatch.setattr(hub_probe, "HUB", HubProbe())
    assert resolver.default_model() == "gpt2"
    hub.status = 500
    monkeypatch.setattr(hub_probe, "HUB", HubProbe())
    assert resolver.default_model() == "smollm2-135m-instruct"


def test_a_cached_gpt2_is_the_default_and_the_hub_is_not_asked(
    hub: type[_Hub], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    snapshot = tmp_path / "models--openai-community--gpt2" / "snapshots" / "abc"
    snapshot.mkdir(parents=True)
    (snapshot.parents[1] / "refs").mkdir()
    (snapshot.parents[1] / "refs" / "main").write_text("abc")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.file_download.HF_HUB_CACHE", str(tmp_path), raising=False)
    monkeypatch.setattr(hub_probe, "HUB", HubProbe())
    row = catalog.find_row("gpt2")
    assert row is not None
    for name in ("config.json", "tokenizer.json"):
        (snapshot / name).write_text("{}")
    assert local_files.find_cached_folder(row) is None, "no weights yet"
    (snapshot / "model.safetensors").write_text("")
    assert local_files.find_cached_folder(row) == snapshot
    assert resolver.default_model() == "gpt2"
    assert hub.asked == []
