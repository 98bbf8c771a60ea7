"""Proposals: preferences that somebody concluded about a user and that apply once the user has approved them.

They lie among the user's records like what was forgotten: no call reads them, exports and erasure include them.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from la_agents.errors import PreferenceNotFoundError
from la_agents.preferences.aio import async_twin
from la_agents.preferences.consolidation.plan import consolidated
from la_agents.preferences.lifecycle import added, approved, following, rejected, superseded
from la_agents.preferences.preference import Preference, PreferenceDraft, as_draft, utc_now
from la_agents.preferences.rules.statements import letters
from la_agents.preferences.storage.records import StoredPreference
from la_agents.users import as_user_id

if TYPE_CHECKING:
    from la_agents.preferences.store import PreferenceStore

__all__ = ["Proposals"]

Preferences = list[Preference]  # named out here, because a method is called `list`


class Proposals:
    """The proposals of each user; made by `PreferenceStore.proposals`. Every method has an async twin.

    Every method raises what the store's operations raise: UserNotSpecifiedError, StoreUnavailableError and so on.
    """

    def __init__(self, store: PreferenceStore) -> None:
        self._store = store

    def add(self, user: object, items: Iterable[str | Mapping[str, Any] | PreferenceDraft]) -> Preferences:
        """Propose preferences, all of them or, on error, none, and return those that are new.

        What applies already, waits already or was rejected before, in the same words, is not proposed again.

        Args:
            user: Whose they would be.
            items: As in `PreferenceStore.add_many`.

        Raises:
            InvalidPreferenceError: an item is not valid, or the user has too many.
        """
        user = as_user_id(user)
        drafts = [as_draft(item, f"item {index}: ") for index, item in enumerate(items)]
        return self._store._ledger.edit(user, lambda known: _proposed(user, drafts, known)) if drafts else []

    def list(self, user: object) -> Preferences:
        """Return what waits for the user's word, the oldest first."""
        records = self._store._ledger.records.read(as_user_id(user), archived=True, history=False)
        waiting = [record.preference for record in records if record.preference.state == "pending"]
        return sorted(waiting, key=lambda preference: (preference.created_at, preference.id))

    def approve(self, user: object, id: str) -> Preference:
        """Let a proposal apply, and return the preference as which it is known now.

        It is consolidated as an added one is: it may merge into one that is known, or supersede it. What was rejected
        can still be approved.

        Raises:
            PreferenceNotFoundError: the user has no such proposal.
        """
        user = as_user_id(user)
        now_known = [id]

        def change(known: Sequence[StoredPreference]) -> Sequence[StoredPreference]:
            written, now_known[0] = self._approved(known, id)
            return written

        written = {preference.id: preference for preference in self._store._ledger.edit(user, change)}
        return written[now_known[0]]

    def reject(self, user: object, id: str) -> Preference:
        """Turn a proposal down and return it; the same words are not proposed again.

        Raises:
            PreferenceNotFoundError: the user has no such proposal that waits.
        """

        def change(known: Sequence[StoredPreference]) -> Sequence[StoredPreference]:
            return [rejected(_proposal(known, id, "pending"), utc_now())]

        return self._store._ledger.edit(as_user_id(user), change)[0]

    aadd = async_twin(add)
    alist = async_twin(list)
    aapprove = async_twin(approve)
    areject = async_twin(reject)

    def _approved(self, known: Sequence[StoredPreference], id: str) -> tuple[Sequence[StoredPreference], str]:
        """What has to be written so that the proposal applies, and the id under which it is known then."""
        now = utc_now()
        record = approved(_proposal(known, id, "pending", "rejected"), now)
        said_now = _with(record, created_at=now)  # what it changes, it changes now
        standing = [each for each in known if each.preference.stands(now)]
        written, (now_known,) = consolidated([said_now], standing, self._store._consolidator)
        written += following(written, known, now)
        if now_known != id:
            written.append(superseded(said_now, now_known, now, "says what is known"))
        first = record.preference.created_at
        return [_with(r, created_at=first) if r.preference.id == id else r for r in written], now_known


def _proposed(
    user: str, drafts: Sequence[PreferenceDraft], known: Sequence[StoredPreference]
) -> Sequence[StoredPreference]:
    now = utc_now()
    stands = ("active", "pending", "rejected")
    heard = {letters(each.preference.text) for each in known if each.preference.state_at(now) in stands}
    records = []
    for draft in drafts:
        if letters(draft.text) in heard:
            continue
        heard.add(letters(draft.text))
        values = {**draft.model_dump(), "created_at": now, "updated_at": now, "review": "pending"}
        records.append(added(Preference(id=secrets.token_hex(8), user_id=user, **values)))
    return records


def _proposal(known: Sequence[StoredPreference], id: str, *reviews: str) -> StoredPreference:
    for record in known:
        if record.preference.id == id and record.preference.state in reviews:
            return record
    msg = "Expected the id of a proposal of this user that waits, got another; see proposals.list(user)."
    raise PreferenceNotFoundError(msg)


def _with(record: StoredPreference, **values: Any) -> StoredPreference:
    return StoredPreference(record.preference.model_copy(update=values), record.vector, record.changes)
