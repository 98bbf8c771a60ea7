"""The research suites that run a model, by name."""

from __future__ import annotations

from benchmarks.research.capability import CAPABILITY
from benchmarks.research.conflict import CONFLICT
from benchmarks.research.conversation import CONVERSATION, DRIFT
from benchmarks.research.ifeval import IFEVAL
from benchmarks.research.wordings import WORDINGS_SUITE

__all__ = ["RESEARCH"]

RESEARCH = {suite.name: suite for suite in (IFEVAL, CONVERSATION, DRIFT, CAPABILITY, CONFLICT, WORDINGS_SUITE)}
