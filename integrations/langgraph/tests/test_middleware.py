"""PreferenceMiddleware in agents of `create_agent`: with an aligned model, with any other, sync and async."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from langchain.agents import create_agent
from langchain.agents.middleware import AgentMiddleware, HumanInTheLoopMiddleware, ModelRequest, ToolRetryMiddleware
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage
from langchain_core.runnables import RunnableLambda
from langchain_core.tools import ToolException, tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.errors import GraphRecursionError
from langgraph.types import Command
from vendor import VendorModel

from la_agents import ChatLinearAlignment
from la_agents.errors import UserNotSpecifiedError
from la_agents.learning import BackgroundLearner, FeedbackRecorder, PreferenceLearner, RuleExtractor
from la_agents.preferences.store import PreferenceStore
from la_agents.tools import RecallPreferences
from la_agents_langgraph import ChromaStore, PreferenceMiddleware


def user(name: str, thread: str = "1") -> Any:
    return {"configurable": {"user_id": name, "thread_id": f"{name}-{thread}"}}


def ask(text: str) -> Any:
    return {"messages": [HumanMessage(text)]}


def last(result: Any) -> AIMessage:
    message = result["messages"][-1]
    assert isinstance(message, AIMessage)
    return message


@pytest.fixture
def store(tmp_path: Path) -> Iterator[PreferenceStore]:
    with PreferenceStore(tmp_path) as store:
        yield store


def tiny(**settings: Any) -> ChatLinearAlignment:
    from tests.tiny import tiny_model  # needs torch, which the other tests of this file do without

    return ChatLinearAlignment(model=tiny_model("llama"), **settings)


@pytest.fixture
def aligned() -> ChatLinearAlignment:
    return tiny(principles=["Be kind."], max_tokens=3)


def used(message: AIMessage) -> list[str | None]:
    """The ids of the principles that an answer names; those of the application have none."""
    principles = message.response_metadata["alignment"]["principles"]
    assert not any("text" in principle for principle in principles)
    return [principle["id"] for principle in principles]


def ids(store: PreferenceStore, name: str) -> list[str | None]:
    return [preference.id for preference in store.list(name)]


class CallOnce(AgentMiddleware[Any, Any, Any]):
    """Makes the first step of a turn a call of one tool, and the second an answer."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self._tool = name

    async def awrap_model_call(self, request: ModelRequest[Any], handler: Any) -> Any:
        if request.messages[-1].type == "human":
            return await handler(request.override(tool_choice=self._tool))
        return await handler(request.override(tools=[]))


# -- what the models are given -----------------------------------------------------------------------------------------


def test_an_aligned_model_is_aligned_with_them(store: PreferenceStore, aligned: ChatLinearAlignment) -> None:
    kept = store.add("alice", "Answer in French.", scope="always")
    agent = create_agent(aligned, middleware=[PreferenceMiddleware(store)])
    answer = last(agent.invoke(ask("Hello"), user("alice")))
    assert used(answer) == [None, kept.id]
    assert used(last(agent.invoke(ask("Hello"), user("bob")))) == [None]


def test_a_model_with_a_store_of_its_own_is_left_alone(store: PreferenceStore) -> None:
    store.add("alice", "Answer in French.", scope="always")
    own = tiny(preferences=store, max_tokens=3)
    agent = create_agent(own, middleware=[PreferenceMiddleware(store)])
    assert used(last(agent.invoke(ask("Hello"), user("alice")))) == ids(store, "alice")


@pytest.mark.parametrize(
    "system", [None, "You are a guide.", SystemMessage([{"type": "text", "text": "You are a guide."}])]
)
def test_any_other_model_finds_them_in_the_system_prompt(store: PreferenceStore, system: Any) -> None:
    store.add("alice", "Answer\nin French.", scope="always")
    agent = create_agent(VendorModel(), system_prompt=system, middleware=[PreferenceMiddleware(store)])
    answer = last(agent.invoke(ask("Hello"), user("alice")))
    assert "- Answer in French." in answer.text
    assert ("You are a guide." in answer.text) == (system is not None)
    assert used(answer) == ids(store, "alice")
    assert "French" not in last(agent.invoke(ask("Hello"), user("bob"))).text
    if isinstance(system, SystemMessage):
        assert len(system.content) == 1  # the application's own is not touched


