"""Choices: questions with several answers of which one follows the principle; which one does a method choose?

Two ways to ask. By likelihood: the question alone is put to the model, and each answer is scored token by token under
the method's policy. By letter: the answers are listed under A, B, C, ..., and the method generates the letter.
"""

from __future__ import annotations

import hashlib
import random
import re
from collections.abc import Container, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage

from la_agents.errors import ConfigurationError
from la_agents.evaluation.answers import BLOCK, Answer, Answerer, Job
from la_agents.evaluation.likelihood import Continuation, ModelScorer, Scorer
from la_agents.evaluation.methods import Setting
from la_agents.evaluation.runs import Row
from la_agents.principles import Principle

if TYPE_CHECKING:
    from la_agents.engine.engine import Engine
    from la_agents.prompts.builder import PromptBuilder

__all__ = ["Choice", "items", "letter_of", "measure", "row_key", "shuffled"]

_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_MAX_LETTER_TOKENS = 6
_BEGINNING = "Answer:"
"""The answer is begun for the model, as in the published protocol, so that a small one knows what is wanted."""
_CHOICES_AT_ONCE = 8
"""As many as the prefix cache holds the prompts of, with room to spare."""
_DIGITS = 4


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


def shuffled(options: Sequence[str], right: int, name: str, seed: int) -> tuple[tuple[str, ...], int]:
    """The options in an order drawn for this name and seed, and the new place of the right one.

    Raises:
        ConfigurationError: there are fewer than two, or one is blank or there twice.
    """
    if not 2 <= len(options) <= len(_LETTERS) or len({option.strip() for option in options} - {""}) < len(options):
        msg = f"Expected 2 to {len(_LETTERS)} different options in {name}, none of them blank, got {list(options)}."
        raise ConfigurationError(msg)
    # Not from one stream, so that an item keeps its order whatever else is read beside it.
    order = list(range(len(options)))
    random.Random(hashlib.sha256(f"{seed}/{name}".encode()).digest()).shuffle(order)
    return tuple(options[i].strip() for i in order), order.index(right)


def row_key(choice: Choice, setting: Setting) -> str:
    """Stable name of one choice under one setting."""
    return f"{choice.key}/{setting.key}"


def letter_of(text: str, options: Sequence[str]) -> int | None:
    """The place of the option that a generated answer names: by its letter, else by its beginning; None if by neither.

    >>> [letter_of(text, ["Meat", "Fish"]) for text in (" B", "(B) Fish", "The answer is: A.", "Fish", "A fish dish")]
    [1, 1, 0, 1, None]
    """
    text = text.strip()
    letters = _LETTERS[: len(options)]
    # "A" before a small letter is an article.
    named = re.match(
        rf"\W*(?:(?i:the|best|correct|answer|option|choice|is)\b\W*)*(A(?!\s+[a-z])|[{letters[1:]}])(?![\w'])", text
    )
    if named is not None:
        return letters.index(named[1])
    begun = [i for i, option in enumerate(options) if text.lower().startswith(option.lower())]
    return begun[0] if len(begun) == 1 else None


def measure(
    engine: Engine,
    builder: PromptBuilder,
    choices: Sequence[Choice],
    settings: Sequence[Setting],
    *,
    seed: int = 0,
    keys: Container[str] | None = None,
) -> Iterator[tuple[str, Row]]:
    """One row for each choice under each setting, with its `row_key`, in their order; only those in `keys`.

    A row holds, for each option, `total` (log-likelihood, nats) and `mean` (nats a token), None for settings that have
    no policy of their own (best-of-n); and `letter`, the place of the option that the generated `text` names, or None.
    The model runs along the options once, whatever the number of settings.
    """
    scorer = ModelScorer(engine.loaded)

    def due(item: Sequence[Choice]) -> list[tuple[Choice, Setting]]:
        pairs = [(choice, setting) for choice in item for setting in settings]
        return [pair for pair in pairs if keys is None or row_key(*pair) in keys]

    for block in _blocks(choices):
        if not any(map(due, block)):
            continue
        # All of the block, whatever is due of it: its answers are not to depend on that.
        pairs = [(choice, setting) for item in block for choice in item for setting in settings]
        letters = _letters(engine, builder, pairs, seed)
        for item in block:
            own = due(item)
            along = dict(_along_options(scorer, builder, item) if own else ())
            for choice, setting in own:
                scores = None if setting.num_samples > 1 else _scores(along[choice], setting)
                key = row_key(choice, setting)
                yield key, _row(choice, setting, scores, letters[key])


