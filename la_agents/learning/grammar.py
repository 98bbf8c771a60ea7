"""The English clauses that state a lasting preference by themselves, as patterns of whole clauses. Data only.

A clause that points at something outside itself ("this", "the third paragraph", "option B", "today") is about the
moment or about a text that lies there: the words that point are in no phrase, so that no pattern matches.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from la_agents.preferences.preference import Scope

__all__ = ["ABOUT_ANSWERS", "LANGUAGE", "ORDERS", "STATEMENTS", "Rule", "one_of", "pattern"]


@dataclass(frozen=True, slots=True)
class Rule:
    """One form of clause: a pattern for all of it, with a group `text` if only a part is worth remembering."""

    pattern: re.Pattern[str]
    scope: Scope | None  # None: always if it is about answers, else relevant
    confidence: float


def pattern(text: str) -> re.Pattern[str]:
    """A pattern that does not see case."""
    return re.compile(text, re.IGNORECASE)


def one_of(listing: str) -> str:
    """The pattern of one of several expressions, given with commas between; each ends with its word."""
    return rf"(?:{'|'.join(each.strip() for each in listing.replace(chr(10), ' ').split(','))})(?![\w'-])"


# -- phrases -----------------------------------------------------------------------------------------------------------

_POINTING = one_of(
    r"""this, that, that's, these, those, it, it's, its, he, he's, she, she's, him, her, his, hers, they, them,
    their, theirs, here, there, who, whom, whose, which, what, where, why, how, one(?! \w), ones, both, either,
    neither, none, another, other, others, former, latter, above, below, following, previous, given, provided,
    attached, today, tonight, now, tomorrow, yesterday, currently, maybe, perhaps, if, unless, says, said, tells,
    told, wrote, writes, according, replied, is, are, was, were, will, would, could, should, might, has, had"""
)
_NO_THING = one_of(
    r"""the, you, your, yours, my, me, we, us, our, i'm, i've, i'd, something, anything, everything, nothing,
    option, version, variant, draft, choice, answer, suggestion, proposal, plan, number, title, paragraph, design,
    idea, one, two, three, four, five, first, second, third, next, last, instead, best, better, more, less, so,
    just, to, not, say, saying, tell, write, quotes?, translate, rewrite, rephrase, paraphrase, proofread, correct,
    summari[sz]e, monday, tuesday, wednesday, thursday, friday, saturday, sunday, [\w-]+'s"""
)
LANGUAGE = one_of(
    """italian, french, german, spanish, english, dutch, portuguese, japanese, chinese, mandarin, russian, latin,
    korean, arabic, polish, swedish, turkish, greek, hindi, danish, norwegian, finnish, czech, hungarian, hebrew,
    thai"""
)
_LETTERS = r"[^\W\d_]+"
_WORD = rf"(?:(?:st|dr|mr|mrs|ms|mt)\.|a|{_LETTERS}(?:[-'/&]{_LETTERS})*(?<=\w\w))(?![\w'-])"
_AT = r"(?:in|at|by|on) the (?:morning|afternoon|evening|winter|summer|office|mountain|sea|beach|countryside|weekend)s?"
_THING = rf"(?:{_AT}|(?:more|better|rather) than|(?!{_POINTING}|{_NO_THING}|(?:in|into) {LANGUAGE}){_WORD})"
_THINGS = rf"{_THING}(?:,? {_THING}){{0,11}}"
_SUBSTANCE = rf"(?:[\w-]+'s wort|{_THING})(?:,? (?:[\w-]+'s wort|{_THING})){{0,11}}"
_ORDERED = rf"(?:(?!{_POINTING})(?:{_WORD}|\d+|[\"“][^\"“”]{{1,30}}[\"”]))"
_REST = rf"(?: {_ORDERED}(?:[,:]? {_ORDERED}){{0,19}})"

# -- what users say about themselves -----------------------------------------------------------------------------------

_AM = r"i(?:'m| am)"
_HOW = one_of(
    "really, absolutely, truly, definitely, generally, usually, mostly, strongly, particularly, also, still, just, "
    "always, "
    "much, strictly"
)
_HOW = rf"(?:{_HOW} ){{0,2}}"
_NOT = r"(?:don't|do not|never|no longer|can't|cannot)"
_AGAIN = r"(?: any ?more| these days| at all| very much| (?:so|that) much| a lot| either| too)?"
_CONDITION = one_of(
    r"""vegan, vegetarian, pescatarian, co?eliac, diabetic, teetotal(?:er|ler)?, sober, (?:lactose|gluten)[-
    ]intolerant, colou?r[- ]?blind, blind, deaf, hard of hearing, dyslexic, autistic, left-handed, muslim, jewish,
    hindu, buddhist"""
)
_DIET = one_of("halal, kosher, vegan, vegetarian, plant-based, gluten-free, low-carb")
_KIND = r"(?:(?!(?:a|an|the|about|for|of|on|to|in|with|from|and|or|at|no|any)\b)[\w-]+ )"
_AILMENT = rf"{_KIND}{{0,2}}" + one_of(
    "allergy, allergies, intolerance, diabetes, asthma, co?eliac disease, dyslexia, adhd, migraines?"
)
_HABIT = one_of(
    """eat, drink, cook, travel, fly, drive, cycle, walk, work, read, watch, listen to, play, wear, buy, shop, use,
    sleep, get up, wake up, order, go to bed, run, swim, hike, dance, bake, camp, study"""
)
_TASTE = one_of("like, love, enjoy, adore, prefer, favou?r, hate, dislike, detest, loathe, despise, avoid")

