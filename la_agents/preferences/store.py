"""PreferenceStore: each user's preferences on Chroma, with one user named in every call.

Here are the operations and their order; the layout is in `shards.py`, the values in `schema.py`. No operation
searches, counts or changes across users.
"""

from __future__ import annotations

import itertools
import secrets
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from enum import Enum
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Literal

from la_agents.errors import ConfigurationError, InvalidPreferenceError, PreferenceNotFoundError
from la_agents.preferences import jsonl
from la_agents.preferences.aio import async_twin
from la_agents.preferences.connection import Connection
from la_agents.preferences.consolidation import Consolidator, RuleConsolidator, consolidated, new_record
from la_agents.preferences.embeddings import BundledEmbeddings, embeddings_identity
from la_agents.preferences.foreign import ExportFormat
from la_agents.preferences.history import Change
from la_agents.preferences.layers import Layer, SharedPreferences, owner_of, settle
from la_agents.preferences.lifecycle import forgotten, last_undoable, undone, updated, version_at
from la_agents.preferences.limits import Limits
from la_agents.preferences.maintenance import Maintenance, Progress, Purged, Stats, Verified
from la_agents.preferences.proposals import Proposals
from la_agents.preferences.ranking import (
    Query,
    check_limits,
    estimate_tokens,
    in_order,
    most_relevant,
    most_similar,
    within_budget,
)
from la_agents.preferences.records import StoredPreference, Vector, user_digest
from la_agents.preferences.schema import (
    Preference,
    PreferenceDraft,
    Scope,
    ScoredPreference,
    Source,
    as_draft,
    utc_now,
)
from la_agents.preferences.shards import Shards
from la_agents.preferences.vectorizer import Vectorizer

if TYPE_CHECKING:
    from chromadb.api import ClientAPI
    from langchain_core.embeddings import Embeddings

__all__ = ["DEFAULT_MIN_RELEVANCE", "PreferenceStore", "Preferences", "ScoredPreferences"]

Changes = list[Change]
Preferences = list[Preference]  # named out here, because a method of the store is called `list`
ScoredPreferences = list[ScoredPreference]

DEFAULT_MIN_RELEVANCE = 0.22
"""Least relevance (see `ranking.most_relevant`) for a `relevant` preference to be used.

Chosen with `la-agents evaluate retrieval` on 489 preferences of 10 PrefEval topics with the bundled embeddings. Of a
user with 10 preferences, 77% of the questions get their own one, and of the questions whose own one is not stored 25%
get one of another topic; 0.18 gives 83% and 40%, 0.24 gives 72% and 21%. A wrong principle costs more than a missing
one, and what must never be missing has the scope `always`.
"""


class _Unset(Enum):
    UNSET = 0


UNSET: Final = _Unset.UNSET
Unset = Literal[_Unset.UNSET]

_IMPORT_BATCH = 1_000
_DRAFT_FIELDS = set(PreferenceDraft.model_fields)
# Changing a record reads it first: one writer a user at a time, also over several stores on one folder.
_WRITERS = tuple(threading.RLock() for _ in range(64))


