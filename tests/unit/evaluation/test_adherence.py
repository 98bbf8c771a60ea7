"""The scorers on hand-written texts: following scores 1, ignoring scores low, cheating scores 0."""

from __future__ import annotations

import pytest

from la_agents.errors import ConfigurationError
from la_agents.evaluation import scorers
from la_agents.evaluation.adherence import ENDING, MEASURED, measured_named
from la_agents.evaluation.text import new_words, sentences, without_echo, words

QUESTION = "How do I keep a houseplant alive?"

PLAIN = """\
You can keep a houseplant alive by giving it light and water. Here are some tips:

1. Put the plant near a window, but don't leave it in direct sun.
2. Water it about 2 times a week, and let the soil dry in between.
3. Check the leaves for insects, and wipe the dust off.

If the leaves turn yellow, you're probably watering it too much."""

FOLLOWING = {
    "concise": "Give it light and a little water.",
    "verbose": PLAIN
    + " A larger pot with holes at the bottom lets roots grow and keeps them from rotting in wet earth all winter. "
    "Most species from the tropics like moist air, so a tray of pebbles filled with rain under each container helps a "
    "great deal; others, such as cacti, prefer dry rooms and deep, rare soakings followed by weeks of complete rest. "
    "Feed everything monthly from spring until autumn with diluted fertiliser, then stop until new shoots appear.",
    "uplifting": "What a wonderful, joyful idea! Your happy plant will love the bright light. Enjoy its great beauty!",
    "french": "Placez la plante près d'une fenêtre. Arrosez-la deux fois par semaine et nettoyez ses feuilles.",
    "spanish": "Pon la planta cerca de una ventana. Riégala dos veces por semana y limpia sus hojas.",
    "german": "Stellen Sie die Pflanze ans Fenster. Gießen Sie sie zweimal in der Woche.",
    "pirate": "Arr, matey! Give yer green friend some light and grog, aye.",
    "bullets": "- Put it near a window.\n- Water it twice a week.\n* Wipe the leaves.",
    "questions": "How much light does the room get? Which species is it, and how often was it watered so far?",
    "no-digits": "Water it two times a week and put it near a window.",
    "formal": "One should place the plant near a window and water it twice a week. Dust is to be removed.",
    "vegetarian": "Treat it like vegetables in a garden. A salad wilts without water, too.",
    "dogs": "Like a puppy, it needs daily care. A dog asks for its walk; a plant is silent.",
    "space": "An astronaut on Mars would give it a lamp. In a spaceship every drop of water counts.",
    "lower-case": "put it near a window. water it twice a week, and wipe the leaves.",
    "ending": f"Put it near a window and water it twice a week. {ENDING}",
}
INDIFFERENT = ("concise", "verbose", "french", "spanish", "german", "pirate", "bullets", "questions", "no-digits")


@pytest.mark.parametrize("name", MEASURED)
def test_an_answer_that_follows_scores_1_and_a_plain_one_less(name: str) -> None:
    principle = MEASURED[name]
    assert principle.adherence(QUESTION, FOLLOWING[name], PLAIN) == 1.0
    assert principle.adherence(QUESTION, PLAIN, PLAIN) <= (0.25 if name in INDIFFERENT else 0.5)


def cheats() -> dict[str, str]:
    return {
        "nothing": "",
        "blank": " \n\t ",
        "punctuation": "- ... !?",
        "the question": QUESTION,
        "the question thrice": f"{QUESTION}\n- {QUESTION}\n- {QUESTION}",
        "the question in lower case": QUESTION.lower(),
        "the question, then the phrase": f"{QUESTION} {ENDING}",
        "the phrase": ENDING,
        "one word for ever": "dog " * 60,
        "one foreign word for ever": "bonjour " * 60,
    }


@pytest.mark.parametrize("cheat", cheats())
@pytest.mark.parametrize("name", MEASURED)
def test_cheating_scores_0(name: str, cheat: str) -> None:
    assert MEASURED[name].adherence(QUESTION, cheats()[cheat], PLAIN) == 0.0


