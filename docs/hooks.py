"""Build hooks of the site: what other places know is taken from there and cannot go stale.

The command line's reference comes from the program, the summary of results from the results page, and a notebook's page
from the notebook, the changelog from its file.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

DOCS = Path(__file__).parent


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Fill the places that a page marks."""
    places = {
        "command line reference": _commands,
        "measured": _measured,
        "notebook ([^ ]+)": _notebook,
        "file ([^ ]+)": _file,
    }
    for marker, content in places.items():
        if found := re.search(f"<!-- {marker} -->", markdown):
            markdown = markdown.replace(found[0], content(*found.groups()))
    return markdown


def _commands() -> str:
    """The help of every command."""
    import typer
    from typer.cli import get_docs_for_click

    from la_agents.cli import app

    command = typer.main.get_command(app)
    context = typer.Context(command, info_name="la-agents")
    return get_docs_for_click(obj=command, ctx=context, name="la-agents")


def _file(name: str) -> str:
    """A file of the repository that is a page, too."""
    return (DOCS.parent / name).read_text(encoding="utf-8").replace("](docs/", "](")


def _measured() -> str:
    from benchmarks.summary import RESULTS, summary

    return summary(RESULTS.read_text(encoding="utf-8"))


def _notebook(name: str) -> str:
    """A notebook's text, code and output, and where to get it."""
    from docs.run_notebooks import as_markdown

    notebook = json.loads((DOCS / "notebooks" / name).read_text(encoding="utf-8"))
    return f"{as_markdown(notebook)}\n\n[Download this notebook]({name})\n"
