"""RuleExtractor: preferences that are said in so many words, in English, without a language model.

A message is understood as a whole or not at all. Every sentence of it has to state a preference by itself, to be a
courtesy, or to ask for something in the user's own life; one that is none of these may be what owns the others, such as
a task with its material, a speaker or a narration, and then nothing is learned.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from langchain_core.messages import BaseMessage

from la_agents.learning.messages import own_lines
from la_agents.learning.orders import ORDERS
from la_agents.learning.phrases import Rule
from la_agents.learning.proposal import Proposal
from la_agents.learning.statements import ABOUT_ANSWERS, STATEMENTS
from la_agents.learning.surroundings import (
    AWAITING,
    COURTESY,
    FOLLOWING,
    JOINT,
    LEAD,
    QUESTION,
    REQUEST,
    RETRACTION,
    TAIL,
)
from la_agents.preferences.suggestion import suggested_scope

__all__ = ["RuleExtractor"]

_MAX_CHARS = 2_000  # longer messages are mostly pasted
_MAX_SENTENCE_CHARS = 300
_NUM_BEFORE = 2  # messages that may have set a task: the assistant's last one, and what it answered
_LAST_CHARS = 300
_END = re.compile(r"[\s.!?…\U0001F300-\U0001FAFF\u2600-\u27BF\uFE0F]+$")
_TITLE = re.compile(r"I [A-Z][a-z]")  # "I Love Lucy"


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
                stated = _understood(str(message.text), message.id)
                if stated is None and RETRACTION.match(str(message.text)):
                    found.clear()  # which of them, is not understood
                for proposal in stated or ():
                    key = proposal.text.casefold()
                    found.pop(key, None)
                    found[key] = proposal
        return [*found.values()]


def _understood(text: str, message_id: str | None) -> list[Proposal] | None:
    """What a message states; None if not all of it is understood."""
    if len(text) > _MAX_CHARS:
        return None
    found: list[Proposal] = []
    for line in own_lines(text):
        in_line: list[Proposal] = []
        for sentence in line:
            clauses = _clauses(sentence, is_after=bool(in_line))
            if clauses is None:
                return None
            in_line += [_proposal(clause, rule, sentence, message_id) for clause, rule in clauses]
        found += in_line
    return found


def _clauses(sentence: str, *, is_after: bool) -> list[tuple[str, Rule]] | None:
    """What a sentence states, as a whole or clause by clause; None if it is not understood."""
    if len(sentence) > _MAX_SENTENCE_CHARS:
        return None
    words = " ".join(_END.sub("", sentence.replace("’", "'")).split())
    is_asked = sentence.endswith("?")
    whole = _read(words, is_asked=is_asked, is_after=is_after)
    if whole is not None:
        return whole
    found: list[tuple[str, Rule]] = []
    parts = JOINT.split(words)
    for number, part in enumerate(parts, 1):
        read = _read(part, is_asked=is_asked and number == len(parts), is_after=is_after or bool(found))
        if read is None or len(parts) == 1:
            return None
        found += read
    return found


def _read(clause: str, *, is_asked: bool, is_after: bool) -> list[tuple[str, Rule]] | None:
    """The words to remember with their rule, none if the clause is harmless; None if it is not understood."""
    if not clause or COURTESY.fullmatch(clause) or (is_after and FOLLOWING.fullmatch(clause)):
        return []
    while lead := LEAD.match(clause):
        clause = clause[lead.end() :]
    clause = TAIL.sub("", clause)
    if REQUEST.fullmatch(clause) or (is_asked and is_after and QUESTION.fullmatch(clause)):
        return []
    if _TITLE.match(clause):
        return None
    for rule in (*ORDERS, *STATEMENTS):
        if (found := rule.pattern.fullmatch(clause)) and (not is_asked or "you" in clause.split()[:2]):
            return [(found.groupdict().get("text") or clause, rule)]
    return None


def _proposal(clause: str, rule: Rule, sentence: str, message_id: str | None) -> Proposal:
    text = re.sub(r"\bplease\s+", "", clause, flags=re.IGNORECASE)
    text = re.sub(r"\bi\b(?=['’ ])", "I", text)
    scope = rule.scope or ("always" if ABOUT_ANSWERS.search(text) else suggested_scope(text))
    return Proposal(
        f"{text[:1].upper()}{text[1:]}.", sentence, scope, confidence=rule.confidence, message_id=message_id
    )
