"""The commands that `la-agents prefs` and `la-agents layers` share: on a user's preferences, or a layer's."""

from __future__ import annotations

import os
import re
import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta, timezone
from enum import Enum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from la_agents.cli import review
from la_agents.cli.options import ForceOption, JsonOption, Options, Settings, StoreOption, command, settings_of
from la_agents.cli.terminal import answer, check_new, clean, counting_bar, note, print_json, print_table, text_of
from la_agents.errors import ConfigurationError

if TYPE_CHECKING:
    from la_agents.preferences.history import Change
    from la_agents.preferences.preference import Preference
    from la_agents.preferences.store import PreferenceStore

__all__ = [
    "ExpiresOption",
    "Owned",
    "ScopeOption",
    "WeightOption",
    "YesOption",
    "add",
    "add_commands",
    "erase",
    "given",
    "owner",
    "show",
]


class Scope(str, Enum):
    """When a preference applies."""

    always = "always"
    relevant = "relevant"


class ExportFormat(str, Enum):
    """The program that wrote the file."""

    la_agents = "la-agents"
    mem0 = "mem0"
    langmem = "langmem"


def _expiry(text: str) -> datetime:
    """A number of days such as 30d, or a date or time, in the local time zone unless it names another."""
    now, days = datetime.now(timezone.utc), re.fullmatch(r"(\d{1,6})d", text)
    plain = text.replace("Z", "+00:00")  # which Python 3.10 does not read
    try:
        found = now + timedelta(days=int(days[1])) if days else datetime.fromisoformat(plain).astimezone()
    except (ValueError, OverflowError) as error:
        msg = f"Expected a date such as 2027-01-31 or a number of days such as 30d, got {text!r}."
        raise ConfigurationError(msg) from error
    if found <= now:
        msg = f"Expected a time that is still to come, got {text}."
        raise ConfigurationError(msg)
    return found


IdArgument = Annotated[str, typer.Argument(metavar="ID", help="The id that `list` shows.")]
ScopeOption = Annotated[
    Scope | None,
    typer.Option("--scope", help="For every call, or for those it is relevant to.", show_default="relevant if new"),
]
WeightOption = Annotated[
    float | None, typer.Option("--weight", help="1 is normal, 0 switches it off.", show_default="1 if new")
]
ExpiresOption = Annotated[
    datetime | None,
    typer.Option(
        "--expires",
        parser=_expiry,
        metavar="DATE",
        help="Applies until then: 2027-01-31, or 30d.",
        show_default="never if new",
    ),
]
YesOption = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]


class Owned:
    """The store's methods, bound to the preferences of one user or one layer."""

    def __init__(self, store: PreferenceStore, name: str, *, is_layer: bool, settings: Settings) -> None:
        self.store, self.name, self.is_layer, self.settings = store, name, is_layer, settings

    def __getattr__(self, verb: str) -> Callable[..., Any]:
        shared: Callable[..., Any] | None = getattr(self.store.shared(self.name), verb) if self.is_layer else None
        return shared or partial(getattr(self.store, verb), self.name)

    @property
    def what(self) -> str:
        """How messages say that a preference is there."""
        return f"is in the layer {self.name}" if self.is_layer else f"is stored about {self.name}"

    def command(self, verb: str) -> str:
        """The command line of another verb on these preferences."""
        given, name = self.settings.store, shlex.quote(self.name)
        store = "" if given in (None, os.environ.get("LA_AGENTS_STORE")) else f"--store {shlex.quote(str(given))} "
        action, _, rest = verb.partition(" ")
        return f"la-agents {store}" + (
            f"layers {action} {name} {rest}" if self.is_layer else f"prefs {verb} --user {name}"
        )


