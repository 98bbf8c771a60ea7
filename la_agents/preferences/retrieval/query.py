"""A query for the ranking: a short message as a whole, a long one in parts, since an embedding covers few tokens."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from la_agents.preferences.record import Vector
from la_agents.preferences.retrieval.everyday import Common

__all__ = ["Query", "parts_of"]

_WHOLE_CHARS = 400
_PART_CHARS = 240
_FIRST_PARTS, _LAST_PARTS = 4, 12
_SENTENCE = re.compile(r"[^.!?\n\u3002\uff01\uff1f\u0964]*[.!?\n\u3002\uff01\uff1f\u0964]*")


@dataclass(frozen=True, slots=True)
class Query:
    """A question as the ranking sees it.

    Attributes:
        parts: Its text, in parts.
        vectors: Their embeddings, [parts, dimension].
        common: What embeddings have in common.
        serves: Whether the embedding model knows the language of a text.
    """

    parts: tuple[str, ...]
    vectors: Vector
    common: Common
    serves: Callable[[str], bool] = lambda text: True


def parts_of(text: str) -> tuple[str, ...]:
    """A short message as it is; of a long one whole sentences together, the first and the last of them.

    What a message is about stands at its beginning or its end; whatever is pasted in between may be of any length.
    """
    text = text.strip()
    if len(text) <= _WHOLE_CHARS:
        return (text,)
    longest = _PART_CHARS * (_FIRST_PARTS + _LAST_PARTS)
    if len(text) > 2 * longest:  # no more than this is looked at, however long it is
        return (*_parts(text[:longest])[:_FIRST_PARTS], *_parts(text[-longest:])[-_LAST_PARTS:])
    parts = _parts(text)
    return tuple(parts if len(parts) <= _FIRST_PARTS + _LAST_PARTS else parts[:_FIRST_PARTS] + parts[-_LAST_PARTS:])


def _parts(text: str) -> list[str]:
    parts = [""]
    for sentence in _SENTENCE.findall(text):
        for start in range(0, len(sentence), _PART_CHARS):
            piece = sentence[start : start + _PART_CHARS]
            if len(parts[-1]) + len(piece) > _PART_CHARS:
                parts.append("")
            parts[-1] += piece
    return [part.strip() for part in parts if part.strip()]