def test_what_is_relevant_is_looked_up_once_a_turn(store: PreferenceStore) -> None:
    store.add("alice", "I love hiking in the mountains.")
    calls = []

    class Counting(PreferenceStore):
        def retrieve(self, *args: Any, **kwargs: Any) -> Any:
            calls.append(args)
            return store.retrieve(*args, **kwargs)

    @tool
    def weather(query: str) -> str:
        """Say how the weather is."""
        store.add("alice", "I love rain.", scope="always")  # known from the next turn on
        return "Rain."

    middleware = PreferenceMiddleware(Counting("unused"))
    agent = create_agent(VendorModel(), tools=[weather], middleware=[middleware])
    agent.invoke(ask("call weather: where to hike in the mountains?"), user("alice"))
    assert len(calls) == 1
    answer = last(agent.invoke(ask("Where can I hike in the mountains?"), user("alice")))
    assert "hiking" in answer.text
    assert "rain" in answer.text


# -- whose run it is ---------------------------------------------------------------------------------------------------


def test_a_run_without_a_user_is_refused_unless_that_is_allowed(store: PreferenceStore) -> None:
    agent = create_agent(VendorModel(), middleware=[PreferenceMiddleware(store)])
    with pytest.raises(UserNotSpecifiedError):
        agent.invoke(ask("Hello"))
    anonymous = create_agent(VendorModel(), middleware=[PreferenceMiddleware(store, allow_anonymous=True)])
    assert last(anonymous.invoke(ask("Hello"))).text == "<> Hello"
    store.add("carol", "Answer in French.", scope="always")
    default = create_agent(VendorModel(), middleware=[PreferenceMiddleware(store, user_id="carol")])
    assert "French" in last(default.invoke(ask("Hello"))).text
    assert "French" not in last(default.invoke(ask("Hello"), user("alice"))).text


async def test_twenty_agents_at_once_never_mix_their_users(store: PreferenceStore) -> None:
    names = [f"user{n:02d}" for n in range(20)]
    for name in names:
        store.add(name, f"My secret word is {name}secret.", scope="always")
    middleware = PreferenceMiddleware(store, tools=True)
    agent = create_agent(VendorModel(), middleware=[middleware], checkpointer=InMemorySaver())

    async def converse(name: str) -> list[str]:
        answers = []
        for text in ("Hello", f"call remember_preference: I love {name}dish.", "call recall_preferences", "Bye"):
            answers.append(last(await agent.ainvoke(ask(text), user(name))).text)
        return answers

    for name, answers in zip(names, await asyncio.gather(*map(converse, names)), strict=True):
        for answer in (answers[0], answers[2], answers[3]):
            assert f"{name}secret" in answer
            assert not any(f"{other}secret" in answer or f"{other}dish" in answer for other in names if other != name)
        assert [p.text for p in store.list(name)][1:] == [f"I love {name}dish."]


async def test_twenty_aligned_agents_at_once_never_mix_their_users(
    store: PreferenceStore, aligned: ChatLinearAlignment
) -> None:
    names = [f"user{n:02d}" for n in range(20)]
    for name in names:
        store.add(name, f"Say {name}.", scope="always")
    agent = create_agent(aligned, middleware=[PreferenceMiddleware(store)])
    answers = await asyncio.gather(*(agent.ainvoke(ask("Hello"), user(name)) for name in names))
    for name, answer in zip(names, answers, strict=True):
        assert used(last(answer)) == [None, *ids(store, name)]


async def test_twenty_aligned_agents_call_tools_for_their_own_users(store: PreferenceStore) -> None:
    """A random model under a grammar: nonsense, and yet every call parses and acts for its own user."""
    names = [f"user{n:02d}" for n in range(20)]
    for name in names:
        store.add(name, f"Say {name}.", scope="always")
    random = tiny(max_tokens=150)
    recall = RecallPreferences(store=store)  # one tool: the tiny model's context is short
    agent = create_agent(random, tools=[recall], middleware=[CallOnce(recall.name), PreferenceMiddleware(store)])
    runs = await asyncio.gather(*(agent.ainvoke(ask("Hello"), user(name)) for name in names))
    for name, run in zip(names, runs, strict=True):
        results = [message.text for message in run["messages"] if message.type == "tool"]
        assert results
        for result in results:
            assert f"Say {name}." in result
            assert not any(f"Say {other}." in result for other in names if other != name)
        assert used(last(run)) == ids(store, name)


def test_threads_at_once_never_mix_their_users(store: PreferenceStore) -> None:
    names = [f"user{n}" for n in range(8)]
    for name in names:
        store.add(name, f"Say {name}secret.", scope="always")
    agent = create_agent(VendorModel(), middleware=[PreferenceMiddleware(store)])
    wrong: list[str] = []

    def run(name: str) -> None:
        for _ in range(3):
            text = last(agent.invoke(ask("Hello"), user(name))).text
            if [other for other in names if f"{other}secret" in text] != [name]:
                wrong.append(name)

    threads = [threading.Thread(target=run, args=(name,)) for name in names]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert wrong == []


