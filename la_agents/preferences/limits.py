"""How much one user may store: bounds against a memory that is filled up or shouted over."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from la_agents.errors import ConfigurationError, InvalidPreferenceError
from la_agents.preferences.storage.records import StoredPreference

__all__ = ["Limits"]


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds for each user, checked before anything is written.

    Attributes:
        max_records: Preferences, those in the history included.
        max_weight: Weight of one preference.
        max_total_weight: Weights of the active preferences, added up.
    """

    max_records: int = 10_000
    max_weight: float = 10.0
    max_total_weight: float = 10_000.0

    def __post_init__(self) -> None:
        values = (self.max_records, self.max_weight, self.max_total_weight)
        if not all(isinstance(value, (int, float)) and value > 0 for value in values):
            msg = f"Expected limits above 0, got {self}."
            raise ConfigurationError(msg)

    def check_weight(self, weight: float) -> None:
        """Raise InvalidPreferenceError if a preference of this weight is heavier than allowed."""
        if weight > self.max_weight:
            msg = f"weight: Expected at most {self.max_weight:g}, got {weight:g}; give limits= to allow more."
            raise InvalidPreferenceError(msg)

    def check_total(self, records: Sequence[StoredPreference]) -> None:
        """Raise InvalidPreferenceError if one user's records, as they would be, are too many or weigh too much."""
        total = sum(record.preference.weight for record in records if record.preference.is_active())
        self.check_sums(len(records), total)

    def check_sums(self, num_records: int, total_weight: float) -> None:
        """Raise InvalidPreferenceError if these are too many, or too heavy, for one user."""
        if num_records > self.max_records:
            msg = (
                f"Expected at most {self.max_records} preferences of a user, history included, got {num_records}; "
                "give limits= to allow more, or erase the user."
            )
            raise InvalidPreferenceError(msg)
        if total_weight > self.max_total_weight:
            limit = f"{self.max_total_weight:g}"
            msg = f"Expected a total weight of at most {limit} for a user, got {total_weight:g}; lower some."
            raise InvalidPreferenceError(msg)
