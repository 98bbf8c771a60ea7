"""Proposals: they apply once their user has approved them, and not before."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner

from la_agents.cli import app
from la_agents.errors import InvalidPreferenceError, PreferenceNotFoundError
from la_agents.preferences.preference import utc_now
from la_agents.preferences.store import PreferenceStore


@pytest.fixture
def store(tmp_path: Path) -> Iterator[PreferenceStore]:
    with PreferenceStore(tmp_path / "prefs") as store:
        yield store


def propose(store: PreferenceStore, text: str) -> str:
    return store.proposals.add("alice", [{"text": text, "source": "inferred", "scope": "always"}])[0].id


def test_a_proposal_is_no_part_of_any_call(store: PreferenceStore) -> None:
    propose(store, "Answer in French.")
    assert store.list("alice") == store.archive("alice") == []
    assert store.retrieve("alice", "Hello") == store.search("alice", "French") == []
    assert store.count("alice") == 0
    assert [p.text for p in store.proposals.list("alice")] == ["Answer in French."]
    assert store.proposals.list("bob") == []


def test_an_approved_one_applies(store: PreferenceStore) -> None:
    id = propose(store, "Answer in French.")
    assert store.proposals.approve("alice", id).source == "approved"
    assert [s.preference.id for s in store.retrieve("alice", "Hello")] == [id]
    assert store.proposals.list("alice") == []
    assert [change.kind for change in store.history("alice", id)] == ["added", "approved"]


def test_approval_can_be_undone(store: PreferenceStore) -> None:
    id = propose(store, "Answer in French.")
    store.proposals.approve("alice", id)
    store.undo("alice", id)
    assert [p.id for p in store.proposals.list("alice")] == [id]
    assert store.list("alice") == []


def test_an_approved_one_supersedes_what_it_contradicts(store: PreferenceStore) -> None:
    old = store.add("alice", "Answer in French.", scope="always")
    id = propose(store, "Answer in German.")
    assert store.proposals.approve("alice", id).id == id
    assert [p.text for p in store.list("alice")] == ["Answer in German."]
    assert store.get("alice", old.id).superseded_by == id


def test_an_approved_one_that_is_known_merges(store: PreferenceStore) -> None:
    id = propose(store, "I love hiking.")
    known = store.add("alice", "I love hiking.")
    assert store.proposals.approve("alice", id).id == known.id
    assert [(p.id, p.num_said) for p in store.list("alice")] == [(known.id, 1)]
    assert store.proposals.list("alice") == []


def test_a_rejected_one_is_not_proposed_again_but_can_be_approved(store: PreferenceStore) -> None:
    id = propose(store, "Answer in French.")
    assert store.proposals.reject("alice", id).state == "rejected"
    assert store.proposals.add("alice", ["answer in french"]) == []
    assert store.proposals.list("alice") == []
    assert [p.state for p in store.archive("alice")] == ["rejected"]
    store.proposals.approve("alice", id)
    assert store.count("alice") == 1


def test_what_is_known_or_waits_is_not_proposed(store: PreferenceStore) -> None:
    store.add("alice", "I love hiking.")
    assert store.proposals.add("alice", ["I love hiking", "No nuts.", "no nuts"])[0].text == "No nuts."
    assert len(store.proposals.list("alice")) == 1


def test_all_or_none_are_proposed(store: PreferenceStore) -> None:
    with pytest.raises(InvalidPreferenceError, match="item 1"):
        store.proposals.add("alice", ["I love hiking.", " "])
    assert store.proposals.list("alice") == []


def test_only_ones_own_proposals_can_be_decided(store: PreferenceStore) -> None:
    id = propose(store, "Answer in French.")
    active = store.add("bob", "I love hiking.").id
    for user, which in (("bob", id), ("bob", active), ("alice", "unknown")):
        with pytest.raises(PreferenceNotFoundError):
            store.proposals.approve(user, which)
        with pytest.raises(PreferenceNotFoundError):
            store.proposals.reject(user, which)
    with pytest.raises(PreferenceNotFoundError, match="approve it first"):
        store.update("alice", id, weight=2.0)


def test_exports_and_erasure_include_proposals(store: PreferenceStore) -> None:
    propose(store, "Answer in French.")
    file = io.StringIO()
    assert store.export("alice", file) == 1
    file.seek(0)
    store.import_("carol", file)
    assert [p.text for p in store.proposals.list("carol")] == ["Answer in French."]
    assert store.erase("alice") == 1
    assert store.proposals.list("alice") == []


async def test_the_async_twins_do_the_same(store: PreferenceStore) -> None:
    one, two = await store.proposals.aadd("alice", ["Answer in French.", "I love hiking."])
    await store.proposals.aapprove("alice", one.id)
    await store.proposals.areject("alice", two.id)
    assert [p.id for p in await store.alist("alice")] == [one.id]
    assert await store.proposals.alist("alice") == []


def test_the_command_line_lists_approves_and_rejects(store: PreferenceStore, tmp_path: Path) -> None:
    one, two = propose(store, "Answer in French."), propose(store, "I love hiking.")
    store.close()

    def run(*arguments: str) -> str:
        done = CliRunner().invoke(app, ["--store", str(tmp_path / "prefs"), "prefs", *arguments, "--user", "alice"])
        assert done.exit_code == 0, done.stderr
        return done.stdout

    assert "Answer in French." in run("pending")
    assert [p["id"] for p in json.loads(run("pending", "--json"))] == [one, two]
    assert [(p["id"], p["state"]) for p in json.loads(run("list", "--all", "--json"))][:2] == [
        (one, "pending"),
        (two, "pending"),
    ]
    run("approve", one)
    run("reject", two)
    assert json.loads(run("pending", "--json")) == []
    assert [p["id"] for p in json.loads(run("list", "--json"))] == [one]


def test_undoing_an_approval_that_said_what_was_known_makes_it_wait_again(tmp_path: Path) -> None:
    with PreferenceStore(tmp_path / "prefs") as store:
        known = store.add("alice", "I like tea.")
        (proposal,) = store.proposals.add("alice", ["I like coffee."])
        store.update("alice", known.id, text="I like coffee.")
        assert store.proposals.approve("alice", proposal.id).id == known.id
        (back,) = store.undo("alice", proposal.id)
        assert (back.id, back.state) == (proposal.id, "pending")
        assert [p.id for p in store.list("alice")] == [known.id]


@pytest.mark.parametrize(
    ("proposed", "said", "source", "waits"),
    [
        ("I love hiking.", "i love  hiking", "explicit", False),
        ("ฉันชอบเสือ", "ฉันชอบเสือ", "explicit", False),
        ("I love hiking.", "I love hiking.", "inferred", False),  # it applies, whoever concluded it
        ("I like tea.", "I do not like tea.", "explicit", False),
        ("I like tea.", "I do not like tea.", "inferred", True),  # that is not the user's word
        ("Always answer in French.", "Always answer in German.", "explicit", False),
        ("I like tea.", "I like coffee.", "explicit", True),
        ("ฉันชอบเสือ", "ฉันชอบเสื้อ", "explicit", True),
    ],
)
def test_what_its_user_says_settles_a_proposal(
    store: PreferenceStore, proposed: str, said: str, source: str, waits: bool
) -> None:
    id = propose(store, proposed)
    known = store.add("alice", said, source=source)  # type: ignore[arg-type]
    assert [p.id for p in store.proposals.list("alice")] == ([id] if waits else [])
    if not waits:
        settled = store.get("alice", id)
        assert (settled.state, settled.superseded_by) == ("superseded", known.id)
        assert [p.id for p in store.archive("alice")] == [id]
        assert store.history("alice", id)[-1].by == known.id
        assert [p.text for p in store.list("alice")] == [known.text]
        store.undo("alice", known.id)
        assert [p.id for p in store.proposals.list("alice")] == [id]


def test_what_is_said_again_settles_a_proposal_too(store: PreferenceStore) -> None:
    known = store.add("alice", "I love hiking.")
    id = propose(store, "I do not love hiking.")
    assert store.add("alice", "I love hiking.").id == known.id
    assert store.proposals.list("alice") == []
    assert store.history("alice", id)[-1].why == "its user has said the opposite"


def test_approving_one_settles_the_others(store: PreferenceStore) -> None:
    french, german = propose(store, "Answer in French."), propose(store, "Answer in German.")
    tea = propose(store, "I like tea.")
    store.proposals.approve("alice", german)
    assert [p.id for p in store.proposals.list("alice")] == [tea]
    assert store.get("alice", french).superseded_by == german


def test_a_withdrawn_one_can_still_be_approved(store: PreferenceStore) -> None:
    id = propose(store, "I like tea.")
    store.add("alice", "I do not like tea.", source="inferred", consolidate=False)
    said = store.add("alice", "I do not like tea.")
    assert store.proposals.list("alice") == []
    with pytest.raises(PreferenceNotFoundError, match="waits"):
        store.proposals.reject("alice", id)
    assert store.proposals.approve("alice", id).state == "active"
    assert store.get("alice", said.id).is_active()  # what the user said outranks what was approved


def test_what_is_said_for_a_time_settles_for_that_time(store: PreferenceStore) -> None:
    id = propose(store, "I like tea.")
    end = utc_now() + timedelta(hours=1)
    store.add("alice", "I do not like tea.", expires_at=end)
    assert store.proposals.list("alice") == []
    assert store.get("alice", id).state_at(end) == "pending"
