"""Arithmetic on embeddings: unit length and cosines."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from la_agents.preferences.record import StoredPreference, Vector

__all__ = ["cosines", "stacked", "unit"]


def unit(vectors: Vector) -> Vector:
    """Each row of [..., dimension] with length 1, or 0 where it is zero."""
    norms = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return np.asarray(vectors / np.maximum(norms, np.finfo(np.float32).tiny), dtype=np.float32)


def stacked(records: Sequence[StoredPreference]) -> Vector:
    """The vectors of records that have them, [n, dimension]."""
    vectors = [record.vector for record in records if record.vector is not None]
    return np.stack(vectors) if vectors else np.empty((0, 0), dtype=np.float32)


def cosines(vectors: Vector, query: Vector) -> Vector:
    """Cosine of each row of [n, dimension] with [dimension]; 0 where a vector is zero; in [-1, 1]."""
    if not len(vectors):
        return np.empty(0, dtype=np.float32)
    return np.asarray(np.clip(unit(vectors) @ unit(query), -1.0, 1.0), dtype=np.float32)
