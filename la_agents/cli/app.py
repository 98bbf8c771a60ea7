"""The application: its commands, its global options, and how an error ends it."""

from __future__ import annotations

from typing import Any

import typer
from typer.core import TyperGroup

from la_agents.cli import ask, calibrate, chat, demo, doctor, evaluate, explain, layers, prefs
from la_agents.cli.options import ModelOption, Settings, StoreOption
from la_agents.cli.terminal import note
from la_agents.errors import LaAgentsError

__all__ = ["app", "main"]


class _Commands(TyperGroup):
    """Ends on an expected error with one line on standard error and status 2, never with a traceback."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            raise  # the reader of our output left; nobody is there to tell
        except (LaAgentsError, OSError) as error:
            note(f"Error: {' '.join(str(error).split())}")
            raise typer.Exit(2) from error


app = typer.Typer(
    name="la-agents",
    cls=_Commands,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    add_completion=False,
)


@app.callback()
def options(ctx: typer.Context, store: StoreOption = None, model: ModelOption = None) -> None:
    """Answers aligned with each user's own preferences, while they are being written."""
    ctx.obj = Settings(store, model)


app.command()(demo.demo)
app.command()(ask.ask)
app.command()(chat.chat)
app.command()(explain.explain)
app.add_typer(prefs.app, name="prefs")
app.add_typer(layers.app, name="layers")
app.add_typer(evaluate.app, name="evaluate")
app.command()(calibrate.calibrate)
app.command()(doctor.doctor)


def main() -> None:
    """The entry point of the console script."""
    app()
