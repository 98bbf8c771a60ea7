"""The chat model and the plain-text model: users, caches, arguments, streams; tiny models, real Chroma."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from langchain_core.caches import InMemoryCache
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.globals import set_llm_cache
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage, ToolMessage
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import RunnableLambda

from la_agents import ChatLinearAlignment, LinearAlignmentLLM, PreferenceStore, Principle
from la_agents.calls.builder import CallBuilder
from la_agents.errors import ConfigurationError, PromptError, UserNotSpecifiedError
from tests.engine_tools import fresh_model
from tests.tiny import FAMILIES, tiny_model
from tests.word_embeddings import WordEmbeddings

Face = ChatLinearAlignment | LinearAlignmentLLM
FACES = [ChatLinearAlignment, LinearAlignmentLLM]
QUESTION = "What should I cook tonight?"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[PreferenceStore]:
    with PreferenceStore(tmp_path / "prefs", embeddings=WordEmbeddings()) as store:
        store.add("alice", "Always answer in French.", scope="always")
        store.add("alice", "I cook vegetarian tonight", scope="relevant")
        store.add("bob", "Talk like a pirate, always!", scope="always")
        yield store


@pytest.fixture
def cache() -> Iterator[InMemoryCache]:
    cache = InMemoryCache()
    set_llm_cache(cache)
    yield cache
    set_llm_cache(None)


def make(face: type[Face], store: PreferenceStore | None = None, **settings: Any) -> Face:
    defaults: dict[str, Any] = {"model": tiny_model("llama"), "max_tokens": 12, "strength": 2.0}
    return face(**{**defaults, "preferences": store, **settings})


def user(name: str) -> dict[str, Any]:
    return {"configurable": {"user_id": name}}


def text_of(answer: AIMessage | str) -> str:
    return answer if isinstance(answer, str) else answer.text


@pytest.mark.parametrize("face", FACES)
def test_langchains_cache_never_mixes_users(face: type[Face], store: PreferenceStore, cache: InMemoryCache) -> None:
    llm = make(face, store)
    fresh = {name: text_of(make(face, store, cache=False).invoke(QUESTION, user(name))) for name in ("alice", "bob")}
    assert fresh["alice"] != fresh["bob"]
    for _ in range(2):
        assert {name: text_of(llm.invoke(QUESTION, user(name))) for name in fresh} == fresh
    store.add("alice", "Use short words tonight", scope="always")
    changed = text_of(make(face, store, cache=False).invoke(QUESTION, user("alice")))
    assert changed != fresh["alice"]
    assert text_of(llm.invoke(QUESTION, user("alice"))) == changed
    for strength in (0.0, 5.0):
        expected = text_of(make(face, store, cache=False, strength=strength).invoke(QUESTION, user("bob")))
        assert text_of(llm.bind(strength=strength).invoke(QUESTION, user("bob"))) == expected


async def test_async_cache_never_mixes_users(store: PreferenceStore, cache: InMemoryCache) -> None:
    for face in FACES:
        llm = make(face, store)
        answers = {name: text_of(await llm.ainvoke(QUESTION, user(name))) for name in ("alice", "bob")}
        assert answers["alice"] != answers["bob"]
        assert {name: text_of(await llm.ainvoke(QUESTION, user(name))) for name in answers} == answers


def test_the_chat_models_cache_is_used_for_the_same_user(store: PreferenceStore, cache: InMemoryCache) -> None:
    llm = make(ChatLinearAlignment, store)
    first = llm.invoke(QUESTION, user("alice"))
    before = llm.engine.stats().num_generated_tokens
    assert llm.invoke(QUESTION, user("alice")).content == first.content
    assert llm.engine.stats().num_generated_tokens == before


def test_a_static_principle_is_part_of_both_cache_keys(cache: InMemoryCache) -> None:
    for face in FACES:
        answers = {
            p: text_of(make(face, principles=[p]).invoke(QUESTION)) for p in ("Answer in French.", "Be a pirate!")
        }
        assert len(set(answers.values())) == 2


@pytest.mark.parametrize("face", FACES)
def test_the_user_comes_from_config_bind_or_constructor(face: type[Face], store: PreferenceStore) -> None:
    llm = make(face, store)
    alice, bob = (text_of(llm.invoke(QUESTION, user(name))) for name in ("alice", "bob"))
    assert text_of(llm.bind(user_id="alice").invoke(QUESTION)) == alice
    assert text_of(llm.bind(user_id="alice").invoke(QUESTION, user("bob"))) == alice
    assert text_of(make(face, store, user_id="alice").invoke(QUESTION)) == alice
    assert text_of(make(face, store, user_id="alice").invoke(QUESTION, user("bob"))) == bob
    chain = ChatPromptTemplate.from_messages([("human", "{q}")]) | llm | StrOutputParser()
    if face is ChatLinearAlignment:
        assert chain.invoke({"q": QUESTION}, user("bob")) == bob
        nested = RunnableLambda(lambda q: chain.invoke({"q": q}))
        assert nested.invoke(QUESTION, user("bob")) == bob
        assert "".join(chain.stream({"q": QUESTION}, user("bob"))) == bob
        assert chain.batch([{"q": QUESTION}] * 2, [user("alice"), user("bob")]) == [alice, bob]
    with pytest.raises(UserNotSpecifiedError):
        llm.invoke(QUESTION)
    with pytest.raises(UserNotSpecifiedError):
        llm.invoke(QUESTION, user("  "))


@pytest.mark.parametrize("face", FACES)
async def test_every_way_of_calling_knows_the_user(face: type[Face], store: PreferenceStore) -> None:
    llm = make(face, store)
    expected = {name: text_of(llm.invoke(QUESTION, user(name))) for name in ("alice", "bob")}
    names = ["alice", "bob", "bob", "alice"]
    configs = [user(name) for name in names]
    answers = [expected[name] for name in names]
    assert [text_of(a) for a in llm.batch([QUESTION] * 4, configs)] == answers
    assert [text_of(a) for a in llm.batch([QUESTION] * 4, [{**c, "max_concurrency": 3} for c in configs])] == answers
    assert [text_of(a) for a in await llm.abatch([QUESTION] * 4, configs)] == answers
    for name in expected:
        assert "".join(text_of(c) for c in llm.stream(QUESTION, user(name))) == expected[name]
        assert "".join([text_of(c) async for c in llm.astream(QUESTION, user(name))]) == expected[name]
        assert text_of(await llm.ainvoke(QUESTION, user(name))) == expected[name]
        events = [e async for e in llm.astream_events(QUESTION, user(name), version="v2")]
        chunks = [e["data"]["chunk"] for e in events if e["event"].endswith("_stream")]
        assert "".join(text_of(c) for c in chunks) == expected[name]


async def test_many_users_in_one_event_loop_never_mix(store: PreferenceStore) -> None:
    llm = make(ChatLinearAlignment, store)
    expected = {name: llm.invoke(QUESTION, user(name)).text for name in ("alice", "bob")}
    names = ["alice", "bob"] * 10
    answers = await asyncio.gather(*(llm.ainvoke(QUESTION, user(name)) for name in names))
    assert [answer.text for answer in answers] == [expected[name] for name in names]
    ids = {p.id for p in store.list("bob")}
    assert all({p["id"] for p in a.response_metadata["alignment"]["principles"]} <= ids for a in answers[1::2])


def test_anonymous_calls_are_unaligned_where_allowed(store: PreferenceStore) -> None:
    plain = make(ChatLinearAlignment).invoke(QUESTION)
    anonymous = make(ChatLinearAlignment, store, allow_anonymous=True).invoke(QUESTION)
    assert anonymous.text == plain.text
    assert anonymous.response_metadata["alignment"]["rows"] == 1
    assert anonymous.response_metadata["alignment"]["principles"] == []


def test_the_report_names_what_was_used(store: PreferenceStore) -> None:
    answer = make(ChatLinearAlignment, store, principles=["Be kind."], explain=True).invoke(QUESTION, user("alice"))
    report = answer.response_metadata["alignment"]
    always, relevant = sorted(store.list("alice"), key=lambda p: p.scope)
    assert [p["text"] for p in report["principles"]] == ["Be kind.", always.text, relevant.text]
    plain = make(ChatLinearAlignment, store, principles=["Be kind."]).invoke(QUESTION, user("alice"))
    assert [p["id"] for p in plain.response_metadata["alignment"]["principles"]] == [None, always.id, relevant.id]
    assert not any(text in repr(plain.response_metadata) for text in ("Be kind.", always.text, relevant.text))
    assert [p["id"] for p in report["principles"]] == [None, always.id, relevant.id]
    assert report["principles"][1]["relevance"] is None
    assert 0 < report["principles"][2]["relevance"] <= 1
    assert report["strength"] == 2.0
    assert 0 < report["mean_divergence"] <= report["max_divergence"]
    assert report["rows"] == 2
    assert report["num_tokens"] == len(report["tokens"]) == answer.usage_metadata["output_tokens"]
    assert report["changed_tokens"] == sum(t["id"] != t["reference_id"] for t in report["tokens"])
    assert answer.response_metadata["finish_reason"] in {"stop", "length"}
    assert answer.response_metadata["model_name"] == "tiny-llama"


@pytest.mark.parametrize("face", FACES)
def test_what_is_not_known_is_refused_by_name(face: type[Face]) -> None:
    with pytest.raises(ConfigurationError, match="strenght"):
        make(face, strenght=2.0)
    with pytest.raises(ConfigurationError, match="best_of"):
        make(face).invoke(QUESTION, best_of=3)
    for bad in ({"strength": -2.0}, {"temperature": -0.1}, {"top_p": 0.0}, {"max_tokens": 0}, {"max_divergence": -1.0}):
        (name,) = bad
        with pytest.raises(ConfigurationError, match=name):
            make(face, **bad)
        with pytest.raises(ConfigurationError, match=name):
            make(face).invoke(QUESTION, **bad)
    with pytest.raises(ConfigurationError, match="list"):
        make(face, principles="Be kind.")
    with pytest.raises(ConfigurationError, match="compose"):
        make(face).invoke(QUESTION, compose="product")
    with pytest.raises(PromptError):
        make(face).invoke("   " if face is LinearAlignmentLLM else [])


def test_call_arguments_win_even_when_they_are_zero() -> None:
    warm = make(ChatLinearAlignment, temperature=1.5, seed=3, principles=["Be kind."])
    greedy = make(ChatLinearAlignment, principles=["Be kind."]).invoke(QUESTION).text
    assert warm.invoke(QUESTION, temperature=0, mask_temperature=0.5).text == greedy
    assert warm.invoke(QUESTION).text == warm.invoke(QUESTION).text != warm.invoke(QUESTION, seed=4).text
    unaligned = make(ChatLinearAlignment).invoke(QUESTION).text
    assert warm.bind(principles=[], temperature=0).invoke(QUESTION).text == unaligned
    zero_weight = make(ChatLinearAlignment, principles=[Principle("Be kind.", weight=0)])
    assert zero_weight.invoke(QUESTION).text == unaligned


@pytest.mark.parametrize("face", FACES)
def test_stop_ends_the_answer_before_the_string(face: type[Face]) -> None:
    llm = make(face)
    whole = text_of(llm.invoke(QUESTION))
    stop = whole[3:5]
    assert text_of(llm.invoke(QUESTION, stop=[stop])) == whole[: whole.index(stop)]
    assert text_of(make(face, stop=[stop]).invoke(QUESTION)) == whole[: whole.index(stop)]
    assert "".join(text_of(c) for c in llm.stream(QUESTION, stop=[stop])) == whole[: whole.index(stop)]


# -- prefixes ----------------------------------------------------------------------------------------------------------

DOCUMENT = " ".join(f"Paragraph {number} of the contract says this and that." for number in range(8))


def computed(face: Face, *messages: Any, **arguments: Any) -> tuple[int, int]:
    """Prompt tokens that were found again, and those that the template alone would give."""
    builder = CallBuilder.of(face, {**arguments, "principles": (), "max_tokens": 1})
    request = builder.build(list(messages)).request
    return face.engine.complete(request).num_cached_tokens, len(builder.ready.builder.frame)


@pytest.mark.parametrize("first", [{}, {"user_id": "alice"}])
@pytest.mark.parametrize("second", [{}, {"user_id": "bob"}])
@pytest.mark.parametrize("where", ["system", "human", "both"])
def test_nothing_but_the_templates_own_tokens_is_found_again_by_others(
    where: str, first: dict[str, str], second: dict[str, str]
) -> None:
    system = [SystemMessage(DOCUMENT)] if where != "human" else []
    human = HumanMessage(DOCUMENT if where != "system" else ".")
    face = make(ChatLinearAlignment, model=fresh_model("llama"))
    assert computed(face, *system, human, **first)[0] == 0
    found, frame = computed(face, *system, human, **second)
    assert found <= frame < 32 + len(DOCUMENT) // 4


def test_a_users_own_system_text_is_found_again_by_that_user() -> None:
    face = make(ChatLinearAlignment, model=fresh_model("llama"))
    messages = [SystemMessage(DOCUMENT), HumanMessage("What does it say?")]
    computed(face, *messages, user_id="alice")
    assert computed(face, *messages, user_id="bob")[0] <= 32
    assert computed(face, *messages, user_id="alice")[0] > 100


@pytest.mark.parametrize("family", FAMILIES)
def test_the_frame_holds_no_text_of_a_callers(family: str) -> None:
    face = make(ChatLinearAlignment, model=tiny_model(family))
    for text in (".", "a", "1", "You are a helpful assistant."):
        request = CallBuilder.of(face, {"principles": ()}).build([HumanMessage(text)]).request
        public = face.engine.loaded.tokenizer.decode(request.reference[: request.num_public_tokens])
        whole = face.engine.loaded.tokenizer.decode(request.reference)
        assert whole.startswith(public)
        assert text in whole[len(public) :], "the question comes after what is public"


def test_streams_carry_usage_and_report_once(store: PreferenceStore) -> None:
    llm = make(ChatLinearAlignment, store)
    chunks = list(llm.stream(QUESTION, user("alice")))
    assert sum(c.usage_metadata is not None for c in chunks) == 1
    total = chunks[0]
    for chunk in chunks[1:]:
        total += chunk
    answer = llm.invoke(QUESTION, user("alice"))
    assert (total.text, total.usage_metadata) == (answer.text, answer.usage_metadata)
    ours, theirs = (m.response_metadata["alignment"] for m in (total, answer))
    same = set(ours) - {"cached_prompt_tokens", "rows_computed", "mean_divergence", "max_divergence", "branches"}
    assert {name: ours[name] for name in same} == {name: theirs[name] for name in same}
    assert ours["mean_divergence"] == pytest.approx(theirs["mean_divergence"], rel=1e-3)


class Heard(BaseCallbackHandler):
    def __init__(self) -> None:
        self.tokens: list[str] = []

    def on_llm_new_token(self, token: str, **_: Any) -> None:
        self.tokens.append(token)


@pytest.mark.parametrize("face", FACES)
async def test_callbacks_hear_every_token(face: type[Face]) -> None:
    llm = make(face)
    for call in ("invoke", "ainvoke", "stream", "astream"):
        heard = Heard()
        config = {"callbacks": [heard]}
        if call == "invoke":
            answer = text_of(llm.invoke(QUESTION, config))
        elif call == "ainvoke":
            answer = text_of(await llm.ainvoke(QUESTION, config))
        elif call == "stream":
            answer = "".join(text_of(c) for c in llm.stream(QUESTION, config))
        else:
            answer = "".join([text_of(c) async for c in llm.astream(QUESTION, config)])
        assert "".join(heard.tokens) == answer, call
        assert len(heard.tokens) > 1, call


def test_closing_a_stream_early_frees_its_rows() -> None:
    llm = make(ChatLinearAlignment, max_tokens=400)
    before = llm.engine.stats().num_cancelled
    stream = llm.stream(QUESTION)
    next(stream)
    stream.close()
    llm.invoke(QUESTION, max_tokens=2)
    stats = llm.engine.stats()
    assert (stats.num_rows, stats.num_cancelled - before) == (0, 1)


@pytest.mark.parametrize("face", FACES)
async def test_a_batch_is_one_engine_batch(face: type[Face]) -> None:
    llm = make(face, max_tokens=20)
    inputs = [f"{QUESTION} ({i})" for i in range(16)]
    for batch in (llm.batch, llm.abatch):
        before = llm.engine.stats()
        answers = batch(inputs)
        answers = await answers if asyncio.iscoroutine(answers) else answers
        after = llm.engine.stats()
        tokens, steps = (getattr(after, n) - getattr(before, n) for n in ("num_generated_tokens", "num_steps"))
        assert len(answers) == 16
        assert tokens / steps > 4, "the inputs were decoded one after the other"


def test_objects_on_one_model_share_one_engine() -> None:
    assert make(ChatLinearAlignment).engine is make(LinearAlignmentLLM).engine
    assert make(ChatLinearAlignment, model=tiny_model("qwen2")).engine is not make(ChatLinearAlignment).engine


def test_tokens_are_counted_by_the_models_own_tokenizer() -> None:
    for face in FACES:
        assert make(face).get_num_tokens(QUESTION) == len(tiny_model("llama").tokenizer.tokenize(QUESTION))


def test_messages_of_every_kind_are_read() -> None:
    calls = [{"name": "search", "args": {"q": "x"}, "id": "1"}]
    messages = [
        SystemMessage("Be exact."),
        HumanMessage([{"type": "text", "text": "Look it up."}]),
        AIMessage("", tool_calls=calls),
        ToolMessage("42", tool_call_id="1"),
        HumanMessage("And now?"),
    ]
    llm = make(ChatLinearAlignment, principles=["Be kind."])
    assert llm.invoke(messages).usage_metadata["output_tokens"] > 0
    rendering = llm.render(messages)
    assert "42" in rendering.reference
    assert "Be kind." not in rendering.reference
    assert "Be kind." in rendering.principle_prompts[0]
    with pytest.raises(PromptError, match="image"):
        llm.invoke([HumanMessage([{"type": "image_url", "image_url": {"url": "data:,"}}])])


def test_render_resolves_what_a_call_would_use(store: PreferenceStore) -> None:
    rendering = make(ChatLinearAlignment, store).render(QUESTION, config=user("alice"))
    assert "French" in rendering.principle_prompts[0]
    assert "French" not in rendering.reference
    (prompt,) = make(LinearAlignmentLLM, store).render(QUESTION, user_id="bob").principle_prompts
    assert "pirate" in prompt


def test_sum_gives_each_principle_its_own_branch_and_share() -> None:
    llm = make(ChatLinearAlignment, principles=[Principle("Be kind.", 0.5), "Be brief."], compose="sum")
    report = llm.invoke(QUESTION).response_metadata["alignment"]
    assert [(b["principles"], b["weight"]) for b in report["branches"]] == [([0], 0.5), ([1], 1.0)]
    assert report["rows"] == 3


def test_a_divergence_budget_is_kept() -> None:
    llm = make(ChatLinearAlignment, principles=["Be kind."], explain=True)
    free, bound = (llm.invoke(QUESTION, max_divergence=d).response_metadata["alignment"] for d in (None, 0.05))
    assert free["max_divergence"] > 0.05
    assert bound["max_divergence"] <= 0.05 + 1e-4
    assert min(t["scale"] for t in bound["tokens"]) < 3.0


@pytest.mark.parametrize("face", FACES)
def test_the_method_is_an_argument_and_a_part_of_the_cache_key(face: type[Face], cache: InMemoryCache) -> None:
    one = {"principles": ["Be kind, and talk like a pirate."], "strength": 1.0}
    fresh = {
        method: text_of(make(face, method=method, cache=False, **one).invoke(QUESTION))
        for method in ("linear", "amulet")
    }
    assert fresh["linear"] != fresh["amulet"]
    for _ in range(2):
        for method, expected in fresh.items():
            assert text_of(make(face, method=method, **one).invoke(QUESTION)) == expected
            assert text_of(make(face, **one).invoke(QUESTION, method=method)) == expected


def test_the_report_names_the_method_and_its_scale() -> None:
    llm = make(ChatLinearAlignment, principles=["Be kind."], strength=1.0, explain=True, method="amulet")
    report = llm.invoke(QUESTION).response_metadata["alignment"]
    assert report["method"] == "amulet"
    assert {round(token["scale"], 2) for token in report["tokens"]} == {5.65}
    bound = llm.invoke(QUESTION, max_divergence=0.1).response_metadata["alignment"]
    assert bound["max_divergence"] <= 0.1 + 1e-4 < report["max_divergence"]
    assert llm.invoke(QUESTION, method="linear").response_metadata["alignment"]["method"] == "linear"


@pytest.mark.parametrize("face", FACES)
def test_a_method_that_is_not_one_or_out_of_its_range_is_refused(face: type[Face]) -> None:
    for name, bad in (("quadratic", {"method": "quadratic"}), ("amulet", {"method": "amulet", "strength": 3.0})):
        with pytest.raises(ConfigurationError, match=name):
            make(face, **bad)
        with pytest.raises(ConfigurationError, match=name):
            make(face).invoke(QUESTION, **bad)


@pytest.mark.parametrize("face", FACES)
def test_the_texts_of_all_principles_keep_their_budget_of_the_models_own_tokens(
    face: type[Face], store: PreferenceStore
) -> None:
    query = "What should I cook tonight vegetarian"
    free = [
        principle.text for principle in CallBuilder.of(make(face, store), {"user_id": "alice"}, query=query).principles
    ]
    assert len(free) == 2
    sizes = [len(make(face).get_token_ids(text)) for text in free]
    for budget in (0, sizes[0] - 1, sizes[0], sum(sizes) - 1, sum(sizes)):
        bounded = CallBuilder.of(
            make(face, store, max_principle_tokens=budget), {"user_id": "alice"}, query=query
        ).principles
        kept = [principle.text for principle in bounded]
        assert sum(sizes[free.index(text)] for text in kept) <= budget
        assert (kept == free) == (budget == sum(sizes))
        assert (free[0] in kept) == (budget >= sizes[0])
