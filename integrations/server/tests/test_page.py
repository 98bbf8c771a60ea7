"""The page without JavaScript: its forms, as a browser sends them."""

from __future__ import annotations

import html
import re
from pathlib import Path
from typing import Any

import httpx
import pytest
from running import Served, served

from la_agents_server.page import memory
from la_agents_server.page.rendering import STATIC, translation
from tests.tiny import tiny_model

TEMPLATES = STATIC.parent / "templates"
HOSTILE = ["<script>alert(1)</script>", "أحب الشاي الأخضر", "x" * 2_000, "🏴‍☠️ \"quotes\" & 'more' {{ 7*7 }}"]


@pytest.fixture
def page(tiny_server: Served, request: pytest.FixtureRequest) -> httpx.Client:
    """A browser that is signed in as a user of its own."""
    return browser(tiny_server, f"page: {request.node.name}")


def browser(server: Served, user: str | None, language: str = "en") -> httpx.Client:
    headers = {"accept": "text/html", "sec-fetch-site": "same-origin", "accept-language": language}
    http = httpx.Client(base_url=server.url, headers=headers, timeout=60, follow_redirects=True)
    answer = http.post("/signin", data={"secret": server.services.sign_ins.link(user)})
    assert answer.status_code == 200
    return http


def test_a_link_signs_in_once_and_out_again(tiny_server: Served) -> None:
    link = tiny_server.services.sign_ins.link("alice")
    http = tiny_server.http(headers={"accept": "text/html", "sec-fetch-site": "same-origin"})
    assert http.get("/").headers["location"] == "/signin"
    for _ in range(2):  # to look at it is not to use it
        assert link in http.get(f"/signin?token={link}").text
    signed_in = http.post("/signin", data={"secret": link})
    cookie = signed_in.headers["set-cookie"]
    assert (signed_in.status_code, signed_in.headers["location"]) == (303, "/")
    assert all(part in cookie for part in ("HttpOnly", "SameSite=strict", "Path=/", "Max-Age="))
    assert "What is remembered of you" in http.get("/").text
    again = httpx.post(f"{tiny_server.url}/signin", data={"secret": link}, headers={"sec-fetch-site": "same-origin"})
    assert again.status_code == 403
    kept = dict(http.cookies)
    http.post("/signout")
    assert httpx.get(tiny_server.url, cookies=kept, headers={"accept": "text/html"}).status_code == 303


def test_behind_tls_cookies_go_over_tls_alone(tmp_path: Path) -> None:
    with served(tmp_path, {"model": tiny_model("llama")}, secure_cookies=True) as server:
        http = server.http(headers={"sec-fetch-site": "same-origin"})
        cookie = http.post("/signin", data={"secret": server.services.sign_ins.link("a")}).headers["set-cookie"]
    assert "Secure" in cookie.split("; ")


def test_a_key_signs_in_and_its_end_signs_out(tiny_server: Served) -> None:
    key, text = tiny_server.services.keys.add("personal", user="alice")
    http = tiny_server.http(headers={"accept": "text/html", "sec-fetch-site": "same-origin"})
    assert http.post("/signin", data={"secret": text}).status_code == 303
    assert http.get("/").status_code == 200
    tiny_server.services.keys.revoke(key.id)
    assert http.get("/").status_code == 303
    assert http.post("/signin", data={"secret": tiny_server.application()}).status_code == 403


@pytest.mark.parametrize(
    "headers",
    [{"sec-fetch-site": "cross-site"}, {"sec-fetch-site": "same-site"}, {"origin": "http://evil.example"}, {}],
)
def test_another_sites_page_can_change_nothing(
    tiny_server: Served, page: httpx.Client, headers: dict[str, str]
) -> None:
    del page.headers["sec-fetch-site"]
    for path in ("/memory", "/data/erase", "/signout", "/v1/preferences", "/signin"):
        answer = page.post(path, headers=headers | {"accept": "application/json"})
        assert (answer.status_code, answer.json()["error"]["code"]) == (403, "cross_site")
    assert page.get("/v1/preferences").json()["data"] == []
    same = page.post("/memory", data={"text": "I like tea."}, headers={"origin": tiny_server.url})
    assert same.status_code == 200


