"""`la-agents layers`: what an application or an organisation wants of every answer, for its administrators."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from la_agents.cli import memory as both
from la_agents.cli.memory import ExpiresOption, ScopeOption, WeightOption, YesOption, given
from la_agents.cli.options import command

__all__ = ["app"]

app = typer.Typer(
    help="See and change preferences that are shared by all users. They apply where --layer names the layer.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

_LAYER = both.owner(
    is_layer=True, layer=Annotated[str, typer.Argument(metavar="LAYER", help="The layer's name, such as acme.")]
)


def add(
    memory: Any,
    text: Annotated[str, typer.Argument(help="What every answer should follow; - reads it from standard input.")],
    scope: ScopeOption = None,
    weight: WeightOption = None,
    expires: ExpiresOption = None,
    locked: Annotated[
        bool | None,
        typer.Option("--locked/--unlocked", help="Locked: no user's preference overrules it.", show_default="unlocked"),
    ] = None,
) -> None:
    """Store a preference in a layer. Prints its id, and on standard error what that changed."""
    both.add(memory, text, **given(scope=scope, weight=weight, expires_at=expires, locked=locked))


def erase(memory: Any, yes: YesOption = False) -> None:
    """Remove a whole layer, its history included."""
    both.erase(memory, yes=yes)


app.command()(command(add, memory=_LAYER.writing))
both.add_commands(app, _LAYER)
app.command()(command(erase, memory=_LAYER.reading))
