"""Said again, restated, contradicted, forgotten, expired, undone: one user's preferences over their life."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from langchain_core.language_models.fake_chat_models import FakeListChatModel
from langchain_core.runnables import RunnableLambda

from benchmarks.research.consolidation import judge_pairs, read_pairs
from la_agents.errors import ConfigurationError, InvalidPreferenceError, PreferenceNotFoundError
from la_agents.preferences.consolidation.chat import ChatModelConsolidator
from la_agents.preferences.consolidation.judging import CoreConsolidator, Judgement, KnownPreference
from la_agents.preferences.embedding.bundled import BundledEmbeddings
from la_agents.preferences.lifecycle import MAX_CHANGES
from la_agents.preferences.limits import Limits
from la_agents.preferences.preference import utc_now
from la_agents.preferences.store import PreferenceStore

PAIRS = Path(__file__).parents[2] / "data" / "preference_pairs.jsonl"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[PreferenceStore]:
    with PreferenceStore(tmp_path / "prefs") as store:
        yield store


class Told:
    """Judges as it is told: what a language model would say of these two texts."""

    def __init__(self, *relations: tuple[str, str, str]) -> None:
        self._relations = {(old, new): relation for old, new, relation in relations}

    def judge(self, new: str, known: Sequence[KnownPreference]) -> Sequence[Judgement]:
        related = [(each.id, self._relations.get((each.text, new))) for each in known]
        return [Judgement(id, relation, "as told") for id, relation in related if relation]  # type: ignore[arg-type]


LOUD, NOT_LOUD = "I hate loud restaurants.", "I don't like restaurants that are loud."


@pytest.fixture
def merging(tmp_path: Path) -> Iterator[PreferenceStore]:
    """A store that knows that the two say the same."""
    told = Told((LOUD, NOT_LOUD, "restated"), (NOT_LOUD, LOUD, "restated"))
    with PreferenceStore(tmp_path / "merging", consolidator=told) as store:
        yield store


def texts(store: PreferenceStore, **options: Any) -> list[str]:
    return [preference.text for preference in store.list("alice", **options)]


def kinds(store: PreferenceStore, id: str) -> list[str]:
    return [change.kind for change in store.history("alice", id)]


# Consolidation


def test_the_same_said_again_refreshes(store: PreferenceStore) -> None:
    first = store.add("alice", "I love Chinese food.")
    again = store.add("alice", "i love chinese food!", scope="always")
    assert (again.id, again.text, again.scope, again.num_said) == (first.id, "I love Chinese food.", "always", 2)
    assert again.updated_at > again.created_at == first.created_at
    assert store.list("alice") == [again]
    assert kinds(store, first.id) == ["added", "refreshed"]


def test_a_restatement_merges_and_keeps_the_fuller_wording(merging: PreferenceStore) -> None:
    first = merging.add("alice", LOUD, weight=2)
    merged = merging.add("alice", NOT_LOUD)
    assert (merged.id, merged.weight, merged.num_said) == (first.id, 2, 2)
    assert merged.text == NOT_LOUD
    assert merging.add("alice", "I hate loud restaurants.").text == merged.text
    assert merging.count("alice") == 1
    found = merging.search("alice", NOT_LOUD, k=1)[0]
    assert found.relevance == pytest.approx(1.0, abs=1e-3)  # the vector is the new wording's


def test_without_a_model_other_words_are_no_restatement(store: PreferenceStore) -> None:
    store.add("alice", LOUD)
    store.add("alice", NOT_LOUD)
    assert texts(store) == [LOUD, NOT_LOUD]
    (conflict,) = store.conflicts("alice")
    assert (conflict.older.text, conflict.newer.text) == (LOUD, NOT_LOUD)


def test_a_contradiction_supersedes_and_says_by_what(store: PreferenceStore) -> None:
    old = store.add("alice", "I love Chinese food.")
    new = store.add("alice", "I hate Chinese food.")
    assert store.list("alice") == [new]
    (gone,) = store.archive("alice")
    assert (gone.id, gone.state, gone.superseded_by) == (old.id, "superseded", new.id)
    change = store.history("alice", old.id)[-1]
    assert (change.kind, change.by, change.at) == ("superseded", new.id, new.created_at)
    assert "opposite" in change.why
    assert [s.preference.id for s in store.search("alice", "Chinese food")] == [new.id]


def test_independent_ones_stay(store: PreferenceStore) -> None:
    added = store.add_many("alice", ["I love Chinese food.", "I love Chinese films.", "I have two kids."])
    assert store.list("alice") == added


def test_without_consolidation_everything_stays(store: PreferenceStore) -> None:
    for text in ("I love Chinese food.", "I love Chinese food.", "I hate Chinese food."):
        store.add("alice", text, consolidate=False)
    assert store.count("alice") == 3
    store.add_many("alice", ["I love Chinese food."] * 2, consolidate=False)
    assert store.count("alice") == 5


def test_within_one_batch_later_items_win(store: PreferenceStore) -> None:
    love, again, hate = store.add_many(
        "alice", ["I love Chinese food.", "I love Chinese food!", "I hate Chinese food."]
    )
    assert love.id == again.id
    assert love.state == "superseded"
    assert store.list("alice") == [hate]


def test_users_are_consolidated_apart(store: PreferenceStore) -> None:
    hers = store.add("alice", "I love Chinese food.")
    store.add("bob", "I hate Chinese food.")
    store.add("bob", "I love Chinese food.")
    assert store.list("alice") == [hers]


@pytest.mark.parametrize("weaker_first", [True, False])
def test_explicit_beats_inferred_in_whatever_order(store: PreferenceStore, weaker_first: bool) -> None:
    says, does = ("I love Chinese food.", {}), ("I hate Chinese food.", {"source": "inferred", "confidence": 0.6})
    for text, options in (does, says) if weaker_first else (says, does):
        store.add("alice", text, **options)  # type: ignore[arg-type]
    assert texts(store) == ["I love Chinese food."]
    (other,) = store.archive("alice") if weaker_first else store.proposals.list("alice")
    assert (other.text, other.source, other.confidence) == (does[0], "inferred", 0.6)
    assert other.state == ("superseded" if weaker_first else "pending")


def test_what_is_inferred_does_not_rewrite_what_was_said(merging: PreferenceStore) -> None:
    said = merging.add("alice", LOUD, weight=2)
    assert merging.add("alice", NOT_LOUD, source="inferred", weight=0.5) == said
    assert merging.add("alice", LOUD, source="inferred", weight=0.5) == said
    assert merging.list("alice") == [said]


@pytest.mark.parametrize(("name", "contradictions"), [("preference_pairs.jsonl", 0.35), ("independent_pairs.jsonl", 0)])
def test_the_default_replaces_nothing_wrongly_on_the_labelled_pairs(name: str, contradictions: float) -> None:
    pairs = read_pairs(PAIRS.with_name(name))
    turned = [replace(pair, old=pair.new, new=pair.old) for pair in pairs if pair.label == "independent"]
    report = judge_pairs([*pairs, *turned], CoreConsolidator(), BundledEmbeddings()).report()
    assert report["num_pairs"] > 300
    assert report["wrongly_replaced"] == 0.0
    assert report["merge_precision"] == report["contradiction_precision"] == 1.0
    assert report["contradiction_recall"] > contradictions


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("Ich mag Fleisch.", "Ich mag kein Fleisch."),
        ("肉が好きです", "肉が嫌いです"),
        ("Me gusta el té.", "Me gusta el té verde."),
        ("Me gusta el té.", "No me gusta el té."),
    ],
)
def test_other_languages_are_left_alone(old: str, new: str) -> None:
    known = [KnownPreference("a", old, 0.97)]
    assert CoreConsolidator().judge(new, known) == []
    assert CoreConsolidator().judge(f" {old.upper()} ", known) == [Judgement("a", "same", "the same words")]


# The consolidator is yours to choose


class Everything:
    """Judges everything as contradicting, so that it is seen to be asked."""

    def judge(self, new: str, known: Sequence[KnownPreference]) -> Sequence[Judgement]:
        return [Judgement(each.id, "contradicts", "as told") for each in known]


def test_a_consolidator_of_ones_own(tmp_path: Path) -> None:
    with PreferenceStore(tmp_path, consolidator=Everything()) as store:
        first = store.add("alice", "I like tea in winter.")
        store.add("alice", "I like tea in winter mornings.")
        assert store.history("alice", first.id)[-1].why == "as told"


def ask(answer: str) -> Sequence[Judgement]:
    known = [KnownPreference("a", "Me gusta el té.", 0.8), KnownPreference("b", "Far away.", 0.1)]
    return ChatModelConsolidator(FakeListChatModel(responses=[answer])).judge("No me gusta el té.", known)


def test_a_chat_model_judges() -> None:
    answer = 'Here:\n```json\n{"judgements": [{"number": 1, "relation": "contradicts", "why": "no"}]}\n```'
    assert ask(answer) == [Judgement("a", "contradicts", "no")]
    assert ask('{"judgements": [{"number": 1, "relation": "independent"}]}') == []


@pytest.mark.parametrize(
    "answer",
    [
        '{"number": 1, "relation": "contradicts", "why": "no"}',
        '[{"number": 1.0, "relation": " Contradicts", "why": "no"}]',
        '<think>Is [1] {the same}?</think>[{"number": "1", "relation": "contradicts", "why": "no"}]',
    ],
)
def test_a_chat_model_may_be_a_little_off(answer: str) -> None:
    assert ask(answer) == [Judgement("a", "contradicts", "no")]


def test_a_chat_model_may_find_nothing_related() -> None:
    assert ask("[]") == []


MALFORMED = [
    "",
    "[1]",
    "I cannot",
    "{",
    "[" * 5_000,
    "null",
    '{"judgements": null}',
    '[{"number": 2, "relation": "same"}]',
    '[{"number": 0, "relation": "same"}]',
    '[{"number": 1, "relation": "x"}]',
    '[{"number": 1}]',
    '[{"number": 1, "relation": "same"}, {"number": 1, "relation": "contradicts"}]',
]


@pytest.mark.parametrize("answer", MALFORMED)
def test_a_malformed_answer_of_a_chat_model_keeps_both(
    answer: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    model = FakeListChatModel(responses=[answer])
    with PreferenceStore(tmp_path, consolidator=ChatModelConsolidator(model)) as store:
        store.add("alice", "I like green tea.")
        store.add("alice", "I like black tea.")
        assert texts(store) == ["I like green tea.", "I like black tea."]
    assert "both stay" in caplog.text
    assert "tea" not in caplog.text


def test_a_chat_model_that_fails_keeps_both(tmp_path: Path) -> None:
    class Broken(FakeListChatModel):
        def _call(self, *args: Any, **kwargs: Any) -> str:
            msg = "no connection"
            raise ConnectionError(msg)

    with PreferenceStore(tmp_path, consolidator=ChatModelConsolidator(Broken(responses=[]))) as store:
        store.add_many("alice", ["I like green tea.", "I like black tea."])
        assert store.count("alice") == 2


class Structured(FakeListChatModel):
    """A chat model with structured output, which gives what it is told to, and notes what it was asked."""

    answers: list[Any]
    asked: list[Any] = []  # noqa: RUF012  # pydantic copies it

    def with_structured_output(self, schema: Any, **kwargs: Any) -> Any:
        def answer(messages: Any) -> Any:
            self.asked.append(messages[1][1])
            found = self.answers[len(self.asked) - 1]
            return schema.model_validate(found) if isinstance(found, dict) else found

        return RunnableLambda(answer)


@pytest.mark.parametrize("answers", [[{"judgements": [{"number": 1, "relation": "contradicts"}]}], [None], [{"x": 1}]])
def test_structured_output_is_used_where_there_is_any(tmp_path: Path, answers: list[Any]) -> None:
    model = Structured(responses=[], answers=answers)
    with PreferenceStore(tmp_path, consolidator=ChatModelConsolidator(model)) as store:
        store.add("alice", "Me gusta el té.")
        store.add("alice", "El té no me gusta nada.")
        assert len(model.asked) == 1
        is_judged = isinstance(answers[0], dict) and "judgements" in answers[0]
        assert texts(store) == ["Me gusta el té."] * (not is_judged) + ["El té no me gusta nada."]


def test_several_are_judged_at_once_each_with_those_before_it(tmp_path: Path) -> None:
    model = Structured(responses=[], answers=[{"judgements": []}] * 3)
    with PreferenceStore(tmp_path, consolidator=ChatModelConsolidator(model, min_similarity=-1)) as store:
        store.add_many("alice", ["I like tea.", "I like coffee.", "I like milk."])
        assert sorted(len(json.loads(asked)["KNOWN"]) for asked in model.asked) == [1, 2]
        store.add("alice", "I like tea!")  # the same words are not asked about, only what else they contradict
        assert sorted(json.loads(model.asked[2])["KNOWN"].values()) == ["I like coffee.", "I like milk."]


def test_a_judgement_is_about_all_in_the_same_words(tmp_path: Path) -> None:
    class Opposed:
        def judge(self, new: str, known: Sequence[KnownPreference]) -> Sequence[Judgement]:
            return [Judgement(each.id, "contradicts", "as told") for each in known if "té" in each.text]

    with PreferenceStore(tmp_path, consolidator=Opposed()) as store:
        store.add_many("alice", ["Me gusta el té.", "me gusta el té"] * 30, consolidate=False)
        store.add("alice", "Odio las infusiones.")
        assert texts(store) == ["Odio las infusiones."]


def test_what_a_judge_makes_up_is_passed_over(tmp_path: Path) -> None:
    class Dreaming:
        def judge(self, new: str, known: Sequence[KnownPreference]) -> Sequence[Judgement]:
            return [Judgement("nobody", "contradicts", ""), *(Judgement(each.id, "unsure", "") for each in known)]  # type: ignore[arg-type]

    with PreferenceStore(tmp_path, consolidator=Dreaming()) as store:
        store.add_many("alice", ["I like green tea.", "I like black tea."])
        assert store.count("alice") == 2


@pytest.mark.parametrize("said", [None, (), 5 * [None], [{"id": "a", "relation": "same"}], "contradicts"])
@pytest.mark.parametrize("is_batch", [True, False])
def test_a_judge_that_says_nothing_of_the_form_loses_nothing(tmp_path: Path, said: Any, is_batch: bool) -> None:
    class Mumbling:
        def judge(self, new: str, known: Sequence[KnownPreference]) -> Any:
            return said

    class MumblingOfMany(Mumbling):
        def judge_many(self, cases: Sequence[Any]) -> Any:
            return said if said is None else [said]

    with PreferenceStore(tmp_path, consolidator=MumblingOfMany() if is_batch else Mumbling()) as store:
        for text in ("I like tea.", "I loathe any tea.", "I ski."):
            assert store.add("alice", text).state == "active"
        assert len(store.add_many("alice", ["I swim.", "I run."])) == 2
        assert store.count("alice") == 5


def test_a_reason_that_is_missing_is_none(tmp_path: Path) -> None:
    class Terse:
        def judge(self, new: str, known: Sequence[KnownPreference]) -> Sequence[Judgement]:
            return [Judgement(each.id, "contradicts", None) for each in known]  # type: ignore[arg-type]

    with PreferenceStore(tmp_path, consolidator=Terse()) as store:
        old, new = store.add("alice", "I like tea."), store.add("alice", "I loathe any tea.")
        assert (store.get("alice", old.id).superseded_by, store.history("alice", old.id)[-1].why) == (new.id, "")


def test_a_chat_model_is_not_asked_in_vain() -> None:
    model = ChatModelConsolidator(FakeListChatModel(responses=["nonsense"]))
    assert model.judge("I ski.", [KnownPreference("a", "Be brief.", 0.1)]) == []


# Undo


def test_undo_brings_back_what_was_superseded_from_either_side(store: PreferenceStore) -> None:
    for side in (0, 1):
        old = store.add("alice", "I love Chinese food.")
        new = store.add("alice", "I hate Chinese food.")
        (back,) = store.undo("alice", (old, new)[side].id)
        assert (back.id, back.state, back.superseded_by) == (old.id, "active", None)
        assert texts(store) == ["I love Chinese food.", "I hate Chinese food."]
        assert kinds(store, old.id) == ["added", "superseded", "undone"]
        assert store.history("alice", old.id)[1].undone
        store.erase("alice")


def test_undo_of_a_merge_makes_two(merging: PreferenceStore) -> None:
    first = merging.add("alice", LOUD)
    merging.add("alice", NOT_LOUD)
    merging.undo("alice", first.id)
    assert texts(merging) == [LOUD, NOT_LOUD]
    assert merging.get("alice", first.id).num_said == 1


def test_undo_of_a_merge_that_kept_the_old_wording_loses_nothing(merging: PreferenceStore) -> None:
    first = merging.add("alice", NOT_LOUD)
    assert merging.add("alice", LOUD).text == first.text
    merging.undo("alice", first.id)
    assert texts(merging) == [NOT_LOUD, LOUD]


def test_undo_goes_back_step_by_step_and_stops_at_the_addition(store: PreferenceStore) -> None:
    id = store.add("alice", "I ski.").id
    store.update("alice", id, text="I sail.")
    store.update("alice", id, weight=3)
    store.forget("alice", id)
    seen = []
    for _ in range(3):
        (now,) = store.undo("alice", id)
        seen.append((now.text, now.weight, now.state))
    assert seen == [("I sail.", 3, "active"), ("I sail.", 1, "active"), ("I ski.", 1, "active")]
    assert store.search("alice", "I ski.", k=1)[0].relevance == pytest.approx(1.0, abs=1e-3)
    with pytest.raises(ConfigurationError, match="change to undo"):
        store.undo("alice", id)


def test_what_was_forgotten_can_be_seen_but_not_changed(store: PreferenceStore) -> None:
    id = store.add("alice", "I ski.").id
    store.forget("alice", id)
    assert (store.get("alice", id).state, store.list("alice"), store.count("alice")) == ("forgotten", [], 0)
    for call in (lambda: store.update("alice", id, weight=2), lambda: store.forget("alice", id)):
        with pytest.raises(PreferenceNotFoundError, match="forgotten"):
            call()
    assert store.add("alice", "I ski.").id != id  # not brought back by being said again: that is another one


def test_nobody_elses_history(store: PreferenceStore) -> None:
    id = store.add("alice", "I ski.").id
    store.update("alice", id, weight=2)
    for call in (store.history, store.undo):
        with pytest.raises(PreferenceNotFoundError):
            call("bob", id)
    assert store.get("alice", id).weight == 2


def test_the_history_is_bounded_and_keeps_the_addition(store: PreferenceStore) -> None:
    id = store.add("alice", "Be brief.").id
    for n in range(MAX_CHANGES + 5):
        store.update("alice", id, metadata={"n": n})
    history = store.history("alice", id)
    assert len(history) == MAX_CHANGES
    assert history[0].kind == "added"
    assert history[-1].before["metadata"] == {"n": MAX_CHANGES + 3}


# Time


def test_expired_ones_are_a_state(store: PreferenceStore) -> None:
    past = datetime(2020, 1, 1, tzinfo=timezone.utc)
    expired = store.add("alice", "I hate Chinese food.", expires_at=past)
    assert expired.state == "expired"
    assert store.archive("alice") == [expired]
    kept = store.add("alice", "I love Chinese food.")
    assert store.get("alice", expired.id).state == "expired"  # what does not apply cannot be contradicted
    assert store.list("alice") == [kept]


def test_weight_halves_with_every_half_life(store: PreferenceStore) -> None:
    added = store.add("alice", "I ski.", weight=2, half_life_days=10, source="inferred")
    at = added.updated_at
    assert added.effective_weight(at) == 2
    assert added.effective_weight(at + timedelta(days=10)) == pytest.approx(1)
    assert added.effective_weight(at + timedelta(days=30)) == pytest.approx(0.25)
    assert store.retrieve("alice", "skiing")[0].weight == pytest.approx(2, rel=1e-3)
    assert store.add("alice", "I sail.").effective_weight(at + timedelta(days=999)) == 1


@pytest.mark.parametrize("bad", [{"confidence": 1.1}, {"confidence": -1}, {"half_life_days": 0}, {"source": "rumour"}])
def test_what_is_out_of_range_is_refused(store: PreferenceStore, bad: dict[str, Any]) -> None:
    with pytest.raises(InvalidPreferenceError, match=next(iter(bad))):
        store.add("alice", "I ski.", **bad)


def test_as_of_reads_the_memory_as_it_was(store: PreferenceStore) -> None:
    before = utc_now()
    love = store.add("alice", "I love Chinese food.")
    store.update("alice", store.add("alice", "I ski.").id, text="I sail boats.")
    ski = utc_now()
    store.add("alice", "I hate Chinese food.")
    store.forget("alice", store.list("alice")[0].id)
    assert texts(store, as_of=before) == []
    assert texts(store, as_of=love.created_at) == ["I love Chinese food."]
    assert texts(store, as_of=ski) == ["I love Chinese food.", "I sail boats."]
    assert texts(store) == texts(store, as_of=utc_now()) == ["I hate Chinese food."]
    found = store.search("alice", "I love Chinese food.", k=1, as_of=ski)[0]
    assert found.relevance == pytest.approx(1, abs=1e-3)
    assert store.retrieve("alice", "Chinese food", as_of=before) == []
    with pytest.raises(ConfigurationError, match="time zone"):
        store.list("alice", as_of=datetime(2030, 1, 1))


# Limits


def test_a_user_can_store_so_much_and_no_more(tmp_path: Path) -> None:
    limits = Limits(max_records=3, max_weight=2, max_total_weight=4)
    with PreferenceStore(tmp_path, limits=limits) as store:
        with pytest.raises(InvalidPreferenceError, match="weight: Expected at most 2, got 3"):
            store.add("alice", "I ski.", weight=3)
        first = store.add("alice", "I ski.", weight=2)
        with pytest.raises(InvalidPreferenceError, match="at most 2"):
            store.update("alice", first.id, weight=2.5)
        store.add("alice", "No nuts please.", weight=2)
        with pytest.raises(InvalidPreferenceError, match="total weight"):
            store.add("alice", "Be brief.", weight=0.5)
        store.add("alice", "Be brief.", weight=0)
        with pytest.raises(InvalidPreferenceError, match="at most 3 preferences"):
            store.add("alice", "I have two cats.", weight=0)
        assert store.count("alice") == 3
        store.add("alice", "I ski!", weight=0.1)  # said again: no record more
        store.add("bob", "I ski.")
    with pytest.raises(ConfigurationError, match="above 0"):
        Limits(max_records=0)


def test_export_and_import_keep_the_history(store: PreferenceStore, tmp_path: Path) -> None:
    old = store.add("alice", "I love Chinese food.")
    store.add("alice", "I hate Chinese food.")
    file = tmp_path / "a.jsonl"
    assert store.export("alice", file) == 2
    assert all(json.loads(line)["version"] == 1 for line in file.read_text().splitlines())
    history, archive, active = store.history("alice", old.id), store.archive("alice"), store.list("alice")
    assert store.erase("alice") == 2
    assert store.import_("alice", file) == 2
    assert (store.history("alice", old.id), store.archive("alice"), store.list("alice")) == (history, archive, active)


def test_what_is_said_again_still_supersedes_what_it_contradicts(store: PreferenceStore) -> None:
    """An undo, or two processes at once, left both; saying either again settles it."""
    love = store.add("alice", "I love Chinese food.")
    hate = store.add("alice", "I hate Chinese food.")
    store.undo("alice", love.id)
    assert len(store.list("alice")) == 2
    again = store.add("alice", "I hate Chinese food.")
    assert (again.id, again.num_said) == (hate.id, 2)
    assert store.list("alice") == [again]
    assert store.get("alice", love.id).superseded_by == hate.id


def test_what_was_inferred_and_is_now_said_has_no_doubt_left(store: PreferenceStore) -> None:
    soon = utc_now() + timedelta(hours=1)
    store.add("alice", "I like jazz.", source="inferred", confidence=0.5, half_life_days=30, expires_at=soon)
    said = store.add("alice", "I like jazz.")
    assert (said.source, said.confidence, said.half_life_days, said.expires_at) == ("explicit", 1.0, None, None)
    inferred = store.add("alice", "I like jazz.", source="inferred", half_life_days=1)
    assert (inferred.source, inferred.half_life_days) == ("explicit", None)


def test_the_weight_of_the_past_is_the_weight_that_it_had(store: PreferenceStore) -> None:
    then = store.add("alice", "I like jazz.", scope="always", half_life_days=1e-6).updated_at  # a tenth of a second
    time.sleep(0.5)
    (past,) = store.retrieve("alice", "Which music?", as_of=then)
    (now,) = store.retrieve("alice", "Which music?")
    assert past.weight > 0.5 > now.weight
    with pytest.raises(ConfigurationError, match="as_of"):
        store.list("alice", as_of="2024-01-01")  # type: ignore[arg-type]


def test_limits_hold_for_updates_and_undoing(tmp_path: Path) -> None:
    with PreferenceStore(tmp_path, limits=Limits(max_total_weight=3)) as store:
        one = store.add("alice", "I ski.", weight=2)
        store.add("alice", "I am vegetarian.")
        with pytest.raises(InvalidPreferenceError, match="total weight"):
            store.update("alice", one.id, weight=2.5)
        store.forget("alice", one.id)
        store.add("alice", "I play the piano.", weight=2)
        with pytest.raises(InvalidPreferenceError, match="total weight"):
            store.undo("alice", one.id)
        assert sum(each.weight for each in store.list("alice")) == 3
    for bad in (float("nan"), 0.0):
        with pytest.raises(ConfigurationError, match="limits"):
            Limits(max_weight=bad)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ({"half_life_days": -1}, r"half_life_days: Expected it to be greater than 0, got -1\."),
        ({"expires_at": datetime(2030, 1, 1)}, r"expires_at: Expected it to have timezone info, got datetime"),
        ({"foo": 1}, r"foo: Expected one of the fields text, scope, .*; leave it out\."),
        ({"scope": "x" * 100}, r"scope: .*got str\."),
    ],
)
def test_a_message_says_what_came(store: PreferenceStore, text: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidPreferenceError, match=message):
        store.add_many("alice", [{"text": "I ski.", **text}])
