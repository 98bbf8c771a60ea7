"""Cases: single answers to be scored, and the one way in which every suite of open questions does them.

A suite says which cases there are; here they are asked, scored and written to the run, what is there already left out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage

from la_agents.evaluation.adherence import MeasuredPrinciple
from la_agents.evaluation.answers import Job
from la_agents.evaluation.methods import Setting
from la_agents.evaluation.questions import OpenQuestion
from la_agents.evaluation.unaligned import BASE, Unaligned, due_blocks, unaligned_answers, unaligned_key
from la_agents.principles import Principle

if TYPE_CHECKING:
    from la_agents.evaluation.runs import Report, Row, Run
    from la_agents.evaluation.subject import Subject
    from la_agents.prompts.builder import Wording

__all__ = ["EvalCase", "Judged", "can_measure", "complete_cases", "measure_cases"]


class Judged(Protocol):
    """A principle that answers are judged by, such as `MeasuredPrinciple`."""

    @property
    def text(self) -> str: ...

    @property
    def max_tokens(self) -> int: ...

    def adherence(self, question: str, answer: str, unaligned: str) -> float: ...


@dataclass(frozen=True, slots=True)
class EvalCase:
    """One answer to be scored.

    Attributes:
        key: `<what>/<setting>/<question>`, its own in the run.
        principles: That the answer is to follow, each with its weight.
        fields: What else tells it apart, for its row.
        wording: How the principles are put; None is the library's default.
        earlier: Turns of the conversation before the question, each what was asked and what was answered.
    """

    key: str
    question: OpenQuestion
    principles: tuple[tuple[Judged, float], ...]
    setting: Setting
    fields: Mapping[str, str | int] = field(default_factory=dict)
    wording: Wording | None = None
    earlier: tuple[tuple[str, str], ...] = ()

    @property
    def max_tokens(self) -> int:
        return max(principle.max_tokens for principle, _ in self.principles)

    def job(self, seed: int) -> Job:
        """What to ask; questions of one run draw from streams of their own."""
        return Job(
            question=self._conversation() if self.earlier else self.question.text,
            principles=tuple(Principle(principle.text, weight) for principle, weight in self.principles),
            setting=self.setting,
            max_tokens=self.max_tokens,
            seed=seed + self.question.index,
            key=self.key,
        )

    def _conversation(self) -> tuple[BaseMessage, ...]:
        turns = [(HumanMessage(asked), AIMessage(answered)) for asked, answered in self.earlier]
        return (*(message for turn in turns for message in turn), HumanMessage(self.question.text))

    @property
    def is_known(self) -> bool:
        """Whether the unaligned answer to the question is this one's."""
        return self.setting == BASE and not self.earlier

    def row(self, described: Row, unaligned: Unaligned) -> Row:
        """What was measured: adherence to the first principle, and to the second as `opposite`, if there is one."""
        base = unaligned.text(self.question, self.max_tokens)
        answer = described.get("answer", base)
        scores = [round(one.adherence(self.question.text, answer, base), 4) for one, _ in self.principles]
        return {
            **self.fields,
            "setting": self.setting.key,
            "method": self.setting.method,
            "strength": self.setting.strength,
            "max_divergence": self.setting.max_divergence,
            "question": self.question.index,
            **dict(zip(("adherence", "opposite"), scores, strict=False)),
            **described,
        }


def can_measure(principle: MeasuredPrinciple, question: OpenQuestion, unaligned: Unaligned) -> bool:
    """Whether a principle can be judged on a question: see `MeasuredPrinciple.needs_end`."""
    return not principle.needs_end or unaligned.ends_within(question, principle.max_tokens // 2)


def measure_cases(
    run: Run,
    subject: Subject,
    questions: Sequence[OpenQuestion],
    max_tokens: int,
    cases_of: Callable[[Unaligned], Iterator[EvalCase]],
    *,
    seed: int = 0,
    report: Report | None = None,
) -> list[Row]:
    """First the unaligned answers, then the cases that are made of them, as far as they are missing.

    Args:
        max_tokens: Longest of all cases' caps.

    Returns:
        The cases' rows in order; those of the unaligned answers stand before them in the file.
    """
    unaligned = unaligned_answers(run, subject, questions, max_tokens, report)
    before = [unaligned_key(question) for question in questions]
    return complete_cases(run, subject, unaligned, cases_of(unaligned), before=before, seed=seed, report=report)


def complete_cases(
    run: Run,
    subject: Subject,
    unaligned: Unaligned,
    cases_due: Iterable[EvalCase],
    *,
    before: Sequence[str],
    seed: int = 0,
    report: Report | None = None,
) -> list[Row]:
    """The cases' rows, where all they are made of is there; the rows named in `before` stand first in the file."""
    cases = {case.key: case for case in cases_due}

    def work(keys: Sequence[str]) -> Iterator[tuple[str, Row]]:
        missing = frozenset(keys)
        for case in cases.values():
            if case.is_known and case.key in missing:
                yield case.key, case.row(unaligned.row(case.question, case.max_tokens), unaligned)
        for wording in dict.fromkeys(case.wording for case in cases.values()):
            jobs = [case.job(seed) for case in cases.values() if case.wording == wording and not case.is_known]
            for block in due_blocks(jobs, keys):
                for answer in subject.answer(block, wording):
                    if answer.job.key in missing:
                        yield answer.job.key, cases[answer.job.key].row(subject.describe(answer, wording), unaligned)

    return run.complete([*before, *cases], work, report)[len(before) :]
