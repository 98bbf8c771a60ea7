"""Proposals: preferences that were inferred about a user, and apply once the user has approved them.

They are stored among the user's archived records: no call uses them, exports and erasure include them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from la_agents.errors import PreferenceNotFoundError
from la_agents.preferences.aio import async_twin
from la_agents.preferences.consolidation.judging import Consolidator, Judgements
from la_agents.preferences.consolidation.plan import Plan
from la_agents.preferences.history import Operation
from la_agents.preferences.ledger import Ledger
from la_agents.preferences.lifecycle import approved, rejected
from la_agents.preferences.preference import Preference, PreferenceDraft, as_drafts, utc_now
from la_agents.preferences.record import StoredPreference
from la_agents.preferences.writing import new_records
from la_agents.users import as_user_id

__all__ = ["Proposals"]

Preferences = list[Preference]  # named out here, because a method is called `list`


class Proposals:
    """The proposals of each user; made by `PreferenceStore.proposals`. Every method has an async twin.

    Every method raises what the store's operations raise: UserNotSpecifiedError, StoreUnavailableError and so on.
    """

    def __init__(self, ledger: Ledger, consolidator: Consolidator) -> None:
        self._ledger = ledger
        self._consolidator = consolidator

    def add(self, user: object, items: Iterable[str | Mapping[str, Any] | PreferenceDraft]) -> Preferences:
        """Propose preferences, all of them or, on error, none, and return the new proposals.

        Preferences that apply, wait or were rejected already, in the same words, are not proposed again. A proposal's
        `supersedes` names what it would replace: what the item names, and what the consolidator finds it contradicts.

        Args:
            user: Who would get them.
            items: As in `PreferenceStore.add_many`.

        Raises:
            InvalidPreferenceError: an item is not valid, or the user has too many.
            PreferenceNotFoundError: an item names another's preference as superseded, or one that does not apply.
        """
        user = as_user_id(user)
        drafts = as_drafts(items)
        if not drafts:
            return []
        now, judgements = utc_now(), Judgements(self._consolidator)
        new = new_records(self._ledger, user, drafts, now, review="pending")

        def change(known: Sequence[StoredPreference]) -> Sequence[StoredPreference]:
            plan = Plan(known, judgements, now)
            for record, _ in new:
                plan.propose(record)
            return [*plan.written.values()]

        return [record.preference for record in self._ledger.edit(user, change, judgements)]

    def list(self, user: object) -> Preferences:
        """Return the proposals that wait for the user's decision, the oldest first."""
        records = self._ledger.read(as_user_id(user), archived=True, history=False)
        waiting = [record.preference for record in records if record.preference.state == "pending"]
        return sorted(waiting, key=lambda preference: (preference.created_at, preference.id))

    def approve(self, user: object, id: str) -> Preference:
        """Make a proposal apply, and return the resulting preference.

        It replaces the preferences it names, and others it certainly contradicts that do not outrank it. If it repeats
        a stored preference, it merges into that one. Rejected and superseded proposals can still be approved.

        Raises:
            PreferenceNotFoundError: the user has no such proposal.
        """
        operation, judgements = Operation(utc_now()), Judgements(self._consolidator)
        now_known: dict[str, Preference] = {}
        known_as = [id]

        def change(known: Sequence[StoredPreference]) -> Sequence[StoredPreference]:
            now_known.update({record.preference.id: record.preference for record in known})
            plan = Plan(known, judgements, operation.at)
            proposal = _proposal(known, id, "pending", "rejected", "superseded")
            known_as[0] = plan.approve(approved(proposal, operation), operation)
            return [*plan.written.values()]

        written = self._ledger.edit(as_user_id(user), change, judgements)
        now_known |= {record.preference.id: record.preference for record in written}
        return now_known[known_as[0]]

    def reject(self, user: object, id: str) -> Preference:
        """Reject a proposal and return it; the same words are not proposed again.

        Raises:
            PreferenceNotFoundError: the user has no such waiting proposal.
        """
        operation = Operation(utc_now())

        def change(known: Sequence[StoredPreference]) -> Sequence[StoredPreference]:
            return [rejected(_proposal(known, id, "pending"), operation)]

        return self._ledger.edit(as_user_id(user), change)[0].preference

    aadd = async_twin(add)
    alist = async_twin(list)
    aapprove = async_twin(approve)
    areject = async_twin(reject)


def _proposal(known: Sequence[StoredPreference], id: str, *reviews: str) -> StoredPreference:
    for record in known:
        if record.preference.id == id and record.preference.review and record.preference.state in reviews:
            return record
    msg = "Expected the id of a proposal of this user that waits, got another; see proposals.list(user)."
    raise PreferenceNotFoundError(msg)
