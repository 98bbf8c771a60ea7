"""Streamed text: joined, it is the decoded answer; no half characters; stop strings wherever tokens cut them."""

from __future__ import annotations

import functools
import json
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from la_agents.engine.detokenizer import Detokenizer
from tests.streamed_text import REPLACEMENT, TEXTS, decode, encode, stream
from tests.tiny import FAMILIES, tiny_tokenizer


@functools.cache
def small_vocabulary(family: str) -> tuple[str, ...]:
    """Every token that stands for text of its own."""
    tokenizer = tiny_tokenizer(family)
    texts = {tokenizer.decode([i]) for i in range(len(tokenizer))}
    return tuple(sorted(t for t in texts if t.strip() and REPLACEMENT not in t))


class Characters:
    """A tokenizer with one character a token: what stop strings need to be tested in plain sight."""

    def decode(self, token_ids: list[int], **_: object) -> str:
        return "".join(map(chr, token_ids))


def streamed(pieces: list[str], stop: tuple[str, ...]) -> tuple[list[str], bool]:
    """Push whole words: what comes out piece by piece, and whether it stopped."""
    detokenizer = Detokenizer(Words(pieces), stop)
    out = [detokenizer.push(i) for i in range(len(pieces))]
    return [*out, detokenizer.flush()], detokenizer.stopped


class Words:
    """A tokenizer whose token i is `pieces[i]`."""

    def __init__(self, pieces: list[str]) -> None:
        self.pieces = pieces

    def decode(self, token_ids: list[int], **_: object) -> str:
        return "".join(self.pieces[i] for i in token_ids)


# -- text --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("text", TEXTS)
def test_pieces_join_to_the_decoded_answer(family: str, text: str) -> None:
    tokenizer = tiny_tokenizer(family)
    ids = encode(tokenizer, text)
    pieces = stream(tokenizer, ids)
    assert "".join(pieces) == decode(tokenizer, ids)
    assert not any(REPLACEMENT in piece for piece in pieces)


@pytest.mark.parametrize("family", FAMILIES)
@settings(max_examples=40, deadline=None)
@given(text=st.text(max_size=40))
def test_any_text_survives(family: str, text: str) -> None:
    tokenizer = tiny_tokenizer(family)
    ids = encode(tokenizer, text)
    expected = decode(tokenizer, ids)
    assert "".join(stream(tokenizer, ids)) == expected.rstrip(REPLACEMENT)


@pytest.mark.parametrize("family", [f for f in FAMILIES if f not in ("gemma", "mistral")])
@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_any_byte_level_ids_join_to_what_they_decode_to(family: str, data: st.DataObject) -> None:
    """Broken bytes included; the answer's own end is cut where it breaks off within a character."""
    tokenizer = tiny_tokenizer(family)
    ids = data.draw(st.lists(st.integers(0, len(tokenizer) - 1), max_size=40))
    assert "".join(stream(tokenizer, ids)) == decode(tokenizer, ids).rstrip(REPLACEMENT)


@pytest.mark.parametrize("family", ["gemma", "mistral"])
@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_any_sentencepiece_ids_that_are_text_join_to_what_they_decode_to(family: str, data: st.DataObject) -> None:
    """Words and whole characters in any order. A lone byte among others would spoil what came before it."""
    tokenizer = tiny_tokenizer(family)
    words = st.sampled_from([*small_vocabulary(family), "é", "東", "😀", "\N{ZERO WIDTH JOINER}"])
    ids = [i for word in data.draw(st.lists(words, max_size=20)) for i in encode(tokenizer, word)]
    assert "".join(stream(tokenizer, ids)) == decode(tokenizer, ids)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_character_comes_whole_with_its_last_token(family: str) -> None:
    tokenizer = tiny_tokenizer(family)
    ids = encode(tokenizer, "a😀")
    *pieces, tail = stream(tokenizer, ids)
    assert [piece for piece in pieces if piece] in (["a", "😀"], ["a😀"])
    assert pieces[-1].endswith("😀")
    assert tail == ""


@pytest.mark.parametrize("family", FAMILIES)
def test_an_answer_that_ends_within_a_character_shows_no_part_of_it(family: str) -> None:
    tokenizer = tiny_tokenizer(family)
    ids = encode(tokenizer, "a😀")[:-1]
    assert "".join(stream(tokenizer, ids)) == "a"


def test_text_flows_again_after_broken_bytes() -> None:
    tokenizer = tiny_tokenizer("llama")
    broken = encode(tokenizer, "😀")[:2]
    pieces = stream(tokenizer, [*broken, *encode(tokenizer, "and on")])
    assert "".join(pieces).endswith("and on")
    assert pieces[-1] == "", "nothing waits for the end"


