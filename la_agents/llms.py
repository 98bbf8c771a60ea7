"""LinearAlignmentLLM: the plain-text custom LLM class, for chains that speak strings."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import aclosing
from typing import Any

from langchain_core.caches import BaseCache
from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, BaseCallbackManager, CallbackManagerForLLMRun
from langchain_core.language_models import BaseLLM, LangSmithParams, LanguageModelInput
from langchain_core.outputs import Generation, GenerationChunk, LLMResult
from langchain_core.runnables import RunnableConfig, run_in_executor
from langchain_core.runnables.config import ContextThreadPoolExecutor
from typing_extensions import override

from la_agents.calls.batches import MAX_IN_FLIGHT, amember, member, together
from la_agents.calls.builder import CallBuilder
from la_agents.calls.face import BUILDER, Face, achunks_of, chunks_of
from la_agents.principles import Principle, as_principles, digest
from la_agents.requests import Chunk, Completion

__all__ = ["LinearAlignmentLLM"]


class _Digest(str):
    """Principles of a call as traces show them: a digest. LangChain passes tracers all arguments of a streamed call."""

    principles: tuple[Principle, ...]


class _KeyedCache(BaseCache):
    """A cache with the key of one call; LangChain's own key knows neither its arguments nor its user."""

    def __init__(self, cache: BaseCache, key: str) -> None:
        self._cache, self._key = cache, key

    def lookup(self, prompt: str, llm_string: str) -> Any:
        return self._cache.lookup(prompt, self._key)

    def update(self, prompt: str, llm_string: str, return_val: Sequence[Generation]) -> None:
        self._cache.update(prompt, self._key, return_val)

    def clear(self, **kwargs: Any) -> None:
        self._cache.clear(**kwargs)

    async def alookup(self, prompt: str, llm_string: str) -> Any:
        return await self._cache.alookup(prompt, self._key)

    async def aupdate(self, prompt: str, llm_string: str, return_val: Sequence[Generation]) -> None:
        await self._cache.aupdate(prompt, self._key, return_val)


class _Reader:
    """An engine's chunks as LangChain's."""

    def push(self, chunk: Chunk) -> Iterator[GenerationChunk]:
        if chunk.text:
            yield GenerationChunk(text=chunk.text)

    def finish(self, completion: Completion, metadata: dict[str, Any]) -> GenerationChunk:
        usage = {"input_tokens": completion.num_prompt_tokens, "output_tokens": len(completion.records)}
        return GenerationChunk(text=completion.tail, generation_info={**metadata, "usage": usage})


