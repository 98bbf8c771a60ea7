"""Subject: the model under test, with what it takes to ask it and to measure what it answers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from la_agents.evaluation.answers import Answer, Answerer, Job
from la_agents.evaluation.costs import Costs
from la_agents.evaluation.provenance import describe_model

if TYPE_CHECKING:
    from langchain_core.embeddings import Embeddings

    from la_agents.evaluation.runs import Row
    from la_agents.models import LoadedModel
    from la_agents.prompts.builder import Wording

__all__ = ["Subject"]


class Subject:
    """A loaded model behind its engine.

    Args:
        embeddings: For the relevance of answers; the bundled ones by default.
    """

    def __init__(self, loaded: LoadedModel, *, embeddings: Embeddings | None = None) -> None:
        from la_agents.engine.engine import engine_for
        from la_agents.prompts.builder import PromptBuilder

        self.loaded = loaded
        self.facts = describe_model(loaded)
        self.builder = PromptBuilder(loaded.tokenizer)
        self.engine = engine_for(loaded)
        self._costs = Costs(loaded, self.builder, embeddings)

    def answer(self, jobs: Sequence[Job], wording: Wording | None = None) -> list[Answer]:
        """Answer a block of jobs, with the principles put in this wording or the library's default.

        The same block gives the same answers, whatever else was asked before (`la_agents.evaluation.answers`).
        """
        return self._answerer(wording).answer(jobs)

    def decode(self, token_ids: Iterable[int]) -> str:
        """The text of tokens; an answer cut to its first tokens."""
        return str(self.loaded.tokenizer.decode(list(token_ids), skip_special_tokens=True))

    def costs(self, question: str, text: str, token_ids: Iterable[int]) -> dict[str, float | None]:
        """What an unaligned answer costs (`la_agents.evaluation.costs`)."""
        return self._costs.of(question, text, tuple(token_ids))

    def describe(self, answer: Answer, wording: Wording | None = None) -> Row:
        """What every row says about an answer: its costs, its length, how far it was moved, and its text."""
        prompts = self._answerer(wording).prompts(answer.job)
        return {
            **self._costs.of(answer.job.question, answer.text, answer.token_ids, prompts),
            "divergence": round(answer.mean_divergence, 4),
            "changed": round(answer.changed, 4),
            "num_tokens": answer.num_tokens,
            "finish": answer.finish_reason,
            "answer": answer.text,
        }

    def _answerer(self, wording: Wording | None) -> Answerer:
        from la_agents.prompts.builder import PromptBuilder

        builder = self.builder if wording is None else PromptBuilder(self.loaded.tokenizer, wording=wording)
        return Answerer(self.engine, builder)
