"""Maintenance: every record written anew, into other shards, without what is damaged or gone; and the folder cleaned.

This is for whoever runs the store. Nothing else may write meanwhile; see `PreferenceStore.migrate` and so on.
"""

from __future__ import annotations

import hashlib
import secrets
from collections import defaultdict
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from la_agents.errors import ConfigurationError
from la_agents.preferences.record import StoredPreference
from la_agents.preferences.storage.cleaning import clean, folder_size, last_write, num_writes
from la_agents.preferences.storage.layout import FORMAT, Settings
from la_agents.preferences.storage.pages import Progress, Row, pages
from la_agents.preferences.storage.records import is_vector, metadata_of, record_id, user_digest
from la_agents.preferences.storage.spill import Spill

if TYPE_CHECKING:
    from la_agents.preferences.embedding.vectorizer import Vectorizer
    from la_agents.preferences.storage.shards import Shards

__all__ = ["Purged", "check_repairable", "purge", "purgeable", "rebuild"]


@dataclass(frozen=True, slots=True)
class Purged:
    """The receipt of a purge.

    Attributes:
        num_kept: Records that were written anew; all that was not is gone from every file.
        num_gone: Writes that were dropped from Chroma's log: of what was erased, and earlier ones of what was kept.
        num_bytes_before: Size of the folder before.
        num_bytes_after: Size of the folder after.
    """

    num_kept: int
    num_gone: int
    num_bytes_before: int
    num_bytes_after: int


def rebuild(
    shards: Shards, vectorizer: Vectorizer, num_shards: int | None = None, progress: Progress | None = None
) -> int:
    """Write every readable record into new shards, switch to them, drop the old ones; return how many records.

    Until the switch, which is one write, the store is as it was: a rebuild that is cut off leaves it whole, and the
    next one removes what was left. After the switch whoever looks again finds the new shards; the old ones, which
    still answer, are dropped at once. A store of an older format is brought to this one.

    Raises:
        ConfigurationError: num_shards is not within [1, 4096].
    """
    if num_shards is not None and not 1 <= num_shards <= 4_096:
        msg = f"Expected num_shards to be within [1, 4096], got {num_shards}."
        raise ConfigurationError(msg)
    old = shards.settings(any_format=True)
    if old is None:
        return 0
    new = replace(old, num_shards=num_shards or old.num_shards, generation=old.generation + 1, format=FORMAT)
    _drop_all_but(shards, old)
    with Spill[int]() as ends, Spill[bytes]() as seen:
        copy = _Copy(shards, vectorizer, old, new, ends, seen)
        num_written = sum(copy.write(page) for page in pages(shards, old, vectors=False, progress=progress))
        if copy.strays:
            rest = pages(shards, old, vectors=False, progress=progress)
            num_written += sum(copy.write(page, strays=True) for page in rest)
    shards.switch(new)
    _drop_all_but(shards, new)
    return num_written


def purge(shards: Shards, vectorizer: Vectorizer, progress: Progress | None = None) -> Purged:
    """Rebuild, then clean what Chroma keeps beside its tables: its log, its full-text index, free pages, old files.

    Raises:
        ConfigurationError: the store is on a server, whose files are not in reach.
    """
    folder = purgeable(shards)
    if not folder.exists():
        return Purged(0, 0, 0, 0)
    with shards.connection.alone():
        num_bytes, last = folder_size(folder), last_write(folder)
        num_logged = num_writes(folder, last)
    num_kept = rebuild(shards, vectorizer, progress=progress)
    with shards.connection.alone():
        clean(folder)
        return Purged(num_kept, num_logged - num_writes(folder, last), num_bytes, folder_size(folder))


def purgeable(shards: Shards) -> Path:
    """The folder that a purge rewrites.

    Raises:
        ConfigurationError: the store is on a server, whose files are not in reach.
    """
    if shards.folder is None:
        msg = "Expected a store in a folder, got one on a server; stop the server and purge with path= its folder."
        raise ConfigurationError(msg)
    return shards.folder


