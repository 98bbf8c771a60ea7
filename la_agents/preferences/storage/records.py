"""A preference as a Chroma record, and back.

The text is the record's document and its embedding the record's vector, as any Chroma tool expects. The record's id is
its user and its slot, see `slots`. The user stands in one metadata field; all the rest is two JSON fields, so that a
record costs few rows. What was superseded or forgotten names its user in another field: reading what applies does not
read the history. A third names the user where a reader has to go on, whatever lies there.

The vector stands in the metadata once more, in half precision, and is read from there: Chroma would have to open the
shard's index for it, and replay its log, for hundreds of milliseconds where the shard was not read lately. It is cut
into pieces, because Chroma keeps all metadata in an index of SQLite's, in which a text of 1,000 bytes takes 4,096 more.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, get_args

import numpy as np

from la_agents.preferences.history import Change
from la_agents.preferences.preference import MAX_LINKS, Preference, Review, Scope, Source
from la_agents.preferences.record import StoredPreference, Vector
from la_agents.preferences.storage.slots import ends_window

__all__ = [
    "ARCHIVE_FIELD",
    "CLAIM_FIELD",
    "CONTINUED_FIELD",
    "USER_FIELD",
    "claim_of",
    "from_record",
    "is_vector",
    "metadata_of",
    "preference_id_of",
    "record_id",
    "record_ids",
    "slot_of",
    "user_digest",
    "user_of",
]

USER_FIELD = "user_id"
ARCHIVE_FIELD = "archive_of"
CONTINUED_FIELD = "continued_for"
CLAIM_FIELD = "claimed_by"
_JSON_FIELD = "preference"
_HISTORY_FIELD = "history"
_PIECE_CHARS = 900
_OUTSIDE_JSON = {"user_id", "text", "superseded_until"}
_FIELDS = frozenset(Preference.model_fields)

_CLOSED: Mapping[str, tuple[tuple[str, ...], str]] = {
    "scope": (get_args(Scope), "relevant"),
    "source": (get_args(Source), "inferred"),
    "review": (get_args(Review), "pending"),
}
"""Fields with a fixed set of values in this release, and the value as which an unknown one is read: the weakest."""


def user_digest(user: str) -> str:
    """A digest of a user id: 32 hex digits, the same in all processes and on all machines."""
    return hashlib.blake2b(user.encode(), digest_size=16).hexdigest()


def record_id(user: str, slot: int) -> str:
    """The record's id: a user's n-th slot."""
    return f"{user_digest(user)}:{slot}"


def record_ids(user: str, slots: Iterable[int]) -> list[str]:
    """The ids of several slots of one user."""
    digest = user_digest(user)
    return [f"{digest}:{slot}" for slot in slots]


def slot_of(record: str) -> int | None:
    """The slot in a record's id; None if it is not one of ours."""
    digits = record.partition(":")[2]
    return int(digits) if re.fullmatch(r"0|[1-9][0-9]{0,8}", digits) else None


def user_of(metadata: Mapping[str, Any]) -> str | None:
    """The owner of a record, archived or not; None if it is no preference."""
    owner = metadata.get(USER_FIELD) or metadata.get(ARCHIVE_FIELD)
    return owner if isinstance(owner, str) else None


def metadata_of(record: StoredPreference, slot: int) -> dict[str, Any]:
    """The record's metadata; the text is kept beside it. None takes a field away."""
    preference = record.preference
    rest = preference.model_dump(mode="json", exclude=_OUTSIDE_JSON, exclude_defaults=True)
    rest |= {field: value for field, value in record.newer.items() if _is_as_read(field, preference)}
    assert record.vector is not None  # whoever writes has embedded
    changes = [change.model_dump(mode="json", exclude_defaults=True) for change in record.changes]
    return {
        USER_FIELD: None if record.is_archived else preference.user_id,
        ARCHIVE_FIELD: preference.user_id if record.is_archived else None,
        CONTINUED_FIELD: preference.user_id if ends_window(slot) else None,
        CLAIM_FIELD: None,
        _JSON_FIELD: json.dumps(rest, ensure_ascii=False),
        _HISTORY_FIELD: json.dumps(changes, ensure_ascii=False),
        **_vector_fields(record.vector),
    }


