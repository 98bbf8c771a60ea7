"""Open questions: what the models are asked, from a file or from the list that comes with the library."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from la_agents.errors import ConfigurationError

__all__ = ["DEFAULT_QUESTIONS", "OpenQuestion", "check_limit", "read_questions"]

DEFAULT_QUESTIONS = Path(__file__).with_name("questions.json")
"""Written for this project; every third one or so has a short answer, so that length can be measured."""


@dataclass(frozen=True, slots=True)
class OpenQuestion:
    """A question without one right answer, and its number in the list it came from."""

    index: int
    text: str


def read_questions(path: Path = DEFAULT_QUESTIONS, limit: int | None = None) -> list[OpenQuestion]:
    """Read a JSON list of `{"index", "question"}`, the first `limit` of them.

    Raises:
        ConfigurationError: the file is missing or not of that form, an index occurs twice, or nothing is asked.
    """
    check_limit(limit)
    try:
        items = json.loads(path.read_text(encoding="utf-8"))
        found = [OpenQuestion(int(item["index"]), str(item["question"]).strip()) for item in items]
    except (OSError, ValueError, KeyError, TypeError) as error:
        msg = f'Expected a JSON list of {{"index", "question"}} in {path}, got {type(error).__name__}: {error}'
        raise ConfigurationError(msg) from error
    twice = [index for index, count in Counter(question.index for question in found).items() if count > 1]
    if not found or twice or not all(question.text for question in found):
        wrong = f"index {twice[0]} twice" if twice else "a blank one" if found else "none"
        msg = f"Expected questions with an index of their own in {path}, got {wrong}."
        raise ConfigurationError(msg)
    return found[:limit]


def check_limit(limit: int | None) -> None:
    """Raise `ConfigurationError` for a limit that leaves nothing to ask."""
    if limit is not None and limit < 1:
        msg = f"Expected a limit of at least 1, got {limit}; leave it out to ask everything."
        raise ConfigurationError(msg)
