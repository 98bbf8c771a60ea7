"""How suites of open questions are measured: first the unaligned answers, then the cases that depend on them.

Rows of a run, by key: `unaligned/<question>` is the unaligned answer, whole, with its tokens; the cases' own follow.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Protocol

from langchain_core.messages import AIMessage, HumanMessage

from la_agents.evaluation.adherence import MeasuredPrinciple
from la_agents.evaluation.cases import Answer, Case
from la_agents.evaluation.methods import BASE, Setting
from la_agents.evaluation.questions import OpenQuestion
from la_agents.principles import Principle

if TYPE_CHECKING:
    from la_agents.evaluation.runs import Report, Row, Run
    from la_agents.evaluation.subject import Subject
    from la_agents.prompts.builder import Wording

__all__ = [
    "BLOCK",
    "Judged",
    "Unaligned",
    "can_measure",
    "complete_cases",
    "follow",
    "follow_case",
    "unaligned_answers",
]

BLOCK = 24
"""Cases at a time: two branches each, and a few with four samples, fit the engine's 64 rows."""


class Judged(Protocol):
    """A principle that answers are judged by, such as `MeasuredPrinciple`."""

    @property
    def text(self) -> str: ...
    @property
    def max_tokens(self) -> int: ...
    def adherence(self, question: str, answer: str, unaligned: str) -> float: ...


def complete_cases(
    run: Run, subject: Subject, cases: Iterable[Case], report: Report | None = None, *, before: Sequence[str] = ()
) -> list[Row]:
    """Measure what is missing of the cases, and return all their rows in order.

    A block of which a row is missing is answered as a whole, so that answers do not depend on what was there before.

    Args:
        before: Keys of rows that stand first in the file.
    """
    due = list(cases)

    def work(keys: Sequence[str]) -> Iterator[tuple[str, Row]]:
        missing = frozenset(keys)
        yield from ((case.key, case.row(case.known)) for case in due if case.known and case.key in missing)
        asked = [case for case in due if not case.known]
        for block in (asked[start : start + BLOCK] for start in range(0, len(asked), BLOCK)):
            if not missing.isdisjoint(case.key for case in block):
                for answer in subject.answer(block):
                    if answer.case.key in missing:
                        yield answer.case.key, answer.case.row(answer)

    return run.complete([*before, *(case.key for case in due)], work, report)[len(before) :]


class Unaligned:
    """The unaligned answers of one run, by question.

    Decoding is greedy, so the answer under a lower cap is the beginning of that under a higher cap.
    """

    def __init__(self, subject: Subject, rows: Sequence[Row]) -> None:
        self.subject = subject
        self._rows = {row["question"]: row for row in rows}
        self.keys = [row["key"] for row in rows]

    def text(self, question: OpenQuestion, max_tokens: int) -> str:
        """The answer under this cap."""
        row = self._rows[question.index]
        return row["answer"] if row["num_tokens"] <= max_tokens else self.subject.decode(row["tokens"][:max_tokens])

    def ends_within(self, question: OpenQuestion, num_tokens: int) -> bool:
        """Whether the model comes to an end by itself within this many tokens."""
        row = self._rows[question.index]
        return bool(row["finish"] == "stop" and row["num_tokens"] <= num_tokens)

    def answer(self, case: Case, question: OpenQuestion) -> Answer:
        """The answer in an unaligned case."""
        tokens, finish = self._rows[question.index]["tokens"], self._rows[question.index]["finish"]
        cut = len(tokens) > case.max_tokens
        text = self.text(question, case.max_tokens)
        return Answer(case, text, tuple(tokens[: case.max_tokens]), 0.0, 0.0, "length" if cut else finish)


def unaligned_answers(
    run: Run, subject: Subject, questions: Sequence[OpenQuestion], max_tokens: int, report: Report | None = None
) -> Unaligned:
    """Return the unaligned answers to the questions, generated or from the run."""

    def case(question: OpenQuestion) -> Case:
        def row(answer: Answer) -> Row:
            return {
                "question": question.index,
                "asked": question.text,
                "num_tokens": len(answer.token_ids),
                "finish": answer.finish_reason,
                "answer": answer.text,
                "tokens": list(answer.token_ids),
            }

        return Case(f"unaligned/{question.index}", question.text, (), BASE, max_tokens, row=row)

    return Unaligned(subject, complete_cases(run, subject, map(case, questions), report))


def follow(
    questions: Sequence[OpenQuestion], max_tokens: int, cases_of: Callable[[Unaligned], Iterable[Case]]
) -> Callable[[Run, Subject, Report | None], list[Row]]:
    """Return what measures cases that depend on the unaligned answers to some questions.

    Args:
        max_tokens: The largest cap of all cases.
    """

    def measure(run: Run, subject: Subject, report: Report | None) -> list[Row]:
        unaligned = unaligned_answers(run, subject, questions, max_tokens, report)
        return complete_cases(run, subject, cases_of(unaligned), report, before=unaligned.keys)

    return measure


def can_measure(principle: MeasuredPrinciple, question: OpenQuestion, unaligned: Unaligned) -> bool:
    """Whether a principle can be judged on a question: see `MeasuredPrinciple.needs_end`."""
    return not principle.needs_end or unaligned.ends_within(question, principle.max_tokens // 2)


def follow_case(
    what: str,
    judged: Sequence[tuple[Judged, float]],
    setting: Setting,
    question: OpenQuestion,
    unaligned: Unaligned,
    fields: Mapping[str, str | int],
    *,
    seed: int = 0,
    wording: Wording | None = None,
    earlier: Sequence[tuple[str, str]] = (),
) -> Case:
    """Make a case whose row says how far the answer follows the principles, and what that costs.

    Args:
        what: First part of the key.
        judged: The principles with their weights; `adherence` is to the first of them, `opposite` to the second.
        fields: Further fields of the row, which tell the case apart.
        seed: Of the run; each question has a random stream of its own.
        earlier: Turns before the question: what was asked, and what was answered.
    """
    max_tokens, is_known = max(one.max_tokens for one, _ in judged), setting == BASE and not earlier

    def row(answer: Answer) -> Row:
        base = unaligned.text(question, max_tokens)
        scores = [round(one.adherence(question.text, answer.text, base), 4) for one, _ in judged]
        described = unaligned.subject.describe(answer)
        if is_known:
            del described["answer"]  # it stands in the row of the unaligned answer
        return {
            **fields,
            "setting": setting.key,
            "method": setting.method,
            "strength": setting.strength,
            "max_divergence": setting.max_divergence,
            "question": question.index,
            **dict(zip(("adherence", "opposite"), scores, strict=False)),
            **described,
        }

    turns = [message for asked, told in earlier for message in (HumanMessage(asked), AIMessage(told))]
    case = Case(
        key=f"{what}/{setting.key}/{question.index}",
        question=(*turns, HumanMessage(question.text)) if earlier else question.text,
        principles=tuple(Principle(one.text, weight) for one, weight in judged),
        setting=setting,
        max_tokens=max_tokens,
        seed=seed + question.index,
        row=row,
        wording=wording,
    )
    return replace(case, known=unaligned.answer(case, question)) if is_known else case
