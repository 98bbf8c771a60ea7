"""What a chat model proposes is kept only if the user's own words bear it out, in whichever language each is."""

from __future__ import annotations

import json
from typing import Any

import pytest
from langchain_core.language_models.fake_chat_models import GenericFakeChatModel
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage
from langchain_core.runnables import RunnableLambda

from la_agents.errors import ConfigurationError, GenerationError
from la_agents.learning import ChatModelExtractor
from la_agents.learning.chat_extraction import StatedPreferences


class Structured(GenericFakeChatModel):
    """A chat model whose structured output is scripted: its plain answers, parsed."""

    def with_structured_output(self, schema: Any, **options: Any) -> Any:
        return self | RunnableLambda(lambda message: schema.model_validate_json(message.text))


def scripted(*preferences: dict[str, Any]) -> ChatModelExtractor:
    answer = json.dumps({"preferences": preferences})
    return ChatModelExtractor(Structured(messages=iter([AIMessage(answer)])))


def is_kept(text: str, evidence: str, said: str, before: str = "") -> bool:
    messages: list[BaseMessage] = [AIMessage(before), HumanMessage(said)] if before else [HumanMessage(said)]
    return bool(scripted({"text": text, "evidence": evidence}).extract(messages))


def test_a_proposal_says_where_it_comes_from() -> None:
    said = HumanMessage("Morning! I never drink coffee after noon.", id="m1")
    extractor = scripted(
        {"text": "No coffee after noon.", "evidence": "I never drink  coffee after noon", "scope": "always"},
        {"text": "The user loves tea.", "evidence": "I love tea"},
        {"text": "Tea is great.", "evidence": "I prefer tea."},
    )
    (proposal,) = extractor.extract([AIMessage("I prefer tea."), said])
    assert (proposal.text, proposal.source, proposal.message_id) == ("No coffee after noon.", "inferred", "m1")
    assert (proposal.scope, proposal.weight, proposal.confidence) == ("always", 1.0, 0.8)


@pytest.mark.parametrize("evidence", ["a", "ok", "I", "tea", "love", "I love", "ove te", ".", "  ", "I l"])
def test_a_syllable_proves_nothing(evidence: str) -> None:
    said = "ok, I love tea a lot."
    assert not evidence.strip() or not is_kept("The user loves tea.", evidence, said)
    assert is_kept("The user loves tea.", "I love tea", said)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("The user likes tea.", "ok thanks"),
        ("The user likes tea.", "ok danke"),
        ("The user likes tea.", "谢谢你"),
        ("The user loves skiing in Norway.", "I love coffee after noon."),
        ("The user likes tea and cruises.", "I like tea."),
        ("The user wants long and detailed answers.", "I want long answers."),
        ("The user drinks milk.", "I drink coffee."),
        ("Le gusta el té.", "Thanks a lot, see you"),
    ],
)
def test_words_about_something_else_prove_nothing(text: str, said: str) -> None:
    assert not is_kept(text, said, said)


@pytest.mark.parametrize(
    ("text", "evidence", "said"),
    [
        ("Loves pork.", "I never eat pork.", "I never eat pork."),
        ("Loves pork.", "eat pork", "I never eat pork."),
        ("The user is allergic to nuts.", "I'm not allergic to nuts", "I'm not allergic to nuts."),
        ("The user doesn't like jazz.", "I like jazz", "I like jazz."),
        ("Likes coffee.", "I like tea but not coffee", "I like tea but not coffee."),
        ("The user eats pork.", "Ich esse nie Schweinefleisch", "Ich esse nie Schweinefleisch."),
        ("The user likes pork.", "esse Schweinefleisch", "Ich esse kein Schweinefleisch."),
        ("The user eats pork.", "Je ne mange pas de porc", "Je ne mange pas de porc."),
        ("The user loves cilantro.", "Odio el cilantro", "Odio el cilantro."),
        ("The user eats beef.", "我不吃牛肉", "我不吃牛肉。"),
        ("The user likes coffee.", "コーヒーは苦手です", "私はコーヒーは苦手です。"),
        ("The user likes coffee.", "Coffee keeps me awake", "Coffee keeps me awake."),
        ("The user loves cats.", "I love cats", "I don't think that I love cats."),
        ("The user loves cats.", "I love cats", "Nobody can say that I love cats."),
        ("The user does not like tea.", "I do not like", "I do not like coffee. Tea is great."),
        ("Doesn't like tea.", "I like tea but not coffee", "I like tea but not coffee."),
        ("The user likes opera.", "I hardly ever listen to opera", "I hardly ever listen to opera."),
        ("The user eats meat.", "I stopped eating meat", "I stopped eating meat."),
        ("The user likes tea.", "I used to like tea", "I used to like tea."),
        ("Trinkt Kaffee.", "ich trinke kaum Kaffee", "Eigentlich trinke ich kaum Kaffee, ich trinke kaum Kaffee."),
        ("Mange de la viande.", "je mange rarement de la viande", "En fait je mange rarement de la viande."),
        ("用户喝咖啡。", "我很少喝咖啡", "我很少喝咖啡。"),
        ("The user prefers cats to dogs.", "I prefer dogs to cats", "I prefer dogs to cats."),
        ("Likes trains more than planes.", "I like planes more than trains", "I like planes more than trains."),
        ("Trinkt lieber Tee als Kaffee.", "ich trinke lieber Kaffee als Tee", "Also ich trinke lieber Kaffee als Tee."),
        ("Préfère le thé au café.", "je préfère le café au thé", "Moi, je préfère le café au thé."),
        ("Isst Fleisch.", "Ich esse kein Fleisch", "Hi there! How are you doing? Ich esse kein Fleisch."),
        ("Der Nutzer mag Jazz nicht.", "I love jazz", "I love jazz."),
        ("用户不喜欢爵士乐。", "I love jazz", "I love jazz."),
    ],
)
def test_what_is_denied_stays_denied(text: str, evidence: str, said: str) -> None:
    assert not is_kept(text, evidence, said)


