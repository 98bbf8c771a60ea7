"""The local engine, and one that only forwards to it, keep to what the faces rely on."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from la_agents.engine.engine import Engine
from la_agents.engine_tests import EngineTests
from tests.queue_engine import QueueEngine
from tests.tiny import tiny_model


@pytest.fixture(scope="module", params=[("llama", None), ("pythia", True)], ids=["llama", "pythia, static shapes"])
def local(request: pytest.FixtureRequest) -> Iterator[Engine]:
    family, static_shapes = request.param
    with Engine(tiny_model(family), static_shapes=static_shapes) as engine:
        yield engine


@pytest.fixture(scope="module")
def queue() -> Iterator[QueueEngine]:
    with Engine(tiny_model("qwen2")) as inner:
        engine = QueueEngine(inner)
        yield engine
        engine.stop()


class TestLocalEngine(EngineTests):
    @pytest.fixture
    def engine(self, local: Engine) -> Engine:  # type: ignore[override]
        return local


class TestQueueEngine(EngineTests):
    @pytest.fixture
    def engine(self, queue: QueueEngine) -> QueueEngine:  # type: ignore[override]
        return queue
