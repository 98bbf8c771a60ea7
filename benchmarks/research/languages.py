"""Is a preference found in its user's own language? Each language's messages against its few preferences."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from la_agents.errors import ConfigurationError
from la_agents.preferences.store import PreferenceStore

if TYPE_CHECKING:
    from langchain_core.embeddings import Embeddings

__all__ = ["LanguageScores", "measure_languages"]


@dataclass(frozen=True, slots=True)
class LanguageScores:
    """What was found in one language.

    Attributes:
        language: Its name.
        questions: Messages that call for one of the preferences; the others call for none.
        first: Of these, whose own preference comes first, without a threshold.
        found: Of these, whose own preference is returned.
        wrong: Other preferences that are returned, for all messages together.
    """

    language: str
    questions: int
    first: int
    found: int
    wrong: int


def measure_languages(file: Path, embeddings: Embeddings) -> Iterator[LanguageScores]:
    """Ask one user a language; the n-th message calls for the n-th preference.

    Raises:
        ConfigurationError: the file is not of that form.
    """
    try:
        texts = json.loads(file.read_text(encoding="utf-8"))
        languages = [(name, each["preferences"], each["messages"]) for name, each in texts.items()]
    except (OSError, ValueError, AttributeError, KeyError, TypeError) as error:
        msg = f"Expected preferences and messages by language in {file}, got {type(error).__name__}: {error}"
        raise ConfigurationError(msg) from error
    with tempfile.TemporaryDirectory() as folder, PreferenceStore(folder, embeddings=embeddings) as store:
        for name, preferences, messages in languages:
            store.add_many(name, preferences, consolidate=False)
            own = [*preferences, *[None] * (len(messages) - len(preferences))]
            ranked = [store.retrieve(name, message, k=1, min_relevance=None) for message in messages]
            returned = [[each.preference.text for each in store.retrieve(name, message)] for message in messages]
            yield LanguageScores(
                name,
                len(preferences),
                sum(best[0].preference.text == right for best, right in zip(ranked, own, strict=True)),
                sum(right in found for found, right in zip(returned, own, strict=True)),
                sum(text != right for found, right in zip(returned, own, strict=True) for text in found),
            )
