"""Another process that computes all the time, as a browser, a class or a shared machine is."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

WORK = """
import torch
torch.set_num_threads(2)
a = torch.randn(2000, 2000)
print("ready", flush=True)
while True:
    torch.mm(a, a)
"""


@contextmanager
def busy_neighbour() -> Iterator[None]:
    """While open, a process multiplies matrices on two threads."""
    neighbour = subprocess.Popen([sys.executable, "-c", WORK], stdout=subprocess.PIPE)
    try:
        assert neighbour.stdout is not None
        neighbour.stdout.readline()
        yield
    finally:
        neighbour.kill()
        neighbour.wait(10)
