"""A message taken apart: what its author says in their own person, sentence by sentence, clause by clause.

Code, quoted lines and quoted words are somebody else's, or only shown: they cannot start a preference.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

__all__ = ["Sentence", "clauses", "own_sentences"]

_BLOCKS = re.compile(r"```.*?(?:```|\Z)|^\s*>.*$|`[^`\n]+`", re.DOTALL | re.MULTILINE)
_QUOTES = re.compile(r"\"[^\"\n]+\"|“[^”\n]+”|«[^»\n]+»|(?<!\w)['‘][^'’\n]+(?:['’]\w[^'’\n]*)*['’](?!\w)")
_SENTENCE = re.compile(r"[^.!?;\n]+(?:\.(?=\w)[^.!?;\n]+)*[.!?;]*")
_MAX_CHARS = 500
_HIDDEN = "\ue000"  # stands for a quotation; from the private use area, so that no rule matches it

_ASKING = (
    r"what|which|where|when|why|who|whose|how|can|could|should|would|will|is|are|do|does|did|am|any|may|shall|has|have"
)
_ORDERING = (
    r"please|find|give|make|use|keep|book|show|tell|schedule|suggest|recommend|plan|write|answer|help|let's|call|just|"
    r"don't|do not|no|stop|always|never"
)
_PERSON = r"i|i'm|i'd|i've|my|mine"
_JOINT = re.compile(
    rf",?\s+(?:and|but|so|because|yet|then)\s+(?:that\s+|now\s+)?(?=(?:{_PERSON}|{_ASKING}|{_ORDERING})\b)"
    rf"|,\s+(?:so|but)\s+|,\s+(?=(?:{_PERSON}|{_ASKING}|please|use|find|give|find|book|any)\b)"
    rf"|:\s+(?=(?:{_PERSON}|please|always|never|no|stop)\b)|\s+[-–—]\s+",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Sentence:
    """One sentence of a message.

    Attributes:
        raw: As it stands in the message.
        text: With quotations hidden and straight apostrophes; what rules look at.
    """

    raw: str
    text: str

    @property
    def is_question(self) -> bool:
        """Whether it ends by asking."""
        return self.raw.rstrip("\"'”’) ").endswith("?")

    def shown(self, part: str) -> str:
        """A part of `text` with its quotations put back."""
        quotations = iter(_QUOTES.findall(self.raw))
        skipped = self.text[: max(0, self.text.find(part))].count(_HIDDEN)
        for _ in range(skipped):
            next(quotations)
        return re.sub(_HIDDEN, lambda _: next(quotations), part)


def own_sentences(text: str) -> list[Sentence]:
    """The sentences of a message, without code and quoted lines; endless ones are left out, they state nothing."""
    text = _BLOCKS.sub("\n", text.replace(_HIDDEN, " "))
    quotations: list[str] = []

    def hide(found: re.Match[str]) -> str:
        quotations.append(found[0])
        return _HIDDEN

    hidden = _QUOTES.sub(hide, text)
    remaining = iter(quotations)
    sentences = []
    for found in _SENTENCE.findall(hidden):
        raw = re.sub(_HIDDEN, lambda _: next(remaining), found)
        if found.strip() and len(found) <= _MAX_CHARS:
            sentences.append(Sentence(raw.strip(), found.strip().replace("’", "'")))
    return sentences


def clauses(sentence: Sentence) -> list[str]:
    """The parts of a sentence that could stand alone; of a question, the last one asks and is left out."""
    parts = [part.strip() for part in _JOINT.split(sentence.text) if part and part.strip(" .!?;,")]
    return parts[:-1] if sentence.is_question else parts
