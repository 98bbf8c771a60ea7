"""Slow work holds no lock: a model that judges, embeddings and files may take their time, and nobody waits for them."""

from __future__ import annotations

import asyncio
import io
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock, Timeout
from langchain_core.embeddings import DeterministicFakeEmbedding
from langchain_core.language_models.fake_chat_models import FakeListChatModel

from la_agents.preferences.consolidation.chat import ChatModelConsolidator
from la_agents.preferences.consolidation.judging import Judgement, KnownPreference
from la_agents.preferences.storage import user_records
from la_agents.preferences.storage.locks import FolderLocks
from la_agents.preferences.store import PreferenceStore

PATIENCE = 120.0  # seconds until a test that hangs fails; none that passes waits for it


class HeldModel(FakeListChatModel):
    """A chat model that answers when it is let go."""

    asked: Any = None
    release: Any = None

    def _call(self, *args: Any, **kwargs: Any) -> str:
        self.asked.release()
        assert self.release.wait(PATIENCE)
        return '{"judgements": []}'


@pytest.fixture
def model() -> Iterator[HeldModel]:
    model = HeldModel(responses=[], asked=threading.Semaphore(0), release=threading.Event())
    yield model
    model.release.set()


@pytest.fixture
def store(tmp_path: Path, model: HeldModel) -> Iterator[PreferenceStore]:
    consolidator = ChatModelConsolidator(model, min_similarity=-1)
    fake = DeterministicFakeEmbedding(size=8)
    with PreferenceStore(tmp_path / "prefs", embeddings=fake, consolidator=consolidator) as store:
        for n in range(8):
            store.add(f"user {n}", "I like tea.", scope="always", consolidate=False)
        yield store


def wait_for(model: HeldModel, number: int) -> None:
    for _ in range(number):
        assert model.asked.acquire(timeout=PATIENCE)


def test_while_a_model_judges_everybody_reads_and_writes(store: PreferenceStore, model: HeldModel) -> None:
    """With a lock held around the judgement the calls in the middle would wait for the model, which waits for them."""
    with ThreadPoolExecutor(8) as threads:
        added = [threads.submit(store.add, f"user {n}", "I like coffee.") for n in range(8)]
        wait_for(model, 8)
        for n in range(8):
            assert len(store.retrieve(f"user {n}", "Which drink?")) == 1
        held = store.list("user 0")[0]
        assert store.update("user 0", held.id, weight=2.0).weight == 2.0
        for n in range(100):  # of these some share a lock with those
            store.add(f"somebody {n}", "I ski.", consolidate=False)
        assert not any(each.done() for each in added)
        model.release.set()
        assert [each.result().text for each in added] == ["I like coffee."] * 8
    assert store.count("user 0") == 2
    assert store.list("user 0")[0].weight == 2.0  # what was changed meanwhile is not overwritten


async def test_waiting_adds_leave_room_for_reads(store: PreferenceStore, model: HeldModel) -> None:
    adds = [asyncio.create_task(store.aadd(f"user {n % 8}", f"I like coffee {n}.")) for n in range(64)]
    await asyncio.to_thread(wait_for, model, 8)
    for n in range(8):
        assert len(await asyncio.wait_for(store.aretrieve(f"user {n}", "Which drink?"), PATIENCE)) == 1
    assert not any(task.done() for task in adds)
    model.release.set()
    await asyncio.gather(*adds)
    assert store.count("user 0") == 9


class Meanwhile:
    """Judges, and lets something happen first."""

    def __init__(self, happens: Callable[[], object], relation: str) -> None:
        self._happens = [happens]
        self._relation = relation
        self.asked: list[list[str]] = []

    def judge(self, new: str, known: Sequence[KnownPreference]) -> Sequence[Judgement]:
        self.asked.append([each.text for each in known])
        while self._happens:
            self._happens.pop()()
        return [Judgement(each.id, self._relation, "as told") for each in known]  # type: ignore[arg-type]


def test_what_changed_while_it_was_judged_is_judged_again(tmp_path: Path) -> None:
    fake = DeterministicFakeEmbedding(size=8)
    with PreferenceStore(tmp_path, embeddings=fake) as other:
        tea = other.add("alice", "I like tea.")
        judge = Meanwhile(lambda: other.update("alice", tea.id, text="I like water."), "contradicts")
        with PreferenceStore(tmp_path, embeddings=fake, consolidator=judge) as store:
            new = store.add("alice", "I like coffee.")
            assert judge.asked == [["I like tea."], ["I like water."]]
            assert store.list("alice") == [new]


def test_what_was_forgotten_while_it_was_judged_stays_so(tmp_path: Path) -> None:
    fake = DeterministicFakeEmbedding(size=8)
    with PreferenceStore(tmp_path, embeddings=fake) as other:
        tea = other.add("alice", "I like tea.")
        judge = Meanwhile(lambda: other.forget("alice", tea.id), "contradicts")
        with PreferenceStore(tmp_path, embeddings=fake, consolidator=judge) as store:
            store.add("alice", "I like coffee.")
            assert store.get("alice", tea.id).state == "forgotten"
            assert [change.kind for change in store.history("alice", tea.id)] == ["added", "forgotten"]


