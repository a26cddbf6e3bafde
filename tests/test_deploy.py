"""Publishing: what is uploaded, and each step of it against a Hub on this machine."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from stub_spaces import StubSpaces

from analyzers.common.limits import read_limits
from analyzers.serving.analyses import public_analyses

ROOT = Path(__file__).parents[1]
TOKEN = "hf_" + "x" * 12
OLD = {".gitattributes": b"", "app.py": b"# an older version", "README.md": b"---\nsdk: gradio\n---\n", "gone.py": b"1"}


def load_deploy() -> Any:
    spec = importlib.util.spec_from_file_location("deploy", ROOT / ".huggingface" / "deploy.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["deploy"] = module
    spec.loader.exec_module(module)
    return module


deploy = load_deploy()


@pytest.fixture(scope="module")
def plan() -> Any:
    return deploy.read_plan(None, None)


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """deploy.py in a process of its own, as a person starts it, only less patient."""
    code = "import sys, deploy; deploy.POLL_SECONDS = 0.02; raise SystemExit(deploy.main(sys.argv[1:]))"
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        cwd=ROOT / ".huggingface",
        env={name: value for name, value in os.environ.items() if name != "HF_TOKEN"} | environment,
        capture_output=True,
        text=True,
        timeout=120,
    )


@pytest.fixture
def publish(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    def start(hub: StubSpaces, *arguments: str) -> subprocess.CompletedProcess[str]:
        return run(
            "--timeout",
            "30",
            *arguments,
            HF_ENDPOINT=hub.start(),
            HF_TOKEN=TOKEN,
            HF_HUB_OFFLINE="0",
            HF_HOME=str(tmp_path / "home"),
        )

    return start


# --- what is uploaded


def test_only_what_runs_is_uploaded(plan: Any) -> None:
    tops = {path.split("/")[0] for path in plan.files}
    assert tops == {"README.md", "LICENSE", "app.py", "requirements.txt", "analyzers", "ui", "docs"}
    assert [path for path in plan.files if "test" in path.lower()] == []
    assert set(plan.files) >= {
        "ui/components/hover_strip.js",
        "ui/tabs/saliency.py",
        "analyzers/serving/cost.py",
        "docs/page.png",
    }
    assert all((ROOT / path).stat().st_size <= 10_000_000 for path in plan.files)


def test_every_module_that_the_app_imports_is_uploaded(plan: Any) -> None:
    modules = {
        path.relative_to(ROOT).as_posix() for folder in ("analyzers", "ui") for path in (ROOT / folder).rglob("*.py")
    }
    assert modules <= set(plan.files)


@pytest.mark.parametrize(
    ("name", "content", "why"),
    [
        ("tests/test_x.py", b"", "no place"),
        ("analyzers/.env", b"", "no place"),
        ("ui/server.pem", b"", "no place"),
        ("ui/big.bin", b"x" * 10_000_001, "10,000,001 bytes"),
        ("ui/a.py", b"TOKEN = 'hf_" + b"a1B2" * 8 + b"'", "a secret"),
        ("ui/a.py", b"-----BEGIN RSA PRIVATE KEY-----", "a secret"),
        ("ui/a.py", b"", "README.md"),
    ],
)
def test_what_must_not_leave_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, content: bytes, why: str
) -> None:
    monkeypatch.setattr(deploy, "ROOT", tmp_path)
    (tmp_path / name).parent.mkdir(parents=True)
    (tmp_path / name).write_bytes(content)
    with pytest.raises(deploy.Refused, match=why):
        deploy.check((name,))


def test_what_git_does_not_track_is_not_uploaded(plan: Any) -> None:
    stray = ROOT / "ui" / "stray-notes.txt"
    stray.write_text("not for the world")
    try:
        assert deploy.read_plan(None, None).files == plan.files
    finally:
        stray.unlink()


# --- --dry-run


def test_a_dry_run_prints_files_settings_and_steps_and_needs_no_network(plan: Any) -> None:
    ran = run("--dry-run", HF_ENDPOINT="http://127.0.0.1:9")
    assert ran.returncode == 0, ran.stderr
    for path in plan.files:
        assert f"\n  {path}  {(ROOT / path).stat().st_size:,}\n" in ran.stdout
    for name, value in plan.variables.items():
        assert f"\n  {name}={value}\n" in ran.stdout
    assert "Space: OWNER/eccolens" in ran.stdout
    assert "hardware zero-a10g, gradio 6.31.0, Python 3.12" in ran.stdout
    assert [int(n) for n in re.findall(r"^  (\d)\. ", ran.stdout, re.MULTILINE)] == [1, 2, 3, 4, 5]


def test_a_dry_run_takes_another_space_and_hardware() -> None:
    ran = run("--dry-run", "--space", "class/room", "--hardware", "cpu-basic")
    assert "Space: class/room\nSettings: hardware cpu-basic" in ran.stdout


def test_without_a_token_nothing_is_begun() -> None:
    ran = run(HF_ENDPOINT="http://127.0.0.1:9")
    assert ran.returncode == 2
    assert ran.stderr.strip() == (
        "There is no token. Put one that may write to the Space into the environment as HF_TOKEN."
    )


def test_a_token_that_the_hub_does_not_know_begins_nothing(publish: Any) -> None:
    hub = StubSpaces("another", "")
    ran = publish(hub)
    assert ran.returncode == 2
    assert {call.split()[0] for call in hub.calls} == {"GET"}


# --- against a Hub


def test_a_space_that_is_missing_is_created_filled_awaited_and_asked(address: str, plan: Any, publish: Any) -> None:
    hub = StubSpaces(TOKEN, address)
    ran = publish(hub)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    ((_, made), (_, files)) = hub.spaces["someone/eccolens"]
    assert made["README.md"] == b"made by the Hub"
    assert set(files) == {".gitattributes", *plan.files}
    for path in plan.files:
        assert path == "README.md" or files[path] == (ROOT / path).read_bytes()
    assert hub.variables == plan.variables
    assert hub.hardware == plan.hardware
    assert hub.messages[0].startswith("Deploy ")
    assert re.findall(r"^Stage (.*)$", ran.stdout, re.MULTILINE) == ["RUNNING", "BUILDING", "RUNNING"]
    assert re.findall(r"^(/\w+) answers, tiny", ran.stdout, re.MULTILINE) == [
        f"/{row.endpoint}" for row in public_analyses()
    ]
    assert ran.stdout.strip().endswith("/spaces/someone/eccolens")


def test_the_thumbnail_is_the_pages_address_on_the_space(address: str, publish: Any) -> None:
    hub = StubSpaces(TOKEN, address)
    assert publish(hub, "--space", "class/room").returncode == 0
    readme = hub.spaces["class/room"][-1][1]["README.md"]
    card = yaml.safe_load(readme.decode().split("---\n")[1])
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+/spaces/class/room/resolve/main/docs/page\.png", card["thumbnail"])
    assert readme.split(b"---\n", 2)[2] == (ROOT / "README.md").read_bytes().split(b"---\n", 2)[2]


@pytest.fixture
def running(address: str) -> StubSpaces:
    """A Hub where an older version of the Space runs."""
    return StubSpaces(
        TOKEN, address, "RUNNING", {"class/room": [("a" * 40, dict(OLD))]}, [], {"ECCOLENS_QUEUE": "7", "OTHER": "1"}
    )


def test_a_space_that_is_there_is_replaced_in_one_commit(running: StubSpaces, plan: Any, publish: Any) -> None:
    ran = publish(running, "--space", "class/room", "--hardware", "cpu-basic")
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert len(running.spaces["class/room"]) == 2
    assert set(running.spaces["class/room"][-1][1]) == {".gitattributes", *plan.files}
    assert running.hardware == "cpu-basic"
    assert running.variables == {"OTHER": "1"} | plan.variables
    assert "POST /api/repos/create" not in running.calls


def assert_old_version_is_back(hub: StubSpaces, ran: subprocess.CompletedProcess[str]) -> None:
    assert ran.returncode == 1, ran.stdout + ran.stderr
    commits = hub.spaces["class/room"]
    assert len(commits) == 3
    assert commits[-1][1] == OLD
    assert hub.messages[-1] == f"Back to {'a' * 40}"
    assert hub.variables == {"ECCOLENS_QUEUE": "7", "OTHER": "1"}
    assert "Rolled back to aaaaaaaa, which runs." in ran.stderr


@pytest.mark.parametrize("stage", ["BUILD_ERROR", "RUNTIME_ERROR", "CONFIG_ERROR"])
def test_a_build_that_fails_brings_the_previous_version_back(running: StubSpaces, publish: Any, stage: str) -> None:
    running.build_ends = stage
    ran = publish(running, "--space", "class/room")
    assert f"the Space ended as {stage}" in ran.stderr
    assert_old_version_is_back(running, ran)


def test_an_app_that_does_not_answer_brings_the_previous_version_back(running: StubSpaces, publish: Any) -> None:
    running.host = "http://127.0.0.1:9"
    assert_old_version_is_back(running, publish(running, "--space", "class/room"))


def test_a_start_that_never_ends_brings_the_previous_version_back(running: StubSpaces, publish: Any) -> None:
    running.build_ends = "APP_STARTING"
    ran = publish(running, "--space", "class/room", "--timeout", "1")
    assert "still APP_STARTING after" in ran.stderr
    assert_old_version_is_back(running, ran)


def test_an_upload_that_is_refused_changes_nothing(running: StubSpaces, publish: Any) -> None:
    running.refuses_commits = True
    ran = publish(running, "--space", "class/room")
    assert ran.returncode == 1
    assert running.spaces["class/room"] == [("a" * 40, OLD)]
    assert running.variables == {"ECCOLENS_QUEUE": "7", "OTHER": "1"}


def test_a_first_version_that_fails_is_left_for_whoever_looks(publish: Any) -> None:
    hub = StubSpaces(TOKEN, "http://127.0.0.1:9")
    ran = publish(hub)
    assert ran.returncode == 1
    assert "There is no previous version" in ran.stderr
    assert len(hub.spaces["someone/eccolens"]) == 2


def test_an_endpoint_that_answers_without_its_document_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    class Answering:
        def __init__(self, *_: Any, **__: Any) -> None:
            pass

        def submit(self, _text: str, api_name: str) -> Any:
            return type("Job", (), {"result": lambda self, timeout: {"tokens": [1], "shares": [[1.0]]}})()

    api = type(
        "Api", (), {"token": "t", "space_info": lambda self, space: type("I", (), {"host": "", "private": False})}
    )()
    monkeypatch.setattr(deploy, "Client", Answering)
    with pytest.raises(RuntimeError, match="/layer_predictions answered without layers"):
        deploy.smoke_test(api, "a/b", 1)


def test_no_token_is_printed_or_uploaded(running: StubSpaces, publish: Any) -> None:
    ran = publish(running, "--space", "class/room")
    assert TOKEN not in ran.stdout + ran.stderr
    assert not any(TOKEN.encode() in content for _, files in running.spaces["class/room"] for content in files.values())


# --- the settings and the workflow


def test_variables_of_the_space_are_texts_and_their_limits_are_real(plan: Any) -> None:
    assert all(isinstance(value, str) for value in plan.variables.values())
    limits = read_limits(dict(plan.variables))
    named = {
        name.removeprefix("ECCOLENS_").lower(): value for name, value in plan.variables.items() if "ECCOLENS" in name
    }
    assert named
    for name, value in named.items():
        assert str(getattr(limits, name)) == value


def test_the_workflow_runs_the_script_with_a_secret_token() -> None:
    text = (ROOT / ".github" / "workflows" / "deploy.yml").read_text()
    workflow = yaml.safe_load(text)
    steps = workflow["jobs"]["deploy"]["steps"]
    commands = [step["run"] for step in steps if "run" in step]
    assert any("python .huggingface/deploy.py" in command for command in commands)
    assert [step["env"]["HF_TOKEN"] for step in steps if "HF_TOKEN" in step.get("env", {})] == [
        "${{ secrets.HF_TOKEN }}"
    ]
    assert workflow["permissions"] == {"contents": "read"}
    for step in steps:
        if step.get("with", {}).get("python-version"):
            card = yaml.safe_load((ROOT / "README.md").read_text().split("---\n")[1])
            assert step["with"]["python-version"] == card["python_version"]


def test_the_guide_names_every_option_and_file() -> None:
    guide = (ROOT / "docs" / "deploy.md").read_text()
    helped = run("--help").stdout
    for option in set(re.findall(r"--[a-z-]+", helped)) - {"--help"}:
        assert option in guide
    assert ".huggingface/space.yaml" in guide
