"""No operation ever returns, changes or counts another user's record, whatever the order and the names."""

from __future__ import annotations

import io
import tempfile
import unicodedata
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from langchain_core.embeddings import DeterministicFakeEmbedding

from la_agents.errors import ConfigurationError, PreferenceNotFoundError
from la_agents.preferences.owners import Layer
from la_agents.preferences.preference import Preference, utc_now
from la_agents.preferences.store import PreferenceStore

USERS = ["alice", "*", "%", "_", "👩‍🚀", "../x", "alice:0", "a@b.org' OR '1'='1", "é", "e\u0301"]
LAYER = "acme"
OWNERS = [*USERS, Layer(LAYER).key]
PAST = datetime(2020, 1, 1, tzinfo=timezone.utc)

users = st.sampled_from(USERS)
texts = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=30).filter(
    lambda text: not {unicodedata.category(character) for character in text} <= {"Cc", "Cf", "Zl", "Zp", "Zs"}
)
places = st.integers(min_value=0, max_value=50)


def content(preference: Preference) -> dict[str, object]:
    """What an import takes over; a record in which only the times differ is left as it is."""
    return preference.model_dump(exclude={"user_id", "created_at", "updated_at"})


@dataclass
class Model:
    """What the store should hold: preferences by user and id, in plain dicts."""

    kept: dict[str, dict[str, Preference]] = field(default_factory=lambda: {owner: {} for owner in OWNERS})
    past: list[tuple[datetime, dict[str, list[tuple[str, str]]]]] = field(default_factory=list)

    def put(self, *preferences: Preference) -> None:
        for preference in preferences:
            self.kept[preference.user_id][preference.id] = preference

    def forget(self, user: str, id: str) -> None:
        self.kept[user][id] = self.kept[user][id].model_copy(update={"forgotten_at": PAST})

    def active(self, user: str) -> list[Preference]:
        return [each for each in self.kept[user].values() if each.is_active()]

    def remember(self) -> None:
        """Keep what every user has now, to be looked back at."""
        self.past.append((utc_now(), {user: self.told(user) for user in USERS}))

    def told(self, user: str) -> list[tuple[str, str]]:
        return sorted((each.id, each.text) for each in self.active(user))

    def rewrite_history(self, user: str) -> None:
        """After an erasure or an import, the past is another one."""
        for _, told in self.past:
            told.pop(user, None)

    def everybody(self) -> list[Preference]:
        return [each for mine in self.kept.values() for each in mine.values()]