@pytest.mark.parametrize(
    ("text", "evidence", "said"),
    [
        ("The user loves cruises.", "My sister loves cruises", "My sister loves cruises."),
        ("The user loves cruises.", "loves cruises", "My sister loves cruises, but I prefer hiking."),
        ("The user loves cruises.", "she loves cruises", "I know that she loves cruises."),
        ("The user loves cruises.", "Anna loves cruises", "Anna loves cruises."),
        ("The user is vegan.", "my boss is vegan", "You should know my boss is vegan."),
        ("The user hates cruises.", "I hate cruises", "My brother says I hate cruises."),
        ("The user loves cruises.", "love cruises", "We asked them and they love cruises."),
        ("The user loves cruises.", "loves cruises", "Peter loves cruises and I love trains."),
        ("The user is vegan.", "is vegan", "I need a gift for a friend who is vegan."),
        ("The user loves cruises.", "Peter liebt Kreuzfahrten", "Peter liebt Kreuzfahrten."),
        ("The user likes tea.", "小明喜欢喝茶", "小明喜欢喝茶。"),
        ("The user likes tea.", "妈妈喜欢喝茶", "我知道妈妈喜欢喝茶。"),
        ("The user loves cruises.", "Meine Schwester liebt Kreuzfahrten", "Meine Schwester liebt Kreuzfahrten."),
        ("The user loves cruises.", "Ma sœur adore les croisières", "Ma sœur adore les croisières."),
        ("The user hates cruises.", "Mi hermana odia los cruceros", "Mi hermana odia los cruceros."),
        ("The user likes tea.", "我姐姐喜欢喝茶", "我姐姐喜欢喝茶。"),
        ("The user likes tea.", "姉はお茶が好きです", "姉はお茶が好きです。"),
    ],
)
def test_what_others_like_is_not_the_users(text: str, evidence: str, said: str) -> None:
    assert not is_kept(text, evidence, said)


