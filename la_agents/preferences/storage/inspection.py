"""Inspection: counts what a store holds, and checks that every record can be found; it changes nothing.

It reads across users, and returns counts and record ids only, never a text.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import chain, groupby
from typing import TYPE_CHECKING

from la_agents.errors import StoreUnavailableError
from la_agents.preferences.screening import flags
from la_agents.preferences.storage.cleaning import folder_size
from la_agents.preferences.storage.layout import Settings
from la_agents.preferences.storage.pages import Progress, Row, pages
from la_agents.preferences.storage.records import (
    ARCHIVE_FIELD,
    CLAIM_FIELD,
    CONTINUED_FIELD,
    is_vector,
    preference_id_of,
    record_id,
    slot_of,
)
from la_agents.preferences.storage.slots import ends_window, reachable
from la_agents.preferences.storage.spill import Spill

if TYPE_CHECKING:
    from la_agents.preferences.storage.shards import Shards

__all__ = ["Stats", "Verified", "stats", "verify"]


@dataclass(frozen=True, slots=True)
class Stats:
    """How much a store holds.

    Attributes:
        num_users: Users, and shared layers, with at least one record.
        states: Preferences by state.
        num_flagged: Preferences whose text looks like an attempt on the prompt; see `prefs list` of a user.
        num_shards: Shards that users are spread over.
        num_bytes: Size of the folder; None on a server.
        num_records: Records in the store.
        num_read: How many of them the users, states and flags were counted in; all, or a sample over all shards.
    """

    num_users: int
    states: Mapping[str, int]
    num_flagged: int
    num_shards: int
    num_bytes: int | None
    num_records: int
    num_read: int


@dataclass(slots=True)
class Verified:
    """What `verify` found; ids are records', `<user digest>:<slot>`.

    Attributes:
        num_records: Records looked at.
        unreadable: Records whose content is no preference.
        misplaced: Records that lie where no call finds them, or under the id of another preference of their user.
        unindexed: Records without a proper vector in the index.
        repaired: Whether these were mended: unreadable ones removed, misplaced ones moved, vectors made anew.
    """

    num_records: int = 0
    unreadable: list[str] = field(default_factory=list)
    misplaced: list[str] = field(default_factory=list)
    unindexed: list[str] = field(default_factory=list)
    repaired: bool = False

    @property
    def is_sound(self) -> bool:
        """Whether nothing is amiss, or no longer."""
        return self.repaired or not (self.unreadable or self.misplaced or self.unindexed)


def stats(shards: Shards, at_most: int | None = None) -> Stats:
    """Count, without an index or an embedding, in all records or in about so many."""
    while True:
        settings = shards.settings()
        try:
            return _stats(shards, settings, at_most)
        except StoreUnavailableError:
            if shards.settings() == settings:
                raise  # else the shards were written anew, and the old ones dropped


def _stats(shards: Shards, settings: Settings | None, at_most: int | None) -> Stats:
    states: Counter[str] = Counter()
    owners, num_flagged = set(), 0
    num_read, num_records = 0, 0

    def note(read: int, all_: int) -> None:
        nonlocal num_read, num_records
        num_read, num_records = read, all_

    for page in pages(shards, settings, vectors=False, progress=note, at_most=at_most) if settings else ():
        for row in page:
            if CLAIM_FIELD in row.metadata:
                continue
            record = row.stored()
            states[record.preference.state if record else "unreadable"] += 1
            owners.add(row.digest)
            num_flagged += bool(row.text and flags(row.text))
    num_bytes = None if shards.folder is None else folder_size(shards.folder)
    num_shards = settings.num_shards if settings else 0
    return Stats(len(owners), dict(states), num_flagged, num_shards, num_bytes, num_records, num_read)


def verify(shards: Shards, progress: Progress | None = None) -> Verified:
    """Check that every record can be read, lies where calls look for it, and has its vector."""
    found, settings = Verified(), shards.settings()
    if settings is None:
        return found
    with Spill[int]() as seen:
        rows = chain.from_iterable(pages(shards, settings, progress=progress))
        for _, of_shard in groupby(rows, key=lambda row: row.shard):
            shard = _Shard(settings, found, seen)
            for row in of_shard:
                shard.check(row)
            shard.check_reach()
    return found


@dataclass(slots=True)
class _Shard:
    """One shard while it is checked.

    Attributes:
        settings: What the store was made with.
        found: What is amiss, filled here.
        seen: Preferences of all shards so far, as user's digest and id.
        taken: The slots of each user, by digest.
        claims: Ids of records that are nobody's yet.
    """

    settings: Settings
    found: Verified
    seen: Spill[int]
    taken: dict[str, set[int]] = field(default_factory=lambda: defaultdict(set))
    claims: set[str] = field(default_factory=set)

    def check(self, row: Row) -> None:
        """Look at one record."""
        digest, slot = row.digest, slot_of(row.id)
        if slot is not None:
            self.taken[digest].add(slot)
        if CLAIM_FIELD in row.metadata:  # of a writer that was killed; a reader passes it by
            self.claims.add(row.id)
            self.found.misplaced += [] if _goes_on(row, slot, row.metadata[CLAIM_FIELD]) else [row.id]
            return
        self.found.num_records += 1
        record = row.stored()
        if record is None:
            self.found.unreadable.append(row.id)
            return
        user, key = record.preference.user_id, f"{digest}:{record.preference.id}"
        is_at_home = (
            slot is not None
            and row.id == record_id(user, slot)
            and self.settings.shard_of(user) == row.shard
            and (ARCHIVE_FIELD in row.metadata) == record.is_archived
            and record.preference.id == preference_id_of(row.metadata)
        )
        if not is_at_home or key in self.seen or not _goes_on(row, slot, user):
            self.found.misplaced.append(row.id)
        if is_at_home:
            self.seen[key] = 1
        if not all(is_vector(vector, self.settings.dimension) for vector in (row.vector, record.vector)):
            self.found.unindexed.append(row.id)

    def check_reach(self) -> None:
        """Look at all of them together, once every one was seen."""
        known = {*self.claims, *self.found.misplaced}
        for digest, slots in self.taken.items():
            beyond = (f"{digest}:{slot}" for slot in sorted(slots - reachable(slots)))
            self.found.misplaced += [id for id in beyond if id not in known]


def _goes_on(row: Row, slot: int | None, user: str) -> bool:
    """Whether a reader of this user goes on after the record: at the end of a window it has to say so."""
    return slot is None or not ends_window(slot) or row.metadata.get(CONTINUED_FIELD) == user
