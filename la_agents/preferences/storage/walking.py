"""Reading one user's slots: window by window, or all in one query."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import TYPE_CHECKING

from la_agents.preferences.storage.records import record_id, record_ids
from la_agents.preferences.storage.slots import windows

if TYPE_CHECKING:
    from chromadb.api.models.Collection import Collection
    from chromadb.api.types import GetResult, Include, Where

__all__ = ["at_once", "next_page", "walk"]

_MAX_AT_ONCE = 20_000  # SQLite takes 32 thousand values in a query


def walk(shard: Collection, user: str, where: Where | None, include: Include, start: int = 0) -> Iterator[GetResult]:
    """The user's slots, a window at a time, up to the first that has room."""
    for window in windows():
        if window[-1] < start:
            continue
        slots = window[max(0, start - window[0]) :]
        page = shard.get(ids=record_ids(user, slots), where=where, include=include)
        yield page
        if record_id(user, window[-1]) not in page["ids"]:
            return


def at_once(shard: Collection, user: str, where: Where | None, include: Include) -> Iterator[GetResult]:
    """The user's slots as they are at one moment: in one query, unless they are very many."""
    first = next(walk(shard, user, where, include))
    if record_id(user, next(windows())[-1]) not in first["ids"]:
        yield first
        return
    num_windows = sum(1 for _ in walk(shard, user, None, []))
    for window in itertools.islice(windows(), num_windows - 1, None):
        if window.stop > _MAX_AT_ONCE:
            yield from walk(shard, user, where, include)
            return
        page = shard.get(ids=record_ids(user, range(window.stop)), where=where, include=include)
        if record_id(user, window[-1]) not in page["ids"]:
            yield page
            return


def next_page(walk: Iterator[GetResult]) -> tuple[GetResult, Iterator[GetResult]] | None:
    """The page that comes next, and the walk from there on; None at the end."""
    page = next(walk, None)
    return None if page is None else (page, walk)
