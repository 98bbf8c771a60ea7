from __future__ import annotations

from datetime import UTC, datetime

import pytest

from la_agents import Preference
from la_agents_server.page.view import PAGE_SIZE, View


def preference(number: int, text: str = "I like tea.") -> Preference:
    at = datetime(2026, 1, 1, tzinfo=UTC)
    return Preference(id=f"p{number}", user_id="a", text=text, created_at=at, updated_at=at)


@pytest.mark.parametrize("find", ["", "tea", "a&b=c", "100% <b>", "é 会 🏴", "+ +", "x#y?z"])
@pytest.mark.parametrize("past", [True, False])
@pytest.mark.parametrize("page", [1, 2, 999])
def test_a_view_is_carried_along_in_links(find: str, past: bool, page: int) -> None:
    view = View(find, past, page)
    assert View.of(view.query()) == view
    assert View.of(view.query(done="changed", id="x&past=1")) == view


@pytest.mark.parametrize(
    "query",
    [
        "",
        "page=0",
        "page=-1",
        "page=x",
        "page=²",
        "page=" + "9" * 5_000,
        "past=true",
        "&&=",
        "find=",
        "other=1",
        "a=1;b=2",
    ],
)
def test_a_query_that_makes_no_sense_shows_the_first_page(query: str) -> None:
    assert View.of(query) == View()


def test_a_long_query_is_cut() -> None:
    assert len(View.of("find=" + "x" * 10_000).find) == 200


@pytest.mark.parametrize("number", [0, 1, PAGE_SIZE, PAGE_SIZE + 1, 3 * PAGE_SIZE, 5_000])
def test_pages_hold_everything_once(number: int) -> None:
    known = [preference(i) for i in range(number)]
    first = View().shown(known)
    pages = [View(page=page).shown(known) for page in range(1, first.num_pages + 1)]
    assert [each.id for page in pages for each in page.preferences] == [each.id for each in known]
    assert all(page.num_found == number for page in pages)
    assert max(len(page.preferences) for page in pages) <= PAGE_SIZE
    beyond = View(page=first.num_pages + 7).shown(known)
    assert beyond == pages[-1]


def test_words_are_found_however_they_are_written() -> None:
    texts = ["I like green tea.", "I like GREEN apples.", "Ich mag grünen Tee.", "Straße frei.", "\ufb01sh and chips"]
    known = [preference(i, text) for i, text in enumerate(texts)]

    def found(words: str) -> list[str]:
        return [each.text for each in View(find=words).shown(known).preferences]

    assert found("green") == texts[:2]
    assert found("TEA green") == texts[:1]
    assert found("grunen") == found("GRÜNEN") == texts[2:3]
    assert found("strasse") == texts[3:4]
    assert found("fish") == texts[4:]
    assert found("nothing") == []
    assert found("   ") == texts
