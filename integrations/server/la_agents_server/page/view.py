"""View: which of a user's preferences the memory page shows: those found, now or past, a page of them at a time."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence
from typing import NamedTuple
from urllib.parse import parse_qs, urlencode

from la_agents import Preference

__all__ = ["PAGE_SIZE", "Shown", "View"]

PAGE_SIZE = 50
_MAX_FIND_CHARS = 200


class Shown(NamedTuple):
    """A page of preferences.

    Attributes:
        preferences: Those of this page.
        page: Its number, from 1.
        num_pages: How many there are; at least one.
        num_found: Preferences on all pages.
    """

    preferences: Sequence[Preference]
    page: int
    num_pages: int
    num_found: int


class View(NamedTuple):
    """What a reader looks at; links and forms carry it along as a query string, so that a change leaves it as it was.

    Attributes:
        find: Words that a preference must hold, all of them.
        past: Whether those are shown that no longer count.
        page: The page's number, from 1.
    """

    find: str = ""
    past: bool = False
    page: int = 1

    @classmethod
    def of(cls, query: str) -> View:
        """Read a query string; whatever makes no sense is as if it were not there."""
        values = {name: each[-1] for name, each in parse_qs(query).items()}
        page = values.get("page", "")
        number = int(page) if page.isascii() and page.isdecimal() and len(page) < 10 else 1
        return cls(values.get("find", "")[:_MAX_FIND_CHARS].strip(), values.get("past") == "1", max(number, 1))

    def query(self, **others: str) -> str:
        """As a query string, with other fields beside; what is as usual is left out."""
        own = {"find": self.find, "past": "1" if self.past else "", "page": str(self.page) if self.page > 1 else ""}
        return urlencode({name: value for name, value in {**own, **others}.items() if value})

    def at(self, page: int) -> str:
        """The query string of another page."""
        return self._replace(page=page).query()

    def of_past(self, *, past: bool) -> str:
        """The query string of what counts no more, or of what counts; the words to find stay."""
        return self._replace(past=past, page=1).query()

    def shown(self, preferences: Iterable[Preference]) -> Shown:
        """The page of those that hold the words; the last page where there are not so many."""
        words = _folded(self.find).split()
        found = [each for each in preferences if not words or _holds(_folded(each.text), words)]
        num_pages = max(-(-len(found) // PAGE_SIZE), 1)
        page = min(self.page, num_pages)
        return Shown(found[(page - 1) * PAGE_SIZE : page * PAGE_SIZE], page, num_pages, len(found))


def _holds(text: str, words: Sequence[str]) -> bool:
    return all(word in text for word in words)


def _folded(text: str) -> str:
    """Without what people do not type when they look for something: capitals, accents, and forms of one letter."""
    letters = unicodedata.normalize("NFKD", text.casefold())
    return "".join(letter for letter in letters if not unicodedata.combining(letter))
