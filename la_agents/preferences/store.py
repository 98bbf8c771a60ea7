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
from la_agents.preferences import reading, writing
from la_agents.preferences.aio import async_reading_twin, async_twin
from la_agents.preferences.consolidation.conflicts import Conflict, Keep, possible_conflicts
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
from la_agents.preferences.retrieval.ranking import estimate_tokens
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

    Nothing is opened, made or loaded before the first use. Every operation has an async twin: `aadd` for `add`.

    Every operation raises UserNotSpecifiedError for a missing, blank or invalid user, StoreUnavailableError if the
    store cannot be used, and StoreMismatchError if it was written with another embedding model. On bad input nothing is
    written; if the store goes away in the middle of a long import, its first part is there, and importing again
    completes it.

    Args:
        path: Folder of an embedded store. One process at a time; several use a server.
        url: A Chroma server, such as `http://host:8000`.
        client: A chromadb client of your own, for anything else; it is not closed with the store.
        embeddings: Any LangChain Embeddings; default the bundled all-MiniLM-L6-v2, which knows English.
        embeddings_name: What the store records as the identity of `embeddings`, if its class and model name do not
            tell it apart.
        name: Prefix of the Chroma collections, for several stores in one place.
        consolidator: Judges what an added preference has to do with those that are known; default `CoreConsolidator`.
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
        """The folder or URL, in words."""
        return self._connection.location

    @property
    def layers(self) -> tuple[str, ...]:
        """Names of the shared layers that `retrieve` puts before each user's own."""
        return tuple(layer.name for layer in self._layers)

    def shared(self, layer: str) -> SharedPreferences:
        """Return a shared layer, to see and change what it holds.

        Raises:
            ConfigurationError: the name is not valid.
        """
        return SharedPreferences(self._ledger, self._consolidator, Layer(layer))

    @property
    def proposals(self) -> Proposals:
        """What was proposed and waits for its user's word: add, list, approve and reject."""
        return Proposals(self._ledger, self._consolidator)

    def close(self) -> None:
        """Let go of the folder or the connection; any later operation raises StoreUnavailableError."""
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
        """Store one preference and return it as it is known now; when this returns, it outlives the process.

        With `consolidate`, what was said before is not stored twice: the one that is known is refreshed, or merged
        with the new wording, and returned. What it contradicts is superseded where the consolidator is sure; see
        `history` and `undo`. Where it is not, both stay, and `conflicts` shows them. What ranks higher by its source is
        changed by nothing that ranks lower: that waits as a proposal, whose `supersedes` names what it would replace.

        `supersedes` names the ids of preferences whose place this one takes, whatever the consolidator says.

        Raises:
            InvalidPreferenceError: a value is out of its limits, or the user has too many.
            PreferenceNotFoundError: `supersedes` names another's preference, or one that does not apply.
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
        """Store several, embedded in one batch: all of them or, on error, none.

        Args:
            user: Whose they are.
            items: Bare texts, mappings of `add`'s arguments, or drafts.
            consolidate: As in `add`, one after the other.

        Returns:
            For each item the preference as which it is known now; one that says the same as another is that one.

        Raises:
            InvalidPreferenceError: an item is not valid (the message gives its position, from 0), or there are more
                than Chroma writes at once (5,461 embedded).
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
        """Change what is given, keep the rest, and return the preference as it is now.

        Nothing is consolidated: what the new words contradict stays. Only a shared layer's can be locked.

        Raises:
            PreferenceNotFoundError: this user has none with this id, or it was forgotten or superseded.
            InvalidPreferenceError: a new value is out of its limits, or the user's weights together are.
            ConfigurationError: nothing to change is given.
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
        """Let one preference apply no more and return what it was; `undo` brings it back, `erase` leaves nothing.

        Raises:
            PreferenceNotFoundError: this user has none with this id, or it was forgotten or superseded.
        """
        return writing.forget(self._ledger, owner_of(user), id)

    def undo(self, user: object, id: str) -> Preferences:
        """Take back the latest change of a preference that still counts, and return what is different now.

        What was superseded, forgotten or changed is as it was before. A consolidation is undone as if it had not been
        asked for: what was merged into another preference becomes one of its own. Given the id of a preference that
        superseded others, these come back. Again, it takes back the change before.

        Raises:
            PreferenceNotFoundError: this user has none with this id.
            ConfigurationError: there is nothing to undo.
            InvalidPreferenceError: what comes back is more than the user may have.
        """
        return writing.undo(self._ledger, owner_of(user), id)

    def decide(self, user: object, older: str, newer: str, *, keep: Keep) -> Preferences:
        """Settle a possible conflict by its user's word, and return what is different now; it is not shown again.

        Args:
            user: Whose.
            older: The id of one preference.
            newer: The id of the other.
            keep: "both", or "older" or "newer", which then has the place of the other; `undo` brings that back.

        Raises:
            PreferenceNotFoundError: this user has none with one of the ids, or it was forgotten or superseded.
            ConfigurationError: keep is none of the three.
        """
        return writing.decide(self._ledger, owner_of(user), older, newer, keep)

    def rate(self, user: object, ids: Collection[str], score: float, rule: WeightRule) -> Preferences:
        """Move the weights of preferences that an answer used, all of them or none, and return those that changed.

        Raises:
            PreferenceNotFoundError: there are ids, and none is of a preference of this user that applies.
        """
        return writing.rate(self._ledger, owner_of(user), ids, score, rule)

    def erase(self, user: object) -> int:
        """Remove everything the user has, in whatever state, with its history, and return how many that were."""
        return writing.erase(self._ledger, owner_of(user))

    # Reading

    def get(self, user: object, id: str) -> Preference:
        """Return one preference in whatever state.

        Raises:
            PreferenceNotFoundError: this user has none with this id.
        """
        return self._ledger.existing(owner_of(user), id).preference

    def history(self, user: object, id: str) -> Changes:
        """Return what happened to a preference, the oldest first: when, why, by what, and what was there before.

        Raises:
            PreferenceNotFoundError: this user has none with this id.
        """
        return [*self._ledger.existing(owner_of(user), id).changes]

    def list(self, user: object, *, scope: Scope | None = None, as_of: datetime | None = None) -> Preferences:
        """Return the user's active preferences, the oldest first.

        Args:
            user: Whose.
            scope: Only those of this scope.
            as_of: As the memory was at this time; erased ones are gone from the past too, and so are the oldest
                wordings of one that was changed more than 200 times, or at great length.

        Raises:
            ConfigurationError: there is no such scope, or as_of is no time with a time zone.
        """
        return reading.active(self._ledger, owner_of(user), scope, as_of)

    def archive(self, user: object) -> Preferences:
        """Return the user's superseded, expired, forgotten and rejected preferences, the oldest first."""
        return reading.archived(self._ledger, owner_of(user))

    def conflicts(self, user: object, *, at_most: int = 20) -> Conflicts:
        """Return pairs of active preferences that may contradict or repeat each other, the most similar first.

        They resemble each other, and nobody is sure what they say together; `decide` settles one.

        Raises:
            ConfigurationError: at_most is below 1.
        """
        _check_at_most(at_most)
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
        """Return the user's active preferences of any scope by similarity to the query, best first.

        Args:
            user: Whose to search.
            query: Natural language; nothing resembles blank text.
            k: At most so many.
            min_relevance: Least cosine similarity, in [-1, 1]; None for any.
            as_of: As the memory was at this time.

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
        """Return what a call with this query needs: every `always` preference, then the relevant, best first.

        What the store's shared layers hold comes before the user's own; `layer` says where each is from. Where the two
        contradict for sure, a locked one wins, whether or not the question calls for it, else the user's own.

        Preferences of weight 0 are switched off and left out. The query is embedded only if there is a `relevant`
        preference to compare it with. Of a long message its beginning and its end are looked at, in parts.

        Args:
            user: Whose to use.
            query: The question at hand; with blank text there are only the `always` ones.
            k: At most so many `relevant` ones, of the layers and the user together.
            min_relevance: Least relevance of those; see DEFAULT_MIN_RELEVANCE. None for any.
            max_tokens: How many tokens all texts together may have; what does not fit is left out, the least relevant
                first. None for any number.
            count_tokens: How to count them; by default an estimate.
            as_of: As the memory was at this time.

        Raises:
            ConfigurationError: k, min_relevance or max_tokens is out of its limits, or nothing was ever stored in one
                of the layers: what a misspelt one would have locked must not be missed in silence.
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
        """Write everything the user has, with its history, as JSON lines, and return how many.

        Args:
            user: Whose.
            path_or_file: The file; a path is replaced at the end, never half written.
            progress: Called with preferences done, and all.
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
        """Store the preferences of a JSON lines file as this user's and return how many there are.

        Ids are kept: importing a file again changes nothing, and importing a changed one updates, which `undo` takes
        back. Whose they were makes no difference, if they were one user's. Nothing is consolidated. The file is read
        twice, to check it before anything is written, a thousand preferences at a time; memory does not grow with it
        (but a mem0 or LangMem export that is one JSON value is read whole).

        Args:
            user: Whose they become.
            path_or_file: The file.
            source_format: "la-agents", or the library that wrote it: "mem0" or "langmem".
            on_bad: Called with a message for each bad line (malformed, too heavy, or another user's), which is then
                left out; None refuses the file.
            progress: Called with preferences done, and all.

        Raises:
            ConfigurationError: there is no such format.
            InvalidPreferenceError: a line is bad (the message gives its number), or there are too many for one
                user; nothing was written.
        """
        return operations.import_(
            self._ledger,
            owner_of(user),
            path_or_file,
            source_format=source_format,
            on_bad=on_bad,
            progress=progress,
        )

    # The whole store, for whoever runs it

    def stats(self, *, at_most: int | None = None) -> Stats:
        """Count users, preferences by state, and those that look suspicious.

        Reads the whole store, or with `at_most` about so many records, some of each shard; `num_read` says how many.

        Raises:
            ConfigurationError: at_most is below 1.
        """
        _check_at_most(at_most)
        return stats(self._ledger.shards, at_most)

    def verify(self, *, repair: bool = False, progress: Progress | None = None) -> Verified:
        """Check that all records can be read, lie where calls look for them and have their vectors.

        Args:
            repair: Mend what is amiss, as `Verified` says, by writing the shards anew.
            progress: Called with records done, and all.

        Raises:
            ConfigurationError: a store that is not in a folder of this process is to be repaired: what others write
                there meanwhile would be lost.
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


def _check_at_most(at_most: int | None) -> None:
    if at_most is not None and at_most < 1:
        msg = f"Expected at_most to be at least 1, got {at_most}."
        raise ConfigurationError(msg)