@pytest.mark.parametrize("family", FAMILIES)
def test_special_tokens_are_no_text(family: str) -> None:
    tokenizer = tiny_tokenizer(family)
    ids = encode(tokenizer, "one two")
    for special in tokenizer.all_special_ids:
        assert "".join(stream(tokenizer, [*ids, special, *ids])) == decode(tokenizer, [*ids, special, *ids])


def test_the_work_a_token_does_not_grow_with_the_answer() -> None:
    decoded: list[int] = []

    class Counting(Characters):
        def decode(self, token_ids: list[int], **_: object) -> str:
            decoded.append(len(token_ids))
            return super().decode(token_ids)

    detokenizer = Detokenizer(Counting())
    for i in range(500):
        detokenizer.push(ord("a") + i % 26)
    assert max(decoded) <= 3


# -- stop strings ------------------------------------------------------------------------------------------------------


def test_a_stop_string_may_span_tokens() -> None:
    out, stopped = streamed(["Hello", " <", "/e", "nd> more"], ("</end>",))
    assert (out, stopped) == (["Hello", " ", "", "", ""], True)


def test_what_looked_like_a_stop_is_released() -> None:
    out, stopped = streamed(["a <", "/e", "lse", " b"], ("</end>",))
    assert (out, stopped) == (["a ", "", "</else", " b", ""], False)


def test_held_text_comes_with_the_end() -> None:
    out, stopped = streamed(["a <", "/en"], ("</end>",))
    assert (out, stopped) == (["a ", "", "</en"], False)


def test_a_false_start_may_contain_a_true_one() -> None:
    out, stopped = streamed(["a", "a", "b", "a", "a", "c", "x"], ("aac",))
    assert ("".join(out), stopped) == ("aab", True)


def test_the_earliest_stop_wins_wherever_it_stands_in_the_list() -> None:
    for stop in (("END", "STOP"), ("STOP", "END")):
        assert "".join(streamed(["one STOP two END three"], stop)[0]) == "one "


def test_overlapping_stops_cut_at_the_first_that_starts() -> None:
    assert "".join(streamed(["xabcd"], ("bc", "abcd"))[0]) == "x"
    assert "".join(streamed(["x", "a", "b", "c", "d"], ("abce", "bcd"))[0]) == "xa"


def test_nothing_comes_after_a_stop() -> None:
    detokenizer = Detokenizer(Characters(), ("\n",))
    assert [detokenizer.push(ord(c)) for c in "a\nb"] == ["a", "", ""]
    assert detokenizer.stopped
    assert detokenizer.flush() == ""


@settings(max_examples=200, deadline=None)
@given(text=st.text("ab\n", max_size=20), stop=st.lists(st.text("ab\n", min_size=1, max_size=4), max_size=3))
def test_a_stream_by_characters_ends_where_a_stop_is_first_complete(text: str, stop: list[str]) -> None:
    detokenizer = Detokenizer(Characters(), tuple(stop))
    out = ""
    for character in text:
        out += detokenizer.push(ord(character))
        assert text.startswith(out)
    out += detokenizer.flush()
    ends = [(text.find(s) + len(s), text.find(s)) for s in stop if s in text]
    assert detokenizer.stopped == bool(ends)
    if ends:
        end = min(ends)[0]
        assert out == text[: min(start for at, start in ends if at == end)]
    else:
        assert out == text


@pytest.mark.parametrize("family", FAMILIES)
@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_no_stop_string_is_ever_shown(family: str, seed: int) -> None:
    tokenizer, rng = tiny_tokenizer(family), random.Random(seed)
    text = "".join(rng.choices(["one ", "é", "東", "😀", "stop", "s", "to", "p", " "], k=15))
    stop = ("stop", "東é", "😀s")
    ids = encode(tokenizer, text)
    out, whole = "".join(stream(tokenizer, ids, stop)), decode(tokenizer, ids)
    assert not any(s in out for s in stop)
    assert whole.startswith(out)
    assert len(out) == min((whole.find(s) for s in stop if s in whole), default=len(whole))


def test_json_stops_at_its_closing_brace() -> None:
    """A realistic case: the model is stopped at a blank line after JSON."""
    tokenizer = tiny_tokenizer("qwen2")
    answer = json.dumps({"name": "Zoë", "tags": ["東京", "😀"]}, ensure_ascii=False)
    pieces = stream(tokenizer, encode(tokenizer, answer + "\n\nand so on"), ("\n\n",))
    assert json.loads("".join(pieces))["tags"] == ["東京", "😀"]
