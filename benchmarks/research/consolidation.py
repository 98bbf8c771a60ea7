"""How often the default consolidator is right, on labelled pairs of preferences."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, get_args

import numpy as np

from la_agents.errors import ConfigurationError
from la_agents.preferences.consolidation.conflicts import LEAST_SIMILARITY
from la_agents.preferences.consolidation.judging import Consolidator, KnownPreference, Relation

if TYPE_CHECKING:
    from langchain_core.embeddings import Embeddings

__all__ = ["LabelledPair", "PairScores", "judge_pairs", "read_pairs"]


@dataclass(frozen=True, slots=True)
class LabelledPair:
    """A stored preference, one that is added after it, and how they relate by human judgement."""

    old: str
    new: str
    label: Relation
    split: str


@dataclass(frozen=True, slots=True)
class PairScores:
    """What was judged, against the labels.

    Attributes:
        counts: Pairs by (label, judged).
        listed: Pairs by label that are similar enough to be listed as possible conflicts.
    """

    counts: Counter[tuple[str, str]] = field(default_factory=Counter)
    listed: Counter[str] = field(default_factory=Counter)

    def __add__(self, other: PairScores) -> PairScores:
        """Those of both."""
        return PairScores(self.counts + other.counts, self.listed + other.listed)

    def precision(self, relation: str) -> float:
        """Share of what was judged so that is so; `same` and `restated` count as one, as both merge."""
        return self._share(relation, 1)

    def recall(self, relation: str) -> float:
        """Share of what is so that was judged so; `same` and `restated` count as one."""
        return self._share(relation, 0)

    @property
    def wrongly_replaced(self) -> float:
        """Share of the independent pairs that were merged or superseded."""
        total = self._num("independent")
        kept = self.counts["independent", "independent"]
        return (total - kept) / total if total else 0.0

    def report(self) -> dict[str, float]:
        """All figures by name."""
        return {
            "num_pairs": self.counts.total(),
            **{f"num_{label}": self._num(label) for label in get_args(Relation)},
            "merge_precision": self.precision("restated"),
            "merge_recall": self.recall("restated"),
            "contradiction_precision": self.precision("contradicts"),
            "contradiction_recall": self.recall("contradicts"),
            "wrongly_replaced": self.wrongly_replaced,
            **{f"listed_{label}": self.listed[label] / max(self._num(label), 1) for label in get_args(Relation)},
        }

    def _num(self, label: str) -> int:
        return sum(n for (labelled, _), n in self.counts.items() if labelled == label)

    def _share(self, relation: str, side: int) -> float:
        kinds = ("same", "restated") if relation in ("same", "restated") else (relation,)
        right = sum(n for pair, n in self.counts.items() if pair[0] in kinds and pair[1] in kinds)
        total = sum(n for pair, n in self.counts.items() if pair[side] in kinds)
        return right / total if total else 1.0


def read_pairs(path: Path) -> list[LabelledPair]:
    """Read JSON lines of `old`, `new`, `label` and `split`.

    Raises:
        ConfigurationError: the file is missing or not of that form.
    """
    try:
        pairs = [LabelledPair(**json.loads(line)) for line in path.read_text(encoding="utf-8").splitlines()]
    except (OSError, ValueError, TypeError) as error:
        msg = f"Expected labelled pairs in {path}, got {type(error).__name__}: {error}"
        raise ConfigurationError(msg) from error
    unknown = {pair.label for pair in pairs} - set(get_args(Relation))
    if unknown:
        msg = f"Expected the labels {get_args(Relation)}, got {sorted(unknown)}."
        raise ConfigurationError(msg)
    return pairs


def judge_pairs(pairs: list[LabelledPair], consolidator: Consolidator, embeddings: Embeddings) -> PairScores:
    """Let the consolidator judge every pair by itself."""
    old = np.array(embeddings.embed_documents([pair.old for pair in pairs]))
    new = np.array(embeddings.embed_documents([pair.new for pair in pairs]))
    similarities = (old * new).sum(1) / (np.linalg.norm(old, axis=1) * np.linalg.norm(new, axis=1))
    counts: Counter[tuple[str, str]] = Counter()
    for pair, similarity in zip(pairs, similarities, strict=True):
        judged = consolidator.judge(pair.new, [KnownPreference("old", pair.old, float(similarity))])
        counts[pair.label, judged[0].relation if judged else "independent"] += 1
    listed = Counter(
        pair.label for pair, similarity in zip(pairs, similarities, strict=True) if similarity >= LEAST_SIMILARITY
    )
    return PairScores(counts, listed)
