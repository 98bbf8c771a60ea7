"""The application: its commands, its global options, and how an error ends it."""

from __future__ import annotations

from typing import Annotated, Any, NoReturn

import typer
from typer.core import TyperGroup

from la_agents.cli import ask, calibrate, chat, demo, doctor, evaluate, explain, layers, prefs, setup
from la_agents.cli.messages import in_words_of_the_command_line
from la_agents.cli.options import ModelOption, Settings, StoreOption
from la_agents.cli.terminal import answer, is_text, note, print_anything
from la_agents.errors import LaAgentsError
from la_agents.models.local_extra import PACKAGES, missing_local

__all__ = ["Commands", "app", "main"]


class Commands(TyperGroup):
    """Ends on an expected error with one line on standard error and status 2, never with a traceback."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        print_anything()
        bad = next((each for each in args if not is_text(each)), None)
        if bad is not None:
            _fail(f"Expected arguments in UTF-8, got {bad!a}; check the encoding of the terminal.")
        return super().parse_args(ctx, args)

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            raise  # the reader of the output has closed it
        except (LaAgentsError, OSError, UnicodeError) as error:
            _fail(in_words_of_the_command_line(str(error)), error)
        except ModuleNotFoundError as error:
            if error.name not in PACKAGES:
                raise
            _fail(str(missing_local([error.name])), error)


def _fail(message: str, error: Exception | None = None) -> NoReturn:
    note(f"Error: {' '.join(message.split())}")
    raise typer.Exit(2) from error


app = typer.Typer(
    name="la-agents",
    cls=Commands,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        answer(f"la-agents {version('la-agents')}")
        raise typer.Exit


@app.callback()
def options(
    ctx: typer.Context,
    store: StoreOption = None,
    model: ModelOption = None,
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Answers aligned with each user's own preferences, token by token."""
    ctx.obj = Settings(store, model)


app.command()(demo.demo)
app.command()(ask.ask)
app.command()(chat.chat)
app.command()(explain.explain)
app.add_typer(prefs.app, name="prefs")
app.add_typer(layers.app, name="layers")
app.add_typer(evaluate.app, name="evaluate")
app.command()(calibrate.calibrate)
app.command()(setup.setup)
app.command()(doctor.doctor)


def main() -> None:
    """The entry point of the console script."""
    app()
