"""ChatLinearAlignment: a LangChain chat model whose answers follow its user's preferences at decoding time."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import aclosing, suppress
from typing import Any, cast

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel, LangSmithParams, LanguageModelInput, ModelProfile
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage
from langchain_core.outputs import ChatGenerationChunk, ChatResult, LLMResult
from langchain_core.runnables import Runnable, run_in_executor
from langchain_core.tools import BaseTool
from pydantic import BaseModel, ConfigDict
from typing_extensions import override

from la_agents.calls.batches import amember, together
from la_agents.calls.builder import CallBuilder, last_human_text
from la_agents.calls.face import BUILDER, Face, achunks_of, chunks_of
from la_agents.errors import LaAgentsError
from la_agents.principles import as_principles, digest
from la_agents.structure.answer_stream import AnswerStream, result_of
from la_agents.structure.structure import STRUCTURE_ARGUMENTS
from la_agents.structure.structured_output import Method, structured
from la_agents.structure.tool_calling import ToolBox, as_tool_dicts, as_tool_name

__all__ = ["ChatLinearAlignment"]


class _Profile:
    """The field `profile`, filled when it is asked for: a model's context length is known once the model is there.

    LangChain fills the field when an object is made, which must not load anything.
    """

    def __get__(self, llm: ChatLinearAlignment | None, owner: type) -> ModelProfile | None:
        if llm is None:  # so that pydantic does not take this for the field's default
            raise AttributeError
        given: ModelProfile | None = llm.__dict__.get("profile")
        return llm._own_profile() if given is None and llm._made else given

    def __set__(self, llm: ChatLinearAlignment, value: ModelProfile | None) -> None:
        llm.__dict__["profile"] = value


class ChatLinearAlignment(Face[AIMessage, AIMessageChunk], BaseChatModel):
    """Chat model personalised by Linear Alignment.

    The user comes with the call: `config={"configurable": {"user_id": "alice"}}`, `bind(user_id="alice")` or the
    constructor. Answers carry `usage_metadata` and, in `response_metadata`, `finish_reason`, `model_name` and the
    `alignment` report. The engine and its batch belong to this process; another process loads its own model.

    Examples:
        >>> llm = ChatLinearAlignment(principles=["Talk like a pirate."], strength=1.0)
        >>> llm.invoke("What is the capital of France?")  # doctest: +SKIP
    """

    model_config = ConfigDict(ignored_types=(_Profile,))

    profile = _Profile()

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
        stops = stop or self._argument(kwargs, "stop")
        if stops and isinstance(stops, (str, list, tuple)):  # what is none of these is refused by the call itself
            params["ls_stop"] = [stops] if isinstance(stops, str) else list(stops)
        return params

    @override
    def _get_invocation_params(self, stop: list[str] | None = None, **kwargs: Any) -> dict[str, Any]:
        """What tracers store of a call: its principles by their digest alone."""
        params = super()._get_invocation_params(stop, **kwargs)
        if kwargs.get("principles") is not None:
            params["principles"] = digest(as_principles(kwargs["principles"]))
        return params

    def _own_profile(self) -> ModelProfile:
        """What LangChain's agents and middleware ask about a model."""
        can = "text_inputs text_outputs tool_calling tool_choice tool_call_streaming structured_output temperature"
        cannot = "image_inputs audio_inputs video_inputs image_outputs audio_outputs video_outputs reasoning_output"
        abilities = dict.fromkeys(can.split(), True) | dict.fromkeys(cannot.split(), False)
        profile = cast("ModelProfile", {"name": self.model_name, "max_output_tokens": self.max_tokens, **abilities})
        with suppress(LaAgentsError):  # the first call will say why
            profile["max_input_tokens"] = self.engine.context
        return profile

    @override
    def _source(self, input: LanguageModelInput) -> tuple[Sequence[BaseMessage], str]:
        messages = self._convert_input(input).to_messages()
        return messages, last_human_text(messages)

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

    # -- generation ---------------------------------------------------------------------------------------------------

    @override
    async def agenerate(self, messages: list[list[BaseMessage]], *args: Any, **kwargs: Any) -> LLMResult:
        with together(len(messages)):
            return await super().agenerate(messages, *args, **kwargs)

    @override
    def _generate_with_cache(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        kwargs = self._looked_up(messages, stop, kwargs)
        return super()._generate_with_cache(messages, stop, run_manager, **kwargs)

    @override
    async def _agenerate_with_cache(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        async with amember():
            kwargs = await run_in_executor(None, self._looked_up, messages, stop, kwargs)
            return await super()._agenerate_with_cache(messages, stop, run_manager, **kwargs)

    @override
    def _builder(self, source: Any, stop: list[str] | None, arguments: dict[str, Any]) -> CallBuilder:
        own = {name: value for name, value in arguments.items() if name not in STRUCTURE_ARGUMENTS}
        structure = {name: value for name, value in arguments.items() if name not in own and value is not None}
        structure = {"align_structured": self.align_structured, **structure}
        return CallBuilder.of(self, own, stop, query=last_human_text(source), structure=structure)

    @override
    def _get_llm_string(self, stop: list[str] | None = None, **kwargs: Any) -> str:
        builder: CallBuilder = kwargs[BUILDER]
        return builder.cache_key

    @override
    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        return result_of(list(self._stream(messages, stop, run_manager, **kwargs)))

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
        yield from chunks_of(call, AnswerStream(call.structure, call.call_format), run_manager)

    @override
    async def _astream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[ChatGenerationChunk]:
        call = await run_in_executor(None, self._call, messages, stop, kwargs)
        async with aclosing(achunks_of(call, AnswerStream(call.structure, call.call_format), run_manager)) as chunks:
            async for chunk in chunks:
                yield chunk
