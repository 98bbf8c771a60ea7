"""Races: the same thing said to two processes at once, which share a server and no lock.

Each reads before it writes, so neither sees the other's, and both store it. Each therefore looks again after it has
written: whoever wrote last sees both, and whoever sees both leaves the same one in place.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime

from la_agents.preferences.history import Operation
from la_agents.preferences.lifecycle import refreshed, superseded
from la_agents.preferences.record import StoredPreference
from la_agents.preferences.words import folded

__all__ = ["merged_twins"]

_WHY = "said to two processes at once"


def merged_twins(
    active: Sequence[StoredPreference], ids: Collection[str], operation: Operation
) -> list[StoredPreference]:
    """What to write so that none of these ids, just added, stands beside another active one in the same words.

    What ranks highest stays, of those the oldest, by time and then by id, and counts how often it was said; the others
    it supersedes.
    """
    said: dict[str, list[StoredPreference]] = {}
    for record in sorted(active, key=_age):
        said.setdefault(folded(record.preference.text), []).append(record)
    written: list[StoredPreference] = []
    for twins in said.values():
        if len(twins) == 1 or {each.preference.id for each in twins}.isdisjoint(ids):
            continue
        first, *others = sorted(twins, key=lambda each: -each.preference.rank)
        for other in others:
            if not first.preference.outranks(other.preference):
                first = refreshed(first, other.preference, operation, _WHY, restated=False)
        written += [first, *(superseded(other, first.preference, operation, _WHY) for other in others)]
    return written


def _age(record: StoredPreference) -> tuple[datetime, str]:
    return record.preference.created_at, record.preference.id