def items(choices: Sequence[Choice]) -> list[list[Choice]]:
    """The choices about each item.

    An item is computed as a whole even where only one of it is wanted, so that its numbers do not depend on that.
    """
    return [list(own) for _, own in groupby(choices, key=lambda choice: choice.item)]


def _blocks(choices: Sequence[Choice]) -> Iterator[list[list[Choice]]]:
    """As many items as are decoded at a time."""
    block: list[list[Choice]] = []
    for own in items(choices):
        block.append(own)
        if sum(map(len, block)) >= _CHOICES_AT_ONCE:
            yield block
            block = []
    if block:
        yield block


def _letters(
    engine: Engine, builder: PromptBuilder, pairs: Sequence[tuple[Choice, Setting]], seed: int
) -> dict[str, Answer]:
    """The generated answers by `row_key`."""
    answerer = Answerer(engine, builder)
    jobs = [_letter_job(choice, setting, seed) for choice, setting in pairs]
    blocks = [jobs[start : start + BLOCK] for start in range(0, len(jobs), BLOCK)]
    return {answer.job.key: answer for block in blocks for answer in answerer.answer(block)}


def _letter_job(choice: Choice, setting: Setting, seed: int) -> Job:
    listed = "\n".join(f"{letter}. {option}" for letter, option in zip(_LETTERS, choice.options, strict=False))
    asked = f"{choice.question}\n\n{listed}\n\nChoose the best of these answers. Reply with its letter alone."
    messages: tuple[BaseMessage, ...] = (HumanMessage(asked), AIMessage(_BEGINNING))
    return Job(
        question=messages,
        principles=(Principle(choice.principle),),
        setting=setting,
        max_tokens=_MAX_LETTER_TOKENS,
        seed=seed,
        key=row_key(choice, setting),
    )


def _along_options(
    scorer: Scorer, builder: PromptBuilder, item: Sequence[Choice]
) -> Iterator[tuple[Choice, list[Continuation]]]:
    """For each choice about an item its options; the reference is computed once for all of them."""
    first = item[0]
    prompts = builder.build_text(first.question, [Principle(choice.principle) for choice in item], "sum")
    along = list(scorer.continuations(prompts, [scorer.encode(option) for option in first.options]))
    for branch, choice in enumerate(item, start=1):
        yield choice, [Continuation(one.token_ids, one.logits[[0, branch]], one.weights[:1]) for one in along]


def _scores(along: list[Continuation], setting: Setting) -> tuple[list[float], list[float]]:
    totals = [float(one.log_probabilities(setting).double().sum()) for one in along]
    means = [total / len(one.token_ids) for total, one in zip(totals, along, strict=True)]
    return totals, means


def _row(choice: Choice, setting: Setting, scores: tuple[list[float], list[float]] | None, answer: Answer) -> Row:
    totals, means = scores or (None, None)
    return {
        "group": choice.group,
        "item": choice.item,
        "setting": setting.key,
        "method": setting.method,
        "strength": setting.strength,
        "max_divergence": setting.max_divergence,
        "correct": choice.correct,
        "total": totals and [round(value, _DIGITS) for value in totals],
        "mean": means and [round(value, _DIGITS) for value in means],
        "letter": letter_of(answer.text, choice.options),
        "text": answer.text,
    }
