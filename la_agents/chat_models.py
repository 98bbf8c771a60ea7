"""ChatLinearAlignment: a LangChain chat model whose answers follow its user's preferences at decoding time."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from typing import Any

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel, LangSmithParams, LanguageModelInput
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage
from langchain_core.outputs import ChatGenerationChunk, ChatResult
from langchain_core.runnables import Runnable, RunnableConfig, ensure_config, run_in_executor
from langchain_core.runnables.config import merge_configs
from langchain_core.tools import BaseTool
from pydantic import BaseModel
from typing_extensions import override

from la_agents.answer_stream import AnswerStream, result_of
from la_agents.personalization import AlignedCall, Personalized, Rendering, last_human_text
from la_agents.principles import Principle, as_principles
from la_agents.structure import STRUCTURE_ARGUMENTS, Structure
from la_agents.structured_output import Method, structured
from la_agents.tool_calling import ToolBox, as_tool_dicts, as_tool_name

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
    align_structured: bool = False
    """Whether alignment shapes tool calls and structured output, too; by default only free text follows taste."""

    @property
    def _llm_type(self) -> str:
        return "la-agents-chat"

    @property
    def _identifying_params(self) -> dict[str, Any]:
        return {**self.identifying, "align_structured": self.align_structured}

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

    # -- tools and structured output ----------------------------------------------------------------------------------

    @override
    def bind_tools(
        self,
        tools: Sequence[dict[str, Any] | type | Callable[..., Any] | BaseTool],
        *,
        tool_choice: str | dict[str, Any] | bool | None = None,
        parallel_tool_calls: bool | None = None,
        strict: bool | None = None,
        **kwargs: Any,
    ) -> Runnable[LanguageModelInput, AIMessage]:
        """The model with tools that it may call; every call parses and validates against its tool's schema.

        Args:
            tools: Functions, `BaseTool`s, pydantic classes, or dicts in OpenAI's form.
            tool_choice: "auto" (text or calls), "any" (at least one call), a tool's name, or "none".
            parallel_tool_calls: Whether one answer may hold several calls; by default where the model's own template
                knows tool calls, for a model that was never shown any only repeats itself.
            strict: Passed to LangChain's conversion: all fields required.
            kwargs: Further call arguments to bind, such as `temperature`.

        Raises:
            ConfigurationError: a tool or schema cannot be used, or the choice names no tool.
        """
        given = as_tool_dicts(tools, strict)
        choice = as_tool_name(tool_choice)
        ToolBox.of(given, choice, parallel_tool_calls)
        bound: dict[str, Any] = {"tools": given, "tool_choice": choice, "parallel_tool_calls": parallel_tool_calls}
        return self.bind(**{k: v for k, v in bound.items() if v is not None}, **kwargs)

    @override
    def with_structured_output(
        self,
        schema: dict[str, Any] | type | None = None,
        *,
        method: Method = "json_schema",
        include_raw: bool = False,
        strict: bool | None = None,
        **kwargs: Any,
    ) -> Runnable[LanguageModelInput, dict[str, Any] | BaseModel]:
        """The model with answers that are objects of a schema.

        Args:
            schema: A pydantic class or another type (its objects come out), a TypedDict or a JSON schema (dicts come
                out); None: any JSON object, with "json_mode" only.
            method: "json_schema" tells the model the schema and decodes by it; "function_calling" makes it the
                arguments of a call; "json_mode" decodes by it and leaves it to the caller's prompt to explain it.
            include_raw: Whether to give `raw`, `parsed` and `parsing_error` instead.
            strict: Passed to LangChain's conversion, for "function_calling".
            kwargs: Further call arguments to bind.

        Raises:
            ConfigurationError: the schema cannot be used.
        """
        return structured(self, schema, method, include_raw=include_raw, strict=strict, arguments=kwargs)

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
        arguments = dict(self._resolved(messages, kwargs))
        principles = arguments.pop(_RESOLVED)
        own = {name: arguments.pop(name) for name in STRUCTURE_ARGUMENTS & arguments.keys()}
        structure = Structure.of(own, aligned=self.align_structured)
        return self.make_call(messages, principles, stop, arguments, structure)

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
        return result_of(chunks)

    @override
    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        return result_of([chunk async for chunk in self._astream(messages, stop, run_manager, **kwargs)])

    @override
    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        call = self._call(messages, stop, kwargs)
        answer = AnswerStream(call)
        generation = call.submit()
        try:
            for event in generation:
                for chunk in answer.push(event):
                    if run_manager:
                        run_manager.on_llm_new_token(chunk.text, chunk=chunk)
                    yield chunk
            yield answer.finish(generation.completion)
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
        answer = AnswerStream(call)
        generation = await run_in_executor(None, call.submit)
        try:
            async for event in generation:
                for chunk in answer.push(event):
                    if run_manager:
                        await run_manager.on_llm_new_token(chunk.text, chunk=chunk)
                    yield chunk
            yield answer.finish(generation.completion)
        finally:
            generation.cancel()
