"""Others' clients, a fuzzer and a browser against the server: `make test-clients`."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from running import Served, served

pytestmark = pytest.mark.clients


@pytest.fixture(scope="module")
def real_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """The bundled model."""
    from la_agents_server.demo import fill

    with served(
        tmp_path_factory.mktemp("real"), {"device": "cpu", "max_tokens": 60}, requests_per_minute=100_000
    ) as server:
        fill(server.services.store)
        yield server


@pytest.mark.timeout(600)
@pytest.mark.parametrize("kind", ["personal", "application", "admin"])
def test_a_fuzzer_finds_no_answer_that_the_description_does_not_have(
    tiny_server: Served, tmp_path: Path, kind: str
) -> None:
    key = {
        "personal": lambda: tiny_server.key("fuzzed"),
        "application": lambda: tiny_server.application(names_users=True),
        "admin": tiny_server.admin,
    }[kind]()
    command = [str(Path(sys.executable).with_name("schemathesis"))]
    command += ["--config-file", str(Path(__file__).with_name("schemathesis.toml"))]
    command += ["run", f"{tiny_server.url}/openapi.json", "--generation-database", "none"]
    command += ["-H", "X-LA-User: fuzzed"] if kind == "application" else []
    command += ["-H", f"Authorization: Bearer {key}", "--max-examples", "20", "--seed", "1", "--no-color"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=580, cwd=tmp_path)
    assert done.returncode == 0, done.stdout[-6_000:] + done.stderr[-2_000:]


@pytest.fixture
def browser_page(real_server: Served) -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("needs chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_context(viewport={"width": 390, "height": 800}, locale="en-GB").new_page()
        problems: list[str] = []
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("console", lambda message: problems.append(message.text) if message.type == "error" else None)
        page.goto(f"{real_server.url}/signin?token={real_server.services.sign_ins.link('ada')}")
        page.click("text=Sign in")
        page.wait_for_url(f"{real_server.url}/")
        yield page
        assert problems == []
        browser.close()


def test_the_chat_shows_both_answers_and_why(real_server: Served, browser_page: Any) -> None:
    page = browser_page
    page.goto(f"{real_server.url}/chat")
    page.fill("#question", "Tell me about the sea.")
    page.press("#question", "Enter")
    page.wait_for_selector("#after:not([hidden])", timeout=120_000)
    plain, aligned = page.inner_text("#plain"), page.inner_text("#aligned")
    assert plain != aligned
    assert plain.strip()
    assert page.locator("#used .said").all_inner_texts()[0] == "Use simple words for a small child."
    page.locator(".t").first.focus()
    assert "Use simple words" in page.inner_text("#pushed")
    assert page.locator("#candidates tr").count() >= 2
    page.click("[data-score='1']")
    page.wait_for_selector("#moved:not(:empty)")
    assert "1.19" in page.inner_text("#used")
    page.locator("#used input").first.check()
    page.wait_for_selector("#after:not([hidden])", timeout=120_000)
    assert "Use simple words" not in page.inner_text("#used")


def test_nothing_is_wider_than_a_phone_and_the_keyboard_is_enough(real_server: Served, browser_page: Any) -> None:
    page = browser_page
    real_server.services.store.add("ada", "W" * 500, consolidate=False)
    for path in ("/", "/chat", "/shared", "/data", "/?q=tea"):
        page.goto(f"{real_server.url}{path}")
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
    page.goto(f"{real_server.url}/")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.focus("#new")
    page.keyboard.type("I like <b>ships</b>.")
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.wait_for_selector("[role=status]")
    assert "I like <b>ships</b>." in page.locator(".said").all_inner_texts()


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the clients that are written for Node."""
    npm, folder = shutil.which("npm"), tmp_path_factory.mktemp("node")
    if npm is None:
        pytest.skip("needs node and npm")
    shutil.copytree(Path(__file__).with_name("node"), folder, dirs_exist_ok=True)
    subprocess.run([npm, "install", "--no-audit", "--no-fund", "--silent"], cwd=folder, check=True, timeout=280)
    return folder


