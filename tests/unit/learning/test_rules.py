"""What the rules learn: what users say of themselves and mean to last; and nothing that anything else may own."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage

from benchmarks.research.learning import read_conversations
from la_agents.learning import RuleExtractor
from la_agents.learning.evidence import find_evidence
from la_agents.learning.proposal import is_said
from tests.data_folder import data_folder

DATA = Path(__file__).parents[2] / "data"


def learned(*said: str | BaseMessage) -> list[str]:
    messages = [HumanMessage(each) if isinstance(each, str) else each for each in said]
    return [proposal.text for proposal in RuleExtractor().extract(messages)]


# -- what is found -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("said", "text", "scope"),
    [
        ("I'm allergic to peanuts.", "I'm allergic to peanuts.", "always"),
        ("Please always answer in French.", "Always answer in French.", "always"),
        ("I'm vegetarian.", "I'm vegetarian.", "always"),
        ("i am lactose intolerant", "I am lactose intolerant.", "always"),
        ("I have a severe nut allergy!", "I have a severe nut allergy.", "always"),
        ("I don't eat pork or beef.", "I don't eat pork or beef.", "always"),
        ("Oh, by the way, I'm allergic to bees.", "I'm allergic to bees.", "always"),
        ("Actually, I don’t eat fish.", "I don't eat fish.", "always"),
        ("Please remember that I'm dyslexic.", "I'm dyslexic.", "always"),
        ("I prefer tea over coffee.", "I prefer tea over coffee.", "relevant"),
        ("I prefer trains to planes.", "I prefer trains to planes.", "relevant"),
        ("I no longer like jazz", "I no longer like jazz.", "relevant"),
        ("I can't stand loud bars.", "I can't stand loud bars.", "relevant"),
        ("I usually travel by train 🚂", "I usually travel by train.", "relevant"),
        ("My favourite colour is green.", "My favourite colour is green.", "relevant"),
        ("I avoid gluten.", "I avoid gluten.", "always"),
        ("I prefer short answers.", "I prefer short answers.", "always"),
        ("Could you please always answer in Dutch?", "Always answer in Dutch.", "always"),
        ("From now on, keep it short.", "Keep it short.", "always"),
        ("Going forward, cite your sources.", "Cite your sources.", "always"),
        ("Answer in German from now on, please.", "Answer in German.", "always"),
        ("Always answer with the word teacup.", "Always answer with the word teacup.", "always"),
        ("stop using emojis", "Stop using emojis.", "always"),
        ("No more tables, please.", "No more tables.", "always"),
        ('Never start with "Sure".', 'Never start with "Sure".', "always"),
        ("Whenever I ask for code, use Python.", "Whenever I ask for code, use Python.", "always"),
        ("Call me Sam.", "Call me Sam.", "always"),
    ],
)
def test_plain_statements_are_found(said: str, text: str, scope: str) -> None:
    (proposal,) = RuleExtractor().extract([HumanMessage(said, id="7")])
    assert (proposal.text, proposal.scope, proposal.evidence) == (text, scope, said)
    assert (proposal.source, proposal.message_id) == ("inferred", "7")


@pytest.mark.parametrize(
    ("said", "texts"),
    [
        ("Hi! I'm vegan. Thanks!", ["I'm vegan."]),
        ("I love jazz and I hate opera.", ["I love jazz.", "I hate opera."]),
        ("I'm vegan, so what should I cook tonight?", ["I'm vegan."]),
        ("I don't eat meat. Can you suggest a restaurant in Rome?", ["I don't eat meat."]),
        ("What should we cook on Sunday? I'm allergic to shellfish.", ["I'm allergic to shellfish."]),
        ("Going forward, cite your sources. When was the printing press invented?", ["Cite your sources."]),
        ("I prefer tea. Got some?", ["I prefer tea."]),
        ("I'm vegan.\nI love hiking.", ["I'm vegan.", "I love hiking."]),
    ],
)
def test_courtesy_and_requests_of_ones_own_do_not_hide_them(said: str, texts: list[str]) -> None:
    assert learned(said) == texts


@pytest.mark.parametrize(
    ("said", "text"),
    [
        ("I'm allergic to St. John's wort.", "I'm allergic to St. John's wort."),
        ("I love Dr. Pepper. Thanks!", "I love Dr. Pepper."),
        ("I love hiking near Mt. Fuji.", "I love hiking near Mt. Fuji."),
    ],
)
def test_an_abbreviation_ends_no_sentence(said: str, text: str) -> None:
    assert learned(said) == [text]


@pytest.mark.parametrize("gap", ["\n", "\n\n", "\r\n"])
@pytest.mark.parametrize("quoted", ["> Do you like cruises?", ">> I love it\n> so do I", "  > My wife is vegan."])
def test_what_follows_quoted_lines_is_the_users_own(quoted: str, gap: str) -> None:
    assert learned(f"{quoted}{gap}I hate cruises.") == ["I hate cruises."]
    assert learned(f"I hate cruises.{gap}{quoted}") == ["I hate cruises."]


def test_each_is_learned_once_and_only_from_the_user() -> None:
    assert learned(AIMessage("I prefer tea."), "I hate tea.", "i hate tea!") == ["I hate tea."]
    assert learned("I like horror films.", AIMessage("Noted!"), "Wait, I said that wrong.") == []


@pytest.mark.parametrize(
    "back",
    [
        "Just kidding.",
        "I'm only joking!",
        "jk",
        "Oh, that was a joke.",
        "Not really, no.",
        "I made it up.",
        "Kidding :)",
    ],
)
def test_what_was_said_in_jest_is_not_learned(back: str) -> None:
    assert learned("I like horror films.", AIMessage("Noted!"), back) == []
    assert learned("I like horror films.", AIMessage("Noted!"), "Kids like them, too?") == ["I like horror films."]


@pytest.mark.parametrize(
    "after",
    [
        "That was Anna typing.",
        "My wife wrote that.",
        "I was only testing you.",
        "Undo.",
        "Oops, wrong chat.",
        "In Spanish, I mean.",
        "coffee, sorry",
        "Don't keep that.",
    ],
)
def test_what_comes_after_may_say_whose_it_was(after: str) -> None:
    assert learned("I hate opera.", AIMessage("I see."), "I love tea.", AIMessage("Noted."), after) == ["I hate opera."]
    assert learned("I love tea.", AIMessage("Noted."), "When was the printing press invented?") == ["I love tea."]


# -- what is not -------------------------------------------------------------------------------------------------------


OWNED = [
    "Translate into Italian: I'm not allergic to nuts.",
    "Translate into Italian:\nI'm not allergic to nuts.",
    "Translate into Italian.\n\nI'm not allergic to nuts.",
    "I'm not allergic to nuts. Translate that into Italian.",
    "I'm not allergic to nuts.\n\nItalian, please.",
    "I'm not allergic to nuts. Is the grammar correct?",
    "I'm not allergic to nuts in Italian.",
    "Please forget this: I love jazz.",
    "My sister wrote: I hate cruises.",
    "My sister wrote me yesterday. I hate cruises. I love trains.",
    "I hate cruises, my sister says.",
    "I hate cruises, said Tom.",
    "I hate cruises (my sister's words).",
    "Anna: I hate cruises.",
    "[10:02] Anna: I hate cruises.",
    "I hate cruises. - Anna",
    '"I hate cruises." Who is speaking?',
    "“I hate cruises.”",
    "'I hate cruises.' Make it polite.",
    "Here is the review.\nI love the food.\nI hate waiting.",
    "Fix the spelling. I prefer tea over coffee.",
    "Continue the story. I always travel by train.",
    "Write a poem. Never use rhymes.",
    "In the dialogue below, I'm the waiter. I'm allergic to nuts.",
    "Pretend I'm a pirate. I love rum.",
    "```\nI prefer tabs\n```",
    "`I prefer tabs`",
    "- I prefer tea\n- I hate coffee\nWhich of these is about me?",
    "If I were vegan I'd never eat cheese.",
    "Do I prefer tea?",
    "My wife is allergic to bees.",
    "I know my wife hates cruises.",
]
NOT_GOVERNED = [
    "Write a story set in the future.",
    "Describe a city in the future.",
    "In the future, use of robots will be common.",
    "Tell a story in which robots rule from now on.",
    "Never mind.",
    "Never say never.",
    "Never give up.",
    "Always look on the bright side of life.",
    "Always be yourself.",
    "Explain why the sky is always blue.",
    "Give me a song that was never released.",
    "Show me every time zone.",
    "I never said that.",
    "I always knew.",
    "Stop the music.",
    "No more questions.",
    "Call me back.",
    "Should I always answer emails?",
]
RESTRICTED = [
    "For this essay I prefer long answers.",
    "In this chat, always answer in French.",
    "For the next question, I prefer bullet points.",
    "Just this once, I prefer coffee.",
    "Today I prefer tea.",
    "I prefer tea today.",
    "In emails to my boss I prefer formal words.",
    "As a child I loved jazz.",
    "When I was young, I hated olives.",
    "Always answer in French for this question.",
]
GAPS = [
    "I am cooking for a vegetarian.",
    "I am reading about diabetic people.",
    "I'm the mother of a deaf child.",
    "I have a question about allergies.",
    "I have a friend with a nut allergy.",
    "I have to write about diabetes.",
    "I have no allergies.",
    "I use a story about a wheelchair.",
]
OF_THE_MOMENT = [
    "I prefer option B.",
    "I prefer plan 2.",
    "I like B better.",
    "I prefer the blue one.",
    "I don't like the third paragraph, rewrite it.",
    "I like the second draft more.",
    "I don't like this title.",
    "I love it!",
    "I like your idea.",
    "I hate the ending.",
    "I prefer Tuesday.",
    "I prefer Anna's version.",
    "I like both.",
    "I'd rather take the train.",
    "I love how you explain.",
]
ASKED_ABOUT = [
    "I'm not allergic to nuts. Is the comma missing?",
    "I love jazz. How many vowels are there?",
    "I love jazz. Where does the stress fall?",
    "I love jazz to passive voice",
    "I love jazz as a tweet",
    "I love jazz into hex",
    "I love jazz in capital letters",
    "I hate spiders for a birthday card",
    "Always write tests first: a manifesto.",
]
OF_SOMETHING_ELSE = [
    "I'm running into trouble.",
    "I'm crashing into walls.",
    "I have studied diabetes.",
    "I have discussed migraines.",
    "I can't have visitors.",
    "I don't have time.",
    "I never have luck.",
    "I can't eat or sleep.",
    "I don't eat enough vegetables.",
    "I always run out of milk.",
    "I always work out problems.",
    "I don't like onions, skip.",
    "I prefer fewer slides.",
    "My favourite shop is closed.",
    "My favourite team is losing.",
    "I Love Lucy",
    "I never eat meat. What kind of animal am I?",
    "When I press the button, show a message.",
    "Whenever I open the page, use dark colours.",
    "Always show the cart icon in the header.",
    "Can you always use a debit card abroad?",
    "Never talk to strangers.",
    "Always reply to customers within a day.",
    "Don't call me again.",
    "You are a pirate. Always talk like a pirate.",
]


@pytest.mark.parametrize(
    "said", [*OWNED, *NOT_GOVERNED, *RESTRICTED, *GAPS, *OF_THE_MOMENT, *ASKED_ABOUT, *OF_SOMETHING_ELSE]
)
def test_what_is_owned_by_others_or_by_the_moment_is_not_learned(said: str) -> None:
    assert learned(said) == []


@pytest.mark.parametrize(
    ("before", "said"),
    [
        ([AIMessage("Sure, please paste the text.")], "I'm not allergic to nuts."),
        ([AIMessage("Repeat after me: I love tea.")], "I love tea."),
        ([HumanMessage("I'll repeat after you."), AIMessage("I never eat pork.")], "I never eat pork."),
        ([HumanMessage("Translate my next messages."), AIMessage("Gladly!")], "I'm not allergic to nuts."),
        ([HumanMessage("Let's role-play: I'm a waiter."), AIMessage("Welcome!")], "I never eat pork."),
        ([AIMessage("Red or blue?")], "I prefer blue."),
        ([AIMessage("What should the shirt say?")], "I love tea."),
        ([AIMessage("And what does Anna answer?")], "I hate mondays."),
        ([AIMessage("Please dictate.")], "I hate mondays."),
        ([AIMessage("Great. Give me an example in the present simple.")], "I never eat pork."),
        ([HumanMessage("Let's play 20 questions."), AIMessage("OK!")], "I never eat meat."),
        ([HumanMessage("Be a waiter."), AIMessage("What can I bring you?")], "I'm allergic to nuts."),
        ([HumanMessage("You're the judge."), AIMessage("Silence!")], "I never drink alcohol."),
        ([HumanMessage("Turn whatever I send into Spanish."), AIMessage("OK.")], "I love tea."),
        ([HumanMessage("Anna will type now."), AIMessage("Hi Anna!")], "I love tea."),
    ],
)
def test_what_a_task_before_asked_for_is_not_learned(before: list[BaseMessage], said: str) -> None:
    assert learned(said) == [said]
    assert learned(*before, said) == []


def test_one_off_requests_teach_nothing() -> None:
    """126 public requests, with the material that they are about."""
    requests = json.loads(data_folder("requests", "one_off_requests.json").read_text(encoding="utf-8"))
    assert len(requests) == 126
    assert {request: found for request in requests if (found := learned(request))} == {}


def test_public_questions_teach_nothing_and_public_statements_are_found() -> None:
    """PrefEval's questions, explanations and answers, and IFEval's prompts; and PrefEval's preferences."""
    items = [item for path in data_folder("prefeval").glob("*.json") for item in json.loads(path.read_text())]
    prompts = [json.loads(line) for line in data_folder("ifeval", "single_instruction.jsonl").read_text().splitlines()]
    said = [text for item in items for text in (item["question"], *item["classification_task_options"])]
    said += [text for prompt in prompts for text in (prompt["question"], prompt["prompt"])]
    assert len(said) == 2_713  # docs/measured-memory.md says so, and "half" of the preferences
    assert {text: found for text in said if (found := learned(text))} == {}
    assert 0.45 < sum(bool(learned(item["preference"])) for item in items) / len(items) < 0.55


