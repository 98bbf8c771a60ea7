"""Memory that is free goes back to the system, although what is in use lies between."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

from la_agents.engine.memory import return_free_memory


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc, and only glibc can be asked")
def test_free_memory_between_used_memory_is_returned() -> None:
    blocks = [torch.ones(25_000) for _ in range(2_000)]  # 100 kB each, below what gets pages of its own
    kept = blocks[::50]
    blocks.clear()
    before = resident_bytes()
    return_free_memory()
    assert before - resident_bytes() > 100e6
    assert all(bool((block == 1).all()) for block in kept)
