"""`la-agents doctor`: what is installed, which model and store would be used, and how to install what is missing."""

from __future__ import annotations

import platform
import re
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from la_agents.cli import timing
from la_agents.cli.options import PlacesSettings, Settings, command
from la_agents.cli.terminal import answer, clean
from la_agents.errors import LaAgentsError
from la_agents.models.local_extra import PACKAGES, REMEDY
from la_agents.wheels import EMBEDDING_MODEL, SETUP_COMMAND

if TYPE_CHECKING:
    from la_agents.preferences.storage.inspection import Stats

__all__ = ["doctor"]

_SAMPLE = 1_000
"""Preferences that are looked at; all of them would take minutes in a store of a million (`prefs stats` does)."""


@dataclass(frozen=True)
class Finding:
    """One line of the report; `remedy` is the command that installs or repairs it, None if nothing is wrong."""

    subject: str
    detail: str
    remedy: str | None = None


@command
def doctor(
    settings: PlacesSettings,
    time: Annotated[bool, typer.Option("--time", help="Also measure start-up to first token.")] = False,
) -> None:
    """Check packages, models and store. Exit status 1 if something is missing."""
    findings = [*_packages(), _model(settings), _embeddings(), _store(settings)]
    for finding in findings:
        answer(clean(f"{finding.subject:<16} {finding.detail}"))
    remedies = [finding for finding in findings if finding.remedy]
    for finding in remedies:
        answer(f"\nMissing: {finding.subject}. Run: {finding.remedy}")
    if remedies:
        raise typer.Exit(1)
    if time:
        timing.report(settings.model)


def _packages() -> Iterator[Finding]:
    """This library, Python, and every package that the library or its extra `local` requires."""
    yield Finding("la-agents", metadata.version("la-agents"))
    yield Finding("python", f"{platform.python_version()} on {platform.system()} {platform.machine()}")
    remedies: dict[str, str | None] = {}  # by name: several extras require the same package
    for requirement in metadata.requires("la-agents") or []:
        name, *_ = re.split(r"[^\w.-]", requirement, maxsplit=1)
        if "extra ==" not in requirement or name in PACKAGES:
            remedies.setdefault(name, REMEDY if name in PACKAGES else None)
    yield from map(_package, remedies, remedies.values())


def _package(name: str, remedy: str | None) -> Finding:
    try:
        return Finding(name, metadata.version(name))
    except metadata.PackageNotFoundError:
        return Finding(name, "not installed", remedy or f"pip install {name}")


def _model(settings: Settings) -> Finding:
    """Which model would answer, and from where; nothing is converted or fetched to find out."""
    from la_agents.models.files import DEFAULT_MODEL

    name = settings.model or DEFAULT_MODEL
    if name == DEFAULT_MODEL:
        return _bundled_model(name)
    if Path(name).expanduser().exists():
        return Finding("model", f"{name} (local)")
    return Finding("model", f"{name} (from the Hugging Face hub, or its local cache)")


def _bundled_model(name: str) -> Finding:
    from la_agents.models.conversion import is_converted
    from la_agents.models.files import bundled_gguf, cache_folder

    copy = cache_folder() / "models" / name
    gguf = bundled_gguf()
    if is_converted(copy):
        return Finding("model", f"{name}, converted copy in {copy}")
    if gguf is not None:
        return Finding("model", f"{name}, from {gguf}; the first use converts it into {copy}")
    return Finding("model", f"{name}, not here yet", SETUP_COMMAND)


def _embeddings() -> Finding:
    folder = EMBEDDING_MODEL.find()
    if folder is None:
        return Finding("embeddings", f"{EMBEDDING_MODEL.model}, not here yet", SETUP_COMMAND)
    return Finding("embeddings", f"{EMBEDDING_MODEL.model}, from {folder}")


def _store(settings: Settings) -> Finding:
    """Whether the store opens; one that does not exist yet is not made."""
    where = settings.location
    if not settings.is_server and not Path(where).exists():
        return Finding("store", f"{where} (none yet; the first `la-agents prefs add` makes it)")
    try:
        with settings.open_store() as store:
            stats = store.stats(at_most=_SAMPLE)
    except LaAgentsError as error:
        remedy = f"chroma run, at {where}" if settings.is_server else "la-agents --store with another folder"
        return Finding("store", f"{where}: {error}", remedy)
    kind = "Chroma server" if settings.is_server else "embedded"
    return Finding("store", f"{where} ({kind}, opens{_suspicious(stats)})")


def _suspicious(stats: Stats) -> str:
    """What looks like an attempt on the prompt, and in how many preferences that was looked for."""
    is_whole = stats.num_read == stats.num_records
    if is_whole and not stats.num_flagged:
        return ""
    sample = "" if is_whole else f" of {stats.num_read:,} looked at, of {stats.num_records:,},"
    return f"; {stats.num_flagged:,} preferences{sample} look like an attempt on the prompt"
