"""Administration: what is done to a whole store, by whoever runs it; part of `PreferenceStore`."""

from __future__ import annotations

from la_agents.errors import ConfigurationError
from la_agents.preferences.aio import async_twin
from la_agents.preferences.ledger import Ledger
from la_agents.preferences.storage.inspection import Stats, Verified, stats, verify
from la_agents.preferences.storage.maintenance import Purged, purge, purgeable, rebuild
from la_agents.preferences.storage.pages import Progress
from la_agents.preferences.storage.writers import everybody

__all__ = ["Administration"]


class Administration:
    """Figures, checks, mending, moving and purging; see `PreferenceStore`."""

    _ledger: Ledger

    def stats(self, *, at_most: int | None = None) -> Stats:
        """Count users, preferences by state, and those that look suspicious.

        Reads the whole store, or with `at_most` about so many records, some of each shard; `num_read` says how many.

        Raises:
            ConfigurationError: at_most is below 1.
        """
        if at_most is not None and at_most < 1:
            msg = f"Expected at_most to be at least 1, got {at_most}."
            raise ConfigurationError(msg)
        return stats(self._ledger.shards, at_most)

    def verify(self, *, repair: bool = False, progress: Progress | None = None) -> Verified:
        """Check that all records can be read, lie where calls look for them and have their vectors.

        Args:
            repair: Mend what is amiss, as `Verified` says, by writing the shards anew.
            progress: Called with records done, and all.
        """
        with everybody():
            found = verify(self._ledger.shards, progress)
            if repair and not found.is_sound:
                rebuild(self._ledger.shards, self._ledger.vectorizer, progress=progress)
                found.repaired = True
        return found

    def migrate(self, num_shards: int | None = None, *, progress: Progress | None = None) -> int:
        """Write the store anew and return how many records that were: in this version's format, in so many shards.

        About one shard for each 8 thousand preferences is right; a new store has 128. Without a number there are as
        many as before. On a server, stop writing meanwhile.

        Raises:
            ConfigurationError: num_shards is not within [1, 4096].
        """
        with everybody():
            return rebuild(self._ledger.shards, self._ledger.vectorizer, num_shards, progress)

    def purge(self, *, progress: Progress | None = None) -> Purged:
        """Write the store's folder anew so that no byte of what was erased stays in any file.

        Other calls of this process on the folder wait meanwhile, but not those of a chromadb client of your own.
        Copies elsewhere (backups, snapshots, the disk's freed blocks) are not reached.

        Raises:
            ConfigurationError: the store is not in a folder of this process.
        """
        with everybody():
            return purge(self._ledger.shards, self._ledger.vectorizer, progress)

    def check_purge(self) -> None:
        """Raise ConfigurationError if `purge` cannot reach the store's files, before anything is done."""
        purgeable(self._ledger.shards)

    astats = async_twin(stats)
    averify = async_twin(verify)
    amigrate = async_twin(migrate)
    apurge = async_twin(purge)