def test_no_checkpoint_holds_a_preference(store: PreferenceStore) -> None:
    store.add("alice", "My secret word is swordfish.", scope="always")
    saver = InMemorySaver()

    class Silent(VendorModel):
        def _answer(self, messages: Any) -> AIMessage:
            return AIMessage("Hm.")

    agent = create_agent(Silent(), middleware=[PreferenceMiddleware(store)], checkpointer=saver)
    result = agent.invoke(ask("Hello"), user("alice"))
    assert set(result) == {"messages"}
    for checkpoint in saver.list(None):
        assert "la_agents_principles" not in checkpoint.checkpoint["channel_values"]
        assert "swordfish" not in repr(checkpoint)
    assert "la_agents_principles" not in agent.get_state(user("alice")).values


@pytest.mark.parametrize("own", [False, True])
def test_no_checkpoint_of_an_aligned_agent_holds_a_preference(store: PreferenceStore, own: bool) -> None:
    kept = store.add("alice", "My secret word is swordfish.", scope="always")
    saver = InMemorySaver()
    llm = tiny(max_tokens=3, preferences=store if own else None)
    agent = create_agent(llm, middleware=[] if own else [PreferenceMiddleware(store)], checkpointer=saver)
    result = agent.invoke(ask("Hello"), user("alice"))
    assert used(last(result)) == [kept.id]
    assert "swordfish" not in repr(result)
    assert "swordfish" not in repr(list(saver.list(None)))


@pytest.mark.parametrize("settings", [{}, {"principles": None}, {"principles": []}, {"principles": ["Be brief."]}])
def test_principles_that_another_middleware_gave_stay(
    store: PreferenceStore, aligned: ChatLinearAlignment, settings: dict[str, Any]
) -> None:
    class Settings(AgentMiddleware[Any, Any, Any]):
        def wrap_model_call(self, request: ModelRequest[Any], handler: Any) -> Any:
            return handler(request.override(model_settings=settings))

    kept = store.add("alice", "Answer in French.", scope="always")
    agent = create_agent(aligned, middleware=[Settings(), PreferenceMiddleware(store)])
    assert used(last(agent.invoke(ask("Hello"), user("alice")))) == [
        *([] if settings == {"principles": []} else [None]),
        kept.id,
    ]


def test_a_run_that_was_interrupted_looks_again(store: PreferenceStore) -> None:
    store.add("alice", "Answer in French.", scope="always")
    approval = HumanInTheLoopMiddleware(interrupt_on={"recall_preferences": True})
    agent = create_agent(
        VendorModel(), middleware=[PreferenceMiddleware(store, tools=True), approval], checkpointer=InMemorySaver()
    )
    agent.invoke(ask("call recall_preferences"), user("alice"))
    resumed = agent.invoke(Command(resume={"decisions": [{"type": "approve"}]}), user("alice"))
    assert "Answer in French." in last(resumed).text
    assert used(last(resumed)) == ids(store, "alice")


# -- tools and failures ------------------------------------------------------------------------------------------------


def test_the_tools_are_there_if_asked_for(store: PreferenceStore) -> None:
    agent = create_agent(VendorModel(), middleware=[PreferenceMiddleware(store, tools=True)])
    answer = last(agent.invoke(ask("call remember_preference: No nuts."), user("alice")))
    assert "Remembered" in answer.text
    assert [p.text for p in store.list("alice")] == ["No nuts."]
    waiting = create_agent(VendorModel(), middleware=[PreferenceMiddleware(store, tools=True, require_approval=True)])
    waiting.invoke(ask("call remember_preference: I love hiking."), user("alice"))
    assert [p.text for p in store.proposals.list("alice")] == ["I love hiking."]
    assert PreferenceMiddleware(store).tools == []


def test_a_tool_that_fails_is_reported_and_the_run_goes_on(store: PreferenceStore) -> None:
    @tool
    def broken(query: str) -> str:
        """Fail."""
        msg = "the oven is on fire"
        raise ToolException(msg)

    broken.handle_tool_error = True
    agent = create_agent(VendorModel(), tools=[broken], middleware=[PreferenceMiddleware(store, tools=True)])
    assert "Tool said (error): the oven is on fire" in last(agent.invoke(ask("call broken: now"), user("alice"))).text
    assert "Tool said (error)" in last(agent.invoke(ask("call remember_preference:  "), user("alice"))).text


