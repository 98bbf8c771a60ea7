"""Does a question find the preference that it calls for, among others, and nothing where nothing is called for?

The protocol: users hold 10, 30 and 100 preferences drawn over all topics; each question looks for its own preference;
and each question is asked of a user who does not hold its own.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from la_agents.errors import ConfigurationError
from la_agents.preferences.embedding.vectorizer import Vectorizer
from la_agents.preferences.preference import Preference, ScoredPreference, utc_now
from la_agents.preferences.record import StoredPreference
from la_agents.preferences.retrieval.everyday import Common
from la_agents.preferences.retrieval.query import Query
from la_agents.preferences.retrieval.ranking import floor_among, most_relevant, most_similar

if TYPE_CHECKING:
    from langchain_core.embeddings import Embeddings

__all__ = [
    "Question",
    "Questions",
    "RetrievalScores",
    "Retrieve",
    "by_cosine",
    "by_relevance",
    "choose_floor",
    "cross_validated",
    "measure",
    "read_topics",
]

_NUM_RANKED = 5
_FLOORS = tuple(n / 200 for n in range(20, 101))

Retrieve = Callable[[Query, Sequence[StoredPreference], int, float | None], list[ScoredPreference]]


@dataclass(frozen=True, slots=True)
class Question:
    """A question with the preference that an answer to it should follow, and the topic of both."""

    text: str
    preference: str
    topic: str


@dataclass(frozen=True, slots=True)
class RetrievalScores:
    """What was found by users with this many preferences.

    Attributes:
        num_preferences: How many each user holds.
        recall_at: Share of questions whose own preference is among the first 1, 3 and 5, without a threshold.
        found: Share whose own preference is among the first 5 and above the threshold.
        false_alarm: Where the own one is not stored: share of questions that get anything at all.
        wrong_topic: Where the own one is not stored: share that get a preference of another topic.
    """

    num_preferences: int
    recall_at: dict[int, float]
    found: float
    false_alarm: float
    wrong_topic: float


class Questions:
    """Questions and preferences, embedded once.

    Args:
        questions: At least as many as the largest user holds, and one.
        embeddings: The model to measure.
    """

    def __init__(self, questions: Sequence[Question], embeddings: Embeddings) -> None:
        vectorizer = Vectorizer(embeddings)
        self.questions = [*questions]
        now = utc_now()
        texts = [question.preference for question in questions]
        self.records = [
            StoredPreference(Preference(id=str(n), user_id="u", text=text, created_at=now, updated_at=now), vector)
            for n, (text, vector) in enumerate(zip(texts, vectorizer.documents(texts), strict=True))
        ]
        asked = vectorizer.documents([question.text for question in questions])
        common = Common.learnt(vectorizer.documents)
        self.queries = [
            Query((question.text,), vector[None], common) for question, vector in zip(questions, asked, strict=True)
        ]

    @property
    def topics(self) -> list[str]:
        """All topics, in order."""
        return sorted({question.topic for question in self.questions})

    def users(
        self, num_preferences: int, seed: int, *, own: bool, topics: Collection[str] | None = None
    ) -> Iterator[tuple[int, list[int]]]:
        """For each question (of these topics) a user: the question's number, and those of the preferences held."""
        chosen = random.Random(seed)
        for number, question in enumerate(self.questions):
            others = [n for n, other in enumerate(self.questions) if other.preference != question.preference]
            held = chosen.sample(others, num_preferences - own)
            if topics is not None and question.topic not in topics:
                continue
            yield number, [number, *held] if own else held


def read_topics(folder: Path) -> list[Question]:
    """Read PrefEval's files: one JSON list a topic, each item with `preference` and `question`.

    Raises:
        ConfigurationError: there are none, or one is not of that form.
    """
    try:
        read = [(path.stem, json.loads(path.read_text(encoding="utf-8"))) for path in sorted(folder.glob("*.json"))]
        found = [Question(item["question"], item["preference"], topic) for topic, items in read for item in items]
    except (OSError, ValueError, KeyError, TypeError) as error:
        msg = f"Expected PrefEval's topics in {folder}, got {type(error).__name__}: {error}"
        raise ConfigurationError(msg) from error
    if not found:
        msg = f"Expected PrefEval's topics in {folder}, got no *.json; give the folder that holds them."
        raise ConfigurationError(msg)
    return found


def by_cosine(query: Query, held: Sequence[StoredPreference], k: int, floor: float | None) -> list[ScoredPreference]:
    """The plain way: the nearest vectors."""
    return most_similar(held, query.vectors[0], k, floor)


