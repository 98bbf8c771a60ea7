"""Choices: questions with several answers of which one follows the principle, and the published sets of such questions.

`prefeval`: PrefEval's classification task (Zhao et al., "Do LLMs Recognize Your Preferences?", ICLR 2025, arXiv
2502.09597). The preference, which there stands somewhere in a conversation, is given here as the principle, word for
word: what is measured is not whether it is found (`benchmarks.research.retrieval`) but whether it is followed.

`personal`: one question, four people who ask it, and for each of them the answer meant for them, in the format of the
set published with Linear Alignment (Gao et al., ICML 2024, arXiv 2401.11458, section 4;
`kkuusou/personal_preference_eval`). The asker is put to the model in the authors' words. They draw one of the four and
generate a letter; here all four ask. Whoever does not know the asker answers all four alike and is right once: the
unaligned model scores 1 of 4, neither more nor less, and an interval has to draw questions, not askers.
"""

from __future__ import annotations

import hashlib
import json
import random
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any

from la_agents.errors import ConfigurationError
from la_agents.evaluation.questions import check_limit

__all__ = ["ASKER", "LETTERS", "Choice", "first_of_each", "letter_of", "personal", "prefeval", "shuffled"]

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
ASKER = "The person who asked the question is {preference}, your answer needs to take his(her) needs into account."
"""The authors' wording of the principle."""


@dataclass(frozen=True, slots=True)
class Choice:
    """A question put to a model that holds one principle.

    Attributes:
        key: Names it in the data.
        item: Names its question and options; neighbours that differ in the principle alone have it in common.
        group: Topic or domain that it is counted under.
        options: In the order they are shown; a seed's (`shuffled`), so that the position tells nothing.
        correct: Place of the option that follows the principle.
    """

    key: str
    item: str
    group: str
    question: str
    principle: str
    options: tuple[str, ...]
    correct: int


def prefeval(path: Path, seed: int = 0) -> list[Choice]:
    """Read a topic's file, or a folder of them: a JSON list of `preference`, `question`, `classification_task_options`.

    Raises:
        ConfigurationError: there is none, or one is not of that form.
    """

    def choices(item: dict[str, Any], name: str) -> Iterator[Choice]:
        if not isinstance(item["classification_task_options"], list):
            msg = f"{name} has no list of options"
            raise TypeError(msg)
        order, correct = shuffled(item["classification_task_options"], 0, name, seed)
        topic, question, principle = name.partition("/")[0], item["question"].strip(), item["preference"].strip()
        yield Choice(name, name, topic, question, principle, order, correct)

    files = sorted(path.glob("*.json")) if path.is_dir() else [path]
    return [c for file in files for c in _read(file, f"{file.stem}/", choices)] or _none("PrefEval's topics", path)


def personal(path: Path, seed: int = 0) -> list[Choice]:
    """Read JSON Lines or a JSON list of `question`, `domain`, `preference_a` to `_d` (the askers), `answer_a` to `_d`.

    Returns:
        Four choices for each item, one an asker.

    Raises:
        ConfigurationError: the file is missing, empty or not of that form.
    """

    def choices(item: dict[str, Any], name: str) -> Iterator[Choice]:
        answers = [item[f"answer_{letter}"] for letter in "abcd"]
        for place, letter in enumerate("abcd"):
            order, correct = shuffled(answers, place, name, seed)
            principle = ASKER.replace("{preference}", item[f"preference_{letter}"].strip().rstrip("."))
            yield Choice(name + letter, name, item["domain"], item["question"].strip(), principle, order, correct)

    return _read(path, "", choices) or _none("personal preferences", path)


def _read(path: Path, prefix: str, choices: Callable[[dict[str, Any], str], Iterator[Choice]]) -> list[Choice]:
    """The choices about each item of a JSON list or of JSON Lines."""
    try:
        text = path.read_text(encoding="utf-8")
        is_list = text.lstrip().startswith("[")
        items = json.loads(text) if is_list else [json.loads(line) for line in text.splitlines() if line.strip()]
        return [choice for number, item in enumerate(items) for choice in choices(item, f"{prefix}{number:03}")]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        msg = f"Expected questions with answers to choose from in {path}, got {type(error).__name__}: {error}"
        raise ConfigurationError(msg) from error


def _none(what: str, path: Path) -> list[Choice]:
    msg = f"Expected {what} in {path}, got none; the documentation says where to get them."
    raise ConfigurationError(msg)


def shuffled(options: Sequence[str], right: int, name: str, seed: int) -> tuple[tuple[str, ...], int]:
    """The options in an order drawn for this name and seed, and the new place of the right one.

    Raises:
        ConfigurationError: there are fewer than two, or one is blank or there twice.
    """
    if not 2 <= len(options) <= len(LETTERS) or len({option.strip() for option in options} - {""}) < len(options):
        msg = f"Expected 2 to {len(LETTERS)} different options in {name}, none of them blank, got {list(options)}."
        raise ConfigurationError(msg)
    # Not from one stream, so that an item keeps its order whatever else is read beside it.
    order = list(range(len(options)))
    random.Random(hashlib.sha256(f"{seed}/{name}".encode()).digest()).shuffle(order)
    return tuple(options[i].strip() for i in order), order.index(right)


def first_of_each(found: Sequence[Choice], limit: int | None) -> list[Choice]:
    """The first questions of every topic or domain, so many in all that `limit` is reached; in the order of the data.

    Everybody who asks one question stays with it.

    Raises:
        ConfigurationError: the limit is below 1.
    """
    check_limit(limit)
    by_group: dict[str, dict[str, None]] = {}
    for choice in found:
        by_group.setdefault(choice.group, {})[choice.item] = None
    in_turn = [item for turn in zip_longest(*by_group.values()) for item in turn if item is not None]
    kept = set(in_turn[:limit])
    return [choice for choice in found if choice.item in kept]


def letter_of(text: str, options: Sequence[str]) -> int | None:
    """The place of the option that a generated answer names: by its letter, else by its beginning; None if by neither.

    >>> [letter_of(text, ["Meat", "Fish"]) for text in (" B", "(B) Fish", "The answer is: A.", "Fish", "A fish dish")]
    [1, 1, 0, 1, None]
    """
    text = text.strip()
    letters = LETTERS[: len(options)]
    # "A" before a small letter is an article.
    named = re.match(
        rf"\W*(?:(?i:the|best|correct|answer|option|choice|is)\b\W*)*(A(?!\s+[a-z])|[{letters[1:]}])(?![\w'])", text
    )
    if named is not None:
        return letters.index(named[1])
    begun = [i for i, option in enumerate(options) if text.lower().startswith(option.lower())]
    return begun[0] if len(begun) == 1 else None
