"""Publish the app as a Hugging Face Space: create it if missing, upload what runs, wait until it runs, ask its four
endpoints, and put the previous commit back if anything fails.

    python .huggingface/deploy.py --dry-run                     prints what would happen; needs no network and no token
    HF_TOKEN=… python .huggingface/deploy.py --space OWNER/NAME

Reads space.yaml beside it. The token comes from the environment only and needs the right to write to the Space. Exit
status: 0 where the new version answers; 1 where it does not, the previous one being back where there was one; 2, with a
sentence, where nothing was begun. See docs/deploy.md.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from gradio_client import Client
from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi
from huggingface_hub.errors import HfHubHTTPError, RepositoryNotFoundError
from huggingface_hub.utils import filter_repo_objects

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from analyzers.serving.analyses import public_analyses  # noqa: E402

MOST_BYTES = 10_000_000
POLL_SECONDS = 5.0
TIMEOUT_SECONDS = 1800
"""For the build and the start: the models are downloaded during the build."""
QUESTION = "The keys to the cabinet"
KEPT = (".gitattributes",)
"""Made by the Hub, and left alone."""
SECRETS = re.compile(
    rb"hf_[A-Za-z0-9]{30}|sk-[A-Za-z0-9_-]{20}|gh[pousr]_[A-Za-z0-9]{36}|AKIA[0-9A-Z]{16}|PRIVATE KEY-----"
)
NEVER = re.compile(r"(^|/)(tests?|\.git|\.venv|__pycache__)/|(^|/)(\.env|\.netrc)|(^|/)test_|\.(pem|key)$")
THUMBNAIL = re.compile(rb"^thumbnail: (?!https?:)(\S+)$", re.MULTILINE)


class Refused(Exception):
    """Nothing was begun; says why."""


@dataclass(frozen=True)
class Plan:
    """All that is put on the Hub."""

    space: str
    hardware: str
    variables: dict[str, str]
    files: tuple[str, ...]
    """Paths in the repository."""
    message: str


@dataclass(frozen=True)
class Before:
    """What a failure goes back to."""

    commit: str | None
    """None for a Space that was not there."""
    variables: dict[str, str]


def main(arguments: Sequence[str] | None = None) -> int:
    given = _options().parse_args(arguments)
    try:
        plan = read_plan(given.space, given.hardware)
        if given.dry_run:
            print(described(plan))
            return 0
        token = os.environ.get("HF_TOKEN")
        if not token:
            raise Refused("There is no token. Put one that may write to the Space into the environment as HF_TOKEN.")
        api = HfApi(token=token)
        if "/" not in plan.space:
            plan = read_plan(f"{api.whoami()['name']}/{plan.space}", given.hardware)
        before = note(api, plan.space)
    except (Refused, HfHubHTTPError) as error:
        print(error, file=sys.stderr)
        return 2
    return deploy(api, plan, before, given.timeout)


def read_plan(space: str | None, hardware: str | None) -> Plan:
    """What space.yaml and git say. Raises Refused for a file that must not leave."""
    wanted = yaml.safe_load((ROOT / ".huggingface" / "space.yaml").read_text())
    tracked = _git("ls-files", "-z").split("\0")
    files = tuple(sorted(filter_repo_objects([path for path in tracked if path], allow_patterns=wanted["upload"])))
    check(files)
    return Plan(
        space=space or wanted["space"],
        hardware=hardware or wanted["hardware"],
        variables=dict(wanted["variables"]),
        files=files,
        message=f"Deploy {_git('describe', '--always', '--dirty').strip()}",
    )


def check(files: Sequence[str]) -> None:
    """Raises Refused for tests, keys, files that hold one, and files too large for a Space without LFS."""
    for path in files:
        content = (ROOT / path).read_bytes()
        if NEVER.search(path):
            raise Refused(f"{path} has no place on a Space. Take it out of `upload` in space.yaml.")
        if len(content) > MOST_BYTES:
            raise Refused(f"{path} has {len(content):,} bytes; at most {MOST_BYTES:,} are uploaded.")
        if SECRETS.search(content):
            raise Refused(f"{path} holds what looks like a secret. Remove it, and revoke it if it was real.")
    missing = {"README.md", "app.py", "requirements.txt"} - set(files)
    if missing:
        raise Refused(f"A Space needs {', '.join(sorted(missing))}. Add it to `upload` in space.yaml and to git.")


def described(plan: Plan) -> str:
    """The plan, for `--dry-run`."""
    sizes = {path: (ROOT / path).stat().st_size for path in plan.files}
    space = plan.space if "/" in plan.space else f"OWNER/{plan.space}, OWNER being the token's account"
    card = yaml.safe_load((ROOT / "README.md").read_text().split("---\n")[1])
    return "\n".join(
        [
            f"Space: {space}",
            f"Settings: hardware {plan.hardware}, {card['sdk']} {card['sdk_version']}, Python {card['python_version']}",
            *(f"  {name}={value}" for name, value in plan.variables.items()),
            f"Files: {len(sizes)}, {sum(sizes.values()):,} bytes",
            *(f"  {path}  {size:,}" for path, size in sizes.items()),
            "Steps:",
            "  1. create the Space if it is missing, and note its commit and variables",
            "  2. set the variables that differ, and ask for the hardware",
            f"  3. upload the files and delete all others, in one commit: “{plan.message}”",
            f"  4. wait until that commit runs, at most {TIMEOUT_SECONDS // 60} minutes",
            f"  5. ask {', '.join('/' + row.endpoint for row in public_analyses())}, and check the answers",
            "  if 3, 4 or 5 fails: put back the noted commit and variables, and wait until it runs",
        ]
    )


def note(api: HfApi, space: str) -> Before:
    """What there is."""
    try:
        commit = api.space_info(space).sha
    except RepositoryNotFoundError:
        return Before(None, {})
    return Before(commit, {name: one.value for name, one in api.get_space_variables(space).items()})


def deploy(api: HfApi, plan: Plan, before: Before, timeout: float) -> int:
    """Exit status."""
    commit: str | None = None
    try:
        prepare(api, plan, before)
        commit = upload(api, plan)
        print(f"Uploaded {len(plan.files)} files as {commit[:8]}")
        wait(api, plan.space, commit, timeout)
        smoke_test(api, plan.space, timeout)
    except Exception as error:  # whatever it is, visitors get the previous version back
        print(f"Failed: {type(error).__name__}: {error}", file=sys.stderr)
        print(f"Logs: {api.endpoint}/spaces/{plan.space}?logs=container", file=sys.stderr)
        return _after_failure(api, plan, before, commit, timeout)
    print(f"Deployed: {api.endpoint}/spaces/{plan.space}")
    return 0


def prepare(api: HfApi, plan: Plan, before: Before) -> None:
    """The Space, with its variables and its hardware."""
    if before.commit is None:
        api.create_repo(plan.space, repo_type="space", space_sdk="gradio", space_hardware=plan.hardware, exist_ok=True)
        print(f"Created {plan.space}")
    else:
        print(f"Found {plan.space} at {before.commit[:8]}")
    for name, value in plan.variables.items():
        if before.variables.get(name) != value:
            api.add_space_variable(plan.space, name, value)
            print(f"Set {name}={value}")
    if api.get_space_runtime(plan.space).requested_hardware != plan.hardware:
        api.request_space_hardware(plan.space, plan.hardware)  # type: ignore[arg-type]
        print(f"Asked for {plan.hardware}")


def upload(api: HfApi, plan: Plan) -> str:
    """The commit that holds the files and no other."""
    contents = {path: (ROOT / path).read_bytes() for path in plan.files}
    here = f"{api.endpoint}/spaces/{plan.space}/resolve/main/".encode()
    contents["README.md"] = THUMBNAIL.sub(rb"thumbnail: " + here + rb"\1", contents["README.md"])
    return _commit(api, plan.space, contents, plan.message)


def wait(api: HfApi, space: str, commit: str, timeout: float) -> None:
    """Until the Space runs this commit. Raises RuntimeError where it ends otherwise, TimeoutError where it takes too long."""
    deadline = time.monotonic() + timeout
    said = None
    while True:
        runtime = api.get_space_runtime(space)
        # Just after an upload the previous commit still runs; the stage alone does not tell.
        is_this = runtime.raw.get("sha", commit) == commit
        stage = str(getattr(runtime.stage, "value", runtime.stage))
        if stage != said:
            print(f"Stage {stage}")
            said = stage
        if is_this and stage == "RUNNING":
            return
        if (is_this and stage.endswith("ERROR")) or stage in ("STOPPED", "PAUSED", "DELETING", "NO_APP_FILE"):
            raise RuntimeError(f"the Space ended as {stage}: {runtime.raw.get('errorMessage', 'no message')}")
        if time.monotonic() > deadline:
            raise TimeoutError(f"the Space is still {stage} after {timeout:.0f} seconds")
        time.sleep(POLL_SECONDS)


def smoke_test(api: HfApi, space: str, timeout: float) -> None:
    """Ask each endpoint. Raises for one that does not answer, or answers with less than its document."""
    info = api.space_info(space)
    address = str(getattr(info, "host", None) or f"https://{space.replace('/', '-').lower()}.hf.space")
    client = Client(address, token=api.token if info.private else False, verbose=False, analytics_enabled=False)  # type: ignore[arg-type]
    for row in public_analyses():
        started = time.monotonic()
        document: Any = client.submit(QUESTION, api_name=f"/{row.endpoint}").result(timeout=timeout)
        if not isinstance(document, dict) or not document.get(row.smoke_key) or not document.get("tokens"):
            raise RuntimeError(f"/{row.endpoint} answered without {row.smoke_key}")
        print(f"/{row.endpoint} answers, {document.get('model')}, {time.monotonic() - started:.1f} s")


def restore_variables(api: HfApi, plan: Plan, before: Before) -> None:
    """As they were: those that were not there go."""
    for name in plan.variables:
        if name not in before.variables:
            api.delete_space_variable(plan.space, name)
        elif before.variables[name] != plan.variables[name]:
            api.add_space_variable(plan.space, name, before.variables[name])


def restore_commit(api: HfApi, plan: Plan, before: Before) -> str:
    """A new commit with the files of the one that was there."""
    with tempfile.TemporaryDirectory() as folder:
        api.snapshot_download(plan.space, repo_type="space", revision=before.commit, local_dir=folder)
        paths = [path for path in Path(folder).rglob("*") if path.is_file()]
        names = {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}
        contents = {name: content for name, content in names.items() if not name.startswith(".cache/")}
    return _commit(api, plan.space, contents, f"Back to {before.commit}")


def _after_failure(api: HfApi, plan: Plan, before: Before, commit: str | None, timeout: float) -> int:
    if before.commit is None:
        print("There is no previous version to go back to; the Space stays as it is.", file=sys.stderr)
        return 1
    try:
        restore_variables(api, plan, before)
        back = before.commit if commit in (None, before.commit) else restore_commit(api, plan, before)
        wait(api, plan.space, back, timeout)
        print(f"Rolled back to {before.commit[:8]}, which runs.", file=sys.stderr)
    except Exception as error:
        print(f"Rolling back failed: {type(error).__name__}: {error}. See to it by hand.", file=sys.stderr)
    return 1


def _commit(api: HfApi, space: str, contents: dict[str, bytes], message: str) -> str:
    there = set(api.list_repo_files(space, repo_type="space"))
    operations: list[Any] = [CommitOperationAdd(path, content) for path, content in sorted(contents.items())]
    operations += [CommitOperationDelete(path) for path in sorted(there - set(contents) - set(KEPT))]
    return str(api.create_commit(space, operations, repo_type="space", commit_message=message).oid)


def _git(*arguments: str) -> str:
    return subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=True).stdout


def _options() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python .huggingface/deploy.py", description="Publish the app as a Space.")
    parser.add_argument("--space", metavar="OWNER/NAME", help="where to; space.yaml has the default")
    parser.add_argument("--hardware", metavar="NAME", help="such as zero-a10g or cpu-basic; space.yaml has the default")
    parser.add_argument("--timeout", type=float, default=TIMEOUT_SECONDS, metavar="SECONDS", help="for each wait")
    parser.add_argument("--dry-run", action="store_true", help="print the files, settings and steps, and do nothing")
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
