"""What English clauses look like that state a preference: patterns for `rules.py`, tried in their order. Data only."""

from __future__ import annotations

import re
from dataclasses import dataclass

from la_agents.preferences.preference import Scope

__all__ = [
    "FRAME",
    "FROM_NOW_ON",
    "LASTING",
    "ONCE",
    "RULES",
    "STYLE",
    "SUPPOSED",
    "TAIL",
    "WHENEVER",
    "Rule",
]


@dataclass(frozen=True, slots=True)
class Rule:
    """What a clause looks like that states a preference, how sure that is, and when it applies."""

    pattern: re.Pattern[str]
    confidence: float
    scope: Scope | None  # None: by what it is about


def _rule(pattern: str, confidence: float, scope: Scope | None = None) -> Rule:
    return Rule(re.compile(rf"^(?:{pattern})", re.IGNORECASE), confidence, scope)


_HOW = (
    r"(?:(?:really|absolutely|truly|definitely|generally|usually|mostly|much|strongly|strictly|firmly|"
    r"particularly|tend to|try to|also|still|just) )*"
)
# What is liked for the moment, or is somebody, is no preference.
_THING = (
    r"(?!(?:it|this|that|these|those|you|your|him|her|them|where|what|when|how|why|who|"
    r"the (?:first|second|last|former|latter|other|new|idea|way you)|to (?:see|know|learn|hear|ask|understand))\b)\S"
)
_NOT = r"(?:don't|do not|no longer|never|can't|cannot|can not|won't|will not)"
_LIKE = r"(?:like|love|enjoy|adore|prefer|favou?r|hate|dislike|detest|loathe|despise|avoid)"
_LEANING = r"dislike|aversion|preference|objection|love|passion|weakness|fear|phobia"
_DO = r"want|need|care for|stand|bear|use|watch|read|play|buy|wear|fly|drive|check"
_PAST = r"forget|thought|wonder|wanted|heard|knew|said|had|was|got|\w+ed\b"
_CONDITION = (
    r"vegan|vegetarian|pescatarian|coeliac|celiac|diabetic|lactose|gluten|intolerant|allergic|colou?r[- ]?blind|"
    r"blind|deaf|hard of hearing|dyslexic|pregnant|autistic|left-handed|muslim|jewish|hindu|kosher|halal|sober|teetotal"
)
_AILMENT = (
    r"allerg|intoleran|disease|diabetes|asthma|coeliac|celiac|dyslexia|adhd|autism|bad (?:knee|back|hip)|migraine|"
    r"sensitiv"
)
_SAY = (
    r"answer|reply|respond|write|speak|talk|explain|describe|show|give|use|keep|make|cite|quote|add|include|skip|avoid|call|"
    r"address|be|put|format|summari[sz]e|translate|list|start|end|treat|remind|mention|ask|tell|stick|return|provide|"
    r"assume|leave|omit|switch|refer|spell|convert|name"
)
_MANNER = r"(?:always|never) \w+|speak|talk|sound|be (?:more|less)|answer|reply|respond|address|call me"
LASTING = (
    r"\b(?:always|never|from now on|from here on|in (?:the )?future|going forward|henceforth|every time|each time|"
    r"ever)\b"
)

