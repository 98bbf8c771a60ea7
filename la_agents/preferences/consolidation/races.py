"""Duplicates that two processes store at once: they share a server, but no lock.

Each process reads before it writes, so both may store the same words. Each therefore reads again after it has written:
the last one sees both records, and whichever process sees both keeps the same one.
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
    """Return the records to write to merge each of these new ids with active ones in the same words.

    The highest-ranked stays, of those the oldest, by time and then by id; it supersedes the others.
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
