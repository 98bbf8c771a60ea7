"""Which preferences a query calls for: pure functions over records in memory."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from la_agents.errors import ConfigurationError
from la_agents.preferences.records import StoredPreference, Vector
from la_agents.preferences.schema import Preference, ScoredPreference

__all__ = ["age", "check_limits", "cosines", "in_order", "most_similar"]


def check_limits(k: int, min_relevance: float | None) -> None:
    """Raise ConfigurationError unless k >= 0 and min_relevance is None or a cosine in [-1, 1]."""
    if not isinstance(k, int) or isinstance(k, bool) or k < 0:
        msg = f"Expected k to be an int >= 0, got {k!r}; give how many preferences to find."
        raise ConfigurationError(msg)
    if min_relevance is not None and not -1.0 <= min_relevance <= 1.0:
        msg = f"Expected min_relevance to be within [-1, 1], got {min_relevance!r}; it is a cosine similarity."
        raise ConfigurationError(msg)


def most_similar(
    records: Sequence[StoredPreference], query: Vector, k: int, min_relevance: float | None
) -> list[ScoredPreference]:
    """Return the k records most similar to the query, best first, ties by age, none below `min_relevance`.

    Args:
        records: Candidates with their vectors.
        query: [dimension].
        k: At most so many.
        min_relevance: Least cosine similarity; None for any.
    """
    if not records:
        return []
    vectors = np.stack([record.vector for record in records if record.vector is not None])
    relevances = cosines(vectors, query)
    floor = -math.inf if min_relevance is None else min_relevance
    found = [
        ScoredPreference(preference=record.preference, relevance=float(relevance))
        for record, relevance in zip(records, relevances, strict=True)
        if relevance >= floor
    ]
    found.sort(key=lambda scored: (-(scored.relevance or 0.0), *age(scored.preference)))
    return found[:k]


def in_order(records: Sequence[StoredPreference]) -> list[Preference]:
    """The preferences in the order in which they were stored."""
    return sorted((record.preference for record in records), key=age)


def age(preference: Preference) -> tuple[float, str]:
    """What sorts the oldest first."""
    return preference.created_at.timestamp(), preference.id


def cosines(vectors: Vector, query: Vector) -> Vector:
    """Cosine of each row of [n, dimension] with [dimension]; 0 where a vector is zero; in [-1, 1]."""
    norms = np.linalg.norm(vectors, axis=1) * np.linalg.norm(query)
    cosines = np.divide(vectors @ query, norms, out=np.zeros_like(norms), where=norms > 0)
    return np.asarray(np.clip(cosines, -1.0, 1.0), dtype=np.float32)
