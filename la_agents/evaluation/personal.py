"""Personal preferences: one question, four people who ask it, and for each of them the answer meant for them.

The format and the protocol are those of the set published with Linear Alignment (Gao et al., ICML 2024, arXiv
2401.11458, section 4; `kkuusou/personal_preference_eval`): each item has `question`, `domain`, four descriptions of the
asker `preference_a` to `preference_d`, and the answers `answer_a` to `answer_d`. The asker is put to the model in the
authors' words. They draw one of the four and generate a letter; here all four ask, and the likelihood is measured too.

All four ask the same question about the same answers. So whoever does not know the asker answers all four alike and is
right once: the unaligned model scores 1 of 4, neither more nor less, and an interval has to draw questions, not askers.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from la_agents.errors import ConfigurationError
from la_agents.evaluation.choices import Choice, shuffled

__all__ = ["ASKER", "read_choices"]

ASKER = "The person who asked the question is {preference}, your answer needs to take his(her) needs into account."
"""The authors' wording of the principle."""

_NAMES = "abcd"


def read_choices(path: Path, seed: int = 0) -> list[Choice]:
    """Read JSON Lines, or one JSON list, of items; four choices each, one an asker.

    Raises:
        ConfigurationError: the file is missing, empty or not of that form.
    """
    try:
        text = path.read_text(encoding="utf-8")
        whole = text.lstrip().startswith("[")
        items = json.loads(text) if whole else [json.loads(line) for line in text.splitlines() if line.strip()]
        found = [choice for number, item in enumerate(items) for choice in _choices(item, number, seed)]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        msg = f"Expected personal preferences in {path}, got {type(error).__name__}: {error}"
        raise ConfigurationError(msg) from error
    if not found:
        msg = f"Expected personal preferences in {path}, got an empty file."
        raise ConfigurationError(msg)
    return found


def _choices(item: dict[str, Any], number: int, seed: int) -> Iterable[Choice]:
    name = f"{number:03}"
    answers = [item[f"answer_{letter}"] for letter in _NAMES]
    for place, letter in enumerate(_NAMES):
        order, correct = shuffled(answers, place, name, seed)
        principle = ASKER.replace("{preference}", item[f"preference_{letter}"].strip().rstrip("."))
        yield Choice(name + letter, name, item["domain"], item["question"].strip(), principle, order, correct)
