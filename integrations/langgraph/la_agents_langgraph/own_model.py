"""OwnModelExtractor: an agent's own chat model reads what its user prefers; where it finds nothing, the rules do."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import BaseMessage

from la_agents.calls import Personalized
from la_agents.errors import GenerationError, IncompleteAnswerError, RequestTooLargeError
from la_agents.learning import ChatModelExtractor, Proposal, RuleExtractor

__all__ = ["OwnModelExtractor", "writes_structure"]

logger = logging.getLogger(__name__)


def writes_structure(model: BaseChatModel) -> bool:
    """Whether a model says that it can write structured output."""
    is_own = type(model).with_structured_output is not BaseChatModel.with_structured_output
    return is_own or bool((model.profile or {}).get("structured_output"))


class OwnModelExtractor:
    """Asks the model without anybody's preferences. A small one may find nothing that stands, or end in mid-answer."""

    def __init__(self, model: BaseChatModel) -> None:
        if isinstance(model, Personalized):
            model = model.model_copy(update={"preferences": None, "principles": []})
        self._by_model = ChatModelExtractor(model)

    def extract(self, messages: Sequence[BaseMessage]) -> list[Proposal]:
        """Return what the model finds, else what the rules find."""
        found: list[Proposal] = []
        try:
            found = self._by_model.extract(messages)
        except (GenerationError, IncompleteAnswerError, RequestTooLargeError) as error:
            logger.info("The agent's own model could not read a conversation: %s", type(error).__name__)
        return found or RuleExtractor().extract(messages)