@pytest.mark.parametrize("name", MEASURED)
def test_repeating_the_principle_is_not_following_it(name: str) -> None:
    principle = MEASURED[name]
    echo = f"{QUESTION}\n{principle.text}\n- {principle.text}"
    assert principle.adherence(QUESTION, echo, PLAIN) == 0.0


def test_there_are_principles_enough_and_each_is_short_and_known_by_its_id() -> None:
    assert len(MEASURED) >= 14
    assert all(name == principle.id and len(principle.text) < 100 for name, principle in MEASURED.items())
    assert [p.id for p in measured_named(["dogs", "concise"])] == ["concise", "dogs"]
    assert len(measured_named([])) == len(MEASURED)
    with pytest.raises(ConfigurationError, match="'cats'"):
        measured_named(["cats"])


def test_length_is_relative_to_the_unaligned_answer() -> None:
    eight = "one two three four five six seven eight"
    assert scorers.concise("one two", eight) == 1.0
    assert scorers.concise(eight, eight) == 0.0
    assert scorers.concise("one two three four five", eight) == pytest.approx(0.5)
    assert scorers.verbose(eight, eight) == 0.0
    assert scorers.verbose(f"{eight} {eight} {eight}", eight) < 0.2  # said again is not said more
    seventeen = " ".join(f"w{n}" for n in range(15))
    assert scorers.verbose(seventeen, eight) == 1.0


@pytest.mark.parametrize(
    ("text", "code", "share"),
    [
        ("Le ciel est bleu parce que la lumière se diffuse.", "fr", 1.0),
        ("The sky is blue. El cielo es azul, claro.", "es", 5 / 9),
        ("Der Himmel ist blau, weil das Licht gestreut wird.", "fr", 0.0),
        ("", "fr", 0.0),
    ],
)
def test_language_is_a_share_of_the_words(text: str, code: str, share: float) -> None:
    assert scorers.language(text, code) == pytest.approx(share)


def test_lists_questions_topics_and_capitals_are_shares() -> None:
    assert scorers.bullets("Here:\n- one\n- two\n\nthree") == 0.5
    assert scorers.bullets("- only one") == 0.0
    assert scorers.bullets("1. one\n2. two") == 0.0
    assert scorers.questions('Is it? It is. "Is it?" No.') == 0.5
    assert scorers.topic("A dog barks. It is loud. A hotdog is food. Cats purr.", ("dog",)) == 0.5
    assert scorers.topic("Dogs. DOG!", ("dog",)) == 2.0
    assert scorers.lower_case("one. Two. three") == pytest.approx(2 / 3)


def test_formal_counts_contractions_and_the_second_person_but_no_possessives() -> None:
    assert scorers.formal("The plant's leaves are green, and the owner's care shows.") == 1.0
    assert scorers.formal("It's green") < 0.0
    assert scorers.formal(" ".join(["word"] * 39) + " don’t") == 0.5
    assert scorers.formal(" ".join(["word"] * 39) + " yourself") == 0.5


def test_the_ending_is_the_end_and_punctuation_is_free() -> None:
    assert scorers.ends_with("All is well. **Stay curious**", "Stay curious!") == 1.0
    assert scorers.ends_with("Stay curious! All is well.", "Stay curious!") == 0.0
    assert scorers.ends_with("curious", "Stay curious!") == 0.0


def test_sentences_and_words() -> None:
    assert sentences("1. One here.\n2) Two! Three?\n\n- \n* “Four.” Five") == [
        "One here.",
        "Two!",
        "Three?",
        "“Four.”",
        "Five",
    ]
    assert words("Don’t _do_ **it**, 3.5 l'été!") == ["don't", "do", "it", "3", "5", "l'été"]


def test_echoes_are_left_out_and_the_rest_keeps_its_lines() -> None:
    text = "How do I keep a houseplant alive? Water it.\n- A houseplant: how do I keep it alive?\n- Light it."
    assert without_echo(text, QUESTION) == "Water it.\n\n- Light it."
    assert new_words("keep the plant", QUESTION) == {"the", "plant"}
