"""PreferenceStore: each user's preferences on Chroma, with one user named in every call.

Its methods name the user and say what an operation promises; what they do is in `writing.py`, `reading.py`,
`retrieval/` and `transfer/`, over the records of `ledger.py`. No operation searches, counts or changes across users.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import datetime
from enum import Enum
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Literal

from la_agents.errors import ConfigurationError
from la_agents.preferences import writing
from la_agents.preferences.aio import async_reading_twin, async_twin
from la_agents.preferences.consolidation.conflicts import Conflict, Keep, check_at_most, possible_conflicts
from la_agents.preferences.consolidation.judging import Consolidator, CoreConsolidator
from la_agents.preferences.embedding.bundled import BundledEmbeddings, embeddings_identity
from la_agents.preferences.embedding.vectorizer import Vectorizer
from la_agents.preferences.history import Change
from la_agents.preferences.ledger import Ledger
from la_agents.preferences.limits import Limits
from la_agents.preferences.owners import Layer, owner_of
from la_agents.preferences.preference import (
    Preference,
    PreferenceDraft,
    Scope,
    ScoredPreference,
    Source,
    as_draft,
    as_drafts,
)
from la_agents.preferences.proposals import Proposals
from la_agents.preferences.ratings import WeightRule
from la_agents.preferences.retrieval.ranking import estimate_tokens, in_order
from la_agents.preferences.retrieval.retrieving import DEFAULT_MIN_RELEVANCE, Retriever, refuse_unknown
from la_agents.preferences.shared import SharedPreferences
from la_agents.preferences.storage.connection import Connection
from la_agents.preferences.storage.inspection import Stats, Verified, stats, verify
from la_agents.preferences.storage.maintenance import Purged, check_repairable, purge, purgeable, rebuild
from la_agents.preferences.storage.pages import Progress
from la_agents.preferences.storage.shards import Shards
from la_agents.preferences.storage.user_records import UserRecords
from la_agents.preferences.storage.writers import everybody
from la_agents.preferences.transfer import operations
from la_agents.preferences.transfer.foreign import ExportFormat
from la_agents.preferences.transfer.jsonl import PathOrFile

if TYPE_CHECKING:
    from chromadb.api import ClientAPI
    from langchain_core.embeddings import Embeddings

__all__ = ["DEFAULT_MIN_RELEVANCE", "PreferenceStore", "Preferences", "ScoredPreferences"]

Preferences = list[Preference]  # named out here, because a method is called `list`
ScoredPreferences = list[ScoredPreference]
Changes = list[Change]
Conflicts = list[Conflict]


class _Unset(Enum):
    UNSET = 0


UNSET: Final = _Unset.UNSET
Unset = Literal[_Unset.UNSET]


class PreferenceStore:
    """Keeps, finds and forgets the preferences of many users; safe to share between threads.

    Nothing is opened, created or loaded before the first use. Every operation has an async version: `aadd` for `add`.

    Every operation raises UserNotSpecifiedError for a missing, blank or invalid user, StoreUnavailableError if the
    store cannot be used, and StoreMismatchError if it was written with another embedding model. Invalid input writes
    nothing. If the store becomes unavailable during a long import, the first part is stored; importing again completes
    it.

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
        embeddings = embeddings or BundledEmbeddings()
        shards = Shards(self._connection, name, embeddings_name or embeddings_identity(embeddings))
        self._ledger = Ledger(shards, UserRecords(shards), Vectorizer(embeddings), limits or Limits())
        self._retriever = Retriever(self._ledger)
        self._consolidator = consolidator or CoreConsolidator()
        if isinstance(layers, str):
            msg = f"Expected layers to be a list of names, got {layers!r}; wrap it in a list."
            raise ConfigurationError(msg)
        self._layers = tuple(Layer(layer) for layer in dict.fromkeys(layers))
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
        return SharedPreferences(self._ledger, self._consolidator, Layer(layer))

    @property
    def proposals(self) -> Proposals:
        """Preferences that wait for their user's approval: add, list, approve and reject."""
        return Proposals(self._ledger, self._consolidator)

    def close(self) -> None:
        """Release the folder or connection; any later operation raises StoreUnavailableError."""
        self._connection.close()

    # Writing

    def add(
        self,
        user: object,
        text: str,
        *,
        scope: Scope = "relevant",
        weight: float = 1.0,
        expires_at: datetime | None = None,
        source: Source = "explicit",
        confidence: float = 1.0,
        half_life_days: float | None = None,
        supersedes: Sequence[str] = (),
        metadata: Mapping[str, Any] | None = None,
        consolidate: bool = True,
    ) -> Preference:
        """Store one preference and return it as stored. What is returned outlives the process.

        With `consolidate`, the new preference is compared with the stored ones. If it repeats one, that one is
        refreshed, or merged with the new wording, and returned. If it certainly contradicts one, that one is superseded
        (see `history` and `undo`). Uncertain cases keep both; `conflicts` lists them. A preference never changes one
        whose source ranks higher: it waits as a proposal, whose `supersedes` names the one it would replace.

        `supersedes` lists ids of preferences to replace, whatever the consolidator decides.

        Raises:
            InvalidPreferenceError: a value is out of its limits, or the user has too many preferences.
            PreferenceNotFoundError: `supersedes` names another user's preference, or one that does not apply.
        """
        draft = {
            "text": text,
            "scope": scope,
            "weight": weight,
            "expires_at": expires_at,
            "source": source,
            "confidence": confidence,
            "half_life_days": half_life_days,
            "supersedes": supersedes,
            "metadata": {} if metadata is None else metadata,
        }
        drafts = [as_draft(draft)]
        return writing.add(self._ledger, self._consolidator, owner_of(user), drafts, consolidate=consolidate)[0]

    def add_many(
        self, user: object, items: Iterable[str | Mapping[str, Any] | PreferenceDraft], *, consolidate: bool = True
    ) -> Preferences:
        """Store several preferences, embedded in one batch: all of them or, on error, none.

        An item is a text, a mapping of `add`'s arguments, or a draft. The result has one stored preference per item;
        repetitions give the same preference.

        Raises:
            InvalidPreferenceError: an item is not valid (the message gives its position, from 0), or there are more
                than Chroma writes at once (5,461 in an embedded store).
        """
        owner, drafts = owner_of(user), as_drafts(items)
        if not drafts:
            return []
        return writing.add(self._ledger, self._consolidator, owner, drafts, consolidate=consolidate)

    def update(
        self,
        user: object,
        id: str,
        *,
        text: str | Unset = UNSET,
        scope: Scope | Unset = UNSET,
        weight: float | Unset = UNSET,
        expires_at: datetime | Unset | None = UNSET,
        source: Source | Unset = UNSET,
        confidence: float | Unset = UNSET,
        half_life_days: float | Unset | None = UNSET,
        locked: bool | Unset = UNSET,
        metadata: Mapping[str, Any] | Unset = UNSET,
    ) -> Preference:
        """Change the given fields and return the preference.

        The new text is not compared with other preferences. Only preferences of a shared layer can be locked.

        Raises:
            PreferenceNotFoundError: this user has none with this id, or it was forgotten or superseded.
            InvalidPreferenceError: a new value, or the sum of the user's weights, is out of its limits.
            ConfigurationError: no field is given.
        """
        given = {
            "text": text,
            "scope": scope,
            "weight": weight,
            "expires_at": expires_at,
            "source": source,
            "confidence": confidence,
            "half_life_days": half_life_days,
            "locked": locked,
            "metadata": metadata,
        }
        changes = {field: value for field, value in given.items() if value is not UNSET}
        if not changes:
            msg = f"Expected at least one of {', '.join(given)} to change, got none."
            raise ConfigurationError(msg)
        return writing.update(self._ledger, owner_of(user), id, changes)

    def forget(self, user: object, id: str) -> Preference:
        """Stop using a preference, and return it as it was. `undo` restores it; `erase` would remove it for good.

        Raises:
            PreferenceNotFoundError: this user has none with this id, or it was forgotten or superseded.
        """
        return writing.forget(self._ledger, owner_of(user), id)

    def undo(self, user: object, id: str) -> Preferences:
        """Revert the latest change of a preference that was not reverted yet, and return all changed preferences.

        A superseded, forgotten or changed preference becomes what it was before. A merged one becomes a preference of
        its own again. If the preference superseded others, these apply again. Calling it again reverts the change
        before.

        Raises:
            PreferenceNotFoundError: this user has none with this id.
            ConfigurationError: there is nothing to undo.
            InvalidPreferenceError: the restored preferences would exceed the user's limits.
        """
        return writing.undo(self._ledger, owner_of(user), id)

    def decide(self, user: object, older: str, newer: str, *, keep: Keep) -> Preferences:
        """Decide a possible conflict, and return the changed preferences; the pair is not listed again.

        `keep` is "older", "newer" or "both". The one that is not kept is superseded; `undo` restores it.

        Raises:
            PreferenceNotFoundError: this user has none with one of the ids, or it was forgotten or superseded.
            ConfigurationError: keep is none of these.
        """
        return writing.decide(self._ledger, owner_of(user), older, newer, keep)

    def rate(self, user: object, ids: Collection[str], score: float, rule: WeightRule) -> Preferences:
        """Change the weights of the preferences that an answer used, all or none, and return the changed ones.

        Raises:
            PreferenceNotFoundError: none of the ids is an applying preference of this user.
        """
        return writing.rate(self._ledger, owner_of(user), ids, score, rule)

    def erase(self, user: object) -> int:
        """Remove all of the user's preferences, in any state, with their histories, and return their number."""
        return writing.erase(self._ledger, owner_of(user))

    # Reading

    def get(self, user: object, id: str) -> Preference:
        """Return one preference, in any state.

        Raises:
            PreferenceNotFoundError: this user has none with this id.
        """
        return self._ledger.existing(owner_of(user), id).preference

    def history(self, user: object, id: str) -> Changes:
        """Return the changes of a preference, the oldest first: when, why, by what, and the values before.

        Raises:
            PreferenceNotFoundError: this user has none with this id.
        """
        return [*self._ledger.existing(owner_of(user), id).changes]

    def list(self, user: object, *, scope: Scope | None = None, as_of: datetime | None = None) -> Preferences:
        """Return the user's active preferences, the oldest first; with `scope`, only those of that scope.

        `as_of` returns them as they were at that time. Erased preferences are missing there, too, as are the oldest
        wordings of one whose history exceeded its limit.

        Raises:
            ConfigurationError: there is no such scope, or as_of has no time zone.
        """
        return in_order(self._ledger.active(owner_of(user), scope=scope, as_of=as_of))

    def archive(self, user: object) -> Preferences:
        """Return the user's superseded, expired, forgotten and rejected preferences, the oldest first."""
        return in_order(self._ledger.archived(owner_of(user)))

    def conflicts(self, user: object, *, at_most: int = 20) -> Conflicts:
        """Return pairs of active preferences that may contradict or repeat each other, the most similar first.

        They are similar, but it is not certain how they relate; use `decide` to settle a pair.

        Raises:
            ConfigurationError: at_most is below 1.
        """
        return possible_conflicts(self._ledger.active(owner_of(user), vectors=True), at_most)

    def count(self, user: object) -> int:
        """Return how many active preferences the user has."""
        return len(self._ledger.active(owner_of(user)))

    def search(
        self,
        user: object,
        query: str,
        *,
        k: int = 5,
        min_relevance: float | None = None,
        as_of: datetime | None = None,
    ) -> ScoredPreferences:
        """Return up to k of the user's active preferences, of any scope, the most similar to the query first.

        `min_relevance` is the smallest cosine similarity, in [-1, 1]; None for any. A blank query finds nothing.

        Raises:
            ConfigurationError: k or min_relevance is out of its limits.
        """
        return self._retriever.similar(owner_of(user), query, k, min_relevance, as_of)

    def retrieve(
        self,
        user: object,
        query: str,
        *,
        k: int = 5,
        min_relevance: float | None = DEFAULT_MIN_RELEVANCE,
        max_tokens: int | None = None,
        count_tokens: Callable[[str], int] = estimate_tokens,
        as_of: datetime | None = None,
    ) -> ScoredPreferences:
        """Return the preferences to use for this query: all `always` ones, then the relevant ones, best first.

        Preferences of shared layers come before the user's own; `layer` names the origin of each. If the two certainly
        contradict, a locked preference wins, even if it is not relevant to the query; otherwise the user's own wins.

        Preferences of weight 0 are left out. The query is embedded only if there are `relevant` preferences to compare
        it with. Of a long query, only the beginning and the end are compared, in chunks.

        Args:
            user: Whose preferences to use, after the layers'.
            query: The question; if it is blank, only the `always` preferences are returned.
            k: Largest number of `relevant` ones, of layers and user together.
            min_relevance: Smallest relevance of those; see DEFAULT_MIN_RELEVANCE. None for any.
            max_tokens: Largest number of tokens of all texts together; the least relevant ones are left out. None for
                any.
            count_tokens: Function that counts tokens; by default an estimate.
            as_of: Time at which to read the memory.

        Raises:
            ConfigurationError: k, min_relevance or max_tokens is out of its limits, or nothing was ever stored in one
                of the layers (its name may be misspelt).
        """
        owner = owner_of(user)
        return self._retriever.called_for(self._layers, owner, query, k, min_relevance, max_tokens, count_tokens, as_of)

    def are_about_the_same(self, one: str, other: str) -> bool | None:
        """Whether two texts, maybe in two languages, are about one thing; None if the embeddings cannot say."""
        return self._ledger.vectorizer.are_about_the_same(one, other)

    def check_layers(self) -> None:
        """Raise ConfigurationError if nothing was ever stored in one of the layers, as `retrieve` would."""
        refuse_unknown(self._ledger, self._layers)

    # As a file

    def export(self, user: object, path_or_file: PathOrFile, *, progress: Progress | None = None) -> int:
        """Write all of the user's preferences, with their histories, as JSON Lines, and return their number.

        A file is replaced only when complete. `progress` is called with the number done and the total.
        """
        return operations.export(self._ledger, owner_of(user), path_or_file, progress=progress)

    def import_(
        self,
        user: object,
        path_or_file: PathOrFile,
        *,
        source_format: ExportFormat = "la-agents",
        on_bad: Callable[[str], None] | None = None,
        progress: Progress | None = None,
    ) -> int:
        """Store the preferences of a JSON Lines file for this user and return their number.

        Ids are kept: importing a file again changes nothing; importing a changed file updates, which `undo` reverts.
        The file may be another user's export, but of one user only. Nothing is consolidated. The file is checked before
        anything is written, and read in parts, so memory does not grow with it (a mem0 or LangMem export that is a
        single JSON value is read whole).

        Args:
            user: Who gets them.
            path_or_file: The file.
            source_format: "la-agents", or the library that wrote it: "mem0" or "langmem".
            on_bad: Called with a message for each invalid line (malformed, too heavy, or another user's), which is then
                skipped; None refuses the file.
            progress: Called with the number done and the total.

        Raises:
            ConfigurationError: there is no such format.
            InvalidPreferenceError: a line is invalid (the message gives its number), or there are too many for one
                user; nothing was written.
        """
        return operations.import_(
            self._ledger, owner_of(user), path_or_file, source_format=source_format, on_bad=on_bad, progress=progress
        )

    # The whole store, for whoever runs it

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

    aadd = async_twin(add)
    aadd_many = async_twin(add_many)
    aupdate = async_twin(update)
    aforget = async_twin(forget)
    aundo = async_twin(undo)
    adecide = async_twin(decide)
    arate = async_twin(rate)
    aerase = async_twin(erase)
    aget = async_reading_twin(get)
    ahistory = async_reading_twin(history)
    alist = async_reading_twin(list)
    aarchive = async_reading_twin(archive)
    aconflicts = async_reading_twin(conflicts)
    acount = async_reading_twin(count)
    asearch = async_reading_twin(search)
    aretrieve = async_reading_twin(retrieve)
    aexport = async_twin(export)
    aimport = async_twin(import_)
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
        return _open_again, (type(self), self._arguments)

    def __repr__(self) -> str:
        return f"PreferenceStore({self.location!r})"


def _open_again(kind: type[PreferenceStore], arguments: dict[str, Any]) -> PreferenceStore:
    return kind(**arguments)
