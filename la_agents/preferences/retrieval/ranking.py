"""Ranking: which preferences are relevant to a query; pure functions over records in memory."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from la_agents.errors import ConfigurationError
from la_agents.preferences.embedding.vectors import cosines, stacked, unit
from la_agents.preferences.preference import Preference, ScoredPreference
from la_agents.preferences.record import StoredPreference, Vector
from la_agents.preferences.retrieval.query import Query
from la_agents.preferences.words import content_words

__all__ = [
    "age",
    "check_limits",
    "estimate_tokens",
    "floor_among",
    "in_order",
    "most_relevant",
    "most_similar",
    "within_budget",
]

Subject = frozenset[str]

# Chosen with `python -m benchmarks.research retrieval`; recall is flat around these values.
_SHARED_WORD_WEIGHT = 0.05
_MAX_SHARED_WORDS = 2
_FEW = 10
_FLOOR_GROWTH = 0.05
_COPIES = ((0.65, 0.5), (0.8, 0.3), (0.88, 0.0))  # least cosine, and share of words, of another wording
_MAX_DIVERSE = 50


def check_limits(k: int, min_relevance: float | None, max_tokens: int | None = None) -> None:
    """Raise ConfigurationError unless k >= 0, min_relevance is None or within [-1, 1], and max_tokens None or >= 0."""
    if max_tokens is not None and (not isinstance(max_tokens, int) or max_tokens < 0):
        msg = f"Expected max_tokens to be an int >= 0, got {max_tokens!r}; give a budget for all principles together."
        raise ConfigurationError(msg)
    if not isinstance(k, int) or isinstance(k, bool) or k < 0:
        msg = f"Expected k to be an int >= 0, got {k!r}; give how many preferences to find."
        raise ConfigurationError(msg)
    is_number = isinstance(min_relevance, (int, float))
    if min_relevance is not None and not (is_number and -1.0 <= min_relevance <= 1.0):
        msg = f"Expected min_relevance to be within [-1, 1], got {min_relevance!r}; it is a similarity."
        raise ConfigurationError(msg)


def most_similar(
    records: Sequence[StoredPreference], query: Vector, k: int, min_relevance: float | None
) -> list[ScoredPreference]:
    """Return the k records most similar to the query by cosine, best first, ties by age, none below `min_relevance`.

    Args:
        records: Candidates with their vectors.
        query: [dimension].
        k: At most so many.
        min_relevance: Least cosine similarity; None for any.
    """
    similarities = cosines(stacked(records), query)
    return [_scored(records[row], similarities[row]) for row in _best(records, similarities, min_relevance)[:k]]


def most_relevant(
    records: Sequence[StoredPreference], query: Query, k: int, min_relevance: float | None
) -> list[ScoredPreference]:
    """Return the k records most relevant to a question, best first; near-duplicates of an earlier one rank lower.

    Relevance is the cosine similarity of centred embeddings (`everyday.Common`), plus 0.05 for each of up to two shared
    topic words. Centring removes what all questions and all preferences have in common, so that a preference which
    resembles everything is not found for everything. For a question of several parts, the closest part counts, and the
    threshold rises as if there were as many times more candidates. Where the embedding model does not know the
    language, all texts resemble each other: only what a preference has beyond the others' average counts, and a single
    preference scores nothing.

    Near-duplicates go to the end of the list (maximal marginal relevance). Two preferences are near-duplicates if their
    cosine similarity is above 0.88; or above 0.8 and they share a third of their topic words; or above 0.65 and they
    share half. This detects two in three of the labelled restatements; detecting more would cost a point of recall.

    Args:
        records: Candidates with their vectors.
        query: The question.
        k: At most so many.
        min_relevance: Least relevance, of up to 10 candidates; see `floor_among`. None for any.
    """
    if not records:
        return []
    words = [content_words(record.preference.text) for record in records]
    vectors = stacked(records)
    relevances = query.common.closeness(query.vectors, vectors) + _shared_words(query.parts, words)
    relevances -= _of_the_language(records, query, relevances)
    floor = floor_among(len(records) * len(query.parts), min_relevance)
    best = np.clip(relevances.max(axis=0), -1.0, 1.0)
    rows = _best(records, best, floor)[: max(_MAX_DIVERSE, k)]
    return [_scored(records[row], best[row]) for row in _diverse(rows, vectors, words)[:k]]


def floor_among(num_candidates: int, min_relevance: float | None) -> float | None:
    """Least relevance among so many candidates: `min_relevance + 0.05 ln(n / 10)`, and `min_relevance` below 10.

    The more there are, the more resemble a question by chance: with one threshold for all, a question whose own
    preference is not stored gets a wrong one the more often the more its user holds.
    """
    if min_relevance is None:
        return None
    return min_relevance + _FLOOR_GROWTH * math.log(max(num_candidates, _FEW) / _FEW)


def within_budget(
    found: Sequence[ScoredPreference], max_tokens: int | None, count_tokens: Callable[[str], int]
) -> list[ScoredPreference]:
    """Keep those that fit into a number of tokens, in order; one that does not fit is passed over."""
    if max_tokens is None:
        return [*found]
    kept, left = [], max_tokens
    for scored in found:
        size = count_tokens(scored.preference.text)
        if size <= left:
            kept.append(scored)
            left -= size
    return kept


def estimate_tokens(text: str) -> int:
    """About how many tokens a text has in a language model: one for four bytes, and at least one a word."""
    return max(len(text.split()), math.ceil(len(text.encode("utf-8", "replace")) / 4))


def _best(records: Sequence[StoredPreference], relevances: Vector, min_relevance: float | None) -> list[int]:
    floor = -math.inf if min_relevance is None else min_relevance
    rows = [row for row, value in enumerate(relevances) if value >= floor]
    return sorted(rows, key=lambda row: (-relevances[row], *age(records[row].preference)))


def _diverse(rows: Sequence[int], vectors: Vector, words: Sequence[Subject]) -> list[int]:
    """Return the rows in their order, but with other wordings of earlier ones last."""
    if not rows:
        return []
    units = unit(vectors[rows])
    closeness = units @ units.T
    first: list[int] = []
    copies: list[int] = []
    for place in range(len(rows)):
        near = [each for each in first if closeness[place, each] > _COPIES[0][0]]
        is_copy = any(_are_copies(closeness[place, each], words[rows[place]], words[rows[each]]) for each in near)
        (copies if is_copy else first).append(place)
    return [rows[place] for place in first + copies]


def _are_copies(cosine: float, one: Subject, other: Subject) -> bool:
    """Whether one is another wording of the other."""
    overlap = len(one & other) / max(1, len(one | other))
    return any(cosine > least and overlap >= shared for least, shared in _COPIES)


def _of_the_language(records: Sequence[StoredPreference], query: Query, relevances: Vector) -> Vector:
    """The part of each relevance that is due to the language alone, [parts, n]: the mean of the other preferences.

    It is 0 if the embedding model knows the language of the question or of the preference.
    """
    common = np.zeros_like(relevances)
    if all(map(query.serves, query.parts)):
        return common
    unknown = np.array([not query.serves(record.preference.text) for record in records])
    if unknown.any():
        strange = relevances[:, unknown]
        total, others = strange.sum(axis=1, keepdims=True), strange.shape[1] - 1
        common[:, unknown] = (total - strange) / others if others else strange
    return common


def _shared_words(parts: Sequence[str], words: Sequence[frozenset[str]]) -> Vector:
    """What shared words add to the relevance of each preference to each part, [parts, n]."""
    shared = [[len(asked & each) for each in words] for asked in map(content_words, parts)]
    return np.asarray(np.minimum(shared, _MAX_SHARED_WORDS), dtype=np.float32) * _SHARED_WORD_WEIGHT


def _scored(record: StoredPreference, relevance: float) -> ScoredPreference:
    return ScoredPreference(preference=record.preference, relevance=float(relevance))


def in_order(records: Sequence[StoredPreference]) -> list[Preference]:
    """The preferences in the order in which they were stored."""
    return sorted((record.preference for record in records), key=age)


def age(preference: Preference) -> tuple[float, str]:
    """A sort key: the oldest first."""
    return preference.created_at.timestamp(), preference.id
