"""Pictures of the explain page for the documentation, and a look at every page of the site: `make screenshots`.

Every page is opened in a wide and in a narrow window; one that is wider than its window is an error.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Browser, sync_playwright

from la_agents.cli import app

IMAGES = Path(__file__).with_name("images")
SITE = Path(__file__).parents[1] / "site"
WIDTHS = {"wide": 1280, "narrow": 390}
PREFERENCE, QUESTION = "One sentence is enough for me.", "How do vaccines work?"


def main() -> None:
    """Take the pictures, then look at the site."""
    with opened_browser() as browser, tempfile.TemporaryDirectory() as folder:
        explain_page(browser, Path(folder))
        wrong = [*too_wide(browser)]
    sys.exit("\n".join(wrong) or None)


@contextmanager
def opened_browser() -> Iterator[Browser]:
    """The system's Chromium."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        yield browser
        browser.close()


def explain_page(browser: Browser, folder: Path) -> None:
    """What `la-agents explain` writes, in both widths."""
    file, store = folder / "page.html", str(folder / "prefs")
    run("--store", store, "prefs", "add", PREFERENCE, "--user", "alice", "--scope", "always")
    run("--store", store, "explain", QUESTION, "--user", "alice", "--max-tokens", "64", "--out", str(file))
    for name, width in WIDTHS.items():
        page = browser.new_page(viewport={"width": width, "height": 844}, color_scheme="light")
        page.goto(file.as_uri())
        page.screenshot(path=IMAGES / f"explain-{name}.png")
        page.close()


def run(*arguments: str) -> None:
    """A command of `la-agents`."""
    app(arguments, standalone_mode=False)


def too_wide(browser: Browser) -> Iterator[str]:
    """What of the built site has to be scrolled sideways."""
    for width in WIDTHS.values():
        page = browser.new_page(viewport={"width": width, "height": 844})
        for file in sorted(SITE.rglob("*.html")):
            page.goto(file.as_uri())
            if (wide := page.evaluate("document.documentElement.scrollWidth")) > width:
                yield f"Expected {file.relative_to(SITE)} to fit {width} px, got {wide} px."
        page.close()


if __name__ == "__main__":
    main()