def test_the_clients_for_node_are_served(tiny_server: Served, node: Path) -> None:
    command = ["node", "clients.mjs", f"{tiny_server.url}/v1", tiny_server.key("node"), "tiny-llama"]
    done = subprocess.run(command, cwd=node, capture_output=True, text=True, timeout=200)
    assert done.stdout.strip() == "all well", done.stderr


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("user", ["ada", None])
def test_axe_finds_nothing(tiny_server: Served, node: Path, scheme: Any, user: str | None) -> None:
    from playwright.sync_api import sync_playwright

    from la_agents_server.demo import fill

    store = tiny_server.services.store
    if user is not None:
        fill(store)
        store.forget(user, store.add(user, "I like green tea.", consolidate=False).id)
    axe = (node / "node_modules" / "axe-core" / "axe.min.js").read_text()
    paths = ["/keys", "/shared"] if user is None else ["/", "/?q=coffee", "/chat", "/shared", "/data"]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = browser.new_context(bypass_csp=True, color_scheme=scheme).new_page()
        page.goto(f"{tiny_server.url}/signin?token={tiny_server.services.sign_ins.link(user)}")
        for path in ("", *paths):
            if path:
                page.goto(f"{tiny_server.url}{path}")
            for details in page.locator("details").all():
                details.evaluate("element => element.open = true")
            if path == "/chat":
                page.fill("#question", "Tell me about the sea.")
                page.click("#send")
                page.wait_for_selector("#after:not([hidden])", timeout=60_000)
            page.evaluate(axe)
            found = page.evaluate("axe.run()")["violations"]
            assert [(each["id"], each["nodes"][0]["html"]) for each in found] == []
            if not path:
                page.click("button.main")
                page.wait_for_load_state()
        browser.close()


@pytest.mark.parametrize("path", ["/signin", "/", "/chat", "/shared", "/data"])
def test_lighthouse_is_content(tiny_server: Served, node: Path, path: str) -> None:
    chromium = shutil.which("chromium")
    assert chromium is not None
    with tiny_server.http() as http:
        http.headers["sec-fetch-site"] = "same-origin"
        http.post("/signin", data={"secret": tiny_server.services.sign_ins.link("ada")})
        cookie = json.dumps({"Cookie": f"la_agents_session={http.cookies['la_agents_session']}"})
    command = [str(node / "node_modules" / ".bin" / "lighthouse"), tiny_server.url + path, "--quiet", "--output=json"]
    command += ["--only-categories=accessibility,best-practices", "--chrome-flags=--headless=new --no-sandbox"]
    command += [] if path == "/signin" else ["--extra-headers", cookie]
    environment = os.environ | {"CHROME_PATH": chromium}
    done = subprocess.run(command, capture_output=True, text=True, timeout=280, cwd=node, env=environment)
    report = json.loads(done.stdout)
    assert report["finalDisplayedUrl"] == tiny_server.url + path
    scores = {name: category["score"] for name, category in report["categories"].items()}
    assert scores.keys() == {"accessibility", "best-practices"}
    assert min(scores.values()) >= 0.95, scores


HOSTILE = [
    "<script>document.title = 'owned'</script>",
    "<img src=x onerror=\"document.title='owned'\">",
    "\u202e txet desrever \u202c أحب الشاي",
    "W" * 2_000,
    "🏴\u200d☠️ 👩\u200d👩\u200d👧 emoji",
    "{{ 7 * 7 }} ${7 * 7} </textarea></li>",
]