@pytest.mark.parametrize(
    ("evidence", "said"),
    [
        ("I'm not allergic to nuts", "Translate into Italian: I'm not allergic to nuts."),
        ("I'm not allergic to nuts", "Übersetze das:\n\nI'm not allergic to nuts."),
        ("I'm not allergic to nuts", "Translate into Italian.\n\nI'm not allergic to nuts."),
        ("I'm not allergic to nuts", "I'm not allergic to nuts.\nPlease correct the grammar."),
        ("I'm not allergic to nuts", "翻译成意大利语\nI'm not allergic to nuts."),
        ("I'm not allergic to nuts", "Übersetze bitte ins Italienische.\n\nHi!\nI'm not allergic to nuts."),
        ("I'm not allergic to nuts", 'Say "I\'m not allergic to nuts" in Italian.'),
        ("I'm not allergic to nuts", "How do I say “I'm not allergic to nuts”, please"),
        ("“I'm not allergic to nuts”", "How do I say “I'm not allergic to nuts”, please"),
        ("I'm not allergic to nuts", "> I'm not allergic to nuts.\nWho wrote so?"),
        ("I'm not allergic to nuts", "```\nI'm not allergic to nuts.\n```"),
        ("I'm not allergic to nuts", "Is it fine to say I'm not allergic to nuts?"),
        ("I'm not allergic to nuts", "Suppose that I'm not allergic to nuts."),
        ("I'm not allergic to nuts", "If I'm not allergic to nuts, may I have the cake?"),
        ("I'm not allergic to nuts", "Thomas wrote: Hi. I'm not allergic to nuts."),
        ("I'm not allergic to nuts", "Hypothetically I'm not allergic to nuts."),
    ],
)
def test_what_is_quoted_pasted_or_asked_is_not_stated(evidence: str, said: str) -> None:
    assert not is_kept("Not allergic to nuts.", evidence, said)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("The user likes tea.", "我喜欢喝茶。"),
        ("用户喜欢喝茶。", "我喜欢喝茶。"),
        ("用户喜欢喝茶。", "I like to drink tea."),
        ("The user doesn't eat beef.", "我不吃牛肉。"),
        ("The user is allergic to peanuts.", "我对花生过敏。"),
        ("The user likes tea.", "私はお茶が好きです。"),
        ("The user likes tea.", "Я люблю чай."),
        ("The user likes shirts.", "ฉันชอบเสื้อ"),
        ("The user likes tea.", "저는 차를 좋아해요."),
        ("The user likes tea.", "Ich trinke gern Tee."),
        ("Der Nutzer trinkt gern Tee.", "Ich trinke gern Tee."),
        ("Der Nutzer mag Tee.", "I like tea."),
        ("The user does not eat pork.", "Ich esse kein Schweinefleisch."),
        ("The user wants answers in German.", "Bitte antworte immer auf Deutsch."),
        ("L'utilisateur préfère le thé.", "Ich trinke lieber Tee als Kaffee."),
        ("The user does not eat pork.", "Je ne mange pas de porc."),
        ("L'utilisateur n'aime pas le fromage.", "Je n'aime pas le fromage."),
        ("The user is vegetarian.", "Soy vegetariano."),
        ("The user doesn't like cilantro.", "No me gusta el cilantro."),
        ("Hates cilantro.", "Odio el cilantro."),
        ("The user doesn't eat meat.", "Non mangio mai carne, io."),
        ("The user hates coffee.", "Eu odeio café."),
        ("The user doesn't drink milk.", "Ik drink geen melk."),
    ],
)
def test_words_and_summary_may_be_in_two_languages(text: str, said: str) -> None:
    assert is_kept(text, said, said)


@pytest.mark.parametrize(
    ("text", "evidence", "said"),
    [
        ("The user prefers hiking.", "I prefer hiking", "My sister loves cruises, but I prefer hiking."),
        ("Dislikes loud bars.", "I can't stand loud bars", "I can't stand loud bars."),
        ("Allergic to peanuts.", "I'm allergic to peanuts", "I'm allergic to peanuts, what can I eat?"),
        ("No coffee after noon.", "coffee after noon keeps me awake", "Coffee after noon keeps me awake."),
        ("No emojis.", "stop using emojis", "Nice. But please stop using emojis."),
        ("The user wants answers in French.", "always answer in French", "Please always answer in French."),
        ("The user wants all replies to be written in French.", "always answer in French", "Always answer in French!"),
        ("User follows a vegetarian diet.", "I'm vegetarian", "I'm vegetarian."),
        ("Avoids pork.", "I never eat pork", "I never eat pork."),
        (
            "The user has celiac disease, so cannot have wheat or barley.",
            "I have celiac disease, so I cannot have wheat or barley",
            "I have celiac disease, so I cannot have wheat or barley.",
        ),
        ("The user loves Dune.", 'I love "Dune"', 'I love "Dune".'),
        ("The user's favourite colour is green.", "My favourite colour is green", "My favourite colour is green."),
        ("The user loves their garden.", "I love my garden", "I love my garden."),
        ("Isst kein Fleisch.", "Ich esse kein Fleisch", "Hi there! How are you doing? Ich esse kein Fleisch."),
        ("User is vegetarian.", "I'm vegetarian", "Could you translate the menu for me? I'm vegetarian."),
        ("User is vegetarian.", "I'm vegetarian", "I'm vegetarian and my husband is not."),
        ("The user likes dogs.", "I like dogs", "I like dogs; my wife likes cats."),
        (
            "The user prefers quiet music.",
            "I prefer quiet music",
            "I used to love techno, but now I prefer quiet music.",
        ),
        ("El usuario prefiere el tren para viajar.", "prefiero el tren", "Para viajar prefiero el tren."),
        ("用户对花生过敏。", "我对花生过敏", "我对花生过敏，有什么推荐？"),
        ("The user hates Mondays.", "I hate Mondays", "i HATE  mondays!!!"),
        ("Can't live without jazz", "I can't live without jazz", "I can't live without jazz!"),
        ("Prefers tea to coffee in summer.", "In summer I prefer tea to coffee", "In summer I prefer tea to coffee."),
        (
            "Trinkt lieber Tee als Kaffee.",
            "ich trinke lieber Tee als Kaffee",
            "Hallo, ich trinke lieber Tee als Kaffee.",
        ),
        ("Rarely eats meat.", "I rarely eat meat", "I rarely eat meat."),
        ("Does not eat meat any more.", "I stopped eating meat", "I stopped eating meat."),
        ("Пользователь не ест мясо.", "я не ем мясо", "Здравствуйте, я не ем мясо."),
    ],
)
def test_what_the_user_said_is_kept(text: str, evidence: str, said: str) -> None:
    assert is_kept(text, evidence, said)


