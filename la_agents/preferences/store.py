"""PreferenceStore: each user's preferences on Chroma, with one user named in every call.

Here are the operations and their order; the layout is in `shards.py`, the values in `schema.py`. No operation
searches, counts or changes across users.
"""

from __future__ import annotations

import secrets
import threading
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from enum import Enum
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np

from la_agents.errors import ConfigurationError, InvalidPreferenceError, PreferenceNotFoundError
from la_agents.preferences import jsonl
from la_agents.preferences.aio import async_twin
from la_agents.preferences.connection import Connection
from la_agents.preferences.embeddings import BundledEmbeddings, embeddings_identity
from la_agents.preferences.ranking import check_limits, in_order, most_similar
from la_agents.preferences.records import StoredPreference, Vector, user_digest
from la_agents.preferences.schema import (
    Preference,
    PreferenceDraft,
    Scope,
    ScoredPreference,
    as_draft,
    utc_now,
    validated,
)
from la_agents.preferences.shards import Shards
from la_agents.users import as_user_id

if TYPE_CHECKING:
    from chromadb.api import ClientAPI
    from langchain_core.embeddings import Embeddings

__all__ = ["DEFAULT_MIN_RELEVANCE", "PreferenceStore", "Preferences", "ScoredPreferences"]

Preferences = list[Preference]  # named out here, because a method of the store is called `list`
ScoredPreferences = list[ScoredPreference]

DEFAULT_MIN_RELEVANCE = 0.25
"""Least cosine similarity to the query for a `relevant` preference to be used.

Chosen on 489 preferences of 10 PrefEval topics with the bundled embeddings. A question and its own preference
have median 0.35 (5th percentile 0.14), a question and one of another topic 95th percentile 0.24. Among 10
preferences, 0.25 lets 78% of the own ones through and 0.4 foreign ones a call; 0.20 gives 87% and 0.8, 0.30
gives 67% and 0.2. A wrong principle costs more than a missing one, and what must never be missing has the
scope `always`.
"""


class _Unset(Enum):
    UNSET = 0


UNSET: Final = _Unset.UNSET
Unset = Literal[_Unset.UNSET]

_DRAFT_FIELDS = set(PreferenceDraft.model_fields)
# Changing a record reads it first: one writer a user at a time, also over several stores on one folder.
_WRITERS = tuple(threading.RLock() for _ in range(64))


