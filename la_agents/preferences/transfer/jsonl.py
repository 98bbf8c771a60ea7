"""Preferences as JSON lines: one object a line, without the user, who is named by whoever imports them."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Annotated, Any, Literal

from pydantic import AwareDatetime, Field

from la_agents.errors import InvalidPreferenceError
from la_agents.preferences.history import Change, Operation
from la_agents.preferences.lifecycle import MAX_CHANGES, added, bounded
from la_agents.preferences.preference import (
    MAX_LINKS,
    Id,
    Preference,
    PreferenceDraft,
    Review,
    Source,
    utc_now,
    validated,
)
from la_agents.preferences.record import StoredPreference
from la_agents.preferences.storage.pages import Progress
from la_agents.preferences.storage.spill import Spill
from la_agents.preferences.transfer.foreign import ExportFormat, check_format, owner_in, translated

__all__ = ["ExportFormat", "PathOrFile", "copy_lines", "read_lines", "rereadable", "write_lines"]

_VERSION = 1
_LEFT_OUT = {"user_id", "superseded_until"}

_MAX_FIRST_CHARS = 10_000
"""How long the first entry of a history may be: it is never dropped."""

PathOrFile = str | os.PathLike[str] | IO[str]


class ImportedLine(PreferenceDraft):
    """One line of an import: an exported preference, or as little as `{"text": "..."}`."""

    version: Literal[1] = 1
    id: Id | None = None
    source: Source = "imported"
    created_at: AwareDatetime | None = None
    updated_at: AwareDatetime | None = None
    last_said_at: AwareDatetime | None = None
    num_said: int = Field(default=1, ge=1)
    superseded_at: AwareDatetime | None = None
    superseded_by: Id | None = None
    also_superseded_by: tuple[Id, ...] = Field(default=(), max_length=MAX_LINKS)
    superseded_until: AwareDatetime | None = None  # in exports of older releases; derived
    forgotten_at: AwareDatetime | None = None
    review: Review | None = None
    kept_beside: tuple[Annotated[str, Field(max_length=64)], ...] = Field(default=(), max_length=MAX_LINKS)
    history: list[Change] = Field(default_factory=list, max_length=MAX_CHANGES)

    def record(self, user: str) -> StoredPreference:
        """The preference it describes. Without an id it gets one of its text, so importing is idempotent."""
        values = self.model_dump(exclude={"version", "history", "superseded_until"})
        values["id"] = self.id or hashlib.blake2b(self.text.encode(), digest_size=8).hexdigest()
        values["created_at"] = self.created_at or utc_now()
        values["updated_at"] = self.updated_at or values["created_at"]
        values["last_said_at"] = self.last_said_at or values["updated_at"]
        preference = Preference(user_id=user, **values)
        changes = bounded(self.history)
        if not changes or len(changes[0].model_dump_json()) > _MAX_FIRST_CHARS:
            changes = (*added(preference, Operation(preference.created_at)), *changes[1:])
        return StoredPreference(preference, changes=changes)


def write_lines(file: IO[str], records: Iterable[StoredPreference]) -> int:
    """Write the preferences and return their number."""
    number = 0
    for record in records:
        values = {"version": _VERSION, **record.preference.model_dump(mode="json", exclude=_LEFT_OUT)}
        values["history"] = [change.model_dump(mode="json", exclude_defaults=True) for change in record.changes]
        file.write(json.dumps(values, ensure_ascii=False) + "\n")
        number += 1
    return number


def copy_lines(lines: Iterable[str], target: PathOrFile, number: int, progress: Progress | None) -> None:
    """Write lines where they were asked for; a path is replaced at the end, never half written."""
    with _opened_for_writing(target) as file:
        for done, line in enumerate(lines, start=1):
            file.write(line)
            if progress is not None and (done % 100 == 0 or done == number):
                progress(done, number)


def read_lines(
    path: Path,
    user: str,
    source_format: ExportFormat = "la-agents",
    on_bad: Callable[[str], None] | None = None,
    check: Callable[[StoredPreference], None] | None = None,
) -> Iterator[StoredPreference]:
    """Read the lines as preferences of this user, one at a time; blank lines and repeated ones are passed over.

    Args:
        path: The file.
        user: Whose they become.
        source_format: Whose records they are.
        on_bad: Called with the message for each bad line, which is passed over; None raises at the first.
        check: Raises InvalidPreferenceError for what may not be stored.

    Raises:
        ConfigurationError: there is no such format.
        InvalidPreferenceError: a line is malformed or another user's, or repeats an id with other content; the message
            names it.
    """
    check_format(source_format)
    owners: set[str] = set()
    with Spill[bytes]() as seen, path.open("rb") as file:
        for where, line in _lines(file, source_format):
            try:
                record = _record(where, line, user, source_format, owners)
                _check(where, record, check)
                text = hashlib.blake2b(record.preference.text.encode(), digest_size=8).digest()
                known = seen.get(record.preference.id)
                if known is not None and known != text:
                    msg = f"{where}Expected one preference an id, got another text under an id used above."
                    raise InvalidPreferenceError(msg)
            except InvalidPreferenceError as error:
                if on_bad is None:
                    raise
                on_bad(str(error))
                continue
            if known is None:
                seen[record.preference.id] = text
                yield record


@contextmanager
def rereadable(source: PathOrFile) -> Iterator[Path]:
    """A path that can be read more than once: what comes as a stream is put into a temporary file."""
    if isinstance(source, (str, os.PathLike)):
        yield Path(source)
        return
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "import.jsonl"
        with copy.open("wb") as file:
            for line in source:
                file.write(line.encode("utf-8", "surrogatepass") if isinstance(line, str) else line)
        yield copy


def _lines(file: IO[bytes], source_format: ExportFormat) -> Iterator[tuple[str, Any]]:
    """Where each line is, and the line; of another library's file that is one JSON array or object, its records."""
    whole = None if source_format == "la-agents" else _whole(file)
    if whole is not None:
        yield from ((f"record {number}: ", values) for number, values in enumerate(whole, start=1))
        return
    file.seek(0)
    for number, line in enumerate(file, start=1):
        if line.strip():
            yield f"line {number}: ", line


