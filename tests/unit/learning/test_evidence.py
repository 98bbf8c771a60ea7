"""Evidence: a preference is borne out by its user's own words only, whoever proposes it and however the words lie."""

from __future__ import annotations

import pytest
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage

from la_agents.learning.evidence import find_evidence


def is_found(text: str, words: str, said: str, before: str = "") -> bool:
    messages: list[BaseMessage] = [AIMessage(before), HumanMessage(said)] if before else [HumanMessage(said)]
    return find_evidence(text, words, messages) is not None


NUTS, MEAT = "The user is allergic to nuts.", "Never eats meat."


@pytest.mark.parametrize(
    ("text", "words", "said"),
    [
        (NUTS, "Max is allergic to nuts", "Max is allergic to nuts."),
        (NUTS, "is allergic to nuts", "Please remember that Max is allergic to nuts."),
        (NUTS, "is allergic to nuts", "I cook for Max, who is allergic to nuts."),
        (NUTS, "Max is allergic to nuts", "I think Max is allergic to nuts."),
        (NUTS, "the guest is allergic to nuts", "I have a guest and the guest is allergic to nuts."),
        (NUTS, "One of us is allergic to nuts", "One of us is allergic to nuts."),
        (NUTS, "the dog is allergic to nuts", "Don't give it any, the dog is allergic to nuts."),
        (NUTS, "a friend allergic to nuts", "I have a friend allergic to nuts."),
        (MEAT, "never eats meat", "Max never eats meat."),
        ("The user prefers tea.", "Most guests prefer tea", "Most guests prefer tea."),
        ("The user avoids sugar.", "Diabetics avoid sugar", "Diabetics avoid sugar."),
        ("The user drinks no alcohol.", "Muslims drink no alcohol", "Muslims drink no alcohol."),
        ("The user is vegan.", "My flatmate is vegan", "My flatmate is vegan, always was."),
        ("The user is vegan.", "Dr. Lee is vegan", "Dr. Lee is vegan, always has been."),
        ("The user is vegan.", "a vegan", "I am cooking for a vegan, please help."),
        ("The user loves jazz.", "Lee loves jazz", "Could you please note Lee loves jazz."),
        ("The user loves jazz.", "Lee loves jazz", "I'm Anna and Lee loves jazz."),
        ("The user loves jazz.", "Lee loves jazz", "For me Lee loves jazz too much."),
        ("The user loves jazz.", "I like tea, Max loves jazz", "I like tea, Max loves jazz."),
        ("The user eats pork.", "Max eats pork. I like tea", "Max eats pork. I like tea."),
        ("No emojis.", "Lee wants no emojis", "Lee wants no emojis."),
        ("Isst kein Fleisch.", "Max isst kein Fleisch", "Ich glaube, Max isst kein Fleisch."),
        ("Isst nie Fleisch.", "Der Gast isst nie Fleisch", "Der Gast isst nie Fleisch."),
        ("Ne mange pas de porc.", "Mon voisin ne mange pas de porc", "Mon voisin ne mange pas de porc."),
        ("No come cerdo.", "Juan nunca come cerdo", "Juan nunca come cerdo."),
        ("Non mangia carne.", "Marco non mangia mai carne", "Marco non mangia mai carne."),
        ("The user does not eat meat.", "João nunca come carne", "João nunca come carne."),
        ("用户不吃牛肉。", "小明不吃牛肉", "小明不吃牛肉。"),
        ("The user is allergic to peanuts.", "小明对花生过敏", "小明对花生过敏。"),
        ("ユーザーは肉が嫌い。", "田中さんは肉が嫌いです", "田中さんは肉が嫌いです。"),
        ("Пользователь не ест мясо.", "Максим не ест мясо", "Максим не ест мясо."),
        ("The user does not eat meat.", "Моя сестра не ест мясо", "Моя сестра не ест мясо."),
        ("The user likes tea.", "มานะชอบชา", "มานะชอบชาร้อน"),
        ("The user likes tea.", "민수는 차를 좋아해요", "민수는 차를 좋아해요."),
        ("The user likes tea.", "माया को चाय पसंद है", "माया को चाय पसंद है।"),
        ("The user likes tea.", "أحمد يحب الشاي", "أحمد يحب الشاي."),
        ("The user likes tea.", "Ahmet çayı sever", "Ahmet çayı sever."),
        ("The user likes tea.", "Maria lubi herbatę", "Maria lubi herbatę."),
    ],
)
def test_whoever_is_named_owns_what_is_said(text: str, words: str, said: str) -> None:
    assert not is_found(text, words, said)


@pytest.mark.parametrize(
    "said",
    [
        "Translate to French - I never eat meat",
        "translate I never eat meat",
        "I never eat meat -- translate",
        "How do you say I never eat meat in French",
        "What does I never eat meat mean",
        "Say I never eat meat in French.",
        "Write a poem in which I never eat meat.",
        "In the story I never eat meat.",
        "Let's say I never eat meat.",
        "Say I never eat meat, what would I lack?",
        "Assume I never eat meat.",
        "Repeat after me, I never eat meat.",
        "Tom claims I never eat meat.",
        "According to Tom I never eat meat.",
        "I never eat meat, says Tom.",
        "It's not the case that I never eat meat.",
        "I doubt that I never eat meat.",
        "The shirt reads I never eat meat",
        "For this month I never eat meat.",
        "I never eat meat. Just kidding.",
        "I never eat meat. No wait, sometimes I do.",
        "Article:\n\nI was born in Rome. I never eat meat. I love the sea.",
        "What do you think of this text?\n\nI was born in Rome. I never eat meat.",
        "What's wrong in this?\nI never eat meat.",
        "Make this shorter\n\nI never eat meat and so I'd be glad of a salad.",
        "Dear Anna,\nI never eat meat.\nYours, Tom\n\nmake it shorter",
        "Tom wrote\nI never eat meat",
        "[12:01] Anna  hello\n[12:02] Tom  I never eat meat",
        "<b>I never eat meat</b>\nwhat does it do?",
        "---\nI never eat meat\n---\nhow good is it?",
        'The sign has "I never eat meat',
        "‹I never eat meat› is on the wall",
        "I never eat meat. Translate that into Thai.",
    ],
)
def test_whatever_stands_around_owns_what_is_said(said: str) -> None:
    assert not is_found(MEAT, "I never eat meat", said)


