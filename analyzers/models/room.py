"""Which models are held in memory: the most recently used, as many as there is room for."""

from __future__ import annotations

import gc
import threading
import time
import weakref
from collections import OrderedDict
from typing import TYPE_CHECKING

from analyzers.common.errors import InputError
from analyzers.common.limits import LIMITS
from analyzers.common.memory import format_bytes, free_memory, free_of_each_gpu, return_freed_memory
from analyzers.models.placement import Placement, place
from analyzers.sources.source import Key

if TYPE_CHECKING:
    from analyzers.models.language_model import LanguageModel

POLL_SECONDS = 0.1
"""Between two looks at what somebody waits for: a page that says so after a quarter of a second then says it at 0.3."""


class Room:
    """Models by key, within a budget of bytes for each device. Safe for several threads."""

    def __init__(self, precision: str, *, may_use_disk: bool) -> None:
        """`precision`: see `placement.place`; `may_use_disk`: whether what fits in no memory may lie on the disk."""
        self._precision = precision
        self._may_use_disk = may_use_disk
        self._held: OrderedDict[Key, LanguageModel] = OrderedDict()
        self._reserved: dict[Key, int] = {}
        self._lock = threading.Lock()  # of these two, held for no longer than a look-up

    def __contains__(self, key: Key) -> bool:
        return key in self._held

    def get(self, key: Key) -> LanguageModel | None:
        """The model, which is then the most recently used."""
        with self._lock:
            if key in self._held:
                self._held.move_to_end(key)
            return self._held.get(key)

    def put(self, key: Key, model: LanguageModel) -> None:
        with self._lock:
            self._held[key] = model
            self._evict(key[1], budget_of(key[1]), keep=key)

    def clear(self) -> None:
        """Forget every model; those in use go when their run ends."""
        with self._lock:
            self._held.clear()

    def could_be_free(self, device: str) -> int:
        """Free bytes of a device if every model on it went, less what is promised to those that are being loaded."""
        with self._lock:
            held = sum(model.n_bytes for (_, where), model in self._held.items() if where == device)
            coming = self._reserved_on(device)
        return free_memory(device) + held - coming

    def place(self, id: str, n_parameters: int, device: str, *, beside: tuple[str, int] | None = None) -> Placement:
        """How a model would be held if every model that is in memory made room; all but the one `beside` it, by its id and
        the bytes of its weights. Raises InputError with the figures."""
        kept = 0 if beside is None else beside[1]
        could, budget = (max(0, n - kept) for n in (self.could_be_free(device), budget_of(device)))
        placement = place(
            n_parameters,
            device,
            self._precision,
            could,
            budget=budget,
            everywhere=sum(free_of_each_gpu()) + free_memory() if device != "cpu" else 0,
            may_use_disk=self._may_use_disk,
        )
        if placement is None:
            least = place(n_parameters, device, self._precision, 2**200)
            assert least is not None
            raise InputError(
                "model_too_large" if beside is None else "model_too_large_beside",
                **({} if beside is None else {"beside": beside[0], "kept": format_bytes(kept)}),
                model=id,
                needed=format_bytes(least.needed),
                parameters=f"{n_parameters:,}",
                precision=least.precision,
                free=format_bytes(min(could, budget)),
                device=device,
            )
        return placement

    def reserve(self, id: str, n_parameters: int, key: Key) -> Placement:
        """Let the least recently used models go until a new one fits; its bytes are reserved until `release`. None goes
        where it cannot fit even so. Raises InputError."""
        device = key[1]
        placement = self.place(id, n_parameters, device)
        with self._lock:
            self._reserved[key] = placement.weights
            gone = self._evict(device, budget_of(device) - self._reserved_on(device))
            free = free_memory(device)
            while (placement.spread or free < placement.needed) and (oldest := self._oldest(device)) is not None:
                free += self._held[oldest].n_bytes
                gone.append(weakref.ref(self._held.pop(oldest)))
        if gone:
            _wait_until_gone(gone)
        return placement

    def release(self, key: Key) -> None:
        """The bytes reserved for a model are held by it now, or no longer needed."""
        with self._lock:
            self._reserved.pop(key, None)

    def _reserved_on(self, device: str) -> int:
        return sum(n for (_, where), n in self._reserved.items() if where == device)

    def _evict(self, device: str, most: int, keep: Key | None = None) -> list[weakref.ref[LanguageModel]]:
        """Least recently used first, until the models on a device hold at most so many bytes. The caller has the lock."""
        gone = []
        while sum(m.n_bytes for (_, where), m in self._held.items() if where == device) > most:
            oldest = self._oldest(device)
            if oldest is None or oldest == keep:
                break
            gone.append(weakref.ref(self._held.pop(oldest)))
        return gone

    def _oldest(self, device: str) -> Key | None:
        return next((key for key in self._held if key[1] == device), None)


def budget_of(device: str) -> int:
    """Bytes of weights that may be held on a device: of main memory what the limit says, of a GPU all it has."""
    return LIMITS.model_megabytes * 10**6 if device == "cpu" else 2**63


def _wait_until_gone(models: list[weakref.ref[LanguageModel]]) -> None:
    """A model that was let go is in memory until the run that uses it ends, which takes no longer than a job may."""
    deadline = time.monotonic() + LIMITS.seconds
    while time.monotonic() < deadline:
        gc.collect()
        if all(model() is None for model in models):
            return_freed_memory()
            return
        time.sleep(2 * POLL_SECONDS)  # to collect takes some of the time itself
