"""Plan: what adding preferences changes among the stored ones; pure functions of judgements made before.

A preference changes only what does not outrank it. What ranks lower and contradicts waits as a proposal that names
what it would replace; see `Preference.outranks`. A proposal waits no longer once its user says the same, or the
opposite.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from la_agents.errors import PreferenceNotFoundError
from la_agents.preferences.consolidation.judging import Judgements
from la_agents.preferences.history import Operation
from la_agents.preferences.lifecycle import refreshed, superseded, version_at
from la_agents.preferences.preference import MAX_LINKS, Preference
from la_agents.preferences.record import StoredPreference
from la_agents.preferences.words import folded

__all__ = ["Plan"]

_NAMED = "named by what takes its place"

_Related = tuple[StoredPreference, str]


@dataclass(slots=True)
class _Found:
    """The records that a new one repeats, in the same or in other words, or contradicts, with reasons."""

    said: list[_Related] = field(default_factory=list)
    restated: list[_Related] = field(default_factory=list)
    contradicted: list[_Related] = field(default_factory=list)

    def note(self, record: StoredPreference, relation: str, why: str) -> None:
        lists = {"same": self.said, "restated": self.restated, "contradicts": self.contradicted}
        if relation in lists:
            lists[relation].append((record, why))

    @property
    def again(self) -> _Related | None:
        """The highest-ranked of the repeated records."""
        return max([*self.said, *self.restated], key=lambda each: each[0].preference.rank, default=None)


class Plan:
    """One user's records while some are added, and the changed ones.

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
        found, waiting = self._related(record)
        named = self._named(preference)
        contradicted = [each for each in found.contradicted if each[0].preference.id not in preference.supersedes]
        contradicted += named
        if found.again is not None:
            old, why = found.again
            if old.preference.outranks(preference):
                return old.preference.id
            revives = not self._is_replaced_by_stronger(old.preference, preference)
            is_restated = found.again in found.restated
            again = refreshed(old, preference, operation, why, restated=is_restated, revives=revives)
            if again.preference.text == preference.text and again.vector is None:
                again = replace(again, vector=record.vector)
            self._put(again)
            self._supersede(again.preference, contradicted, operation)
            self._settle(again.preference, preference, waiting, operation)
            return again.preference.id
        refused = self._refused(preference)
        if refused is not None and refused.state_at(self._at) == "rejected":
            return refused.id
        if refused is not None or any(old.preference.outranks(preference) for old, _ in contradicted):
            return self._propose(record, contradicted)
        locked = next((each for each in contradicted if _keeps_its_place(each, preference)), None)
        if locked is not None:
            old, why = locked
            self._put(superseded(record, old.preference, operation, f"{why}; against what is locked"))
            return preference.id
        self._put(record)
        self._supersede(preference, contradicted, operation)
        self._settle(preference, preference, waiting, operation)
        return preference.id

    def propose(self, record: StoredPreference) -> str:
        """Add a record that waits for approval, with the ids of what it would replace; or say under which id it is
        known, waits or was rejected already."""
        found, _ = self._related(record)
        if found.again is not None and found.again in found.said:
            return found.again[0].preference.id
        self._named(record.preference)  # raises for what is not there
        return self._propose(record, found.contradicted)

    def approve(self, record: StoredPreference, operation: Operation) -> str:
        """Let an approved proposal apply, and return the id under which it is known now.

        What it names it takes the place of, whatever its rank: its user was told, and agreed. What was reworded since
        then says something else now, and is compared like any other.
        """
        preference = record.preference
        found, waiting = self._related(record)
        named = [old for id in preference.supersedes if (old := self._alive(id)) is not None]
        told = [(old, _NAMED) for old in named if _says_what_it_said(old, preference.created_at)]
        if found.again is not None:
            old, why = found.again
            if not old.preference.outranks(preference):
                self._put(refreshed(old, preference, operation, why, restated=found.again in found.restated))
            now = self._records[old.preference.id].preference
            self._put(superseded(record, now, operation, "says what is known"))
            self._supersede(now, told, operation)
            self._settle(now, preference, waiting, operation)
            return old.preference.id
        self._put(record)
        self._supersede(preference, found.contradicted, operation)
        self._supersede(preference, told, operation, is_agreed=True)
        self._settle(preference, preference, waiting, operation)
        return preference.id

    def _put(self, record: StoredPreference) -> None:
        id = record.preference.id
        known = self._records.get(id)
        if known is not None:
            self._by_words.get(folded(known.preference.text), {}).pop(id, None)
        self._records[id] = self.written[id] = record
        if self._judgements:
            self._note(record)

    def _note(self, record: StoredPreference) -> None:
        preference = record.preference
        if preference.is_comparable(self._at) or preference.state_at(self._at) == "pending":
            self._by_words.setdefault(folded(preference.text), {})[preference.id] = None

    def _related(self, record: StoredPreference) -> tuple[_Found, _Found]:
        """Return how a record relates to active and suspended ones, and to proposals."""
        alive, waiting = _Found(), _Found()
        if self._judgements is None:
            return alive, waiting
        words, own = folded(record.preference.text), record.preference.id
        wordings = {other: [self._records[id] for id in ids if id != own] for other, ids in self._by_words.items()}
        same = wordings.pop(words, [])
        others = [records for records in wordings.values() if records]
        related = self._judgements.between(record, [records[0] for records in others]) if others else {}
        judged = [(records, *related.get(records[0].preference.text, ("independent", ""))) for records in others]
        for records, relation, why in [(same, "same", "the same words"), *judged]:
            for each in records:
                (waiting if each.preference.review else alive).note(each, relation, why)
        return alive, waiting

    def _propose(self, record: StoredPreference, contradicted: Sequence[_Related]) -> str:
        words = folded(record.preference.text)
        for known in self._records.values():
            is_asked = known.preference.state_at(self._at) in ("pending", "rejected")
            if is_asked and folded(known.preference.text) == words:
                return known.preference.id
        named = dict.fromkeys([*record.preference.supersedes, *(old.preference.id for old, _ in contradicted)])
        values = {"review": "pending", "supersedes": tuple(named)[:MAX_LINKS]}
        self._put(replace(record, preference=record.preference.model_copy(update=values)))
        return record.preference.id

    def _refused(self, preference: Preference) -> Preference | None:
        """Return what its user did not want: the same words, rejected, or forgotten although they ranked higher."""
        if self._judgements is None or preference.source != "inferred":
            return None
        words = folded(preference.text)
        for known in (record.preference for record in self._records.values()):
            state = known.state_at(self._at)
            is_refused = state == "rejected" or (state == "forgotten" and known.outranks(preference))
            if is_refused and folded(known.text) == words:
                return known
        return None

    def _settle(self, known: Preference, said: Preference, waiting: _Found, operation: Operation) -> None:
        """Supersede proposals that say what applies now, or the opposite of what their user has said."""
        pending = [(old, "its user has said it") for old, _ in (*waiting.said, *waiting.restated)]
        if said.source in ("explicit", "approved"):
            pending += [(old, "its user has said the opposite") for old, _ in waiting.contradicted]
        pending = [(old, why) for old, why in pending if old.preference.state_at(self._at) == "pending"]
        self._supersede(known, pending, operation, is_agreed=True)

    def _named(self, preference: Preference) -> list[_Related]:
        """Return the records in `supersedes`."""
        found = []
        for id in preference.supersedes:
            record = self._alive(id)
            if record is None:
                msg = f"supersedes: Expected ids of this user's preferences that apply, got {id!r}; see list(user)."
                raise PreferenceNotFoundError(msg)
            found.append((record, _NAMED))
        return found

    def _alive(self, id: str) -> StoredPreference | None:
        record = self._records.get(id)
        return record if record is not None and record.preference.is_comparable(self._at) else None

    def _supersede(
        self, by: Preference, old: Sequence[_Related], operation: Operation, *, is_agreed: bool = False
    ) -> None:
        """Supersede others by a preference, except higher-ranked ones, and locked ones that it does not name."""
        if not by.is_active(self._at):
            return
        for record, why in old:
            known = self._records[record.preference.id]
            keeps = known.preference.outranks(by) and not is_agreed
            is_off = not by.weight and why != _NAMED  # what is switched off contradicts nothing
            is_done = by.id in (known.preference.id, known.preference.superseded_by)
            if not (keeps or is_off or is_done or _keeps_its_place((known, why), by)):
                self._put(superseded(known, by, operation, why))

    def _is_replaced_by_stronger(self, old: Preference, again: Preference) -> bool:
        by = self._records.get(old.superseded_by or "")
        return by is not None and by.preference.outranks(again)


def _says_what_it_said(record: StoredPreference, at: datetime) -> bool:
    before = version_at(record, at)
    return before is not None and folded(before.text) == folded(record.preference.text)


def _keeps_its_place(old: _Related, new: Preference) -> bool:
    return old[0].preference.locked and not new.locked and old[1] != _NAMED
