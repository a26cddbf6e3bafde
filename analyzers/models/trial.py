"""A stranger's files are opened elsewhere first: in a process with limits on memory and time, whose death is a sentence.

The libraries that read a tokenizer, a configuration or a header can be made to crash, hang or fill the memory by the
file. What was found is kept by the files' contents.
"""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import signal
import stat
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from analyzers.common.errors import InputError
from analyzers.common.kinds import Kind
from analyzers.common.memory import format_bytes
from analyzers.sources.gguf_cache import cache_folder
from analyzers.sources.model_files import LARGEST_CONFIG, Json, check_config, numbers_in
from analyzers.sources.source import Source, inspect_files

SECONDS = 6
"""Of the processor that a trial may use, so that a busy machine refuses nobody; of the clock, `PATIENCE` times as many."""
PATIENCE = 3
START_SECONDS = 60.0
"""Until the process stands from which trials are forked: once, it imports the libraries."""
MOST_BYTES = 3 * 10**9
"""Of memory, beyond what the libraries take."""
WHOLE = 64 * 2**20
"""Bytes: larger files are told apart by size and time, not by their contents."""
VERSION = 1
"""Of what a trial looks at: verdicts of another one do not count."""
RUN = 48
"""Letters in a row: enough for a pattern that takes exponentially long, few for any other."""

LIBRARIES = ["analyzers.models.trial_libraries"]
"""What the process that trials are forked from imports, once."""

Verdict = tuple[str, dict[str, object]] | None
"""None for files that can be used; else what to say, without the model's id."""
What = tuple[str | None, str | None, dict[str, Any] | None]
"""What is tried: a folder and the GGUF file in it, if it is one; or a configuration."""

_lock = threading.Lock()
_verdicts: dict[str, Verdict] = {}


def try_files(source: Source, folder: Path) -> None:
    """Open the files of a model in a process of their own, unless the same ones were tried before.

    Raises InputError that names the file: one that is no plain file of the folder, or that cannot be opened within
    `SECONDS` and `MOST_BYTES`; and what loading would raise.
    """
    files = _plain_files(source, folder)
    _judge(source, _fingerprint(files, source), (str(folder), source.gguf_file, None))


def try_config(source: Source, config: Json) -> None:
    """Likewise of a configuration alone, before anything is fetched."""
    text = json.dumps(config, sort_keys=True, default=str)
    _judge(source, hashlib.sha256(f"{VERSION} {source.kind} {text}".encode()).hexdigest(), (None, None, dict(config)))


def prepare() -> None:
    """Start the process that trials are forked from, so that the first one need not wait for it."""
    if "forkserver" in multiprocessing.get_all_start_methods():
        from multiprocessing import forkserver

        multiprocessing.get_context("forkserver").set_forkserver_preload(LIBRARIES)
        forkserver.ensure_running()


def _judge(source: Source, name: str, what: What) -> None:
    with _lock:  # one trial at a time; nobody else waits for it
        verdict, is_known = _recall(name)
        if not is_known:
            verdict, is_certain = _try_apart(source, what)
            if is_certain:
                _keep(name, verdict)
    if verdict is not None:
        key, values = verdict
        raise InputError(key, model=source.id, **values)


def _file(name: str) -> Path:
    return cache_folder() / "trials" / f"{name}.json"


def _keep(name: str, verdict: Verdict) -> None:
    _verdicts[name] = verdict
    with suppress(OSError):  # tried again by the next process
        _file(name).parent.mkdir(parents=True, exist_ok=True)
        _file(name).write_text(json.dumps(verdict), encoding="utf-8")


