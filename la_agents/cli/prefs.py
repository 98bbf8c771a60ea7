"""`la-agents prefs`: see, change, move and erase what is stored about one user, and look after the store."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from la_agents.cli import memory as both
from la_agents.cli import review
from la_agents.cli.memory import ExpiresOption, ScopeOption, WeightOption, YesOption, given
from la_agents.cli.options import JsonOption, OpenStore, UserOption, command
from la_agents.cli.terminal import answer, counting_bar, note, print_json, print_table

if TYPE_CHECKING:
    from la_agents.preferences.storage.maintenance import Purged

__all__ = ["app"]

app = typer.Typer(help="See, change, move and erase a user's preferences.", no_args_is_help=True, rich_markup_mode=None)

_USER = both.owner(is_layer=False, user=UserOption)


def add(
    memory: Any,
    text: Annotated[str, typer.Argument(help="The preference, in the user's words; - reads it from standard input.")],
    scope: ScopeOption = None,
    weight: WeightOption = None,
    expires: ExpiresOption = None,
) -> None:
    """Store a preference. Prints its id, and on standard error what that changed."""
    both.add(memory, text, **given(scope=scope, weight=weight, expires_at=expires))


def search(
    memory: Any,
    query: Annotated[str, typer.Argument(help="What to look for, by meaning.")],
    k: Annotated[int, typer.Option("-k", help="How many at most.")] = 5,
    min_relevance: Annotated[
        float | None, typer.Option("--min-relevance", help="Least similarity, -1 to 1.", show_default="any")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Show a user's preferences by similarity to a text."""
    found = memory.search(query, k=k, min_relevance=min_relevance)
    if as_json:
        print_json([{**f.preference.model_dump(mode="json"), "relevance": f.relevance} for f in found])
    elif found:
        rows = [(f"{f.relevance:.2f}", f.preference.id, f.preference.scope, f.preference.text) for f in found]
        print_table(("relevance", "id", "scope", "preference"), rows)
    else:
        note("Nothing is close enough.")


def erase(
    memory: Any,
    yes: YesOption = False,
    purge: Annotated[bool, typer.Option("--purge", help="Also rewrite the store's files without it.")] = False,
) -> None:
    """Erase everything about a user, history included."""
    if purge:
        memory.store.check_purge()
    both.erase(memory, yes=yes)
    if purge:
        purge_(memory.store)


def purge_(store: OpenStore) -> None:
    """Rewrite the store's files without what was erased."""
    with counting_bar("Writing the store anew") as progress:
        done: Purged = store.purge(progress=progress)
    note(
        f"Purged: {done.num_kept} preferences of others kept, {done.num_gone} earlier writes dropped from the log; "
        f"{done.num_bytes_before:,} bytes before, {done.num_bytes_after:,} after. "
        "Backups and snapshots are not reached."
    )


def verify(
    store: OpenStore,
    repair: Annotated[bool, typer.Option("--repair", help="Repair what is wrong.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Check that all records can be read and found. Exit status 1 if not."""
    with counting_bar("Checking") as progress:
        found = store.verify(repair=repair, progress=progress)
    if as_json:
        print_json(asdict(found))
    else:
        answer(f"{found.num_records} records")
        for name in ("unreadable", "misplaced", "unindexed"):
            ids = getattr(found, name)
            answer(f"{len(ids)} {name}{': ' if ids else ''}{' '.join(ids)}")
        note("Repaired." if found.repaired else "Sound." if found.is_sound else "Repair with --repair.")
    if not found.is_sound:
        raise typer.Exit(1)


def migrate(
    store: OpenStore,
    shards: Annotated[
        int | None,
        typer.Option("--shards", help="How many; about one for each 8,000 preferences.", show_default="as now"),
    ] = None,
) -> None:
    """Rewrite the store in the current format. --shards changes the number of shards."""
    with counting_bar("Writing") as progress:
        num_written = store.migrate(shards, progress=progress)
    note(f"Wrote {num_written} preferences{'' if shards is None else f' into {shards} shards'}.")


def stats(store: OpenStore, as_json: JsonOption = False) -> None:
    """Count users and preferences. Also counts texts that try to manipulate the prompt."""
    found = asdict(store.stats())
    if as_json:
        print_json(found)
        return
    for name, number in {**found.pop("states"), **found}.items():
        answer(f"{name.removeprefix('num_'):<12} {'unknown' if number is None else number}")


app.command()(command(add, memory=_USER.writing))
both.add_commands(app, _USER)
for verb in (search, erase, review.pending, review.approve, review.reject):
    app.command()(command(verb, memory=_USER.reading))
for name, upkeep in {"purge": purge_, "verify": verify, "migrate": migrate, "stats": stats}.items():
    app.command(name)(command(upkeep))
