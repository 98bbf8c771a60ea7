"""Conversation and drift: does the next answer follow, after N turns that did not?

conversation   arrives: N answers of the unaligned model, then the principle applies;
               changes: N answers that follow another principle (prompted), then the opposite one applies
drift          the user said it in the first turn, N answers about other things ignore it, and it still applies

In a drift the wish stands in the conversation, so `base`, which names no principle, may follow it, too.

Rows: `<kind> <principle> n=<N>/<setting>/<question>`; `earlier/<principle>/<question>` are answers that come before.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from la_agents.errors import ConfigurationError
from la_agents.evaluation.adherence import MEASURED, MeasuredPrinciple
from la_agents.evaluation.answers import Job
from la_agents.evaluation.cases import EvalCase, complete_cases
from la_agents.evaluation.methods import Setting
from la_agents.evaluation.plots import Panel, Point
from la_agents.evaluation.provenance import provenance_line
from la_agents.evaluation.questions import OpenQuestion
from la_agents.evaluation.reports import ADHERENCE, LEGEND, gained, write_report
from la_agents.evaluation.runs import Row
from la_agents.evaluation.summary import SettingSummary, grouped, summarise
from la_agents.evaluation.tables import Cell, markdown_table
from la_agents.evaluation.text import sentences
from la_agents.evaluation.unaligned import due_blocks, unaligned_answers, unaligned_key
from la_agents.principles import Principle

if TYPE_CHECKING:
    from la_agents.evaluation.runs import Report, Run
    from la_agents.evaluation.subject import Subject

__all__ = ["CHANGES", "DRIFT_PRINCIPLES", "METHODS", "TURNS", "Plan", "Situation", "measure", "report", "situations"]

METHODS = ("prompt", "prompt-system", "prompt-user", "calibrated")
TURNS = (0, 2, 4, 8)
CHANGES: Mapping[str, str] = {"french": "german", "pirate": "formal", "formal": "pirate", "dogs": "space"}
"""The principle that applies, and the one that the answers before it follow."""
DRIFT_PRINCIPLES = ("french", "pirate", "formal", "dogs", "lower-case", "questions")
_STATED = "From now on, in all your answers: {principle}"
_PROMISED = "Understood."
_MAX_TOKENS = 96
_NUM_SENTENCES = 2
"""An earlier answer is its first sentences, so that turns are as long as those of a chat, and none is cut off."""


@dataclass(frozen=True)
class Situation:
    """A principle that applies, and what the conversation before it follows: another one, or nothing."""

    kind: str
    principle: MeasuredPrinciple
    old: MeasuredPrinciple | None = None


def situations(suite: str, names: Sequence[str]) -> list[Situation]:
    """The situations of the suite `conversation` or `drift`, as far as they are about these principles; all for none.

    Raises:
        ConfigurationError: a principle takes no part.
    """
    known = CHANGES if suite == "conversation" else DRIFT_PRINCIPLES
    unknown = [name for name in names if name not in known]
    if unknown:
        msg = f"Expected principles among {', '.join(known)}, got {', '.join(map(repr, unknown))}."
        raise ConfigurationError(msg)
    chosen = [MEASURED[name] for name in known if not names or name in names]
    if suite == "drift":
        return [Situation("drift", principle) for principle in chosen]
    arrives = [Situation("arrives", principle) for principle in chosen]
    return [*arrives, *(Situation("changes", principle, MEASURED[CHANGES[principle.id]]) for principle in chosen)]


@dataclass(frozen=True)
class Plan:
    """What is measured: every situation with every question after so many turns under every setting.

    Attributes:
        pool: What the earlier turns ask about: for each question those that follow it, from the beginning again.
    """

    questions: Sequence[OpenQuestion]
    pool: Sequence[OpenQuestion]
    situations: Sequence[Situation]
    settings: Sequence[Setting]
    turns: Sequence[int] = TURNS
    seed: int = 0

    def __post_init__(self) -> None:
        if len(self.pool) <= max(self.turns):
            msg = f"Expected more than {max(self.turns)} questions, one a turn, got {len(self.pool)}."
            raise ConfigurationError(msg)

    def as_settings(self) -> dict[str, Any]:
        """For the provenance."""
        return {
            "num_questions": len(self.questions),
            "situations": [[one.kind, one.principle.text, one.old and one.old.text] for one in self.situations],
            "turns": list(self.turns),
            "settings": [setting.key for setting in self.settings],
        }

    def before(self, question: OpenQuestion, num_turns: int) -> list[OpenQuestion]:
        """What is asked before a question."""
        place = self.pool.index(question) + 1
        return [self.pool[(place + turn) % len(self.pool)] for turn in range(num_turns)]


def measure(run: Run, subject: Subject, plan: Plan, report: Report | None = None) -> list[Row]:
    """Do what is missing of a plan; its rows in order."""
    earlier = {q for question in plan.questions for q in plan.before(question, max(plan.turns))}
    asked = [question for question in plan.pool if question in earlier or question in plan.questions]
    unaligned = unaligned_answers(run, subject, asked, _MAX_TOKENS, report)
    before = [unaligned_key(question) for question in asked]
    old = {situation.old.id: situation.old for situation in plan.situations if situation.old}
    jobs = {
        f"earlier/{principle.id}/{question.index}": (principle, question)
        for principle in old.values()
        for question in asked
    }
    answers = _answered(run, subject, before, jobs, report)

    def told(situation: Situation, question: OpenQuestion) -> str:
        if situation.old is None:
            return _beginning(unaligned.text(question, _MAX_TOKENS))
        return _beginning(answers[f"earlier/{situation.old.id}/{question.index}"])

    def cases() -> Iterator[EvalCase]:
        for situation in plan.situations:
            stated = (
                ((_STATED.format(principle=situation.principle.text), _PROMISED),) if situation.kind == "drift" else ()
            )
            for num_turns in plan.turns:
                for question in plan.questions:
                    turns = tuple((q.text, told(situation, q)) for q in plan.before(question, num_turns))
                    for setting in plan.settings:
                        yield _case(situation, num_turns, question, setting, (*stated, *turns))

    return complete_cases(run, subject, unaligned, cases(), before=[*before, *jobs], seed=plan.seed, report=report)


def _answered(
    run: Run,
    subject: Subject,
    before: Sequence[str],
    due: Mapping[str, tuple[MeasuredPrinciple, OpenQuestion]],
    report: Report | None,
) -> dict[str, str]:
    """Prompted answers by key, generated or taken from the run."""
    jobs = [
        Job(question.text, (Principle(principle.text),), Setting("prompt"), max_tokens=_MAX_TOKENS, key=key)
        for key, (principle, question) in due.items()
    ]

    def work(keys: Sequence[str]) -> Iterator[tuple[str, Row]]:
        for block in due_blocks(jobs, keys):
            for answer in subject.answer(block):
                if answer.job.key in keys:
                    yield answer.job.key, {"answer": answer.text}

    rows = run.complete([*before, *due], work, report)
    return {row["key"]: row["answer"] for row in rows[len(before) :]}


def _beginning(answer: str) -> str:
    return " ".join(sentences(answer)[:_NUM_SENTENCES]) or "-"


def _case(
    situation: Situation, num_turns: int, question: OpenQuestion, setting: Setting, earlier: tuple[tuple[str, str], ...]
) -> EvalCase:
    key = f"{situation.kind} {situation.principle.id} n={num_turns}/{setting.key}/{question.index}"
    fields = {"kind": situation.kind, "principle": situation.principle.id, "turns": num_turns}
    return EvalCase(key, question, ((situation.principle, 1.0),), setting, fields, earlier=earlier)


def report(folder: Path, header: Row, rows: Sequence[Row]) -> list[Path]:
    """Adherence after each number of turns, over all principles and for each."""
    line, name = provenance_line(header), header["provenance"]["suite"]
    columns = ["kind", "turns", "setting", "answers", "adherence", "gain", "ppl_1"]
    cells: list[list[Cell]] = [
        [kind, num_turns, *_cells(summary)]
        for kind, own in grouped(rows, "kind").items()
        for num_turns, part in grouped(own, "turns").items()
        for summary in summarise(part)
    ]
    by_principle: list[list[Cell]] = [
        [kind, principle, num_turns, *_cells(summary)]
        for kind, own in grouped(rows, "kind").items()
        for principle, some in grouped(own, "principle").items()
        for num_turns, part in grouped(some, "turns").items()
        for summary in summarise(part)
    ]
    panels = [Panel(k, "turns", "adherence", _curves(own), ADHERENCE) for k, own in grouped(rows, "kind").items()]
    tables = [
        LEGEND,
        markdown_table(columns, cells, line),
        "## By principle\n",
        markdown_table(["kind", "principle", *columns[1:]], by_principle, line),
    ]
    return write_report(folder, name, name.capitalize(), tables, panels, line)


def _cells(summary: SettingSummary) -> list[Cell]:
    found = [summary.setting, summary.num_answers, str(summary.adherence), gained(summary.gain)]
    return [*found, summary.perplexity_prompted]


def _curves(rows: Sequence[Row]) -> dict[str, list[Point]]:
    curves: dict[str, list[Point]] = {}
    for num_turns, part in grouped(rows, "turns").items():
        for summary in summarise(part):
            y = summary.adherence
            curves.setdefault(summary.setting, []).append(Point(num_turns, y.mean, y.low, y.high))
    return curves
