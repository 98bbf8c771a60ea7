"""Everyday questions and preferences: what all of them have in common says nothing about any one of them.

Sentence embeddings of questions resemble each other for being questions, and preferences for being preferences. Taking
away what is common, the mean of each kind and the direction in which all vary most, leaves what they are about: "all
but the top" (Mu & Viswanath, ICLR 2018, arXiv 1702.01417), here with a mean for each of the two kinds. The texts are of
many kinds on purpose and were written for this; none is of any data that the ranking is measured on.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.resources import files

import numpy as np

from la_agents.preferences.embedding.vectors import unit
from la_agents.preferences.record import Vector

__all__ = ["Common"]


@dataclass(frozen=True, slots=True)
class Common:
    """What embeddings have in common, for one embedding model.

    Attributes:
        question: Mean embedding of everyday questions, each of length 1; [dimension].
        preference: Mean embedding of everyday preferences, likewise.
        direction: The direction, of length 1, in which both vary most about their means.
    """

    question: Vector
    preference: Vector
    direction: Vector

    @classmethod
    def learnt(cls, embed: Callable[[Sequence[str]], Vector]) -> Common:
        """Learn it from the embeddings of everyday questions and preferences."""
        texts = json.loads(files(__package__).joinpath("everyday.json").read_text(encoding="utf-8"))
        questions, preferences = (unit(embed(texts[kind])) for kind in ("questions", "preferences"))
        means = questions.mean(axis=0), preferences.mean(axis=0)
        centred = np.concatenate([questions - means[0], preferences - means[1]])
        direction = np.linalg.svd(centred, full_matrices=False)[2][0]
        return cls(*means, np.asarray(direction, dtype=np.float32))

    def closeness(self, questions: Vector, preferences: Vector) -> Vector:
        """Cosines of questions, [..., dimension], and preferences, [n, dimension], without what is common: [..., n]."""
        about = self._rest(unit(questions) - self.question) @ self._rest(unit(preferences) - self.preference).T
        return np.asarray(np.clip(about, -1.0, 1.0), dtype=np.float32)

    def _rest(self, vectors: Vector) -> Vector:
        return unit(vectors - (vectors @ self.direction)[..., None] * self.direction)
