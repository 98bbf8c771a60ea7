"""`la-agents prefs`: see, change, move and erase what is stored about one user."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from la_agents.cli import review
from la_agents.cli.options import JsonOption, StoreOption, UserOption, settings_of
from la_agents.cli.tables import print_table
from la_agents.cli.terminal import answer, clean, counting_bar, note, print_json

if TYPE_CHECKING:
    from la_agents.preferences.history import Change
    from la_agents.preferences.preference import Preference, ScoredPreference
    from la_agents.preferences.storage.maintenance import Purged
    from la_agents.preferences.store import PreferenceStore

__all__ = ["IdArgument", "ScopeOption", "WeightOption", "app", "given", "note_flags", "print_history"]

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
    added = _open(ctx, store).add(user, text, **given(scope=scope, weight=weight))
    answer(added.id)
    if scope is None and added.suggested_scope != added.scope:
        note(f"It may matter to every call: la-agents prefs update {added.id} --scope always --user {user}")


@app.command("list")
def list_(
    ctx: typer.Context,
    user: UserOption,
    everything: Annotated[
        bool, typer.Option("--all", help="Superseded, expired, forgotten and proposed ones, too.")
    ] = False,
    as_json: JsonOption = False,
    store: StoreOption = None,
) -> None:
    """Show what is stored about a user."""
    opened = _open(ctx, store)
    preferences = opened.list(user)
    if everything:
        preferences += opened.proposals.list(user) + opened.archive(user)
    if as_json:
        print_json([{**preference.model_dump(mode="json"), "state": preference.state} for preference in preferences])
    elif preferences:
        header = ("id", "scope", "weight", *(("state",) if everything else ()), "preference")
        print_table(header, [_row(preference, state=everything) for preference in preferences])
    else:
        note(f"Nothing is stored about {user}. Add with: la-agents prefs add TEXT --user {user}")
    note_flags(preferences)


@app.command()
def history(
    ctx: typer.Context, id: IdArgument, user: UserOption, as_json: JsonOption = False, store: StoreOption = None
) -> None:
    """Show what happened to a preference, the oldest first."""
    print_history(_open(ctx, store).history(user, id), as_json)


@app.command()
def undo(ctx: typer.Context, id: IdArgument, user: UserOption, store: StoreOption = None) -> None:
    """Take back the latest change of a preference: merged, superseded, updated or forgotten."""
    for preference in _open(ctx, store).undo(user, id):
        answer(f"{preference.id}  {preference.state}  {preference.text}")


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
    found = _open(ctx, store).search(user, query, **given(k=k, min_relevance=min_relevance))
    if as_json:
        print_json([{**f.preference.model_dump(mode="json"), "relevance": f.relevance} for f in found])
    elif found:
        rows = [(_relevance(f), *_row(f.preference)) for f in found]
        print_table(("relevance", "id", "scope", "weight", "preference"), rows)
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
    _open(ctx, store).update(user, id, **given(text=text, scope=scope, weight=weight))
    note(f"Updated {id}.")


@app.command()
def forget(ctx: typer.Context, id: IdArgument, user: UserOption, store: StoreOption = None) -> None:
    """Forget one preference; undo brings it back."""
    _open(ctx, store).forget(user, id)
    note(f"Forgot {id}.")


@app.command()
def erase(
    ctx: typer.Context,
    user: UserOption,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    purge: Annotated[bool, typer.Option("--purge", help="Leave no byte of it in the store's files either.")] = False,
    store: StoreOption = None,
) -> None:
    """Erase everything that is stored about a user, history included."""
    opened = _open(ctx, store)
    if purge:
        opened.check_purge()
    if not yes:
        typer.confirm(clean(f"Erase everything that is stored about {user}?"), abort=True, err=True)
    note(f"Erased {opened.erase(user)} preferences of {user}, history included.")
    if purge:
        with counting_bar("Writing the store anew") as progress:
            receipt = opened.purge(progress=progress)
        note(_receipt(receipt))


@app.command("purge")
def purge_(ctx: typer.Context, store: StoreOption = None) -> None:
    """Write the store's files anew, without a byte of what was erased."""
    with counting_bar("Writing the store anew") as progress:
        receipt = _open(ctx, store).purge(progress=progress)
    note(_receipt(receipt))


@app.command()
def verify(
    ctx: typer.Context,
    repair: Annotated[bool, typer.Option("--repair", help="Mend what is amiss.")] = False,
    as_json: JsonOption = False,
    store: StoreOption = None,
) -> None:
    """Check the whole store: records readable, in their places, indexed. Exit status 1 if something is amiss."""
    with counting_bar("Checking") as progress:
        found = _open(ctx, store).verify(repair=repair, progress=progress)
    if as_json:
        print_json(asdict(found))
    else:
        answer(f"{found.num_records} records")
        for name in ("unreadable", "misplaced", "unindexed"):
            ids = getattr(found, name)
            answer(f"{len(ids)} {name}{': ' if ids else ''}{' '.join(ids)}")
        note("Repaired." if found.repaired else "Sound." if found.is_sound else "Mend with --repair.")
    if not found.is_sound:
        raise typer.Exit(1)


