"""PreferenceStore: each user's preferences on Chroma, with one user named in every call."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from la_agents.errors import ConfigurationError
from la_agents.preferences.aio import async_twin
from la_agents.preferences.consolidation.conflicts import check_at_most
from la_agents.preferences.consolidation.judging import Consolidator, CoreConsolidator
from la_agents.preferences.embedding.bundled import BundledEmbeddings, embeddings_identity
from la_agents.preferences.embedding.vectorizer import Vectorizer
from la_agents.preferences.ledger import Ledger
from la_agents.preferences.limits import Limits
from la_agents.preferences.owned import OwnedPreferences, Preferences, ScoredPreferences
from la_agents.preferences.owners import Layer
from la_agents.preferences.proposals import Proposals
from la_agents.preferences.retrieval.retrieving import DEFAULT_MIN_RELEVANCE
from la_agents.preferences.shared import SharedPreferences
from la_agents.preferences.storage.connection import Connection
from la_agents.preferences.storage.inspection import Stats, Verified, stats, verify
from la_agents.preferences.storage.locks import everybody
from la_agents.preferences.storage.maintenance import Purged, check_repairable, purge, purgeable, rebuild
from la_agents.preferences.storage.pages import Progress
from la_agents.preferences.storage.shards import Shards
from la_agents.preferences.storage.user_records import UserRecords

if TYPE_CHECKING:
    from chromadb.api import ClientAPI
    from langchain_core.embeddings import Embeddings

__all__ = ["DEFAULT_MIN_RELEVANCE", "PreferenceStore", "Preferences", "ScoredPreferences"]


class PreferenceStore(OwnedPreferences):
    """Keeps, finds and forgets the preferences of many users; safe to share between threads.

    Nothing is opened, created or loaded before the first use.

    Args:
        path: Folder of an embedded store, for one process at a time. Several processes need a server.
        url: A Chroma server, such as `http://host:8000`.
        client: A chromadb client that you created; it is not closed with the store.
        embeddings: Any LangChain Embeddings; default the bundled all-MiniLM-L6-v2, which knows English.
        embeddings_name: Identity of `embeddings` to record in the store, if its class and model name are not enough.
        name: Prefix of the Chroma collections, for several stores in one place.
        consolidator: Compares an added preference with the stored ones; default `CoreConsolidator`.
        limits: Bounds for each user.
        layers: Names of shared layers that `retrieve` puts before each user's own, in this order; see `shared`. A layer
            in which nothing was ever stored is an error.

    Raises:
        ConfigurationError: not exactly one of path, url and client is given, or a layer's name is not valid.
    """

    def __init__(
        self,
        path: str | Path | None = None,
        *,
        url: str | None = None,
        client: ClientAPI | None = None,
        embeddings: Embeddings | None = None,
        embeddings_name: str | None = None,
        name: str = "la-agents-preferences",
        consolidator: Consolidator | None = None,
        limits: Limits | None = None,
        layers: Sequence[str] = (),
    ) -> None:
        self._connection = Connection(path, url, client)
        self._arguments: dict[str, Any] = {
            "path": path,
            "url": url,
            "embeddings": embeddings,
            "embeddings_name": embeddings_name,
            "name": name,
            "consolidator": consolidator,
            "limits": limits,
            "layers": layers,
        }
        if isinstance(layers, str):
            msg = f"Expected layers to be a list of names, got {layers!r}; wrap it in a list."
            raise ConfigurationError(msg)
        embeddings = embeddings or BundledEmbeddings()
        shards = Shards(self._connection, name, embeddings_name or embeddings_identity(embeddings))
        super().__init__(
            Ledger(shards, UserRecords(shards), Vectorizer(embeddings), limits or Limits()),
            consolidator or CoreConsolidator(),
            [Layer(layer) for layer in dict.fromkeys(layers)],
        )
        self.name = name

    @property
    def location(self) -> str:
        """The folder or URL, for messages."""
        return self._connection.location

    @property
    def layers(self) -> tuple[str, ...]:
        """Names of the shared layers that `retrieve` puts before each user's own."""
        return tuple(layer.name for layer in self._layers)

    def shared(self, layer: str) -> SharedPreferences:
        """Return a shared layer, to list and change its preferences.

        Raises:
            ConfigurationError: the name is not valid.
        """
        return SharedPreferences(self, Layer(layer))

    @property
    def proposals(self) -> Proposals:
        """Preferences that wait for their user's approval: add, list, approve and reject."""
        return Proposals(self._ledger, self._consolidator)

    def close(self) -> None:
        """Release the folder or connection; any later operation raises StoreUnavailableError."""
        self._connection.close()

    def stats(self, *, at_most: int | None = None) -> Stats:
        """Count users, preferences by state, and suspicious ones.

        Reads the whole store, or with `at_most` a sample of about that size; `num_read` is its size.

        Raises:
            ConfigurationError: at_most is below 1.
        """
        check_at_most(at_most)
        return stats(self._ledger.shards, at_most)

    def verify(self, *, repair: bool = False, progress: Progress | None = None) -> Verified:
        """Check that all records can be read, are stored where calls look for them, and have their vectors.

        `repair` fixes what `Verified` lists, by rewriting the shards.

        Raises:
            ConfigurationError: repair is asked of a store that is not in a folder of this process: others' writes in
                the meantime would be lost.
        """
        if repair:
            check_repairable(self._ledger.shards)
        with everybody():
            found = verify(self._ledger.shards, progress)
            if repair and not found.is_sound:
                rebuild(self._ledger.shards, self._ledger.vectorizer, progress=progress)
                found.repaired = True
        return found

    def migrate(self, num_shards: int | None = None, *, progress: Progress | None = None) -> int:
        """Rewrite the store in this version's format, into `num_shards` shards, and return the number of records.

        Use about one shard per 8,000 preferences; a new store has 128. None keeps their number. On a server, stop
        writing in the meantime.

        Raises:
            ConfigurationError: num_shards is not within [1, 4096].
        """
        with everybody():
            return rebuild(self._ledger.shards, self._ledger.vectorizer, num_shards, progress)

    def purge(self, *, progress: Progress | None = None) -> Purged:
        """Rewrite the store's folder so that nothing erased remains in any file.

        Other calls of this process wait in the meantime, but not those of a chromadb client of your own. Copies
        elsewhere (backups, snapshots, freed disk blocks) are not affected.

        Raises:
            ConfigurationError: the store is not in a folder of this process.
        """
        with everybody():
            return purge(self._ledger.shards, self._ledger.vectorizer, progress)

    def check_purge(self) -> None:
        """Raise ConfigurationError if `purge` could not reach the store's files."""
        purgeable(self._ledger.shards)

    astats = async_twin(stats)
    averify = async_twin(verify)
    amigrate = async_twin(migrate)
    apurge = async_twin(purge)

    def __enter__(self) -> PreferenceStore:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __deepcopy__(self, memo: object) -> PreferenceStore:
        return self  # a copy of a connection is the connection

    def __reduce__(self) -> Any:
        """As its arguments: where it is unpickled, the same folder or server is opened.

        Raises:
            ConfigurationError: it has a client of the caller's own.
        """
        if self._arguments["path"] is None and self._arguments["url"] is None:
            msg = "Expected a store opened by path= or url= to pickle, got one on a client; open it where it is needed."
            raise ConfigurationError(msg)
        return partial(type(self), **self._arguments), ()

    def __repr__(self) -> str:
        return f"PreferenceStore({self.location!r})"
