"""Answers that fall into a loop end; what people write, and what a grammar asks for, does not."""

from __future__ import annotations

import pytest

from la_agents import ChatLinearAlignment, LinearAlignmentLLM
from la_agents.engine.engine import Engine
from la_agents.engine.repetition import is_loop
from la_agents.requests import Grammar, Request, TokenRecord
from tests.engine_tools import looping_model, random_request, text_of, tokens_of

MODEL = looping_model()


def ends_at(text: str) -> int:
    """How many characters of a text, each a token, are written until it counts as a loop; -1: it never does."""
    records = [TokenRecord(ord(character), 0, 0.0, 0.0) for character in text]
    return next((n for n in range(120, len(text) + 1) if is_loop(records[:n], lambda ids: "".join(map(chr, ids)))), -1)


@pytest.mark.parametrize(
    "text",
    [
        "ha " * 30,
        "Ha! " * 25,
        "no, " * 29 + "yes.",
        "a" * 100,
        "=" * 200,
        "\n" * 200,
        "0, " * 79,
        "|   |   |\n" * 30,
        "| --- " * 10 + "|\n" + "| a | 1 |\n" * 15,
        "[0, 0, 0, 0, 0, 0, 0, 0],\n" * 16,
        "    print('hello')\n" * 15,
        "<td></td>" * 12,
        "".join(f"{n}. item\n" for n in range(100)),
        "".join(f"{n} times {m} is {n * m}. " for n in range(9) for m in range(9)),
        "We will, we will rock you. " * 8,
        ("la " * 20 + "and once more, ") * 4,
        "We sing this line of a chorus together, my friend.\n" * 5,
        "Lorem ipsum dolor sit amet, consectetur adipiscing elit, sed do eiusmod tempor incididunt ut labore. " * 4,
        "<tr><td></td><td></td><td></td></tr>\n" * 14,
        '{"name": "Ann", "age": 30, "city": "Rome"},\n' * 12,
        "    result = add(result, values[i])\n" * 8,
    ],
)
def test_what_people_write_is_no_loop(text: str) -> None:
    assert ends_at(text) == -1


@pytest.mark.parametrize(
    "run",
    [
        "the sea, ",
        "a",
        "arr ",
        "我喜欢",
        "I am here.\n",
        "the sea is a place where the sea is clear, ",
    ],
)
@pytest.mark.parametrize("before", ["", "Once upon a time there was "])
def test_a_loop_of_words_is_seen(run: str, before: str) -> None:
    least = max(120, min(20 * len(run), max(5 * len(run), 300)))
    start = len(before) - next((n for n in range(len(before)) if not run.endswith(before[len(before) - n :])), 1) + 1
    assert ends_at(before + run * 200) in range(start + least - len(run), len(before) + least + 1)
    few = (least - 1) // len(run)
    assert ends_at(before + run * few + "!" + run * few) == -1


def test_a_loop_of_signs_comes_twice_as_often() -> None:
    assert ends_at("-" * 1000) == 240
    assert ends_at("0, " * 1000) == 240
    assert ends_at("+--+" + "|  |  |\n" * 1000) == 4 + 40 * 8


# -- in the engine ----------------------------------------------------------------------------------------------------


def requests(*, stop: bool) -> list[Request]:
    """Of no branch, one and two; every other one draws its tokens, and so has no loop."""
    return [
        random_request(
            number, num_branches=number % 3, max_tokens=450, stop_repetition=stop, temperature=number % 2 * 1.0, seed=1
        )
        for number in range(8)
    ]


@pytest.fixture(scope="module")
def endless() -> list[list[int]]:
    """The answers of a model that nothing stops."""
    with Engine(MODEL) as engine:
        completions = [generation.completion for generation in engine.submit_all(requests(stop=False))]
    assert {completion.finish_reason for completion in completions} == {"length"}
    return [tokens_of(completion) for completion in completions]


def test_an_answer_ends_where_its_loop_is_seen_alone_and_among_others(endless: list[list[int]]) -> None:
    with Engine(MODEL) as engine:
        together = [
            generation.completion for generation in engine.submit_all([*requests(stop=True), *requests(stop=False)])
        ]
        alone = [engine.complete(request) for request in requests(stop=True)]
    guarded, free = together[: len(endless)], together[len(endless) :]
    assert [tokens_of(completion) for completion in free] == endless
    assert [completion.finish_reason for completion in guarded] == ["repetition", "length"] * 4
    for completion, other, whole in zip(guarded, alone, endless, strict=True):
        assert tokens_of(completion) == tokens_of(other) == whole[: len(completion.records)]
        assert completion.finish_reason == other.finish_reason
        decode = MODEL.tokenizer.decode
        seen = [n for n in range(120, len(whole) + 1) if is_loop([TokenRecord(t, 0, 0, 0) for t in whole[:n]], decode)]
        assert len(completion.records) == (seen[0] if seen else len(whole))
        assert (completion.finish_reason == "repetition") == bool(seen)


def test_a_stream_of_a_loop_has_the_text_of_all_its_tokens() -> None:
    with Engine(MODEL) as engine:
        for request in requests(stop=True)[::2]:
            generation = engine.submit(request)
            text = "".join(chunk.text for chunk in generation) + generation.completion.tail
            assert text == text_of(MODEL, engine.complete(request))


def test_nothing_that_a_grammar_asks_for_is_a_loop() -> None:
    with Engine(MODEL) as engine:
        for grammar in (Grammar.regex("(ab){300}"), Grammar.regex("(the sea, )*!", aligned=True)):
            request = random_request(3, num_branches=1, max_tokens=700, stop_repetition=True)
            request = Request(
                reference=request.reference,
                branches=request.branches,
                weights=(1.0,),
                sampling=request.sampling,
                grammar=grammar,
            )
            assert engine.complete(request).finish_reason != "repetition"


@pytest.mark.parametrize("face", [ChatLinearAlignment, LinearAlignmentLLM])
@pytest.mark.parametrize("principles", [[], ["Be kind."]])
def test_the_faces_stop_unless_they_are_told_not_to(face: type[ChatLinearAlignment], principles: list[str]) -> None:
    llm = face(model=MODEL, principles=principles, max_tokens=700)

    def reason(**arguments: bool) -> str:
        (answer,) = llm.generate_prompt([llm._convert_input("Hello")], **arguments).generations
        message = getattr(answer[0], "message", None)
        found = answer[0].generation_info if message is None else message.response_metadata
        return str((found or {})["finish_reason"])

    assert reason() == "repetition"
    assert reason(stop_repetition=False) == "length"
