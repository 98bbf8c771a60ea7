"""Export and import: an owner's preferences as a file, out of the store and into it."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import partial
from tempfile import SpooledTemporaryFile
from typing import Any

from la_agents.preferences.history import Operation
from la_agents.preferences.ledger import Ledger
from la_agents.preferences.lifecycle import imported
from la_agents.preferences.preference import Preference, utc_now
from la_agents.preferences.record import StoredPreference
from la_agents.preferences.storage.locks import writer
from la_agents.preferences.storage.pages import Progress
from la_agents.preferences.storage.slots import Places
from la_agents.preferences.storage.spill import Spill
from la_agents.preferences.transfer import jsonl
from la_agents.preferences.transfer.foreign import ExportFormat

__all__ = ["export", "import_"]

_BATCH = 1_000
_MAX_CHARS_IN_MEMORY = 8_000_000


def export(ledger: Ledger, owner: str, target: jsonl.PathOrFile, *, progress: Progress | None = None) -> int:
    """Write all of the owner's preferences to a file.

    They are read into a temporary file first, since the target may be slow and other writers would wait for it.
    """
    with SpooledTemporaryFile(_MAX_CHARS_IN_MEMORY, "w+", encoding="utf-8", newline="\n") as part:
        with writer(owner):  # the shards are not written anew meanwhile
            number = jsonl.write_lines(part, itertools.chain.from_iterable(ledger.records.pages(owner)))
        part.seek(0)
        jsonl.copy_lines(part, target, number, progress)
    return number


def import_(
    ledger: Ledger,
    owner: str,
    source: jsonl.PathOrFile,
    *,
    source_format: ExportFormat = "la-agents",
    on_bad: Callable[[str], None] | None = None,
    progress: Progress | None = None,
) -> int:
    """Store the preferences of a file as this owner's.

    The file is read and its texts are embedded without the lock; each batch is then compared with the store and written
    under it.
    """
    check = partial(ledger.check_imported, owner)
    with jsonl.rereadable(source) as path, Spill[int]() as slots:
        total = _check(ledger, owner, jsonl.read_lines(path, owner, source_format, on_bad, check))
        lines = jsonl.read_lines(path, owner, source_format, None if on_bad is None else _ignore, check)
        done, places, moves = 0, Places(slots), False
        while batch := [*itertools.islice(lines, _BATCH)]:
            embedded = _embedded(ledger, owner, batch, places)
            with writer(owner):
                written = ledger.write(owner, _changed(ledger, owner, embedded, places), places)
            moves |= any(each.preference.links or each.preference.expires_at for each in written)
            done += len(batch)
            if progress is not None:
                progress(done, total)
        if moves:  # what is superseded for a time lies among what applies
            ledger.edit(owner, lambda known: [])
    return total


def _check(ledger: Ledger, owner: str, lines: Iterable[StoredPreference]) -> int:
    """Check every line, and the owner's limits with all of them; return how many there are."""
    number = 0
    with Spill[float]() as weights:
        for page in ledger.records.pages(owner):
            for record in page:
                weights[record.preference.id] = _active_weight(record)
        for record in lines:
            weights[record.preference.id] = _active_weight(record)
            number += 1
        ledger.limits.check_sums(len(weights), weights.total())
    return number


def _embedded(ledger: Ledger, owner: str, batch: Sequence[StoredPreference], places: Places) -> list[StoredPreference]:
    """A batch with vectors, where the store does not have the same text under the same id."""
    found = ledger.records.read_some(owner, [record.preference.id for record in batch], places)
    known = {record.preference.id: record.preference.text for record in found}
    bare = [i for i, record in enumerate(batch) if known.get(record.preference.id) != record.preference.text]
    embedded = [*batch]
    if bare:
        vectors = ledger.embed([batch[index].preference.text for index in bare])
        for index, vector in zip(bare, vectors, strict=True):
            embedded[index] = replace(batch[index], vector=vector)
    return embedded


def _changed(ledger: Ledger, owner: str, batch: Sequence[StoredPreference], places: Places) -> list[StoredPreference]:
    """Those of a batch that are not in the store as they are; of those that are there, with their history."""
    found = ledger.records.read_some(owner, [record.preference.id for record in batch], places)
    known = {record.preference.id: record for record in found}
    operation = Operation(utc_now())
    changed = []
    for record in batch:
        old = known.get(record.preference.id)
        if old is None:
            changed.append(record)
        elif _content(old.preference) != _content(record.preference) and _may_change(record.preference, old.preference):
            now = imported(old, record.preference, operation)
            changed.append(now if now.vector is not None else replace(now, vector=record.vector))
    return changed


def _may_change(line: Preference, old: Preference) -> bool:
    """Whether it ranks no lower, and approves nothing that its user has not approved."""
    is_unapproved = old.review is not None and line.review is None and line.source == "inferred"
    return not old.outranks(line) and not is_unapproved


def _ignore(message: str) -> None:
    """Bad lines were told of when the file was checked."""


def _active_weight(record: StoredPreference) -> float:
    return record.preference.weight * record.preference.is_active()


def _content(preference: Preference) -> dict[str, Any]:
    """All that an import can change; when it was changed is not part of it."""
    return preference.model_dump(exclude={"updated_at", "created_at", "last_said_at", "superseded_until"})
