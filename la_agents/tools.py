"""LangChain tools with which an agent keeps its user's preferences: remember, recall, update, forget, and review.

Whose preferences they are comes from the run's config and is no argument that a model could choose. Results are for
the model to read; so are errors that it can do something about. Others, such as a missing user, are raised.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any, ClassVar, Literal

from langchain_core.runnables import RunnableConfig
from langchain_core.tools import BaseTool, ToolException
from pydantic import BaseModel, Field, ValidationError

from la_agents.errors import InvalidPreferenceError, PreferenceNotFoundError
from la_agents.preferences.preference import Preference, Scope
from la_agents.preferences.store import PreferenceStore
from la_agents.preferences.words import folded
from la_agents.users import resolve_user

__all__ = [
    "ForgetPreference",
    "PendingPreferences",
    "RecallPreferences",
    "RememberPreference",
    "ReviewPreference",
    "UpdatePreference",
    "preference_tools",
    "review_tools",
]

_MAX_LISTED = 20
_NUM_FOUND = 5
_ID = "The id that recall_preferences gives, or the exact words of the preference."
_SCOPE = "'always' for every conversation (language, style, allergies), 'relevant' for related questions only."


def preference_tools(
    store: PreferenceStore, *, user_id: object = None, require_approval: bool = False
) -> list[BaseTool]:
    """Return remember_preference, recall_preferences, update_preference and forget_preference.

    Args:
        store: Where the preferences are.
        user_id: The user of runs whose config names none; otherwise such runs raise UserNotSpecifiedError.
        require_approval: Whether what the model remembers only applies once the user approved it; see `review_tools`.
    """
    common: dict[str, Any] = {"store": store, "user_id": user_id}
    remember = RememberPreference(**common, require_approval=require_approval)
    return [remember, RecallPreferences(**common), UpdatePreference(**common), ForgetPreference(**common)]


def review_tools(store: PreferenceStore, *, user_id: object = None) -> list[BaseTool]:
    """Return pending_preferences and review_preference, for an agent that asks its user what to keep.

    With them the model passes on the user's decision; where that is too much trust, decide in your own interface.
    """
    return [PendingPreferences(store=store, user_id=user_id), ReviewPreference(store=store, user_id=user_id)]


def _for_the_model(run: Callable[..., str]) -> Callable[..., str]:
    """Report errors that the model can correct as the tool's answer."""

    @wraps(run)
    def answered(*args: Any, **kwargs: Any) -> str:
        try:
            return run(*args, **kwargs)
        except InvalidPreferenceError as error:
            msg = f"The preference was not stored. {error} Call the tool again with a valid one."
            raise ToolException(msg) from error

    return answered


def _explain(error: Any) -> str:
    """What is wrong with the arguments, in a line for each."""
    first = error.errors()[0] if isinstance(error, ValidationError) else {"loc": (), "msg": str(error)}
    where = ".".join(str(part) for part in first["loc"]) or "the arguments"
    return f"The arguments are not valid: {where}: {first['msg']}. Call the tool again with arguments that are."


class _PreferenceTool(BaseTool):
    store: PreferenceStore
    """Where the preferences are."""
    user_id: Any = None
    """The user of runs whose config names none."""
    handle_tool_error: Any = True
    handle_validation_error: Any = _explain

    def _user(self, config: RunnableConfig | None) -> str:
        return resolve_user(None, config, self.user_id)

    def _meant(self, user: str, which: str) -> Preference:
        """The active preference that the model means, by its id or its words."""
        active = self.store.list(user)
        for preference in active:
            if which.strip().strip("[]") == preference.id or folded(which) == folded(preference.text):
                return preference
        msg = f"There is no preference {which!r}. Call recall_preferences and use an id from its answer."
        raise ToolException(msg)


class _Remember(BaseModel):
    text: str = Field(description="The preference in one short sentence, in the user's own words.")
    scope: Scope = Field("relevant", description=_SCOPE)


class RememberPreference(_PreferenceTool):
    """Stores one preference, consolidated with what is known.

    It counts as inferred: an agent may have read it anywhere. So it changes nothing that the user has said; what
    contradicts that waits for approval.
    """

    name: str = "remember_preference"
    description: str = (
        "Remember a lasting preference that the user stated: a taste, a habit, a need, or how to answer. "
        "Not for facts about others, for single questions or for guesses."
    )
    args_schema: Any = _Remember
    require_approval: bool = False
    """Whether it only applies once the user approved it."""

    @_for_the_model
    def _run(self, text: str, scope: Scope = "relevant", *, config: RunnableConfig) -> str:
        user = self._user(config)
        if self.require_approval:
            proposed = self.store.proposals.add(user, [{"text": text, "scope": scope, "source": "inferred"}])
            return f"Noted; it applies once the user approves it: {text}" if proposed else f"Noted before: {text}"
        known = {each.id for each in self.store.list(user)}
        preference = self.store.add(user, text, scope=scope, source="inferred")
        if preference.state == "rejected":
            return f"Not remembered: the user did not want this kept: {text}"
        if preference.state == "pending":
            return f"Noted; it applies once the user approves it, since it is against what they said: {text}"
        return f"{'Known already:' if preference.id in known else 'Remembered'} {_line(preference)}"


class _Recall(BaseModel):
    query: str = Field("", description="What to look for; leave it out to see all preferences.")


