"""Consolidators judge how a new preference relates to the stored ones: the protocol, and the default.

`plan.py` acts on the judgements. A consolidator may be slow, such as a language model (`chat.py`): it is asked while no
lock is held, and its judgements are kept by the two texts until the change is written.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, get_args, runtime_checkable

from la_agents.preferences.consolidation.core import contradict, read
from la_agents.preferences.embedding.vectors import cosines, stacked
from la_agents.preferences.record import StoredPreference
from la_agents.preferences.words import folded

__all__ = [
    "BatchConsolidator",
    "Consolidator",
    "CoreConsolidator",
    "Judgement",
    "Judgements",
    "KnownPreference",
    "Relation",
]

Relation = Literal["same", "restated", "contradicts", "independent"]
"""`same`: said again. `restated`: the same wish in other words. `contradicts`: both cannot hold. Else `independent`."""


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
    """Judges how a new preference relates to those of the same user."""

    def judge(self, new: str, known: Sequence[KnownPreference]) -> Sequence[Judgement]:
        """Return a judgement for each known one that is not independent of the new text; the others may be left out.

        It is called outside any lock, and may take its time. The same words are not asked about.

        Args:
            new: The text to add.
            known: The user's preferences in other words, one of each wording, the most similar first.
        """


@runtime_checkable
class BatchConsolidator(Consolidator, Protocol):
    """Judges several new preferences at once."""

    def judge_many(self, cases: Sequence[tuple[str, Sequence[KnownPreference]]]) -> Sequence[Sequence[Judgement]]:
        """Return what `judge` returns for each case."""


class CoreConsolidator:
    """The default: the same words, the exact opposite, another value of what has one value; see `core.py`.

    Sure rather than complete: of what is only likely, both stay, and `PreferenceStore.conflicts` shows them.
    """

    def judge(self, new: str, known: Sequence[KnownPreference]) -> Sequence[Judgement]:
        """Judge each by `core.read`."""
        mine = read(new)
        return [
            Judgement(each.id, "same", "the same words")
            if folded(each.text) == mine.words
            else Judgement(each.id, "contradicts", mine.why)
            for each in known
            if folded(each.text) == mine.words or contradict(read(each.text), mine)
        ]


class Judgements:
    """The judgements of one operation, by the two texts, and which are still to be asked for."""

    def __init__(self, consolidator: Consolidator) -> None:
        self._consolidator = consolidator
        self._known: dict[tuple[str, str], tuple[Relation, str]] = {}
        self._asked: dict[str, tuple[StoredPreference, list[StoredPreference]]] = {}

    @property
    def is_complete(self) -> bool:
        """Whether nothing is left to ask for."""
        return not self._asked

    def between(self, new: StoredPreference, wordings: Sequence[StoredPreference]) -> dict[str, tuple[Relation, str]]:
        """Return how a new record relates to others, by their texts; missing judgements are noted for `ask`."""
        text = new.preference.text
        if isinstance(self._consolidator, CoreConsolidator):  # no slower than looking it up
            known = [KnownPreference(each.preference.text, each.preference.text, 0.0) for each in wordings]
            return {each.id: (each.relation, each.why) for each in self._consolidator.judge(text, known)}
        unknown = [each for each in wordings if (text, each.preference.text) not in self._known]
        if unknown:
            self._asked[text] = (new, unknown)
        found = {each.preference.text: self._known.get((text, each.preference.text)) for each in wordings}
        return {known_text: related for known_text, related in found.items() if related is not None}

    def ask(self) -> None:
        """Ask for the missing judgements, in one call if the consolidator has `judge_many`."""
        asked, self._asked = [*self._asked.values()], {}
        cases = [(new.preference.text, _by_similarity(new, wordings)) for new, wordings in asked]
        if isinstance(self._consolidator, BatchConsolidator):
            answers = self._consolidator.judge_many(cases)
        else:
            answers = [self._consolidator.judge(*case) for case in cases]
        self._known |= {(text, each.text): ("independent", "") for text, known in cases for each in known}
        for (text, known), judgements in zip(cases, answers or (), strict=False):  # what is malformed judges nothing
            texts = {each.id: each.text for each in known}
            self._known |= {
                (text, texts[each.id]): (each.relation, str(each.why or ""))
                for each in judgements or ()
                if isinstance(each, Judgement) and each.id in texts and each.relation in get_args(Relation)
            }


def _by_similarity(new: StoredPreference, wordings: Sequence[StoredPreference]) -> list[KnownPreference]:
    assert new.vector is not None  # whoever adds has embedded
    values = cosines(stacked(wordings), new.vector)
    known = [
        KnownPreference(each.preference.id, each.preference.text, float(value))
        for each, value in zip(wordings, values, strict=True)
    ]
    return sorted(known, key=lambda each: -each.similarity)
