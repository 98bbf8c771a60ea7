"""The preferences of a user as text for a system prompt: for models that cannot be aligned, such as hosted ones."""

from __future__ import annotations

from collections.abc import Iterable

from la_agents.preferences.store import DEFAULT_MIN_RELEVANCE, PreferenceStore
from la_agents.principles import Principle

__all__ = ["preferences_prompt", "principles_prompt"]

_HEADING = "The user's preferences. Follow them where they apply; what the user asks for now comes first."


def preferences_prompt(
    store: PreferenceStore,
    user_id: object,
    text: str,
    *,
    k: int = 5,
    min_relevance: float | None = DEFAULT_MIN_RELEVANCE,
    max_tokens: int | None = None,
) -> str:
    """Return a paragraph with the user's preferences that matter to `text`, a line for each; "" if none does.

    It goes at the end of the system prompt. What is sent to a hosted model is known to its vendor, and to tracers.

    Args:
        store: Where the preferences are.
        user_id: The user whose preferences are looked up.
        text: What the user asks.
        k: Largest number of relevant preferences; those of scope "always" are not counted.
        min_relevance: Lowest relevance that they need; None for any.
        max_tokens: Largest number of tokens of all preferences together, estimated; None for no limit.

    Raises:
        UserNotSpecifiedError: no user is named.

    Examples:
        >>> from la_agents import PreferenceStore
        >>> store = PreferenceStore("memory")
        >>> _ = store.add("alice", "Answer in French.", scope="always")
        >>> print(preferences_prompt(store, "alice", "Who was Ada Lovelace?"))
        The user's preferences. Follow them where they apply; what the user asks for now comes first.
        - Answer in French.
    """
    found = store.retrieve(user_id, text, k=k, min_relevance=min_relevance, max_tokens=max_tokens)
    return principles_prompt(scored.principle for scored in found)


def principles_prompt(principles: Iterable[Principle]) -> str:
    """The paragraph for principles that were found already; "" for none."""
    lines = [f"- {' '.join(principle.text.split())}" for principle in principles]
    return "\n".join([_HEADING, *lines]) if lines else ""
