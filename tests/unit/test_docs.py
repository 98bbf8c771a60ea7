"""The documentation: it builds without a warning, and the README's first lines are commands that exist."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("mkdocs", reason="the extra docs is not installed")
    folder = tmp_path_factory.mktemp("site")
    # Not --quiet: it hides warnings from --strict, too.
    done = build(ROOT / "mkdocs.yml", folder)
    assert done.returncode == 0, done.stderr
    return folder


def build(config: Path, folder: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "-f", str(config), "--site-dir", str(folder)]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)


def test_the_target_docs_runs_what_is_tested_here() -> None:
    (command,) = re.findall(r"mkdocs build.*", (ROOT / "Makefile").read_text())
    assert command == "mkdocs build --strict"


def test_a_warning_fails_the_build(tmp_path: Path) -> None:
    pytest.importorskip("mkdocs", reason="the extra docs is not installed")
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "index.md").write_text("[nowhere](absent.md)")
    (tmp_path / "mkdocs.yml").write_text("site_name: broken\n")
    done = build(tmp_path / "mkdocs.yml", tmp_path / "site")
    assert done.returncode != 0
    assert "absent.md" in done.stderr


def test_every_page_is_in_the_menu(site: Path) -> None:
    start = (site / "index.html").read_text()
    for page in site.rglob("*.html"):
        if page.name != "404.html":
            assert f'href="{page.relative_to(site).as_posix()}"' in start or page == site / "index.html"


def test_the_site_fetches_nothing_from_elsewhere(site: Path) -> None:
    fetched = re.compile(r"<(?:script|link|img|iframe)\b[^>]*?(?:src|href)=[\"']?(https?://[^\"' >]+)")
    for page in site.rglob("*.html"):
        own = [url for url in fetched.findall(page.read_text()) if "canonical" not in url]
        assert own == [], page


def test_the_command_line_reference_comes_from_the_program(site: Path) -> None:
    page = (site / "reference" / "cli.html").read_text()
    for command in ("demo", "ask", "chat", "explain", "doctor", "prefs add", "prefs erase", "layers add"):
        assert f"la-agents {command}" in page


def test_the_public_names_are_in_the_reference(site: Path) -> None:
    import la_agents

    pages = "".join(page.read_text() for page in (site / "reference").glob("*.html"))
    for name in la_agents.__all__:
        assert name in pages


def test_the_make_targets_that_the_readme_names_exist() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = set(re.findall(r"make ([a-z-]+)", (ROOT / "README.md").read_text()))
    assert {"demo", "test"} <= named <= targets