async def test_a_tool_that_raises_is_reported_where_langchain_is_told_to_go_on(store: PreferenceStore) -> None:
    @tool
    def broken(query: str) -> str:
        """Fail."""
        msg = "the oven is on fire"
        raise OSError(msg)

    go_on = ToolRetryMiddleware(max_retries=0, on_failure="continue")
    agent = create_agent(VendorModel(), tools=[broken], middleware=[PreferenceMiddleware(store), go_on])
    for result in (
        agent.invoke(ask("call broken: now"), user("alice")),
        await agent.ainvoke(ask("call broken: now"), user("alice")),
    ):
        assert "Tool said (error)" in last(result).text


def test_a_tool_call_that_the_model_got_wrong_is_reported(store: PreferenceStore) -> None:
    class Wrong(VendorModel):
        def _answer(self, messages: Any) -> AIMessage:
            if isinstance(messages[-1], HumanMessage):
                return AIMessage("", tool_calls=[{"name": "update_preference", "args": {"nonsense": 1}, "id": "1"}])
            return super()._answer(messages)

    agent = create_agent(Wrong(), middleware=[PreferenceMiddleware(store, tools=True)])
    answer = last(agent.invoke(ask("Hello"), user("alice"))).text
    assert answer.startswith("Tool said (error)")
    assert "preference" in answer


def test_the_recursion_limit_holds(store: PreferenceStore) -> None:
    class Endless(VendorModel):
        def _answer(self, messages: Any) -> AIMessage:
            return AIMessage("", tool_calls=[{"name": "recall_preferences", "args": {}, "id": str(len(messages))}])

    agent = create_agent(Endless(), middleware=[PreferenceMiddleware(store, tools=True)])
    with pytest.raises(GraphRecursionError):
        agent.invoke(ask("Hello"), {**user("alice"), "recursion_limit": 8})


def test_nothing_heavy_is_imported_before_it_is_needed() -> None:
    script = (
        "import sys, la_agents.tools, la_agents.learning.feedback\n"
        "import la_agents_langgraph.store, la_agents_langgraph.middleware\n"
        "print({'torch', 'transformers', 'chromadb'} & set(sys.modules))"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env=environment, check=True)
    assert done.stdout.strip() == "set()"


# -- learning ----------------------------------------------------------------------------------------------------------


def test_it_learns_after_the_turn_from_what_was_said_last(store: PreferenceStore) -> None:
    middleware = PreferenceMiddleware(store, learner=PreferenceLearner(store, require_approval=False))
    agent = create_agent(VendorModel(), middleware=[middleware], checkpointer=InMemorySaver())
    agent.invoke(ask("Hi. Please always answer with the word teacup."), user("alice"))
    assert [p.text for p in store.list("alice")] == ["Always answer with the word teacup."]
    answer = last(agent.invoke(ask("Hello"), user("alice", thread="2")))
    assert "- Always answer with the word teacup." in answer.text
    agent.invoke(ask("Nothing new."), user("alice"))
    assert store.list("alice")[0].num_said == 1


def test_what_an_agent_hands_on_as_a_human_is_not_the_users(store: PreferenceStore) -> None:
    middleware = PreferenceMiddleware(store, learner=PreferenceLearner(store, require_approval=False))
    agent = create_agent(VendorModel(), middleware=[middleware])
    said = [HumanMessage("I love tea."), AIMessage("Noted."), HumanMessage("I love jazz.", name="researcher")]
    agent.invoke({"messages": said}, user("alice"))
    assert [p.text for p in store.list("alice")] == ["I love tea."]


async def test_it_learns_in_the_background(store: PreferenceStore) -> None:
    async with BackgroundLearner(PreferenceLearner(store)) as learner:
        agent = create_agent(VendorModel(), middleware=[PreferenceMiddleware(store, learner=learner)])
        await agent.ainvoke(ask("I prefer tea."), user("alice"))
    assert store.list("alice") == []
    assert [p.text for p in store.proposals.list("alice")] == ["I prefer tea."]
    assert store.proposals.list("bob") == []


class Reader(VendorModel):
    """A vendor's model that writes structured output: what it was told to, once `go` is set."""

    stated: dict[str, str]
    go: Any
    reads: list[Any]

    def with_structured_output(self, schema: Any, **kwargs: Any) -> Any:
        def read(messages: Any) -> Any:
            assert self.go.wait(60)
            self.reads.append((threading.current_thread().name, messages))
            return schema.model_validate({"preferences": [self.stated]})

        return RunnableLambda(read)


