"""LinearAlignmentLLM: the plain-text custom LLM class, for chains that speak strings."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from langchain_core.caches import BaseCache
from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.globals import get_llm_cache
from langchain_core.language_models import BaseLLM, LangSmithParams, LanguageModelInput
from langchain_core.outputs import Generation, GenerationChunk, LLMResult
from langchain_core.runnables import RunnableConfig, run_in_executor
from langchain_core.runnables.config import get_config_list
from typing_extensions import override

from la_agents.calls.batches import MAX_IN_FLIGHT, bounded, together
from la_agents.calls.builder import AlignedCall, CallBuilder, Rendering
from la_agents.calls.settings import Personalized
from la_agents.errors import ConfigurationError
from la_agents.principles import Principle, as_principles, digest

if TYPE_CHECKING:
    from la_agents.requests import Generation as Running

__all__ = ["LinearAlignmentLLM"]

_USERS = "_user_ids"
"""Internal call argument: one user a prompt, since the configs of one batch may name different ones."""
_CACHE = "_cache"
"""Internal call argument: the cache in use. LangChain has one key for all prompts of a call; here each has its own."""
_MANAGERS = "_run_managers"
"""Internal call argument: one a prompt. LangChain passes on the first alone, which would get all prompts' tokens."""


class _Told(str):
    """Principles of a call as traces show them: a digest. LangChain tells tracers all arguments of a streamed call."""

    principles: tuple[Principle, ...]


@dataclass
class _Asked:
    """One prompt on its way: what it is asked with, then found in the cache or under way in the engine."""

    prompt: str
    arguments: dict[str, Any]
    manager: Any
    begun: bool = False
    builder: CallBuilder | None = None
    key: str = ""
    found: Sequence[Generation] | None = None
    call: AlignedCall | None = None
    running: Running | None = None

    def look_up(self, face: LinearAlignmentLLM, stop: list[str] | None, cache: BaseCache | None) -> None:
        """Check the arguments and find the principles and, where there is a cache, the key in it."""
        self.begun = True
        self.builder = CallBuilder.of(face, self.arguments, stop, query=self.prompt)
        self.key = "" if cache is None else self.builder.cache_key

    def build(self) -> AlignedCall:
        """The call for the engine."""
        assert self.builder is not None
        self.call = self.builder.build(self.prompt)
        return self.call

    def cancel(self) -> None:
        if self.running is not None:
            self.running.cancel()

    @property
    def info(self) -> dict[str, Any]:
        """What LangChain gets beside the text of an answer that was decoded."""
        assert self.call is not None
        assert self.running is not None
        completion = self.running.completion
        usage = {"input_tokens": completion.num_prompt_tokens, "output_tokens": len(completion.records)}
        return {**self.call.metadata(completion), "usage": usage}

    def answer(self, text: str) -> Sequence[Generation]:
        """What LangChain gets, once all text has come."""
        return [Generation(text=text, generation_info=self.info)] if self.found is None else self.found


def _in_turn(asked: list[_Asked]) -> Generator[_Asked, None, None]:
    """Each prompt twice: to be begun, as long as fewer are under way than the engine runs at once, then to be read.

    Closed early, it cancels those that are under way.
    """
    todo, under_way = deque(asked), deque[_Asked]()
    try:
        while todo or under_way:
            if todo and len(under_way) < MAX_IN_FLIGHT:
                under_way.append(todo.popleft())
                yield under_way[-1]
            else:
                yield under_way[0]
                under_way.popleft()
    finally:
        for each in under_way:
            each.cancel()