def test_two_people_go_every_way_of_the_page_and_see_nothing_of_each_other(tiny_server: Served, tmp_path: Path) -> None:
    from playwright.sync_api import sync_playwright

    store = tiny_server.services.store
    jazz, opera = store.proposals.add("eve", ["I love jazz.", "I hate opera."])
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        eve, dan = (chromium.new_context(viewport={"width": 390, "height": 800}).new_page() for _ in range(2))
        for page, user in ((eve, "eve"), (dan, "dan")):
            page.goto(f"{tiny_server.url}/signin?token={tiny_server.services.sign_ins.link(user)}")
            page.click("button.main")

        def card(text: str) -> Any:
            return eve.locator("li.card, form.card", has_text=text).first

        for text in HOSTILE:
            eve.fill("#new", text)
            eve.locator("form[action='/memory'] button").click()
            assert text in eve.locator(".said").all_text_contents()
            assert eve.title() == "Memory"
            assert eve.evaluate("document.documentElement.scrollWidth") <= 390
        card("I love jazz.").get_by_role("button", name="Yes").click()
        card("I hate opera.").get_by_role("button", name="No").click()
        assert [store.get("eve", each.id).state for each in (jazz, opera)] == ["active", "rejected"]

        jazz_card = card("I love jazz.")
        jazz_card.locator("summary").click()
        jazz_card.locator("textarea").fill("I love old jazz.")
        jazz_card.locator("input[type=range]").focus()
        eve.keyboard.press("ArrowRight")
        jazz_card.get_by_label("in every answer").check()
        jazz_card.locator("input[type=date]").fill("2100-01-31")
        jazz_card.get_by_role("button", name="Save").click()
        known = store.get("eve", jazz.id)
        assert (known.text, known.weight, known.scope) == ("I love old jazz.", 2.0, "always")
        assert known.expires_at is not None
        eve.get_by_role("button", name="Undo").click()
        assert store.get("eve", jazz.id).text == "I love jazz."
        card("I love jazz.").get_by_role("button", name="Forget").click()
        eve.get_by_role("button", name="Undo").click()
        card("I love jazz.").get_by_role("link", name="History").click()
        assert "Forgotten" in eve.inner_text(".history")
        eve.get_by_role("link", name="Back to the memory").click()

        for text in ("I drink coffee every morning.", "In the morning I mostly drink coffee or tea."):
            eve.fill("#new", text)
            eve.locator("form[action='/memory'] button").click()
        card("Keep this alone").get_by_role("button", name="Keep this alone").last.click()
        assert "Decided." in eve.inner_text("[role=status]")
        eve.fill("#q", "What do I drink in the morning?")
        eve.get_by_role("button", name="Look").click()
        assert "mostly drink coffee or tea" in eve.inner_text(".found")

        eve.get_by_role("link", name="Data").click()
        with eve.expect_download() as download:
            eve.get_by_role("link", name="Export").click()
        download.value.save_as(tmp_path / "mine.jsonl")
        number = len(store.list("eve"))
        eve.get_by_label("Yes, erase all of it").check()
        eve.get_by_role("button", name="Erase everything").click()
        assert store.list("eve") == []
        eve.set_input_files("#file", tmp_path / "mine.jsonl")
        eve.get_by_role("button", name="Import").click()
        assert len(store.list("eve")) == number

        for path in ("/", "/?q=coffee", "/data", f"/memory/{jazz.id}"):
            dan.goto(tiny_server.url + path)
            assert not any(text in dan.inner_text("main") for text in ("jazz", "opera", "drink", "script"))
        eve.get_by_role("button", name="Sign out").click()
        eve.goto(tiny_server.url)
        assert eve.url.endswith("/signin")
        chromium.close()


def test_two_users_in_one_room_see_their_own(real_server: Served) -> None:
    import openai

    def answer(user: str) -> Any:
        client = openai.OpenAI(base_url=f"{real_server.url}/v1", api_key=real_server.key(user))
        messages: Any = [{"role": "user", "content": "Tell me about the sea."}]
        return client.chat.completions.create(model=real_server.services.model_name, messages=messages)

    real_server.services.store.add("anne", "Talk like a pirate: say arr, ye and matey.", scope="always")
    anne, ben = answer("anne"), answer("ben")
    assert anne.la_agents["alignment"]["principles"][0]["id"] != ben.la_agents["alignment"]["principles"][0]["id"]
    pirates = {"arr", "arrr", "aye", "ye", "matey", "mateys"}
    assert pirates & {*re.findall(r"[a-z]+", anne.choices[0].message.content.lower())}
    assert not pirates & {*re.findall(r"[a-z]+", ben.choices[0].message.content.lower())}
