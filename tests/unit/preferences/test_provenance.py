"""What was said outranks what was approved, and that what was inferred: a lower one never changes a higher one."""

from __future__ import annotations

import io
import itertools
import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner

from la_agents.cli import app
from la_agents.errors import InvalidPreferenceError, PreferenceNotFoundError
from la_agents.preferences.preference import Preference, Source, utc_now
from la_agents.preferences.store import PreferenceStore

LOWER_AND_HIGHER: list[tuple[Source, Source]] = [
    ("inferred", "explicit"),
    ("inferred", "approved"),
    ("approved", "explicit"),
    ("imported", "explicit"),
    ("inferred", "imported"),
]
EQUALS: list[tuple[Source, Source]] = [
    ("explicit", "explicit"),
    ("approved", "approved"),
    ("inferred", "inferred"),
    ("imported", "approved"),
]
CONTRADICTIONS = [
    ("I love Chinese food.", "I hate Chinese food."),
    ("Answer in French.", "Please always answer in English."),
    ("I'm allergic to nuts.", "I am not allergic to nuts."),
    ("I prefer tea to coffee.", "I prefer coffee to tea."),
    ("Call me Sam.", "Call me Alexandra."),
]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[PreferenceStore]:
    with PreferenceStore(tmp_path / "prefs") as store:
        yield store


def texts(preferences: list[Preference]) -> list[str]:
    return [each.text for each in preferences]


@pytest.mark.parametrize(
    ("lower", "higher", "old", "new"),
    [(*ranks, *pair) for ranks, pair in zip(LOWER_AND_HIGHER, CONTRADICTIONS, strict=True)],
)
def test_a_lower_one_that_contradicts_waits_and_names_what_it_would_replace(
    store: PreferenceStore, lower: Source, higher: Source, old: str, new: str
) -> None:
    said = store.add("alice", old, source=higher, weight=2.0, half_life_days=30)
    waiting = store.add("alice", new, source=lower)
    assert (waiting.state, waiting.supersedes) == ("pending", (said.id,))
    assert store.list("alice") == [said]
    assert store.proposals.list("alice") == [waiting]
    assert store.proposals.approve("alice", waiting.id).id == waiting.id
    assert texts(store.list("alice")) == [new]
    assert store.get("alice", said.id).superseded_by == waiting.id
    store.undo("alice", said.id)
    assert said.id in [each.id for each in store.list("alice")]


@pytest.mark.parametrize(("lower", "higher"), LOWER_AND_HIGHER)
@pytest.mark.parametrize("again", ["I love jazz.", "i love jazz", "I LOVE JAZZ!"])
def test_a_lower_one_in_the_same_words_changes_nothing(
    store: PreferenceStore, lower: Source, higher: Source, again: str
) -> None:
    said = store.add("alice", "I love jazz.", source=higher, expires_at=utc_now() + timedelta(days=1))
    told = store.add("alice", again, source=lower, scope="always", weight=5.0, metadata={"by": "a guess"})
    assert told == said
    assert store.list("alice") == [said]
    assert len(store.history("alice", said.id)) == 1


@pytest.mark.parametrize(("first", "second"), EQUALS)
def test_of_two_of_one_rank_the_later_counts_where_it_is_sure(
    store: PreferenceStore, first: Source, second: Source
) -> None:
    old = store.add("alice", "I love Chinese food.", source=first)
    new = store.add("alice", "I hate Chinese food.", source=second)
    assert store.list("alice") == [new]
    assert store.get("alice", old.id).superseded_by == new.id


@pytest.mark.parametrize(("lower", "higher"), LOWER_AND_HIGHER)
def test_a_higher_one_replaces_a_lower_one(store: PreferenceStore, lower: Source, higher: Source) -> None:
    store.add("alice", "I love Chinese food.", source=lower)
    said = store.add("alice", "I hate Chinese food.", source=higher)
    assert store.list("alice") == [said]


def test_what_waits_or_was_rejected_is_not_stored_again(store: PreferenceStore) -> None:
    store.add("alice", "I love Chinese food.")
    waiting = store.add("alice", "I hate Chinese food.", source="inferred")
    assert store.add("alice", "i hate chinese food", source="inferred") == waiting
    rejected = store.proposals.reject("alice", waiting.id)
    assert store.add("alice", "I hate Chinese food!", source="inferred") == rejected
    assert store.proposals.list("alice") == []


