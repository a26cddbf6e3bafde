"""How much there is, and what a model needs: the figures that refusals are made of."""

from __future__ import annotations

from pathlib import Path

import psutil
import pytest

from analyzers.common import memory


def test_the_figures_are_those_of_the_machine(tmp_path: Path) -> None:
    assert memory.total_memory(tmp_path) == psutil.virtual_memory().total
    assert memory.free_memory("cpu", tmp_path) == pytest.approx(psutil.virtual_memory().available, rel=0.1)
    assert memory.free_disk(tmp_path / "not" / "there" / "yet") == pytest.approx(
        psutil.disk_usage(str(tmp_path)).free, rel=0.01
    )


@pytest.mark.parametrize("version", [1, 2])
def test_a_container_has_what_its_limit_leaves_and_cached_files_are_free(tmp_path: Path, version: int) -> None:
    folder = tmp_path if version == 2 else tmp_path / "memory"
    folder.mkdir(exist_ok=True)
    limit, used = (
        ("memory.max", "memory.current") if version == 2 else ("memory.limit_in_bytes", "memory.usage_in_bytes")
    )
    (folder / limit).write_text("1000000\n")
    (folder / used).write_text("700000\n")
    (folder / "memory.stat").write_text("anon 5\ninactive_file 200000\nactive_file 3\n")
    assert memory.total_memory(tmp_path) == 1_000_000
    assert memory.free_memory("cpu", tmp_path) == 500_000
    (folder / used).write_text("1300000\n")
    assert memory.free_memory("cpu", tmp_path) == 0
    (folder / limit).write_text("max\n")
    assert memory.total_memory(tmp_path) == psutil.virtual_memory().total


def test_a_model_needs_its_weights_and_room_to_work() -> None:
    assert memory.estimate_bytes(1_000_000_000, 4) == 4_600_000_000 + 300_000_000
    assert memory.estimate_bytes(0, 4) == memory.WORK_BYTES


@pytest.mark.parametrize(
    ("n_bytes", "said"),
    [(0, "1 MB"), (91e6, "91 MB"), (999.4e6, "999 MB"), (999.6e6, "1.0 GB"), (1.46e9, "1.5 GB"), (12_345e9, "12.3 TB")],
)
def test_sizes_are_said_in_the_unit_that_suits_them(n_bytes: float, said: str) -> None:
    assert memory.format_bytes(n_bytes) == said


def test_running_out_is_told_from_other_errors() -> None:
    assert memory.is_out_of_memory(MemoryError())
    assert memory.is_out_of_memory(RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB"))
    assert memory.is_out_of_memory(RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried"))
    assert not memory.is_out_of_memory(RuntimeError("shape mismatch"))
