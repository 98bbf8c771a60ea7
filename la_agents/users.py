"""Whose call is it: the user id as a validated value, and where a call finds it.

Imports neither torch nor chromadb, so that every face can use it. No function here knows a store.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from typing import TYPE_CHECKING
from uuid import UUID

from la_agents.errors import UserNotSpecifiedError

if TYPE_CHECKING:
    from langchain_core.runnables import RunnableConfig

__all__ = ["MAX_USER_ID_CHARS", "as_user_id", "find_user", "resolve_user"]

MAX_USER_ID_CHARS = 256
_LANGGRAPH_RUNTIME = "__pregel_runtime"
"""Where LangGraph's `get_runtime()` looks, which works by a context variable, and not in tasks on Python 3.10."""

_REFUSED_CATEGORIES = {"Cc", "Cs"}  # control characters and lone surrogates


def as_user_id(value: object) -> str:
    """Return the text of a user id; int and UUID are taken as their text, anything else must be a str.

    The text is kept as it is: no trimming, no case folding, no pattern. `*` and `%` are names like any other.

    Raises:
        UserNotSpecifiedError: missing, blank, of another type, longer than 256 characters, or holding control
            characters or lone surrogates.
    """
    if isinstance(value, (int, UUID)) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str):
        msg = f"Expected a user id of type str, int or UUID, got {type(value).__name__}; name the user."
        raise UserNotSpecifiedError(msg)
    _check_text(value)
    return str(value)


def _check_text(user_id: str) -> None:
    if not user_id.strip():
        msg = "Expected a user id, got blank text; name the user of this call."
        raise UserNotSpecifiedError(msg)
    if len(user_id) > MAX_USER_ID_CHARS:
        msg = f"Expected a user id of at most {MAX_USER_ID_CHARS} characters, got {len(user_id)}; shorten it."
        raise UserNotSpecifiedError(msg)
    for character in user_id:
        if unicodedata.category(character) in _REFUSED_CATEGORIES:
            msg = (
                "Expected a user id without control characters or lone surrogates, "
                f"got U+{ord(character):04X} in it; remove it."
            )
            raise UserNotSpecifiedError(msg)


def find_user(call: object = None, config: RunnableConfig | None = None, default: object = None) -> str | None:
    """Return the user that a call names, or None if it names none.

    The first that is not None counts: the call's own argument (also by `bind`), then the config's, then the
    constructor's default. A blank one is an error, never a reason to look further.

    The config names a user as `configurable["user_id"]`, or as `user_id` of the context of a LangGraph run:
    `agent.invoke(..., context=Context(user_id="alice"))`.

    Args:
        call: The `user_id` argument of the call.
        config: The call's RunnableConfig; what it leaves out comes from the surrounding runnable's config.
        default: The `user_id` given to the constructor.

    Raises:
        UserNotSpecifiedError: the one that counts is not a valid user id, or the config names two.
    """
    for candidate in (call, _configured_user(config), default):
        if candidate is not None:
            return as_user_id(candidate)
    return None


def resolve_user(call: object = None, config: RunnableConfig | None = None, default: object = None) -> str:
    """Return the user that a call names, as `find_user` does; there must be one.

    Raises:
        UserNotSpecifiedError: no user is named, or not a valid one.
    """
    user = find_user(call, config, default)
    if user is None:
        msg = (
            "Expected a user for this call, got none; pass "
            'config={"configurable": {"user_id": "..."}}, bind(user_id="..."), user_id= to the constructor, or in a '
            "LangGraph run a context with a user_id."
        )
        raise UserNotSpecifiedError(msg)
    return user


def _configured_user(config: RunnableConfig | None) -> object:
    from langchain_core.runnables import ensure_config

    configurable = ensure_config(config).get("configurable") or {}
    configured, in_context = configurable.get("user_id"), _context_user(configurable.get(_LANGGRAPH_RUNTIME))
    if configured is None or in_context is None:
        return in_context if configured is None else configured
    if as_user_id(configured) != as_user_id(in_context):
        msg = "Expected one user for this call, got one in the config and another in the run's context; name one."
        raise UserNotSpecifiedError(msg)
    return configured


def _context_user(runtime: object) -> object:
    context = getattr(runtime, "context", None)
    return context.get("user_id") if isinstance(context, Mapping) else getattr(context, "user_id", None)