@pytest.mark.parametrize("own_thread", [False, True])
def test_the_agents_own_model_reads_after_the_answer(store: PreferenceStore, own_thread: bool) -> None:
    go = threading.Event()
    model = Reader(stated={"text": "The user likes tea.", "evidence": "我喜欢喝茶"}, go=go, reads=[])
    learner = PreferenceLearner(store)
    with BackgroundLearner(learner) as background:
        middleware = PreferenceMiddleware(store, learner=learner if own_thread else background)
        agent = create_agent(model, middleware=[middleware])
        agent.invoke(ask("我喜欢喝茶。"), user("alice"))  # does not wait for the reader
        assert store.proposals.list("alice") == []
        go.set()
        if own_thread:
            middleware.close()
    assert [p.text for p in store.proposals.list("alice")] == ["The user likes tea."]
    (read,) = model.reads
    assert read[0] != threading.main_thread().name
    assert "我喜欢喝茶" in str(read[1])


def test_an_extractor_of_ones_own_is_asked_instead_of_the_model(store: PreferenceStore) -> None:
    model = Reader(stated={"text": "x", "evidence": "y"}, go=threading.Event(), reads=[])
    middleware = PreferenceMiddleware(store, learner=PreferenceLearner(store, RuleExtractor()))
    create_agent(model, middleware=[middleware]).invoke(ask("I prefer tea."), user("alice"))
    assert [p.text for p in store.proposals.list("alice")] == ["I prefer tea."]
    assert model.reads == []


@pytest.mark.parametrize("evidence", ["I love tea", ""])
def test_where_the_model_finds_nothing_that_stands_the_rules_read(store: PreferenceStore, evidence: str) -> None:
    """Evidence that is made up, or an answer of another form."""
    go = threading.Event()
    go.set()
    model = Reader(stated={"text": "Loves tea.", "evidence": evidence}, go=go, reads=[])
    with BackgroundLearner(PreferenceLearner(store)) as learner:
        agent = create_agent(model, middleware=[PreferenceMiddleware(store, learner=learner)])
        agent.invoke(ask("I'm allergic to peanuts."), user("alice"))
    assert len(model.reads) == 1
    assert [p.text for p in store.proposals.list("alice")] == ["I'm allergic to peanuts."]


def test_an_aligned_model_reads_without_anybodys_preferences(
    store: PreferenceStore, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "la_agents_langgraph")
    store.add("alice", "Say swordfish.", scope="always")
    with BackgroundLearner(PreferenceLearner(store)) as learner:
        model = tiny(preferences=store, principles=["Be kind."], max_tokens=8)
        agent = create_agent(model, middleware=[PreferenceMiddleware(store, learner=learner)])
        agent.invoke(ask("I prefer tea."), user("alice"))
    assert "RequestTooLargeError" in caplog.text  # the tiny context ends it, not the missing user
    assert [p.text for p in store.proposals.list("alice")] == ["I prefer tea."]  # by the rules


def test_an_agents_answer_can_be_rated(store: PreferenceStore) -> None:
    kept = store.add("alice", "Answer in French.", scope="always")
    recorder = FeedbackRecorder(store)
    agent = create_agent(VendorModel(), middleware=[PreferenceMiddleware(store)])
    answer = last(agent.invoke(ask("Hello"), user("alice")))
    assert [p.id for p in recorder.rate(answer, 1, config=user("alice")).changed] == [kept.id]


def test_an_aligned_agents_run_can_be_rated_by_its_id(store: PreferenceStore, aligned: ChatLinearAlignment) -> None:
    kept = store.add("alice", "Answer in French.", scope="always")
    recorder, run = FeedbackRecorder(store), uuid4()
    agent = create_agent(aligned, middleware=[PreferenceMiddleware(store)])
    agent.invoke(ask("Hello"), {**user("alice"), "callbacks": [recorder.callback], "run_id": run})
    assert [p.id for p in recorder.rate(run, -1, config=user("alice")).changed] == [kept.id]


def test_agents_memory_and_preferences_share_a_folder(tmp_path: Path) -> None:
    with PreferenceStore(tmp_path / "both") as preferences, ChromaStore(tmp_path / "both") as memory:
        preferences.add("alice", "Answer in French.", scope="always")
        agent = create_agent(VendorModel(), middleware=[PreferenceMiddleware(preferences)], store=memory)
        assert "French" in last(agent.invoke(ask("Hello"), user("alice"))).text
        memory.put(("notes", "alice"), "k", {"text": "met today"})
        assert memory.search(("preferences", "alice"))[0].value["text"] == "Answer in French."
