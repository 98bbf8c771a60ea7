"""Memory: a user's preferences, as the API and the page both show and change them."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Awaitable
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any, Literal, TypeVar

from la_agents import Preference
from la_agents.errors import ConfigurationError, InvalidPreferenceError, PreferenceNotFoundError
from la_agents.preferences import ScoredPreference
from la_agents_server.answer_log import Use
from la_agents_server.errors import ApiError
from la_agents_server.services import Services

__all__ = [
    "StateFilter",
    "called_for",
    "changed",
    "erase",
    "export",
    "import_lines",
    "layer_views",
    "listed",
    "purge",
    "rate",
    "timed",
    "view",
    "views",
]

StateFilter = Literal["active", "pending", "superseded", "expired", "forgotten", "rejected", "all"]

T = TypeVar("T")


async def timed(services: Services, operation: str, work: Awaitable[T]) -> T:
    """Await an operation on the store, and measure it."""
    with services.metrics.store.labels(operation).time():
        return await work


def view(preference: Preference, use: Use | None = None) -> dict[str, Any]:
    """A preference as JSON; without its user, who is the caller."""
    told = preference.model_dump(mode="json", exclude={"user_id", "locked", "review"})
    used = None if use is None else {"number": use.number, "moved": use.moved, "last_at": _time(use.last_at)}
    weight = preference.effective_weight()
    return {"object": "preference", **told, "state": preference.state, "effective_weight": weight, "use": used}


async def changed(services: Services, operation: str, user: str, id: str, work: Awaitable[T]) -> T:
    """Await a change of one preference; 409 if the user has it, but not in a state that allows it."""
    refused = (PreferenceNotFoundError, ConfigurationError) if operation == "undo" else PreferenceNotFoundError
    try:
        return await timed(services, operation, work)
    except refused as error:
        await services.store.aget(user, id)  # raises where there is none
        raise ApiError(409, str(error), code="not_in_this_state") from None


async def views(services: Services, user: str, preferences: list[Preference]) -> list[dict[str, Any]]:
    """Preferences as JSON, with how each was used."""
    uses = services.answers.uses(user)
    return [view(preference, uses.get(preference.id)) for preference in preferences]


async def listed(
    services: Services, user: str, state: StateFilter = "active", *, as_of: datetime | None = None
) -> list[Preference]:
    """A user's preferences in this state, the oldest first."""
    store, found = services.store, list[Preference]()
    if as_of is not None and state != "active":
        raise ApiError(400, "Expected as_of for active preferences only; leave state out.", param="as_of")
    if state in ("active", "all"):
        found += await timed(services, "list", store.alist(user, as_of=as_of))
    if state in ("pending", "all"):
        found += await timed(services, "list", store.proposals.alist(user))
    if state not in ("active", "pending"):
        archived = await timed(services, "list", store.aarchive(user))
        found += [each for each in archived if state in ("all", each.state)]
    return sorted(found, key=lambda each: (each.created_at, each.id))


async def called_for(
    services: Services, user: str, query: str, *, k: int | None = None, as_of: datetime | None = None
) -> list[ScoredPreference]:
    """What an answer to this question would use."""
    k = services.chat.max_principles if k is None else k
    return await timed(services, "retrieve", services.store.aretrieve(user, query, k=k, as_of=as_of))


async def rate(services: Services, user: str, answer: str, score: float, comment: str | None) -> dict[str, Any]:
    """Let a rating move the weights of what an answer used; what its comment says waits for approval."""
    message = services.answers.get(answer, user)
    if message is None:
        msg = "Expected the id of an answer that this user was given lately, got another."
        raise ApiError(404, msg, code="not_found", param="answer")
    rating = await timed(services, "rate", services.feedback.arate(message, score, comment or None, user_id=user))
    return {
        "object": "feedback",
        "changed": await views(services, user, rating.changed),
        "proposed": await views(services, user, rating.proposed),
    }


async def export(services: Services, user: str) -> str:
    """Everything the store has of a user, as JSON lines."""
    file = io.StringIO()
    await timed(services, "export", services.store.aexport(user, file))
    return file.getvalue()


async def import_lines(services: Services, user: str, body: bytes) -> int:
    """Store the preferences of JSON lines, and return how many there are."""
    if not body:
        msg = "Expected JSON lines, got an empty body."
        raise InvalidPreferenceError(msg)
    try:
        text = body.decode()
    except UnicodeDecodeError:
        msg = "Expected JSON lines in UTF-8, got bytes that are not."
        raise InvalidPreferenceError(msg) from None
    return await timed(services, "import", services.store.aimport(user, io.StringIO(text)))


async def erase(services: Services, user: str) -> int:
    """Remove everything that is known of a user, and return how many preferences that were."""
    if (learning := services.learning.get(user)) is not None:  # what was said before shall not come back
        await asyncio.wait([asyncio.wrap_future(learning)])
    number = await timed(services, "erase", services.store.aerase(user))
    services.answers.erase(user)
    return number


async def purge(services: Services) -> dict[str, Any]:
    """Write the store anew without what was erased, and return the receipt."""
    receipt = await timed(services, "purge", services.store.apurge())
    return {"object": "purge", **asdict(receipt)}


async def layer_views(services: Services) -> list[dict[str, Any]]:
    """The shared layers and what they hold."""
    fields = {"id", "text", "scope", "weight", "locked"}
    return [
        {
            "object": "layer",
            "name": name,
            "preferences": [
                p.model_dump(mode="json", include=fields) for p in await services.store.shared(name).alist()
            ],
        }
        for name in services.store.layers
    ]


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat()
