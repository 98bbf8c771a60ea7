"""Unaligned answers: what a model says of its own accord, generated once and cut to whatever length is compared."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from la_agents.evaluation.answers import BLOCK, Answer, Job
from la_agents.evaluation.methods import Setting
from la_agents.evaluation.questions import OpenQuestion

if TYPE_CHECKING:
    from la_agents.evaluation.runs import Report, Row, Run
    from la_agents.evaluation.subject import Subject

__all__ = ["BASE", "Unaligned", "due_blocks", "unaligned_answers", "unaligned_key"]

BASE = Setting("base")


def unaligned_key(question: OpenQuestion) -> str:
    """Names the row that holds a question's unaligned answer whole."""
    return f"unaligned/{question.index}"


class Unaligned:
    """The unaligned answers of one run, by question.

    Decoding is greedy, so the answer under a lower cap is the beginning of the one under a higher cap.
    """

    def __init__(self, subject: Subject, rows: dict[int, Row], max_tokens: int) -> None:
        self._subject = subject
        self._rows = rows
        self._max_tokens = max_tokens

    def tokens(self, question: OpenQuestion, max_tokens: int) -> list[int]:
        """The first tokens of the answer."""
        tokens: list[int] = self._rows[question.index]["tokens"][:max_tokens]
        return tokens

    def text(self, question: OpenQuestion, max_tokens: int) -> str:
        """The answer as it is under this cap."""
        row = self._rows[question.index]
        if row["num_tokens"] <= max_tokens:
            return str(row["answer"])
        return self._subject.decode(self.tokens(question, max_tokens))

    def ends_within(self, question: OpenQuestion, num_tokens: int) -> bool:
        """Whether the model comes to an end by itself within this many tokens."""
        row = self._rows[question.index]
        return bool(row["finish"] == "stop" and row["num_tokens"] <= num_tokens)

    def row(self, question: OpenQuestion, max_tokens: int) -> Row:
        """What a row says about the answer under this cap, but its text, which stands in the row of `unaligned_key`."""
        tokens, text = self.tokens(question, max_tokens), self.text(question, max_tokens)
        cut = self._rows[question.index]["num_tokens"] > max_tokens
        return {
            **self._subject.costs(question.text, text, tokens),
            "divergence": 0.0,
            "changed": 0.0,
            "num_tokens": len(tokens),
            "finish": "length" if cut else self._rows[question.index]["finish"],
        }


def unaligned_answers(
    run: Run, subject: Subject, questions: Sequence[OpenQuestion], max_tokens: int, report: Report | None = None
) -> Unaligned:
    """Generate them, or take them from the run; one row `unaligned/<index>` each."""
    by_key = {unaligned_key(question): question for question in questions}

    def work(keys: Sequence[str]) -> Iterator[tuple[str, Row]]:
        jobs = [Job(question.text, (), BASE, max_tokens=max_tokens, key=key) for key, question in by_key.items()]
        for block in due_blocks(jobs, keys):
            for answer in subject.answer(block):
                if answer.job.key in keys:
                    yield answer.job.key, _whole(answer, by_key[answer.job.key])

    rows = run.complete(list(by_key), work, report)
    return Unaligned(subject, {row["question"]: row for row in rows}, max_tokens)


def due_blocks(jobs: Sequence[Job], keys: Sequence[str]) -> Iterator[Sequence[Job]]:
    """The blocks that a job of `keys` is in: asked as a whole, so that the answers do not depend on what is missing."""
    wanted = frozenset(keys)
    for start in range(0, len(jobs), BLOCK):
        block = jobs[start : start + BLOCK]
        if any(job.key in wanted for job in block):
            yield block


def _whole(answer: Answer, question: OpenQuestion) -> Row:
    return {
        "question": question.index,
        "asked": question.text,
        "num_tokens": answer.num_tokens,
        "finish": answer.finish_reason,
        "answer": answer.text,
        "tokens": list(answer.token_ids),
    }
