"""`la-agents layers`: what an application or an organisation wants of every answer, for whoever administers it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from la_agents.cli.options import JsonOption, StoreOption, settings_of
from la_agents.cli.prefs import ExportFormat, IdArgument, ScopeOption, WeightOption, given, note_flags, print_history
from la_agents.cli.tables import print_table
from la_agents.cli.terminal import answer, clean, counting_bar, note, print_json

if TYPE_CHECKING:
    from la_agents.preferences.preference import Preference
    from la_agents.preferences.shared import SharedPreferences

__all__ = ["app"]

app = typer.Typer(
    help="See and change shared layers: preferences that apply to every user of a store that names the layer.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

LayerArgument = Annotated[str, typer.Argument(metavar="LAYER", help="The layer's name, such as acme.")]
LockedOption = Annotated[
    bool | None, typer.Option("--locked/--unlocked", help="Whether no user's preference overrules it.")
]


@app.command()
def add(
    ctx: typer.Context,
    layer: LayerArgument,
    text: Annotated[str, typer.Argument(help="What is wanted of every answer.")],
    scope: ScopeOption = None,
    weight: WeightOption = None,
    locked: LockedOption = None,
    store: StoreOption = None,
) -> None:
    """Store a preference in a layer; prints its id."""
    answer(_open(ctx, layer, store).add(text, **given(scope=scope, weight=weight, locked=locked)).id)


@app.command("list")
def list_(
    ctx: typer.Context,
    layer: LayerArgument,
    everything: Annotated[bool, typer.Option("--all", help="Superseded, expired and forgotten ones, too.")] = False,
    as_json: JsonOption = False,
    store: StoreOption = None,
) -> None:
    """Show what a layer holds."""
    opened = _open(ctx, layer, store)
    preferences = opened.list() + (opened.archive() if everything else [])
    if as_json:
        values = [
            (preference.model_dump(mode="json", exclude={"user_id"}), preference.state) for preference in preferences
        ]
        print_json([{**value, "state": state} for value, state in values])
    elif preferences:
        header = ("id", "scope", "weight", "locked", *(("state",) if everything else ()), "preference")
        print_table(header, [_row(preference, state=everything) for preference in preferences])
    else:
        note(f"Nothing is in {layer}. Add with: la-agents layers add {layer} TEXT")
    note_flags(preferences)


@app.command()
def history(
    ctx: typer.Context, layer: LayerArgument, id: IdArgument, as_json: JsonOption = False, store: StoreOption = None
) -> None:
    """Show what happened to a layer's preference, the oldest first."""
    print_history(_open(ctx, layer, store).history(id), as_json)


@app.command()
def forget(ctx: typer.Context, layer: LayerArgument, id: IdArgument, store: StoreOption = None) -> None:
    """Let one preference of a layer apply no more."""
    note(f"Forgotten: {_open(ctx, layer, store).forget(id).text}")


@app.command()
def undo(ctx: typer.Context, layer: LayerArgument, id: IdArgument, store: StoreOption = None) -> None:
    """Take back the latest change of a layer's preference."""
    for preference in _open(ctx, layer, store).undo(id):
        answer(f"{preference.id}  {preference.state}  {preference.text}")


@app.command()
def erase(
    ctx: typer.Context,
    layer: LayerArgument,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    store: StoreOption = None,
) -> None:
    """Remove a whole layer, its history included."""
    if not yes:
        typer.confirm(clean(f"Erase everything that is in the layer {layer}?"), abort=True, err=True)
    note(f"Erased {_open(ctx, layer, store).erase()} preferences of {layer}.")


@app.command()
def export(
    ctx: typer.Context,
    layer: LayerArgument,
    file: Annotated[Path, typer.Argument(help="JSON Lines to write.", dir_okay=False)],
    store: StoreOption = None,
) -> None:
    """Write a layer to a file."""
    note(f"Wrote {_open(ctx, layer, store).export(file)} preferences to {file}.")


@app.command("import")
def import_(
    ctx: typer.Context,
    layer: LayerArgument,
    file: Annotated[Path, typer.Argument(help="JSON Lines to read.", exists=True, dir_okay=False)],
    source_format: Annotated[ExportFormat, typer.Option("--from", help="Who wrote it.")] = ExportFormat.la_agents,
    skip_bad: Annotated[bool, typer.Option("--skip-bad", help="Leave bad lines out instead of refusing all.")] = False,
    store: StoreOption = None,
) -> None:
    """Read a file into a layer."""
    on_bad = (lambda message: note(f"Skipped: {message}")) if skip_bad else None
    with counting_bar("Importing") as progress:
        number = _open(ctx, layer, store).import_(
            file, source_format=source_format.value, on_bad=on_bad, progress=progress
        )
    note(f"Read {number} preferences from {file}.")


def _row(preference: Preference, *, state: bool) -> tuple[str, ...]:
    locked = "yes" if preference.locked else ""
    states = (preference.state,) if state else ()
    return preference.id, preference.scope, f"{preference.weight:g}", locked, *states, preference.text


def _open(ctx: typer.Context, layer: str, store: str | None) -> SharedPreferences:
    return ctx.with_resource(settings_of(ctx, store).open_store()).shared(layer)
