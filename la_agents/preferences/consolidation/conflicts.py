"""Possible conflicts: similar preferences of one user that may contradict or repeat each other.

Similar embeddings tell that two texts are about the same, not whether they agree; so they change nothing. The user
decides, and the decision is kept with both preferences, as a digest of their texts.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from la_agents.errors import ConfigurationError
from la_agents.preferences.embedding.vectors import unit
from la_agents.preferences.history import Operation
from la_agents.preferences.lifecycle import kept_beside, superseded
from la_agents.preferences.preference import Preference
from la_agents.preferences.record import StoredPreference
from la_agents.preferences.words import folded

__all__ = ["Conflict", "Keep", "check_at_most", "check_keep", "decided", "possible_conflicts"]

LEAST_SIMILARITY = 0.65
"""Least cosine of a possible conflict: of the labelled contradictions that the core does not see, 5 in 6 reach it."""

_ROWS = 512

Keep = Literal["both", "newer", "older"]


@dataclass(frozen=True, slots=True)
class Conflict:
    """Two active preferences that may contradict or repeat each other.

    Attributes:
        older: The one that was stored first.
        newer: The other.
        similarity: Cosine of their embeddings.
    """

    older: Preference
    newer: Preference
    similarity: float


def possible_conflicts(active: Sequence[StoredPreference], at_most: int) -> list[Conflict]:
    """Return the undecided pairs, the most similar first."""
    check_at_most(at_most)
    records = sorted(active, key=lambda each: (each.preference.created_at, each.preference.id))
    if len(records) < 2:
        return []
    vectors = unit(np.stack([record.vector for record in records if record.vector is not None]))
    found: list[tuple[float, int, int]] = []
    for start in range(0, len(records), _ROWS):
        block = vectors[start : start + _ROWS] @ vectors.T
        for row, column in np.argwhere(block >= LEAST_SIMILARITY):
            older, newer = start + int(row), int(column)
            if older < newer and not _is_decided(records[older].preference, records[newer].preference):
                found.append((float(block[row, column]), older, newer))
        found = sorted(found, reverse=True)[:at_most]
    return [
        Conflict(records[older].preference, records[newer].preference, min(1.0, similarity))
        for similarity, older, newer in found
    ]


def decided(older: StoredPreference, newer: StoredPreference, keep: Keep, at: Operation) -> list[StoredPreference]:
    """Return the records that a decision changes."""
    if keep == "both":
        pair = _digest(older.preference, newer.preference)
        return [kept_beside(older, pair, at), kept_beside(newer, pair, at)]
    kept, gone = (newer, older) if keep == "newer" else (older, newer)
    return [superseded(gone, kept.preference, at, f"its user keeps the {keep} one")]


def check_at_most(at_most: int | None) -> None:
    """Raise ConfigurationError if it is below 1."""
    if at_most is not None and at_most < 1:
        msg = f"Expected at_most to be at least 1, got {at_most}."
        raise ConfigurationError(msg)


def check_keep(keep: str) -> None:
    """Raise ConfigurationError unless it is one of `Keep`."""
    if keep not in get_args(Keep):
        msg = f"Expected keep to be one of {', '.join(get_args(Keep))}, got {keep!r}."
        raise ConfigurationError(msg)


def _is_decided(one: Preference, other: Preference) -> bool:
    return bool(one.kept_beside or other.kept_beside) and _digest(one, other) in (*one.kept_beside, *other.kept_beside)


def _digest(one: Preference, other: Preference) -> str:
    """A digest of two texts, in any order: with another text, the pair is undecided again."""
    words = sorted((folded(one.text), folded(other.text)))
    return hashlib.blake2b("\n".join(words).encode(), digest_size=8).hexdigest()
