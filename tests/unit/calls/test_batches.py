"""Batches of any size, calls that are given up, and who hears what: both faces, sync and async."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import Any

import pytest
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.messages import AIMessage, HumanMessage
from langchain_core.runnables import RunnableLambda

from la_agents import ChatLinearAlignment, LinearAlignmentLLM
from la_agents.calls.batches import MAX_IN_FLIGHT
from la_agents.engine.engine import Engine, engine_for
from la_agents.engine.scheduler import Limits
from la_agents.errors import ConfigurationError, EngineBusyError, LaAgentsError, PromptError
from tests.tiny import tiny_model

Face = ChatLinearAlignment | LinearAlignmentLLM
FACES = [ChatLinearAlignment, LinearAlignmentLLM]
QUESTION = "What should I cook tonight?"
LONE = "broken \ud83d text"


def make(face: type[Face], **settings: Any) -> Face:
    return face(**{"model": tiny_model("llama"), "max_tokens": 2, **settings})


def text_of(answer: AIMessage | str) -> str:
    return answer if isinstance(answer, str) else answer.text


def idle(engine: Engine) -> bool:
    """Whether nothing decodes any more; what was cancelled leaves at the next step."""
    for _ in range(500):
        stats = engine.stats()
        if not stats.num_running and not stats.num_waiting:
            return True
        time.sleep(0.01)
    return False


@pytest.fixture
def narrow() -> Any:
    """A model whose engine runs two rows, and lets two requests wait."""
    loaded = tiny_model.__wrapped__("llama")
    engine = engine_for(loaded, Limits(max_waiting=2, max_rows=2))
    yield loaded
    engine.close()


async def ask(llm: Face, way: str, inputs: list[Any], **options: Any) -> list[str]:
    if way == "batch":
        return [text_of(each) for each in llm.batch(inputs, **options)]
    if way == "abatch":
        return [text_of(each) for each in await llm.abatch(inputs, **options)]
    if way == "abatch_as_completed":
        found = [pair async for pair in llm.abatch_as_completed(inputs, **options)]
        return [text_of(answer) for _, answer in sorted(found, key=lambda pair: pair[0])]
    prompts = inputs if isinstance(llm, LinearAlignmentLLM) else [[HumanMessage(text)] for text in inputs]
    result = llm.generate(prompts) if way == "generate" else await llm.agenerate(prompts)  # type: ignore[arg-type]
    return [generations[0].text for generations in result.generations]


@pytest.mark.parametrize("face", FACES)
@pytest.mark.parametrize("way", ["batch", "abatch", "abatch_as_completed", "generate", "agenerate"])
async def test_a_batch_larger_than_the_queue_is_answered_in_order(face: type[Face], way: str, narrow: Any) -> None:
    inputs = [f"{QUESTION} {n}" for n in range(40)]
    expected = [text_of(make(face).invoke(text)) for text in inputs[:3]]
    if way == "abatch_as_completed":  # LangChain runs these as calls of their own
        narrow = tiny_model("llama")
    answers = await ask(make(face, model=narrow), way, inputs)
    assert len(answers) == 40
    assert answers[:3] == expected


@pytest.mark.parametrize("face", FACES)
@pytest.mark.parametrize("way", ["batch", "abatch"])
async def test_a_thousand_inputs_need_a_bounded_number_of_threads(face: type[Face], way: str) -> None:
    most = 0

    class Watch(BaseCallbackHandler):
        def on_llm_end(self, *_: Any, **__: Any) -> None:
            nonlocal most
            most = max(most, threading.active_count())

    before = threading.active_count()
    llm = make(face, max_tokens=1, callbacks=[Watch()])
    answers = await ask(llm, way, [f"{n}" for n in range(1000)])
    assert len(answers) == 1000
    assert most <= before + MAX_IN_FLIGHT + 40  # asyncio's own pool among them
    assert idle(llm.engine)


async def test_calls_that_are_no_batch_are_refused_by_a_full_queue(narrow: Any) -> None:
    llm = make(ChatLinearAlignment, model=narrow, max_tokens=200)
    answers = await asyncio.gather(*(llm.ainvoke(QUESTION) for _ in range(12)), return_exceptions=True)
    assert {type(each) for each in answers} == {AIMessage, EngineBusyError}


@pytest.mark.parametrize("face", FACES)
@pytest.mark.parametrize("way", ["batch", "abatch", "agenerate"])
async def test_one_that_fails_ends_the_batch_with_its_own_error(face: type[Face], way: str) -> None:
    llm = make(face, max_tokens=500)
    inputs = [f"{QUESTION} {n}" for n in range(20)]
    before = llm.engine.stats().num_generated_tokens
    with pytest.raises(PromptError, match="surrogate"):
        await ask(llm, way, [*inputs, LONE, *inputs])
    assert idle(llm.engine)
    assert llm.engine.stats().num_generated_tokens - before < 40 * 500 // 2, "the others went on to their ends"


@pytest.mark.parametrize("way", ["batch", "abatch"])
async def test_the_others_go_on_where_exceptions_are_results(way: str) -> None:
    llm = make(ChatLinearAlignment, max_tokens=5)
    inputs = [QUESTION, LONE, "Hello", [], "Bye"]
    call = llm.batch if way == "batch" else llm.abatch
    answers: Any = call(inputs, return_exceptions=True)  # type: ignore[arg-type]
    answers = await answers if way == "abatch" else answers
    assert [type(each) for each in answers] == [AIMessage, PromptError, AIMessage, PromptError, AIMessage]
    assert answers[4].text == llm.invoke("Bye").text


@pytest.mark.parametrize("face", FACES)
async def test_a_cancelled_batch_leaves_nothing_decoding(face: type[Face]) -> None:
    llm = make(face, max_tokens=900)
    task = asyncio.ensure_future(llm.abatch([f"{QUESTION} {n}" for n in range(100)]))
    while not llm.engine.stats().num_running:
        await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert idle(llm.engine)


@pytest.mark.parametrize("face", FACES)
@pytest.mark.parametrize("way", ["ainvoke", "astream", "abatch"])
async def test_a_task_that_is_cancelled_while_it_submits(
    face: type[Face], way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    llm = make(face, max_tokens=900)
    submitting, go_on = threading.Event(), threading.Event()
    submit = llm.engine.submit

    def slow(request: Any) -> Any:
        submitting.set()
        go_on.wait(30)
        return submit(request)

    async def call() -> None:
        if way == "astream":
            async for _ in llm.astream(QUESTION):
                pass
        else:
            await (llm.ainvoke(QUESTION) if way == "ainvoke" else llm.abatch([QUESTION] * 3))

    before = llm.engine.stats().num_generated_tokens
    monkeypatch.setattr(llm.engine, "submit", slow)
    task = asyncio.ensure_future(call())
    while not submitting.is_set():
        await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    go_on.set()
    await asyncio.sleep(0.1)
    assert idle(llm.engine)
    assert llm.engine.stats().num_generated_tokens - before < 900


async def test_a_chain_is_batched_in_the_same_way(narrow: Any) -> None:
    chain = RunnableLambda(lambda n: f"{QUESTION} {n}") | make(ChatLinearAlignment, model=narrow)
    assert len(chain.batch(list(range(20)))) == 20
    assert len(await chain.abatch(list(range(20)))) == 20


# -- what callbacks hear -----------------------------------------------------------------------------------------------


class Heard(BaseCallbackHandler):
    def __init__(self) -> None:
        self.tokens: list[str] = []

    def on_llm_new_token(self, token: str, **_: Any) -> None:
        self.tokens.append(token)


@pytest.mark.parametrize("face", FACES)
@pytest.mark.parametrize("way", ["invoke", "ainvoke", "stream", "astream", "batch", "abatch"])
@pytest.mark.parametrize("beyond", ["@@@", "\n@", " @"])
async def test_text_that_was_held_back_for_a_stop_string_is_heard(face: type[Face], way: str, beyond: str) -> None:
    whole = text_of(make(face, max_tokens=12).invoke(QUESTION))
    llm = make(face, max_tokens=12, stop=[whole[-3:] + beyond, whole[-1:] + beyond])
    heard = Heard()
    config: Any = {"callbacks": [heard]}
    if way == "stream":
        answer = "".join(text_of(c) for c in llm.stream(QUESTION, config))
    elif way == "astream":
        answer = "".join([text_of(c) async for c in llm.astream(QUESTION, config)])
    elif way in ("invoke", "ainvoke"):
        answer = text_of(llm.invoke(QUESTION, config) if way == "invoke" else await llm.ainvoke(QUESTION, config))
    else:
        (answer,) = await ask(llm, way, [QUESTION], config=config)
    assert answer == whole
    assert "".join(heard.tokens) == whole


@pytest.mark.parametrize("face", FACES)
@pytest.mark.parametrize("way", ["batch", "abatch"])
async def test_each_callback_of_a_batch_hears_its_own_answer(face: type[Face], way: str) -> None:
    inputs = [f"{QUESTION} {n}" for n in range(5)]
    heard = [Heard() for _ in inputs]
    configs = [{"callbacks": [each]} for each in heard]
    answers = await ask(make(face, max_tokens=8), way, inputs, config=configs)
    assert ["".join(each.tokens) for each in heard] == answers
    assert len(set(answers)) > 1


@pytest.mark.parametrize("face", FACES)
def test_errors_of_a_batch_are_of_this_library(face: type[Face]) -> None:
    with pytest.raises(ConfigurationError, match="temperature"):
        make(face).batch([QUESTION] * 3, temperature="hot")
    with pytest.raises(LaAgentsError):
        make(face).batch([QUESTION, "  "] if face is LinearAlignmentLLM else [QUESTION, []])


@pytest.mark.parametrize("face", FACES)
async def test_no_inputs_give_no_answers(face: type[Face]) -> None:
    llm = make(face)
    assert llm.generate([]).generations == []
    assert (await llm.agenerate([])).generations == []
    assert llm.batch([]) == await llm.abatch([]) == []
