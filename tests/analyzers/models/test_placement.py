"""In which precision a model is held, and where: from figures alone."""

from __future__ import annotations

import pytest

from analyzers.common.errors import InputError
from analyzers.common.memory import estimate_bytes
from analyzers.models.placement import BYTES, PRECISIONS, place

N = 8_000_000_000
GB = 10**9


@pytest.mark.parametrize(
    ("device", "precision", "free", "everywhere", "disk", "found"),
    [
        ("cpu", "auto", 100 * GB, 0, False, ("float32", False)),
        ("cpu", "auto", 30 * GB, 0, False, None),  # half precision is slow there, and asked for by name only
        ("cpu", "half", 30 * GB, 0, False, ("half", False)),
        ("cpu", "auto", 30 * GB, 0, True, ("float32", True)),
        ("cuda", "auto", 80 * GB, 0, False, ("float32", False)),
        ("cuda", "auto", 24 * GB, 0, False, ("half", False)),
        ("cuda", "float32", 24 * GB, 0, False, None),
        ("cuda", "auto", 12 * GB, 100 * GB, False, ("half", True)),
        ("cuda", "float32", 12 * GB, 100 * GB, False, ("float32", True)),
        ("cuda", "auto", 12 * GB, 20 * GB, False, None),
        ("cuda", "auto", 12 * GB, 20 * GB, True, ("half", True)),
    ],
)
def test_the_best_that_fits_is_taken(
    device: str, precision: str, free: int, everywhere: int, disk: bool, found: tuple[str, bool] | None
) -> None:
    said = place(N, device, precision, free, everywhere=everywhere, may_use_disk=disk)
    assert (None if said is None else (said.precision, said.spread)) == found


def test_the_edge_is_what_is_needed_and_not_the_weights_alone() -> None:
    assert place(N, "cpu", "float32", estimate_bytes(N, 4)) is not None
    assert place(N, "cpu", "float32", estimate_bytes(N, 4) - 1) is None


def test_weights_above_the_budget_do_not_fit_however_much_is_free() -> None:
    assert place(N, "cpu", "float32", 2**60, budget=4 * N) is not None
    assert place(N, "cpu", "float32", 2**60, budget=4 * N - 1) is None


@pytest.mark.parametrize("precision", ["8bit", "4bit"])
def test_quantized_weights_need_bitsandbytes_and_do_not_leave_their_device(
    precision: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("analyzers.models.placement.importlib.util.find_spec", lambda _name: None)
    with pytest.raises(InputError, match=f"{precision} need the package bitsandbytes.*pip install bitsandbytes"):
        place(N, "cuda", precision, 2**60)
    monkeypatch.setattr("analyzers.models.placement.importlib.util.find_spec", lambda _name: object())
    found = place(N, "cuda", precision, 14 * GB if precision == "4bit" else 16 * GB)
    assert found is not None
    assert (found.precision, found.weights) == (precision, int(N * BYTES[precision]))
    assert place(N, "cuda", precision, GB, everywhere=2**60, may_use_disk=True) is None


def test_every_precision_but_auto_has_a_size() -> None:
    assert {"auto", *BYTES} == set(PRECISIONS)