def by_relevance(query: Query, held: Sequence[StoredPreference], k: int, floor: float | None) -> list[ScoredPreference]:
    """As `PreferenceStore.retrieve` does."""
    return most_relevant(held, query, k, floor)


def measure(
    data: Questions,
    retrieve: Retrieve,
    min_relevance: float,
    num_preferences: int,
    seeds: Sequence[int] = (0, 1),
    topics: Collection[str] | None = None,
) -> RetrievalScores:
    """Run the protocol for one size of user, once a seed, with the questions of some topics or of all."""
    floor = min_relevance if retrieve is not by_relevance else floor_among(num_preferences, min_relevance)
    assert floor is not None
    if num_preferences >= len(data.questions):
        msg = f"Expected fewer than {len(data.questions)} preferences a user, got {num_preferences}; give more topics."
        raise ConfigurationError(msg)
    places: list[int] = []
    above, alarms, wrong = [], [], []
    for seed in seeds:
        for number, held in data.users(num_preferences, seed, own=True, topics=topics):
            found = retrieve(data.queries[number], [data.records[n] for n in held], _NUM_RANKED, None)
            place = next((i for i, scored in enumerate(found) if scored.preference.id == str(number)), None)
            places.append(_NUM_RANKED if place is None else place)
            above.append(place is not None and (found[place].relevance or 0.0) >= floor)
        for number, held in data.users(num_preferences, seed, own=False, topics=topics):
            found = retrieve(data.queries[number], [data.records[n] for n in held], _NUM_RANKED, min_relevance)
            of_topics = {data.questions[int(scored.preference.id)].topic for scored in found}
            alarms.append(bool(found))
            wrong.append(bool(of_topics - {data.questions[number].topic}))
    recall = {k: float(np.mean(np.array(places) < k)) for k in (1, 3, 5)}
    return RetrievalScores(num_preferences, recall, *(float(np.mean(values)) for values in (above, alarms, wrong)))


def cross_validated(
    data: Questions, retrieve: Retrieve, sizes: Sequence[int], seeds: Sequence[int] = (0, 1)
) -> tuple[list[float], list[RetrievalScores]]:
    """The protocol with a threshold that was chosen on other topics: on one half, for the other, and the other way.

    Users hold preferences of all topics; it is the questions that are parted.

    Returns:
        The two thresholds, and for each size the mean of both halves' scores.
    """
    halves = data.topics[::2], data.topics[1::2]
    floors = [choose_floor(data, retrieve, sizes, half, seeds) for half in halves]
    scores = []
    for size in sizes:
        both = [
            measure(data, retrieve, floor, size, seeds, topics=other)
            for floor, other in zip(floors, reversed(halves), strict=True)
        ]
        scores.append(_mean(both))
    return floors, scores


def choose_floor(
    data: Questions, retrieve: Retrieve, sizes: Sequence[int], topics: Collection[str], seeds: Sequence[int]
) -> float:
    """The threshold, one for all sizes, with the largest sum of `found - wrong_topic` on these topics' questions."""
    gains = np.zeros(len(_FLOORS))
    for size in sizes:
        floors = [floor_among(size, f) if retrieve is by_relevance else f for f in _FLOORS]
        for own in (True, False):
            values = np.array([*_relevances(data, retrieve, size, topics, seeds, own=own)])
            share = np.array([np.mean(values >= floor) for floor in floors])
            gains += share if own else -share
    return _FLOORS[int(np.argmax(gains))]


def _relevances(
    data: Questions, retrieve: Retrieve, size: int, topics: Collection[str], seeds: Sequence[int], *, own: bool
) -> Iterator[float]:
    """For each question the relevance of its own preference, or the largest of another topic's, among the first 5."""
    for seed in seeds:
        for number, held in data.users(size, seed, own=own, topics=topics):
            found = retrieve(data.queries[number], [data.records[n] for n in held], _NUM_RANKED, None)
            topic = data.questions[number].topic
            if own:
                counted = [scored for scored in found if scored.preference.id == str(number)]
            else:
                counted = [scored for scored in found if data.questions[int(scored.preference.id)].topic != topic]
            wanted = [scored.relevance or 0.0 for scored in counted]
            yield max(wanted, default=-np.inf)


def _mean(scores: Sequence[RetrievalScores]) -> RetrievalScores:
    recall = {k: float(np.mean([each.recall_at[k] for each in scores])) for k in scores[0].recall_at}
    means = (float(np.mean([getattr(s, name) for s in scores])) for name in ("found", "false_alarm", "wrong_topic"))
    return RetrievalScores(scores[0].num_preferences, recall, *means)
