"""Build hooks of the site: the command line's reference comes from the program itself and cannot go stale."""

from __future__ import annotations

from typing import Any

_PLACE = "<!-- command line reference -->"


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Put the help of every command where a page asks for it."""
    if _PLACE not in markdown:
        return markdown
    import typer
    from typer.cli import get_docs_for_click

    from la_agents.cli import app

    command = typer.main.get_command(app)
    context = typer.Context(command, info_name="la-agents")
    text = get_docs_for_click(obj=command, ctx=context, name="la-agents")
    return markdown.replace(_PLACE, text)
