"""Pictures of the page for the documentation, of a server that runs: `make screenshots`."""

from __future__ import annotations

import shutil
import socket
import tempfile
import threading
import time
from pathlib import Path

import uvicorn
from playwright.sync_api import Page, sync_playwright

from la_agents import PreferenceStore
from la_agents_server import Settings, create_app
from la_agents_server.demo import fill

IMAGES = Path(__file__).parents[2] / "docs" / "images"


def main() -> None:
    """Serve the demo's users with the bundled model, and take the pictures."""
    with tempfile.TemporaryDirectory() as folder, PreferenceStore(path=Path(folder) / "prefs") as store:
        fill(store)
        app = create_app(store, Settings(database=Path(folder) / "server.sqlite"), model={"max_tokens": 60})
        listener = socket.create_server(("127.0.0.1", 0))
        server = uvicorn.Server(uvicorn.Config(app, log_config=None, access_log=False))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        while not server.started:
            time.sleep(0.1)
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        try:
            with sync_playwright() as playwright:
                browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
                page = browser.new_context(viewport={"width": 1000, "height": 860}, locale="en-GB").new_page()
                page.goto(f"{url}/signin?token={app.state.services.sign_ins.link('ada')}")
                page.click("button.main")
                take(page, url)
                browser.close()
        finally:
            server.should_exit = True
            thread.join()
            listener.close()


def take(page: Page, url: str) -> None:
    """The chat first, so that the memory shows what was used."""
    IMAGES.mkdir(exist_ok=True)
    page.goto(f"{url}/chat")
    page.fill("#question", "Tell me about the sea.")
    page.click("#send")
    page.wait_for_selector("#after:not([hidden])", timeout=300_000)
    moved = page.locator(".t").evaluate_all("all => all.map(each => Number(each.style.getPropertyValue('--m')))")
    page.locator(".t").nth(moved.index(max(moved))).click()
    page.screenshot(path=IMAGES / "server-chat.png", full_page=True)
    page.goto(url)
    page.screenshot(path=IMAGES / "server-memory.png")


if __name__ == "__main__":
    main()
