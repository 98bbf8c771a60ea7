"""Cases and answers: what a suite asks a model, and what the model answered."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from la_agents.evaluation.methods import Setting
from la_agents.principles import Principle

if TYPE_CHECKING:
    from langchain_core.messages import BaseMessage

    from la_agents.prompts.builder import Wording

__all__ = ["Answer", "Case"]


@dataclass(frozen=True, slots=True)
class Case:
    """A question to answer under a setting, and what is measured on the answer.

    Attributes:
        key: Its own in the run: `<what>/<setting>/<question>`.
        question: A text, or the messages of a conversation.
        seed: Of the draws; answers of greedy settings do not depend on it.
        row: Makes the row of the results from the answer.
        wording: How the principles are put; None is the library's default.
        known: The answer, if it need not be generated.
    """

    key: str
    question: str | tuple[BaseMessage, ...]
    principles: tuple[Principle, ...]
    setting: Setting
    max_tokens: int = 64
    seed: int = 0
    row: Callable[[Answer], dict[str, Any]] = lambda answer: {"answer": answer.text}
    wording: Wording | None = None
    known: Answer | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer to a case.

    Attributes:
        token_ids: Without the end of sequence.
        mean_divergence: KL(pi || pi_0) of the policy that was decoded, nats a token; 0 without principles.
        changed: Share of tokens that the reference alone would have chosen otherwise.
        finish_reason: "stop" or "length".
    """

    case: Case
    text: str
    token_ids: tuple[int, ...]
    mean_divergence: float
    changed: float
    finish_reason: str
