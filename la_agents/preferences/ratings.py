"""Ratings: how a user's word on an answer moves the weights of the preferences that were used in it."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from la_agents.errors import ConfigurationError, PreferenceNotFoundError
from la_agents.preferences.lifecycle import rated
from la_agents.preferences.preference import Preference, utc_now
from la_agents.preferences.storage.records import StoredPreference

if TYPE_CHECKING:
    from la_agents.preferences.store import PreferenceStore

__all__ = ["WeightRule", "rate"]


@dataclass(frozen=True, slots=True)
class WeightRule:
    """How far a rating moves a weight.

    A score s in [-1, 1] multiplies a weight by 2 ** (step * s), so that praise and blame of one size cancel. No weight
    is moved beyond the bounds; one that its user has set beyond them, or switched off, stays.

    Attributes:
        step: In halvings or doublings for a full score; > 0.
        least: Lower bound; > 0, so that no rating switches a preference off.
        most: Upper bound.
    """

    step: float = 0.25
    least: float = 0.25
    most: float = 4.0

    def __post_init__(self) -> None:
        if not (0.0 < self.step <= 10.0 and 0.0 < self.least <= self.most < float("inf")):
            msg = f"Expected 0 < step <= 10 and 0 < least <= most, got {self}."
            raise ConfigurationError(msg)

    def apply(self, weight: float, score: float) -> float:
        """The weight after the rating."""
        moved = weight * float(2.0 ** (self.step * score))
        if weight == 0.0 or score == 0.0:
            return weight
        return max(weight, min(moved, self.most)) if score > 0 else min(weight, max(moved, self.least))


def rate(store: PreferenceStore, user: str, ids: Collection[str], score: float, rule: WeightRule) -> list[Preference]:
    """Move the weights of a user's preferences, all of them or none, and return those that changed.

    Raises:
        PreferenceNotFoundError: there are ids, and none is of a preference of this user that stands.
    """

    def change(known: Sequence[StoredPreference]) -> Sequence[StoredPreference]:
        standing = [each for each in known if each.preference.id in ids and not each.preference.is_archived]
        if ids and not standing:
            msg = "Expected an answer that used preferences which this user has, got another's, or forgotten ones."
            raise PreferenceNotFoundError(msg)
        now, why = utc_now(), f"an answer was rated {score:+g}"
        moved = [(each, rule.apply(each.preference.weight, score)) for each in standing]
        return [rated(each, weight, now, why) for each, weight in moved if weight != each.preference.weight]

    return store._ledger.edit(user, change)