class PreferenceStore:
    """Keeps, finds and forgets the preferences of many users; safe to share between threads.

    Nothing is opened, made or loaded before the first use. Every operation has an async twin: `aadd` for `add`.

    Every operation raises UserNotSpecifiedError for a missing, blank or invalid user, StoreUnavailableError if the
    store cannot be used, and StoreMismatchError if it was written with another embedding model. On any error nothing is
    written.

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
        layers: Names of shared layers that `retrieve` puts before each user's own, in this order; see `shared`.

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
        embeddings = embeddings or BundledEmbeddings()
        self._vectorizer = Vectorizer(embeddings)
        self._shards = Shards(self._connection, name, embeddings_name or embeddings_identity(embeddings))
        self._maintenance = Maintenance(self._shards, self._vectorizer)
        self._consolidator = consolidator or RuleConsolidator()
        self._limits = limits or Limits()
        self._layers = tuple(Layer(layer) for layer in layers)
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
        """What was proposed and waits for its user's word: propose, list, approve and reject."""
        return Proposals(self)

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
        metadata: Mapping[str, Any] | None = None,
        consolidate: bool = True,
    ) -> Preference:
        """Store one preference and return it as it is known now; when this returns, it outlives the process.

        With `consolidate`, what was said before is not stored twice: the one that is known is refreshed, or merged
        with the new wording, and returned. What it contradicts is superseded; see `history` and `undo`. A preference
        that is only inferred supersedes nothing that was said, and is kept as superseded itself.

        Raises:
            InvalidPreferenceError: a value is out of its limits, or the user has too many.
        """
        draft = {
            "text": text,
            "scope": scope,
            "weight": weight,
            "expires_at": expires_at,
            "source": source,
            "confidence": confidence,
            "half_life_days": half_life_days,
            "metadata": dict(metadata or {}),
        }
        return self._add(owner_of(user), [as_draft(draft)], consolidate)[0]

    def add_many(
        self,
        user: object,
        items: Iterable[str | Mapping[str, Any] | PreferenceDraft],
        *,
        consolidate: bool = True,
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
            than
                Chroma writes at once (5,461 embedded).
        """
        user = owner_of(user)
        if isinstance(items, (str, Mapping)):
            msg = f"Expected a list of preferences, got a single {type(items).__name__}; wrap it in a list."
            raise InvalidPreferenceError(msg)
        drafts = [as_draft(item, f"item {index}: ") for index, item in enumerate(items)]
        return self._add(user, drafts, consolidate) if drafts else []

    def get(self, user: object, id: str) -> Preference:
        """Return one preference in whatever state.

        Raises:
            PreferenceNotFoundError: this user has none with this id.
        """
        return self._existing(owner_of(user), id).preference

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
        metadata: Mapping[str, Any] | Unset = UNSET,
    ) -> Preference:
        """Change what is given, keep the rest, and return the preference as it is now.

        Raises:
            PreferenceNotFoundError: this user has none with this id, or it was forgotten or superseded.
            InvalidPreferenceError: a new value is out of its limits.
            ConfigurationError: nothing to change is given.
        """
        user = owner_of(user)
        given = {
            "text": text,
            "scope": scope,
            "weight": weight,
            "expires_at": expires_at,
            "source": source,
            "confidence": confidence,
            "half_life_days": half_life_days,
            "metadata": metadata,
        }
        changes = {field: value for field, value in given.items() if value is not UNSET}
        if not changes:
            msg = f"Expected at least one of {', '.join(given)} to change, got none."
            raise ConfigurationError(msg)
        with _writer(user):
            changed = updated(self._current(user, id), changes, utc_now())
            self._write(user, [changed])
        return changed.preference

    def forget(self, user: object, id: str) -> Preference:
        """Let one preference apply no more and return what it was; `undo` brings it back, `erase` leaves nothing.

        Raises:
            PreferenceNotFoundError: this user has none with this id, or it was forgotten or superseded.
        """
        user = owner_of(user)
        with _writer(user):
            record = self._current(user, id)
            self._write(user, [forgotten(record, utc_now())])
        return record.preference

    def history(self, user: object, id: str) -> Changes:
        """Return what happened to a preference, the oldest first: when, why, by what, and what was there before.

        Raises:
            PreferenceNotFoundError: this user has none with this id.
        """
        return [*self._existing(owner_of(user), id).changes]

    def undo(self, user: object, id: str) -> Preferences:
        """Take back the latest change of a preference that still stands, and return what is different now.

        What was superseded, forgotten or changed is as it was before. A consolidation is undone as if it had not been
        asked for: what was merged into another preference becomes one of its own. Given the id of a preference that
        superseded others, these come back. Again, it takes back the change before.

        Raises:
            PreferenceNotFoundError: this user has none with this id.
            ConfigurationError: there is nothing to undo.
        """
        user = owner_of(user)
        with _writer(user):
            restored = self._undone(user, self._existing(user, id))
            self._write(user, restored)
        return [record.preference for record in restored]

    def list(self, user: object, *, scope: Scope | None = None, as_of: datetime | None = None) -> Preferences:
        """Return the user's active preferences, the oldest first.

        Args:
            user: Whose.
            scope: Only those of this scope.
            as_of: As the memory was at this time; erased ones are gone from the past too.
        """
        active = self._active(owner_of(user), as_of=as_of)
        return in_order([record for record in active if scope in (None, record.preference.scope)])

    def archive(self, user: object) -> Preferences:
        """Return the user's superseded, expired, forgotten and rejected preferences, the oldest first."""
        records = self._shards.read(owner_of(user), archived=True, history=False)
        return in_order([record for record in records if record.preference.state not in ("active", "pending")])

    def count(self, user: object) -> int:
        """Return how many active preferences the user has."""
        return len(self._active(owner_of(user)))

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
        check_limits(k, min_relevance)
        return self._similar(query, self._active(owner_of(user), vectors=True, as_of=as_of), k, min_relevance)

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
        contradict, a locked one wins, else the user's own.

        Preferences of weight 0 are switched off and left out. The query is embedded only if there is a `relevant`
        preference to compare it with.

        Args:
            user: Whose to use.
            query: The question at hand; with blank text there are only the `always` ones.
            k: At most so many `relevant` ones.
            min_relevance: Least relevance of those; see DEFAULT_MIN_RELEVANCE. None for any.
            max_tokens: How many tokens all texts together may have; what does not fit is left out, the least relevant
                first. None for any number.
            count_tokens: How to count them; by default an estimate.
            as_of: As the memory was at this time.

        Raises:
            ConfigurationError: k, min_relevance or max_tokens is out of its limits.
        """
        check_limits(k, min_relevance, max_tokens)
        request = _Request(self._vectorizer, query, k, min_relevance)
        vectors: dict[tuple[str, str], Vector] = {}
        found: dict[str, ScoredPreferences] = {}
        for name, owner in (*((layer.name, layer.key) for layer in self._layers), ("user", owner_of(user))):
            active = [r for r in self._active(owner, vectors=True, as_of=as_of) if r.preference.weight > 0]
            vectors |= {(name, r.preference.id): r.vector for r in active if r.vector is not None}
            found[name] = self._called_for(active, request, name)
        own = found.pop("user")
        shared = [scored for scoreds in found.values() for scored in scoreds]
        return within_budget(settle(shared, own, vectors), max_tokens, count_tokens)

    def erase(self, user: object) -> int:
        """Remove everything the user has, in whatever state, with its history, and return how many that were."""
        user = owner_of(user)
        with _writer(user):
            ids = [record.preference.id for record in self._shards.read(user, archived=True, history=False)]
            self._shards.delete(user, ids)
        return len(ids)

    def export(self, user: object, path_or_file: jsonl.PathOrFile) -> int:
        """Write everything the user has, with its history, as JSON lines, and return how many."""
        records = itertools.chain.from_iterable(self._shards.pages(owner_of(user)))
        return jsonl.write_lines(path_or_file, records)

    def import_(
        self,
        user: object,
        path_or_file: jsonl.PathOrFile,
        *,
        source_format: ExportFormat = "la-agents",
        on_bad: Callable[[str], None] | None = None,
        progress: Progress | None = None,
    ) -> int:
        """Store the preferences of a JSON lines file as this user's and return how many there are.

        Ids are kept, so that importing a file again changes nothing and importing a changed one updates. Whose they
        were makes no difference: another user's records are never touched. Nothing is consolidated: they come as they
        went. The file is read twice, to check it before anything is written, a thousand preferences at a time.

        Args:
            user: Whose they become.
            path_or_file: The file.
            source_format: "la-agents", or the library that wrote it: "mem0" or "langmem".
            on_bad: Called with a message for each malformed line, which is then left out; None refuses the file.
            progress: Called with preferences done, and all.

        Raises:
            InvalidPreferenceError: a line is malformed (the message gives its number), or there are too many for one
                user; nothing was written.
        """
        user = owner_of(user)
        with jsonl.rereadable(path_or_file) as path, _writer(user):
            records = self._shards.read(user, archived=True, history=False)
            known = {record.preference.id: record for record in records}
            total = self._check_import(user, jsonl.read_lines(path, user, source_format, on_bad), known)
            ignore = None if on_bad is None else _ignore
            lines = jsonl.read_lines(path, user, source_format, ignore)
            done = 0
            while batch := [*itertools.islice(lines, _IMPORT_BATCH)]:
                self._write(user, [record for record in batch if not _is_known(record, known)])
                done += len(batch)
                if progress is not None:
                    progress(done, total)
        return total

    def stats(self) -> Stats:
        """Count users, preferences by state, and those that look suspicious. Reads the whole store."""
        return self._maintenance.stats()

    def verify(self, *, repair: bool = False, progress: Progress | None = None) -> Verified:
        """Check that all records can be read, lie where calls look for them and have their vectors.

        Args:
            repair: Mend what is amiss, as `Verified` says, by writing the shards anew.
            progress: Called with records done, and all.
        """
        with _everybody():
            found = self._maintenance.verify(progress)
            if repair and not found.is_sound:
                self._maintenance.rebuild(progress=progress)
                found.repaired = True
        return found

    def migrate(self, num_shards: int, *, progress: Progress | None = None) -> int:
        """Spread the users over another number of shards and return how many records were written.

        About one shard for each 8 thousand preferences is right; a new store has 128. On a server, stop writing
        meanwhile.

        Raises:
            ConfigurationError: num_shards is not within [1, 4096].
        """
        with _everybody():
            return self._maintenance.rebuild(num_shards, progress)

    def purge(self, *, progress: Progress | None = None) -> Purged:
        """Write the store's folder anew so that no byte of what was erased, stays in any file.

        Copies elsewhere (backups, snapshots, the disk's freed blocks) are not reached.

        Raises:
            ConfigurationError: the store is not in a folder of this process.
        """
        with _everybody():
            return self._maintenance.purge(progress)

    aadd = async_twin(add)
    aadd_many = async_twin(add_many)
    aget = async_twin(get)
    aupdate = async_twin(update)
    aforget = async_twin(forget)
    ahistory = async_twin(history)
    aundo = async_twin(undo)
    alist = async_twin(list)
    aarchive = async_twin(archive)
    acount = async_twin(count)
    asearch = async_twin(search)
    aretrieve = async_twin(retrieve)
    aerase = async_twin(erase)
    aexport = async_twin(export)
    aimport = async_twin(import_)
    astats = async_twin(stats)
    averify = async_twin(verify)
    amigrate = async_twin(migrate)
    apurge = async_twin(purge)

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

    def _add(self, user: str, drafts: Sequence[PreferenceDraft], consolidate: bool) -> Preferences:
        most = self._shards.max_batch_size()
        if len(drafts) > most:
            msg = f"Expected at most {most} preferences at once, got {len(drafts)}; add them in parts."
            raise InvalidPreferenceError(msg)
        vectors = self._vectorizer.documents([draft.text for draft in drafts])
        self._shards.check_dimension(vectors.shape[1])
        with _writer(user):
            now = utc_now()
            times = [now + timedelta(microseconds=index) for index in range(len(drafts))]  # keeps their order
            new = [
                new_record(_stored(draft, user, at), vector)
                for draft, at, vector in zip(drafts, times, vectors, strict=True)
            ]
            known = self._shards.read(user, vectors=True, archived=True)
            written, ids = new, [record.preference.id for record in new]
            if consolidate:
                active = [record for record in known if record.preference.is_active(now)]
                written, ids = consolidated(new, active, self._consolidator)
            self._check_total(user, written, known)
            self._write(user, written)
        now_known = {record.preference.id: record.preference for record in written}
        return [now_known[id] for id in ids]

    def _edit(
        self, user: str, change: Callable[[Sequence[StoredPreference]], Sequence[StoredPreference]]
    ) -> Preferences:
        """Write what a change makes of all that the user has, and return that; nobody else writes meanwhile."""
        with _writer(user):
            known = self._shards.read(user, vectors=True, archived=True)
            written = change(known)
            self._check_total(user, written, known)
            self._write(user, written)
        return [record.preference for record in written]

    def _undone(self, user: str, record: StoredPreference) -> Sequence[StoredPreference]:
        """The records to write so that the latest change of this one is taken back."""
        now = utc_now()
        index = last_undoable(record)
        if index is None:
            archived = self._shards.read(user, archived=True)
            replaced = [each for each in archived if each.preference.superseded_by == record.preference.id]
            return [undone(each, now) for each in replaced] or [undone(record, now)]  # the latter raises
        change = record.changes[index]
        restored = [undone(record, now)]
        if change.kind == "merged" and change.said is not None:
            draft = PreferenceDraft(**{**_draft(record.preference), "text": change.said})
            restored.append(new_record(_stored(draft, user, now), self._vectorizer.documents([change.said])[0]))
        return restored

    def _check_import(self, user: str, lines: Iterable[StoredPreference], known: Mapping[str, StoredPreference]) -> int:
        """Check every line, and the user's limits with all of them; return how many there are."""
        weights = {id: record.preference.weight * record.preference.is_active() for id, record in known.items()}
        number = 0
        for record in lines:
            self._check_record(user, record)
            weights[record.preference.id] = record.preference.weight * record.preference.is_active()
            number += 1
        self._limits.check_sums(len(weights), sum(weights.values()))
        return number

    def _check_record(self, user: str, record: StoredPreference) -> None:
        self._limits.check_weights([record])
        if record.preference.locked and not Layer.is_key(user):
            msg = "locked: Expected only preferences of a shared layer to be locked, got a user's; see shared(name)."
            raise InvalidPreferenceError(msg)

    def _check_total(self, user: str, written: Sequence[StoredPreference], known: Sequence[StoredPreference]) -> None:
        for record in written:
            self._check_record(user, record)
        after = {record.preference.id: record for record in (*known, *written)}
        self._limits.check_total([*after.values()])

    def _write(self, user: str, records: Sequence[StoredPreference]) -> None:
        """Embed what has no vector, then write in as few operations as Chroma takes."""
        if not records:
            return
        self._limits.check_weights(records)
        bare = [index for index, record in enumerate(records) if record.vector is None]
        complete = [*records]
        if bare:
            vectors = self._vectorizer.documents([records[index].preference.text for index in bare])
            for index, vector in zip(bare, vectors, strict=True):
                complete[index] = replace(records[index], vector=vector)
        size = self._shards.max_batch_size()
        for start in range(0, len(complete), size):
            self._shards.write(user, complete[start : start + size])

    def _existing(self, user: str, id: str) -> StoredPreference:
        if isinstance(id, str) and (found := self._shards.read(user, [id], vectors=True)):
            return found[0]
        msg = "Expected the id of one of this user's preferences, got an unknown one; see list(user)."
        raise PreferenceNotFoundError(msg)

    def _current(self, user: str, id: str) -> StoredPreference:
        """One that may be changed: neither forgotten nor superseded."""
        record = self._existing(user, id)
        if record.preference.is_archived:
            state = record.preference.state
            cure = "approve it first" if state == "pending" else "undo(user, id) brings it back"
            msg = f"Expected a preference that stands, got one that is {state}; {cure}."
            raise PreferenceNotFoundError(msg)
        return record

    def _active(self, user: str, *, vectors: bool = False, as_of: datetime | None = None) -> Sequence[StoredPreference]:
        if as_of is not None:
            return self._active_at(user, as_of, vectors)
        now = utc_now()
        records = self._shards.read(user, vectors=vectors, history=False)
        return [record for record in records if record.preference.is_active(now)]

    def _active_at(self, user: str, at: datetime, vectors: bool) -> Sequence[StoredPreference]:
        """What was active at a time; wordings that were changed since are embedded again."""
        if at.tzinfo is None:
            msg = f"Expected as_of with a time zone, got {at.isoformat()}; add tzinfo=timezone.utc, say."
            raise ConfigurationError(msg)
        then = []
        for record in self._shards.read(user, vectors=vectors, archived=True):
            preference = version_at(record, at)
            if preference is not None and preference.is_active(at):
                same = preference.text == record.preference.text
                vector = record.vector if same or not vectors else self._vectorizer.documents([preference.text])[0]
                then.append(replace(record, preference=preference, vector=vector))
        return then

    def _called_for(self, active: Sequence[StoredPreference], request: _Request, layer: str) -> ScoredPreferences:
        """What one owner's records give to a question."""
        always = in_order([record for record in active if record.preference.scope == "always"])
        others = [record for record in active if record.preference.scope == "relevant"]
        found = [ScoredPreference(preference=preference, relevance=None) for preference in always]
        if others and request.k and request.text.strip():
            query = request.query
            self._shards.check_dimension(len(query.vector))
            found += most_relevant(others, query, request.k, request.min_relevance)
        return [scored.model_copy(update={"layer": layer}) for scored in found]

    def _similar(
        self, query: str, candidates: Sequence[StoredPreference], k: int, min_relevance: float | None
    ) -> ScoredPreferences:
        if not candidates or not k or not query.strip():
            return []
        vector = self._vectorizer.query(query)
        self._shards.check_dimension(len(vector))
        return most_similar(candidates, vector, k, min_relevance)


class _Request:
    """A question and its limits; embedded once, and only if somebody has to compare."""

    def __init__(self, vectorizer: Vectorizer, text: str, k: int, min_relevance: float | None) -> None:
        self._vectorizer = vectorizer
        self.text = text
        self.k = k
        self.min_relevance = min_relevance

    @cached_property
    def query(self) -> Query:
        return Query(self.text, self._vectorizer.query(self.text), self._vectorizer.common())


def _writer(user: str) -> threading.RLock:
    return _WRITERS[int(user_digest(user), 16) % len(_WRITERS)]


@contextmanager
def _everybody() -> Iterator[None]:
    """No writer of this process works on any store meanwhile."""
    with ExitStack() as stack:
        for lock in _WRITERS:
            stack.enter_context(lock)
        yield


def _stored(draft: PreferenceDraft, user: str, at: datetime) -> Preference:
    return Preference(id=secrets.token_hex(8), user_id=user, created_at=at, updated_at=at, **_draft(draft))


def _draft(preference: PreferenceDraft) -> dict[str, Any]:
    return preference.model_dump(include=_DRAFT_FIELDS)


def _ignore(message: str) -> None:
    """Bad lines were told of when the file was checked."""


def _is_known(record: StoredPreference, known: Mapping[str, StoredPreference]) -> bool:
    old = known.get(record.preference.id)
    return old is not None and _content(old.preference) == _content(record.preference)


def _content(preference: Preference) -> dict[str, Any]:
    """All that an import can change; when it was changed is not part of it."""
    return preference.model_dump(exclude={"updated_at", "created_at"})
