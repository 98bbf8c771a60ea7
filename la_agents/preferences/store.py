"""PreferenceStore: each user's preferences on Chroma, with one user named in every call.

The operations are in rooms of their own: `writing.py`, `reading.py`, `transfer.py`, `administration.py`, over the
records of `ledger.py`; the layout is in `layout.py` and `slots.py`, the values in `schema.py`. No operation searches,
counts or changes across users.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from la_agents.errors import ConfigurationError
from la_agents.preferences.administration import Administration
from la_agents.preferences.consolidation.plan import Consolidator, RuleConsolidator
from la_agents.preferences.embedding.bundled import BundledEmbeddings, embeddings_identity
from la_agents.preferences.embedding.vectorizer import Vectorizer
from la_agents.preferences.layers import Layer, SharedPreferences
from la_agents.preferences.ledger import Ledger
from la_agents.preferences.limits import Limits
from la_agents.preferences.preference import Preference, ScoredPreference
from la_agents.preferences.proposals import Proposals
from la_agents.preferences.reading import Reading
from la_agents.preferences.retrieval.called_for import DEFAULT_MIN_RELEVANCE
from la_agents.preferences.storage.connection import Connection
from la_agents.preferences.storage.shards import Shards
from la_agents.preferences.transfer.operations import Transfer
from la_agents.preferences.writing import Writing

if TYPE_CHECKING:
    from chromadb.api import ClientAPI
    from langchain_core.embeddings import Embeddings

__all__ = ["DEFAULT_MIN_RELEVANCE", "PreferenceStore", "Preferences", "ScoredPreferences"]

Preferences = list[Preference]
ScoredPreferences = list[ScoredPreference]


class PreferenceStore(Writing, Reading, Transfer, Administration):
    """Keeps, finds and forgets the preferences of many users; safe to share between threads.

    Nothing is opened, made or loaded before the first use. Every operation has an async twin: `aadd` for `add`.

    Every operation raises UserNotSpecifiedError for a missing, blank or invalid user, StoreUnavailableError if the
    store cannot be used, and StoreMismatchError if it was written with another embedding model. On bad input nothing is
    written; if the store goes away in the middle of a long import, its first part is there, and importing again
    completes it.

    Args:
        path: Folder of an embedded store. One process at a time; several use a server.
        url: A Chroma server, such as `http://host:8000`.
        client: A chromadb client of your own, for anything else; it is not closed with the store.
        embeddings: Any LangChain Embeddings; default the bundled all-MiniLM-L6-v2.
        embeddings_name: What the store records as the identity of `embeddings`, if its class and model name do not
        tell it
            apart.
        name: Prefix of the Chroma collections, for several stores in one place.
        consolidator: Judges what an added preference has to do with those that are known; default `RuleConsolidator`.
        limits: Bounds for each user.
        layers: Names of shared layers that `retrieve` puts before each user's own, in this order; see `shared`. It
            refuses one in which nothing was ever stored.

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
        embeddings = embeddings or BundledEmbeddings()
        shards = Shards(self._connection, name, embeddings_name or embeddings_identity(embeddings))
        self._ledger = Ledger(shards, Vectorizer(embeddings), limits or Limits())
        self._consolidator = consolidator or RuleConsolidator()
        if isinstance(layers, str):
            msg = f"Expected layers to be a list of names, got {layers!r}; wrap it in a list."
            raise ConfigurationError(msg)
        self._layers = tuple(Layer(layer) for layer in dict.fromkeys(layers))
        self.name = name

    @property
    def location(self) -> str:
        """The folder or URL, in words."""
        return self._connection.location

    def shared(self, layer: str) -> SharedPreferences:
        """Return a shared layer, to see and change what it holds.

        Raises:
            ConfigurationError: the name is not valid.
        """
        return SharedPreferences(self, Layer(layer))

    @property
    def proposals(self) -> Proposals:
        """What was proposed and waits for its user's word: add, list, approve and reject."""
        return Proposals(self)

    def close(self) -> None:
        """Let go of the folder or the connection; any later operation raises StoreUnavailableError."""
        self._connection.close()

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
            ConfigurationError: it stands on a client of the caller's own.
        """
        if self._arguments["path"] is None and self._arguments["url"] is None:
            msg = "Expected a store opened by path= or url= to pickle, got one on a client; open it where it is needed."
            raise ConfigurationError(msg)
        return _open_again, (type(self), self._arguments)

    def __repr__(self) -> str:
        return f"PreferenceStore({self.location!r})"


def _open_again(kind: type[PreferenceStore], arguments: dict[str, Any]) -> PreferenceStore:
    return kind(**arguments)
