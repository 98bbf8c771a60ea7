"""A preference as it lies in the store: with its vector and its history. How it is laid out is not known here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from la_agents.preferences.history import Change
from la_agents.preferences.preference import Preference

__all__ = ["StoredPreference", "Vector"]

Vector = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class StoredPreference:
    """A preference as it lies in the store.

    Attributes:
        preference: As it is now.
        vector: The embedding of its text, [dimension]; None if it was not asked for, or has to be made.
        changes: What happened to it, the oldest first.
        newer: What a newer release has stored with it and this one does not know, kept as it is.
        is_archived: Whether it lies where calls do not look.
    """

    preference: Preference
    vector: Vector | None = None
    changes: tuple[Change, ...] = ()
    newer: Mapping[str, Any] = field(default_factory=dict)
    is_archived: bool = False