RULES = (
    # how to answer
    _rule(rf"(?:always|never) (?:{_SAY}|\w+)\b", 0.95, "always"),
    _rule(r"(?:stop|quit) \w+ing\b", 0.95, "always"),
    _rule(r"no more \w+", 0.9, "always"),
    _rule(rf"(?:don't|do not) .*(?:\bagain\b|\bany ?more\b|\bever\b|\bevery\b|{LASTING})", 0.95, "always"),
    _rule(rf"no \w+.*,? (?:ever|{LASTING})", 0.9, "always"),
    _rule(rf"(?:{_SAY})\b.*{LASTING}", 0.95, "always"),
    _rule(r"(?:answer|reply|write|speak|talk) .*\bagain$", 0.85, "always"),
    _rule(r"call me (?!a\b|an\b|back\b|when|tomorrow|later|at\b|on\b)\w+[\w ]*$", 0.95, "always"),
    _rule(rf"(?:i want|i need|i prefer|i(?:'d| would) (?:like|prefer|love)) you to (?:{_MANNER})\b", 0.9, "always"),
    _rule(r"i (?:\w+ )?(?:want|need) (?!to\b)(?:\w+ ){1,3}(?:answers|replies|explanations|summaries)\b", 0.9, "always"),
    # needs
    _rule(rf"i(?:'m| am) (?!not allergic to any)(?:\w+ )*?(?:{_CONDITION})", 0.95, "always"),
    _rule(rf"i (?:have|suffer from|live with) .*(?:{_AILMENT})", 0.9, "always"),
    _rule(r"i use (?:a |an )?(?:wheelchair|screen reader|hearing aid|walking stick|guide dog)", 0.95, "always"),
    _rule(rf"i {_NOT} (?:eat|drink|digest|tolerate|have) (?!that|this|it|time|any idea|enough|to)\w", 0.95, "always"),
    # tastes
    _rule(rf"i {_HOW}{_LIKE} {_THING}", 0.9),
    _rule(rf"i {_HOW}{_NOT} {_HOW}(?:{_LIKE}|{_DO}) {_THING}", 0.85),
    _rule(r"i(?:'d| would) (?:much )?(?:rather|prefer) (?:not )?(?!to know|to see|you|if|that\b)\w", 0.8),
    _rule(r"i(?:'m| am) (?:not )?(?:\w+ )?(?:into|fond of|keen on|an? (?:\w+ )?fan of) \w", 0.9),
    _rule(r"i(?:'m| am) (?:\w+ )?(?:opposed to|against|averse to|passionate about) \w", 0.85),
    _rule(rf"i have an? (?:\w+ )?(?:{_LEANING}) (?:for|to|towards|of|against) \w", 0.9),
    _rule(r"my (?:\w+ )?favou?rite [\w ]+ (?:is|are|has always been) \w", 0.95),
    _rule(r"[\w' ]+ (?:is|are)(?:n't| not)(?: really)? (?:my thing|for me|my cup of tea)", 0.85),
    _rule(r"anything but \w", 0.6),
    _rule(r"[\w ]+ (?:over|rather than) [\w ]+, (?:any day|any time|always)", 0.85),
    # habits
    _rule(rf"i (?:always|usually|never|only|mostly|normally|generally) (?!{_PAST})\w+", 0.75),
    _rule(r"i work best \w", 0.8),
    _rule(r"i(?:'m| am) an? (?:\w+ )?(?:beginner|novice|expert|morning person|night owl|early bird)\b", 0.8),
    _rule(r"my (?:\w+ )?budget (?:\w+ )*is \w", 0.75),
)  # fmt: skip

FROM_NOW_ON = " from now on"
WHENEVER = _rule(r"(?:whenever|every time|each time|any time|anytime) (?:you|i) .+", 0.95, "always")
FRAME = re.compile(
    r"^(?:actually|honestly|frankly|realistically|personally|oh|ah|well|no|nope|yes|yeah|ok|okay|wait|also|anyway|great|nice|"
    r"perfect|hey|hi|hello|thanks|thank you|sorry|look|btw|by the way|and|but|so|then|now|as i said|as always|"
    r"for the record|just so you know|in general|to be clear|note that|you know|please|kindly|"
    r"(?:please )?(?:remember|note|know|keep in mind)(?: that)?|from now on|from here on|in (?:the )?future|"
    r"going forward|henceforth|(?:make sure|be sure|ensure|see to it)(?: that)?(?: you| to)?(?= (?:always|never))|"
    r"(?:can|could|would|will) you(?: please)?(?= (?:always|never|stop))|you (?:can|should|may|must)(?= (?:\w+ )*)|"
    r"it (?:would|'d) be (?:\w+ )?(?:if|when) you|for [\w ]{3,12}(?= i)|if it isn't clear yet)\b[\s,:]*",
    re.IGNORECASE,
)
TAIL = re.compile(
    r"[\s,]*\b(?:please|thanks|thank you|by the way|btw|anyway|these days|from now on|from here on|in (?:the )?future|"
    r"going forward|henceforth|after all|i'd say|i would say|any day|okay|ok|though)$",
    re.IGNORECASE,
)
SUPPOSED = re.compile(
    r"\b(?:if i|if you were|were i|imagine|suppose|supposing|assume|assuming|pretend|let's say|what if|i wonder|"
    r"wondering|might|maybe|perhaps|not sure|hypothetically)\b",
    re.IGNORECASE,
)
ONCE = re.compile(
    r"\b(?:just this once|this time|for this (?:\w+ )?(?:question|email|answer|one|text|task|letter)|today|tonight|"
    r"right now|at the moment|in this \w+)\b",
    re.IGNORECASE,
)
STYLE = re.compile(
    r"\b(?:answers?|repl(?:y|ies)|responses?|explanations?|summar(?:y|ies)|examples|tables?|bullet|emojis?|units|metric|imperial|"
    r"spelling|plain text|jargon|disclaimers?|tone)\b",
    re.IGNORECASE,
)
