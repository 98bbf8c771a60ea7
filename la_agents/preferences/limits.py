"""Limits of what one user may store."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from la_agents.errors import ConfigurationError, InvalidPreferenceError
from la_agents.preferences.preference import Preference, utc_now

__all__ = ["Limits"]


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds for each user, checked before anything is written.

    Attributes:
        max_records: Preferences, those in the history included.
        max_weight: Weight of one preference.
        max_total_weight: Weights of the active preferences, added up.
        max_metadata_chars: Length of one preference's metadata as JSON.
    """

    max_records: int = 10_000
    max_weight: float = 10.0
    max_total_weight: float = 10_000.0
    max_metadata_chars: int = 8_000

    def __post_init__(self) -> None:
        values = (self.max_records, self.max_weight, self.max_total_weight, self.max_metadata_chars)
        if not all(isinstance(value, (int, float)) and value > 0 for value in values):
            msg = f"Expected limits above 0, got {self}."
            raise ConfigurationError(msg)

    def check_weight(self, weight: float) -> None:
        """Raise InvalidPreferenceError if a preference of this weight is heavier than allowed."""
        if weight > self.max_weight:
            msg = f"weight: Expected at most {self.max_weight:g}, got {weight:g}; give limits= to allow more."
            raise InvalidPreferenceError(msg)

    def check_metadata(self, metadata: Mapping[str, Any]) -> None:
        """Raise InvalidPreferenceError if the metadata of one preference is longer than allowed."""
        num_chars = len(json.dumps(metadata, ensure_ascii=False))
        if num_chars > self.max_metadata_chars:
            msg = (
                f"metadata: Expected at most {self.max_metadata_chars} characters as JSON, got {num_chars}; keep what "
                "is long elsewhere and store where it is, or give limits= to allow more."
            )
            raise InvalidPreferenceError(msg)

    def check_total(self, preferences: Sequence[Preference]) -> None:
        """Raise InvalidPreferenceError if one user's records, as they would be, are too many or weigh too much."""
        now = utc_now()
        total = sum(preference.weight for preference in preferences if preference.is_active(now))
        self.check_sums(len(preferences), total)

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
