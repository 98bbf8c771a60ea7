"""An item as a Chroma record, and back.

The value is the record's document, as JSON. Each label of the namespace stands in a field of its own, so that a prefix
can be filtered on; all the rest is one JSON field, so that a record costs few rows. The vectors of an item (one for
each indexed text) stand in it in half precision: they are compared one by one, and Chroma is slow to hand out its own.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
from langgraph.store.base import Item
from numpy.typing import NDArray

from la_agents.errors import ConfigurationError, StoreUnavailableError

__all__ = [
    "Namespace",
    "StoredItem",
    "Vector",
    "as_text",
    "digest",
    "from_record",
    "metadata_of",
    "prefix_filter",
    "record_id",
]

Namespace = tuple[str, ...]
Vector = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class StoredItem:
    """An item as it lies in the store.

    Attributes:
        item: What LangGraph sees.
        text: Its value as JSON.
        vectors: Embeddings of its indexed texts, [dimension] each.
        ttl: Minutes that it lives after it was written, or read if reading refreshes; None for ever.
        expires_at: When it is gone, in seconds since 1970; None for never.
    """

    item: Item
    text: str
    vectors: tuple[Vector, ...] = ()
    ttl: float | None = None
    expires_at: float | None = None

    def is_alive(self, now: datetime) -> bool:
        """Whether it has not expired."""
        return self.expires_at is None or now.timestamp() < self.expires_at


def as_text(value: Mapping[str, Any]) -> str:
    """A value as JSON.

    Raises:
        ConfigurationError: JSON cannot hold it.
    """
    try:
        text = json.dumps(value, ensure_ascii=False)
        text.encode()
    except (TypeError, ValueError) as error:
        msg = f"Expected a value that JSON can hold, got one that it cannot: {error}; convert it first."
        raise ConfigurationError(msg) from error
    return text


def digest(labels: Sequence[str]) -> str:
    """32 hex digits that stand for labels: stable over processes and machines."""
    return hashlib.blake2b(json.dumps([*labels]).encode(), digest_size=16).hexdigest()


def record_id(namespace: Namespace, key: str) -> str:
    """The record's id: one key in two namespaces is two records."""
    return f"{digest(namespace)}:{digest([key])}"


def prefix_filter(prefix: Namespace) -> dict[str, Any] | None:
    """Chroma's `where` for all that lies under a prefix; None for everything."""
    conditions: list[dict[str, Any]] = [{_field(depth): label} for depth, label in enumerate(prefix)]
    if not conditions:
        return None
    return conditions[0] if len(conditions) == 1 else {"$and": conditions}


def metadata_of(stored: StoredItem) -> dict[str, Any]:
    """The record's metadata: what is filtered on, and all the rest in one field. None takes a field away."""
    item = stored.item
    rest = {
        "namespace": item.namespace,
        "key": item.key,
        "created_at": item.created_at.isoformat(),
        "updated_at": item.updated_at.isoformat(),
        "ttl": stored.ttl,
        "vectors": [base64.b64encode(vector.astype("<f2").tobytes()).decode() for vector in stored.vectors],
    }
    labels = {_field(depth): label for depth, label in enumerate(item.namespace)}
    return {**labels, "expires_at": stored.expires_at, "item": json.dumps(rest, ensure_ascii=False)}


def from_record(text: str, metadata: Mapping[str, Any]) -> StoredItem:
    """Read a record's document and metadata back.

    Raises:
        StoreUnavailableError: it is damaged.
    """
    try:
        rest = json.loads(metadata["item"])
        item = Item(
            value=json.loads(text),
            key=rest["key"],
            namespace=tuple(rest["namespace"]),
            created_at=datetime.fromisoformat(rest["created_at"]),
            updated_at=datetime.fromisoformat(rest["updated_at"]),
        )
        raw = [base64.b64decode(each) for each in rest["vectors"]]
        vectors = tuple(np.frombuffer(each, dtype="<f2").astype(np.float32) for each in raw)
        return StoredItem(item, text, vectors, rest["ttl"], metadata.get("expires_at"))
    except (KeyError, TypeError, ValueError) as error:
        msg = "Expected readable items, got a damaged one; write it again."
        raise StoreUnavailableError(msg) from error


def _field(depth: int) -> str:
    return f"label_{depth}"
