"""PreferenceLearner: stores an extractor's proposals, at once or after the user's approval."""

from __future__ import annotations

import time
from collections.abc import Sequence

from langchain_core.messages import BaseMessage
from langchain_core.runnables import RunnableConfig

from la_agents.errors import ConfigurationError
from la_agents.learning.evidence import find_evidence
from la_agents.learning.proposal import PreferenceExtractor, Proposal
from la_agents.learning.rules import RuleExtractor
from la_agents.preferences.aio import async_twin
from la_agents.preferences.preference import Preference, PreferenceDraft
from la_agents.preferences.store import PreferenceStore
from la_agents.users import resolve_user

__all__ = ["PreferenceLearner"]

_UNSURE = 0.5


class PreferenceLearner:
    """Reads conversations and remembers what their users say they prefer. Keeps nothing of a conversation itself.

    Args:
        store: The store that receives the preferences.
        extractor: Proposes preferences. By default `RuleExtractor`; in an agent, the agent's own chat model if that can
            write structured output.
        require_approval: Whether proposals wait in `store.proposals` until their user approves them.
        min_confidence: Proposals of lower confidence are dropped; in [0, 1].
    """

    def __init__(
        self,
        store: PreferenceStore,
        extractor: PreferenceExtractor | None = None,
        *,
        require_approval: bool = True,
        min_confidence: float = 0.5,
    ) -> None:
        if not 0.0 <= min_confidence <= 1.0:
            msg = f"Expected min_confidence to be within [0, 1], got {min_confidence}."
            raise ConfigurationError(msg)
        self.store = store
        self.extractor = extractor
        self._require_approval = require_approval
        self._min_confidence = min_confidence

    def learn(
        self,
        messages: Sequence[BaseMessage],
        *,
        user_id: object = None,
        config: RunnableConfig | None = None,
        extractor: PreferenceExtractor | None = None,
        said_at: float | None = None,
    ) -> list[Preference]:
        """Propose or store what the human messages state, all or, on error, nothing; return it as it is known now.

        Whatever the extractor says, a proposal that the words of a human message do not bear out is dropped. Where the
        two are in different languages, the store's embeddings tell whether they are about the same; if those know
        neither, the proposal waits for approval in any case, with a confidence of at most 0.5.

        Args:
            messages: What was said, the oldest first; best the latest turn only, so that nothing counts as said twice.
                Where several speak as humans, those of another name are not the user.
            user_id: The user who said them; by default the user of the config.
            config: The run's.
            extractor: Proposes preferences if the learner was made without an extractor.
            said_at: When it was said, by `time.monotonic()`; by default now. Of a user who has been erased since,
                nothing is stored.

        Raises:
            UserNotSpecifiedError: no user is named.
            InvalidPreferenceError: a proposal is out of its limits, or the user has too many.
            GenerationError: the extractor's model failed.
        """
        user = resolve_user(user_id, config)
        messages = _own(messages, user)
        said_at = time.monotonic() if said_at is None else said_at
        proposals = (self.extractor or extractor or RuleExtractor()).extract(messages)
        sure = [(each, each.draft()) for each in proposals if each.confidence >= self._min_confidence]
        found = [(draft, self._is_borne_out(each, messages)) for each, draft in sure]
        certain = [draft for draft, is_borne_out in found if is_borne_out]
        doubted = found if self._min_confidence <= _UNSURE else []
        waiting = [_unsure(draft) for draft, is_borne_out in doubted if is_borne_out is None]
        if self.store.is_erased_since(user, said_at):
            return []
        if self._require_approval:
            return self.store.proposals.add(user, [*certain, *waiting])
        learned = self.store.add_many(user, certain)
        return learned + self.store.proposals.add(user, waiting)

    def _is_borne_out(self, proposal: Proposal, messages: Sequence[BaseMessage]) -> bool | None:
        """Whether the user's words bear it out; None if they state something, and nobody here reads both languages."""
        evidence = find_evidence(proposal.text, proposal.evidence, messages)
        if evidence is None or evidence.is_read:
            return evidence is not None
        return self.store.are_about_the_same(proposal.text, proposal.evidence)

    alearn = async_twin(learn)


def _own(messages: Sequence[BaseMessage], user: str) -> list[BaseMessage]:
    """The messages without those of other people, or of agents that speak as a human with a name of their own."""
    names = {message.name for message in messages if message.type == "human"}
    if len(names) < 2:
        return [*messages]
    return [message for message in messages if message.type != "human" or message.name in (None, user)]


def _unsure(draft: PreferenceDraft) -> PreferenceDraft:
    return draft.model_copy(update={"confidence": min(draft.confidence, _UNSURE)})
