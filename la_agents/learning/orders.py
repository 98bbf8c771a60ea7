"""The English clauses that tell the assistant what to do from now on, as patterns of whole clauses. Data only.

The word that says that it lasts governs the order: it stands before its verb or at its end, and nothing tells of others
there. "Write a story set in the future." and "Explain why the sky is always blue." are orders for once.
"""

from __future__ import annotations

from la_agents.learning.phrases import WORDS_OF_ORDER, WORDS_OF_SPEECH, Rule, one_of, pattern

__all__ = ["ORDERS"]

_MANNERS = one_of(
    """brief, concise, short, polite, formal, informal, casual, honest, direct, friendly, blunt, kind, patient,
    specific, precise, critical, encouraging, simple, gentle, neutral, objective, plain, to the point"""
)
_MANNER = rf"{_MANNERS}(?:,? and {_MANNERS}|, {_MANNERS}){{0,2}}"
_ADVERB = one_of(
    """briefly, concisely, shortly, politely, formally, informally, casually, honestly, directly, plainly, simply,
    slowly, clearly, precisely"""
)
_IN_WORDS = one_of(rf"in, with, as, like, without, using, only, to me, to my, me, my, at length, {_ADVERB}")
_SPEAK = rf"(?:answer|reply|respond|write|speak|talk|explain)(?: {_IN_WORDS})"
_DO = one_of(
    r"""use, include, add, provide, cite, quote, list, mention, skip, omit, avoid, explain, spell, format, recommend,
    suggest, write, show me, give(?! (?:up|in|way|back)\b), apologi[sz]e for,
    (?:start|begin|end|finish) (?:with|by|your|each|every|answers|replies), (?:ask|remind|warn) me,
    (?:call|address) me(?! (?:again|back|later|when)\b), refer to me"""
)
_KEPT = r"keep (?:it|things|answers|replies|responses|explanations|your \w+)"
_SPEECH = rf"(?:{_SPEAK}{WORDS_OF_SPEECH}?|be (?:more |very |really )?{_MANNER}|{_KEPT} (?:\w+ )?{_MANNER})"
_ORDER = rf"(?:{_SPEECH}|{_DO}{WORDS_OF_ORDER}|keep your \w+ (?:under|below|to|within){WORDS_OF_ORDER}|apologi[sz]e)"
_LASTING = r"(?:from now on|from here on|going forward|henceforth)"
_SHUNNED = one_of(
    """emojis?, emoticons, bullet points, bullets, lists, tables, headings, headers, jargon, slang, disclaimers,
    apologies, exclamation marks, markdown, acronyms, abbreviations, metaphors, sarcasm, puns, jokes, caveats,
    filler, small talk, links"""
)
_WHEN = (
    r"(?:whenever|every time|each time|when) (?:i (?:ask|want|need|request|mention|talk about)|"
    r"you (?:answer|explain|give|show|write|use|recommend|suggest|list|mention|cite))"
)

ORDERS = tuple(
    Rule(pattern(clause), "always", 0.95)
    for clause in (
        rf"(?:always|never|don't ever|do not ever) {_ORDER}",
        rf"(?:can|could|would|will) you please (?P<text>(?:always|never) {_ORDER})",
        rf"(?:can|could|would|will) you (?P<text>(?:always|never) {_SPEECH})",
        rf"(?:make|be) sure (?:to |you |that you )(?P<text>(?:always|never) {_ORDER})",
        rf"i(?:'d| would)? (?:want|need|like|prefer) you to (?:always|never) {_ORDER}",
        rf"(?:{_LASTING}|in (?:the )?future),? (?:please )?(?P<text>(?:(?:always|don't|do not|never) )?{_ORDER})",
        rf"{_LASTING},? (?P<text>no (?:more )?{_SHUNNED})",
        rf"(?P<text>(?:(?:don't|do not|never) )?{_ORDER}),? {_LASTING}",
        rf"(?:don't|do not) {_ORDER},? (?:again|any ?more|ever|ever again)",
        rf"{_WHEN}{WORDS_OF_ORDER}?, (?:(?:always|don't|never) )?{_ORDER}",
        rf"(?:no more|stop (?:using|adding|including|giving me)|no(?= .* ever$)) (?:\w+ )?{_SHUNNED},?(?: ever)?",
        r"stop apologi[sz]ing(?: all the time)?|stop calling me \w+",
        r"call me (?!maybe|back|later)(?-i:(?:Dr\. |Mr\. |Mrs\. |Ms\. )?[A-Z][\w'-]+(?: [A-Z][\w'-]+)?)",
    )
)
