"""Handles on Chroma's collections: looked up when first needed, and kept."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from chromadb.api.collection_configuration import CreateHNSWConfiguration
    from chromadb.api.models.Collection import Collection

    from la_agents.preferences.storage.connection import Connection

__all__ = ["Handles"]


class Handles:
    """The collections of one store that were used so far; whoever shares it among threads holds a lock.

    Args:
        connection: Where Chroma is.
        index: How the vector indexes of new collections are built.
    """

    def __init__(self, connection: Connection, index: CreateHNSWConfiguration) -> None:
        self._connection = connection
        self._index = index
        self._known: dict[str, Collection] = {}

    def get(self, name: str) -> Collection | None:
        """A collection; None if there is none, which is not remembered: another process may make it any time."""
        from chromadb.errors import NotFoundError

        client = self._connection.open()  # whatever is known already, a closed store answers no more
        if name not in self._known:
            try:
                self._known[name] = client.get_collection(name, embedding_function=None)
            except NotFoundError:
                return None
        return self._known[name]

    def make(self, name: str, metadata: dict[str, Any] | None = None) -> Collection:
        """A collection, made with this metadata if there is none."""
        client = self._connection.open()
        if name not in self._known:
            self._known[name] = client.get_or_create_collection(
                name, embedding_function=None, metadata=metadata, configuration={"hnsw": self._index}
            )
        return self._known[name]

    def __contains__(self, name: str) -> bool:
        return name in self._known

    def drop(self, name: str) -> None:
        """Look this one up again when it is next needed."""
        self._known.pop(name, None)

    def drop_all_but(self, name: str | None = None) -> None:
        """Look all others up again when they are next needed."""
        self._known = {kept: handle for kept, handle in self._known.items() if kept == name}
