"""ChromaStore: LangGraph's long-term memory on Chroma, with the preferences of `PreferenceStore` in it.

Here are the operations of `BaseStore`; the layout is in `shards.py`, the embedding in `index.py`.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Literal

from langchain_core.runnables import run_in_executor
from langgraph.store.base import (
    BaseStore,
    GetOp,
    IndexConfig,
    Item,
    ListNamespacesOp,
    Op,
    PutOp,
    Result,
    SearchItem,
    SearchOp,
    TTLConfig,
)

from la_agents.errors import ConfigurationError
from la_agents.preferences import Connection, PreferenceStore, utc_now
from la_agents_langgraph.index import TextIndex, Vectors, scores
from la_agents_langgraph.matching import matches_condition, passes
from la_agents_langgraph.preference_items import PREFERENCES, PreferenceItems
from la_agents_langgraph.records import Namespace, StoredItem, as_text
from la_agents_langgraph.shards import ItemShards
from la_agents_langgraph.sweeper import Sweeper

if TYPE_CHECKING:
    from chromadb.api import ClientAPI

__all__ = ["ChromaStore"]

_SWEEP_MINUTES = 5.0


class ChromaStore(BaseStore):
    """A `BaseStore` that keeps its items in Chroma; safe to share between threads and tasks.

    It behaves as LangGraph's `InMemoryStore` does: in a batch, what is read is as it was before the batch, and of
    several writes to one key the last one counts. Beyond that, items can expire (`ttl`, in minutes), and a written item
    keeps the time it was first created. Search compares exactly with all that lies under the prefix and passes the
    filter; what it costs grows with their number. On any error of a value, nothing of the batch is written.

    Items under `("preferences", user_id)` are the user's preferences, the same records that `preferences` has. They can
    be listed and searched for one user at a time, and `list_namespaces` does not tell whose there are.

    Args:
        path: Folder of an embedded store; `PreferenceStore` may stand on the same one. One process at a time.
        url: A Chroma server, such as `http://host:8000`.
        client: A chromadb client of your own; it is not closed with the store.
        index: LangGraph's index configuration; by default the bundled all-MiniLM-L6-v2 on the whole value, None for no
            semantic search.
        ttl: LangGraph's TTL configuration: `default_ttl`, `refresh_on_read`, `sweep_interval_minutes`.
        preferences: The user preferences to show; by default those in the same place.
        name: Prefix of the Chroma collections, for several stores in one place.
        clock: What time it is.

    Raises:
        ConfigurationError: not exactly one of path, url and client is given.
    """

    supports_ttl = True

    def __init__(
        self,
        path: str | Path | None = None,
        *,
        url: str | None = None,
        client: ClientAPI | None = None,
        index: IndexConfig | Literal["bundled"] | None = "bundled",
        ttl: TTLConfig | None = None,
        preferences: PreferenceStore | None = None,
        name: str = "la-agents-items",
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        self.ttl_config = ttl
        self._connection = Connection(path, url, client)
        self._index = TextIndex(index)
        self._shards = ItemShards(self._connection, name, self._index.identity, self._index.dimension)
        self._owns_preferences = preferences is None
        self._preferences = PreferenceItems(preferences or PreferenceStore(path, url=url, client=client))
        self._clock = clock
        self._sweeper = Sweeper(self.sweep_ttl)
        self._writing = threading.RLock()  # a write reads first, when the item was created

    @property
    def preferences(self) -> PreferenceStore:
        """The preferences that it shows."""
        return self._preferences.store

    def batch(self, ops: Iterable[Op]) -> list[Result]:
        """Do several operations: reads first, then writes; the results stand in the order of the operations."""
        ops = self._checked(ops)
        return self._done(ops, *self._index.embed(self._texts(ops), self._queries(ops)))

    async def abatch(self, ops: Iterable[Op]) -> list[Result]:
        """Do what `batch` does, without blocking the event loop."""
        ops = self._checked(ops)
        vectors = await self._index.aembed(self._texts(ops), self._queries(ops))
        return await run_in_executor(None, self._done, ops, *vectors)

    def sweep_ttl(self) -> int:
        """Remove what has expired, and return how many items that were; until then they only are invisible."""
        with self._writing:  # nothing is renewed between the look and the deletion
            return self._shards.delete_expired(self._clock().timestamp())

    def start_ttl_sweeper(self, sweep_interval_minutes: float | None = None) -> None:
        """Sweep in the background from now on, at this interval, else the TTL configuration's, else 5 minutes."""
        configured = (self.ttl_config or {}).get("sweep_interval_minutes")
        self._sweeper.start(sweep_interval_minutes or configured or _SWEEP_MINUTES)

    def stop_ttl_sweeper(self, timeout: float | None = None) -> bool:
        """Stop sweeping, and return whether it ended within `timeout` seconds."""
        return self._sweeper.stop(timeout)

    def close(self) -> None:
        """Stop sweeping and let go of the folder or the connection; preferences given by the caller stay open."""
        self._sweeper.stop()
        if self._owns_preferences:
            self.preferences.close()
        self._connection.close()

    def __enter__(self) -> ChromaStore:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # -- a batch -------------------------------------------------------------------------------------------------------

    def _checked(self, ops: Iterable[Op]) -> list[Op]:
        ops = [*ops]
        for op in ops:
            if not isinstance(op, (GetOp, SearchOp, ListNamespacesOp, PutOp)):
                msg = f"Expected a GetOp, SearchOp, ListNamespacesOp or PutOp, got {type(op).__name__}."
                raise ConfigurationError(msg)
            if isinstance(op, PutOp) and op.value is not None:
                as_text(op.value)
        return ops

    def _texts(self, ops: Sequence[Op]) -> list[str]:
        return [text for op in _puts(ops) if op.namespace[:1] != (PREFERENCES,) for text in self._index.texts(op)]

    def _queries(self, ops: Sequence[Op]) -> list[str]:
        searches = [op for op in ops if isinstance(op, SearchOp) and op.namespace_prefix[:1] != (PREFERENCES,)]
        return [op.query for op in searches if op.query]

    def _done(self, ops: Sequence[Op], texts: Vectors, queries: Vectors) -> list[Result]:
        results: list[Result] = []
        for op in ops:
            if isinstance(op, GetOp):
                results.append(self._got(op))
            elif isinstance(op, SearchOp):
                results.append(self._found(op, queries))
            else:
                results.append(self._listed(op) if isinstance(op, ListNamespacesOp) else None)
        self._put(_puts(ops), texts)
        return results

    # -- reading -------------------------------------------------------------------------------------------------------

    def _got(self, op: GetOp) -> Item | None:
        if self._preferences.is_in_charge(op.namespace):
            return self._preferences.get(op)
        stored = self._shards.read(op.namespace, [op.key]).get(op.key)
        if stored is None or not stored.is_alive(self._clock()):
            return None
        self._refresh([stored], op.refresh_ttl)
        return stored.item

    def _found(self, op: SearchOp, queries: Vectors) -> list[SearchItem]:
        if self._preferences.is_in_charge(op.namespace_prefix):
            return self._preferences.search(op)
        now = self._clock()
        under = self._shards.under(op.namespace_prefix)
        passing = [each for each in under if each.is_alive(now) and passes(each.item.value, op.filter)]
        page = _page(passing, op, queries)
        self._refresh([stored for stored, _ in page], op.refresh_ttl)
        return [_search_item(stored.item, score) for stored, score in page]

    def _listed(self, op: ListNamespacesOp) -> list[Namespace]:
        now, conditions = self._clock(), op.match_conditions or ()
        alive = [each.item.namespace for each in self._shards.under(()) if each.is_alive(now)]
        fitting = {n for n in alive if all(matches_condition(n, condition) for condition in conditions)}
        cut = {n if op.max_depth is None else n[: op.max_depth] for n in fitting}
        return sorted(cut)[op.offset : op.offset + op.limit]

    def _refresh(self, read: Sequence[StoredItem], wanted: bool) -> None:
        mortal = [each for each in read if wanted and each.ttl is not None]
        if not mortal:
            return
        with self._writing:  # somebody may have written or deleted them since they were read
            for namespace in dict.fromkeys(each.item.namespace for each in mortal):
                keys = [each.item.key for each in mortal if each.item.namespace == namespace]
                there = self._shards.read(namespace, keys).values()
                self._shards.write([replace(s, expires_at=self._expiry(s.ttl)) for s in there if s.ttl is not None])

    # -- writing -------------------------------------------------------------------------------------------------------

    def _put(self, ops: Sequence[PutOp], texts: Vectors) -> None:
        of_preferences = [op for op in ops if self._preferences.is_in_charge(op.namespace)]
        others = [op for op in ops if op.namespace[:1] != (PREFERENCES,)]
        for op in of_preferences:
            self._preferences.check(op)
        with self._writing:
            new = [self._stored(op, texts) for op in others if op.value is not None]
            for op in of_preferences:
                self._preferences.put(op)
            self._shards.write(new)
            self._shards.delete([(op.namespace, op.key) for op in others if op.value is None])

    def _stored(self, op: PutOp, texts: Vectors) -> StoredItem:
        assert op.value is not None  # it would be a deletion
        now = self._clock()
        old = self._shards.read(op.namespace, [op.key]).get(op.key)
        created = old.item.created_at if old is not None and old.is_alive(now) else now
        text = as_text(op.value)
        item = Item(value=dict(op.value), key=op.key, namespace=op.namespace, created_at=created, updated_at=now)
        vectors = tuple(texts[each] for each in self._index.texts(op))
        return StoredItem(item, text, vectors, op.ttl, self._expiry(op.ttl))

    def _expiry(self, ttl: float | None) -> float | None:
        return None if ttl is None else self._clock().timestamp() + 60 * ttl


def _puts(ops: Sequence[Op]) -> list[PutOp]:
    """The writes; of several to one key, the last."""
    return [*{(op.namespace, op.key): op for op in ops if isinstance(op, PutOp)}.values()]


def _page(items: Sequence[StoredItem], op: SearchOp, queries: Vectors) -> Sequence[tuple[StoredItem, float | None]]:
    """The asked part of the result: the most similar first, then what has no vector; without a query as it comes."""
    if not op.query or op.query not in queries:
        return [(stored, None) for stored in items[op.offset : op.offset + op.limit]]
    rated = [*zip(items, scores(queries[op.query], items), strict=True)]
    scored = sorted((pair for pair in rated if pair[1] is not None), key=lambda pair: -(pair[1] or 0.0))
    page = scored[op.offset : op.offset + op.limit]
    rest = [pair for pair in rated if pair[1] is None]
    return [*page, *rest[: op.limit - len(page)]]


def _search_item(item: Item, score: float | None) -> SearchItem:
    return SearchItem(
        namespace=item.namespace,
        key=item.key,
        value=item.value,
        created_at=item.created_at,
        updated_at=item.updated_at,
        score=score,
    )
