"""Answer log: which preferences the latest answers used, so that they can be rated, and how much each one did.

It holds ids and numbers, no texts.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any, NamedTuple

from langchain_core.messages import AIMessage

from la_agents_server.database import Database

__all__ = ["AnswerLog", "Use"]

_MAX_ANSWERS = 10_000


class Use(NamedTuple):
    """How a preference was used.

    Attributes:
        number: In how many answers.
        moved: Nats per token by which it raised the tokens chosen, as a mean over these answers; of preferences
            that were aligned with together, each is given the whole.
        last_at: When it was last used, in seconds since 1970.
    """

    number: int
    moved: float
    last_at: float


class AnswerLog:
    """Remembers answers in memory, the latest ten thousand, and uses in the database."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._lock = threading.Lock()
        self._answers: OrderedDict[str, tuple[str, tuple[str, ...]]] = OrderedDict()

    def note(self, id: str, user: str, report: Mapping[str, Any] | None) -> None:
        """Remember an answer by its alignment report."""
        principles = (report or {}).get("principles") or []
        own = {i: p["id"] for i, p in enumerate(principles) if p.get("id") and p.get("layer") == "user"}
        with self._lock:
            self._answers[id] = (user, tuple(own.values()))
            while len(self._answers) > _MAX_ANSWERS:
                self._answers.popitem(last=False)
        moved, now = _moved(report or {}), time.time()
        rows = [(user, preference, moved.get(place, 0.0), now) for place, preference in own.items()]
        if rows:
            sql = (
                "INSERT INTO uses (user, preference, number, moved, last_at) VALUES (?, ?, 1, ?, ?) "
                "ON CONFLICT DO UPDATE SET number = number + 1, last_at = excluded.last_at, "
                "moved = moved + (excluded.moved - moved) / (number + 1)"
            )
            self._database.write_many(sql, rows)

    def get(self, id: str, user: str) -> AIMessage | None:
        """An answer that this user was given, as a message that says what it used; another user's is none."""
        with self._lock:
            owner, used = self._answers.get(id, (None, ()))
        if owner != user:
            return None
        principles = [{"id": preference, "layer": "user"} for preference in used]
        return AIMessage("", response_metadata={"alignment": {"principles": principles}})

    def uses(self, user: str) -> dict[str, Use]:
        """How each preference of a user was used, by its id."""
        rows = self._database.rows("SELECT preference, number, moved, last_at FROM uses WHERE user = ?", [user])
        return {row["preference"]: Use(row["number"], row["moved"], row["last_at"]) for row in rows}

    def erase(self, user: str) -> None:
        """Forget all that is known of a user."""
        with self._lock:
            for id in [id for id, (owner, _) in self._answers.items() if owner == user]:
                del self._answers[id]
        self._database.write("DELETE FROM uses WHERE user = ?", [user])


def _moved(report: Mapping[str, Any]) -> dict[int, float]:
    """By the place of each principle, what the branch that held it did."""
    return {place: branch["contribution"] for branch in report.get("branches") or [] for place in branch["principles"]}
