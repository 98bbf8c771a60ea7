"""Transfer: a user's preferences as a file, out of the store and into it; part of `PreferenceStore`."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Any

from la_agents.preferences.aio import async_twin
from la_agents.preferences.layers import owner_of
from la_agents.preferences.ledger import Ledger
from la_agents.preferences.lifecycle import imported
from la_agents.preferences.preference import Preference, utc_now
from la_agents.preferences.storage.pages import Progress
from la_agents.preferences.storage.records import StoredPreference
from la_agents.preferences.storage.slots import Places
from la_agents.preferences.storage.spill import Spill
from la_agents.preferences.storage.writers import writer
from la_agents.preferences.transfer import jsonl
from la_agents.preferences.transfer.foreign import ExportFormat

__all__ = ["Transfer"]

_IMPORT_BATCH = 1_000


class Transfer:
    """Export and import; see `PreferenceStore`."""

    _ledger: Ledger

    def export(self, user: object, path_or_file: jsonl.PathOrFile, *, progress: Progress | None = None) -> int:
        """Write everything the user has, with its history, as JSON lines, and return how many.

        Args:
            user: Whose.
            path_or_file: The file; a path is replaced at the end, never half written.
            progress: Called with preferences done, and all.
        """
        user = owner_of(user)
        with writer(user):  # the shards are not written anew meanwhile
            pages = self._ledger.records.pages(user)
            records: Iterable[StoredPreference] = itertools.chain.from_iterable(pages)
            if progress is not None:
                records = _reported(records, self._ledger.records.count(user), progress)
            return jsonl.write_lines(path_or_file, records)

    def import_(
        self,
        user: object,
        path_or_file: jsonl.PathOrFile,
        *,
        source_format: ExportFormat = "la-agents",
        on_bad: Callable[[str], None] | None = None,
        progress: Progress | None = None,
    ) -> int:
        """Store the preferences of a JSON lines file as this user's and return how many there are.

        Ids are kept, so that importing a file again changes nothing and importing a changed one updates: what the store
        had is in the history, and `undo` brings it back. Whose they were makes no difference, if they were one user's:
        another user's records are never touched. Nothing is consolidated: they come as they went. The file is read
        twice, to check it before anything is written, a thousand preferences at a time; what is in memory does not grow
        with the file (but a mem0 or LangMem export that is one JSON value is read whole).

        Args:
            user: Whose they become.
            path_or_file: The file.
            source_format: "la-agents", or the library that wrote it: "mem0" or "langmem".
            on_bad: Called with a message for each bad line (malformed, too heavy, or another user's), which is then
                left out; None refuses the file.
            progress: Called with preferences done, and all.

        Raises:
            ConfigurationError: there is no such format.
            InvalidPreferenceError: a line is bad (the message gives its number), or there are too many for one
                user; nothing was written.
        """
        user = owner_of(user)
        check = partial(self._ledger.check_imported, user)
        with jsonl.rereadable(path_or_file) as path, Spill[int]() as slots, writer(user):
            total = self._check_import(user, jsonl.read_lines(path, user, source_format, on_bad, check))
            ignore = None if on_bad is None else _ignore
            lines = jsonl.read_lines(path, user, source_format, ignore, check)
            done, places = 0, Places(slots)
            while batch := [*itertools.islice(lines, _IMPORT_BATCH)]:
                self._ledger.write(user, self._changed(user, batch, places), places)
                done += len(batch)
                if progress is not None:
                    progress(done, total)
        return total

    aexport = async_twin(export)
    aimport = async_twin(import_)

    def _check_import(self, user: str, lines: Iterable[StoredPreference]) -> int:
        """Check every line, and the user's limits with all of them; return how many there are."""
        number = 0
        with Spill[float]() as weights:
            for page in self._ledger.records.pages(user):
                for record in page:
                    weights[record.preference.id] = _active_weight(record)
            for record in lines:
                weights[record.preference.id] = _active_weight(record)
                number += 1
            self._ledger.limits.check_sums(len(weights), weights.total())
        return number

    def _changed(self, user: str, batch: Sequence[StoredPreference], places: Places) -> list[StoredPreference]:
        """Those of a batch that are not in the store as they are; of those that are there, with their history."""
        found = self._ledger.records.read_some(user, [record.preference.id for record in batch], places)
        known = {record.preference.id: record for record in found}
        now = utc_now()
        return [
            record if old is None else imported(old, record.preference, now)
            for record in batch
            if (old := known.get(record.preference.id)) is None
            or _content(old.preference) != _content(record.preference)
        ]


def _reported(records: Iterable[StoredPreference], total: int, progress: Progress) -> Iterator[StoredPreference]:
    for done, record in enumerate(records, start=1):
        yield record
        if done % 100 == 0 or done == total:
            progress(done, total)


def _ignore(message: str) -> None:
    """Bad lines were told of when the file was checked."""


def _active_weight(record: StoredPreference) -> float:
    return record.preference.weight * record.preference.is_active()


def _content(preference: Preference) -> dict[str, Any]:
    """All that an import can change; when it was changed is not part of it."""
    return preference.model_dump(exclude={"updated_at", "created_at"})