def check_repairable(shards: Shards) -> None:
    """Raise ConfigurationError unless nobody else can write to the store meanwhile: what they wrote would be lost."""
    if shards.folder is None:
        msg = (
            "Expected a store in a folder of this process to repair, got one where others may write meanwhile; stop "
            "the server and repair with path= its folder."
        )
        raise ConfigurationError(msg)


@dataclass(slots=True)
class _Copy:
    """Writes pages into new shards, every user's records in slots from 0 on.

    What calls find comes first, in its order: of two records of one preference it is the one that stays as it is.
    Strays, which lie where no call looks, are left for a second round.

    Attributes:
        old: What is read by.
        new: What is written by.
        ends: The slot after the last that was given, by user's digest.
        seen: Digest of the text, by user's digest and preference id.
        strays: Whether some were left.
    """

    shards: Shards
    vectorizer: Vectorizer
    old: Settings
    new: Settings
    ends: Spill[int]
    seen: Spill[bytes]
    strays: bool = False

    def write(self, page: list[Row], *, strays: bool = False) -> int:
        """Write a page's readable records, or its strays, and return how many; vectors that are missing are made."""
        read = [(row, record) for row in page if (record := row.stored()) is not None]
        chosen = [record for row, record in read if self._is_stray(row, record.preference.user_id) == strays]
        self.strays |= len(chosen) < len(read)
        records = [self._unique(record) for record in chosen]
        by_shard: dict[int, list[StoredPreference]] = defaultdict(list)
        for record in self._with_vectors([record for record in records if record is not None]):
            by_shard[self.new.shard_of(record.preference.user_id)].append(record)
        for shard, part in by_shard.items():
            self._upsert(shard, part)
        return sum(len(part) for part in by_shard.values())

    def _is_stray(self, row: Row, user: str) -> bool:
        return row.shard != self.old.shard_of(user) or row.digest != user_digest(user)

    def _unique(self, record: StoredPreference) -> StoredPreference | None:
        """The record under an id that no other of its user has; None if it says what another says under its id."""
        preference = record.preference
        digest = user_digest(preference.user_id)
        text = hashlib.blake2b(preference.text.encode(), digest_size=16).digest()
        known = self.seen.get(f"{digest}:{preference.id}")
        if known == text:
            return None
        if known is not None:
            preference = preference.model_copy(update={"id": secrets.token_hex(8)})
        self.seen[f"{digest}:{preference.id}"] = text
        return replace(record, preference=preference)

    def _with_vectors(self, records: list[StoredPreference]) -> list[StoredPreference]:
        bare = [i for i, record in enumerate(records) if not is_vector(record.vector, self.new.dimension)]
        if bare:
            vectors = self.vectorizer.documents([records[i].preference.text for i in bare])
            for i, vector in zip(bare, vectors, strict=True):
                records[i] = replace(records[i], vector=vector)
        return records

    def _upsert(self, shard: int, records: list[StoredPreference]) -> None:
        slots = [self._next_slot(record.preference.user_id) for record in records]
        vectors: list[Any] = [record.vector for record in records]
        with self.shards.connection.errors():
            self.shards.collection(self.new.shard_name(self.shards.name, shard)).upsert(
                ids=[record_id(record.preference.user_id, slot) for record, slot in zip(records, slots, strict=True)],
                embeddings=np.stack(vectors),
                documents=[record.preference.text for record in records],
                metadatas=[metadata_of(record, slot) for record, slot in zip(records, slots, strict=True)],
            )

    def _next_slot(self, user: str) -> int:
        digest = user_digest(user)
        slot = self.ends.get(digest, 0)
        self.ends[digest] = slot + 1
        return slot


def _drop_all_but(shards: Shards, settings: Settings) -> None:
    """Delete shards of other generations: those that were replaced, or left by a rebuild that was cut off."""
    with shards.connection.errors():
        for collection in shards.others(settings):
            shards.connection.open().delete_collection(collection.name)
    shards.forget()
