"""LinearAlignmentLLM: the plain-text custom LLM class, for chains that speak strings."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.language_models import BaseLLM, LangSmithParams, LanguageModelInput
from langchain_core.outputs import Generation, GenerationChunk, LLMResult
from langchain_core.runnables import RunnableConfig, run_in_executor
from langchain_core.runnables.config import get_config_list
from typing_extensions import override

from la_agents.personalization import CALL_ARGUMENTS, AlignedCall, Personalized, Rendering
from la_agents.principles import as_principles

if TYPE_CHECKING:
    from la_agents.engine.generation import Completion

__all__ = ["LinearAlignmentLLM"]

_USERS = "_user_ids"
"""Internal call argument: one user a prompt, since the configs of one batch may name different ones."""


class LinearAlignmentLLM(Personalized, BaseLLM):
    """Text completion model personalised by Linear Alignment.

    A model with a chat template gets the text as one human turn; a base model continues it. `generation_info` carries
    `finish_reason`, `model_name` and the `alignment` report. LangChain's cache looks at the prompt and this object's
    settings only, so calls with a preference store or with call arguments are kept out of it.
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
        params["ls_provider"], params["ls_model_name"] = "la_agents", self.model_name
        return params

    def render(
        self,
        input: LanguageModelInput,  # LangChain's name for it
        *,
        principles: Sequence[Any] | None = None,
        user_id: object = None,
        config: RunnableConfig | None = None,
    ) -> Rendering:
        """The reference prompt and the principle prompts of a call, exactly as the model will see them."""
        text = self._convert_input(input).to_string()
        arguments = self.named_user(config, {"principles": principles, "user_id": user_id})
        if principles is not None:
            return self.render_prompts(text, as_principles(principles))
        return self.render_prompts(text, self.resolve_principles(text, arguments))

    # -- the user: from the config into the call's arguments ----------------------------------------------------------

    @override
    def invoke(self, input: LanguageModelInput, config: RunnableConfig | None = None, **kwargs: Any) -> str:
        return super().invoke(input, config, **self.named_user(config, kwargs))

    @override
    async def ainvoke(self, input: LanguageModelInput, config: RunnableConfig | None = None, **kwargs: Any) -> str:
        return await super().ainvoke(input, config, **self.named_user(config, kwargs))

    @override
    def stream(self, input: LanguageModelInput, config: RunnableConfig | None = None, **kwargs: Any) -> Iterator[str]:
        yield from super().stream(input, config, **self.named_user(config, kwargs))

    @override
    async def astream(
        self, input: LanguageModelInput, config: RunnableConfig | None = None, **kwargs: Any
    ) -> AsyncIterator[str]:
        async for text in super().astream(input, config, **self.named_user(config, kwargs)):
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

    def _users(
        self,
        inputs: Sequence[LanguageModelInput],
        config: RunnableConfig | list[RunnableConfig] | None,
        kwargs: dict[str, Any],
    ) -> list[object]:
        configs = get_config_list(config, len(inputs))
        return [self.named_user(c, kwargs).get("user_id") for c in configs]

    # -- the cache: only what its key describes ------------------------------------------------------------------------

    @override
    def generate(self, prompts: list[str], *args: Any, **kwargs: Any) -> LLMResult:
        return BaseLLM.generate(self._cacheable(kwargs), prompts, *args, **kwargs)

    @override
    async def agenerate(self, prompts: list[str], *args: Any, **kwargs: Any) -> LLMResult:
        return await BaseLLM.agenerate(self._cacheable(kwargs), prompts, *args, **kwargs)

    def _cacheable(self, kwargs: dict[str, Any]) -> LinearAlignmentLLM:
        """This object, or a copy that bypasses the cache, where an answer depends on more than the cache key says."""
        in_key = self.preferences is None and not set(kwargs) & CALL_ARGUMENTS
        if in_key or self.cache is False:
            return self
        self.load()  # or the copy would load, and drop, an engine of its own
        return self.model_copy(update={"cache": False})

    # -- generation ---------------------------------------------------------------------------------------------------

    def _calls(self, prompts: list[str], stop: list[str] | None, kwargs: dict[str, Any]) -> list[AlignedCall]:
        arguments = dict(kwargs)
        users = arguments.pop(_USERS, None) or [None] * len(prompts)
        calls = []
        for prompt, user in zip(prompts, users, strict=True):
            own = self.named_user(None, arguments if user is None else {**arguments, "user_id": user})
            calls.append(self.make_call(prompt, self.resolve_principles(prompt, own), stop, own))
        return calls

    @override
    def _generate(
        self,
        prompts: list[str],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> LLMResult:
        calls = self._calls(prompts, stop, kwargs)
        generations = [call.submit() for call in calls]
        try:
            answers = []
            for call, generation in zip(calls, generations, strict=True):
                text = "".join(_heard(chunk.text, run_manager) for chunk in generation)
                answers.append(_generation(call, text, generation.completion))
            return _llm_result(answers)
        finally:
            for generation in generations:
                generation.cancel()

    @override
    async def _agenerate(
        self,
        prompts: list[str],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> LLMResult:
        calls = await run_in_executor(None, self._calls, prompts, stop, kwargs)
        generations = [call.submit() for call in calls]
        try:
            answers = []
            for call, generation in zip(calls, generations, strict=True):
                texts = []
                async for chunk in generation:
                    texts.append(chunk.text)
                    if run_manager and chunk.text:
                        await run_manager.on_llm_new_token(chunk.text)
                answers.append(_generation(call, "".join(texts), generation.completion))
            return _llm_result(answers)
        finally:
            for generation in generations:
                generation.cancel()

    @override
    def _stream(
        self,
        prompt: str,
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[GenerationChunk]:
        (call,) = self._calls([prompt], stop, kwargs)
        generation = call.submit()
        try:
            for chunk in generation:
                if text := _heard(chunk.text, run_manager):
                    yield GenerationChunk(text=text)
            completion = generation.completion
            yield GenerationChunk(text=completion.tail, generation_info=call.metadata(completion))
        finally:
            generation.cancel()

    @override
    async def _astream(
        self,
        prompt: str,
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[GenerationChunk]:
        (call,) = await run_in_executor(None, self._calls, [prompt], stop, kwargs)
        generation = call.submit()
        try:
            async for chunk in generation:
                if chunk.text:
                    if run_manager:
                        await run_manager.on_llm_new_token(chunk.text)
                    yield GenerationChunk(text=chunk.text)
            completion = generation.completion
            yield GenerationChunk(text=completion.tail, generation_info=call.metadata(completion))
        finally:
            generation.cancel()


def _heard(text: str, run_manager: CallbackManagerForLLMRun | None) -> str:
    if run_manager and text:
        run_manager.on_llm_new_token(text)
    return text


def _generation(call: AlignedCall, text: str, completion: Completion) -> Generation:
    usage = {"input_tokens": completion.num_prompt_tokens, "output_tokens": len(completion.records)}
    return Generation(text=text + completion.tail, generation_info={**call.metadata(completion), "usage": usage})


def _llm_result(answers: list[Generation]) -> LLMResult:
    usages = [answer.generation_info["usage"] for answer in answers if answer.generation_info]
    prompt_tokens = sum(u["input_tokens"] for u in usages)
    completion_tokens = sum(u["output_tokens"] for u in usages)
    token_usage = {
        "prompt_tokens": prompt_tokens,
        "completion_tokens": completion_tokens,
        "total_tokens": prompt_tokens + completion_tokens,
    }
    return LLMResult(generations=[[answer] for answer in answers], llm_output={"token_usage": token_usage})
