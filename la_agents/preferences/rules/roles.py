"""What small words make of the content words: "to Anna", "about Anna", "to be a nurse". Pure, no model."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

from la_agents.preferences.rules.lexicon import words
from la_agents.preferences.rules.verbs import BE

__all__ = ["Roles", "read_roles"]

_RELATIONS = words("about to from in out on off up down with for of my your")
_ALONE = words("out off up down my in.")  # who likes to eat out may not like to eat
_PRESENT = words("need stopped")
_DOING = words("be get make give keep have do")


@dataclass(frozen=True, slots=True)
class Roles:
    """The words of a text that say who does what, to what and when.

    Attributes:
        relations: Prepositions and whose it is; a last "in" as "in.", since it belongs to a verb: "to sleep in".
        doing: The verbs of little meaning that are wished: "to be a doctor", "to make coffee", "being filmed".
        is_past: Whether it is over: "I was a nurse", "I smoked".
    """

    relations: frozenset[str]
    doing: frozenset[str]
    is_past: bool

    def fit(self, roles: Roles) -> bool:
        """Whether the two can speak of the same: no other relation to it, no other thing done with it, none over."""
        if self.doing != roles.doing or self.is_past != roles.is_past:
            return False
        mine, others = self.relations - roles.relations, roles.relations - self.relations
        return not (mine and others) and not (mine | others) & _ALONE


def read_roles(said: Sequence[str]) -> Roles:
    """Read the small words of a text, given without filler."""
    doing = {word for before, word in itertools.pairwise(said) if before in ("to", "want") and word in _DOING}
    relations = _RELATIONS & {*said} if said[-1:] != ["in"] else (_RELATIONS & {*said[:-1]}) | {"in."}
    tense = next((word for word in said if word in BE), "")
    done = {word for me, word in itertools.pairwise(said) if me in ("i", "we") and word.endswith("ed")} - _PRESENT
    return Roles(
        relations,
        frozenset(doing | ({"be"} if "being" in said else set())),
        is_past=tense in ("was", "were") or bool(done),
    )