def test_the_same_words_said_while_they_are_judged_are_stored_once(tmp_path: Path) -> None:
    fake = DeterministicFakeEmbedding(size=8)
    with PreferenceStore(tmp_path, embeddings=fake) as other:
        other.add("alice", "I like tea.")
        judge = Meanwhile(lambda: other.add("alice", "I like coffee."), "independent")
        with PreferenceStore(tmp_path, embeddings=fake, consolidator=judge) as store:
            assert store.add("alice", "I like coffee!").num_said == 2
            assert store.count("alice") == 2


class SlowFile(io.StringIO):
    """A file whose lines come, or go, when they are let go; it says when it was asked."""

    def __init__(self, text: str = "") -> None:
        super().__init__(text)
        self.asked, self.release = threading.Event(), threading.Event()

    def __next__(self) -> str:
        self._wait()
        return super().__next__()

    def write(self, text: str) -> int:
        self._wait()
        return super().write(text)

    def _wait(self) -> None:
        self.asked.set()
        assert self.release.wait(PATIENCE)


@pytest.mark.parametrize("operation", ["import_", "export"])
def test_a_slow_file_holds_nobody_up(store: PreferenceStore, operation: str) -> None:
    file = SlowFile('{"text": "I sail."}\n')
    with ThreadPoolExecutor(1) as threads:
        done = threads.submit(getattr(store, operation), "user 0", file)
        assert file.asked.wait(PATIENCE)
        held = store.list("user 0")[0]
        store.update("user 0", held.id, scope="relevant")
        assert not done.done()
        file.release.set()
        assert done.result() == 1


class SlowEmbedding(DeterministicFakeEmbedding):
    """Embeds, but for one text, which it embeds when it is let go."""

    asked: Any = None
    release: Any = None

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        if any("slow" in text for text in texts):
            self.asked.set()
            assert self.release.wait(PATIENCE)
        return super().embed_documents(texts)


@pytest.mark.parametrize("operation", ["add", "update", "update with weight", "import"])
def test_a_slow_embedding_holds_nobody_up(tmp_path: Path, operation: str) -> None:
    slow = SlowEmbedding(size=8, asked=threading.Event(), release=threading.Event())
    with PreferenceStore(tmp_path, embeddings=slow) as store, ThreadPoolExecutor(1) as threads:
        id, other = (store.add("alice", text).id for text in ("I ski.", "I sail."))
        calls: dict[str, Callable[[], object]] = {
            "add": lambda: store.add("alice", "I like slow food."),
            "update": lambda: store.update("alice", id, text="I ski slowly."),
            "update with weight": lambda: store.update("alice", id, text="I ski slowly.", weight=2.0),
            "import": lambda: store.import_("alice", io.StringIO('{"text": "I like slow food."}')),
        }
        done = threads.submit(calls[operation])
        assert slow.asked.wait(PATIENCE)
        store.update("alice", other, scope="always")
        assert not done.done()
        slow.release.set()
        done.result()
        assert [each.text for each in store.list("alice", scope="always")] == ["I sail."]
        assert sum("slow" in each.text for each in store.list("alice")) == 1


def test_a_known_preference_is_found_without_a_look_at_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with PreferenceStore(tmp_path, embeddings=DeterministicFakeEmbedding(size=8)) as store:
        ids = [each.id for each in store.add_many("alice", [f"I like book {n}." for n in range(200)])]

        def walked(*args: object) -> None:
            pytest.fail("all of the user's records were looked at")

        for name in ("walk", "at_once", "catch_up"):
            monkeypatch.setattr(user_records, name, walked)
        assert store.get("alice", ids[150]).text == "I like book 150."
        assert store.update("alice", ids[150], text="I like films.").text == "I like films."
        assert store.forget("alice", ids[199]).text == "I like book 199."
        assert store.get("alice", ids[199]).state == "forgotten"


def test_where_it_was_found_before_is_looked_at_again(tmp_path: Path) -> None:
    """Two stores of one folder: what the one erased and stored anew lies elsewhere for the other."""
    fake = DeterministicFakeEmbedding(size=8)
    with PreferenceStore(tmp_path, embeddings=fake) as one, PreferenceStore(tmp_path, embeddings=fake) as other:
        added = one.add_many("alice", [f"I like book {n}." for n in range(40)])
        file = io.StringIO()
        one.export("alice", file)
        lines = file.getvalue().splitlines(keepends=True)
        other.erase("alice")
        other.import_("alice", io.StringIO("".join(reversed(lines))))
        one.update("alice", added[3].id, scope="always")
        assert one.get("alice", added[3].id).text == "I like book 3."
        assert {each.text for each in other.list("alice")} == {each.text for each in added}
        other.erase("alice")
        one.add("alice", "I ski.")
        assert [each.text for each in other.list("alice")] == ["I ski."]
        assert other.verify().is_sound


def test_a_folder_is_free_whichever_thread_closes_it(tmp_path: Path) -> None:
    locks = FolderLocks()
    with ThreadPoolExecutor(1) as one, ThreadPoolExecutor(1) as other:
        one.submit(locks.hold, tmp_path).result()
        with pytest.raises(Timeout):
            FileLock(tmp_path / ".la-agents.lock", timeout=0).acquire()
        other.submit(locks.release, tmp_path).result()
    with FileLock(tmp_path / ".la-agents.lock", timeout=0) as lock:
        assert lock.is_locked