def add(memory: Owned, text: str, **options: Any) -> None:
    """Store a preference: print its id, and on standard error what that changed."""
    added = memory.add(text_of(text), **options)
    answer(added.id)
    last, undo = memory.history(added.id)[-1], f"Take it back: {memory.command(f'undo {added.id}')}"
    if last.kind == "added":
        note(f"Added; it applies until {_until(added)}." if added.expires_at else "Added.")
    else:
        note(f"Nothing new is stored: it says the same as {added.id}, {added.text!r}. {undo}")
    replaced = [one for one in memory.archive() if one.superseded_by == added.id]
    for one in replaced:
        if memory.history(one.id)[-1].is_of(last):
            note(f"It supersedes {one.id}, {one.text!r}. {undo}")
    if last.kind == "added":
        _note_conflicts(memory, added)
        if "scope" not in options and added.suggested_scope != added.scope:
            note(f"To use it in every call: {memory.command(f'update {added.id} --scope always')}")


def _note_conflicts(memory: Owned, added: Preference) -> None:
    for pair in memory.conflicts():
        if added.id in (pair.older.id, pair.newer.id):
            other = pair.older if pair.newer.id == added.id else pair.newer
            decide = memory.command(f"decide {pair.older.id} {pair.newer.id} --keep newer")
            note(f"It may conflict with {other.id}, {other.text!r}. Decide: {decide}")


