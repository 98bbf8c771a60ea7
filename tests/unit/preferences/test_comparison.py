"""How two preferences relate by the rules: each kind of pair that must not be taken for one, and those that must."""

from __future__ import annotations

import pytest

from la_agents.preferences.rules.comparison import relate
from la_agents.preferences.rules.statements import letters, read_statement

ALIKE = 0.95  # the embedding says that it is the same; the rules have to know better

NARROWER = [
    ("I'm allergic to goat milk.", "I'm allergic to milk."),
    ("I don't eat rice.", "I don't eat brown rice."),
    ("Use tables in reports.", "Use tables."),
    ("I don't drink coffee on Sundays.", "I don't drink coffee."),
    ("I play hockey.", "I play ice hockey."),
    ("I like white tea with dark bread.", "I like black tea with dark bread."),
]
SYMBOLS = [
    ("Show lengths in °C.", "Show lengths in °F."),
    ("I write C.", "I write C#."),
    ("Quote with a '\"'.", "Quote with a '`'."),
    ("I love 🍎.", "I love 🍌."),
]
PARTLY = [
    ("I don't eat bread.", "I don't always eat bread."),
    ("Don't show tables.", "Don't only show tables."),
    ("Use two quotes.", "Use no more than two quotes."),
    ("I don't hate opera.", "I love opera."),
]
LACKING = [
    ("I don't have a boat.", "I love boats."),
    ("I have no oven.", "I need an oven."),
    ("I can't sing.", "I love singing."),
    ("I've never been to Peru.", "I like Peru."),
    ("I don't want a horse.", "I love horses."),
    ("I have a horse.", "I want a horse."),
    ("I'm not vegetarian.", "I love vegetarian food."),
]
BOTH_POLES = [
    ("I like hot soup.", "I like cold soup."),
    ("I enjoy modern dance.", "I enjoy classic dance."),
    ("I eat sweet pancakes.", "I eat savory pancakes."),
    ("I like coffee with milk.", "I like coffee without milk."),
]
SOMEBODY_ELSE = [
    ("My boss hates long calls.", "I like long calls."),
    ("Our customers want formal letters.", "I don't want formal letters."),
    ("The kids don't like soup.", "I like soup."),
    ("Maria loves opera.", "I hate opera."),
    ("She likes opera.", "I don't like opera."),
    ("I love my wife.", "My wife loves me."),
]
EXCEPTIONS = [
    ("I like tea.", "I don't like tea with lemon."),
    ("I love Greek islands.", "I hate Greek islands in July."),
    ("I dislike iced tea.", "I like iced tea in summer."),
    ("I eat fish but no meat.", "I eat fish."),
    ("Use tabs instead of spaces.", "Don't use tabs."),
]
NO_VALUES = [
    ("I live in Porto.", "I moved to Firefox."),
    ("I live in Porto.", "I live in constant noise."),
    ("Call me Kim.", "Call me naive, but I trust people."),
    ("My doctor is Eva Lind.", "My doctor is rather slow."),
    ("My boss is Omar.", "My boss is Swedish."),
    ("My budget is 300 euros.", "My budget is flexible."),
    ("My budget is 300 euros per month.", "My budget is 900 euros per year."),
    ("My favourite sport is rugby.", "My favourite sport is expensive."),
    ("My favourite colours are red and blue.", "My favourite colours are blue and green."),
    ("I study history.", "I study hard."),
    ("Answer in Dutch.", "Use French for all product names."),
    ("Give examples in Python.", "Give examples in tables."),
]
NAMES_WITH_NUMBERS = [
    ("I like Rocky 2.", "I like Rocky 3."),
    ("I use Windows 10.", "I use Windows 11."),
    ("I have a meeting at 3.", "I have a meeting at 4."),
]
ELSEWHERE = [
    ("Ich will keinen Käse.", "Ich will Käse."),
    ("No me gusta el arroz negro.", "No me gusta el arroz blanco."),
    ("No bebo leche de vaca.", "No bebo leche de cabra."),
    ("Ik wil thee of water.", "Ik wil geen thee of water."),
]