class LinearAlignmentLLM(Face[str, str], BaseLLM):
    """Text completion model personalised by Linear Alignment.

    A model with a chat template gets the text as one human turn; a base model continues it. `generation_info` carries
    `finish_reason`, `model_name` and the `alignment` report.
    """

    @property
    def _llm_type(self) -> str:
        return "la-agents"

    @property
    def _identifying_params(self) -> dict[str, Any]:
        return self.identifying

    @override
    def _get_ls_params(self, stop: list[str] | None = None, **kwargs: Any) -> LangSmithParams:
        params = super()._get_ls_params(stop=stop, **kwargs)
        params["ls_provider"], params["ls_model_name"] = "la_agents", str(kwargs.get("model") or self.model_name)
        return params

    @override
    def _source(self, input: LanguageModelInput) -> tuple[str, str]:
        text = self._convert_input(input).to_string()
        return text, text

    @override
    def _builder(self, source: Any, stop: list[str] | None, arguments: dict[str, Any]) -> CallBuilder:
        if isinstance(digested := arguments.get("principles"), _Digest):
            arguments = {**arguments, "principles": digested.principles}
        return CallBuilder.of(self, arguments, stop, query=source)

    @override
    def stream(self, input: LanguageModelInput, config: RunnableConfig | None = None, **kwargs: Any) -> Iterator[str]:
        yield from super().stream(input, config, **_discreet(kwargs))

    @override
    async def astream(
        self, input: LanguageModelInput, config: RunnableConfig | None = None, **kwargs: Any
    ) -> AsyncIterator[str]:
        async for text in super().astream(input, config, **_discreet(kwargs)):
            yield text

    # -- generation: each prompt is a call of its own, with its own user, cache key and callbacks ----------------------

    @override
    def generate(
        self, prompts: list[str], stop: list[str] | None = None, callbacks: Any = None, **kwargs: Any
    ) -> LLMResult:
        calls = _apart(prompts, callbacks, kwargs)

        def answer(prompt: str, options: dict[str, Any]) -> LLMResult:
            with member():
                llm, options = self._prepared(prompt, stop, options)
                return BaseLLM.generate(llm, [prompt], stop, **options)

        with together(len(prompts)):
            if len(prompts) == 1:
                return _joined([answer(*calls[0])])
            with ContextThreadPoolExecutor(MAX_IN_FLIGHT) as threads:
                return _joined(list(threads.map(answer, *zip(*calls, strict=True)) if calls else ()))

    @override
    async def agenerate(
        self, prompts: list[str], stop: list[str] | None = None, callbacks: Any = None, **kwargs: Any
    ) -> LLMResult:
        async def answer(prompt: str, options: dict[str, Any]) -> LLMResult:
            async with amember():
                llm, options = await run_in_executor(None, self._prepared, prompt, stop, options)
                return await BaseLLM.agenerate(llm, [prompt], stop, **options)

        with together(len(prompts)):
            calls = [answer(*call) for call in _apart(prompts, callbacks, kwargs)]
            results = await asyncio.gather(*calls, return_exceptions=True)
            if failed := next((result for result in results if isinstance(result, BaseException)), None):
                raise failed
            return _joined([result for result in results if isinstance(result, LLMResult)])

    def _prepared(
        self, prompt: str, stop: list[str] | None, options: dict[str, Any]
    ) -> tuple[LinearAlignmentLLM, dict[str, Any]]:
        """This object with a cache that has the call's key, and LangChain's options with the call's builder."""
        own = {name: options[name] for name in options if name not in _LANGCHAIN_OPTIONS}
        builder: CallBuilder = self._looked_up(prompt, stop, own)[BUILDER]
        cache = self._cache_in_use()
        llm = self.model_copy(update={"cache": False if cache is None else _KeyedCache(cache, builder.cache_key)})
        llm._runtime = self._runtime
        return llm, {**options, BUILDER: builder}

    @override
    def _generate(
        self,
        prompts: list[str],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> LLMResult:
        return _joined([_result(list(self._stream(prompt, stop, run_manager, **kwargs))) for prompt in prompts])

    @override
    async def _agenerate(
        self,
        prompts: list[str],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> LLMResult:
        results = []
        for prompt in prompts:
            results.append(_result([chunk async for chunk in self._astream(prompt, stop, run_manager, **kwargs)]))
        return _joined(results)

    @override
    def _stream(
        self,
        prompt: str,
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[GenerationChunk]:
        yield from chunks_of(self._call(prompt, stop, kwargs), _Reader(), run_manager)

    @override
    async def _astream(
        self,
        prompt: str,
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[GenerationChunk]:
        call = await run_in_executor(None, self._call, prompt, stop, kwargs)
        async with aclosing(achunks_of(call, _Reader(), run_manager)) as chunks:
            async for chunk in chunks:
                yield chunk


_LANGCHAIN_OPTIONS = ("callbacks", "tags", "metadata", "run_name", "run_id")


def _apart(prompts: list[str], callbacks: Any, options: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """Each prompt with its own of LangChain's options, which are lists, one a prompt, where callbacks are."""
    is_list = isinstance(callbacks, list) and bool(callbacks)
    listed = is_list and (callbacks[0] is None or isinstance(callbacks[0], (list, BaseCallbackManager)))
    run_ids = options.get("run_id")
    given = {**options, "callbacks": callbacks}
    calls = []
    for i, prompt in enumerate(prompts):
        own = {n: v[i] if listed and n in _LANGCHAIN_OPTIONS and isinstance(v, list) else v for n, v in given.items()}
        own["run_id"] = run_ids[i] if isinstance(run_ids, list) else run_ids if i == 0 else None
        calls.append((prompt, own))
    return calls


def _discreet(arguments: dict[str, Any]) -> dict[str, Any]:
    if arguments.get("principles") is None:
        return arguments
    principles = as_principles(arguments["principles"])
    digested = _Digest(digest(principles))
    digested.principles = principles
    return {**arguments, "principles": digested}


def _result(chunks: list[GenerationChunk]) -> LLMResult:
    """The answer of one prompt from all its chunks."""
    text = "".join(chunk.text for chunk in chunks)
    return LLMResult(generations=[[Generation(text=text, generation_info=chunks[-1].generation_info)]])


def _joined(results: list[LLMResult]) -> LLMResult:
    """One result, with the usage of all; an answer out of a cache brings that of the call which made it."""
    answers: list[Any] = [answer for result in results for answer in result.generations]
    usages = [(answer.generation_info or {}).get("usage", {}) for (answer,) in answers]
    prompt_tokens = sum(usage.get("input_tokens", 0) for usage in usages)
    completion_tokens = sum(usage.get("output_tokens", 0) for usage in usages)
    token_usage = {
        "prompt_tokens": prompt_tokens,
        "completion_tokens": completion_tokens,
        "total_tokens": prompt_tokens + completion_tokens,
    }
    runs = [run for result in results for run in result.run or ()]
    return LLMResult(generations=answers, llm_output={"token_usage": token_usage}, run=runs or None)
