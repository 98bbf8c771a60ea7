"""Conversation and drift: does the next answer follow, after N turns that did not?

conversation   arrives: N answers of the unaligned model, then the principle applies;
               changes: N answers that follow another principle (prompted), then the opposite one applies
drift          the user said it in the first turn, N answers about other things ignore it, and it still applies

In a drift the wish stands in the conversation, so `base`, which names no principle, may follow it, too.

Rows: `<kind> <principle> n=<N>/<setting>/<question>`; `earlier/<principle>/<question>` are answers that come before.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING

from la_agents.errors import ConfigurationError
from la_agents.evaluation.adherence import MEASURED, MeasuredPrinciple
from la_agents.evaluation.cases import Case
from la_agents.evaluation.measuring import complete_cases, follow_case, unaligned_answers
from la_agents.evaluation.methods import BASE, Setting
from la_agents.evaluation.plots import Panel, Point
from la_agents.evaluation.provenance import provenance_line
from la_agents.evaluation.questions import DEFAULT_QUESTIONS, OpenQuestion, read_questions
from la_agents.evaluation.reports import ADHERENCE, LEGEND, cells, point
from la_agents.evaluation.runs import Row
from la_agents.evaluation.suites import Options, Plan, Suite
from la_agents.evaluation.summary import SettingSummary, grouped, summarise
from la_agents.evaluation.tables import Cell, markdown_table
from la_agents.evaluation.text import sentences
from la_agents.principles import Principle

if TYPE_CHECKING:
    from la_agents.evaluation.runs import Report, Run
    from la_agents.evaluation.subject import Subject

__all__ = ["CONVERSATION", "DRIFT", "plan_of", "situations"]

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


def plan_of(suite: str, options: Options, turns: Sequence[int] = TURNS) -> Plan:
    """Every situation with every question after so many turns under every setting.

    What the earlier turns ask about are, for each question, those that follow it, from the beginning again.

    Raises:
        ConfigurationError: there are too few questions for that.
    """
    settings = options.settings(METHODS, (2.0,))
    if suite == "drift":  # what the conversation itself achieves
        settings = [BASE, *settings]
    questions, pool = options.questions(), read_questions(options.data or DEFAULT_QUESTIONS)
    if len(pool) <= max(turns):
        msg = f"Expected more than {max(turns)} questions, one a turn, got {len(pool)}."
        raise ConfigurationError(msg)
    found = situations(suite, options.principles)

    def before(question: OpenQuestion, num_turns: int) -> list[OpenQuestion]:
        place = pool.index(question) + 1
        return [pool[(place + turn) % len(pool)] for turn in range(num_turns)]

    def measure(run: Run, subject: Subject, report: Report | None = None) -> list[Row]:
        earlier = {q for question in questions for q in (question, *before(question, max(turns)))}
        asked = [question for question in pool if question in earlier]
        unaligned = unaligned_answers(run, subject, asked, _MAX_TOKENS, report)
        old = {one.old.id: Principle(one.old.text) for one in found if one.old}
        prompted = [
            Case(f"earlier/{name}/{question.index}", question.text, (old[name],), Setting("prompt"), _MAX_TOKENS)
            for name in old
            for question in asked
        ]
        rows = complete_cases(run, subject, prompted, report, before=unaligned.keys)
        answers = {row["key"]: row["answer"] for row in rows}

        def told(situation: Situation, question: OpenQuestion) -> str:
            if situation.old is None:
                answer = unaligned.text(question, _MAX_TOKENS)
            else:
                answer = answers[f"earlier/{situation.old.id}/{question.index}"]
            return " ".join(sentences(answer)[:_NUM_SENTENCES]) or "-"

        def cases() -> Iterator[Case]:
            for one, num_turns, question in product(found, turns, questions):
                stated = [(_STATED.format(principle=one.principle.text), _PROMISED)] if one.kind == "drift" else []
                talked = [*stated, *((q.text, told(one, q)) for q in before(question, num_turns))]
                fields: dict[str, str | int] = {"kind": one.kind, "principle": one.principle.id, "turns": num_turns}
                what, judged = f"{one.kind} {one.principle.id} n={num_turns}", ((one.principle, 1.0),)
                for setting in settings:
                    yield follow_case(
                        what, judged, setting, question, unaligned, fields, seed=options.seed, earlier=talked
                    )

        return complete_cases(run, subject, cases(), report, before=[*unaligned.keys, *answers])

    facts = {
        "num_questions": len(questions),
        "situations": [[one.kind, one.principle.text, one.old and one.old.text] for one in found],
        "turns": list(turns),
        "settings": [setting.key for setting in settings],
    }
    return Plan(facts, measure)


def _report(header: Row, rows: Sequence[Row]) -> tuple[list[str], list[Panel]]:
    """Adherence after each number of turns, over all principles and for each."""
    line, columns = provenance_line(header), ["turns", "setting", "answers", "adherence", "gain", "ppl_1"]
    found: list[list[Cell]] = []
    by_principle: list[list[Cell]] = []
    panels = []
    for kind, own in grouped(rows, "kind").items():
        curves: dict[str, list[Point]] = {}
        for num_turns, summary in _after(own):
            found.append([kind, num_turns, *cells(summary), summary.costs["ppl_1"]])
            curves.setdefault(summary.setting, []).append(replace(point(summary), x=num_turns, label=""))
        for principle, part in grouped(own, "principle").items():
            after = [[n, *cells(summary), summary.costs["ppl_1"]] for n, summary in _after(part)]
            by_principle += [[kind, principle, *rest] for rest in after]
        panels.append(Panel(kind, "turns", "adherence", curves, ADHERENCE))
    tables = [markdown_table(["kind", *columns], found, line), "## By principle\n"]
    return [LEGEND, *tables, markdown_table(["kind", "principle", *columns], by_principle, line)], panels


def _after(rows: Sequence[Row]) -> list[tuple[int, SettingSummary]]:
    return [(turns, summary) for turns, part in grouped(rows, "turns").items() for summary in summarise(part)]


CONVERSATION, DRIFT = (
    Suite(
        name,
        partial(plan_of, name),
        _report,
        ("data", "methods", "strengths", "budgets", "principles"),
        source=Path(__file__),
    )
    for name in ("conversation", "drift")
)