@pytest.mark.parametrize(
    ("method", "path", "data", "status"),
    [
        ("GET", "/nowhere", None, 404),
        ("GET", "/keys", None, 403),
        ("POST", "/memory/x/edit", {"text": "x"}, 400),
        ("POST", "/memory/x/explode", {}, 400),
        ("POST", "/memory", {"text": "x", "scope": "never"}, 400),
        ("PUT", "/memory", None, 405),
        ("POST", "/data/import", {}, 400),
    ],
)
def test_a_person_is_told_on_a_page_what_went_wrong(
    tiny_server: Served, page: httpx.Client, method: str, path: str, data: Any, status: int
) -> None:
    for http, words in ((page, "Back to the start"), (browser(tiny_server, "greta", "de"), "Zurück zum Anfang")):
        shown = http.request(method, path, data=data)
        assert shown.status_code == status
        assert shown.headers["content-type"].startswith("text/html")
        assert words in shown.text
        assert "{" not in shown.text
        http.headers["accept"] = "application/json"
        assert http.request(method, path, data=data).json()["error"]["message"]


def test_whoever_is_not_signed_in_any_more_is_asked_to_sign_in(tiny_server: Served, page: httpx.Client) -> None:
    page.cookies.clear()
    for method, path in (("GET", "/"), ("POST", "/memory"), ("POST", "/data/erase"), ("GET", "/keys")):
        assert page.request(method, path).url.path == "/signin"


def test_a_mistake_is_explained_in_the_language_of_the_page(tiny_server: Served) -> None:
    german = browser(tiny_server, "greta", "de")
    shown = german.post("/memory", data={"text": " "}).text
    assert "Das ging nicht." in shown
    assert '<span lang="en">text: Expected' in shown
    assert "Setze zuerst das Häkchen" in german.post("/data/erase").text


def test_what_replaces_another_says_so_and_can_be_taken_back(page: httpx.Client) -> None:
    old = page.post("/v1/preferences", json={"text": "I like coffee."}).json()["id"]
    shown = page.post("/memory", data={"text": "I do not like coffee."}).text
    assert "It replaces:" in shown
    (undo,) = re.findall(r'action="(/memory/\w+/undo)"><button class="plain">Undo', shown)
    assert "Taken back." in page.post(undo).text
    assert page.get(f"/v1/preferences/{old}").json()["state"] == "active"
    assert "It replaces:" not in page.post("/memory", data={"text": "I like tea."}).text


def test_what_is_remembered_can_be_changed_forgotten_and_brought_back(page: httpx.Client) -> None:
    shown = page.post("/memory", data={"text": "I like tea.", "scope": "always"}).text
    assert "Remembered." in shown
    (id,) = re.findall(r'id="p-(\w+)"', shown)
    form = {"text": "I like green tea.", "scope": "relevant", "weight": "3", "expires": "2100-01-01"}
    changed = page.post(f"/memory/{id}/edit", data=form).text
    assert "I like green tea." in changed
    assert "strong" in changed
    assert "January 1, 2100" in changed
    known = page.get(f"/v1/preferences/{id}").json()
    assert (known["weight"], known["scope"]) == (2.0, "relevant")
    assert "Changed" in page.get(f"/memory/{id}").text
    forgotten = page.post(f"/memory/{id}/forget").text
    assert f'action="/memory/{id}/undo"' in forgotten
    page.post(f"/memory/{id}/undo")
    assert page.get(f"/v1/preferences/{id}").json()["state"] == "active"
    assert "Expected" in page.post("/memory/none/forget").text
    assert page.post("/memory", data={"text": "  "}).status_code == 400


def test_a_slider_that_was_not_touched_changes_no_weight(page: httpx.Client) -> None:
    id = page.post("/v1/preferences", json={"text": "I like tea.", "weight": 1.19}).json()["id"]
    page.post(f"/memory/{id}/edit", data={"text": "I like tea.", "scope": "relevant", "weight": "2"})
    known = page.get(f"/v1/preferences/{id}").json()
    assert known["weight"] == 1.19
    assert len(page.get(f"/v1/preferences/{id}/history").json()["data"]) == 1


def test_proposals_are_approved_and_rejected(
    tiny_server: Served, page: httpx.Client, request: pytest.FixtureRequest
) -> None:
    proposals = tiny_server.services.store.proposals
    jazz, opera = proposals.add(
        f"page: {request.node.name}",
        ["I love jazz.", {"text": "I hate opera.", "metadata": {"evidence": "Never opera!"}}],
    )
    shown = page.get("/").text
    assert "May this be remembered?" in shown
    assert "Never opera!" in shown
    assert "Approved." in page.post(f"/memory/{jazz.id}/approve").text
    assert "Rejected." in page.post(f"/memory/{opera.id}/reject").text
    assert [p["id"] for p in page.get("/v1/preferences").json()["data"]] == [jazz.id]


def test_possible_conflicts_stand_side_by_side_until_they_are_decided(page: httpx.Client) -> None:
    for text in ("I drink coffee every morning.", "In the morning I mostly drink coffee or tea."):
        page.post("/memory", data={"text": text})
    shown = page.get("/").text
    assert "Do these go together?" in shown
    older, newer = (re.findall(rf'name="{which}" value="(\w+)"', shown)[0] for which in ("older", "newer"))
    decided = page.post("/conflicts", data={"older": older, "newer": newer, "keep": "newer"}).text
    assert "Decided." in decided
    assert "Do these go together?" not in decided
    page.post(f"/memory/{older}/undo")
    assert page.get(f"/v1/preferences/{older}").json()["state"] == "active"


