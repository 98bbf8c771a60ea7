"""ChatLinearAlignment: a LangChain chat model whose answers follow its user's preferences at decoding time."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel, LangSmithParams, LanguageModelInput
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage
from langchain_core.messages.ai import UsageMetadata
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langchain_core.runnables import RunnableConfig, ensure_config, run_in_executor
from langchain_core.runnables.config import merge_configs
from typing_extensions import override

from la_agents.personalization import AlignedCall, Personalized, Rendering, last_human_text
from la_agents.principles import Principle, as_principles

if TYPE_CHECKING:
    from la_agents.engine.generation import Chunk, Completion

__all__ = ["ChatLinearAlignment"]

_RESOLVED = "_resolved_principles"
"""Internal call argument: the principles of this call. As an argument they become part of LangChain's cache key."""


class ChatLinearAlignment(Personalized, BaseChatModel):
    """Chat model personalised by Linear Alignment.

    The user comes with the call: `config={"configurable": {"user_id": "alice"}}`, `bind(user_id="alice")` or the
    constructor. Answers carry `usage_metadata` and, in `response_metadata`, `finish_reason`, `model_name` and the
    `alignment` report. The engine and its batch belong to this process; another process loads its own model.

    Example:
        >>> llm = ChatLinearAlignment(principles=["Talk like a pirate."], strength=1.0)
        >>> llm.invoke("What is the capital of France?")  # doctest: +SKIP
    """

    streaming: bool = False
    """Whether `invoke` hands tokens to callbacks through LangChain's streaming path; answers are the same."""

    @property
    def _llm_type(self) -> str:
        return "la-agents-chat"

    @property
    def _identifying_params(self) -> dict[str, Any]:
        return self.identifying

    @override
    def _get_ls_params(self, stop: list[str] | None = None, **kwargs: Any) -> LangSmithParams:
        params = LangSmithParams(
            ls_provider="la_agents",
            ls_model_name=str(kwargs.get("model") or self.model_name),
            ls_model_type="chat",
            ls_temperature=self._argument(kwargs, "temperature"),
            ls_max_tokens=self._argument(kwargs, "max_tokens"),
        )
        if stops := (stop or self._argument(kwargs, "stop")):
            params["ls_stop"] = list(stops)
        return params

    def render(
        self,
        input: LanguageModelInput,  # LangChain's name for it
        *,
        principles: Sequence[str | Principle] | None = None,
        user_id: object = None,
        config: RunnableConfig | None = None,
    ) -> Rendering:
        """The reference prompt and the principle prompts of a call, exactly as the model will see them.

        Without `principles` they are resolved as in `invoke`, from the constructor and the user's preferences.
        """
        messages = self._convert_input(input).to_messages()
        arguments = self.named_user(config, {"principles": principles, "user_id": user_id})
        if principles is not None:
            return self.render_prompts(messages, as_principles(principles))
        return self.render_prompts(messages, self.resolve_principles(last_human_text(messages), arguments))

    # -- the user: from the config into the call's arguments ----------------------------------------------------------

    @override
    def invoke(self, input: LanguageModelInput, config: RunnableConfig | None = None, **kwargs: Any) -> AIMessage:
        return super().invoke(input, config, **self.named_user(config, kwargs))

    @override
    async def ainvoke(
        self, input: LanguageModelInput, config: RunnableConfig | None = None, **kwargs: Any
    ) -> AIMessage:
        return await super().ainvoke(input, config, **self.named_user(config, kwargs))

    @override
    def stream(
        self, input: LanguageModelInput, config: RunnableConfig | None = None, **kwargs: Any
    ) -> Iterator[AIMessageChunk]:
        yield from super().stream(input, config, **self.named_user(config, kwargs))

    @override
    async def astream(
        self, input: LanguageModelInput, config: RunnableConfig | None = None, **kwargs: Any
    ) -> AsyncIterator[AIMessageChunk]:
        async for chunk in super().astream(input, config, **self.named_user(config, kwargs)):
            yield chunk

    @override
    def batch(
        self,
        inputs: list[LanguageModelInput],
        config: RunnableConfig | list[RunnableConfig] | None = None,
        **kwargs: Any,
    ) -> list[AIMessage]:
        """All inputs at once in one engine batch, unless the config sets `max_concurrency`."""
        configs = config if isinstance(config, list) else [ensure_config(config)] * len(inputs)
        # LangChain's pool otherwise holds a handful of threads; a waiting thread costs nothing here.
        concurrent = [merge_configs({"max_concurrency": len(inputs)}, c) for c in configs]
        return super().batch(inputs, concurrent, **kwargs)

    # -- the principles: looked up once a call, before LangChain asks its cache ----------------------------------------

    @override
    def _generate_with_cache(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        return super()._generate_with_cache(messages, stop, run_manager, **self._resolved(messages, kwargs))

    @override
    async def _agenerate_with_cache(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        resolved = await run_in_executor(None, self._resolved, messages, kwargs)
        return await super()._agenerate_with_cache(messages, stop, run_manager, **resolved)

    def _resolved(self, messages: Sequence[BaseMessage], kwargs: dict[str, Any]) -> dict[str, Any]:
        if _RESOLVED in kwargs:
            return kwargs
        arguments = self.named_user(None, kwargs)
        return {**arguments, _RESOLVED: self.resolve_principles(last_human_text(messages), arguments)}

    def _call(self, messages: list[BaseMessage], stop: list[str] | None, kwargs: dict[str, Any]) -> AlignedCall:
        arguments = self._resolved(messages, kwargs)
        principles = arguments.pop(_RESOLVED)
        return self.make_call(messages, principles, stop, arguments)

    # -- generation ---------------------------------------------------------------------------------------------------

    @override
    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        chunks = list(self._stream(messages, stop, run_manager, **kwargs))
        return _result(chunks)

    @override
    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        return _result([chunk async for chunk in self._astream(messages, stop, run_manager, **kwargs)])

    @override
    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        call = self._call(messages, stop, kwargs)
        generation = call.submit()
        try:
            for chunk in map(_text_chunk, generation):
                if run_manager and chunk.text:
                    run_manager.on_llm_new_token(chunk.text, chunk=chunk)
                if chunk.text:
                    yield chunk
            yield _last_chunk(call, generation.completion)
        finally:
            generation.cancel()

    @override
    async def _astream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[ChatGenerationChunk]:
        call = await run_in_executor(None, self._call, messages, stop, kwargs)
        generation = call.submit()
        try:
            async for event in generation:
                chunk = _text_chunk(event)
                if run_manager and chunk.text:
                    await run_manager.on_llm_new_token(chunk.text, chunk=chunk)
                if chunk.text:
                    yield chunk
            yield _last_chunk(call, generation.completion)
        finally:
            generation.cancel()


def _text_chunk(chunk: Chunk) -> ChatGenerationChunk:
    return ChatGenerationChunk(message=AIMessageChunk(content=chunk.text))


def _last_chunk(call: AlignedCall, completion: Completion) -> ChatGenerationChunk:
    """Text held back to the end, with usage and report."""
    message = AIMessageChunk(
        content=completion.tail,
        response_metadata=call.metadata(completion),
        usage_metadata=usage(completion),
        chunk_position="last",
    )
    return ChatGenerationChunk(message=message)


def usage(completion: Completion) -> UsageMetadata:
    """Tokens of the reference prompt and of the answer; rows computed are in the alignment report."""
    num_in, num_out = completion.num_prompt_tokens, len(completion.records)
    return UsageMetadata(input_tokens=num_in, output_tokens=num_out, total_tokens=num_in + num_out)


def _result(chunks: list[ChatGenerationChunk]) -> ChatResult:
    last = chunks[-1].message
    assert isinstance(last, AIMessageChunk)
    message = AIMessage(
        content="".join(chunk.text for chunk in chunks),
        response_metadata=last.response_metadata,
        usage_metadata=last.usage_metadata,
    )
    return ChatResult(generations=[ChatGeneration(message=message)])
