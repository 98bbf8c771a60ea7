"""From proposals into the store: at once or once approved, for one user, now or in the background."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from langchain_core.embeddings import DeterministicFakeEmbedding
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage

from la_agents.errors import ConfigurationError, GenerationError, InvalidPreferenceError, UserNotSpecifiedError
from la_agents.learning import (
    BackgroundLearner,
    PreferenceExtractor,
    PreferenceLearner,
    Proposal,
    RuleExtractor,
)
from la_agents.preferences.store import PreferenceStore


@pytest.fixture
def store(tmp_path: Path) -> Iterator[PreferenceStore]:
    with PreferenceStore(tmp_path) as store:
        yield store


# -- into the store ----------------------------------------------------------------------------------------------------


class Always:
    """An extractor that proposes what it was made with."""

    def __init__(self, *proposals: Proposal) -> None:
        self.proposals = proposals

    def extract(self, messages: Sequence[BaseMessage]) -> Sequence[Proposal]:
        return self.proposals


def test_what_is_learned_waits_for_approval(store: PreferenceStore) -> None:
    PreferenceLearner(store).learn([HumanMessage("I prefer tea.")], user_id="alice")
    assert store.list("alice") == []
    (waiting,) = store.proposals.list("alice")
    assert (waiting.text, waiting.source) == ("I prefer tea.", "inferred")
    store.proposals.approve("alice", waiting.id)
    assert [p.text for p in store.list("alice")] == ["I prefer tea."]


def test_what_is_learned_without_approval_applies_and_says_where_it_comes_from(store: PreferenceStore) -> None:
    learner = PreferenceLearner(store, require_approval=False)
    learned = learner.learn([HumanMessage("I prefer tea. Thanks!", id="m1")], user_id="alice")
    assert [p.text for p in store.list("alice")] == [p.text for p in learned] == ["I prefer tea."]
    assert learned[0].metadata == {"evidence": "I prefer tea.", "message_id": "m1"}
    assert learned[0].confidence == 0.9
    assert store.list("bob") == []


@pytest.mark.parametrize(
    ("said", "proposal"),
    [
        ("What? No nuts!", Proposal("I love tea.", "I love tea.")),
        ("What? No nuts!", Proposal("No nuts.", "no nuts", confidence=0.3)),
        ("I never eat pork.", Proposal("Loves pork.", "I never eat pork.")),
        ("My sister loves cruises.", Proposal("Loves cruises.", "loves cruises")),
        ("ok", Proposal("Loves jazz.", "ok")),
    ],
)
def test_nothing_is_stored_that_the_user_did_not_say(store: PreferenceStore, said: str, proposal: Proposal) -> None:
    extractor = Always(proposal)
    assert isinstance(extractor, PreferenceExtractor)
    messages = [AIMessage("I love tea."), HumanMessage(said)]
    assert PreferenceLearner(store, extractor).learn(messages, user_id="alice") == []
    assert store.proposals.list("alice") == []


def test_what_others_say_as_humans_is_not_the_users(store: PreferenceStore) -> None:
    """Agents hand on their results as messages of a human with a name, and groups talk in one thread."""
    said = [HumanMessage("I love tea."), HumanMessage("I love jazz.", name="researcher")]
    group = [HumanMessage("I love chess.", name="bob"), HumanMessage("I love opera.", name="kim")]
    alone = [HumanMessage("I love maps.", name="Carol")]
    for user, messages, known in (
        ("alice", said, "I love tea."),
        ("bob", group, "I love chess."),
        ("c", alone, "I love maps."),
    ):
        PreferenceLearner(store).learn(messages, user_id=user)
        assert [p.text for p in store.proposals.list(user)] == [known]


def test_what_a_user_said_outranks_what_is_learned(store: PreferenceStore) -> None:
    kept = store.add("alice", "I'm allergic to nuts.", scope="always")
    PreferenceLearner(store, require_approval=False).learn([HumanMessage("I'm not allergic to nuts.")], user_id="alice")
    assert store.get("alice", kept.id).state == "active"
    assert kept.id in [preference.id for preference in store.list("alice")]


def test_an_extractor_is_the_one_that_was_given_first(store: PreferenceStore) -> None:
    messages = [HumanMessage("I prefer tea. I love old maps.")]
    tea, maps = Always(Proposal("I prefer tea.", "I prefer tea")), Always(Proposal("I love maps.", "I love old maps"))
    learner = PreferenceLearner(store, require_approval=False)
    learner.learn(messages, user_id="alice", extractor=maps)
    assert [p.text for p in store.list("alice")] == ["I love maps."]
    PreferenceLearner(store, tea, require_approval=False).learn(messages, user_id="bob", extractor=maps)
    assert [p.text for p in store.list("bob")] == ["I prefer tea."]


def test_one_bad_proposal_stores_none(store: PreferenceStore) -> None:
    good, bad = Proposal("I love tea.", "I love tea"), Proposal("x" * 3000, "I love tea")
    with pytest.raises(InvalidPreferenceError):
        PreferenceLearner(store, Always(good, bad)).learn([HumanMessage("I love tea.")], user_id="alice")
    assert store.proposals.list("alice") == []


def test_the_user_comes_from_the_config_or_there_is_none(store: PreferenceStore) -> None:
    learner, said = PreferenceLearner(store, require_approval=False), [HumanMessage("I prefer tea.")]
    learner.learn(said, config={"configurable": {"user_id": "alice"}})
    assert store.count("alice") == 1
    with pytest.raises(UserNotSpecifiedError):
        learner.learn(said)
    with pytest.raises(ConfigurationError):
        PreferenceLearner(store, min_confidence=2.0)


class OfTopics(DeterministicFakeEmbedding):
    """Embeddings that read two languages: what is about tea is told from everything else."""

    def are_about_the_same(self, one: str, other: str) -> bool:
        return len({any(word in text for word in ("tea", "thé", "茶")) for text in (one, other)}) == 1


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("The user likes tea.", "Je comprends."),
        ("The user likes tea.", "Je suis au bureau."),
        ("The user likes tea.", "我明白了，谢谢你。"),
        ("The user likes tea.", "Ich verstehe das jetzt."),
        ("L'utilisateur aime le thé.", "I see what you mean."),
        ("The user likes tea.", "Мне пора идти домой."),
    ],
)
@pytest.mark.parametrize("require_approval", [True, False])
def test_what_nobody_can_read_waits_and_is_unsure(tmp_path: Path, text: str, said: str, require_approval: bool) -> None:
    learner = Always(Proposal(text, said))
    for name, embeddings, kept in (("english", None, 1), ("both", OfTopics(size=8), 0)):
        with PreferenceStore(tmp_path / name, embeddings=embeddings) as store:
            PreferenceLearner(store, learner, require_approval=require_approval).learn(
                [HumanMessage(said)], user_id="alice"
            )
            assert store.list("alice") == []
            assert [p.confidence for p in store.proposals.list("alice")] == [0.5] * kept
            sure = PreferenceLearner(store, learner, require_approval=False, min_confidence=0.7)
            assert sure.learn([HumanMessage(said)], user_id="bob") == store.proposals.list("bob") == []


@pytest.mark.parametrize(
    ("text", "said"), [("The user likes tea.", "J'aime le thé."), ("The user likes tea.", "我喜欢喝茶。")]
)
def test_what_is_read_in_two_languages_is_learned(tmp_path: Path, text: str, said: str) -> None:
    with PreferenceStore(tmp_path, embeddings=OfTopics(size=8)) as store:
        learner = PreferenceLearner(store, Always(Proposal(text, said)), require_approval=False)
        learner.learn([HumanMessage(said)], user_id="alice")
        assert [(p.text, p.confidence) for p in store.list("alice")] == [(text, 1.0)]


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
    background = BackgroundLearner(PreferenceLearner(store, extractor, require_approval=False))
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
    async with BackgroundLearner(PreferenceLearner(store, extractor, require_approval=False)) as background:
        background.submit([HumanMessage("I love tea.")], user_id="alice")
        extractor.go.set()
    assert store.count("alice") == 1


def test_a_failure_reaches_its_future_and_nothing_else(
    store: PreferenceStore, caplog: pytest.LogCaptureFixture
) -> None:
    extractor = Blocked()
    extractor.go.set()
    with BackgroundLearner(PreferenceLearner(store, extractor, require_approval=False)) as background:
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


class Counted(RuleExtractor):
    """Rules that note what they are given."""

    def __init__(self) -> None:
        self.read: list[list[str]] = []

    def extract(self, messages: Sequence[BaseMessage]) -> list[Proposal]:
        self.read.append([str(message.text) for message in messages])
        return super().extract(messages)


def test_turns_within_a_pause_are_read_together(store: PreferenceStore) -> None:
    extractor = Counted()
    background = BackgroundLearner(PreferenceLearner(store, extractor), pause=600)
    said = [("alice", "I love tea."), ("bob", "I love jazz."), ("alice", "I love chess."), ("alice", "Hello.")]
    futures = [background.submit([HumanMessage(text)], user_id=user) for user, text in said]
    futures[3].cancel()
    background.close()  # waits for no pause
    assert extractor.read == [["I love tea.", "I love chess."], ["I love jazz."]]
    assert [p.text for p in futures[0].result()] == [p.text for p in futures[2].result()]
    assert [p.text for p in store.proposals.list("alice")] == ["I love tea.", "I love chess."]
    assert [p.text for p in store.proposals.list("bob")] == ["I love jazz."]
    with pytest.raises(ConfigurationError, match="pause"):
        BackgroundLearner(PreferenceLearner(store), pause=-1)


def test_a_turn_after_the_pause_is_read_by_itself(store: PreferenceStore) -> None:
    extractor = Counted()
    with BackgroundLearner(PreferenceLearner(store, extractor), pause=0.01) as background:
        for text in ("I love tea.", "I love chess."):
            background.submit([HumanMessage(text)], user_id="alice").result(60)
    assert extractor.read == [["I love tea."], ["I love chess."]]


def test_all_turns_of_a_batch_fail_together(store: PreferenceStore) -> None:
    extractor = Blocked()
    extractor.go.set()
    background = BackgroundLearner(PreferenceLearner(store, extractor), pause=600)
    futures = [background.submit([HumanMessage(text)], user_id="alice") for text in ("fail", "I love tea.")]
    background.close()
    assert [type(future.exception()) for future in futures] == [GenerationError, GenerationError]
    assert background.num_failed == 2


@pytest.mark.parametrize("is_asked", [False, True])
def test_what_waits_is_not_learned_after_its_user_was_erased(store: PreferenceStore, is_asked: bool) -> None:
    """Neither what waits for the pause, nor what the extractor is reading."""
    extractor = Blocked()
    background = BackgroundLearner(PreferenceLearner(store, extractor), pause=0.0 if is_asked else 600)
    erased = background.submit([HumanMessage("I love tea.")], user_id="alice")
    store.erase("alice")
    again = background.submit([HumanMessage("I love jazz.")], user_id="alice")
    other = background.submit([HumanMessage("I love tea.")], user_id="bob")
    extractor.go.set()
    background.close()
    assert [len(each.result()) for each in (again, other)] == [1, 1]
    assert [p.text for p in store.proposals.list("alice")] == ["I love jazz."]
    assert [p.text for p in store.proposals.list("bob")] == ["I love tea."]
    assert erased.done()
