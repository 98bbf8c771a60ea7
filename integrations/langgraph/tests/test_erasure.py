"""What is kept of a run (checkpoints, caches, logs, reports, traces, updates) holds no text of a preference.

So nothing of it is left when the user is erased. Traces are sent by LangSmith's own client to a server of this test.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import langsmith
import pytest
from langchain.agents import create_agent
from langchain.agents.middleware import AgentMiddleware
from langchain_core.caches import InMemoryCache
from langchain_core.messages import AIMessage, HumanMessage
from langchain_core.tracers import LangChainTracer
from langgraph.checkpoint.memory import InMemorySaver
from vendor import VendorModel

from la_agents import ChatLinearAlignment, LinearAlignmentLLM
from la_agents.learning import FeedbackRecorder
from la_agents.preferences import PreferenceStore
from la_agents_langgraph import PreferenceMiddleware

SECRETS = ["I am HIV positive.", 'Ich bin schwanger: "heimlich".', "我有糖尿病。"]
ALICE: Any = {"configurable": {"user_id": "alice", "thread_id": "1"}}


class Traces(list[bytes]):
    """The bodies that LangSmith's client sent."""

    client: langsmith.Client


@pytest.fixture
def traces() -> Iterator[Traces]:
    received = Traces()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            received.append(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(202)
            self.end_headers()

        do_PATCH = do_POST  # noqa: N815 - the name that http.server looks for

        def do_GET(self) -> None:
            body = json.dumps({"batch_ingest_config": {}}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    received.client = langsmith.Client(
        f"http://127.0.0.1:{server.server_port}", api_key="none", auto_batch_tracing=False
    )
    yield received
    server.shutdown()
    server.server_close()


@pytest.fixture
def store(tmp_path: Path) -> Iterator[PreferenceStore]:
    with PreferenceStore(tmp_path) as store:
        for secret in SECRETS:
            store.add("alice", secret, scope="always")
        yield store


@contextmanager
def traced(traces: Traces) -> Iterator[Any]:
    """A config whose runs are traced, LangChain's own spans around middleware included."""
    with langsmith.tracing_context(enabled=True, client=traces.client):
        yield {**ALICE, "callbacks": [LangChainTracer(client=traces.client)]}


def tells(kept: Any) -> list[str]:
    """The secrets that something holds: as text, as JSON, or as what Python prints."""
    text = kept.decode() if isinstance(kept, bytes) else kept if isinstance(kept, str) else repr(kept)
    forms = [(secret, json.dumps(secret)[1:-1], repr(secret)[1:-1], secret[:-1]) for secret in SECRETS]
    return [secret for secret, *others in forms if any(form in text for form in (secret, *others))]


class Inner(AgentMiddleware[Any, Any, Any]):
    """Another middleware inside: LangChain traces what it is given."""

    def wrap_model_call(self, request: Any, handler: Any) -> Any:
        return handler(request)


class Silent(VendorModel):
    """Recites nothing."""

    def _answer(self, messages: Any) -> AIMessage:
        return AIMessage("Hm.")


def test_secrets_are_found_in_every_form() -> None:
    assert tells("\n".join(SECRETS)) == tells(json.dumps(SECRETS)) == tells(SECRETS) == SECRETS


@pytest.mark.parametrize("own", [False, True])
async def test_nothing_that_an_aligned_agent_leaves_holds_a_preference(
    store: PreferenceStore, traces: Traces, own: bool, caplog: pytest.LogCaptureFixture
) -> None:
    from tests.tiny import tiny_model

    caplog.set_level("DEBUG")
    saver, cache, recorder = InMemorySaver(), InMemoryCache(), FeedbackRecorder(store)
    llm = ChatLinearAlignment(model=tiny_model("llama"), max_tokens=3, cache=cache, preferences=store if own else None)
    middleware = [PreferenceMiddleware(store), Inner()]
    agent = create_agent(llm, middleware=middleware, checkpointer=saver)
    with traced(traces) as config:
        config["callbacks"].append(recorder.callback)
        result = agent.invoke({"messages": [HumanMessage("Hello")]}, config)
        updates = [*agent.stream({"messages": [HumanMessage("Hello")]}, config, stream_mode=["updates", "debug"])]
    used = [each["id"] for each in result["messages"][-1].response_metadata["alignment"]["principles"]]
    assert used == [each.id for each in store.list("alice")]
    assert any(str(used[0]).encode() in body for body in traces)  # the trace has the report
    await store.aerase("alice")
    kept = [*saver.list(None), (saver.storage, saver.writes, saver.blobs), cache._cache, vars(recorder.callback)]
    left = [*traces, caplog.text, result, updates, *kept]
    assert [tells(each) for each in left] == [[]] * len(left)


def test_a_hosted_models_agent_leaves_them_in_its_prompt_alone(
    store: PreferenceStore, traces: Traces, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    saver = InMemorySaver()
    agent = create_agent(Silent(), middleware=[PreferenceMiddleware(store), Inner()], checkpointer=saver)
    with traced(traces) as config:
        result = agent.invoke({"messages": [HumanMessage("Hello")]}, config)
        updates = [*agent.stream({"messages": [HumanMessage("Hello")]}, config, stream_mode=["updates", "debug"])]
    store.erase("alice")
    left = [caplog.text, result, updates, *saver.list(None)]
    assert [tells(each) for each in left] == [[]] * len(left)
    with_prompts = [body for body in traces if tells(body)]
    assert all(b"The user's preferences." in body for body in with_prompts)
    assert len(with_prompts) < len(traces)


def test_explained_answers_and_prompts_are_the_exceptions(store: PreferenceStore) -> None:
    from tests.tiny import tiny_model

    llm = ChatLinearAlignment(model=tiny_model("llama"), max_tokens=3, preferences=store)
    assert tells(llm.invoke("Hello", ALICE, explain=True)) == SECRETS
    assert tells(llm.invoke("Hello", ALICE)) == []


def test_the_llm_class_leaves_none_either(
    store: PreferenceStore, traces: Traces, caplog: pytest.LogCaptureFixture
) -> None:
    from tests.tiny import tiny_model

    caplog.set_level("DEBUG")
    cache = InMemoryCache()
    llm = LinearAlignmentLLM(model=tiny_model("llama"), max_tokens=3, preferences=store, cache=cache)
    with traced(traces) as config:
        result = llm.invoke("Hello", config)
    store.erase("alice")
    left = [*traces, caplog.text, result, cache._cache]
    assert [tells(each) for each in left] == [[]] * len(left)
