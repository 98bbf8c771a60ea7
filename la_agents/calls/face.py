"""Face: what the chat model and the text model have in common as LangChain runnables."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Sequence
from typing import Any, Generic, Protocol, TypeVar, cast

from langchain_core.caches import BaseCache
from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.globals import get_llm_cache
from langchain_core.language_models import BaseLanguageModel, LanguageModelInput
from langchain_core.language_models.base import LanguageModelOutputVar as Answer
from langchain_core.messages import BaseMessage
from langchain_core.runnables import Runnable, RunnableConfig
from typing_extensions import override

from la_agents.calls.batches import bounded, member, together
from la_agents.calls.builder import AlignedCall, CallBuilder, Rendering
from la_agents.calls.settings import Personalized
from la_agents.errors import ConfigurationError
from la_agents.requests import Chunk, Completion

__all__ = ["BUILDER", "AnswerReader", "Face", "achunks_of", "chunks_of"]

BUILDER = "_builder"
"""Internal call argument: the call's `CallBuilder`, which LangChain's cache and the generation share."""

Piece = TypeVar("Piece")
Source = Sequence[BaseMessage] | str


class Face(Personalized, BaseLanguageModel[Answer], Generic[Answer, Piece]):
    """Moves the user from a call's config into its arguments, and runs batches as one batch of the engine."""

    @classmethod
    @override
    def is_lc_serializable(cls) -> bool:
        return True

    def _source(self, input: LanguageModelInput) -> tuple[Source, str]:
        """What a prompt is built from, and the query that preferences are matched against."""
        raise NotImplementedError

    def _builder(self, source: Any, stop: list[str] | None, arguments: dict[str, Any]) -> CallBuilder:
        """The builder of a call; the user's principles are looked up for it."""
        raise NotImplementedError

    def render(
        self,
        input: LanguageModelInput,  # LangChain's name for it
        *,
        principles: Sequence[Any] | None = None,
        user_id: object = None,
        config: RunnableConfig | None = None,
        **kwargs: Any,
    ) -> Rendering:
        """The reference prompt and the principle prompts of a call, exactly as the model will see them.

        Without `principles` they are resolved as in `invoke`, from the constructor and the user's preferences. Further
        call arguments, such as `compose` and `template_variables`, count as there.
        """
        source, query = self._source(input)
        arguments = self.named_user(config, {"principles": principles, "user_id": user_id, **kwargs})
        return CallBuilder.of(self, arguments, query=query if principles is None else None).render(source)

    @override
    def invoke(self, input: LanguageModelInput, config: RunnableConfig | None = None, **kwargs: Any) -> Answer:
        with member():
            answer: Any = super().invoke(input, config, **self.named_user(config, kwargs))  # type: ignore[safe-super]
            return cast("Answer", answer)

    @override
    async def ainvoke(self, input: LanguageModelInput, config: RunnableConfig | None = None, **kwargs: Any) -> Answer:
        with member():
            answer: Any = await super().ainvoke(input, config, **self.named_user(config, kwargs))
            return cast("Answer", answer)

    @override
    def stream(self, input: LanguageModelInput, config: RunnableConfig | None = None, **kwargs: Any) -> Iterator[Piece]:  # type: ignore[override]
        pieces: Any = super().stream(input, config, **self.named_user(config, kwargs))
        yield from pieces

    @override
    async def astream(  # type: ignore[override]  # an async generator
        self, input: LanguageModelInput, config: RunnableConfig | None = None, **kwargs: Any
    ) -> AsyncIterator[Piece]:
        pieces: Any = super().astream(input, config, **self.named_user(config, kwargs))
        async for piece in pieces:
            yield piece

    @override
    def batch(
        self,
        inputs: list[LanguageModelInput],
        config: RunnableConfig | list[RunnableConfig] | None = None,
        *,
        return_exceptions: bool = False,
        **kwargs: Any,
    ) -> list[Answer]:
        """Any number of inputs; unless the config sets `max_concurrency`, as many at once as the engine runs."""
        # LangChain's pool otherwise holds a handful of threads; a waiting thread costs little here.
        concurrent = bounded(config, len(inputs))
        with together(len(inputs), fail=not return_exceptions):
            return Runnable.batch(self, inputs, concurrent, return_exceptions=return_exceptions, **kwargs)

    @override
    async def abatch(
        self,
        inputs: list[LanguageModelInput],
        config: RunnableConfig | list[RunnableConfig] | None = None,
        *,
        return_exceptions: bool = False,
        **kwargs: Any,
    ) -> list[Answer]:
        """As `batch`."""
        with together(len(inputs), fail=not return_exceptions):
            return await Runnable.abatch(self, inputs, config, return_exceptions=return_exceptions, **kwargs)

    @override
    async def abatch_as_completed(
        self, inputs: Sequence[LanguageModelInput], config: Any = None, **kwargs: Any
    ) -> AsyncIterator[tuple[int, Any]]:
        async for answered in super().abatch_as_completed(inputs, bounded(config, len(inputs)), **kwargs):
            yield answered

    def _cache_in_use(self) -> BaseCache | None:
        """The cache that LangChain asks for answers.

        Raises:
            ConfigurationError: `cache=True`, and none is set.
        """
        if self.cache is False or isinstance(self.cache, BaseCache):
            return self.cache or None
        if get_llm_cache() is None and self.cache:
            msg = "Expected a cache for cache=True, none is set; call langchain_core.globals.set_llm_cache first."
            raise ConfigurationError(msg)
        return get_llm_cache()

    def _looked_up(self, source: Source, stop: list[str] | None, arguments: dict[str, Any]) -> dict[str, Any]:
        """The arguments with the call's builder, made here, before LangChain asks its cache, unless it is there."""
        if BUILDER in arguments:
            return arguments
        builder = self._builder(source, stop, arguments)
        if self._cache_in_use() is not None:
            _ = builder.cache_key  # LangChain asks for it where nothing slow may run
        return {**arguments, BUILDER: builder}

    def _call(self, source: Source, stop: list[str] | None, arguments: dict[str, Any]) -> AlignedCall:
        builder: CallBuilder = self._looked_up(source, stop, arguments)[BUILDER]
        return builder.build(source)


