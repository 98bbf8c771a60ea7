"""The documentation: it builds without a warning, and the commands that it names exist."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import typer

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]


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


def commands(program: str) -> list[tuple[str, list[str]]]:
    """Each command line of a program in README and docs, with the page that it is on."""
    found = []
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for lines in re.findall(r"^```console\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
            for line in lines.replace("\\\n", " ").splitlines():
                if line.startswith(f"$ {program} "):
                    found.append((page.name, shlex.split(line.removeprefix("$ "), comments=True)[1:]))
    return found


@pytest.mark.parametrize(
    ("program", "module"), [("la-agents", "la_agents.cli"), ("la-agents-server", "la_agents_server.cli")]
)
def test_the_commands_in_the_pages_exist(program: str, module: str) -> None:
    named = commands(program)
    assert len(named) >= 5
    whole = typer.main.get_command(pytest.importorskip(module).app)
    for page, words in named:
        command, options = whole, {name for each in whole.params for name in each.opts}
        for word in words:
            if hasattr(command, "commands") and not word.startswith("-"):
                if word in command.commands:
                    command = command.commands[word]
                    options |= {name for each in command.params for name in each.opts}
            elif word.startswith("--"):
                assert word in options, (page, words)
        assert not hasattr(command, "commands"), (page, words)


def test_the_make_targets_in_the_pages_exist() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for page in PAGES:
        for name in re.findall(r"(?:`|\$ )make ([a-z-]+)", page.read_text(encoding="utf-8")):
            assert name in targets, (page.name, name)
