"""The retriever: finds the preferences of a user, and of shared layers, that matter to a message."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime

from la_agents.errors import ConfigurationError
from la_agents.preferences.consolidation.core import contradict, read
from la_agents.preferences.ledger import Ledger
from la_agents.preferences.owners import Layer
from la_agents.preferences.preference import ScoredPreference
from la_agents.preferences.record import StoredPreference
from la_agents.preferences.retrieval.everyday import Common
from la_agents.preferences.retrieval.query import Query, parts_of
from la_agents.preferences.retrieval.ranking import check_limits, in_order, most_relevant, most_similar, within_budget

__all__ = ["DEFAULT_MIN_RELEVANCE", "Retriever", "refuse_unknown"]

DEFAULT_MIN_RELEVANCE = 0.22
"""Least relevance (see `ranking.most_relevant`) for a `relevant` preference to be used.

Chosen with `python -m benchmarks.research retrieval` on 489 preferences of 10 PrefEval topics with the bundled
embeddings. Of a user with 10 preferences, 76% of the questions get their own one, and of the questions whose own one
is not stored 21% get one of another topic; 0.20 gives 80% and 27%, 0.23 gives 75% and 19%. A wrong principle costs
more than a missing one, and what must never be missing has the scope `always`. Among more than 10 it rises
(`ranking.floor_among`).
"""

_USER = "user"


class Retriever:
    """Finds preferences among the records of a ledger."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._common: Common | None = None
        self._lock = threading.Lock()

    def similar(
        self, owner: str, query: str, k: int, min_relevance: float | None, as_of: datetime | None
    ) -> list[ScoredPreference]:
        """See `PreferenceStore.search`."""
        check_limits(k, min_relevance)
        _check_query(query)
        active = self._ledger.active(owner, vectors=True, as_of=as_of)
        if not active or not k or not query.strip():
            return []
        vector = self._ledger.vectorizer.query(query)
        self._ledger.shards.check_dimension(len(vector))
        return _as_of(most_similar(active, vector, k, min_relevance), as_of)

    def called_for(
        self,
        layers: Sequence[Layer],
        owner: str,
        query: str,
        k: int,
        min_relevance: float | None,
        max_tokens: int | None,
        count_tokens: Callable[[str], int],
        as_of: datetime | None,
    ) -> list[ScoredPreference]:
        """See `PreferenceStore.retrieve`."""
        check_limits(k, min_relevance, max_tokens)
        _check_query(query)
        owners = {**{layer.name: layer.key for layer in layers}, _USER: owner}
        records = {name: self._ledger.active(key, vectors=True, as_of=as_of) for name, key in owners.items()}
        refuse_unknown(self._ledger, [layer for layer in layers if not records[layer.name]])
        switched_on = {name: [each for each in found if each.preference.weight > 0] for name, found in records.items()}
        candidates = _without_what_locked_ones_overrule(switched_on)
        relevant = self._relevant(candidates, query, k, min_relevance)
        found = []
        for name, records_of in candidates.items():
            always = in_order([record for record in records_of if record.preference.scope == "always"])
            found += [ScoredPreference(preference=each, relevance=None, layer=name) for each in always]
            found += [each for each in relevant if each.layer == name]
        return _as_of(within_budget(_without_what_the_user_overrules(found), max_tokens, count_tokens), as_of)

    def _relevant(
        self, candidates: Mapping[str, Sequence[StoredPreference]], message: str, k: int, min_relevance: float | None
    ) -> list[ScoredPreference]:
        """The `relevant` ones of all owners together, at most k, best first; the message is embedded only for these."""
        relevant = [
            (record, name)
            for name, records in candidates.items()
            for record in records
            if record.preference.scope == "relevant"
        ]
        if not relevant or not k or not message.strip():
            return []
        names = {(record.preference.user_id, record.preference.id): name for record, name in relevant}
        parts, vectorizer = parts_of(message), self._ledger.vectorizer
        query = Query(parts, vectorizer.queries(parts), self._common_of_all(), vectorizer.serves)
        self._ledger.shards.check_dimension(query.vectors.shape[1])
        return [
            scored.model_copy(update={"layer": names[scored.preference.user_id, scored.preference.id]})
            for scored in most_relevant([record for record, _ in relevant], query, k, min_relevance)
        ]

    def _common_of_all(self) -> Common:
        with self._lock:
            if self._common is None:
                self._common = Common.learnt(self._ledger.vectorizer.documents)
            return self._common


def refuse_unknown(ledger: Ledger, layers: Sequence[Layer]) -> None:
    """Raise ConfigurationError for layers in which nothing was ever stored, be it forgotten since."""
    unknown = [layer.name for layer in layers if not ledger.records.read(layer.key, archived=True, history=False)]
    if unknown:
        msg = (
            f"Expected layers that the store knows, got {', '.join(map(repr, unknown))}; check the name, or store "
            "its first preference: shared(name).add(text), or `la-agents layers add NAME TEXT`."
        )
        raise ConfigurationError(msg)


def _without_what_locked_ones_overrule(
    records: Mapping[str, Sequence[StoredPreference]],
) -> dict[str, Sequence[StoredPreference]]:
    """Remove the user's own preferences that contradict a locked one, whether or not that is relevant."""
    locked = [
        reading
        for name, found in records.items()
        for record in found
        if name != _USER and record.preference.locked and (reading := read(record.preference.text)).topic
    ]
    if not locked:
        return {**records}
    own = [r for r in records[_USER] if not any(contradict(one, read(r.preference.text)) for one in locked)]
    return {**records, _USER: own}


def _without_what_the_user_overrules(found: Sequence[ScoredPreference]) -> list[ScoredPreference]:
    """Remove unlocked preferences of layers that the user's own contradict."""
    if all(scored.layer == _USER for scored in found):
        return [*found]
    own = [read(scored.preference.text) for scored in found if scored.layer == _USER]
    return [
        scored
        for scored in found
        if scored.layer == _USER
        or scored.preference.locked
        or not any(contradict(read(scored.preference.text), mine) for mine in own)
    ]


def _as_of(found: list[ScoredPreference], as_of: datetime | None) -> list[ScoredPreference]:
    return found if as_of is None else [scored.model_copy(update={"as_of": as_of}) for scored in found]


def _check_query(query: str) -> None:
    if not isinstance(query, str):
        msg = f"Expected query to be a text, got {type(query).__name__}; give the question at hand."
        raise ConfigurationError(msg)
