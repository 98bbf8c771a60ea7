"""The shards: a root collection that records the settings, and collections with the records.

A user's records all lie in one shard, chosen by a stable hash of the user id, and made when its first user comes.
Nothing here knows what a record holds; see `user_records.py` for that.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from la_agents.errors import StoreMismatchError
from la_agents.preferences.handles import Handles
from la_agents.preferences.layout import FORMAT, INDEX, OLDEST_FORMAT, Settings

if TYPE_CHECKING:
    from chromadb.api import ClientAPI
    from chromadb.api.models.Collection import Collection

    from la_agents.preferences.connection import Connection

__all__ = ["Shards"]

T = TypeVar("T")


class Shards:
    """Finds the collection of a user, and what the store was made with.

    Every method raises StoreUnavailableError if Chroma cannot be used, and StoreMismatchError if the store
    was written with another embedding model or by a newer version.

    Args:
        connection: Where Chroma is.
        name: Name of the root collection and prefix of the shards'.
        embeddings: Identity of the embedding model that this process uses.
    """

    def __init__(self, connection: Connection, name: str, embeddings: str) -> None:
        self._connection = connection
        self.name = name
        self._embeddings = embeddings
        self._settings: Settings | None = None
        self._handles = Handles(connection, INDEX)
        self._lock = threading.RLock()

    def max_batch_size(self) -> int:
        """How many records one operation of Chroma's can hold."""
        with self._connection.errors():
            return int(self._connection.open().get_max_batch_size())

    def check_dimension(self, dimension: int) -> None:
        """Raise StoreMismatchError unless vectors of this length fit the store, if there is one yet."""
        with self._lock, self._connection.errors():
            settings = self._known_settings()
        if settings is not None and dimension != settings.dimension:
            msg = (
                f"Expected vectors of {settings.dimension} numbers as in the store "
                f"{self._connection.location}, got {dimension}; use the embedding model it was written with."
            )
            raise StoreMismatchError(msg)

    @property
    def folder(self) -> Path | None:
        """Where the files are; None if they are a server's or somebody else's."""
        return self._connection.folder

    def errors(self) -> AbstractContextManager[None]:
        """Chroma's errors as this library's."""
        return self._connection.errors()

    def client(self) -> ClientAPI:
        """The open client."""
        return self._connection.open()

    def settings(self, *, any_format: bool = False) -> Settings | None:
        """What the store records now; None if there is none yet. An older format has to be asked for."""
        with self._lock, self._connection.errors():
            settings = self._settings_now()
        if settings is not None and not any_format:
            self._check_format(settings)
        return settings

    def switch(self, settings: Settings) -> None:
        """Record other settings: from here on, every call uses their shards."""
        with self._lock, self._connection.errors():
            root = self._handles.get(self.name)
            assert root is not None  # there were settings to change
            root.modify(metadata=asdict(settings))
            self.forget()

    def forget(self) -> None:
        """Look settings and collections up again when they are next needed: some of them were changed or deleted."""
        with self._lock:
            self._settings = None
            self._handles.drop_all_but()

    def collection(self, name: str) -> Collection:
        """A shard by its name, made if there is none."""
        with self._lock:
            return self._handles.make(name)

    def collections(self) -> list[Collection]:
        """Every collection there is, of this store and of others."""
        client, found = self._connection.open(), list[Any]()
        while page := client.list_collections(limit=500, offset=len(found)):
            found += page
        return found

    def others(self, settings: Settings) -> list[Collection]:
        """This store's shards that are not of these settings: replaced, or left by a rebuild that was cut off."""
        kept = {settings.shard_name(self.name, shard) for shard in range(settings.num_shards)}
        own = re.compile(rf"{re.escape(self.name)}(?:-|\.g\d+\.)\d{{4}}")
        return [each for each in self.collections() if own.fullmatch(each.name) and each.name not in kept]

    def on(self, user: str, act: Callable[[Collection], T], dimension: int | None = None) -> T | None:
        """Do something on the user's collection, which is made if a dimension is given; None if there is none.

        If the shards were written anew since they were last looked up, it is done again on the new one: slots are
        others there, so whatever belongs together belongs into one act.
        """
        from chromadb.errors import NotFoundError

        with self._connection.errors():
            while True:
                settings, shard = self._shard(user, dimension)
                try:
                    return None if shard is None else act(shard)
                except NotFoundError:
                    if self.settings(any_format=True) in (settings, None):
                        raise  # not written anew but deleted: whoever says that nothing is stored would be wrong

    def _shard(self, user: str, dimension: int | None = None) -> tuple[Settings | None, Collection | None]:
        """The collection of this user, made if a dimension is given, and what it was found by; None if there is none.

        One that is not open yet is looked up by what the store records now: by what it recorded before it was written
        anew, the user would seem to have nothing.
        """
        with self._lock, self._connection.errors():
            settings = self._settings
            if settings is None or self._name_of(user, settings) not in self._handles:
                settings = self._settings_now(None if dimension is None else Settings(self._embeddings, dimension))
            if settings is None:
                return None, None
            self._check_format(settings)
            name = self._name_of(user, settings)
            if dimension is None:
                return settings, self._handles.get(name)
            self.check_dimension(dimension)
            return settings, self._handles.make(name)

    def _name_of(self, user: str, settings: Settings) -> str:
        return settings.shard_name(self.name, settings.shard_of(user))

    def _settings_now(self, offer: Settings | None = None) -> Settings | None:
        """What the store records, read anew; handles on other settings' shards are dropped."""
        before, self._settings = self._settings, None
        self._handles.drop(self.name)
        now = self._known_settings(offer)
        if now != before:
            self._handles.drop_all_but(self.name)
        return now

    def _known_settings(self, offer: Settings | None = None) -> Settings | None:
        """What the store records, once it exists; an offer makes it exist. The first to make it decides."""
        if self._settings is None:
            root = self._handles.get(self.name) if offer is None else self._handles.make(self.name, asdict(offer))
            self._settings = None if root is None else self._read_settings(root.metadata or {})
        return self._settings

    def _check_format(self, settings: Settings) -> None:
        if settings.format != FORMAT:
            msg = (
                f"Expected the store {self._connection.location} to have format {FORMAT}, got {settings.format}; "
                "run `la-agents prefs migrate`, which writes it anew and loses nothing."
            )
            raise StoreMismatchError(msg)

    def _read_settings(self, recorded: Mapping[str, Any]) -> Settings:
        where = f"the store {self._connection.location}"
        if not OLDEST_FORMAT <= recorded.get("format", 0) <= FORMAT:
            msg = (
                f"Expected {where} to have format {FORMAT}, got {recorded.get('format')}; "
                "use the version of la-agents that wrote it, or another collection name."
            )
            raise StoreMismatchError(msg)
        settings = Settings(**recorded)
        if settings.embeddings != self._embeddings:
            msg = (
                f"Expected the embedding model {settings.embeddings!r}, with which {where} was written, got "
                f"{self._embeddings!r}; give embeddings= that model, or embeddings_name= if it is the same."
            )
            raise StoreMismatchError(msg)
        return settings
