"""What adding preferences does to those that their user has: pure, on judgements that were made before.

A preference changes only what does not outrank it. What ranks lower and contradicts waits as a proposal that names
what it would replace; see `Preference.outranks`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime

from la_agents.errors import PreferenceNotFoundError
from la_agents.preferences.consolidation.judging import Judgements
from la_agents.preferences.history import Operation
from la_agents.preferences.lifecycle import refreshed, superseded
from la_agents.preferences.preference import MAX_LINKS, Preference
from la_agents.preferences.record import StoredPreference
from la_agents.preferences.words import folded

__all__ = ["Plan"]

_NAMED = "named by what takes its place"

_Related = tuple[StoredPreference, str]


class Plan:
    """One user's records while some are added, and what has to be written.

    Args:
        known: All that the user has, with vectors.
        judgements: How texts relate; None if nothing is compared.
        at: The time of the change.

    Attributes:
        written: What has to be written, by id; a record without a vector has to be embedded.
    """

    def __init__(self, known: Iterable[StoredPreference], judgements: Judgements | None, at: datetime) -> None:
        self._judgements = judgements
        self._at = at
        self._records = {record.preference.id: record for record in known}
        self._by_words: dict[str, dict[str, None]] = {}
        self.written: dict[str, StoredPreference] = {}
        for record in self._records.values() if judgements else ():
            self._note(record)

    def add(self, record: StoredPreference, operation: Operation) -> str:
        """Add a record, and return the id under which it is known now: its own, or that of the one it says again.

        Raises:
            PreferenceNotFoundError: it names what the user does not have, or what does not apply.
        """
        preference = record.preference
        said, contradicted = self._related(record)
        contradicted += self._named(preference, contradicted)
        if said:
            old, why, is_restated = said[0]
            if old.preference.outranks(preference):
                return old.preference.id
            revives = not self._is_replaced_by_stronger(old.preference, preference)
            again = refreshed(old, preference, operation, why, restated=is_restated, revives=revives)
            if again.preference.text == preference.text and again.vector is None:
                again = replace(again, vector=record.vector)
            self.put(again)
            self._supersede(again.preference, contradicted, operation)
            return again.preference.id
        stronger = [(old, why) for old, why in contradicted if old.preference.outranks(preference)]
        if stronger:
            return self._propose(record, contradicted)
        locked = next(((old, why) for old, why in contradicted if _keeps_its_place(old.preference, preference)), None)
        if locked is not None:
            old, why = locked
            until = _until(preference, old.preference, self._at)
            self.put(superseded(record, old.preference.id, operation, f"{why}; against what is locked", until))
            return preference.id
        self.put(record)
        self._supersede(preference, contradicted, operation)
        return preference.id

    def propose(self, record: StoredPreference) -> str:
        """Add a record that waits for approval, with the ids of what it would replace; or say under which id it is
        known, waits or was rejected already."""
        said, contradicted = self._related(record)
        if said and not said[0][2]:
            return said[0][0].preference.id
        self._named(record.preference, ())  # raises for what is not there
        return self._propose(record, contradicted)

    def approve(self, record: StoredPreference, operation: Operation) -> str:
        """Let an approved proposal apply, and return the id under which it is known now.

        What it names it takes the place of, whatever its rank: its user was told, and agreed.
        """
        preference = record.preference
        said, contradicted = self._related(record)
        told = [(old, _NAMED) for id in preference.supersedes if (old := self._alive(id)) is not None]
        if said:
            old, why, is_restated = said[0]
            if not old.preference.outranks(preference):
                self.put(refreshed(old, preference, operation, why, restated=is_restated))
            self.put(superseded(record, old.preference.id, operation, "says what is known"))
            self._supersede(self._records[old.preference.id].preference, told, operation)
            return old.preference.id
        self.put(record)
        self._supersede(preference, contradicted, operation)
        self._supersede(preference, told, operation, is_agreed=True)
        return preference.id

    def put(self, record: StoredPreference) -> None:
        """Note that a record has to be written."""
        id = record.preference.id
        self._forget(id)
        self._records[id] = self.written[id] = record
        if self._judgements:
            self._note(record)

    def _propose(self, record: StoredPreference, contradicted: Sequence[_Related]) -> str:
        words = folded(record.preference.text)
        for known in self._records.values():
            if (
                known.preference.state_at(self._at) in ("pending", "rejected")
                and folded(known.preference.text) == words
            ):
                return known.preference.id
        named = dict.fromkeys([*record.preference.supersedes, *(old.preference.id for old, _ in contradicted)])
        values = {"review": "pending", "supersedes": tuple(named)[:MAX_LINKS]}
        self.put(replace(record, preference=record.preference.model_copy(update=values)))
        return record.preference.id

    def _related(self, record: StoredPreference) -> tuple[list[tuple[StoredPreference, str, bool]], list[_Related]]:
        """What it says again, what ranks highest first, with why and whether in other words; and what it contradicts,
        with why."""
        if self._judgements is None:
            return [], []
        words = folded(record.preference.text)
        said = [(self._records[id], "the same words", False) for id in self._by_words.get(words, ())]
        contradicted: list[_Related] = []
        others = {other: [*ids] for other, ids in self._by_words.items() if other != words and ids}
        wordings = {other: self._records[ids[0]] for other, ids in others.items()}
        related = self._judgements.between(record, [*wordings.values()]) if wordings else {}
        for other, one in wordings.items():
            relation, why = related.get(one.preference.text, ("independent", ""))
            records = [self._records[id] for id in others[other]]
            if relation == "contradicts":
                contradicted += [(each, why) for each in records]
            elif relation in ("same", "restated"):
                said += [(each, why, relation == "restated") for each in records]
        own = record.preference.id
        said = [each for each in said if each[0].preference.id != own]
        said.sort(key=lambda each: -each[0].preference.rank)
        return said, [each for each in contradicted if each[0].preference.id != own]

    def _named(self, preference: Preference, contradicted: Sequence[_Related]) -> list[_Related]:
        """What a preference names as replaced, but for what is among the contradicted anyway."""
        found = []
        for id in preference.supersedes:
            record = self._alive(id)
            if record is None:
                msg = f"supersedes: Expected ids of this user's preferences that apply, got {id!r}; see list(user)."
                raise PreferenceNotFoundError(msg)
            if all(old.preference.id != id for old, _ in contradicted):
                found.append((record, _NAMED))
        return found

    def _alive(self, id: str) -> StoredPreference | None:
        record = self._records.get(id)
        return record if record is not None and record.preference.is_comparable(self._at) else None

    def _supersede(
        self, by: Preference, old: Sequence[_Related], operation: Operation, *, is_agreed: bool = False
    ) -> None:
        """Let a preference take the place of others while it applies, but for those that keep theirs."""
        if not by.weight or not by.is_active(self._at):
            return
        for record, why in old:
            known = self._records[record.preference.id]
            keeps = known.preference.outranks(by) and not is_agreed
            if known.preference.superseded_by == by.id or keeps or _keeps_its_place(known.preference, by):
                continue
            until = _until(known.preference, by, self._at)
            self.put(superseded(known, by.id, operation, why, until))

    def _is_replaced_by_stronger(self, old: Preference, again: Preference) -> bool:
        by = self._records.get(old.superseded_by or "")
        return by is not None and by.preference.outranks(again)

    def _note(self, record: StoredPreference) -> None:
        if record.preference.is_comparable(self._at):
            self._by_words.setdefault(folded(record.preference.text), {})[record.preference.id] = None

    def _forget(self, id: str) -> None:
        known = self._records.get(id)
        if known is not None:
            self._by_words.get(folded(known.preference.text), {}).pop(id, None)


def _keeps_its_place(old: Preference, new: Preference) -> bool:
    return old.locked and not new.locked


def _until(old: Preference, by: Preference, at: datetime) -> datetime | None:
    """When the old one applies again: not before whatever has its place already expires, too."""
    if by.expires_at is None or old.superseded_until is None or not old.is_suspended(at):
        return by.expires_at
    return max(by.expires_at, old.superseded_until)
