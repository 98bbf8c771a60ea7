"""A preference as a Chroma record, and back.

The text is the record's document and its embedding the record's vector, as any Chroma tool expects. The user
stands in one metadata field, the only one that is filtered on; all the rest is one JSON field, so that a
record costs few rows.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from la_agents.preferences.schema import Preference

__all__ = ["USER_FIELD", "StoredPreference", "from_record", "metadata_of", "record_id", "user_digest"]

USER_FIELD = "user_id"
_JSON_FIELD = "preference"
_OUTSIDE_JSON = {"id", "user_id", "text"}

Vector = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class StoredPreference:
    """A preference with its embedding, [dimension], if it was asked for."""

    preference: Preference
    vector: Vector | None = None


def user_digest(user: str) -> str:
    """32 hex digits that stand for a user: stable over processes and machines, alike for no two users."""
    return hashlib.blake2b(user.encode(), digest_size=16).hexdigest()


def record_id(user: str, preference_id: str) -> str:
    """The record's id: one preference id under two users is two records."""
    return f"{user_digest(user)}:{preference_id}"


def metadata_of(preference: Preference) -> dict[str, Any]:
    """The record's metadata; the text and the id are kept beside it."""
    rest = preference.model_dump(mode="json", exclude=_OUTSIDE_JSON)
    return {USER_FIELD: preference.user_id, _JSON_FIELD: json.dumps(rest, ensure_ascii=False)}


def from_record(record: str, text: str, metadata: Mapping[str, Any]) -> Preference:
    """Read a record's id, document and metadata back."""
    rest = json.loads(metadata[_JSON_FIELD])
    return Preference(id=record.partition(":")[2], user_id=metadata[USER_FIELD], text=text, **rest)