class RecallPreferences(_PreferenceTool):
    """Lists the user's preferences, or those closest to a query."""

    name: str = "recall_preferences"
    description: str = (
        "Look up what the user prefers. Gives an id with each, for update_preference and forget_preference."
    )
    args_schema: Any = _Recall

    def _run(self, query: str = "", *, config: RunnableConfig) -> str:
        user = self._user(config)
        if query.strip():
            found = [scored.preference for scored in self.store.search(user, query, k=_NUM_FOUND)]
            return _lines(found, more=0)
        everything = self.store.list(user)
        return _lines(everything[-_MAX_LISTED:], more=max(0, len(everything) - _MAX_LISTED))


class _Update(BaseModel):
    preference: str = Field(description=_ID)
    text: str | None = Field(None, description="The new wording, in one short sentence.")
    scope: Scope | None = Field(None, description=_SCOPE)


class UpdatePreference(_PreferenceTool):
    """Changes the wording or the scope of one preference; of what the user has said it proposes the change."""

    name: str = "update_preference"
    description: str = "Change a stored preference after the user corrected it."
    args_schema: Any = _Update

    @_for_the_model
    def _run(
        self, preference: str, text: str | None = None, scope: Scope | None = None, *, config: RunnableConfig
    ) -> str:
        user = self._user(config)
        changes: dict[str, Any] = {k: v for k, v in (("text", text), ("scope", scope)) if v is not None}
        if not changes:
            msg = "Nothing to change was given. Call update_preference again with text or scope."
            raise ToolException(msg)
        meant = self._meant(user, preference)
        if meant.source != "inferred":  # the user's word, which a model's does not change
            draft = {
                "scope": meant.scope,
                "text": meant.text,
                **changes,
                "source": "inferred",
                "supersedes": [meant.id],
            }
            if not self.store.proposals.add(user, [draft]):
                msg = "The user has said this, and only other words can be proposed. Ask the user to change it."
                raise ToolException(msg)
            return f"Noted; it applies once the user approves it: {draft['text']}"
        try:
            if text is None:
                return f"Changed to {_line(self.store.update(user, meant.id, **changes))}"
            draft = {"scope": meant.scope, "weight": meant.weight, "metadata": meant.metadata, **changes}
            changed = self.store.add_many(user, [{**draft, "source": "inferred", "supersedes": [meant.id]}])[0]
            if changed.state in ("pending", "rejected"):
                return f"Noted; it applies once the user approves it, since it is against what they said: {text}"
            return f"Changed to {_line(changed)}"
        except PreferenceNotFoundError as error:  # another call forgot it meanwhile
            msg = f"There is no preference {preference!r} any more. Call recall_preferences."
            raise ToolException(msg) from error


class _Forget(BaseModel):
    preference: str = Field(description=_ID)


class ForgetPreference(_PreferenceTool):
    """Forgets one preference, as the user asked; `store.undo` brings it back."""

    name: str = "forget_preference"
    description: str = "Forget a stored preference that the user no longer wants."
    args_schema: Any = _Forget

    def _run(self, preference: str, *, config: RunnableConfig) -> str:
        user = self._user(config)
        try:
            return f"Forgot {_line(self.store.forget(user, self._meant(user, preference).id))}"
        except PreferenceNotFoundError as error:  # another call forgot it meanwhile
            msg = f"There is no preference {preference!r} any more. Call recall_preferences."
            raise ToolException(msg) from error


class _Nothing(BaseModel):
    pass


class PendingPreferences(_PreferenceTool):
    """Lists what waits for the user's approval."""

    name: str = "pending_preferences"
    description: str = "List preferences that were learned and wait for the user's decision. Ask the user about them."
    args_schema: Any = _Nothing

    def _run(self, *, config: RunnableConfig) -> str:
        waiting = self.store.proposals.list(self._user(config))
        return _lines(waiting, more=0, none="Nothing waits for the user's decision.")


class _Review(BaseModel):
    preference: str = Field(description="The id that pending_preferences gives.")
    decision: Literal["approve", "reject"] = Field(description="What the user decided.")


class ReviewPreference(_PreferenceTool):
    """Approves or rejects a proposal."""

    name: str = "review_preference"
    description: str = "Approve or reject a preference that waits, as the user decided. Never decide without asking."
    args_schema: Any = _Review

    _VERBS: ClassVar[dict[str, str]] = {"approve": "Approved", "reject": "Rejected"}

    def _run(self, preference: str, decision: Literal["approve", "reject"], *, config: RunnableConfig) -> str:
        decide = getattr(self.store.proposals, decision)
        try:
            decided: Preference = decide(self._user(config), preference.strip().strip("[]"))
        except PreferenceNotFoundError as error:
            msg = f"Nothing with the id {preference!r} waits. Call pending_preferences and use an id from its answer."
            raise ToolException(msg) from error
        return f"{self._VERBS[decision]} {_line(decided)}"


def _line(preference: Preference) -> str:
    return f"[{preference.id}] ({preference.scope}) {' '.join(preference.text.split())}"


def _lines(preferences: Sequence[Preference], *, more: int, none: str = "No preferences are stored.") -> str:
    lines = [_line(preference) for preference in preferences]
    if more:
        lines.append(f"and {more} older ones; give a query to find them.")
    return "\n".join(lines) or none
