"""Which preferences a query calls for: pure functions over records in memory."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

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
_COPY_COSINE = 0.88
_COPIES = ((0.65, 0.5), (0.8, 0.3))
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
    return [
        _scored(record, value) for record, value in _best(records, cosines(stacked(records), query), min_relevance)
    ][:k]


def most_relevant(
    records: Sequence[StoredPreference], query: Query, k: int, min_relevance: float | None
) -> list[ScoredPreference]:
    """Return what is relevant to a question, best first, each time with less of what was already chosen.

    The relevance of a preference to a question is the cosine of their embeddings without what all questions and all
    preferences have in common (`everyday.Common`), so that a preference that is a little like everything is not found
    for everything, plus 0.05 for each of up to two words that both are about. Another wording of one that was chosen
    comes after all others (maximal marginal relevance), so that wordings of one wish do not fill the list: a cosine
    above 0.88 tells it, above 0.8 where a third of the words that either is about are the same, and above 0.65 where
    half of them are. That tells two in three of the labelled restatements; telling more would cost a point of
    recall, for what only resembles what was chosen.

    Args:
        records: Candidates with their vectors.
        query: The question.
        k: At most so many.
        min_relevance: Least relevance, of up to 10 candidates; see `floor_among`. None for any.

    Of a question in parts the part counts that is most like the preference, and the threshold rises as among so many
    more candidates. In a language that the embedding model does not know all texts resemble each other: of a question
    and preferences in such languages only what a preference has more than the others counts, and of a single one
    nothing.
    """
    if not records:
        return []
    words = [content_words(record.preference.text) for record in records]
    relevances = query.common.closeness(query.vectors, stacked(records)) + _shared_words(query.parts, words)
    relevances -= _of_the_language(records, query, relevances)
    floor = floor_among(len(records) * len(query.parts), min_relevance)
    best = _best(records, np.clip(relevances.max(axis=0), -1.0, 1.0), floor)
    return _diverse(best, k)


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


def _best(
    records: Sequence[StoredPreference], relevances: Vector, min_relevance: float | None
) -> list[tuple[StoredPreference, float]]:
    floor = -math.inf if min_relevance is None else min_relevance
    found = [(record, float(value)) for record, value in zip(records, relevances, strict=True) if value >= floor]
    return sorted(found, key=lambda pair: (-pair[1], *age(pair[0].preference)))


def _diverse(best: Sequence[tuple[StoredPreference, float]], k: int) -> list[ScoredPreference]:
    if not best or not k:
        return []
    candidates = [*best][: max(_MAX_DIVERSE, k)]
    units = unit(stacked([record for record, _ in candidates]))
    subjects = [content_words(record.preference.text) for record, _ in candidates]
    relevances = np.array([value for _, value in candidates])
    copies = np.zeros(len(candidates), dtype=bool)
    chosen: list[int] = []
    while len(chosen) < min(k, len(candidates)):
        marginal = relevances - 2.0 * copies
        marginal[chosen] = -math.inf
        chosen.append(int(np.argmax(marginal)))
        copies |= _copies(units @ units[chosen[-1]], subjects, subjects[chosen[-1]])
    return [_scored(*candidates[index]) for index in chosen]


def _copies(closeness: Vector, subjects: Sequence[Subject], subject: Subject) -> NDArray[np.bool_]:
    """Which candidates are another wording of the chosen one: closeness to it is their cosine, [n]."""
    overlaps = np.array([len(each & subject) / max(1, len(each | subject)) for each in subjects])
    alike = [(closeness > cosine) & (overlaps >= overlap) for cosine, overlap in _COPIES]
    return np.asarray((closeness > _COPY_COSINE) | np.any(alike, axis=0))


def _of_the_language(records: Sequence[StoredPreference], query: Query, relevances: Vector) -> Vector:
    """What preferences have in common with a question by their language alone, [parts, n]: what the others have.

    It is 0 where the embedding model knows the language of either.
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
    """What each part and each preference gain by words that both are about, [parts, n]."""
    shared = [[len(content_words(part) & each) for each in words] for part in parts]
    return np.asarray(np.minimum(shared, _MAX_SHARED_WORDS), dtype=np.float32) * _SHARED_WORD_WEIGHT


def _scored(record: StoredPreference, relevance: float) -> ScoredPreference:
    return ScoredPreference(preference=record.preference, relevance=relevance)


def in_order(records: Sequence[StoredPreference]) -> list[Preference]:
    """The preferences in the order in which they were stored."""
    return sorted((record.preference for record in records), key=age)


def age(preference: Preference) -> tuple[float, str]:
    """What sorts the oldest first."""
    return preference.created_at.timestamp(), preference.id