def test_a_new_one_can_name_what_it_supersedes(store: PreferenceStore) -> None:
    meat = store.add("alice", "I eat steak twice a week.")
    fish = store.add("alice", "Sushi on Fridays.")
    vegan = store.add("alice", "I went vegan.", supersedes=[meat.id, fish.id])
    assert store.list("alice") == [vegan]
    assert {p.superseded_by for p in store.archive("alice")} == {vegan.id}
    assert {p.id for p in store.undo("alice", vegan.id)} == {meat.id, fish.id}


def test_what_is_named_for_a_time_applies_again(store: PreferenceStore) -> None:
    meat = store.add("alice", "I eat steak twice a week.")
    lent = store.add("alice", "No meat in Lent.", supersedes=[meat.id], expires_at=utc_now() + timedelta(days=40))
    assert store.list("alice") == [lent]
    assert store.get("alice", meat.id).superseded_until == lent.expires_at


@pytest.mark.parametrize("again", ["I ski.", "i ski", "  I SKI!"])
def test_nothing_takes_its_own_place(store: PreferenceStore, again: str) -> None:
    skiing, tea = store.add("alice", "I ski."), store.add("alice", "I drink tea.")
    assert store.add("alice", again, supersedes=[skiing.id, tea.id]).id == skiing.id
    assert [(each.id, each.num_said) for each in store.list("alice")] == [(skiing.id, 2)]
    assert store.get("alice", tea.id).superseded_by == skiing.id


def test_an_approved_one_that_names_what_it_repeats_leaves_it_in_place(store: PreferenceStore) -> None:
    skiing = store.add("alice", "I go skiing.")
    (waiting,) = store.proposals.add("alice", [{"text": "I ski.", "supersedes": [skiing.id], "source": "inferred"}])
    store.update("alice", skiing.id, text="I ski.")
    assert store.proposals.approve("alice", waiting.id).id == skiing.id
    assert [each.id for each in store.list("alice")] == [skiing.id]


def test_what_is_switched_off_replaces_what_it_names_and_nothing_else(store: PreferenceStore) -> None:
    tea, jazz = store.add("alice", "I like tea."), store.add("alice", "I like jazz.")
    store.add("alice", "I do not like tea.", weight=0, supersedes=[jazz.id])
    assert (store.get("alice", tea.id).state, store.get("alice", jazz.id).state) == ("active", "superseded")


@pytest.mark.parametrize("consolidate", [True, False])
def test_a_lower_one_that_names_a_higher_one_waits(store: PreferenceStore, consolidate: bool) -> None:
    said = store.add("alice", "I eat steak twice a week.")
    waiting = store.add("alice", "I went vegan.", source="inferred", supersedes=[said.id], consolidate=consolidate)
    assert (waiting.state, store.list("alice")) == ("pending", [said])
    store.proposals.approve("alice", waiting.id)
    assert texts(store.list("alice")) == ["I went vegan."]


def test_a_proposal_names_what_it_would_replace(store: PreferenceStore) -> None:
    said = store.add("alice", "I love Chinese food.")
    steak = store.add("alice", "I eat steak twice a week.")
    one, two = store.proposals.add(
        "alice", ["I hate Chinese food.", {"text": "I went vegan.", "source": "inferred", "supersedes": [steak.id]}]
    )
    assert (one.supersedes, two.supersedes) == ((said.id,), (steak.id,))
    assert texts(store.list("alice")) == ["I love Chinese food.", "I eat steak twice a week."]


def test_undoing_an_approval_brings_back_what_it_replaced(store: PreferenceStore) -> None:
    said = store.add("alice", "I love Chinese food.")
    waiting = store.add("alice", "I hate Chinese food.", source="inferred")
    store.proposals.approve("alice", waiting.id)
    assert texts(store.list("alice")) == ["I hate Chinese food."]
    assert {each.id for each in store.undo("alice", waiting.id)} == {said.id, waiting.id}
    assert texts(store.list("alice")) == ["I love Chinese food."]
    assert [each.id for each in store.proposals.list("alice")] == [waiting.id]


def test_what_a_proposal_named_may_be_gone_by_its_approval(store: PreferenceStore) -> None:
    said = store.add("alice", "I love Chinese food.")
    waiting = store.add("alice", "I hate Chinese food.", source="inferred")
    store.forget("alice", said.id)
    assert store.proposals.approve("alice", waiting.id).state == "active"
    assert store.get("alice", said.id).state == "forgotten"


