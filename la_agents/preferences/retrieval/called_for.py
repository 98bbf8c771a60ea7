"""Retrieval: which of a user's preferences, and of the layers', a question calls for."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

from la_agents.preferences.embedding.vectorizer import Vectorizer
from la_agents.preferences.ledger import Ledger
from la_agents.preferences.preference import ScoredPreference
from la_agents.preferences.retrieval.ranking import Query, in_order, most_relevant, most_similar
from la_agents.preferences.storage.records import StoredPreference

__all__ = ["DEFAULT_MIN_RELEVANCE", "Request", "called_for", "similar"]

ScoredPreferences = list[ScoredPreference]

DEFAULT_MIN_RELEVANCE = 0.22
"""Least relevance (see `ranking.most_relevant`) for a `relevant` preference to be used.

Chosen with `la-agents evaluate retrieval` on 489 preferences of 10 PrefEval topics with the bundled embeddings. Of a
user with 10 preferences, 77% of the questions get their own one, and of the questions whose own one is not stored 22%
get one of another topic; 0.18 gives 83% and 36%, 0.24 gives 73% and 18%. A wrong principle costs more than a missing
one, and what must never be missing has the scope `always`. Among more than 10 it rises (`ranking.floor_among`).
"""


class Request:
    """A question and its limits; embedded once, and only if somebody has to compare."""

    def __init__(self, vectorizer: Vectorizer, text: str, k: int, min_relevance: float | None) -> None:
        self._vectorizer = vectorizer
        self.text = text
        self.k = k
        self.min_relevance = min_relevance

    @cached_property
    def query(self) -> Query:
        return Query(self.text, self._vectorizer.query(self.text), self._vectorizer.common())


def called_for(ledger: Ledger, active: Sequence[StoredPreference], request: Request, layer: str) -> ScoredPreferences:
    """What one owner's records give to a question."""
    always = in_order([record for record in active if record.preference.scope == "always"])
    others = [record for record in active if record.preference.scope == "relevant"]
    found = [ScoredPreference(preference=preference, relevance=None) for preference in always]
    if others and request.k and request.text.strip():
        query = request.query
        ledger.shards.check_dimension(len(query.vector))
        found += most_relevant(others, query, request.k, request.min_relevance)
    return [scored.model_copy(update={"layer": layer}) for scored in found]


def similar(
    ledger: Ledger, query: str, candidates: Sequence[StoredPreference], k: int, min_relevance: float | None
) -> ScoredPreferences:
    """Those of the candidates that resemble the query, best first."""
    if not candidates or not k or not query.strip():
        return []
    vector = ledger.vectorizer.query(query)
    ledger.shards.check_dimension(len(vector))
    return most_similar(candidates, vector, k, min_relevance)
