"""Suites of choices from end to end: PrefEval's classification task and personal preferences, from the user's file."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any

from la_agents.errors import ConfigurationError
from la_agents.evaluation import choices, personal, prefeval
from la_agents.evaluation.choice_tables import choice_panels, choice_tables
from la_agents.evaluation.choices import Choice, row_key
from la_agents.evaluation.methods import Setting
from la_agents.evaluation.plots import save_panels
from la_agents.evaluation.provenance import provenance_line
from la_agents.evaluation.runs import Report, Row, Run

if TYPE_CHECKING:
    from la_agents.evaluation.subject import Subject

__all__ = ["READERS", "Plan", "first_of_each", "measure", "report"]

READERS: dict[str, Callable[[Path, int], list[Choice]]] = {
    "prefeval-mcq": prefeval.read_choices,
    "personal-preference": personal.read_choices,
}
"""What reads the data of which suite."""


@dataclass(frozen=True)
class Plan:
    """What is measured: every choice under every setting."""

    choices: Sequence[Choice]
    settings: Sequence[Setting]
    seed: int = 0

    def as_settings(self) -> dict[str, Any]:
        """For the provenance."""
        return {"num_choices": len(self.choices), "settings": [setting.key for setting in self.settings]}


def first_of_each(found: Sequence[Choice], limit: int | None) -> list[Choice]:
    """The first questions of every topic or domain, so many in all that `limit` is reached; in the order of the data.

    Everybody who asks one question stays with it.

    Raises:
        ConfigurationError: the limit is below 1.
    """
    if limit is not None and limit < 1:
        msg = f"Expected a limit of at least 1, got {limit}; leave it out for all questions."
        raise ConfigurationError(msg)
    by_topic: dict[str, list[list[Choice]]] = {}
    for own in choices.items(found):
        by_topic.setdefault(own[0].group, []).append(own)
    in_turn = [own for turn in zip_longest(*by_topic.values()) for own in turn if own is not None]
    kept = {choice.key for own in in_turn[:limit] for choice in own}
    return [choice for choice in found if choice.key in kept]


def measure(run: Run, subject: Subject, plan: Plan, report: Report | None = None) -> list[Row]:
    """Do what is missing of a plan; its rows in order."""
    keys = [row_key(choice, setting) for choice in plan.choices for setting in plan.settings]

    def work(missing: Sequence[str]) -> Iterator[tuple[str, Row]]:
        return choices.measure(
            subject.engine, subject.builder, plan.choices, plan.settings, seed=plan.seed, keys=frozenset(missing)
        )

    return run.complete(keys, work, report)


def report(folder: Path, header: Row, rows: Sequence[Row]) -> list[Path]:
    """How often the option that follows the principle was chosen."""
    name, line = header["provenance"]["suite"], provenance_line(header)
    page, picture = folder / f"{name}.md", folder / f"{name}.png"
    save_panels(picture, choice_panels(rows), line, columns=4)
    page.write_text(f"# {name}\n\n{choice_tables(rows, line)}\n![accuracy]({picture.name})\n", encoding="utf-8")
    return [page, picture]
