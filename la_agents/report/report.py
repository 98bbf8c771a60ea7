"""Report: what alignment did to one answer, read from `response_metadata["alignment"]`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from la_agents.errors import ConfigurationError
from la_agents.report.page import page
from la_agents.report.values import ReportValues

if TYPE_CHECKING:
    from datetime import datetime

    from langchain_core.messages import BaseMessage

__all__ = ["AlignmentReport"]


class AlignmentReport(ReportValues):
    """What alignment did to one answer, out of its `response_metadata`; divergences in nats per token.

    Attributes:
        principles: Those that were used.
        branches: What each branch did; "joint" composition has one for all principles.
        method: The rule that made the aligned logits.
        strength: gamma.
        support: Which tokens could be chosen.
        push: How each token was moved beyond prompting.
        divergence_budget: Nats per token that were allowed, or None.
        mean_divergence: Over the answer's tokens.
        max_divergence: Over the answer's tokens.
        changed_tokens: How many differ from what the unaligned model would have chosen in their place.
        num_tokens: Tokens generated.
        rows: Branches decoded side by side, the reference included.
        rows_computed: Forwards of one row by one token.
        cached_prompt_tokens: Prompt tokens that were found in the prefix cache, over all rows.
        tokens: Every token, for an answer that was asked for with `explain=True`; else None.
        scope: What alignment shaped: the "answer", its "text" (all but tool calls), or "nothing" (structured output).

    Examples:
        >>> message = llm.invoke("Tell me about the sea.", explain=True)  # doctest: +SKIP
        >>> Path("page.html").write_text(AlignmentReport.from_message(message).to_html())  # doctest: +SKIP
    """

    @classmethod
    def from_metadata(cls, metadata: Mapping[str, Any]) -> AlignmentReport:
        """Read the report of an answer from its `response_metadata`, or from the `alignment` in it.

        Raises:
            ConfigurationError: there is none, or it is not one of this library's.
        """
        values = metadata.get("alignment", metadata) if isinstance(metadata, Mapping) else None
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            places = {".".join(map(str, each["loc"])) or type(values).__name__ for each in error.errors()}
            msg = (
                "Expected the response_metadata of an answer by ChatLinearAlignment or LinearAlignmentLLM, got "
                f"one with nothing readable at {', '.join(sorted(places)[:5])}."
            )
        raise ConfigurationError(msg)  # out here, because pydantic's error repeats what it was given

    @classmethod
    def from_message(cls, message: BaseMessage) -> AlignmentReport:
        """Read the report of a message.

        Raises:
            ConfigurationError: it has none.
        """
        return cls.from_metadata(message.response_metadata)

    def to_dict(self) -> dict[str, Any]:
        """The JSON-able values it was read from."""
        return self.model_dump(exclude_unset=True)

    def to_html(
        self,
        *,
        question: str | None = None,
        unaligned: str | None = None,
        model: str | None = None,
        date: datetime | None = None,
        title: str = "What the preferences changed",
    ) -> str:
        """A page that shows what moved each token: one file that loads nothing, for any browser, and for paper.

        Args:
            question: What was asked, to show above the answer.
            unaligned: What the model answers without the preferences, to show beside the answer.
            model: Its name, as `response_metadata["model_name"]` has it.
            date: When the answer was given.
            title: Of the page.

        Raises:
            ConfigurationError: the answer was not asked for with `explain=True`.
        """
        return page(self, title=title, question=question, unaligned=unaligned, model=model, date=date)
