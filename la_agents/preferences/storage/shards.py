"""The shards: a root collection that records the settings, and collections with the records.

A user's records all lie in one shard, chosen by a stable hash of the user id, and made when its first user comes.
Nothing here knows what a record holds; see `user_records.py` for that.
"""

from __future__ import annotations

import math
import re
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from uuid import UUID

from la_agents.errors import ConfigurationError, StoreMismatchError, StoreUnavailableError
from la_agents.preferences.storage.handles import Handles
from la_agents.preferences.storage.layout import FORMAT, INDEX, OLDEST_FORMAT, Settings

if TYPE_CHECKING:
    from chromadb.api.models.Collection import Collection

    from la_agents.preferences.storage.connection import Connection

__all__ = ["Shards"]

T = TypeVar("T")

_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9._-]{1,398}[a-zA-Z0-9]")
_SHARD = re.compile(r"(?:-|\.g\d+\.)\d{4}$")  # what `Settings.shard_name` adds to the store's name
_FRESH_SECONDS = 5.0
"""How long another process's migration may go unnoticed by a reader, while the old shards are not yet dropped."""

_switches: Counter[str] = Counter()
"""How often this process has written the shards of a place anew: whoever reads in a folder is of this process."""


class Shards:
    """Finds the collection of a user, and what the store was made with.

    Every method raises StoreUnavailableError if Chroma cannot be used or the store was deleted meanwhile, and
    StoreMismatchError if the store was written with another embedding model or by a newer version.

    Args:
        connection: Where Chroma is.
        name: Name of the root collection and prefix of the shards'.
        embeddings: Identity of the embedding model that this process uses.

    Attributes:
        dimension: Length of the store's vectors, as it was last read; None if there is no store yet.

    Raises:
        ConfigurationError: the name is none that Chroma takes, or ends as a shard's does.
    """

    def __init__(self, connection: Connection, name: str, embeddings: str) -> None:
        if not _NAME.fullmatch(name) or _SHARD.search(name):
            msg = (
                "Expected name to be 3 to 400 letters, digits, dots, dashes and underscores, a letter or digit first "
                f"and last, and not to end like 'x-0001', as shards do, got {name!r}."
            )
            raise ConfigurationError(msg)
        self.connection = connection
        self.name = name
        self._embeddings = embeddings
        self._settings: Settings | None = None
        self._root: UUID | None = None
        self.dimension: int | None = None
        self._read_at = -math.inf
        self._num_switches = 0
        self._handles = Handles(connection, INDEX)
        self._lock = threading.RLock()

    def max_batch_size(self) -> int:
        """How many records one operation of Chroma's can hold."""
        with self.connection.errors():
            return int(self.connection.open().get_max_batch_size())

    def check_dimension(self, dimension: int) -> None:
        """Raise StoreMismatchError unless vectors of this length fit the store, if there is one yet."""
        with self.connection.errors(), self._lock:
            settings = self._known_settings()
        if settings is not None and dimension != settings.dimension:
            msg = (
                f"Expected vectors of {settings.dimension} numbers as in the store "
                f"{self.connection.location}, got {dimension}; use the embedding model it was written with."
            )
            raise StoreMismatchError(msg)

    @property
    def folder(self) -> Path | None:
        """Where the files are; None if they are a server's or somebody else's."""
        return self.connection.folder

    def settings(self, *, any_format: bool = False) -> Settings | None:
        """What the store records now; None if there is none yet. An older format has to be asked for."""
        with self.connection.errors(), self._lock:
            settings = self._settings_now()
        if settings is not None and not any_format:
            self._check_format(settings)
        return settings

    def switch(self, settings: Settings) -> None:
        """Record other settings: from here on, every call uses their shards."""
        with self.connection.errors(), self._lock:
            root = self._handles.get(self.name)
            assert root is not None  # there were settings to change
            _switches[self.connection.location] += 1  # before: who reads in between, reads once more
            try:
                root.modify(metadata={**(root.metadata or {}), **asdict(settings)})  # what newer releases note stays
            finally:
                _switches[self.connection.location] += 1
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
        client, found = self.connection.open(), list[Any]()
        while page := client.list_collections(limit=500, offset=len(found)):
            found += page
        return found

    def others(self, settings: Settings) -> list[Collection]:
        """This store's shards that are not of these settings: replaced, or left by a rebuild that was cut off."""
        kept = {settings.shard_name(self.name, shard) for shard in range(settings.num_shards)}
        return [
            each
            for each in self.collections()
            if each.name.startswith(self.name)
            and _SHARD.fullmatch(each.name, len(self.name))
            and each.name not in kept
            and "format" not in (each.metadata or {})  # another store's root
        ]

    def on(self, user: str, act: Callable[[Collection], T], dimension: int | None = None) -> T | None:
        """Do something on the user's collection, which is made if a dimension is given; None if there is none.

        If the shards were written anew since they were last looked up, or made again after the store was deleted, it is
        done again on the new one: slots are others there, so whatever belongs together belongs into one act.
        """
        from chromadb.errors import ChromaError

        with self.connection.errors():
            while True:
                num_switches = _switches[self.connection.location]
                found, shard = self._shard(user, dimension)
                try:
                    result = None if shard is None else act(shard)
                    if self._is_current(found, num_switches, is_doubtful=dimension is not None or not result):
                        return result
                except ChromaError:  # NotFoundError, or InternalError in the middle of a drop
                    if self._found_now() == found:
                        raise

    def _is_current(self, found: tuple[Settings | None, UUID | None], num_switches: int, *, is_doubtful: bool) -> bool:
        """Whether what was just done, was done on the shards that count.

        A shard that is being dropped is empty before it is gone. In a folder this process would know of it; on a server
        it costs a look, so only writes and empty answers are doubted.
        """
        if self.folder is not None:
            return num_switches == _switches[self.connection.location]
        return not is_doubtful or self._found_now() == found

    def _found_now(self) -> tuple[Settings | None, UUID | None]:
        """The settings as they are stored now, and the id of the collection that records them."""
        with self._lock:
            return self._settings_now(), self._root

    def _shard(
        self, user: str, dimension: int | None = None
    ) -> tuple[tuple[Settings | None, UUID | None], Collection | None]:
        """The collection of this user, made if a dimension is given, and what it was found by; None if there is none.

        One that is not open yet is looked up by what the store records now: by what it recorded before it was written
        anew, the user would seem to have nothing. So is one that is open, at times: until the old shards are dropped,
        they still answer.
        """
        with self.connection.errors(), self._lock:
            settings = self._settings
            if settings is None or self._name_of(user, settings) not in self._handles or self._is_old():
                settings = self._settings_now(None if dimension is None else Settings(self._embeddings, dimension))
            if settings is None:
                return (None, None), None
            self._check_format(settings)
            found, name = (settings, self._root), self._name_of(user, settings)
            if dimension is None:
                return found, self._handles.get(name)
            self.check_dimension(dimension)
            return found, self._handles.make(name)

    def _is_old(self) -> bool:
        """Whether the shards may have been rewritten since the settings were read."""
        if self.folder is None:
            return time.monotonic() - self._read_at > _FRESH_SECONDS
        return self._num_switches != _switches[self.connection.location]

    def _name_of(self, user: str, settings: Settings) -> str:
        return settings.shard_name(self.name, settings.shard_of(user))

    def _settings_now(self, offer: Settings | None = None) -> Settings | None:
        """What the store records, read anew; handles on other settings' shards are dropped."""
        before, self._settings = (self._settings, self._root), None
        self._handles.drop(self.name)
        now = self._known_settings(offer)
        if (now, self._root) != before:
            self._handles.drop_all_but(self.name)
        return now

    def _known_settings(self, offer: Settings | None = None) -> Settings | None:
        """What the store records, once it exists; an offer makes it exist. The first to make it decides."""
        if self._settings is None:
            self._read_at, self._num_switches = time.monotonic(), _switches[self.connection.location]
            root = self._handles.get(self.name)
            if root is None and self._root is not None:
                msg = (
                    f"Expected the store {self.connection.location} to be there still, got none: it was deleted; "
                    "restore it, or make a new PreferenceStore."
                )
                raise StoreUnavailableError(msg)
            if root is None and offer is not None:
                root = self._handles.make(self.name, asdict(offer))
            if root is not None:
                self._settings, self._root = self._read_settings(root.metadata or {}), root.id
                self.dimension = self._settings.dimension
        return self._settings

    def _check_format(self, settings: Settings) -> None:
        if settings.format != FORMAT:
            msg = (
                f"Expected the store {self.connection.location} to have format {FORMAT}, got {settings.format}; "
                "run `la-agents prefs migrate`, which writes it anew and loses nothing."
            )
            raise StoreMismatchError(msg)

    def _read_settings(self, recorded: Mapping[str, Any]) -> Settings:
        where = f"the store {self.connection.location}"
        if not OLDEST_FORMAT <= recorded.get("format", 0) <= FORMAT:
            msg = (
                f"Expected {where} to have format {FORMAT}, got {recorded.get('format')}; "
                "use the version of la-agents that wrote it, or another collection name."
            )
            raise StoreMismatchError(msg)
        settings = Settings(**{each.name: recorded[each.name] for each in fields(Settings) if each.name in recorded})
        if settings.embeddings != self._embeddings:
            msg = (
                f"Expected the embedding model {settings.embeddings!r}, with which {where} was written, got "
                f"{self._embeddings!r}; give embeddings= that model, or embeddings_name= if it is the same."
            )
            raise StoreMismatchError(msg)
        return settings
