"""RuleExtractor: preferences that are said in so many words, in English, without a language model.

A message is understood as a whole or not at all. Every sentence of it has to state a preference by itself, to be a
courtesy, or to ask for something in the user's own life; one that is none of these may be what owns the others, such as
a task with its material, a speaker or a narration, and then nothing is learned.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from langchain_core.messages import BaseMessage

from la_agents.learning.grammar import (
    ABOUT_ANSWERS,
    ASKING,
    AWAITING,
    COURTESY,
    JOINT,
    LEAD,
    ORDERS,
    STATEMENTS,
    Rule,
)
from la_agents.learning.messages import MAX_CHARS, sentences
from la_agents.learning.proposal import Proposal

__all__ = ["RuleExtractor"]

_MAX_SENTENCE_CHARS = 300
_NUM_BEFORE = 2  # messages that may have set a task: the assistant's last one, and what it answered
_LAST_CHARS = 300


class RuleExtractor:
    """Finds plain statements such as "I'm allergic to peanuts." and orders such as "Please always answer in French.".

    It would rather miss one than make one up. It reads English; in other languages it finds nothing.
    """

    def extract(self, messages: Sequence[BaseMessage]) -> list[Proposal]:
        """Return what the human messages state, each once, the latest wording of each."""
        found: dict[str, Proposal] = {}
        spoken = [message for message in messages if message.type in ("human", "ai")]
        for place, message in enumerate(spoken):
            before = spoken[max(0, place - _NUM_BEFORE) : place]
            if message.type == "human" and not any(AWAITING.search(str(m.text)[-_LAST_CHARS:]) for m in before):
                for proposal in _understood(str(message.text), message.id):
                    key = proposal.text.casefold()
                    found.pop(key, None)
                    found[key] = proposal
        return [*found.values()]


def _understood(text: str, message_id: str | None) -> list[Proposal]:
    """What a message states, if all of it is understood."""
    if len(text) > MAX_CHARS:
        return []
    found: list[Proposal] = []
    for sentence in sentences(text):
        stated = _stated(sentence, message_id)
        if stated is None:
            return []
        found += stated
    return found


def _stated(sentence: str, message_id: str | None) -> list[Proposal] | None:
    """What a sentence states, as a whole or clause by clause; None if that is not understood."""
    if len(sentence) > _MAX_SENTENCE_CHARS:
        return None
    plain = " ".join(sentence.replace("’", "'").split())
    asks = plain.endswith("?")
    words = re.sub(r"[\s.!?…\U0001F300-\U0001FAFF\u2600-\u27BF\uFE0F]+$", "", plain)
    found: list[Proposal] = []
    clauses = [words] if (whole := _read(words, asks)) is not None else JOINT.split(words)
    for number, clause in enumerate(clauses, 1):
        read = whole if whole is not None else _read(clause, asks and number == len(clauses))
        if read is None:
            return None
        for text, rule in read:
            scope = rule.scope or ("always" if ABOUT_ANSWERS.search(text) else "relevant")
            found.append(Proposal(text, sentence, scope, confidence=rule.confidence, message_id=message_id))
    return found


def _read(clause: str, asks: bool) -> list[tuple[str, Rule]] | None:
    """The text to remember with its rule, or nothing if the clause is harmless; None if it is not understood."""
    if not re.search(r"\w", clause) or COURTESY.fullmatch(clause):
        return []
    while lead := LEAD.match(clause):
        clause = clause[lead.end() :]
    clause = re.sub(r",? (?:please|thanks|thank you|by the way|btw|though)$", "", clause, flags=re.IGNORECASE)
    if ASKING.fullmatch(clause):
        return []
    for rule in (*ORDERS, *STATEMENTS):
        if (found := rule.pattern.fullmatch(clause)) and (not asks or "you" in clause.split()[:2]):
            return [(_tidy(found.groupdict().get("text") or clause), rule)]
    return None


def _tidy(text: str) -> str:
    text = re.sub(r"\bplease\s+", "", text, flags=re.IGNORECASE)
    text = re.sub(r"\bi\b(?=['’ ])", "I", text)
    return f"{text[:1].upper()}{text[1:]}."
