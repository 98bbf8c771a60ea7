"""`la-agents prefs`: see, change, move and erase what is stored about one user."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from la_agents.cli.options import JsonOption, StoreOption, UserOption, settings_of
from la_agents.cli.terminal import answer, clean, console, note, print_json

if TYPE_CHECKING:
    from la_agents.preferences.schema import Preference, ScoredPreference
    from la_agents.preferences.store import PreferenceStore

__all__ = ["app"]

app = typer.Typer(help="See, change, move and erase a user's preferences.", no_args_is_help=True, rich_markup_mode=None)


class Scope(str, Enum):
    """When a preference applies."""

    always = "always"
    relevant = "relevant"


IdArgument = Annotated[str, typer.Argument(metavar="ID", help="As `prefs list` shows it.")]
ScopeOption = Annotated[Scope | None, typer.Option("--scope", help="Every call, or those it is relevant to.")]
WeightOption = Annotated[float | None, typer.Option("--weight", help="1 is normal, 0 switches it off.")]


@app.command()
def add(
    ctx: typer.Context,
    text: Annotated[str, typer.Argument(help="The preference, in the user's words.")],
    user: UserOption,
    scope: ScopeOption = None,
    weight: WeightOption = None,
    store: StoreOption = None,
) -> None:
    """Store a preference; prints its id."""
    answer(_open(ctx, store).add(user, text, **_given(scope=scope, weight=weight)).id)


@app.command("list")
def list_(ctx: typer.Context, user: UserOption, as_json: JsonOption = False, store: StoreOption = None) -> None:
    """Show what is stored about a user."""
    preferences = _open(ctx, store).list(user)
    if as_json:
        print_json([preference.model_dump(mode="json") for preference in preferences])
    elif preferences:
        _table(("id", "scope", "weight", "preference"), [_row(preference) for preference in preferences])
    else:
        note(f"Nothing is stored about {user}. Add with: la-agents prefs add TEXT --user {user}")


@app.command()
def search(
    ctx: typer.Context,
    query: Annotated[str, typer.Argument(help="What the preferences should be close to in meaning.")],
    user: UserOption,
    k: Annotated[int | None, typer.Option("-k", help="At most so many.")] = None,
    min_relevance: Annotated[float | None, typer.Option("--min-relevance", help="Similarity, -1 to 1.")] = None,
    as_json: JsonOption = False,
    store: StoreOption = None,
) -> None:
    """Show a user's preferences by similarity to a text."""
    found = _open(ctx, store).search(user, query, **_given(k=k, min_relevance=min_relevance))
    if as_json:
        print_json([{**f.preference.model_dump(mode="json"), "relevance": f.relevance} for f in found])
    elif found:
        rows = [(_relevance(f), *_row(f.preference)) for f in found]
        _table(("relevance", "id", "scope", "weight", "preference"), rows)
    else:
        note("Nothing is close enough.")


@app.command()
def update(
    ctx: typer.Context,
    id: IdArgument,
    user: UserOption,
    text: Annotated[str | None, typer.Option("--text", help="New wording.")] = None,
    scope: ScopeOption = None,
    weight: WeightOption = None,
    store: StoreOption = None,
) -> None:
    """Change a preference; what is not named stays."""
    _open(ctx, store).update(user, id, **_given(text=text, scope=scope, weight=weight))
    note(f"Updated {id}.")


@app.command()
def forget(ctx: typer.Context, id: IdArgument, user: UserOption, store: StoreOption = None) -> None:
    """Forget one preference."""
    _open(ctx, store).forget(user, id)
    note(f"Forgot {id}.")


@app.command()
def erase(
    ctx: typer.Context,
    user: UserOption,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    store: StoreOption = None,
) -> None:
    """Erase everything that is stored about a user."""
    if not yes:
        typer.confirm(clean(f"Erase everything that is stored about {user}?"), abort=True, err=True)
    note(f"Erased {_open(ctx, store).erase(user)} preferences of {user}.")


@app.command("export")
def export(
    ctx: typer.Context,
    file: Annotated[Path, typer.Argument(help="JSON Lines to write.", dir_okay=False)],
    user: UserOption,
    store: StoreOption = None,
) -> None:
    """Write a user's preferences to a file."""
    note(f"Wrote {_open(ctx, store).export(user, file)} preferences to {file}.")


@app.command("import")
def import_(
    ctx: typer.Context,
    file: Annotated[Path, typer.Argument(help="JSON Lines to read.", exists=True, dir_okay=False)],
    user: UserOption,
    store: StoreOption = None,
) -> None:
    """Read preferences from a file into a user's."""
    note(f"Read {_open(ctx, store).import_(user, file)} preferences from {file}.")


def _open(ctx: typer.Context, store: str | None) -> PreferenceStore:
    """The store that was named; closed when the command ends."""
    return ctx.with_resource(settings_of(ctx, store).open_store())


def _given(**arguments: Any) -> dict[str, Any]:
    """The arguments that were given, in the store's words; the others keep the store's defaults."""
    plain = {name: value.value if isinstance(value, Enum) else value for name, value in arguments.items()}
    return {name: value for name, value in plain.items() if value is not None}


def _relevance(found: ScoredPreference) -> str:
    return "" if found.relevance is None else f"{found.relevance:.2f}"


def _row(preference: Preference) -> tuple[str, ...]:
    return preference.id, preference.scope, f"{preference.weight:g}", preference.text


def _table(header: tuple[str, ...], rows: list[tuple[str, ...]]) -> None:
    """Ids and texts are wrapped, never cut: an id is there to be copied."""
    from rich.table import Table
    from rich.text import Text

    table = Table(*header, box=None, pad_edge=False)
    for column in table.columns:
        column.overflow = "fold"
        column.no_wrap = column.header == "id"
    for row in rows:
        table.add_row(*(Text(clean(cell)) for cell in row))
    console().print(table)