def _list(
    memory: Any,
    everything: Annotated[
        bool, typer.Option("--all", help="Also superseded, expired, forgotten and proposed ones.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """List what is stored."""
    if not as_json:
        show(memory, everything=everything)
        return
    preferences, left_out = _stored(memory, everything=everything), {"user_id"} if memory.is_layer else None
    print_json([{**one.model_dump(mode="json", exclude=left_out), "state": one.state} for one in preferences])
    _note_flags(preferences)


def show(memory: Owned, *, everything: bool = False) -> None:
    """Print a table of what is stored."""
    preferences = _stored(memory, everything=everything)
    columns: dict[str, Callable[[Preference], str]] = {
        "id": lambda one: one.id,
        "scope": lambda one: one.scope,
        "weight": lambda one: f"{one.weight:g}",
        **({"locked": lambda one: "yes" * one.locked} if memory.is_layer else {}),
        **({"state": lambda one: one.state} if everything else {}),
        **({"until": _until} if any(one.expires_at for one in preferences) else {}),
        "preference": lambda one: one.text,
    }
    if preferences:
        print_table(tuple(columns), [tuple(cell(one) for cell in columns.values()) for one in preferences])
    else:
        memory.settings.note_missing()
        note(f"Nothing {memory.what}. Add with: {memory.command('add TEXT')}")
    _note_flags(preferences)


def _until(one: Preference) -> str:
    return f"{one.expires_at.astimezone():%Y-%m-%d %H:%M}" if one.expires_at else ""


def _stored(memory: Owned, *, everything: bool) -> list[Preference]:
    if not everything:
        return list(memory.list())
    waiting = [] if memory.is_layer else memory.store.proposals.list(memory.name)
    return [*memory.list(), *waiting, *memory.archive()]


def _note_flags(preferences: Sequence[Preference]) -> None:
    from la_agents.preferences.screening import flags

    for one in preferences:
        if reasons := flags(one.text):
            note(f"Look at {one.id}: it {' and '.join(reasons)}. It is used as data only.")


def _history(memory: Any, id: IdArgument, as_json: JsonOption = False) -> None:
    """Show what happened to a preference, the oldest first."""
    changes: Sequence[Change] = memory.history(id)
    if as_json:
        print_json([change.model_dump(mode="json") for change in changes])
        return
    rows = [
        (f"{c.at:%Y-%m-%d %H:%M}", f"{c.kind}{' (taken back)' * c.undone}", c.why, c.by or "", _before(c.before))
        for c in changes
    ]
    print_table(("when", "what", "why", "by", "before"), rows)


def _before(values: Mapping[str, Any]) -> str:
    """What a change replaced, in a line; times are in the history anyway."""
    return ", ".join(f"{name}: {value}" for name, value in values.items() if value is not None and name[-3:] != "_at")


def _undo(memory: Any, id: IdArgument) -> None:
    """Take back the latest change of a preference. Merged, superseded, updated or forgotten."""
    for preference in memory.undo(id):
        answer(f"{preference.id}  {preference.state}  {preference.text}")


def _update(
    memory: Any,
    id: IdArgument,
    text: Annotated[str | None, typer.Option("--text", help="New wording.")] = None,
    scope: ScopeOption = None,
    weight: WeightOption = None,
    expires: ExpiresOption = None,
) -> None:
    """Change a preference; what is not given stays."""
    changes = given(text=text, scope=scope, weight=weight, expires_at=expires)
    if not changes:
        msg = "Expected at least one of --text, --scope, --weight and --expires, got none."
        raise ConfigurationError(msg)
    memory.update(id, **changes)
    note(f"Updated {id}. Take it back: {memory.command(f'undo {id}')}")


def _forget(memory: Any, id: IdArgument) -> None:
    """Stop applying a preference; undo brings it back."""
    forgotten = memory.forget(id)
    note(f"Forgot {id}, {forgotten.text!r}. Take it back: {memory.command(f'undo {id}')}")


def erase(memory: Owned, *, yes: bool) -> None:
    """Erase everything that is stored, history included."""
    if not yes:
        typer.confirm(clean(f"Erase everything that {memory.what}?"), abort=True, err=True)
    note(f"Erased {memory.erase()} preferences of {memory.name}, history included.")


def _export(
    memory: Any,
    file: Annotated[Path, typer.Argument(help="Where to write JSON Lines; - is standard output.")],
    force: ForceOption = False,
) -> None:
    """Write all preferences to a file."""
    check_new(file, "FILE", force=force)
    with counting_bar("Exporting") as progress:
        number = memory.export(sys.stdout if str(file) == "-" else file, progress=progress)
    note(f"Wrote {number} preferences to {'standard output' if str(file) == '-' else file}.")


def _import(
    memory: Any,
    file: Annotated[Path, typer.Argument(help="JSON Lines; - is standard input.")],
    source_format: Annotated[
        ExportFormat, typer.Option("--from", help="Which program wrote it.")
    ] = ExportFormat.la_agents,
    skip_bad: Annotated[bool, typer.Option("--skip-bad", help="Skip bad lines instead of refusing the file.")] = False,
) -> None:
    """Read preferences from a file."""
    on_bad = (lambda message: note(f"Skipped: {message}")) if skip_bad else None
    source = sys.stdin if str(file) == "-" else file
    if source is file and not file.is_file():
        msg = f"Expected a file to read, got {file}, which is none."
        raise ConfigurationError(msg)
    with counting_bar("Importing") as progress:
        number = memory.import_(source, source_format=source_format.value, on_bad=on_bad, progress=progress)
    note(f"Read {number} preferences from {'standard input' if str(file) == '-' else file}.")


class Owner(NamedTuple):
    """How a command line names whose preferences a command is about, as options of `command`."""

    reading: Options
    writing: Options
    """Makes the store if it is not there."""


def owner(*, is_layer: bool, **name: Any) -> Owner:
    """Of the one option or argument that says the name."""

    def make(ctx: typer.Context, store: str | None, *, reading: bool, **named: str) -> Owned:
        settings = settings_of(ctx, store)
        opened = ctx.with_resource(settings.open_store(reading=reading))
        return Owned(opened, *named.values(), is_layer=is_layer, settings=settings)

    return Owner(*(Options(partial(make, reading=reading), **name, store=StoreOption) for reading in (True, False)))


def add_commands(app: typer.Typer, owner: Owner) -> None:
    """The commands that both groups have."""
    verbs: dict[str, Callable[..., None]] = {
        "list": _list,
        "history": _history,
        "undo": _undo,
        "update": _update,
        "forget": _forget,
        "export": _export,
        "conflicts": review.conflicts,
        "decide": review.decide,
    }
    for name, verb in verbs.items():
        app.command(name)(command(verb, memory=owner.reading))
    app.command("import")(command(_import, memory=owner.writing))


def given(**arguments: Any) -> dict[str, Any]:
    """The arguments that were given, in the store's words; the others keep the store's defaults."""
    plain = {name: value.value if isinstance(value, Enum) else value for name, value in arguments.items()}
    return {name: value for name, value in plain.items() if value is not None}