class Isolation(RuleBasedStateMachine):
    """Several users at once on one store, against the model."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.store = PreferenceStore(
            Path(self.folder.name), embeddings=DeterministicFakeEmbedding(size=4), layers=[LAYER]
        )
        self.model = Model()

    def teardown(self) -> None:
        self.store.close()
        self.folder.cleanup()

    @rule(user=users, text=texts, scope=st.sampled_from(["always", "relevant"]), expired=st.booleans())
    def add(self, user: str, text: str, scope: str, expired: bool) -> None:
        self.model.put(self.store.add(user, text, scope=scope, expires_at=PAST if expired else None, consolidate=False))  # type: ignore[arg-type]

    @rule(user=users, items=st.lists(texts, max_size=4))
    def add_many(self, user: str, items: list[str]) -> None:
        self.model.put(*self.store.add_many(user, items, consolidate=False))

    @precondition(lambda self: self.model.everybody())
    @rule(user=users, place=places, text=texts, forget=st.booleans())
    def touch_any_id(self, user: str, place: int, text: str, forget: bool) -> None:
        """Whoever's id it is: only who has it can change or forget it, and only their own."""
        everybody = self.model.everybody()
        id = everybody[place % len(everybody)].id
        act = self.store.forget if forget else lambda u, i: self.store.update(u, i, text=text)
        mine = self.model.kept[user].get(id)
        if mine is None or mine.forgotten_at is not None:
            try:
                act(user, id)
            except PreferenceNotFoundError:
                return
            raise AssertionError
        result = act(user, id)
        if forget:
            assert result == mine
            self.model.forget(user, id)
        else:
            self.model.put(result)

    @rule(text=texts, scope=st.sampled_from(["always", "relevant"]), locked=st.booleans())
    def share(self, text: str, scope: str, locked: bool) -> None:
        self.model.put(self.store.shared(LAYER).add(text, scope=scope, locked=locked, consolidate=False))

    @precondition(lambda self: self.model.everybody())
    @rule(user=users, place=places)
    def undo_and_read_history_of_any_id(self, user: str, place: int) -> None:
        everybody = self.model.everybody()
        id = everybody[place % len(everybody)].id
        if id not in self.model.kept[user]:
            for act in (self.store.history, self.store.undo, self.store.get):
                try:
                    act(user, id)
                except PreferenceNotFoundError:
                    continue
                raise AssertionError
            return
        assert self.store.history(user, id)[0].kind == "added"
        try:
            restored = self.store.undo(user, id)
        except ConfigurationError:  # nothing but its addition is left
            return
        assert [each.id for each in restored] == [id]
        self.model.put(*restored)

    @rule()
    def remember(self) -> None:
        self.model.remember()

    @precondition(lambda self: self.model.past)
    @rule(user=users, place=places)
    def look_back(self, user: str, place: int) -> None:
        at, told = self.model.past[place % len(self.model.past)]
        then = self.store.list(user, as_of=at)
        assert {each.user_id for each in then} <= {user}
        if user in told:
            assert sorted((each.id, each.text) for each in then) == told[user]

    @rule(user=users, text=texts)
    def say_again(self, user: str, text: str) -> None:
        """The same words twice are one preference, and one of this user's."""
        first = self.store.add(user, text)
        again = self.store.add(user, text)
        assert again.id == first.id
        assert again.num_said == first.num_said + 1
        before = self.model.kept[user].get(first.id)
        assert before is None or before.is_active()
        self.model.put(again)

    @rule(user=users)
    def erase(self, user: str) -> None:
        assert self.store.erase(user) == len(self.model.kept[user])
        self.model.kept[user] = {}
        self.model.rewrite_history(user)

    @rule(giver=users, taker=users)
    def copy(self, giver: str, taker: str) -> None:
        file = io.StringIO()
        assert self.store.export(giver, file) == len(self.model.kept[giver])
        file.seek(0)
        assert self.store.import_(taker, file) == len(self.model.kept[giver])
        self.model.rewrite_history(taker)
        for each in [*self.model.kept[giver].values()]:
            known = self.model.kept[taker].get(each.id)
            if known is None or content(known) != content(each):
                self.model.put(each.model_copy(update={"user_id": taker}))

    @rule(user=users, query=texts)
    def find(self, user: str, query: str) -> None:
        active = {each.id for each in self.model.active(user)}
        found = self.store.search(user, query, k=1_000)
        assert {scored.preference.id for scored in found} == active
        assert {scored.preference.user_id for scored in found} <= {user}
        if not self.model.kept[Layer(LAYER).key]:
            with pytest.raises(ConfigurationError, match=LAYER):
                self.store.retrieve(user, query)
            return
        for scored in self.store.retrieve(user, query, k=1_000, min_relevance=None):
            owner = user if scored.layer == "user" else Layer(LAYER).key
            assert scored.layer in ("user", LAYER)
            assert scored.preference.user_id == owner
            assert scored.preference in self.model.active(owner)

    @invariant()
    def every_user_has_what_the_model_says(self) -> None:
        for user in USERS:
            expected = sorted(self.model.active(user), key=lambda each: (each.created_at, each.id))
            assert self.store.list(user) == expected
            assert self.store.count(user) == len(expected)
        shared = sorted(self.model.active(Layer(LAYER).key), key=lambda each: (each.created_at, each.id))
        assert self.store.shared(LAYER).list() == shared


TestIsolation = Isolation.TestCase
TestIsolation.settings = settings(
    # An example costs a second on a real store: no shrinking, the failing steps are printed and short enough.
    max_examples=12,
    stateful_step_count=20,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
