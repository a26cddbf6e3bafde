"""What a visitor saves lies under a name that nobody guesses, within bounds, and goes with the process."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from gradio.utils import get_upload_folder
from served import Served, Visit

from ui import downloads
from ui.downloads import Downloads


def test_equal_texts_have_unequal_names_where_gradio_serves_them() -> None:
    kept = Downloads()
    try:
        first, second = (kept.save("a.csv", "text") for _ in range(2))
        assert first is not None
        assert second is not None
        assert first != second
        assert Path(first).read_text() == "text"
        for path in (first, second):
            assert Path(path).is_relative_to(get_upload_folder())  # Gradio copies it nowhere else
            assert len(Path(path).parent.name) >= 32
    finally:
        kept.remove()
    assert not Path(first).exists()


def test_the_oldest_make_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(downloads, "MOST_BYTES", 10)
    kept = Downloads()
    try:
        first, second, third = (kept.save("a", "12345") for _ in range(3))
        assert not Path(str(first)).exists()
        assert Path(str(second)).exists()
        assert Path(str(third)).exists()
        assert Path(str(kept.save("a", "1" * 99))).exists()  # one is always kept
    finally:
        kept.remove()


def test_they_go_with_their_session() -> None:
    kept = Downloads()
    try:
        ours, theirs = kept.save("a", "ours", "one"), kept.save("a", "theirs", "other")
        nobodys = kept.save("a", "of an endpoint")
        kept.forget("one")
        kept.forget(None)
        assert not Path(str(ours)).exists()
        assert Path(str(theirs)).read_text() == "theirs"
        assert Path(str(nobodys)).exists()
    finally:
        kept.remove()


def test_a_page_that_is_closed_takes_its_files_along(browser: Callable[[str], Any], served_app: Served) -> None:
    """Not at once: the connection may only have broken."""

    def files() -> set[Path]:
        homes = Path(get_upload_folder()).glob(f"eccolens-{served_app.pid}-*")
        return {path for home in homes for path in home.rglob("*.csv")}

    before = files()
    visit = Visit(browser, served_app.address)
    visit.run("the keys to", 1)
    own = files() - before
    assert own
    visit.close()
    deadline = time.monotonic() + 30
    while files() & own and time.monotonic() < deadline:
        time.sleep(0.2)
    assert not files() & own


def test_a_full_disk_is_no_file(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    assert Downloads().save("a", "b") is None


def test_nothing_is_left_when_the_app_is_ended(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    code = (
        "import os, signal\nfrom ui import server\nfrom ui.downloads import DOWNLOADS\n"
        "import gradio as gr\n"
        "def block(app): DOWNLOADS.save('a', 'b'); os.kill(os.getpid(), signal.SIGTERM)\n"
        "gr.Blocks.block_thread = block\n"
        f"server.serve(['--port', '{port}', '--no-background'])\n"
    )
    environment = {"GRADIO_TEMP_DIR": str(tmp_path), "HF_HUB_OFFLINE": "1"}
    ended = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, **environment}, capture_output=True, timeout=90
    )
    assert ended.returncode == 128 + signal.SIGTERM, ended.stderr.decode()[-2000:]
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