def test_an_approval_takes_the_place_of_nothing_that_it_did_not_name(store: PreferenceStore) -> None:
    waiting = store.proposals.add("alice", [{"text": "I hate Chinese food.", "source": "inferred"}])[0]
    assert waiting.supersedes == ()
    said = store.add("alice", "I love Chinese food.")  # after it was proposed: its user was not told
    store.proposals.approve("alice", waiting.id)
    assert said in store.list("alice")


def test_only_ones_own_can_be_named(store: PreferenceStore) -> None:
    hers = store.add("bob", "I ski.").id
    gone = store.forget("alice", store.add("alice", "I sail.").id).id
    for wrong in ([hers], ["unknown"], [gone]):
        with pytest.raises(PreferenceNotFoundError, match="supersedes"):
            store.add("alice", "I swim.", supersedes=wrong)
        with pytest.raises(PreferenceNotFoundError, match="supersedes"):
            store.proposals.add("alice", [{"text": "I swim.", "supersedes": wrong}])
    assert store.list("alice") == []
    assert store.count("bob") == 1


@pytest.mark.parametrize("bare", ["Vegan", {"text": "Vegan"}, 5])
def test_a_single_one_where_a_list_is_meant_is_refused(store: PreferenceStore, bare: object) -> None:
    for call in (store.add_many, store.proposals.add):
        with pytest.raises(InvalidPreferenceError, match="list of preferences"):
            call("alice", bare)  # type: ignore[operator]
    with pytest.raises(InvalidPreferenceError, match="supersedes"):
        store.add("alice", "Vegan", supersedes="abc")
    assert store.proposals.list("alice") == store.list("alice") == []


# Possible conflicts


NEAR = ("I love spicy food.", "Spicy dishes give me heartburn.")


def test_what_may_conflict_stays_and_is_shown(store: PreferenceStore) -> None:
    older, newer = (store.add("alice", text) for text in ("I love spicy food.", "I can't handle spicy food at all."))
    store.add("alice", "My cat is called Tom.")
    (conflict,) = store.conflicts("alice")
    assert (conflict.older, conflict.newer) == (older, newer)
    assert 0.65 <= conflict.similarity <= 1
    assert store.count("alice") == 3
    assert store.conflicts("bob") == []


@pytest.mark.parametrize("keep", ["both", "newer", "older"])
def test_what_was_decided_is_not_asked_again(store: PreferenceStore, keep: str) -> None:
    pair = ["I love spicy food.", "I can't handle spicy food at all."]
    older, newer = store.add_many("alice", pair)
    store.decide("alice", older.id, newer.id, keep=keep)  # type: ignore[arg-type]
    assert store.conflicts("alice") == []
    assert texts(store.list("alice")) == {"both": pair, "newer": pair[1:], "older": pair[:1]}[keep]
    if keep == "both":
        for text in pair:
            store.add("alice", text)  # said again
        assert store.conflicts("alice") == []
        store.forget("alice", older.id)
        store.add("alice", pair[0])  # stored anew, in the same words
        assert store.conflicts("alice") == []
        store.update("alice", newer.id, text="I can't handle spicy food these days.")
        assert len(store.conflicts("alice")) == 1  # other words are another question


@pytest.mark.parametrize("keep", ["both", "newer", "older"])
def test_a_decision_can_be_undone(store: PreferenceStore, keep: str) -> None:
    older, newer = store.add_many("alice", ["I love spicy food.", "I can't handle spicy food at all."])
    changed = store.decide("alice", older.id, newer.id, keep=keep)  # type: ignore[arg-type]
    store.undo("alice", changed[0].id)
    assert len(store.conflicts("alice")) == 1
    assert store.count("alice") == 2


def test_conflicts_are_the_nearest_first_and_bounded(store: PreferenceStore) -> None:
    store.add_many("alice", [f"I love spicy food number {n}." for n in range(6)])
    found = store.conflicts("alice", at_most=4)
    assert len(found) == 4
    assert all(one.similarity >= other.similarity for one, other in itertools.pairwise(found))
    assert len(store.conflicts("alice", at_most=100)) == 15


def test_a_decision_needs_two_that_apply(store: PreferenceStore) -> None:
    mine, hers = store.add("alice", "I love spicy food."), store.add("bob", "I love spicy food.")
    for other in (hers.id, "unknown"):
        with pytest.raises(PreferenceNotFoundError):
            store.decide("alice", mine.id, other, keep="both")
    assert store.get("bob", hers.id) == hers


