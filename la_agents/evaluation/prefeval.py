"""PrefEval's classification task: four answers to a question, of which the first follows the user's preference.

Zhao et al., "Do LLMs Recognize Your Preferences?", ICLR 2025, arXiv 2502.09597. The preference, which there stands
somewhere in a conversation, is given here as the principle, word for word: what is measured is not whether it is found
(`benchmarks.research.retrieval`) but whether it is followed.
"""

from __future__ import annotations

import json
from pathlib import Path

from la_agents.errors import ConfigurationError
from la_agents.evaluation.choices import Choice, shuffled

__all__ = ["read_choices"]


def read_choices(path: Path, seed: int = 0) -> list[Choice]:
    """Read a topic's file, or a folder of them: a JSON list of `preference`, `question`, `classification_task_options`.

    Raises:
        ConfigurationError: there is none, or one is not of that form.
    """
    found = []
    for file in sorted(path.glob("*.json")) if path.is_dir() else [path]:
        try:
            items = json.loads(file.read_text(encoding="utf-8"))
            found += [_choice(item, file.stem, number, seed) for number, item in enumerate(items)]
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            msg = f"Expected PrefEval's classification task in {file}, got {type(error).__name__}: {error}"
            raise ConfigurationError(msg) from error
    if not found:
        msg = f"Expected PrefEval's topics in {path}, got none; give a topic's *.json or the folder that holds them."
        raise ConfigurationError(msg)
    return found


def _choice(item: dict[str, object], topic: str, number: int, seed: int) -> Choice:
    key = f"{topic}/{number:03}"
    options = item["classification_task_options"]
    preference, question = item["preference"], item["question"]
    if not isinstance(options, list) or not isinstance(preference, str) or not isinstance(question, str):
        msg = f"{key} has no preference, question and list of options"
        raise TypeError(msg)
    order, correct = shuffled(options, 0, key, seed)
    return Choice(key, key, topic, question.strip(), preference.strip(), order, correct)
