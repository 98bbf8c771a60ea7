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
    ASKING,
    AWAITING,
    COURTESY,
    FOLLOWING,
    FRAME,
    JOINT,
    LEAD,
    OF_ONESELF,
    POINTING_BACK,
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
        latest: list[str] = []  # what the user's message before states
        for place, message in enumerate(spoken):
            if message.type != "human":
                continue
            text = str(message.text)
            stated = _understood(text, message.id)
            if stated is None and RETRACTION.match(text):
                found.clear()  # which of them, is not understood
            elif stated is None and POINTING_BACK.search(text[:_LAST_CHARS]):
                found = {key: proposal for key, proposal in found.items() if key not in latest}
            latest = []
            if not _is_awaited(spoken[max(0, place - _NUM_BEFORE) : place]):
                for proposal in stated or ():
                    latest.append(proposal.text.casefold())
                    found.pop(latest[-1], None)
                    found[latest[-1]] = proposal
        return [*found.values()]


def _is_awaited(before: Sequence[BaseMessage]) -> bool:
    """Whether what comes may be the material of a task, a line of a role or a game, or an answer about others."""
    last = [(message.type, str(message.text)[-_LAST_CHARS:]) for message in before]
    return any(AWAITING.search(text) or (FRAME if kind == "human" else ASKING).search(text) for kind, text in last)


def _understood(text: str, message_id: str | None) -> list[Proposal] | None:
    """What a message states; None if not all of it is understood."""
    if len(text) > _MAX_CHARS:
        return None
    found: list[Proposal] = []
    for line in own_lines(text):
        before: list[Rule] = []  # in this line
        for sentence in line:
            clauses = _clauses(sentence, before)
            if clauses is None:
                return None
            found += [_proposal(clause, rule, sentence, message_id) for clause, rule in clauses]
            before += [rule for _, rule in clauses]
    return found


def _clauses(sentence: str, before: Sequence[Rule]) -> list[tuple[str, Rule]] | None:
    """What a sentence states, as a whole or clause by clause; None if it is not understood."""
    if len(sentence) > _MAX_SENTENCE_CHARS:
        return None
    words = " ".join(_END.sub("", sentence.replace("’", "'")).split())
    is_asked = sentence.endswith("?")
    whole = _read(words, before, is_asked=is_asked)
    if whole is not None:
        return whole
    found: list[tuple[str, Rule]] = []
    parts = JOINT.split(words)
    for number, part in enumerate(parts, 1):
        read = _read(part, [*before, *(rule for _, rule in found)], is_asked=is_asked and number == len(parts))
        if read is None or len(parts) == 1:
            return None
        found += read
    return found


def _read(clause: str, before: Sequence[Rule], *, is_asked: bool) -> list[tuple[str, Rule]] | None:
    """The words to remember with their rule, none if the clause is harmless; None if it is not understood."""
    if not clause or COURTESY.fullmatch(clause) or (before and FOLLOWING.fullmatch(clause)):
        return []
    while lead := LEAD.match(clause):
        clause = clause[lead.end() :]
    clause = TAIL.sub("", clause)
    is_question = bool(before) and is_asked and QUESTION.fullmatch(clause)
    if REQUEST.fullmatch(clause) or (is_question and (before[-1] in ORDERS or OF_ONESELF.search(clause))):
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