def test_fresh_sentences_of_each_kind() -> None:
    """Written for this check after the rules: 356 that say nothing lasting, 142 that do. Traps were looked for."""
    sentences = json.loads((DATA / "learning_sentences.json").read_text(encoding="utf-8"))
    silent = [each for kind in sentences["silent"].values() for each in kind]
    assert (len(silent), len(sentences["lasting"])) == (356, 142)
    tried = [*silent, *sentences["traps"], *sentences["attacks"]]  # the latter two to mend the rules by
    assert {each: found for each in tried if (found := learned(each))} == {}
    assert sum(len(learned(each)) == 1 for each in sentences["lasting"]) >= 137


def test_conversations_without_a_preference_teach_nothing() -> None:
    conversations = [each for each in read_conversations(DATA / "learning_conversations.jsonl") if not each.gold]
    assert len(conversations) >= 60
    assert [found for each in conversations if (found := learned(*each.messages))] == []


@pytest.mark.parametrize(
    "question",
    [
        "What is a stronger verb?",
        "What is a good rhyme?",
        "What's a funnier caption?",
        "What is a better ending?",
        "What is a typo there?",
        "What would a pirate answer?",
        "What makes a headline work?",
        "How would a native speaker put it?",
    ],
)
def test_a_question_about_the_words_before_it_owns_them(question: str) -> None:
    assert learned(f"I hate spiders. {question}") == []