def test_a_question_shows_what_it_would_use(page: httpx.Client) -> None:
    page.post("/v1/preferences", json={"text": "I do not eat meat."})
    assert "fits the question" in page.get("/", params={"q": "Which meat could I eat?"}).text
    assert "Nothing of what is remembered." in page.get("/", params={"q": "What is the capital of Peru?"}).text


@pytest.mark.parametrize("text", HOSTILE, ids=["markup", "arabic", "long", "symbols"])  # a user is named by its test
def test_hostile_words_stay_words(page: httpx.Client, text: str) -> None:
    id = page.post("/v1/preferences", json={"text": text}).json()["id"]
    for path in ("/", f"/memory/{id}", f"/?q={'x' * 50}"):
        shown = page.get(path).text
        assert "<script>alert" not in shown
        assert text in html.unescape(shown)
        assert 'dir="auto"' in shown
    page.delete("/v1/preferences")


@pytest.fixture(scope="module")
def collector(tiny_server: Served) -> httpx.Client:
    """A user of 120 preferences that count and 60 that do not, ten of all counting in every answer."""
    store = tiny_server.services.store
    drafts = [{"text": f"I collect stamps of {year}.", "scope": "relevant"} for year in range(1800, 1970)]
    drafts += [{"text": f"Mention the ship number {number}.", "scope": "always"} for number in range(10)]
    known = store.add_many("collector", drafts, consolidate=False)
    for each in known[:60]:
        store.forget("collector", each.id)
    return browser(tiny_server, "collector")


def said(page: str) -> list[str]:
    """The preferences on a page; those of possible conflicts stand in forms."""
    return [
        html.unescape(text)
        for text in re.findall(r'<li class="card[^>]*>\s*<p class="said" dir="auto">(.*?)</p>', page)
    ]


def test_many_preferences_come_a_page_at_a_time(collector: httpx.Client) -> None:
    pages = [collector.get("/", params={"page": number}).text for number in (1, 2, 3, 99)]
    assert [len(said(page)) for page in pages] == [50, 50, 20, 20]
    assert said(pages[2]) == said(pages[3])
    texts = [text for page in pages[:3] for text in said(page)]
    assert {*texts[:10]} == {f"Mention the ship number {n}." for n in range(10)}  # those of every answer come first
    assert sorted(texts[10:]) == [f"I collect stamps of {year}." for year in range(1860, 1970)]
    assert "Page 2 of 3" in pages[1]
    assert re.findall(r'rel="(\w+)" href="/\?([^"]*)"', pages[1]) == [("prev", ""), ("next", "page=3")]
    past = [collector.get("/", params={"past": 1, "page": number}).text for number in (1, 2)]
    texts = [text for page in past for text in said(page)]
    assert sorted(texts) == [f"I collect stamps of {year}." for year in range(1800, 1860)]
    assert "Nothing was replaced" not in past[0]