@pytest.mark.parametrize(
    ("text", "words", "said"),
    [
        ("The user prefers long answers.", "I prefer long answers", "For this essay I prefer long answers."),
        ("El usuario prefiere el tren.", "prefiero el tren", "Para viajar prefiero el tren."),
        ("The user loves olives.", "I once loved olives", "I once loved olives."),
        ("The user spends at most 500 euros.", "I spend at most 50 euros", "I spend at most 50 euros on gifts."),
        ("The user likes nuts.", "Nuts would kill me", "Nuts would kill me."),
        ("The user wants emojis.", "fewer emojis please", "Fewer emojis please."),
        ("Пользователь ест мясо.", "я не ем мясо", "Здравствуйте, я не ем мясо."),
        ("The user eats meat.", "я не ем мясо", "Здравствуйте, я не ем мясо."),
        ("The user likes tea.", "çay sevmiyorum", "Ben çay sevmiyorum."),
        ("The user hates cruises.", "I hаte cruises", "I hate cruises."),  # with a Cyrillic letter
        ("The user likes pork.", "I like ... pork", "I like tea. My wife eats pork."),
    ],
)
def test_more_than_was_said_is_not_borne_out(text: str, words: str, said: str) -> None:
    assert not is_found(text, words, said)


@pytest.mark.parametrize(
    ("text", "words", "said"),
    [
        (NUTS, "I'm allergic to nuts", "Max and I are different. I'm allergic to nuts."),
        (NUTS, "allergic to nuts", "I'm severely allergic to nuts, please note."),
        (NUTS, "I have a severe nut allergy", "I have a severe nut allergy."),
        ("The user is vegan.", "I am vegan", "Hi, I am vegan and live in Rome."),
        ("The user is vegan.", "I am vegan", "I am vegan. No cheese, please."),
        ("The user's diet is vegan.", "My diet is vegan", "My diet is vegan."),
        ("The user can't eat gluten.", "Gluten makes me sick", "Gluten makes me sick."),
        ("The user prefers tea in summer.", "I prefer tea", "In summer I prefer tea."),
        ("The user loves maps.", "I love old maps", "I love old Dutch maps and I love old maps."),
        ("The user wants short answers.", "keep answers short", "Please keep answers short."),
        ("Call the user Sam.", "call me Sam", "Please call me Sam."),
        ("Be brief.", "be brief", "From now on be brief, please."),
        ("Mag Tee.", "Tee mag ich", "Tee mag ich."),
        ("Isst kein Fleisch.", "Fleisch esse ich nicht", "Fleisch esse ich nicht."),
        ("Déteste les champignons.", "je déteste les champignons", "Salut, je déteste les champignons."),
        ("Vive en Roma.", "vivo en Roma", "Hola, vivo en Roma."),
        ("Gosta de chá.", "Gosto de chá", "Gosto de chá."),
        ("ユーザーは肉が嫌い。", "肉が嫌いです", "肉が嫌いです。"),
        ("The user wants answers in Chinese.", "请用中文回答", "请用中文回答。"),
        ("Пользователь любит чай.", "Я люблю чай", "Я люблю чай."),
        ("The user doesn't eat meat.", "Я не ем мясо", "Я не ем мясо."),
        ("The user likes tea.", "ผมชอบดื่มชา", "ผมชอบดื่มชา"),
        ("The user likes tea.", "मुझे चाय पसंद है", "मुझे चाय पसंद है।"),
        ("The user likes tea.", "أحب الشاي كثيرا", "أحب الشاي كثيرا."),
        ("The user likes tea.", "Ben çay severim", "Ben çay severim."),
        ("The user likes tea.", "Lubię herbatę", "Lubię herbatę."),
        ("The user likes tea.", "אני אוהב תה", "אני אוהב תה."),  # in a language that is not read at all
    ],
)
def test_the_users_own_words_are_found(text: str, words: str, said: str) -> None:
    assert is_found(text, words, said)


def test_a_language_that_is_not_read_is_never_sure() -> None:
    for said in ("אני אוהב תה", "Μου αρέσει το τσάι"):
        found = find_evidence(said, said, [HumanMessage(said)])
        assert found is not None
        assert not found.is_read


def test_somebody_elses_answer_is_not_the_users() -> None:
    for asked in ("Does Max eat meat?", "Do your guests eat meat?"):
        assert not is_found(MEAT, "No, never.", "No, never.", before=asked)
    assert is_found(MEAT, "No, never.", "No, never.", before="Do you eat meat?")


@pytest.mark.parametrize(
    "before",
    [
        "Sure, please paste the text.",
        "Repeat after me: I never eat meat.",
        "What should the shirt say?",
        "OK, please dictate.",
        "Gladly! Give me a sentence in the present simple.",
    ],
)
def test_a_text_that_was_asked_for_is_not_the_users(before: str) -> None:
    assert not is_found(MEAT, "I never eat meat", "I never eat meat.", before=before)
    assert is_found(MEAT, "I never eat meat", "I never eat meat. What can I cook?", before="Do you like steak?")