_STATED: tuple[tuple[Scope | None, float, str], ...] = (
    ("always", 0.95, rf"{_AM} (?:not |no longer )?(?:an? )?(?:\w+ )?{_CONDITION}(?: and {_CONDITION})?{_AGAIN}"),
    ("always", 0.95, rf"i(?:'ve| have) been (?:an? )?{_CONDITION} (?:for|since) [\w ]{{1,20}}"),
    ("always", 0.95, rf"{_AM} (?:not |no longer )?(?:\w+ )?(?:allergic|intolerant|sensitive) to {_SUBSTANCE}"),
    ("always", 0.9, rf"i (?:have|suffer from|live with) (?:an? )?{_AILMENT}(?: to {_SUBSTANCE})?"),
    ("always", 0.95, r"i use an? (?:wheelchair|screen reader|hearing aid|guide dog|braille display)"),
    ("always", 0.9, r"i use (?:metric|imperial) units|i use \w+/\w+ pronouns|my pronouns are \w+/\w+"),
    ("always", 0.9, rf"i {_HOW}{_NOT} {_HOW}(?:eat|drink|digest|tolerate|have) {_THINGS}{_AGAIN}"),
    ("always", 0.9, r"i don't (?:drink|smoke)"),
    ("always", 0.9, rf"i (?:only |keep |follow )(?:eat |a )?(?:strict )?{_DIET}(?: food| diet| meat)?"),
    (None, 0.9, rf"i {_HOW}{_TASTE} {_THINGS}(?: to {_THINGS})?{_AGAIN}"),
    (None, 0.9, rf"i {_HOW}(?:{_NOT} {_HOW}(?:{_TASTE}|care for)|can't (?:stand|bear)) {_THINGS}{_AGAIN}"),
    (None, 0.9, rf"i {_HOW}(?:like|love|hate) to {_HABIT} {_THINGS}"),
    (None, 0.9, rf"{_AM} (?:not )?(?:\w+ )?(?:into|fond of|keen on|an? (?:\w+ )?fan of) {_THINGS}{_AGAIN}"),
    (None, 0.95, rf"my (?:\w+ )?favou?rite {_THINGS} (?:is|are) {_THINGS}"),
    (None, 0.8, rf"i (?:always|usually|never|mostly|normally|generally|only) {_HABIT} {_THINGS}"),
    (
        None,
        0.8,
        rf"{_AM} an? (?:\w+ )?(?:beginner|novice|morning person|night owl|early bird)(?: (?:at|in) {_THINGS})?",
    ),
)
STATEMENTS = tuple(Rule(pattern(clause), scope, confidence) for scope, confidence, clause in _STATED)

ABOUT_ANSWERS = pattern(
    r"\b(?:answers?|repl(?:y|ies)|responses?|explanations?|summar(?:y|ies)|examples|tables?|bullet|emojis?|units|"
    r"spelling|"
    r"jargon|disclaimers?)\b"
)

# -- what the assistant shall do from now on ---------------------------------------------------------------------------

_MANNER = one_of(
    """brief, concise, short, polite, formal, informal, casual, honest, direct, friendly, blunt, kind, patient,
    specific, precise, critical, encouraging, simple, gentle, neutral, objective, plain, to the point"""
)
_MANNER = rf"{_MANNER}(?:,? and {_MANNER}|, {_MANNER}){{0,2}}"
_VERB = one_of(
    r"""answer, reply, respond, (?:write|speak|talk) (?:in|to me|with me|like|as|without|\w+ly), use, include, add,
    provide, cite, quote, list, mention, skip, omit, avoid, explain, spell, format, recommend, suggest, write,
    (?:give|show)(?! (?:up|in|way|back)\b), (?:start|begin|end|finish) (?:with|by|your|each|every|answers|replies),
    (?:call|address|ask|remind|warn) me, refer to me"""
)
_ORDER = (
    rf"(?:{_VERB}{_REST}?|be (?:more |very |really )?{_MANNER}|keep (?:it|things|your \w+|\w+s) (?:\w+ )?{_MANNER}"
    rf"|keep your \w+ (?:under|below|to|within){_REST})"
)
_LASTING = r"(?:from now on|from here on|going forward|henceforth)"
_SHUNNED = one_of(
    """emojis?, emoticons, bullet points, bullets, lists, tables, headings, headers, jargon, slang, disclaimers,
    apologies, exclamation marks, markdown, acronyms, abbreviations, metaphors, sarcasm, puns, jokes, caveats,
    filler, small talk, links"""
)

ORDERS = tuple(
    Rule(pattern(clause), "always", 0.95)
    for clause in (
        rf"(?:always|never|don't ever|do not ever) {_ORDER}",
        rf"(?:can|could|would|will) you (?:please )?(?P<text>(?:always|never) {_ORDER})",
        rf"(?:make|be) sure (?:to |you |that you )(?P<text>(?:always|never) {_ORDER})",
        rf"i(?:'d| would)? (?:want|need|like|prefer) you to (?:always|never) {_ORDER}",
        rf"(?:{_LASTING}|in (?:the )?future),? (?:please )?(?P<text>(?:(?:always|don't|do not|never) )?{_ORDER})",
        rf"(?P<text>(?:(?:don't|do not|never) )?{_ORDER}),? {_LASTING}",
        rf"(?:don't|do not) {_ORDER},? (?:again|any ?more|ever|ever again)",
        rf"(?:whenever|every time|each time|when) (?:i|you) {_ORDERED}{_REST}?, (?:(?:always|don't|never) )?{_ORDER}",
        rf"(?:no more|stop (?:using|adding|including|giving me)|no(?= .* ever$)) (?:\w+ )?{_SHUNNED},?(?: ever)?",
        r"stop apologi[sz]ing(?: all the time)?|stop calling me \w+",
        r"call me (?!maybe|back|later)(?-i:[A-Z][\w'-]+(?: [A-Z][\w'-]+)?)",
    )
)
