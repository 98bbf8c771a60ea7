"""Scorers: one property of a text each, as a number that grows from 0 (not there) to 1 (fully there).

They may go beyond that range, and know neither question nor principle: `adherence` cuts and guards them.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from importlib import import_module
from statistics import fmean
from typing import Any

from la_agents.errors import ConfigurationError
from la_agents.evaluation.text import distinct_bigrams, lines, sentences, words

_PIRATE = frozenset(
    words(
        "ahoy argh arr arrr arrrr avast aye blimey booty buccaneer cap'n doubloon doubloons grog hearties hearty lad "
        "lads landlubber landlubbers lassie matey mateys plunder scallywag scurvy shiver swab tis treasure yarr ye yer"
    )
)
_SECOND_PERSON = frozenset({"you", "your", "yours", "yourself", "yourselves"})
_CONTRACTION = re.compile(
    r"^(?:\w+n't|\w+'(?:re|ve|ll|m|d)|(?:it|that|there|here|he|she|what|who|where|how|let)'s)$|^(?:gonna|wanna|gotta)$"
)
_DASH = re.compile(r"^\s*[-*•–]\s+\S")
_LANGUAGES = ("de", "en", "es", "fr", "it", "nl", "pt")
_FULL_JOY = 0.6
"""VADER's compound of a sentence that is cheerful through and through."""


def concise(answer: str, unaligned: str) -> float:
    """1 at a quarter of the unaligned length in words or below, 0 at that length, linear between."""
    return (1.0 - _length_ratio(len(words(answer)), len(words(unaligned)))) / 0.75


def verbose(answer: str, unaligned: str) -> float:
    """1 at twice what the unaligned answer says, 0 at as much; in different pairs of words: repeating adds nothing."""
    said, before = (distinct_bigrams(words(text)) for text in (answer, unaligned))
    return _length_ratio(said, before) - 1.0


def _length_ratio(length: int, reference: int) -> float:
    return length / max(reference, 1)


def uplifting(answer: str) -> float:
    """The mean of VADER's compound over the sentences (Hutto & Gilbert 2014), as a part of 0.6."""
    return _mean([_vader().polarity_scores(sentence)["compound"] for sentence in sentences(answer)]) / _FULL_JOY


def language(answer: str, code: str) -> float:
    """The share of the words that stand in sentences of this language (ISO 639-1), by langid."""
    parts = [(len(words(sentence)), _langid().classify(sentence)[0] == code) for sentence in sentences(answer)]
    return _mean_weighted([(float(right), count) for count, right in parts])


def pirate(answer: str) -> float:
    """The number of different pirate words, as a part of three."""
    return len(_PIRATE.intersection(words(answer))) / 3


def bullets(answer: str) -> float:
    """The share of the lines that begin with a dash, an asterisk or a bullet; 0 if fewer than two do."""
    found = [_DASH.match(line) is not None for line in lines(answer)]
    return _mean(found) if sum(found) > 1 else 0.0


def questions(answer: str) -> float:
    """The share of the sentences that are questions."""
    return _mean([sentence.rstrip("\"'”’)* ").endswith("?") for sentence in sentences(answer)])


def no_digits(answer: str) -> float:
    """1 without a digit, 0 with one."""
    return float(not any(character.isdigit() for character in answer))


def formal(answer: str) -> float:
    """1 without contractions and the second person, 0 from five in a hundred words on."""
    own = words(answer)
    lapses = sum(word in _SECOND_PERSON or _CONTRACTION.match(word) is not None for word in own)
    return 1.0 - 20.0 * lapses / max(len(own), 1)


def topic(answer: str, stems: Sequence[str]) -> float:
    """Twice the share of the sentences that name the topic, so that every other one suffices."""
    pattern = re.compile(rf"\b(?:{'|'.join(map(re.escape, stems))})(?:s|es)?\b", re.IGNORECASE)
    return 2.0 * _mean([pattern.search(sentence) is not None for sentence in sentences(answer)])


def lower_case(answer: str) -> float:
    """The share of the sentences without a capital letter."""
    return _mean([not any(character.isupper() for character in sentence) for sentence in sentences(answer)])


def ends_with(answer: str, phrase: str) -> float:
    """1 if the last words are the phrase, whatever the punctuation."""
    wanted = words(phrase)
    return float(words(answer)[-len(wanted) :] == wanted)


def _mean(values: Sequence[float]) -> float:
    return fmean(values) if values else 0.0


def _mean_weighted(pairs: Sequence[tuple[float, int]]) -> float:
    total = sum(weight for _, weight in pairs)
    return sum(value * weight for value, weight in pairs) / total if total else 0.0


@cache
def _vader() -> Any:
    return _imported("vaderSentiment", "vaderSentiment").SentimentIntensityAnalyzer()


@cache
def _langid() -> Any:
    """A language identifier that chooses among a few languages; its own copy, other users' settings stay theirs."""
    langid = _imported("py3langid", "langid")
    identifier = langid.LanguageIdentifier.from_model_file(langid.MODEL_FILE)
    identifier.set_languages(list(_LANGUAGES))
    return identifier


def _imported(package: str, module: str) -> Any:
    try:
        return import_module(f"{package}.{module}")
    except ImportError as error:
        msg = f"Expected {package}, it is not installed; run `pip install 'la-agents[evaluation]'`."
        raise ConfigurationError(msg) from error