def _whole(file: IO[bytes]) -> list[Any] | None:
    """The records of a file that is one JSON value; None if it is JSON lines, which are told by the first two."""
    filled = (line for line in file if line.strip())
    first, second = next(filled, b""), next(filled, None)
    if second is not None and _is_json(first):
        return None
    file.seek(0)
    try:
        values = json.load(file)
    except (ValueError, RecursionError):
        return None
    if isinstance(values, dict):
        values = values.get("results", values.get("memories", values.get("items", [values])))
    return values if isinstance(values, list) else [values]


def _is_json(line: bytes) -> bool:
    try:
        json.loads(line.decode("utf-8-sig"))
    except (ValueError, RecursionError):
        return False
    return True


def _record(where: str, line: Any, user: str, source_format: ExportFormat, owners: set[str]) -> StoredPreference:
    try:
        values = json.loads(line.decode("utf-8-sig")) if isinstance(line, bytes) else line
    except (ValueError, RecursionError) as error:  # UnicodeDecodeError and JSONDecodeError are ValueErrors
        msg = f"{where}Expected one JSON object in UTF-8, got something else ({type(error).__name__})."
        raise InvalidPreferenceError(msg) from None
    if not isinstance(values, dict):
        msg = f"{where}Expected one JSON object, got {type(values).__name__}."
        raise InvalidPreferenceError(msg)
    owner = owner_in(values, source_format)
    if owner is not None and owners and owner not in owners:
        msg = f"{where}Expected the memories of one user, got another's too; export and import one user at a time."
        raise InvalidPreferenceError(msg)
    owners.update(() if owner is None else (owner,))
    try:
        values = translated(values, source_format)
    except ValueError as error:
        msg = f"{where}{error}."
        raise InvalidPreferenceError(msg) from None
    return validated(ImportedLine, values, where).record(user)


def _check(where: str, record: StoredPreference, check: Callable[[StoredPreference], None] | None) -> None:
    """Raise what the check raises, with the place."""
    try:
        if check is not None:
            check(record)
    except InvalidPreferenceError as error:
        msg = f"{where}{error}"
        raise InvalidPreferenceError(msg) from None


@contextmanager
def _opened_for_writing(target: PathOrFile) -> Iterator[IO[str]]:
    if not isinstance(target, (str, os.PathLike)):
        yield target
        return
    path = Path(target)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with open(part, "w", encoding="utf-8", newline="\n", opener=_private) as file:
            yield file
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def _private(path: str, flags: int) -> int:
    """Open a file that only its owner may read."""
    return os.open(path, flags, 0o600)