@pytest.mark.parametrize(
    ("text", "asked", "said", "kept"),
    [
        ("Never eats meat.", "Do you eat meat?", "No, never.", True),
        ("Allergic to peanuts.", "Are you allergic to anything?", "Yes, peanuts.", True),
        ("Eats meat.", "Do you eat meat?", "No, never.", False),
        ("Never eats meat.", "Does your sister eat meat?", "No, never.", False),
        ("Loves pork.", "Do you love pork?", "ok thanks", False),
        ("Loves pork.", "I noted that you love pork.", "Yes, right.", False),
    ],
)
def test_an_answer_is_read_with_its_question(text: str, asked: str, said: str, kept: bool) -> None:
    assert is_kept(text, said, said, before=asked) is kept


@pytest.mark.parametrize("part", ["“", '"', "I love tea: ", "«a", "not ", "if ", "\n", "「", "`", "'a "])
def test_long_messages_take_no_long(part: str) -> None:
    """The work is bounded by what stands around the words (else the test runs out of time)."""
    said = f"{part * (200_000 // len(part))}\n\nI love jazz.\n\n{part * 20_000}"
    assert not is_kept("The user loves pork.", "I love jazz", said)


def test_a_model_that_answers_in_another_form_is_an_error() -> None:
    for answer in ('{"preferences": 1}', "[]", "nonsense", '{"preferences": [{"text": "x"}]}'):
        extractor = ChatModelExtractor(Structured(messages=iter([AIMessage(answer)])))
        with pytest.raises(GenerationError):
            extractor.extract([HumanMessage("I love tea.")])


def test_a_model_is_not_asked_about_nothing() -> None:
    assert scripted().extract([AIMessage("Hello!"), HumanMessage("  ")]) == []
    with pytest.raises(ConfigurationError):
        ChatModelExtractor(Structured(messages=iter([])), max_messages=0)


def test_the_form_that_is_asked_for_is_plain_json_schema() -> None:
    assert StatedPreferences.model_json_schema()["properties"].keys() == {"preferences"}


class Unasked(Structured):
    """A chat model that must not be asked."""

    def _generate(self, *args: Any, **kwargs: Any) -> Any:
        raise AssertionError


@pytest.mark.parametrize(
    "said",
    [
        "What is the capital of Peru?",
        "Summarize the text about the Roman empire.",
        "How does one fix a leaking tap in the kitchen?",
        "Wie spät ist es in Lima?",
        "Quelle est la capitale du Pérou ?",
    ],
)
def test_a_model_is_not_asked_where_nothing_can_be_said(said: str) -> None:
    assert ChatModelExtractor(Unasked(messages=iter([]))).extract([AIMessage("Hello."), HumanMessage(said)]) == []


@pytest.mark.parametrize(
    ("before", "said"),
    [
        ("", "Book a flight to Rome. I prefer window seats."),
        ("", "Coffee after noon keeps me awake, what else is there?"),
        ("", "No emojis."),
        ("", "Stop using emojis!"),
        ("", "Explain the theory of relativity in the style of a pirate, and from now on always so."),
        ("Do you eat meat?", "The occasional steak."),
        ("", "Ich trinke nie Kaffee."),
        ("", "Hi there! How are you doing? Ich esse kein Fleisch."),
        ("", "Keine Emojis."),
        ("", "Je déteste le café."),
        ("", "Prefiero el té."),  # in Spanish a verb says who speaks
        ("", "Wolę herbatę."),  # Polish is not known
        ("", "Nie lubię kawy, do picia wolę herbatę."),
        ("", "ฉันชอบเสื้อ"),
        ("", "我喜欢喝茶。"),
        ("", "Tea over coffee."),  # too few words to tell the language by
    ],
)
def test_a_model_is_asked_wherever_something_may_be_said(before: str, said: str) -> None:
    messages: list[BaseMessage] = [AIMessage(before), HumanMessage(said)] if before else [HumanMessage(said)]
    with pytest.raises(AssertionError):
        ChatModelExtractor(Unasked(messages=iter([]))).extract(messages)