LangChainChunk = TypeVar("LangChainChunk", covariant=True)


class AnswerReader(Protocol[LangChainChunk]):
    """Turns an engine's chunks into LangChain's."""

    def push(self, chunk: Chunk) -> Iterator[LangChainChunk]: ...

    def finish(self, completion: Completion, metadata: dict[str, Any]) -> LangChainChunk: ...


def chunks_of(call: AlignedCall, reader: AnswerReader[Any], manager: CallbackManagerForLLMRun | None) -> Iterator[Any]:
    """The chunks of an answer, each reported to the callbacks; closing it early cancels the request."""
    generation = call.submit()
    try:
        for event in generation:
            for chunk in reader.push(event):
                if manager:
                    manager.on_llm_new_token(chunk.text, chunk=chunk)
                yield chunk
        last = reader.finish(generation.completion, call.metadata(generation.completion))
        if manager:
            manager.on_llm_new_token(last.text, chunk=last)
        yield last
    finally:
        generation.cancel()


async def achunks_of(
    call: AlignedCall, reader: AnswerReader[Any], manager: AsyncCallbackManagerForLLMRun | None
) -> AsyncGenerator[Any, None]:
    """`chunks_of` for tasks."""
    generation = await call.asubmit()
    try:
        async for event in generation:
            for chunk in reader.push(event):
                if manager:
                    await manager.on_llm_new_token(chunk.text, chunk=chunk)
                yield chunk
        last = reader.finish(generation.completion, call.metadata(generation.completion))
        if manager:
            await manager.on_llm_new_token(last.text, chunk=last)
        yield last
    finally:
        generation.cancel()
