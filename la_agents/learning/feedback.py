"""FeedbackRecorder: ratings change the weights of the preferences an answer used; comments become proposals."""

from __future__ import annotations

from dataclasses import dataclass, field
from uuid import UUID

from langchain_core.messages import BaseMessage, HumanMessage
from langchain_core.runnables import RunnableConfig

from la_agents.learning.answers import AnswerLog, own_ids
from la_agents.learning.proposal import PreferenceExtractor, Proposal
from la_agents.learning.rules import RuleExtractor
from la_agents.preferences.aio import async_twin
from la_agents.preferences.preference import Preference, PreferenceDraft
from la_agents.preferences.ratings import WeightRule, check_score
from la_agents.preferences.store import PreferenceStore
from la_agents.users import resolve_user

__all__ = ["FeedbackRecorder", "Rating"]


@dataclass(frozen=True, slots=True)
class Rating:
    """What a rating did.

    Attributes:
        changed: The preferences whose weight moved; `store.undo(user, id)` takes it back.
        proposed: What the comment proposes; it waits in `store.proposals`.
    """

    changed: list[Preference] = field(default_factory=list)
    proposed: list[Preference] = field(default_factory=list)


class FeedbackRecorder:
    """Learns from ratings.

    To rate by run id, let the runs report to `callback`: `config={"callbacks": [recorder.callback]}`.

    Args:
        store: Where the preferences are.
        weights: How far a rating moves a weight.
        extractor: Reads comments; default `RuleExtractor`. A comment in which it finds nothing is proposed as it is.
        max_answers: How many runs are remembered.

    Attributes:
        callback: A LangChain callback that remembers which preferences each run used: ids only, no text.
    """

    def __init__(
        self,
        store: PreferenceStore,
        *,
        weights: WeightRule | None = None,
        extractor: PreferenceExtractor | None = None,
        max_answers: int = 10_000,
    ) -> None:
        self._store = store
        self._weights = weights or WeightRule()
        self._extractor = extractor or RuleExtractor()
        self.callback = AnswerLog(max_answers)

    def rate(
        self,
        answer: BaseMessage | UUID | str,
        score: float,
        comment: str | None = None,
        *,
        user_id: object = None,
        config: RunnableConfig | None = None,
    ) -> Rating:
        """Rate an answer: its user's own preferences that were used gain or lose weight, within bounds.

        Preferences of shared layers and principles of the application are not moved.

        Args:
            answer: The message itself, or the id of the run that gave it, or of the run around it.
            score: From -1 (bad) to 1 (good).
            comment: What the user says about it; becomes a proposal.
            user_id: The user who rates; by default the user of the config.
            config: The run's.

        Raises:
            UserNotSpecifiedError: no user is named.
            ConfigurationError: the score is out of its limits, or the run is unknown.
            PreferenceNotFoundError: the answer used preferences, and none of them is this user's now.
            InvalidPreferenceError: the comment is too long.
        """
        user = resolve_user(user_id, config)
        check_score(score)
        ids = own_ids(answer) if isinstance(answer, BaseMessage) else self.callback.ids_of(answer)
        drafts = self._read(comment) if comment and comment.strip() else []
        changed = self._store.rate(user, ids, score, self._weights)
        return Rating(changed, self._store.proposals.add(user, drafts) if drafts else [])

    arate = async_twin(rate)

    def _read(self, comment: str) -> list[PreferenceDraft]:
        found = self._extractor.extract([HumanMessage(comment)])
        return [each.draft() for each in found or [Proposal(comment, evidence=comment, confidence=0.5)]]
