"""Tiny models are slower on several threads than on one: unit tests run torch, the engine's thread included, on one."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True, scope="package")
def _one_torch_thread() -> Iterator[None]:
    torch = sys.modules.get("torch")  # tests that do without it shall not pay for it
    if torch is None:
        yield
        return
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