def test_of_very_many_preferences_conflicts_are_sought_when_asked(
    page: httpx.Client, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    for text in ("I drink coffee every morning.", "In the morning I mostly drink coffee or tea."):
        page.post("/memory", data={"text": text})
    monkeypatch.setattr(memory, "_COMPARED_UNASKED", 1)
    shown = page.get("/").text
    assert "Do these go together?" not in shown
    (link,) = re.findall(r'href="(/\?[^"]*conflicts=1)"', shown)
    assert "Do these go together?" in page.get(html.unescape(link)).text


def test_words_are_found_among_many(collector: httpx.Client) -> None:
    found = said(collector.get("/", params={"find": "STAMPS 195"}).text)
    assert sorted(found) == [f"I collect stamps of {year}." for year in range(1950, 1960)]
    past = collector.get("/", params={"find": "1835", "past": 1}).text
    assert said(past) == ["I collect stamps of 1835."]
    assert "Found: 1 of 60" in past
    hostile = '"><script>alert(1)</script>'
    nothing = collector.get("/", params={"find": hostile}).text
    assert said(nothing) == []
    assert "<script>alert" not in nothing


def test_what_is_done_on_a_page_leads_back_to_it(collector: httpx.Client) -> None:
    place = {"find": "stamps 19", "page": "2"}
    shown = collector.get("/", params=place).text
    (action, id), *_ = re.findall(r'action="(/memory/(\w+)/forget)"', shown)
    text = said(shown)[0]
    fields = dict(re.findall(r'<input type="hidden" name="(place)" value="(.*?)">', shown))
    there = {name: html.unescape(value) for name, value in fields.items()}
    forgotten = collector.post(action, data=there)
    assert dict(forgotten.url.params) == {**place, "done": "forgotten", "id": id}
    assert text not in said(forgotten.text)
    back = collector.post(f"/memory/{id}/undo", data=there)
    assert said(back.text) == said(shown)
    edit = {"text": text, "scope": "relevant", "weight": "2", **there}
    assert dict(collector.post(f"/memory/{id}/edit", data=edit).url.params) == place
    wrong = collector.post(f"/memory/{id}/edit", data={**edit, "expires": "soon"})
    assert (wrong.status_code, said(wrong.text)) == (400, said(shown))
    history = collector.get(f"/memory/{id}", params=place).text
    assert 'href="/?find=stamps+19&amp;page=2">Back to the memory' in history
    elsewhere = collector.post(f"/memory/{id}/forget", data={"place": "https://evil.example/?x=1"})
    assert elsewhere.url.path == "/"
    collector.post(f"/memory/{id}/undo")


def test_only_so_many_proposals_are_asked_about_at_once(
    tiny_server: Served, page: httpx.Client, request: pytest.FixtureRequest
) -> None:
    store, user = tiny_server.services.store, f"page: {request.node.name}"
    store.proposals.add(user, [f"I love the opera number {number}." for number in range(60)])
    shown = page.get("/").text
    assert len(said(shown)) == 50
    assert "And 10 more." in shown


def test_data_is_taken_along_brought_and_erased(page: httpx.Client) -> None:
    page.post("/memory", data={"text": "I like tea."})
    exported = page.get("/v1/preferences/export")
    assert exported.headers["content-disposition"].startswith("attachment")
    assert "Tick the box" in page.post("/data/erase").text
    assert "Erased: 1" in page.post("/data/erase", data={"sure": "yes"}).text
    assert "1 read" in page.post("/data/import", files={"file": ("p.jsonl", exported.content)}).text
    refused = page.post("/data/import", files={"file": ("p.jsonl", b"{")})
    assert refused.status_code == 400
    assert "Expected" in refused.text


def test_the_page_speaks_german(tiny_server: Served) -> None:
    german = browser(tiny_server, "greta", "de-DE,de;q=0.9,en;q=0.5")
    for path, text in (
        ("/", "Was über dich gespeichert ist"),
        ("/chat", "Mit dir und ohne dich"),
        ("/data", "Deine Daten"),
    ):
        shown = german.get(path).text
        assert text in shown
        assert '<html lang="de">' in shown
    assert "What is remembered of you" in german.get("/?lang=en").text
    assert "What is remembered of you" in german.get("/").text  # and it stays so


def test_every_text_has_its_german() -> None:
    known, pattern = translation("de"), r"_\('((?:[^'\\]|\\.)*)'"
    texts = {m.replace("\\'", "'") for file in TEMPLATES.glob("*.html") for m in re.findall(pattern, file.read_text())}
    assert len(texts) > 100
    assert texts - known.keys() == set()
    for english, german in known.items():
        assert sorted(re.findall(r"{\w+}", english)) == sorted(re.findall(r"{\w+}", german))


def test_the_admin_makes_keys_and_sees_nobodys_memory(tiny_server: Served) -> None:
    admin = browser(tiny_server, None)
    assert admin.get("/").url.path == "/keys"
    key = re.findall(r"la-[\w-]{43}", admin.post("/keys", data={"kind": "personal", "name": "dora"}).text)[0]
    with tiny_server.http(key) as dora:
        assert dora.get("/v1/preferences").status_code == 200
        assert dora.get("/keys").status_code == 403
    link = re.findall(r"token=([\w-]{43})", admin.post("/keys", data={"kind": "link", "name": "dora"}).text)[0]
    assert tiny_server.services.sign_ins.redeem(link)
    assert key not in admin.get("/keys").text
    for path in ("/chat", "/data", "/memory/x", "/v1/preferences"):
        assert admin.get(path).status_code == 403
    assert admin.post("/keys", data={"kind": "personal", "name": " "}).status_code == 400


def test_static_files_load_nothing_from_elsewhere(tiny_server: Served) -> None:
    with tiny_server.http() as http:
        assert http.get("/static/page.css").status_code == 200
        assert http.get("/static/../settings.py").status_code in (401, 404)
    for file in (*STATIC.iterdir(), *TEMPLATES.iterdir()):
        assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)", Path(file).read_text())
    for file in TEMPLATES.iterdir():
        assert not re.search(r"\sstyle=|<style|<script(?! type=\"module\" src=)|\son\w+=", file.read_text())
