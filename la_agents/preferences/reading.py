"""Reading: what an owner has, in order."""

from __future__ import annotations

from datetime import datetime
from typing import get_args

from la_agents.errors import ConfigurationError
from la_agents.preferences.ledger import Ledger
from la_agents.preferences.preference import Preference, Scope
from la_agents.preferences.retrieval.ranking import in_order

__all__ = ["active", "archived"]


def active(ledger: Ledger, owner: str, scope: Scope | None, as_of: datetime | None) -> list[Preference]:
    """The active ones, of a scope if one is given, the oldest first; see `PreferenceStore.list`."""
    if scope not in (None, *get_args(Scope)):
        msg = f"Expected scope to be one of {', '.join(get_args(Scope))}, got {scope!r}."
        raise ConfigurationError(msg)
    found = ledger.active(owner, as_of=as_of)
    return in_order([record for record in found if scope in (None, record.preference.scope)])


def archived(ledger: Ledger, owner: str) -> list[Preference]:
    """The superseded, expired, forgotten and rejected ones, the oldest first."""
    records = ledger.read(owner, archived=True, history=False)
    return in_order([record for record in records if record.preference.state not in ("active", "pending")])
