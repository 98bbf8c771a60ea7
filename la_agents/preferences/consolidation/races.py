"""Races: the same thing said to two processes at once, which share a server and no lock.

Each reads before it writes, so neither sees the other's, and both store it. Each therefore looks again after it has
written: whoever wrote last sees both, and whoever sees both leaves the same one standing.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime

from la_agents.preferences.lifecycle import refreshed, superseded
from la_agents.preferences.rules.statements import letters
from la_agents.preferences.storage.records import StoredPreference

__all__ = ["settled"]

_WHY = "said to two processes at once"


def settled(active: Sequence[StoredPreference], ids: Collection[str], at: datetime) -> list[StoredPreference]:
    """What to write so that none of these ids, just added, stands beside another active one in the same words.

    The oldest stays, by time and then by id, and counts how often it was said; the others it supersedes.
    """
    said: dict[str, list[StoredPreference]] = {}
    for record in sorted(active, key=lambda each: (each.preference.created_at, each.preference.id)):
        said.setdefault(letters(record.preference.text), []).append(record)
    written: list[StoredPreference] = []
    for first, *others in said.values():
        if others and not {first.preference.id, *(each.preference.id for each in others)}.isdisjoint(ids):
            for other in others:
                first = refreshed(first, other.preference, _WHY, restated=False)
            written += [first, *(superseded(other, first.preference.id, at, _WHY) for other in others)]
    return written
