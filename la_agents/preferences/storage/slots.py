"""Slots: where one user's records lie, numbered from 0, so that they are found by their ids and nothing is searched.

Chroma finds a record by its id through an index, whatever the collection holds, but filters metadata by scanning. So a
record's id is its user and its slot (`records.record_id`), and a user is read by asking for slots: a window of them at
a time, the next one only where the last slot of a window is taken. New records go to the slots after the last, and only
the erasure of a whole user frees any, so that no window but the last has room. Pure arithmetic; no Chroma here.
"""

from __future__ import annotations

import itertools
import threading
from collections import OrderedDict
from collections.abc import Collection, Hashable, Iterable, Iterator, Mapping, MutableMapping
from dataclasses import dataclass, field

__all__ = ["KnownSlots", "Places", "ends_window", "reachable", "windows"]

_FIRST_SIZE = 32
_MAX_SIZE = 1_024


def windows() -> Iterator[range]:
    """The slots that are asked for at once, without end: 32, then twice as many each time, up to 1,024."""
    start, size = 0, _FIRST_SIZE
    while True:
        yield range(start, start + size)
        start, size = start + size, min(2 * size, _MAX_SIZE)


def ends_window(slot: int) -> bool:
    """Whether it is the last slot of a window: where it is taken, the next window has to be read."""
    stop = slot + 1
    growing = _MAX_SIZE - _FIRST_SIZE  # where the windows of 32 to 512 end: 32 + 64 + ... + 512 = 1,024 - 32
    if stop > growing:
        return (stop - growing) % _MAX_SIZE == 0
    return stop in itertools.accumulate(_FIRST_SIZE << n for n in range((_MAX_SIZE // _FIRST_SIZE).bit_length() - 1))


def reachable(taken: Collection[int]) -> set[int]:
    """The taken slots that a reader reaches."""
    found: set[int] = set()
    for window in windows():
        found.update(slot for slot in window if slot in taken)
        if window[-1] not in taken:
            break
    return found


_MAX_USERS = 1_000


class KnownSlots:
    """A cache of the slots of recent users' preferences, which saves reading all of a user's slots; thread-safe.

    A slot has to be checked before it is used: another process may have changed what lies there.
    """

    def __init__(self) -> None:
        self._slots: OrderedDict[tuple[str, Hashable], dict[str, int]] = OrderedDict()
        self._lock = threading.Lock()

    def of(self, user: str, shard: Hashable, ids: Iterable[str]) -> dict[str, int]:
        """The slots of those of these preferences that are known."""
        with self._lock:
            known = self._slots.get((user, shard), {})
            return {id: known[id] for id in ids if id in known}

    def note(self, user: str, shard: Hashable, slots: Mapping[str, int]) -> None:
        """Remember where preferences lie."""
        with self._lock:
            self._slots.setdefault((user, shard), {}).update(slots)
            self._slots.move_to_end((user, shard))
            if len(self._slots) > _MAX_USERS:
                self._slots.popitem(last=False)

    def forget(self, user: str) -> None:
        """Know nothing of a user any more."""
        with self._lock:
            for key in [key for key in self._slots if key[0] == user]:
                del self._slots[key]


@dataclass(slots=True)
class Places:
    """Which slot each of a user's preferences has.

    Attributes:
        slots: By preference id.
        end: The slot after the last that is taken by anything.
        shard: Identity of the collection that was looked at; None before any was.
    """

    slots: MutableMapping[str, int] = field(default_factory=dict)
    end: int = 0
    shard: object = None

    def begin(self, shard: object) -> None:
        """Forget everything, unless it was learnt from this collection: in others, slots are others."""
        if self.shard != shard:
            self.forget()
            self.shard = shard

    def forget(self) -> None:
        """Know nothing, to learn it anew."""
        self.slots.clear()
        self.end, self.shard = 0, None

    def note(self, slot: int, id: str | None) -> None:
        """The slot is taken, by this preference or by something else; of two slots of one preference the first counts.

        Slots are noted in rising order.
        """
        self.end = slot + 1
        if id is not None and id not in self.slots:
            self.slots[id] = slot

    def missing(self, ids: Iterable[str]) -> list[str]:
        """Those that have no slot."""
        return [id for id in dict.fromkeys(ids) if id not in self.slots]
