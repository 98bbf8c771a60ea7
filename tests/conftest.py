"""What all tests share: no network, the same examples in every run, one copy of the bundled model per session."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

if TYPE_CHECKING:
    from la_agents.models import LoadedModel

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
# The converted model is kept between runs: making it takes half a minute, and tests/real tests that making.
os.environ.setdefault("LA_AGENTS_CACHE", str(Path(__file__).parents[1] / ".cache" / "la_agents"))
# Processes that share the tests share the processor: threads that wait for a core make each other slow.
if (workers := int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))) > 1:
    os.environ.setdefault("OMP_NUM_THREADS", str(max((os.cpu_count() or 1) // workers, 1)))

# `make test` tries the same examples everywhere, `make test-wide` new ones each time; what a test sets itself stays.
settings.register_profile("fixed", derandomize=True, deadline=None, database=None, print_blob=True)
settings.register_profile("wide", derandomize=False, deadline=None, database=None, print_blob=True, max_examples=1000)
settings.load_profile("fixed")


@pytest.fixture(scope="session")
def bundled_model() -> LoadedModel:
    """SmolLM2-135M-Instruct as users get it by default on a CPU, loaded once per session."""
    from la_agents.models import load_model

    return load_model(device="cpu")


@pytest.fixture(scope="session")
def plain_model() -> LoadedModel:
    """The same in plain float32, for tests that call the model itself: it must never meet an engine."""
    from la_agents.models import load_model

    return load_model(device="cpu", quantize=None)
