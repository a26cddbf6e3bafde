"""What an answer is determined by: the request, the model's files and how its weights are held."""

from __future__ import annotations

import functools
import hashlib
import os
from dataclasses import dataclass, replace
from importlib import metadata
from pathlib import Path

import analyzers
from analyzers.common.limits import LIMITS
from analyzers.models.store import Store
from analyzers.serving.request import AnyRequest
from analyzers.sources.source import Source, key_of

COMPUTING = ("torch", "transformers", "tokenizers", "safetensors", "gguf", "numpy", "scikit-learn", "scipy")
"""Packages whose version may change a number."""


@dataclass(frozen=True)
class AnswerKey:
    """Two requests of one key have the same answer, to the bit."""

    model: str
    """Where it comes from."""
    files: str
    """Names, sizes and times of its files; empty while it is not on this machine."""
    precision: str
    """As the operator asked for it."""
    request: AnyRequest
    """Whose models are left out: they may be named in several ways."""
    beside: str = ""
    """Where the second model comes from, if there is one."""
    beside_files: str = ""


def key_of_request(store: Store, request: AnyRequest) -> AnswerKey:
    """Loads nothing. Raises InputError where there is no such model."""
    source = store.resolver.find(request.model or store.resolver.default_id())
    asked = replace(request, model=None, beside=None)
    key = AnswerKey(key_of(source, "")[0], _describe_files(source), store.precision, asked)
    if request.beside is None:
        return key
    second = store.resolver.find(request.beside)
    # Where one is not on this machine, the answer is of no known files.
    files = _describe_files(second)
    return replace(key, files=files and key.files, beside=key_of(second, "")[0], beside_files=files)


def _describe_files(source: Source) -> str:
    if source.folder is None:
        return ""
    try:
        files = [source.folder / source.gguf_file] if source.gguf_file else sorted(source.folder.iterdir())
        stats = [(file.name, file.stat()) for file in files]
    except OSError:  # said when it is loaded
        return ""
    return hashlib.sha256(repr([(name, stat.st_size, stat.st_mtime_ns) for name, stat in stats]).encode()).hexdigest()


@functools.cache
def code_version() -> str:
    """Of everything beside the model that a number depends on: this package's code, the packages that compute, the
    limits and the cores."""
    digest = hashlib.sha256()
    for file in sorted(Path(analyzers.__file__).parent.rglob("*.py")):
        digest.update(file.read_bytes())
    versions = [f"{name} {_version(name)}" for name in COMPUTING]
    digest.update(repr((versions, str(LIMITS), os.cpu_count(), os.environ.get("OMP_NUM_THREADS"))).encode())
    return digest.hexdigest()


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "none"
