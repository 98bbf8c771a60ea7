"""Preferences as JSON lines: one object a line, without the user, who is named by whoever imports them."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Literal

from pydantic import AwareDatetime, Field

from la_agents.errors import InvalidPreferenceError
from la_agents.preferences.history import Change
from la_agents.preferences.lifecycle import MAX_CHANGES, added
from la_agents.preferences.records import StoredPreference
from la_agents.preferences.schema import Preference, PreferenceDraft, Source, utc_now, validated

__all__ = ["read_lines", "write_lines"]

_VERSION = 1

PathOrFile = str | os.PathLike[str] | IO[str]


class ImportedLine(PreferenceDraft):
    """One line of an import: an exported preference, or as little as `{"text": "..."}`."""

    version: Literal[1] = 1
    id: str | None = Field(default=None, pattern=r"^[A-Za-z0-9_-]{1,64}$")
    source: Source = "imported"
    created_at: AwareDatetime | None = None
    updated_at: AwareDatetime | None = None
    num_said: int = Field(default=1, ge=1)
    superseded_at: AwareDatetime | None = None
    superseded_by: str | None = Field(default=None, pattern=r"^[A-Za-z0-9_-]{1,64}$")
    forgotten_at: AwareDatetime | None = None
    history: list[Change] = Field(default_factory=list, max_length=MAX_CHANGES)

    def record(self, user: str) -> StoredPreference:
        """The preference it describes. Without an id it gets one of its text, so importing is idempotent."""
        values = self.model_dump(exclude={"version", "history"})
        values["id"] = self.id or hashlib.blake2b(self.text.encode(), digest_size=8).hexdigest()
        values["created_at"] = self.created_at or utc_now()
        values["updated_at"] = self.updated_at or values["created_at"]
        preference = Preference(user_id=user, **values)
        return StoredPreference(preference, changes=tuple(self.history) or added(preference).changes)


def write_lines(target: PathOrFile, records: Iterable[StoredPreference]) -> int:
    """Write the preferences and return their number; a path is replaced at the end, never half written."""
    number = 0
    with _opened_for_writing(target) as file:
        for record in records:
            values = {"version": _VERSION, **record.preference.model_dump(mode="json", exclude={"user_id"})}
            values["history"] = [change.model_dump(mode="json", exclude_defaults=True) for change in record.changes]
            file.write(json.dumps(values, ensure_ascii=False) + "\n")
            number += 1
    return number


def read_lines(source: PathOrFile, user: str) -> list[StoredPreference]:
    """Read all lines as preferences of this user; blank lines are passed over.

    Raises:
        InvalidPreferenceError: a line is malformed, or repeats an id with other content; the message names it.
    """
    found: dict[str, StoredPreference] = {}
    with _opened_for_reading(source) as lines:
        for where, values in _objects(lines):
            record = validated(ImportedLine, values, where).record(user)
            known = found.setdefault(record.preference.id, record)
            if known is not record and known.preference.text != record.preference.text:
                msg = f"{where}Expected one preference an id, got another text under an id used above."
                raise InvalidPreferenceError(msg)
    return list(found.values())


def _objects(lines: Iterable[str | bytes]) -> Iterator[tuple[str, dict[str, Any]]]:
    for number, line in enumerate(lines, start=1):
        where = f"line {number}: "
        try:
            text = line.decode("utf-8-sig") if isinstance(line, bytes) else line
            values = json.loads(text) if text.strip() else None
        except ValueError as error:  # UnicodeDecodeError and JSONDecodeError
            msg = f"{where}Expected one JSON object in UTF-8, got something else ({type(error).__name__})."
            raise InvalidPreferenceError(msg) from None
        if values is None and not text.strip():
            continue
        if not isinstance(values, dict):
            msg = f"{where}Expected one JSON object, got {type(values).__name__}."
            raise InvalidPreferenceError(msg)
        yield where, values


@contextmanager
def _opened_for_reading(source: PathOrFile) -> Iterator[Iterable[str | bytes]]:
    if not isinstance(source, (str, os.PathLike)):
        yield source
        return
    with Path(source).open("rb") as file:
        yield file


@contextmanager
def _opened_for_writing(target: PathOrFile) -> Iterator[IO[str]]:
    if not isinstance(target, (str, os.PathLike)):
        yield target
        return
    path = Path(target)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with part.open("w", encoding="utf-8", newline="\n") as file:
            yield file
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