@app.command()
def migrate(
    ctx: typer.Context,
    shards: Annotated[
        int | None, typer.Option("--shards", help="How many; about one for each 8 thousand preferences.")
    ] = None,
    store: StoreOption = None,
) -> None:
    """Write the store anew: in this version's format, over another number of shards if one is given."""
    with counting_bar("Writing") as progress:
        num_written = _open(ctx, store).migrate(shards, progress=progress)
    note(f"Wrote {num_written} preferences{'' if shards is None else f' into {shards} shards'}.")


@app.command()
def stats(ctx: typer.Context, as_json: JsonOption = False, store: StoreOption = None) -> None:
    """Count users, preferences by state, and those that look like an attempt on the prompt."""
    found = asdict(_open(ctx, store).stats())
    if as_json:
        print_json(found)
        return
    for state, number in found.pop("states").items():
        answer(f"{state:<12} {number}")
    for name, number in found.items():
        answer(f"{name.removeprefix('num_'):<12} {'unknown' if number is None else number}")


@app.command("export")
def export(
    ctx: typer.Context,
    file: Annotated[Path, typer.Argument(help="JSON Lines to write.", dir_okay=False)],
    user: UserOption,
    store: StoreOption = None,
) -> None:
    """Write a user's preferences to a file."""
    with counting_bar("Exporting") as progress:
        number = _open(ctx, store).export(user, file, progress=progress)
    note(f"Wrote {number} preferences to {file}.")


class ExportFormat(str, Enum):
    """Whose file it is."""

    la_agents = "la-agents"
    mem0 = "mem0"
    langmem = "langmem"


@app.command("import")
def import_(
    ctx: typer.Context,
    file: Annotated[Path, typer.Argument(help="JSON Lines to read.", exists=True, dir_okay=False)],
    user: UserOption,
    source_format: Annotated[ExportFormat, typer.Option("--from", help="Who wrote it.")] = ExportFormat.la_agents,
    skip_bad: Annotated[bool, typer.Option("--skip-bad", help="Leave bad lines out instead of refusing all.")] = False,
    store: StoreOption = None,
) -> None:
    """Read preferences from a file into a user's."""
    on_bad = (lambda message: note(f"Skipped: {message}")) if skip_bad else None
    with counting_bar("Importing") as progress:
        number = _open(ctx, store).import_(
            user, file, source_format=source_format.value, on_bad=on_bad, progress=progress
        )
    note(f"Read {number} preferences from {file}.")


def _open(ctx: typer.Context, store: str | None) -> PreferenceStore:
    """The store that was named; closed when the command ends."""
    return ctx.with_resource(settings_of(ctx, store).open_store())


def given(**arguments: Any) -> dict[str, Any]:
    """The arguments that were given, in the store's words; the others keep the store's defaults."""
    plain = {name: value.value if isinstance(value, Enum) else value for name, value in arguments.items()}
    return {name: value for name, value in plain.items() if value is not None}


def print_history(changes: Sequence[Change], as_json: bool) -> None:
    """What happened to a preference, as a table or as JSON."""
    if as_json:
        print_json([change.model_dump(mode="json") for change in changes])
        return
    rows = [
        (f"{c.at:%Y-%m-%d %H:%M}", f"{c.kind}{' (taken back)' * c.undone}", c.why, c.by or "", _before(c.before))
        for c in changes
    ]
    print_table(("when", "what", "why", "by", "before"), rows)


def _relevance(found: ScoredPreference) -> str:
    return "" if found.relevance is None else f"{found.relevance:.2f}"


def _row(preference: Preference, *, state: bool = False) -> tuple[str, ...]:
    states = (preference.state,) if state else ()
    return preference.id, preference.scope, f"{preference.weight:g}", *states, preference.text


def _before(values: Mapping[str, Any]) -> str:
    """What a change replaced, in a line; times are in the history anyway."""
    return ", ".join(f"{name}: {value}" for name, value in values.items() if value is not None and name[-3:] != "_at")


def note_flags(preferences: list[Preference]) -> None:
    from la_agents.preferences.screening import flags

    for preference in preferences:
        if reasons := flags(preference.text):
            note(f"Look at {preference.id}: it {' and '.join(reasons)}. It is used as data only.")


def _receipt(purged: Purged) -> str:
    return (
        f"Purged: {purged.num_kept} preferences of others kept, {purged.num_gone} earlier writes dropped from the "
        f"log, pieces of what went from every file; {purged.num_bytes_before:,} bytes before, "
        f"{purged.num_bytes_after:,} after. Backups and snapshots are not reached."
    )


for command in (review.pending, review.approve, review.reject, review.conflicts, review.decide):
    app.command()(command)
