"""RuleExtractor: preferences that are said in so many words, in English, without a language model.

It would rather miss one than make one up: a clause counts only if it is said in the first person or asks for something
that lasts, and neither asks, supposes, quotes nor speaks of somebody else.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from langchain_core.messages import BaseMessage

from la_agents.learning.patterns import (
    FRAME,
    FROM_NOW_ON,
    LASTING,
    ONCE,
    RULES,
    STYLE,
    SUPPOSED,
    TAIL,
    WHENEVER,
    Rule,
)
from la_agents.learning.proposal import Proposal
from la_agents.learning.sentences import Sentence, clauses, own_sentences
from la_agents.preferences.preference import MAX_TEXT_CHARS
from la_agents.preferences.rules.statements import letters

__all__ = ["RuleExtractor"]


class RuleExtractor:
    """Finds "I prefer", "I'm allergic to", "please always", "stop doing", "from now on", negations and corrections.

    Reads English; in other languages it finds nothing. `la-agents evaluate learning` measures it.
    """

    def extract(self, messages: Sequence[BaseMessage]) -> list[Proposal]:
        """Return what the human messages state, each once, the latest wording of each."""
        found: dict[str, Proposal] = {}
        for message in messages:
            if message.type != "human":
                continue
            for sentence in own_sentences(str(message.text)):
                for proposal in _proposals(sentence, message.id):
                    found[letters(proposal.text)] = proposal
        return [*found.values()]


def _proposals(sentence: Sentence, message_id: str | None) -> Iterator[Proposal]:
    if SUPPOSED.search(sentence.text):
        return
    for clause in _candidates(sentence):
        if (rule := _matching(clause)) is None or ONCE.search(clause):
            continue
        text = _tidy(sentence.shown(_without_tail(clause)))
        if len(text) <= MAX_TEXT_CHARS:
            scope = rule.scope or ("always" if STYLE.search(text) else "relevant")
            yield Proposal(text, sentence.raw, scope, confidence=rule.confidence, message_id=message_id)


def _candidates(sentence: Sentence) -> list[str]:
    whole = _without_frame(sentence.text.rstrip(" .!?;"))
    if not sentence.is_question and (WHENEVER.pattern.match(whole) or whole.endswith(FROM_NOW_ON)):
        return [whole]
    return [_without_frame(clause.rstrip(" .!?;,")) for clause in clauses(sentence)]


def _matching(clause: str) -> Rule | None:
    return next((rule for rule in (WHENEVER, *RULES) if rule.pattern.match(clause)), None)


def _without_frame(clause: str) -> str:
    """The clause without what only leads to it: "oh, and by the way, please"."""
    lasting = ""
    while (found := FRAME.match(clause)) and found.end() < len(clause):
        if re.match(LASTING, found[0], re.IGNORECASE):
            lasting = FROM_NOW_ON  # said first or last, it is the same order
        clause = clause[found.end() :]
    return clause + lasting


def _without_tail(clause: str) -> str:
    while found := TAIL.search(clause):
        clause = clause[: found.start()]
    return clause.strip(" ,")


def _tidy(text: str) -> str:
    text = re.sub(r"\bplease\s+", "", text, flags=re.IGNORECASE)
    text = re.sub(r"\bi\b(?=['’ ])", "I", " ".join(text.split()))
    return f"{text[:1].upper()}{text[1:]}."
