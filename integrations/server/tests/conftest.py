"""One server with the tiny model for all tests of this package that do not need their own."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from running import Served


@pytest.fixture(scope="session")
def tiny_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """The tiny llama, which writes nonsense, exactly."""
    from running import served

    from tests.tiny import tiny_model

    model = {"model": tiny_model("llama"), "max_tokens": 12}
    with served(tmp_path_factory.mktemp("server"), model, requests_per_minute=100_000) as server:
        yield server
