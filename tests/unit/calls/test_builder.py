"""The builder of a call: what is checked first, what is looked up and rendered once, and what comes out."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from langchain_core.messages import HumanMessage

from la_agents import ChatLinearAlignment, LinearAlignmentLLM, PreferenceStore
from la_agents.calls.builder import CallBuilder
from la_agents.errors import ConfigurationError, PromptError, UserNotSpecifiedError
from la_agents.prompts.chat_template import ChatTemplate
from tests.tiny import tiny_model
from tests.word_embeddings import WordEmbeddings

Face = ChatLinearAlignment | LinearAlignmentLLM
FACES = [ChatLinearAlignment, LinearAlignmentLLM]
QUESTION = "What should I cook tonight?"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[PreferenceStore]:
    with PreferenceStore(tmp_path, embeddings=WordEmbeddings()) as store:
        store.add("alice", "Answer in French.", scope="always")
        yield store


@pytest.mark.parametrize("face", FACES)
@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"temperature": "hot"}, "temperature"),
        ({"strength": -2.0}, "strength"),
        ({"stop": "\ud800"}, "stop"),
        ({"timeout": 0}, "timeout"),
        ({"no_such": 1}, "no_such"),
        ({"principles": [3]}, "principle"),
    ],
    ids=str,
)
def test_a_wrong_argument_is_refused_before_anything_is_looked_up(
    face: type[Face], arguments: dict[str, Any], named: str, store: PreferenceStore
) -> None:
    llm = face(model="/no/such/model", preferences=store)  # no user either, and nothing to load
    with pytest.raises(ConfigurationError, match=named):
        llm.invoke(QUESTION, **arguments)
    with pytest.raises(UserNotSpecifiedError):
        llm.invoke(QUESTION)


@pytest.mark.parametrize(
    "arguments",
    [{"tools": "weather"}, {"tool_choice": "weather"}, {"response_format": {"type": "xml"}}],
)
def test_tools_and_formats_are_checked_before_the_store_is_asked(
    arguments: dict[str, Any], store: PreferenceStore
) -> None:
    with pytest.raises(ConfigurationError):
        ChatLinearAlignment(model="/no/such/model", preferences=store).invoke(QUESTION, **arguments)


@pytest.mark.parametrize("face", FACES)
def test_a_query_that_cannot_be_written_is_refused(face: type[Face], store: PreferenceStore) -> None:
    with pytest.raises(PromptError):
        CallBuilder.of(face(model="/no/such/model", preferences=store, user_id="alice"), {}, query="\ud800")


@pytest.mark.parametrize("face", FACES)
@pytest.mark.parametrize("compose", ["joint", "sum"])
def test_each_prompt_is_rendered_once_a_call(face: type[Face], compose: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    llm = face(model=tiny_model("qwen2"), principles=["Be kind.", "Be brief."], compose=compose, max_tokens=1)
    llm.invoke(QUESTION)  # the first call reads the template
    render, rendered = ChatTemplate.render, list[Any]()

    def counted(self: ChatTemplate, *arguments: Any) -> str:
        rendered.append(arguments)
        return render(self, *arguments)

    monkeypatch.setattr(ChatTemplate, "render", counted)
    llm.invoke(QUESTION)
    assert len(rendered) == (2 if compose == "joint" else 3)


@pytest.mark.parametrize("face", FACES)
def test_a_request_says_whose_it_is(face: type[Face], store: PreferenceStore) -> None:
    llm = face(model=tiny_model("qwen2"), preferences=store, user_id="bob", allow_anonymous=True)
    source: Any = [HumanMessage(QUESTION)] if face is ChatLinearAlignment else QUESTION
    for arguments, user, texts in [
        ({"user_id": "alice"}, "alice", ["Answer in French."]),
        ({}, "bob", []),
        ({"user_id": "alice", "principles": ["Be kind."]}, "alice", ["Be kind.", "Answer in French."]),
    ]:
        builder = CallBuilder.of(llm, arguments, query=QUESTION)
        call = builder.build(source)
        assert (builder.user, call.request.salt) == (user, user)
        assert [principle.text for principle in builder.principles] == texts
        assert len(call.request.branches) == bool(texts)
        assert "French" not in repr(builder)