FOUND_BY_TRYING = [
    # Another time
    ("I walk the dog before work.", "I walk the dog after work."),
    ("I take my evening pills with water.", "I take my morning pills with water."),
    ("Send me the news in the morning.", "Send me the news in the evening."),
    ("Show units before numbers.", "Show units after numbers."),
    # Both poles of something owned or asked for
    ("I like my morning walks.", "I like my evening walks."),
    ("I want formal shoes.", "I want informal shoes."),
    ("Suggest indoor games.", "Suggest outdoor games."),
    # Too much of it
    ("I don't like too much garlic in my food.", "I like garlic in my food."),
    ("Avoid too many emojis.", "Use emojis."),
    ("I don't like all vegetables.", "I like vegetables."),
    # What is done and what it is done to
    ("I don't want to be a doctor.", "I want a doctor."),
    ("I like to be cooked for.", "I don't like to cook."),
    ("I don't like to give speeches.", "I like speeches."),
    ("I don't like being filmed.", "I like films."),
    ("I love grilled fish.", "I don't like grilling fish."),
    ("I love training.", "I hate trains."),
    ("I hate flies.", "I love flying."),
    # Being one and having one
    ("I have a teacher.", "I am a teacher."),
    ("I don't have a doctor.", "I am a doctor."),
    # What was
    ("I was a nurse.", "I am a nurse."),
    ("I was married.", "I am not married."),
    ("I smoked.", "I don't smoke."),
    # Another relation, another verb
    ("Write to Anna weekly.", "Write about Anna weekly."),
    ("I like sitting out of the sun.", "I like sitting in the sun."),
    ("Use your name.", "Use my name."),
    ("I like eating out.", "I don't like eating."),
    ("I like to sleep in.", "I don't like to sleep."),
    ("I work out on Mondays.", "I don't work on Mondays."),
    # Words that elsewhere say little
    ("I like fine dining.", "I don't like dining."),
    ("I use skip lists.", "I use lists."),
    # Parts of places and of names
    ("I live in Berlin.", "We moved to Jira."),
    ("I live in Oregon.", "I live in Portland."),
    ("My name is Alexander.", "Call me Alex."),
    # Names that are words
    ("I like apple.", "I don't like Apple."),
    ("I love turkey.", "I don't like Turkey."),
    # Numbers of different things
    ("I have 1 cat and 2 dogs.", "I have 2 cats and 1 dog."),
]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        *NARROWER,
        *SYMBOLS,
        *PARTLY,
        *LACKING,
        *BOTH_POLES,
        *SOMEBODY_ELSE,
        *EXCEPTIONS,
        *NO_VALUES,
        *NAMES_WITH_NUMBERS,
        *ELSEWHERE,
        *FOUND_BY_TRYING,
    ],
)
def test_both_stay(one: str, other: str) -> None:
    assert relate(one, other, ALIKE)[0] == "independent"


@pytest.mark.parametrize(
    ("one", "other"), [*NARROWER, *SYMBOLS, *LACKING, *BOTH_POLES, *SOMEBODY_ELSE, *NO_VALUES, *FOUND_BY_TRYING]
)
def test_both_stay_whichever_was_first(one: str, other: str) -> None:
    assert relate(other, one, ALIKE)[0] == "independent"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("Use commas, not semicolons.", "Use semicolons, not commas."),
        ("I eat fish but no meat.", "I eat meat but no fish."),
        ("Give the year then the month.", "Give the month then the year."),
        ("I prefer lakes to rivers.", "I'd rather go to a river than to a lake."),
        ("I'm allergic to soy.", "I'm not allergic to soy after all."),
        ("No tables.", "Feel free to use tables."),
        ("Answer in Greek.", "From now on reply in Dutch please."),
        ("Use Go in examples.", "Please use Rust in examples from now on."),
        ("I'm 40.", "I turned 41."),
        ("I live in Oslo with my sister.", "We now live in Bergen."),
        ("I live in Los Angeles.", "I live in Las Vegas now."),
        ("I have no boat.", "I have a boat."),
        ("I prefer aisle seats.", "I prefer window seats."),
        ("I like tea in winter.", "I dislike tea."),
        ("I prefer early trains.", "I prefer late trains."),
        ("I want detailed answers.", "I want concise answers."),
        ("I love Chinese food.", "i hate chinese food"),
        ("I like my walks.", "I don't like my walks."),
        ("I like to cook.", "I hate cooking."),
        ("Olives are fine.", "No olives."),
    ],
)
def test_the_new_one_takes_the_old_ones_place(old: str, new: str) -> None:
    assert relate(old, new, ALIKE)[0] == "contradicts"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("I prefer cider over juice.", "I'd rather drink cider than juice."),
        ("I hate crowded trains.", "I don't like trains that are crowded."),
        ("My budget is €500.", "My budget is 500 euros."),
        ("Call me Sam.", "My name is Sam."),
        ("I have a soy allergy.", "I'm allergic to soy."),
        ("I like to cook at home.", "I love cooking at home."),
    ],
)
def test_other_words_for_the_same_are_one(old: str, new: str) -> None:
    assert relate(old, new, ALIKE)[0] == "restated"


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("I have a cat 🐱", "i have a cat"),
        ("I drink it black :)", "i drink it black"),
        ("Use 'dark' mode!", "use dark mode"),
        ("- I code in C++.", "i code in c++"),
        ("Prices in €, please.", "prices in €"),
        ("I don't just skim.", "i do not just skim"),
    ],
)
def test_only_symbols_that_say_something_are_kept(text: str, plain: str) -> None:
    assert letters(text) == plain


def test_words_in_opposite_roles_are_not_one_wish() -> None:
    assert relate("Let trains beat planes.", "Let planes beat trains.", ALIKE)[0] == "independent"


def test_who_is_meant() -> None:
    said = ("My boss hates calls.", "Anna wants tea.", "My favourite tea is green.", "On trips I like tea.")
    assert [read_statement(text).whose for text in said] == ["boss", "anna", None, None]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("I hate tea and like juice.", "I like tea and hate juice."),
        ("I hate my car.", "I love cars."),
        ("I live in Germany.", "I live in Berlin."),
        ("My name is Ada.", "My name is hard to spell."),
        ("I love 80 degree saunas.", "I love 90 degree saunas."),
    ],
)
def test_what_only_looks_opposed_stays(one: str, other: str) -> None:
    assert relate(one, other, ALIKE)[0] == relate(other, one, ALIKE)[0] == "independent"


@pytest.mark.parametrize("text", ["I love soy milk.", "I like lo mein.", "I live in Los Angeles.", "No tables."])
def test_english_with_words_from_elsewhere_is_read(text: str) -> None:
    assert read_statement(text).is_read