class PreferenceStore:
    """Keeps, finds and forgets the preferences of many users; safe to share between threads.

    Nothing is opened, made or loaded before the first use. Every operation has an async twin: `aadd` for
    `add`.

    Every operation raises UserNotSpecifiedError for a missing, blank or invalid user, StoreUnavailableError
    if the store cannot be used, and StoreMismatchError if it was written with another embedding model. On any
    error nothing is written.

    Args:
        path: Folder of an embedded store. One process at a time; several use a server.
        url: A Chroma server, such as `http://host:8000`.
        client: A chromadb client of your own, for anything else; it is not closed with the store.
        embeddings: Any LangChain Embeddings; default the bundled all-MiniLM-L6-v2.
        embeddings_name: What the store records as the identity of `embeddings`, if its class and model name
            do not tell it apart.
        name: Prefix of the Chroma collections, for several stores in one place.

    Raises:
        ConfigurationError: not exactly one of path, url and client is given.
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
    ) -> None:
        self._connection = Connection(path, url, client)
        self._embeddings = embeddings or BundledEmbeddings()
        self._shards = Shards(self._connection, name, embeddings_name or embeddings_identity(self._embeddings))
        self.name = name

    @property
    def location(self) -> str:
        """The folder or URL, in words."""
        return self._connection.location

    def add(
        self,
        user: object,
        text: str,
        *,
        scope: Scope = "relevant",
        weight: float = 1.0,
        expires_at: datetime | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> Preference:
        """Store one preference and return it; when this returns, it outlives the process.

        Raises:
            InvalidPreferenceError: text, weight, scope, expires_at or metadata is out of its limits.
        """
        draft = {"text": text, "scope": scope, "weight": weight, "expires_at": expires_at}
        return self._add(as_user_id(user), [as_draft({**draft, "metadata": dict(metadata or {})})])[0]

    def add_many(self, user: object, items: Iterable[str | Mapping[str, Any] | PreferenceDraft]) -> Preferences:
        """Store several, embedded in one batch: all of them or, on error, none.

        Args:
            user: Whose they are.
            items: Bare texts, mappings of `add`'s arguments, or drafts.

        Raises:
            InvalidPreferenceError: an item is not valid (the message gives its position, from 0), or there
                are more than Chroma writes at once (5,461 embedded).
        """
        user = as_user_id(user)
        if isinstance(items, (str, Mapping)):
            msg = f"Expected a list of preferences, got a single {type(items).__name__}; wrap it in a list."
            raise InvalidPreferenceError(msg)
        drafts = [as_draft(item, f"item {index}: ") for index, item in enumerate(items)]
        return self._add(user, drafts) if drafts else []

    def get(self, user: object, id: str) -> Preference:
        """Return one preference, expired or not.

        Raises:
            PreferenceNotFoundError: this user has none with this id.
        """
        return self._existing(as_user_id(user), id)

    def update(
        self,
        user: object,
        id: str,
        *,
        text: str | Unset = UNSET,
        scope: Scope | Unset = UNSET,
        weight: float | Unset = UNSET,
        expires_at: datetime | Unset | None = UNSET,
        metadata: Mapping[str, Any] | Unset = UNSET,
    ) -> Preference:
        """Change what is given, keep the rest, and return the preference as it is now.

        Raises:
            PreferenceNotFoundError: this user has none with this id.
            InvalidPreferenceError: a new value is out of its limits.
            ConfigurationError: nothing to change is given.
        """
        user = as_user_id(user)
        given = {
            "text": text,
            "scope": scope,
            "weight": weight,
            "expires_at": expires_at,
            "metadata": metadata,
        }
        changes = {field: value for field, value in given.items() if value is not UNSET}
        if not changes:
            msg = f"Expected at least one of {', '.join(given)} to change, got none."
            raise ConfigurationError(msg)
        with _writer(user):
            old = self._existing(user, id)
            changed = validated(Preference, {**old.model_dump(), **changes, "updated_at": utc_now()})
            self._write(user, [changed])
        return changed

    def forget(self, user: object, id: str) -> Preference:
        """Remove one preference and return what it was.

        Raises:
            PreferenceNotFoundError: this user has none with this id.
        """
        user = as_user_id(user)
        with _writer(user):
            gone = self._existing(user, id)
            self._shards.delete(user, [gone.id])
        return gone

    def list(self, user: object, *, scope: Scope | None = None) -> Preferences:
        """Return the user's active preferences, the oldest first; expired ones are left out."""
        active = self._active(as_user_id(user))
        return in_order([record for record in active if scope in (None, record.preference.scope)])

    def count(self, user: object) -> int:
        """Return how many active preferences the user has."""
        return len(self._active(as_user_id(user)))

    def search(self, user: object, query: str, *, k: int = 5, min_relevance: float | None = None) -> ScoredPreferences:
        """Return the user's active preferences of any scope by similarity to the query, best first.

        Args:
            user: Whose to search.
            query: Natural language; nothing resembles blank text.
            k: At most so many.
            min_relevance: Least cosine similarity, in [-1, 1]; None for any.

        Raises:
            ConfigurationError: k or min_relevance is out of its limits.
        """
        check_limits(k, min_relevance)
        return self._similar(query, self._active(as_user_id(user), vectors=True), k, min_relevance)

    def retrieve(
        self, user: object, query: str, *, k: int = 5, min_relevance: float | None = DEFAULT_MIN_RELEVANCE
    ) -> ScoredPreferences:
        """Return what a call with this query needs: every `always` preference, then the relevant, best first.

        Preferences of weight 0 are switched off and left out. The query is embedded only if there is a
        `relevant` preference to compare it with.

        Args:
            user: Whose to use.
            query: The question at hand; with blank text there are only the `always` ones.
            k: At most so many `relevant` ones.
            min_relevance: Least cosine similarity of those; see DEFAULT_MIN_RELEVANCE. None for any.

        Raises:
            ConfigurationError: k or min_relevance is out of its limits.
        """
        check_limits(k, min_relevance)
        active = [each for each in self._active(as_user_id(user), vectors=True) if each.preference.weight > 0]
        always = in_order([record for record in active if record.preference.scope == "always"])
        others = [record for record in active if record.preference.scope == "relevant"]
        fixed = [ScoredPreference(preference=preference, relevance=None) for preference in always]
        return fixed + self._similar(query, others, k, min_relevance)

    def erase(self, user: object) -> int:
        """Remove everything the user has, expired ones too, and return how many that were."""
        user = as_user_id(user)
        with _writer(user):
            ids = [record.preference.id for record in self._shards.read(user)]
            self._shards.delete(user, ids)
        return len(ids)

    def export(self, user: object, path_or_file: jsonl.PathOrFile) -> int:
        """Write everything the user has, expired ones too, as JSON lines, and return how many."""
        return jsonl.write_lines(path_or_file, in_order(self._shards.read(as_user_id(user))))

    def import_(self, user: object, path_or_file: jsonl.PathOrFile) -> int:
        """Store the preferences of a JSON lines file as this user's and return how many lines it has.

        Ids are kept, so that importing a file again changes nothing and importing a changed one updates.
        Whose they were makes no difference: another user's records are never touched.

        Raises:
            InvalidPreferenceError: a line is malformed (the message gives its number); nothing was written.
        """
        user = as_user_id(user)
        imported = jsonl.read_lines(path_or_file, user)
        with _writer(user):
            known = {record.preference.id: record.preference for record in self._shards.read(user)}
            new = [each for each in imported if each.id not in known or _draft(known[each.id]) != _draft(each)]
            self._write(user, new)
        return len(imported)

    aadd = async_twin(add)
    aadd_many = async_twin(add_many)
    aget = async_twin(get)
    aupdate = async_twin(update)
    aforget = async_twin(forget)
    alist = async_twin(list)
    acount = async_twin(count)
    asearch = async_twin(search)
    aretrieve = async_twin(retrieve)
    aerase = async_twin(erase)
    aexport = async_twin(export)
    aimport = async_twin(import_)

    def close(self) -> None:
        """Let go of the folder or the connection; any later operation raises StoreUnavailableError."""
        self._connection.close()

    def __enter__(self) -> PreferenceStore:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"PreferenceStore({self.location!r})"

    def _add(self, user: str, drafts: Sequence[PreferenceDraft]) -> Preferences:
        most = self._shards.max_batch_size()
        if len(drafts) > most:
            msg = f"Expected at most {most} preferences at once, got {len(drafts)}; add them in parts."
            raise InvalidPreferenceError(msg)
        now = utc_now()
        added = [
            _stored(draft, user, now + timedelta(microseconds=index))  # keeps their order
            for index, draft in enumerate(drafts)
        ]
        self._write(user, added)
        return added

    def _write(self, user: str, preferences: Sequence[Preference]) -> None:
        """Embed all, then write in as few operations as Chroma takes."""
        if not preferences:
            return
        vectors = self._embed([preference.text for preference in preferences])
        records = [StoredPreference(*pair) for pair in zip(preferences, vectors, strict=True)]
        size = self._shards.max_batch_size()
        with _writer(user):
            for start in range(0, len(records), size):
                self._shards.write(user, records[start : start + size])

    def _existing(self, user: str, id: str) -> Preference:
        if isinstance(id, str) and (found := self._shards.read(user, [id])):
            return found[0].preference
        msg = "Expected the id of one of this user's preferences, got an unknown one; see list(user)."
        raise PreferenceNotFoundError(msg)

    def _active(self, user: str, *, vectors: bool = False) -> Sequence[StoredPreference]:
        now = utc_now()
        return [record for record in self._shards.read(user, vectors=vectors) if record.preference.is_active(now)]

    def _similar(
        self, query: str, candidates: Sequence[StoredPreference], k: int, min_relevance: float | None
    ) -> ScoredPreferences:
        if not candidates or not k or not query.strip():
            return []
        vectors = self._checked([self._embeddings.embed_query(_valid_unicode(query))], 1)
        self._shards.check_dimension(vectors.shape[1])
        return most_similar(candidates, vectors[0], k, min_relevance)

    def _embed(self, texts: Sequence[str]) -> Vector:
        """Embed [n] texts as [n, dimension]."""
        return self._checked(self._embeddings.embed_documents([*texts]), len(texts))

    def _checked(self, vectors: Sequence[Sequence[float]], num_texts: int) -> Vector:
        """Make sure that there is a proper vector for each text: embeddings may be anybody's."""
        try:
            array = np.asarray(vectors, dtype=np.float32)
        except ValueError:  # of unequal lengths
            array = np.empty(0, dtype=np.float32)
        if array.ndim != 2 or len(array) != num_texts or not array.size or not np.isfinite(array).all():
            msg = (
                f"Expected {type(self._embeddings).__name__} to give {num_texts} vectors of equal "
                "length and finite numbers, got something else; check the embedding model."
            )
            raise ConfigurationError(msg)
        return array


def _writer(user: str) -> threading.RLock:
    return _WRITERS[int(user_digest(user), 16) % len(_WRITERS)]


def _stored(draft: PreferenceDraft, user: str, at: datetime) -> Preference:
    return Preference(id=secrets.token_hex(8), user_id=user, created_at=at, updated_at=at, **_draft(draft))


def _draft(preference: PreferenceDraft) -> dict[str, Any]:
    return preference.model_dump(include=_DRAFT_FIELDS)


def _valid_unicode(text: str) -> str:
    """A query is a message of the user's, and may hold lone surrogates; tokenizers refuse them."""
    return text.encode("utf-8", "replace").decode()