@pytest.mark.parametrize(
    "question",
    [
        "What goes into a good salsa?",
        "What is a good substitute for pancetta?",
        "What is a monad good for?",
        "Where is a quiet bar?",
        "How do I make a cake?",
    ],
)
def test_a_question_about_a_thing_of_its_own_does_not(question: str) -> None:
    assert learned(f"I can't stand cilantro. {question}") == ["I can't stand cilantro."]


# -- any text ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("part", ["not ", "I'm. ", "I love jazz, ", "always ", "a, ", '"', "((", "St. ", "I like a & "])
def test_endless_messages_are_left_out_at_once(part: str) -> None:
    """Beyond its limit nothing is read; within it, the patterns end soon (else the test runs out of time)."""
    assert learned(part * 100_000) == []
    assert learned(f"I love {part * (1_900 // len(part))}") == []
    assert learned(f"I love {part * (280 // len(part))}") == []


@given(st.text(alphabet=st.sampled_from("I prefer 'always\" ,.?!“”’`>\n;:ü😀answer not \ue000")))
def test_whatever_is_said_evidence_is_the_users_own(text: str) -> None:
    message = HumanMessage(text)
    for proposal in RuleExtractor().extract([message]):
        assert is_said(proposal.evidence, [message]) is message
        assert proposal.draft().text


def test_what_rules_find_stands_the_check_of_evidence() -> None:
    for each in read_conversations(DATA / "learning_conversations.jsonl"):
        for proposal in RuleExtractor().extract(each.messages):
            assert find_evidence(proposal.text, proposal.evidence, each.messages) is not None