def claim_of(user: str, preference_id: str, slot: int) -> dict[str, Any]:
    """The metadata of a slot that is reserved for a preference until it is written."""
    claim = {CLAIM_FIELD: user, _JSON_FIELD: json.dumps({"id": preference_id})}
    return claim | ({CONTINUED_FIELD: user} if ends_window(slot) else {})


def preference_id_of(metadata: Mapping[str, Any]) -> str | None:
    """The id of the preference in a slot, or for which it is reserved; None if the record is damaged."""
    try:
        return str(json.loads(metadata[_JSON_FIELD])["id"])
    except (KeyError, TypeError, ValueError):
        return None


def _vector_fields(vector: Vector) -> dict[str, str]:
    """A vector as metadata holds it: half precision, little endian, base64, in pieces."""
    text = base64.b64encode(np.asarray(vector, dtype="<f2").tobytes()).decode()
    pieces = range(0, len(text), _PIECE_CHARS)
    return {_vector_field(n): text[start : start + _PIECE_CHARS] for n, start in enumerate(pieces)}


def _vector_field(piece: int) -> str:
    return f"vector_{piece}" if piece else "vector"


def vector_of(metadata: Mapping[str, Any]) -> Vector | None:
    """The vector that stands in the metadata, [dimension]; None if there is none, or it is damaged."""
    text, n = "", 0
    try:
        while piece := metadata.get(_vector_field(n)):
            text, n = text + piece, n + 1
        vector = np.frombuffer(base64.b64decode(text, validate=True), dtype="<f2").astype(np.float32)
    except (TypeError, ValueError):
        return None
    return vector if vector.size and np.isfinite(vector).all() else None


def from_record(
    record: str, text: str, metadata: Mapping[str, Any], *, vectors: bool = True, history: bool = True
) -> StoredPreference:
    """Read a record's id, document and metadata back, with what is asked for."""
    rest = {"id": record.partition(":")[2], **json.loads(metadata[_JSON_FIELD])}  # format 1 had it in the record's id
    newer = {field: rest.pop(field) for field in rest.keys() - _FIELDS}
    for field, (known, weaker) in _CLOSED.items():
        if rest.get(field) is not None and rest[field] not in known:
            newer[field], rest[field] = rest[field], weaker
    if rest.pop("superseded_until", None) and "also_superseded_by" not in rest:
        rest["also_superseded_by"] = _earlier_links(rest, json.loads(metadata.get(_HISTORY_FIELD, "[]")))
    preference = Preference(**{**rest, "user_id": user_of(metadata) or "", "text": text})
    noted = json.loads(metadata.get(_HISTORY_FIELD, "[]")) if history else []
    changes = tuple(Change(**change) for change in noted)
    is_archived = ARCHIVE_FIELD in metadata if preference.superseded_by else preference.is_archived
    return StoredPreference(preference, vector_of(metadata) if vectors else None, changes, newer, is_archived)


def _earlier_links(values: Mapping[str, Any], changes: Sequence[Mapping[str, Any]]) -> list[str]:
    """The ids of what superseded it before `superseded_by` did; older releases stored `superseded_until` instead."""
    links: dict[str, None] = {}
    for change in reversed(changes):
        if change.get("undone"):
            continue
        if change["kind"] == "superseded" and change.get("by") != values.get("superseded_by"):
            links[change["by"]] = None
        elif change["kind"] in ("refreshed", "merged") and "superseded_by" in change.get("before", {}):
            break  # it applied again
    return [*links][:MAX_LINKS]


def _is_as_read(field: str, preference: Preference) -> bool:
    """Whether a field still has the value that stands for an unknown one of a newer release, which is then kept."""
    return field not in _CLOSED or getattr(preference, field) == _CLOSED[field][1]


def is_vector(vector: Any, dimension: int | None) -> bool:
    """Whether it is an embedding of that length."""
    return vector is not None and len(vector) == dimension and bool(np.isfinite(vector).all())
