"""What is learned from conversations: what is said and nothing else, by rules or by a model, at once or later."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from langchain_core.language_models.fake_chat_models import GenericFakeChatModel
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage
from langchain_core.runnables import RunnableLambda

from benchmarks.research.learning import read_conversations
from la_agents.errors import ConfigurationError, GenerationError, InvalidPreferenceError, UserNotSpecifiedError
from la_agents.learning import (
    BackgroundLearner,
    ChatModelExtractor,
    PreferenceExtractor,
    PreferenceLearner,
    Proposal,
    RuleExtractor,
)
from la_agents.learning.chat_extraction import StatedPreferences
from la_agents.learning.proposal import is_said
from la_agents.preferences.store import PreferenceStore

CONVERSATIONS = Path(__file__).parents[2] / "data" / "learning_conversations.jsonl"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[PreferenceStore]:
    with PreferenceStore(tmp_path) as store:
        yield store


def extracted(*texts: str) -> list[tuple[str, str]]:
    found = RuleExtractor().extract([HumanMessage(text) for text in texts])
    return [(proposal.text, proposal.scope) for proposal in found]


@pytest.mark.parametrize(
    ("said", "text", "scope"),
    [
        ("I prefer tea over coffee. What else?", "I prefer tea over coffee.", "relevant"),
        ("Oh, by the way, I'm allergic to bees.", "I'm allergic to bees.", "always"),
        ("Could you please always answer in Dutch.", "Always answer in Dutch.", "always"),
        ("stop using emojis", "Stop using emojis.", "always"),
        ("Always talk like a pirate: say arr and ye.", "Always talk like a pirate: say arr and ye.", "always"),
        ("From now on, keep it short.", "Keep it short.", "always"),
        ("I no longer like jazz", "I no longer like jazz.", "relevant"),
        ("Actually, I don’t eat fish.", "I don't eat fish.", "always"),
        ('Never start with "Sure".', 'Never start with "Sure".', "always"),
    ],
)
def test_what_is_said_is_found(said: str, text: str, scope: str) -> None:
    assert extracted(said) == [(text, scope)]


@pytest.mark.parametrize(
    "said",
    [
        "Do I prefer tea?",
        "If I were vegan I'd never eat cheese.",
        "My wife is allergic to bees.",
        'Translate "I prefer tea over coffee."',
        "> I always answer in Dutch",
        "```\nI prefer tabs\n```",
        "Stop the music.",
        "For this question, answer in Dutch.",
        "I need you to write me an essay.",
        "I love it!",
        "",
        "😀",
        "I prefer " + "very " * 200 + "long sentences.",
    ],
)
def test_what_is_not_said_for_good_is_not_found(said: str) -> None:
    assert extracted(said) == []


def test_only_the_user_is_heard_and_each_thing_once() -> None:
    messages = [AIMessage("I prefer tea."), HumanMessage("I hate tea."), HumanMessage("i hate tea!", id="7")]
    (proposal,) = RuleExtractor().extract(messages)
    assert (proposal.text, proposal.evidence, proposal.message_id) == ("I hate tea.", "i hate tea!", "7")


@given(st.text(alphabet=st.sampled_from("I prefer 'always\" ,.?!“”’`>\n;:ü😀answer not \ue000")))
def test_whatever_is_said_evidence_is_the_users_own(text: str) -> None:
    message = HumanMessage(text)
    for proposal in RuleExtractor().extract([message]):
        assert is_said(proposal.evidence, [message]) is message
        assert proposal.draft().text


def test_there_is_a_fair_share_of_conversations_without_a_preference() -> None:
    conversations = read_conversations(CONVERSATIONS)
    assert len(conversations) >= 120
    assert 0.4 < sum(not each.gold for each in conversations) / len(conversations) < 0.6
    assert {each.kind for each in conversations} >= {
        "other",
        "hypothetical",
        "quoted",
        "correction",
        "task",
        "question",
    }


# -- by a model --------------------------------------------------------------------------------------------------------


class Structured(GenericFakeChatModel):
    """A chat model whose structured output is scripted: its plain answers, parsed."""

    def with_structured_output(self, schema: Any, **options: Any) -> Any:
        return self | RunnableLambda(lambda message: schema.model_validate_json(message.text))


def scripted(*preferences: dict[str, Any]) -> ChatModelExtractor:
    answer = json.dumps({"preferences": preferences})
    return ChatModelExtractor(Structured(messages=iter([AIMessage(answer)])))


def test_a_models_proposal_needs_the_users_words() -> None:
    said = HumanMessage("Coffee after noon keeps me awake.", id="m1")
    extractor = scripted(
        {"text": "No coffee after noon.", "evidence": "coffee after noon  keeps me awake", "scope": "always"},
        {"text": "The user loves tea.", "evidence": "I love tea"},
        {"text": "The user loves skiing in Norway.", "evidence": "Coffee after noon"},
        {"text": "Tea is great.", "evidence": "I prefer tea."},
    )
    (proposal,) = extractor.extract([AIMessage("I prefer tea."), said])
    assert (proposal.text, proposal.source, proposal.message_id) == ("No coffee after noon.", "inferred", "m1")


def test_a_model_may_read_the_question_that_was_answered() -> None:
    extractor = scripted({"text": "Never eats meat.", "evidence": "No, never."})
    assert len(extractor.extract([AIMessage("Do you eat meat?"), HumanMessage("No, never.")])) == 1


def test_a_model_that_answers_in_another_form_is_an_error() -> None:
    for answer in ('{"preferences": 1}', "[]", "nonsense", '{"preferences": [{"text": "x"}]}'):
        extractor = ChatModelExtractor(Structured(messages=iter([AIMessage(answer)])))
        with pytest.raises(GenerationError):
            extractor.extract([HumanMessage("I love tea.")])


def test_a_model_is_not_asked_about_nothing() -> None:
    assert scripted().extract([AIMessage("Hello!"), HumanMessage("  ")]) == []


def test_the_form_that_is_asked_for_is_plain_json_schema() -> None:
    assert StatedPreferences.model_json_schema()["properties"].keys() == {"preferences"}


# -- into the store ----------------------------------------------------------------------------------------------------


class Always:
    """An extractor that proposes what it was made with."""

    def __init__(self, *proposals: Proposal) -> None:
        self.proposals = proposals

    def extract(self, messages: Sequence[BaseMessage]) -> Sequence[Proposal]:
        return self.proposals


def test_what_is_learned_applies_and_says_where_it_comes_from(store: PreferenceStore) -> None:
    learned = PreferenceLearner(store).learn([HumanMessage("I prefer tea. Got some?", id="m1")], user_id="alice")
    assert [p.text for p in store.list("alice")] == [p.text for p in learned] == ["I prefer tea."]
    assert learned[0].metadata == {"evidence": "I prefer tea.", "message_id": "m1"}
    assert learned[0].confidence == 0.9
    assert store.list("bob") == []


def test_nothing_is_stored_that_the_user_did_not_say(store: PreferenceStore) -> None:
    extractor = Always(Proposal("I love tea.", evidence="I love tea."), Proposal("No nuts.", "no nuts", confidence=0.3))
    assert isinstance(extractor, PreferenceExtractor)
    messages = [AIMessage("I love tea."), HumanMessage("What? No nuts!")]
    assert PreferenceLearner(store, extractor).learn(messages, user_id="alice") == []


def test_with_approval_it_waits(store: PreferenceStore) -> None:
    learner = PreferenceLearner(store, require_approval=True)
    learner.learn([HumanMessage("I prefer tea.")], user_id="alice")
    assert store.list("alice") == []
    assert [p.text for p in store.proposals.list("alice")] == ["I prefer tea."]


def test_corrections_supersede(store: PreferenceStore) -> None:
    learner = PreferenceLearner(store)
    learner.learn([HumanMessage("From now on, answer in French.")], user_id="alice")
    learner.learn([HumanMessage("Please always answer in German.")], user_id="alice")
    assert [p.text for p in store.list("alice")] == ["Always answer in German."]


def test_one_bad_proposal_stores_none(store: PreferenceStore) -> None:
    good, bad = Proposal("I love tea.", "tea"), Proposal("x" * 3000, "tea")
    with pytest.raises(InvalidPreferenceError):
        PreferenceLearner(store, Always(good, bad)).learn([HumanMessage("tea")], user_id="alice")
    assert store.list("alice") == []


def test_the_user_comes_from_the_config_or_there_is_none(store: PreferenceStore) -> None:
    learner, said = PreferenceLearner(store), [HumanMessage("I prefer tea.")]
    learner.learn(said, config={"configurable": {"user_id": "alice"}})
    assert store.count("alice") == 1
    with pytest.raises(UserNotSpecifiedError):
        learner.learn(said)
    with pytest.raises(ConfigurationError):
        PreferenceLearner(store, min_confidence=2.0)


# -- in the background -------------------------------------------------------------------------------------------------


class Blocked:
    """Rules that wait for a signal first."""

    def __init__(self) -> None:
        self.go = threading.Event()

    def extract(self, messages: Sequence[BaseMessage]) -> Sequence[Proposal]:
        assert self.go.wait(60)
        if "fail" in str(messages[0].text):
            msg = "Expected words, got others."
            raise GenerationError(msg)
        return RuleExtractor().extract(messages)


def test_submitting_does_not_wait_and_closing_drains(store: PreferenceStore) -> None:
    extractor = Blocked()
    background = BackgroundLearner(PreferenceLearner(store, extractor))
    loved = ("tea", "hiking", "jazz", "chess", "old maps")
    futures = [background.submit([HumanMessage(f"I love {it}.")], user_id="alice") for it in loved]
    assert not any(future.done() for future in futures)
    extractor.go.set()
    background.close()
    background.close()
    assert all(future.done() for future in futures)
    assert store.count("alice") == 5
    with pytest.raises(ConfigurationError, match="closed"):
        background.submit([HumanMessage("I love tea.")], user_id="alice")


async def test_closing_drains_without_blocking_the_loop(store: PreferenceStore) -> None:
    extractor = Blocked()
    async with BackgroundLearner(PreferenceLearner(store, extractor)) as background:
        background.submit([HumanMessage("I love tea.")], user_id="alice")
        extractor.go.set()
    assert store.count("alice") == 1


def test_a_failure_reaches_its_future_and_nothing_else(
    store: PreferenceStore, caplog: pytest.LogCaptureFixture
) -> None:
    extractor = Blocked()
    extractor.go.set()
    with BackgroundLearner(PreferenceLearner(store, extractor)) as background:
        bad = background.submit([HumanMessage("fail, my secret")], user_id="alice")
        background.submit([HumanMessage("I love tea.")], user_id="alice")
    assert isinstance(bad.exception(), GenerationError)
    assert background.num_failed == 1
    assert store.count("alice") == 1
    assert "GenerationError" in caplog.text
    assert "secret" not in caplog.text


def test_the_user_is_checked_before_anything_is_queued(store: PreferenceStore) -> None:
    with BackgroundLearner(PreferenceLearner(store)) as background, pytest.raises(UserNotSpecifiedError):
        background.submit([HumanMessage("I love tea.")])
