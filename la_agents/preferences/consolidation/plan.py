"""What happens when a preference meets those that are known: the `Consolidator` protocol, its default, and the plan.

The consolidator judges, `consolidated` acts on the judgement. The default needs no language model; `chat_consolidation`
has one that asks a LangChain chat model.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol, runtime_checkable

import numpy as np

from la_agents.preferences.lifecycle import added, refreshed, superseded
from la_agents.preferences.preference import Preference
from la_agents.preferences.retrieval.ranking import cosines
from la_agents.preferences.rules.comparison import Relation, relate
from la_agents.preferences.storage.records import StoredPreference, Vector

__all__ = ["Consolidator", "Judgement", "KnownPreference", "RuleConsolidator", "consolidated", "new_record"]

_MAX_CANDIDATES = 50
_LEAST_SIMILARITY = 0.2

_Judged = tuple["Judgement", StoredPreference]


@dataclass(frozen=True, slots=True)
class KnownPreference:
    """A stored preference that the new one is compared with.

    Attributes:
        id: Its id.
        text: Its text.
        similarity: Cosine of its embedding with the new one's.
    """

    id: str
    text: str
    similarity: float


@dataclass(frozen=True, slots=True)
class Judgement:
    """How the new preference relates to a known one, and why, in words."""

    id: str
    relation: Relation
    why: str


@runtime_checkable
class Consolidator(Protocol):
    """Judges how a new preference relates to those of the same user that are most like it."""

    def judge(self, new: str, known: Sequence[KnownPreference]) -> Sequence[Judgement]:
        """Return a judgement for each known one that is not independent of the new text; the others may be left out.

        Args:
            new: The text to add.
            known: Up to 50 active preferences of the user, the most similar first.
        """


class RuleConsolidator:
    """The default: similarity, polarity, negation, numbers, opposites and single-valued slots, in milliseconds.

    Careful rather than complete: where the two are not about the same to the word, or one is narrower, an exception or
    somebody else's wish, both stay. Reads English; a text with function words of another language, or without English
    ones, only merges with the same words said again.
    """

    def judge(self, new: str, known: Sequence[KnownPreference]) -> Sequence[Judgement]:
        """Judge each by `comparison.relate`."""
        related = [(each.id, *relate(each.text, new, each.similarity)) for each in known]
        return [Judgement(*one) for one in related if one[1] != "independent"]


class _Memory:
    """One user's active records while some are added, and what has to be written."""

    def __init__(self, active: Sequence[StoredPreference], dimension: int, capacity: int) -> None:
        self._records: list[StoredPreference] = [*active]
        self._places = {record.preference.id: place for place, record in enumerate(active)}
        self._vectors = np.zeros((len(active) + capacity, dimension), dtype=np.float32)
        for place, record in enumerate(active):
            self._vectors[place] = record.vector
        self.touched: dict[str, StoredPreference] = {}

    def like(self, vector: Vector) -> list[KnownPreference]:
        relevances = cosines(self._vectors[: len(self._records)], vector)
        near = [
            int(place) for place in np.argsort(-relevances, kind="stable") if relevances[place] >= _LEAST_SIMILARITY
        ]
        alive = [place for place in near if not self._records[place].preference.is_archived]
        found = [(self._records[place].preference, float(relevances[place])) for place in alive[:_MAX_CANDIDATES]]
        return [KnownPreference(preference.id, preference.text, value) for preference, value in found]

    def get(self, id: str) -> StoredPreference | None:
        place = self._places.get(id)
        return None if place is None else self._records[place]

    def put(self, record: StoredPreference) -> None:
        id = record.preference.id
        if id not in self._places:
            self._places[id] = len(self._records)
            self._records.append(record)
        place = self._places[id]
        self._records[place] = self.touched[id] = record
        if record.vector is not None:
            self._vectors[place] = record.vector


def consolidated(
    new: Sequence[StoredPreference], active: Sequence[StoredPreference], consolidator: Consolidator
) -> tuple[list[StoredPreference], list[str]]:
    """Add the new records to the active ones of their user, in order.

    Returns:
        What has to be written, all at once (a record without a vector has to be embedded), and for each new record the
        id under which it is now known: its own, or that of the one it says again.
    """
    if not new:
        return [], []
    assert new[0].vector is not None  # whoever adds has embedded
    memory = _Memory(active, len(new[0].vector), len(new))
    ids = [_add(record, memory, consolidator) for record in new]
    return [*memory.touched.values()], ids


def _add(record: StoredPreference, memory: _Memory, consolidator: Consolidator) -> str:
    assert record.vector is not None
    preference = record.preference
    judgements = [
        (j, old) for j in consolidator.judge(preference.text, memory.like(record.vector)) if (old := memory.get(j.id))
    ]
    contradicted = _of(judgements, "contradicts")
    known = [*_of(judgements, "same"), *_of(judgements, "restated")]
    if not known:
        return _replace(record, contradicted, memory)
    judgement, old = known[0]
    said = refreshed(old, preference, judgement.why, restated=judgement.relation == "restated")
    if said.preference.text == preference.text and said.vector is None:
        said = StoredPreference(said.preference, record.vector, said.changes)
    memory.put(said)
    weaker = [pair for pair in contradicted if not preference.is_mere_inference_beside(pair[1].preference)]
    _supersede(said.preference, preference.created_at, weaker, memory)
    return judgement.id


def _of(judgements: Sequence[_Judged], relation: Relation) -> list[_Judged]:
    return [pair for pair in judgements if pair[0].relation == relation]


def _replace(record: StoredPreference, contradicted: Sequence[_Judged], memory: _Memory) -> str:
    """Supersede what it contradicts; what is only inferred gives way itself."""
    preference = record.preference
    stronger = next((pair for pair in contradicted if _is_stronger(pair[1].preference, preference)), None)
    if stronger is not None:
        judgement, old = stronger
        over = "locked" if old.preference.locked else old.preference.source
        why = f"{judgement.why}; {preference.source}, against what was {over}"
        at = preference.created_at
        memory.put(superseded(record, old.preference.id, at, why, _until(preference, old.preference, at)))
        return preference.id
    _supersede(preference, preference.created_at, contradicted, memory)
    memory.put(record)
    return preference.id


def _supersede(by: Preference, at: datetime, contradicted: Sequence[_Judged], memory: _Memory) -> None:
    """Let a preference take the place of what it contradicts while it applies, but for what is stronger than it."""
    if not by.weight or not by.is_active(at):
        return
    for judgement, old in contradicted:
        if old.preference.superseded_by != by.id and not _is_stronger(old.preference, by):
            memory.put(superseded(old, by.id, at, judgement.why, _until(old.preference, by, at)))


def _until(old: Preference, by: Preference, at: datetime) -> datetime | None:
    """When the old one applies again: not before whatever has its place already expires, too."""
    if by.expires_at is None or old.superseded_until is None or not old.is_suspended(at):
        return by.expires_at
    return max(by.expires_at, old.superseded_until)


def _is_stronger(old: Preference, new: Preference) -> bool:
    """Whether it gives way to the new one never: what was said to what is inferred, what is locked to what is not."""
    return new.is_mere_inference_beside(old) or (old.locked and not new.locked)


def new_record(preference: Preference, vector: Vector) -> StoredPreference:
    """A preference about to be added."""
    return StoredPreference(preference, vector, added(preference).changes)
