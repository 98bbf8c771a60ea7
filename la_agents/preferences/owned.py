"""OwnedPreferences: what can be done with one owner's preferences, a user's or a shared layer's, named in every call.

The methods say what an operation promises; what it does is in `writing.py`, `retrieval/` and `transfer/`, over the
records of `ledger.py`. No operation searches, counts or changes across owners.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from typing_extensions import Unpack

from la_agents.preferences import writing
from la_agents.preferences.aio import async_reading_twin, async_twin
from la_agents.preferences.consolidation.conflicts import Conflict, Keep, possible_conflicts
from la_agents.preferences.consolidation.judging import Consolidator
from la_agents.preferences.history import Change
from la_agents.preferences.ledger import Ledger
from la_agents.preferences.owners import Layer, owner_of
from la_agents.preferences.preference import (
    Changes,
    Choices,
    Preference,
    PreferenceDraft,
    Scope,
    ScoredPreference,
    as_draft,
    as_drafts,
)
from la_agents.preferences.ratings import WeightRule
from la_agents.preferences.retrieval.ranking import estimate_tokens, in_order
from la_agents.preferences.retrieval.retrieving import DEFAULT_MIN_RELEVANCE, Retriever, refuse_unknown
from la_agents.preferences.storage.pages import Progress
from la_agents.preferences.transfer import operations
from la_agents.preferences.transfer.foreign import ExportFormat
from la_agents.preferences.transfer.jsonl import PathOrFile

__all__ = ["OwnedPreferences", "Preferences", "ScoredPreferences"]

Preferences = list[Preference]  # named out here, because a method is called `list`
ScoredPreferences = list[ScoredPreference]
History = list[Change]
Conflicts = list[Conflict]


class OwnedPreferences:
    """Stores, finds, changes and forgets preferences. Every operation has an async version: `aadd` for `add`.

    Every operation raises UserNotSpecifiedError for a missing, blank or invalid user, StoreUnavailableError if the
    store cannot be used, and StoreMismatchError if it was written with another embedding model. Invalid input writes
    nothing. If the store becomes unavailable during a long import, the first part is stored; importing again completes
    it.
    """

    def __init__(self, ledger: Ledger, consolidator: Consolidator, layers: Sequence[Layer]) -> None:
        self._ledger = ledger
        self._consolidator = consolidator
        self._retriever = Retriever(ledger)
        self._layers = tuple(layers)

    def add(
        self,
        user: object,
        text: str,
        *,
        supersedes: Sequence[str] = (),
        consolidate: bool = True,
        **choices: Unpack[Choices],
    ) -> Preference:
        """Store one preference and return it as stored. What is returned outlives the process.

        It may be given the fields of `PreferenceDraft`: scope, weight, expires_at and so on.

        With `consolidate`, the new preference is compared with the stored ones. If it repeats one, that one is
        refreshed, or merged with the new wording, and returned. If it certainly contradicts one, that one is superseded
        (see `history` and `undo`). Uncertain cases keep both; `conflicts` lists them. A preference never changes one
        whose source ranks higher: it waits as a proposal, whose `supersedes` names the one it would replace. Nor does
        an inferred one bring back what the user has forgotten: it waits; what was rejected is returned as it is.

        `supersedes` lists ids of preferences to replace, whatever the consolidator decides.

        Raises:
            InvalidPreferenceError: a value is out of its limits, or the user has too many preferences.
            PreferenceNotFoundError: `supersedes` names another user's preference, or one that does not apply.
        """
        item = {"text": text, "supersedes": supersedes, **choices}
        return self.add_many(user, [as_draft(item)], consolidate=consolidate)[0]

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

    def update(self, user: object, id: str, **changes: Unpack[Changes]) -> Preference:
        """Change the given fields, of `PreferenceDraft`, and return the preference.

        The new text is not compared with other preferences. Only preferences of a shared layer can be locked.

        Raises:
            PreferenceNotFoundError: this user has none with this id, or it was forgotten or superseded.
            InvalidPreferenceError: a new value, or the sum of the user's weights, is out of its limits, or the new
                source ranks below the present one; propose such a change instead.
            ConfigurationError: no field is given, or one that cannot be changed.
        """
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

    def is_erased_since(self, user: object, moment: float) -> bool:
        """Whether this store object erased the user after that moment, by `time.monotonic()`.

        Whoever stores later what was said before, as learning in the background does, asks first.
        """
        return writing.is_erased_since(self._ledger, owner_of(user), moment)

    # Reading

    def get(self, user: object, id: str) -> Preference:
        """Return one preference, in any state.

        Raises:
            PreferenceNotFoundError: this user has none with this id.
        """
        return self._ledger.existing(owner_of(user), id).preference

    def history(self, user: object, id: str) -> History:
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

        Ids are kept: importing a file again changes nothing; importing a changed file updates, which `undo` reverts. A
        line changes nothing that is stored under its id from a source that ranks higher.
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
