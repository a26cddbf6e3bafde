"""Answers that were computed before: in memory the most recently used, on the disk those that were made to be kept."""

from __future__ import annotations

import hashlib
import io
import os
import pickle
import sys
import tempfile
import threading
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from enum import Enum
from pathlib import Path

import numpy as np

from analyzers.common.limits import LIMITS
from analyzers.serving.answer_key import AnswerKey, code_version
from analyzers.serving.dispatch import Answer, AnyAnswer

SUFFIX = ".answer"
NUMPY = {"_reconstruct", "ndarray", "dtype", "scalar", "_frombuffer"}
"""What numpy names in a pickled array."""


class AnswerCache:
    """Safe for several threads. An answer that is found is the one that was put in: nobody may change it."""

    def __init__(self, *, megabytes: int | None = None, folder: Path | None = None) -> None:
        """`megabytes`: of what is held in memory, by default the limit of `LIMITS`; `folder`: where kept answers lie, None
        for no disk at all."""
        self._most_bytes = 10**6 * (LIMITS.answer_megabytes if megabytes is None else megabytes)
        self._folder = folder
        self._lock = threading.Lock()
        self._held: OrderedDict[AnswerKey, tuple[AnyAnswer, int]] = OrderedDict()
        self.n_bytes = 0
        """Held in memory, about."""

    def get(self, key: AnswerKey) -> AnyAnswer | None:
        """None where it has to be computed: also where its file is cut short, altered, or of other code."""
        with self._lock:
            if key in self._held:
                self._held.move_to_end(key)
                return self._held[key][0]
        answer = self._read(key)
        if answer is not None:
            self.put(key, answer)
        return answer

    def put(self, key: AnswerKey, answer: AnyAnswer) -> None:
        """Hold it in memory; the least recently used go. One of a model that is not on this machine is not held."""
        size = count_bytes(answer)
        if not key.files or size > self._most_bytes:
            return
        with self._lock:
            _, before = self._held.pop(key, (None, 0))
            self._held[key] = answer, size
            self.n_bytes += size - before
            while self.n_bytes > self._most_bytes:
                _, (_, gone) = self._held.popitem(last=False)
                self.n_bytes -= gone

    def keep(self, key: AnswerKey, answer: AnyAnswer) -> None:
        """Write it to the disk, whole or not at all, for later processes. A disk that takes no more is no fault."""
        file = self._file(key)
        if file is None or not key.files:
            return
        written = pickle.dumps((key, answer), protocol=5)
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile(dir=file.parent, delete=False) as part:
                part.write(hashlib.sha256(written).hexdigest().encode() + b"\n" + written)
                part.flush()
                os.fsync(part.fileno())
            os.replace(part.name, file)
        except OSError:
            return

    def is_kept(self, key: AnswerKey) -> bool:
        """Whether it lies on the disk, whole."""
        return self._read(key) is not None

    def forget_all_but(self, keys: list[AnswerKey]) -> None:
        """Remove from the disk what other code, other files or other examples left there."""
        if self._folder is None or not self._folder.is_dir():
            return
        wanted = {self._file(key) for key in keys}
        for file in self._folder.glob(f"*{SUFFIX}"):
            if file not in wanted:
                file.unlink(missing_ok=True)

    def _file(self, key: AnswerKey) -> Path | None:
        if self._folder is None:
            return None
        return self._folder / (hashlib.sha256(f"{code_version()} {key!r}".encode()).hexdigest()[:32] + SUFFIX)

    def _read(self, key: AnswerKey) -> AnyAnswer | None:
        file = self._file(key)
        if file is None or not key.files:
            return None
        try:
            digest, _, written = file.read_bytes().partition(b"\n")
            if hashlib.sha256(written).hexdigest().encode() != digest:
                return None
            of, answer = _Unpickler(io.BytesIO(written)).load()
        except (OSError, ValueError, TypeError, AttributeError, ImportError, EOFError, pickle.UnpicklingError):
            return None
        return answer if of == key and isinstance(answer, Answer) else None


class _Unpickler(pickle.Unpickler):
    """Makes results, settings and arrays, and runs nothing else that a file may name."""

    def find_class(self, module: str, name: str) -> object:
        if module.split(".")[0] == "numpy" and name in NUMPY:
            return super().find_class(module, name)
        if (module, name) == ("analyzers.common.sentences", "_restore"):
            return super().find_class(module, name)
        if module.split(".")[0] == "analyzers":
            found = super().find_class(module, name)
            if isinstance(found, type) and (is_dataclass(found) or issubclass(found, Enum)):
                return found
        raise pickle.UnpicklingError(f"{module}.{name} is no part of an answer")


def count_bytes(value: object) -> int:
    """Memory of a result, about: arrays by their numbers, the rest as Python says."""
    if isinstance(value, np.ndarray):
        return value.nbytes + sys.getsizeof(value.dtype)
    size = sys.getsizeof(value, 64)
    if isinstance(value, str | bytes | int | float | Enum | None):
        return size
    if isinstance(value, Mapping):
        return size + sum(count_bytes(key) + count_bytes(item) for key, item in value.items())
    if isinstance(value, tuple | list):
        return size + sum(map(count_bytes, value))
    if is_dataclass(value):
        return size + sum(count_bytes(getattr(value, item.name)) for item in fields(value))
    return size
