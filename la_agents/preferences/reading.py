"""Reading: what a user has, what happened to it, and what a question calls for; part of `PreferenceStore`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import get_args

from la_agents.errors import ConfigurationError
from la_agents.preferences.aio import async_twin
from la_agents.preferences.history import Change
from la_agents.preferences.layers import Layer, owner_of, settle
from la_agents.preferences.ledger import Ledger
from la_agents.preferences.preference import Preference, Scope, ScoredPreference
from la_agents.preferences.retrieval.called_for import DEFAULT_MIN_RELEVANCE, Request, called_for, similar
from la_agents.preferences.retrieval.ranking import check_limits, estimate_tokens, in_order, within_budget
from la_agents.preferences.storage.records import Vector

__all__ = ["Reading"]

Changes = list[Change]
Preferences = list[Preference]  # named out here, because a method is called `list`
ScoredPreferences = list[ScoredPreference]


class Reading:
    """The operations that change nothing; see `PreferenceStore`."""

    _ledger: Ledger
    _layers: tuple[Layer, ...]

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
                wordings of one that was changed more than 200 times.

        Raises:
            ConfigurationError: there is no such scope, or as_of is no time with a time zone.
        """
        if scope not in (None, *get_args(Scope)):
            msg = f"Expected scope to be one of {', '.join(get_args(Scope))}, got {scope!r}."
            raise ConfigurationError(msg)
        active = self._ledger.active(owner_of(user), as_of=as_of)
        return in_order([record for record in active if scope in (None, record.preference.scope)])

    def archive(self, user: object) -> Preferences:
        """Return the user's superseded, expired, forgotten and rejected preferences, the oldest first."""
        records = self._ledger.records.read(owner_of(user), archived=True, history=False)
        return in_order([record for record in records if record.preference.state not in ("active", "pending")])

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
        check_limits(k, min_relevance)
        _check_query(query)
        active = self._ledger.active(owner_of(user), vectors=True, as_of=as_of)
        found = similar(self._ledger, query, active, k, min_relevance)
        return found if as_of is None else [scored.model_copy(update={"as_of": as_of}) for scored in found]

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
        contradict, a locked one wins, whether or not the question calls for it, else the user's own.

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
            ConfigurationError: k, min_relevance or max_tokens is out of its limits, or nothing was ever stored in one
                of the layers: what a misspelt one would have locked must not be missed in silence.
        """
        check_limits(k, min_relevance, max_tokens)
        _check_query(query)
        request = Request(self._ledger.vectorizer, query, k, min_relevance)
        vectors: dict[tuple[str, str], Vector] = {}
        found: dict[str, ScoredPreferences] = {}
        locked: ScoredPreferences = []
        owners = (*((layer.name, layer.key) for layer in self._layers), ("user", owner_of(user)))
        records = {name: self._ledger.active(owner, vectors=True, as_of=as_of) for name, owner in owners}
        self._refuse_unknown([layer for layer in self._layers if not records[layer.name]])
        for name in records:
            active = [r for r in records[name] if r.preference.weight > 0]
            vectors |= {(name, r.preference.id): r.vector for r in active if r.vector is not None}
            locked += [
                ScoredPreference(preference=r.preference, relevance=None, layer=name)
                for r in active
                if r.preference.locked
            ]
            found[name] = called_for(self._ledger, active, request, name)
        own = found.pop("user")
        shared = [scored for scoreds in found.values() for scored in scoreds]
        kept = within_budget(settle(shared, own, locked, vectors), max_tokens, count_tokens)
        return kept if as_of is None else [scored.model_copy(update={"as_of": as_of}) for scored in kept]

    def check_layers(self) -> None:
        """Raise ConfigurationError if nothing was ever stored in one of the layers, as `retrieve` would."""
        self._refuse_unknown(self._layers)

    def _refuse_unknown(self, layers: Sequence[Layer]) -> None:
        """A layer is known while it has a record, be it of what was forgotten."""
        read = self._ledger.records.read
        unknown = [layer.name for layer in layers if not read(layer.key, archived=True, history=False)]
        if unknown:
            msg = (
                f"Expected layers that the store knows, got {', '.join(map(repr, unknown))}; check the name, or store "
                "its first preference: shared(name).add(text), or `la-agents layers add NAME TEXT`."
            )
            raise ConfigurationError(msg)

    aget = async_twin(get)
    ahistory = async_twin(history)
    alist = async_twin(list)
    aarchive = async_twin(archive)
    acount = async_twin(count)
    asearch = async_twin(search)
    aretrieve = async_twin(retrieve)


def _check_query(query: str) -> None:
    if not isinstance(query, str):
        msg = f"Expected query to be a text, got {type(query).__name__}; give the question at hand."
        raise ConfigurationError(msg)