class LinearAlignmentLLM(Personalized, BaseLLM):
    """Text completion model personalised by Linear Alignment.

    A model with a chat template gets the text as one human turn; a base model continues it. `generation_info` carries
    `finish_reason`, `model_name` and the `alignment` report.
    """

    @classmethod
    @override
    def is_lc_serializable(cls) -> bool:
        return True

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

    def render(
        self,
        input: LanguageModelInput,  # LangChain's name for it
        *,
        principles: Sequence[Any] | None = None,
        user_id: object = None,
        config: RunnableConfig | None = None,
        **kwargs: Any,
    ) -> Rendering:
        """The reference prompt and the principle prompts of a call, exactly as the model will see them."""
        text = self._convert_input(input).to_string()
        arguments = self.named_user(config, {"principles": principles, "user_id": user_id, **kwargs})
        return CallBuilder.of(self, arguments, query=text if principles is None else None).render(text)

    # -- the user: from the config into the call's arguments ----------------------------------------------------------

    @override
    def invoke(self, input: LanguageModelInput, config: RunnableConfig | None = None, **kwargs: Any) -> str:
        return super().invoke(input, config, **self.named_user(config, kwargs))

    @override
    async def ainvoke(self, input: LanguageModelInput, config: RunnableConfig | None = None, **kwargs: Any) -> str:
        return await super().ainvoke(input, config, **self.named_user(config, kwargs))

    @override
    def stream(self, input: LanguageModelInput, config: RunnableConfig | None = None, **kwargs: Any) -> Iterator[str]:
        yield from super().stream(input, config, **_discreet(self.named_user(config, kwargs)))

    @override
    async def astream(
        self, input: LanguageModelInput, config: RunnableConfig | None = None, **kwargs: Any
    ) -> AsyncIterator[str]:
        async for text in super().astream(input, config, **_discreet(self.named_user(config, kwargs))):
            yield text

    @override
    def batch(
        self,
        inputs: list[LanguageModelInput],
        config: RunnableConfig | list[RunnableConfig] | None = None,
        **kwargs: Any,
    ) -> list[str]:
        return super().batch(inputs, config, **{**kwargs, _USERS: self._users(inputs, config, kwargs)})

    @override
    async def abatch(
        self,
        inputs: list[LanguageModelInput],
        config: RunnableConfig | list[RunnableConfig] | None = None,
        **kwargs: Any,
    ) -> list[str]:
        return await super().abatch(inputs, config, **{**kwargs, _USERS: self._users(inputs, config, kwargs)})

    @override
    async def abatch_as_completed(
        self, inputs: Sequence[LanguageModelInput], config: Any = None, **kwargs: Any
    ) -> AsyncIterator[tuple[int, Any]]:
        async for answered in super().abatch_as_completed(inputs, bounded(config, len(inputs)), **kwargs):
            yield answered

    def _users(
        self,
        inputs: Sequence[LanguageModelInput],
        config: RunnableConfig | list[RunnableConfig] | None,
        kwargs: dict[str, Any],
    ) -> list[object]:
        configs = get_config_list(config, len(inputs))
        return [self.named_user(c, kwargs).get("user_id") for c in configs]

    # -- what LangChain knows and does not pass on: the cache, and who listens to which prompt -------------------------

    @override
    def generate(self, prompts: list[str], *args: Any, **kwargs: Any) -> LLMResult:
        return BaseLLM.generate(self._without_cache(), prompts, *args, **{**kwargs, _CACHE: self._cache_in_use()})

    @override
    async def agenerate(self, prompts: list[str], *args: Any, **kwargs: Any) -> LLMResult:
        uncached = self._without_cache()
        return await BaseLLM.agenerate(uncached, prompts, *args, **{**kwargs, _CACHE: self._cache_in_use()})

    def _without_cache(self) -> LinearAlignmentLLM:
        """This object as LangChain shall see it: `_generate` looks into the cache, prompt by prompt."""
        copied = self.model_copy(update={"cache": False})
        copied._runtime = self._runtime
        return copied

    def _cache_in_use(self) -> BaseCache | None:
        if self.cache is False:
            return None
        cache = self.cache if isinstance(self.cache, BaseCache) else get_llm_cache()
        if cache is None and self.cache is not None:
            msg = "Expected a cache for cache=True, none is set; call langchain_core.globals.set_llm_cache first."
            raise ConfigurationError(msg)
        return cache

    @override
    def _generate_helper(
        self, prompts: list[str], stop: list[str] | None, run_managers: list[Any], **kwargs: Any
    ) -> LLMResult:
        return super()._generate_helper(prompts, stop, run_managers, **{**kwargs, _MANAGERS: run_managers})

    @override
    async def _agenerate_helper(
        self, prompts: list[str], stop: list[str] | None, run_managers: list[Any], **kwargs: Any
    ) -> LLMResult:
        return await super()._agenerate_helper(prompts, stop, run_managers, **{**kwargs, _MANAGERS: run_managers})

    # -- generation: prompts are under way ahead of the one that is read, as many as the engine runs at once -----------

    def _asked(self, prompts: list[str], run_manager: Any, arguments: dict[str, Any]) -> list[_Asked]:
        """What is to be asked; takes the internal arguments out."""
        users = arguments.pop(_USERS, None) or [None] * len(prompts)
        if isinstance(told := arguments.get("principles"), _Told):
            arguments["principles"] = told.principles
        managers = arguments.pop(_MANAGERS, None) or [run_manager, *[None] * len(prompts)][: len(prompts)]
        return [
            _Asked(prompt, arguments if user is None else {**arguments, "user_id": user}, manager)
            for prompt, user, manager in zip(prompts, users, managers, strict=True)
        ]

    def _begin(self, asked: _Asked, stop: list[str] | None, cache: BaseCache | None = None) -> Running | None:
        """Find the answer in the cache, or have the engine begin it."""
        asked.look_up(self, stop, cache)
        asked.found = None if cache is None else cache.lookup(asked.prompt, asked.key)
        if asked.found is None:
            asked.running = asked.build().submit()
        return asked.running

    async def _abegin(self, asked: _Asked, stop: list[str] | None, cache: BaseCache | None = None) -> Running | None:
        await run_in_executor(None, asked.look_up, self, stop, cache)
        asked.found = None if cache is None else await cache.alookup(asked.prompt, asked.key)
        if asked.found is None:
            call = await run_in_executor(None, asked.build)
            asked.running = await call.asubmit()
        return asked.running

    @override
    def _generate(
        self,
        prompts: list[str],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> LLMResult:
        cache: BaseCache | None = kwargs.pop(_CACHE, None)
        answers: list[Sequence[Generation]] = []
        with together(len(prompts)), closing(_in_turn(self._asked(prompts, run_manager, kwargs))) as turns:
            for asked in turns:
                if not asked.begun:
                    self._begin(asked, stop, cache)
                    continue
                texts = [_heard(text, asked.manager) for text in _texts(asked.running)]
                answers.append(asked.answer("".join(texts)))
                if cache is not None and asked.found is None:
                    cache.update(asked.prompt, asked.key, answers[-1])
        return _llm_result(answers)

    @override
    async def _agenerate(
        self,
        prompts: list[str],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> LLMResult:
        cache: BaseCache | None = kwargs.pop(_CACHE, None)
        answers: list[Sequence[Generation]] = []
        with together(len(prompts)), closing(_in_turn(self._asked(prompts, run_manager, kwargs))) as turns:
            for asked in turns:
                if not asked.begun:
                    await self._abegin(asked, stop, cache)
                    continue
                texts = [await _aheard(text, asked.manager) async for text in _atexts(asked.running)]
                answers.append(asked.answer("".join(texts)))
                if cache is not None and asked.found is None:
                    await cache.aupdate(asked.prompt, asked.key, answers[-1])
        return _llm_result(answers)

    @override
    def _stream(
        self,
        prompt: str,
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[GenerationChunk]:
        (asked,) = self._asked([prompt], run_manager, kwargs)
        running = self._begin(asked, stop)
        try:
            for text in _texts(running):
                yield GenerationChunk(text=_heard(text, run_manager))
            yield GenerationChunk(text="", generation_info=asked.info)
        finally:
            asked.cancel()

    @override
    async def _astream(
        self,
        prompt: str,
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[GenerationChunk]:
        (asked,) = self._asked([prompt], run_manager, kwargs)
        running = await self._abegin(asked, stop)
        try:
            async for text in _atexts(running):
                yield GenerationChunk(text=await _aheard(text, run_manager))
            yield GenerationChunk(text="", generation_info=asked.info)
        finally:
            asked.cancel()


def _discreet(arguments: dict[str, Any]) -> dict[str, Any]:
    if arguments.get("principles") is None:
        return arguments
    principles = as_principles(arguments["principles"])
    told = _Told(digest(principles))
    told.principles = principles
    return {**arguments, "principles": told}


def _texts(running: Running | None) -> Iterator[str]:
    """All texts of an answer, what was held back to its end included; none of one that was found in a cache."""
    if running is not None:
        yield from (chunk.text for chunk in running if chunk.text)
        if tail := running.completion.tail:
            yield tail


async def _atexts(running: Running | None) -> AsyncIterator[str]:
    if running is not None:
        async for chunk in running:
            if chunk.text:
                yield chunk.text
        if tail := running.completion.tail:
            yield tail


def _heard(text: str, manager: CallbackManagerForLLMRun | None) -> str:
    if manager:
        manager.on_llm_new_token(text)
    return text


async def _aheard(text: str, manager: AsyncCallbackManagerForLLMRun | None) -> str:
    if manager:
        await manager.on_llm_new_token(text)
    return text


def _llm_result(answers: list[Sequence[Generation]]) -> LLMResult:
    """With the usage of all; an answer out of a cache brings that of the call which made it."""
    usages = [(answer.generation_info or {}).get("usage", {}) for (answer,) in answers]
    prompt_tokens = sum(usage.get("input_tokens", 0) for usage in usages)
    completion_tokens = sum(usage.get("output_tokens", 0) for usage in usages)
    token_usage = {
        "prompt_tokens": prompt_tokens,
        "completion_tokens": completion_tokens,
        "total_tokens": prompt_tokens + completion_tokens,
    }
    return LLMResult(generations=[list(each) for each in answers], llm_output={"token_usage": token_usage})
