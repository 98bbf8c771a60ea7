"""Preferences as LangGraph items: under `("preferences", user_id)` are the records of a `PreferenceStore`."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from langgraph.store.base import GetOp, Item, PutOp, SearchItem, SearchOp

from la_agents.errors import ConfigurationError, InvalidPreferenceError, PreferenceNotFoundError
from la_agents.preferences import Preference, PreferenceStore, as_draft, utc_now
from la_agents_langgraph.matching import passes
from la_agents_langgraph.records import Namespace

__all__ = ["PREFERENCES", "PreferenceItems"]

PREFERENCES = "preferences"

_KEY = re.compile(r"[A-Za-z0-9_-]{1,64}")
_FIELDS = ("text", "scope", "weight", "source", "confidence", "half_life_days", "expires_at", "metadata")


class PreferenceItems:
    """Items under `("preferences", user_id)`: the key is the preference's id, the value has its fields.

    Values are written with at least `text`; the rest keeps its defaults, or stays as it is. A value with `content`
    instead is LangMem's: what an agent concluded. It counts as inferred. What ranks below the preference under its key
    waits as a proposal. A deleted item is a forgotten preference: `PreferenceStore.undo` brings it back. Preferences
    are always indexed, and are not consolidated when they are written by key.
    """

    def __init__(self, store: PreferenceStore) -> None:
        self.store = store

    def is_in_charge(self, namespace: Namespace) -> bool:
        """Whether a namespace, or a prefix, is one of preferences.

        Raises:
            ConfigurationError: it would reach across users, or names no place where a preference could be.
        """
        if namespace[:1] != (PREFERENCES,):
            return False
        if len(namespace) != 2:
            msg = f"Expected the namespace ({PREFERENCES!r}, user_id), got {len(namespace)} labels; name one user."
            raise ConfigurationError(msg)
        return True

    def get(self, op: GetOp) -> Item | None:
        """One active preference."""
        found = self._known(op.namespace[1], op.key)
        return None if found is None or not found.is_active() else Item(**_fields(found, op.namespace))

    def search(self, op: SearchOp) -> list[SearchItem]:
        """The user's active preferences: by similarity to the query, or the oldest first."""
        user = op.namespace_prefix[1]
        if op.query and op.query.strip():
            everything = self.store.count(user)
            found = [(s.preference, s.relevance) for s in self.store.search(user, op.query, k=everything)]
        else:
            found = [(preference, None) for preference in self.store.list(user)]
        items = [SearchItem(**_fields(preference, op.namespace_prefix), score=score) for preference, score in found]
        return [item for item in items if passes(item.value, op.filter)][op.offset : op.offset + op.limit]

    def check(self, op: PutOp) -> None:
        """Raise InvalidPreferenceError unless the value is a preference, and the key an id that one can have."""
        if op.value is None:
            return
        as_draft(_values(op.value, op.ttl))
        if not _KEY.fullmatch(op.key):
            msg = f"Expected a key of 1 to 64 letters, digits, - and _, got {op.key!r}."
            raise InvalidPreferenceError(msg)

    def put(self, op: PutOp) -> None:
        """Write, or forget, one preference that was checked."""
        user, key = op.namespace[1], op.key
        known = self._known(user, key)
        if op.value is None:
            if known is not None and known.is_active():
                self.store.forget(user, key)
            return
        values = _values(op.value, op.ttl)
        if known is not None and known.outranks(as_draft({"source": known.source, **values})):
            named = [key] if known.is_active() else []
            self.store.proposals.add(user, [{"scope": known.scope, **values, "supersedes": named}])
        elif known is None or not known.is_active():
            line = json.dumps({"source": "explicit", **values, "id": key}, ensure_ascii=False, default=str)
            self.store.import_(user, io.StringIO(line))
        else:
            self.store.update(user, key, **values)

    def _known(self, user: str, key: str) -> Preference | None:
        try:
            return self.store.get(user, key)
        except PreferenceNotFoundError:
            return None


def _fields(preference: Preference, namespace: Namespace) -> dict[str, Any]:
    value = preference.model_dump(mode="json", include={*_FIELDS})
    return {
        "namespace": namespace,
        "key": preference.id,
        "value": {name: each for name, each in value.items() if each is not None},
        "created_at": preference.created_at,
        "updated_at": preference.updated_at,
    }


def _values(value: Mapping[str, Any], ttl: float | None) -> dict[str, Any]:
    """The preference's fields in an item's value."""
    values = dict(value)
    if "text" not in values and isinstance(values.get("content"), str):
        text = values.pop("content")
        values = {"source": "inferred", **values, "text": text}
    unknown = values.keys() - set(_FIELDS)
    if unknown or "text" not in values:
        what = f"{sorted(unknown)} as well" if unknown else "no text"
        msg = f"Expected a preference with text and any of {', '.join(_FIELDS[1:])}, got {what}."
        raise InvalidPreferenceError(msg)
    if isinstance(values.get("expires_at"), str):
        values["expires_at"] = _time(values["expires_at"])
    if ttl is not None:
        values["expires_at"] = utc_now() + timedelta(minutes=ttl)
    return values


def _time(text: str) -> datetime:
    try:
        return datetime.fromisoformat(text.replace("Z", "+00:00"))
    except ValueError as error:
        msg = f"expires_at: Expected a time such as 2030-01-01T00:00:00+00:00, got {text!r}."
        raise InvalidPreferenceError(msg) from error