def _recall(name: str) -> tuple[Verdict, bool]:
    if name in _verdicts:
        return _verdicts[name], True
    try:
        found = json.loads(_file(name).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None, False
    is_whole = found is None or (isinstance(found, list) and len(found) == 2 and isinstance(found[1], dict))
    _verdicts[name] = None if found is None or not is_whole else (str(found[0]), found[1])
    return _verdicts[name], is_whole


def _plain_files(source: Source, folder: Path) -> list[Path]:
    """The files of a model. Raises InputError for a pipe, a device, or a link that leaves the folder (of the Hub's cache: the
    repository's). Opens none."""
    home = folder.parent.parent if folder.parent.name == "snapshots" else folder
    found, name = [], folder.name
    try:
        for path in sorted(folder.iterdir()):
            name = path.name
            if source.gguf_file not in (None, name) or path.is_dir():
                continue
            real = path.resolve()
            if not stat.S_ISREG(real.stat().st_mode) or not real.is_relative_to(home.resolve()):
                raise InputError("file_not_plain", model=source.id, file=name[:80])
            found.append(path)
    except (OSError, RuntimeError) as error:  # a link to itself is an error of its own in each version of Python
        raise InputError("file_not_plain", model=source.id, file=name[:80]) from error
    return found


def _fingerprint(files: list[Path], source: Source) -> str:
    name = hashlib.sha256(f"{VERSION} {source.kind} {source.gguf_file}".encode())
    for path in files:
        told = path.stat()
        name.update(f"{path.name}\0{told.st_size}\0".encode("utf-8", "surrogateescape"))
        name.update(path.read_bytes() if told.st_size <= WHOLE else str(told.st_mtime_ns).encode())
    return name.hexdigest()


def _try_apart(source: Source, what: What) -> tuple[Verdict, bool]:
    """The verdict of a process that may crash, hang or run out of memory, and whether it would be the same again."""
    method = "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"
    context: Any = multiprocessing.get_context(method)
    if method == "forkserver":
        context.set_forkserver_preload(LIBRARIES)
    ours, theirs = context.Pipe(duplex=False)
    child = context.Process(target=_try_here, args=(theirs, SECONDS, source.id, source.kind, *what), daemon=True)
    child.start()
    theirs.close()
    stage, until = "?", time.monotonic() + START_SECONDS
    try:
        while ours.poll(max(0.0, until - time.monotonic())):
            said = ours.recv()
            if said[0] == "begins":
                until = time.monotonic() + PATIENCE * SECONDS
            elif said[0] == "reads":
                stage = said[1]
            else:
                return said[1], True
        return ("trial_slow", {"file": stage, "seconds": SECONDS}), False
    except EOFError:  # it died
        child.join()
        if child.exitcode == -signal.SIGXCPU:
            return ("trial_slow", {"file": stage, "seconds": SECONDS}), True
        # Else it died of something else: before it began, or since the machine had no memory left for it.
        is_own = stage != "?" and child.exitcode != -signal.SIGKILL
        return ("trial_died", {"file": stage, "size": format_bytes(MOST_BYTES)}), is_own
    finally:
        child.kill()
        child.join()
        ours.close()


def _try_here(
    out: Connection,
    seconds: int,
    id: str,
    kind: Kind | None,
    folder: str | None,
    gguf_file: str | None,
    config: dict[str, Any] | None,
) -> None:
    """In the process apart: every word of what is read is told before it is read."""
    from analyzers.models.loading import (
        check_held,
        check_kind,
        count_model_parameters,
        count_parameters,
        describe_gguf,
    )
    from analyzers.models.tokenizing import HARD_TEXTS, load_tokenizer

    out.send(("begins",))
    _limit(seconds)
    try:
        if config is not None:
            out.send(("reads", _name_config(config)))
            check_config(config, id)
            count_parameters(config, id, kind or Kind.CAUSAL)
        else:
            assert folder is not None
            source = Source(id, Path(folder), None, gguf_file, kind)
            out.send(("reads", gguf_file or _name_config(_peek(Path(folder) / "config.json"))))
            files = inspect_files(source, Path(folder))
            check_kind(source, files)
            count_model_parameters(source, files)
            if gguf_file is None:
                out.send(("reads", "tokenizer.json"))
                tokenizer = load_tokenizer(Path(folder), id)
                for text in _hard_on(Path(folder) / "tokenizer.json"):
                    tokenizer(text)
                tokenizer(" ".join(HARD_TEXTS))
            else:
                check_held(count_parameters(describe_gguf(Path(folder) / gguf_file), id, Kind.CAUSAL), files, id)
        verdict: Verdict = None
    except InputError as error:
        verdict = (error.sentence.key, {n: str(value) for n, value in error.sentence.values.items() if n != "model"})
    except MemoryError:
        os._exit(1)
    except Exception:  # loading says it in its own words
        verdict = None
    except BaseException:  # a panic of a library in Rust
        os._exit(1)
    out.send(("verdict", verdict))


def _limit(seconds: int) -> None:
    """Nothing that goes wrong here is heard of elsewhere."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    with suppress(ImportError, OSError, ValueError):
        import resource

        pages = int(Path("/proc/self/statm").read_text().split()[0])
        most = pages * resource.getpagesize() + MOST_BYTES
        resource.setrlimit(resource.RLIMIT_AS, (most, most))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 2))


def _peek(path: Path) -> Json:
    """A configuration as far as it can be read, for its name in a refusal."""
    try:
        found = json.loads(path.read_text(encoding="utf-8")) if path.stat().st_size <= LARGEST_CONFIG else {}
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _name_config(config: Json) -> str:
    """With its largest number: a model is made large by one."""
    with suppress(RecursionError):
        largest = max(numbers_in(config), key=lambda one: one[1], default=None)
        if largest is not None and largest[1] > 10_000:
            return f"config.json ({largest[0][:40]} = {largest[1]:,.0f})"
    return "config.json"


def _hard_on(file: Path) -> Iterator[str]:
    """Texts that a tokenizer's own steps are made slow or large by, if any are: the letters that its patterns name, alone and
    in a row."""
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return
    waiting, named = [found.get("normalizer"), found.get("pre_tokenizer")], set[str]()
    while waiting:
        part = waiting.pop()
        if isinstance(part, dict):
            named |= {value for name, value in part.items() if isinstance(value, str) and name != "type"}
            waiting += part.values()
        elif isinstance(part, list):
            waiting += part
    printable = "".join(map(chr, range(32, 127)))
    yield printable + "".join(letter * 2 for letter in printable)
    yield from (pattern for pattern in sorted(named) if len(pattern) <= 1_000)
    for letter in sorted(set("".join(named)))[:200]:
        yield letter * RUN
        yield f"{letter * RUN}!"
