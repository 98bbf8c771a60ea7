"""PreferenceRetriever: a user's preferences as LangChain documents, for any chain that takes a retriever."""

from __future__ import annotations

from typing import Any

from langchain_core.callbacks import AsyncCallbackManagerForRetrieverRun, CallbackManagerForRetrieverRun
from langchain_core.documents import Document
from langchain_core.retrievers import BaseRetriever
from langchain_core.runnables import RunnableConfig
from pydantic import Field
from typing_extensions import override

from la_agents.errors import ConfigurationError
from la_agents.preferences.preference import ScoredPreference
from la_agents.preferences.store import DEFAULT_MIN_RELEVANCE, PreferenceStore
from la_agents.users import resolve_user

__all__ = ["PreferenceRetriever"]

_CALL_ARGUMENTS = {"user_id", "k", "min_relevance", "max_tokens"}
_LANGCHAIN_ARGUMENTS = {"run_id", "verbose"}


class PreferenceRetriever(BaseRetriever):
    """Finds what a query calls for among one user's preferences: the `always` ones, then the relevant ones.

    The input is the query. The user is, in this order, `user_id` given to the call or by `bind`,
    the config's (see `la_agents.users.find_user`), or `user_id` of the constructor; UserNotSpecifiedError if there is
    none. `k`, `min_relevance` and `max_tokens` can be given to a call too; any other argument is a ConfigurationError.

    Each document has the preference's text, its id, and as metadata `id`, `scope`, `weight`, `relevance` (None for an
    `always` one) and `layer` ("user", or the shared layer that it is from).
    """

    store: PreferenceStore
    """Where the preferences are."""

    k: int = Field(default=5, ge=0)
    """At most so many `relevant` preferences; the `always` ones come on top."""

    min_relevance: float | None = Field(default=DEFAULT_MIN_RELEVANCE, ge=-1.0, le=1.0)
    """Least relevance to the query; None for any."""

    max_tokens: int | None = Field(default=None, ge=0)
    """How many tokens all texts together may have, by an estimate; None for any number."""

    user_id: str | None = None
    """The user of calls that name none."""

    @override
    def invoke(self, input: str, config: RunnableConfig | None = None, **kwargs: Any) -> list[Document]:
        return super().invoke(input, config, **self._with_user(config, kwargs))

    @override
    async def ainvoke(self, input: str, config: RunnableConfig | None = None, **kwargs: Any) -> list[Document]:
        return await super().ainvoke(input, config, **self._with_user(config, kwargs))

    def _with_user(self, config: RunnableConfig | None, kwargs: dict[str, Any]) -> dict[str, Any]:
        """The call's arguments with the user resolved: `config` goes no further than `invoke`."""
        unknown = kwargs.keys() - _CALL_ARGUMENTS - _LANGCHAIN_ARGUMENTS
        if unknown:
            msg = f"Expected the arguments {sorted(_CALL_ARGUMENTS)}, got {sorted(unknown)} as well."
            raise ConfigurationError(msg)
        return {**kwargs, "user_id": resolve_user(kwargs.get("user_id"), config, self.user_id)}

    @override
    def _get_relevant_documents(
        self, query: str, *, run_manager: CallbackManagerForRetrieverRun, **options: Any
    ) -> list[Document]:
        return _documents(self.store.retrieve(options["user_id"], query, **self._limits(options)))

    @override
    async def _aget_relevant_documents(
        self, query: str, *, run_manager: AsyncCallbackManagerForRetrieverRun, **options: Any
    ) -> list[Document]:
        return _documents(await self.store.aretrieve(options["user_id"], query, **self._limits(options)))

    def _limits(self, options: dict[str, Any]) -> dict[str, Any]:
        return {
            "k": options.get("k", self.k),
            "min_relevance": options.get("min_relevance", self.min_relevance),
            "max_tokens": options.get("max_tokens", self.max_tokens),
        }


def _documents(found: list[ScoredPreference]) -> list[Document]:
    return [
        Document(
            id=scored.preference.id,
            page_content=scored.preference.text,
            metadata={
                "id": scored.preference.id,
                "scope": scored.preference.scope,
                "weight": scored.preference.weight,
                "relevance": scored.relevance,
                "layer": scored.layer,
            },
        )
        for scored in found
    ]