def test_the_command_line_shows_and_settles_conflicts(tmp_path: Path) -> None:
    def run(*arguments: str) -> str:
        done = CliRunner().invoke(app, ["--store", str(tmp_path / "prefs"), "prefs", *arguments, "--user", "alice"])
        assert done.exit_code == 0, done.stderr
        return done.stdout

    ids = [run("add", text).strip() for text in ("I love spicy food.", "I can't handle spicy food at all.")]
    assert "I love spicy food." in run("conflicts")
    (conflict,) = json.loads(run("conflicts", "--json"))
    assert [conflict["older"]["id"], conflict["newer"]["id"]] == ids
    run("decide", *ids, "--keep", "newer")
    assert json.loads(run("conflicts", "--json")) == []
    assert [each["id"] for each in json.loads(run("list", "--json"))] == ids[1:]


async def test_the_async_twins_settle_conflicts_too(store: PreferenceStore) -> None:
    older, newer = await store.aadd_many("alice", ["I love spicy food.", "I can't handle spicy food at all."])
    (conflict,) = await store.aconflicts("alice")
    await store.adecide("alice", conflict.older.id, conflict.newer.id, keep="both")
    assert await store.aconflicts("alice") == []
    assert await store.alist("alice") == [await store.aget("alice", older.id), await store.aget("alice", newer.id)]


# -- other ways to change what was said --------------------------------------------------------------------------------


@pytest.mark.parametrize("line", [{"text": "I love nuts."}, {"text": "I'm allergic to nuts.", "weight": 0.0}])
@pytest.mark.parametrize("lower", ["imported", "inferred"])
def test_a_file_changes_nothing_that_ranks_higher(store: PreferenceStore, line: dict[str, object], lower: str) -> None:
    said = store.add("alice", "I'm allergic to nuts.")
    store.import_("alice", io.StringIO(json.dumps({"id": said.id, "source": lower, **line})))
    assert store.list("alice") == [said]
    store.forget("alice", said.id)
    store.import_("alice", io.StringIO(json.dumps({"id": said.id, "source": lower, **line})))
    assert store.list("alice") == []


@pytest.mark.parametrize("is_rejected", [False, True])
def test_a_file_approves_nothing(store: PreferenceStore, is_rejected: bool) -> None:
    (waiting,) = store.proposals.add("alice", [{"text": "I love jazz.", "source": "inferred"}])
    if is_rejected:
        store.proposals.reject("alice", waiting.id)
    store.import_("alice", io.StringIO(json.dumps({"id": waiting.id, "text": "I love jazz.", "source": "inferred"})))
    assert store.list("alice") == []


@pytest.mark.parametrize(("lower", "higher"), LOWER_AND_HIGHER)
def test_an_update_lowers_no_rank(store: PreferenceStore, lower: Source, higher: Source) -> None:
    said = store.add("alice", "I like tea.", source=higher)
    for changes in ({"text": "I hate tea."}, {"weight": 0.0}, {}):
        with pytest.raises(InvalidPreferenceError, match="source"):
            store.update("alice", said.id, source=lower, **changes)  # type: ignore[arg-type]
    assert store.list("alice") == [said]
    assert store.update("alice", said.id, source="explicit", text="I hate tea.").source == "explicit"


def test_an_approval_replaces_nothing_that_was_reworded_since(store: PreferenceStore) -> None:
    tea = store.add("alice", "I like tea.")
    (waiting,) = store.proposals.add("alice", [{"text": "I hate tea.", "source": "inferred"}])
    assert waiting.supersedes == (tea.id,)
    store.update("alice", tea.id, text="I like peppermint tea.")
    store.proposals.approve("alice", waiting.id)
    assert texts(store.list("alice")) == ["I like peppermint tea.", "I hate tea."]


def test_what_is_inferred_brings_back_nothing_that_its_user_refused(store: PreferenceStore) -> None:
    (proposed,) = store.proposals.add("alice", [{"text": "I love jazz.", "source": "inferred"}])
    store.proposals.reject("alice", proposed.id)
    assert store.add("alice", "i love jazz", source="inferred").id == proposed.id
    nuts = store.add("alice", "I'm allergic to nuts.")
    store.forget("alice", nuts.id)
    assert store.add("alice", "I'm allergic to nuts!", source="inferred").state == "pending"
    assert store.list("alice") == []
    assert store.add("alice", "I love jazz.").state == "active"
    assert store.add("alice", "I'm allergic to nuts.").state == "active"
    assert texts(store.list("alice")) == ["I love jazz.", "I'm allergic to nuts."]
    assert store.proposals.list("alice") == []
