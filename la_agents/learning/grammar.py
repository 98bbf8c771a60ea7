"""The English clauses that state a lasting preference by themselves, as patterns of whole clauses. Data only.

A clause that points at something outside itself ("this", "the third paragraph", "option B", "today") is about the
moment or about a text that lies there: the words that point are in no phrase, so that no pattern matches.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from la_agents.preferences.preference import Scope

__all__ = ["ABOUT_ANSWERS", "ASKING", "AWAITING", "COURTESY", "JOINT", "LEAD", "ORDERS", "STATEMENTS", "Rule"]


@dataclass(frozen=True, slots=True)
class Rule:
    """One form of clause: a pattern for all of it, with a group `text` if only a part is worth remembering."""

    pattern: re.Pattern[str]
    scope: Scope | None  # None: always if it is about answers, else relevant
    confidence: float


def _pattern(text: str) -> re.Pattern[str]:
    return re.compile(text, re.IGNORECASE)


def _one_of(words: str) -> str:
    return rf"(?:{'|'.join(words.split())})(?![\w'-])"


# -- phrases -----------------------------------------------------------------------------------------------------------

_POINTING = (
    "this that that's these those it it's its he he's she she's him her his hers they them their theirs here there "
    "who whom "
    "whose which what where why how one ones both either neither none another other others former latter above below "
    "following previous given provided attached today tonight now tomorrow yesterday currently maybe perhaps if unless "
    "says said tells told wrote writes according replied is are was were will would could should might has had"
)
_NO_THING = (
    "the you your yours my me we us our i'm i've i'd something anything everything nothing option version variant "
    "draft "
    "choice answer suggestion proposal plan number title paragraph design idea two three four five first second "
    "third next "
    "last instead best better more less so just to not say saying tell write quote quotes translate rewrite rephrase "
    "paraphrase proofread correct summarise "
    "summarize monday tuesday wednesday thursday friday saturday sunday"
)
_LETTERS = r"[^\W\d_]+"
_WORD = rf"(?:(?:st|dr|mr|mrs|ms|mt)\.|a|{_LETTERS}(?:[-'/&]{_LETTERS})*(?<=\w\w))(?![\w'-])"
_THING = (
    rf"(?:(?:in|at|by|on) the (?:morning|afternoon|evening|winter|summer|office|mountain|sea|beach|countryside|"
    rf"weekend)s?|"
    rf"(?:more|better|rather) than|"
    rf"(?!{_one_of(_POINTING)}|{_one_of(_NO_THING)}|[\w-]+'s ){_WORD})"
)
_THINGS = rf"{_THING}(?:,? {_THING}){{0,11}}"
_SUBSTANCE = rf"(?:[\w-]+'s wort|{_THING})(?:,? (?:[\w-]+'s wort|{_THING})){{0,11}}"
_ORDERED = rf"(?:(?!{_one_of(_POINTING)})(?:{_WORD}|\d+|[\"“][^\"“”]{{1,30}}[\"”]))"
_REST = rf"(?: {_ORDERED}(?:[,:]? {_ORDERED}){{0,19}})"

# -- what users say about themselves -----------------------------------------------------------------------------------

_HOW = (
    r"(?:(?:really|absolutely|truly|definitely|generally|usually|mostly|strongly|particularly|also|still|just|always|"
    r"much|strictly) ){0,2}"
)
_AM = r"i(?:'m| am)"
_NOT = r"(?:don't|do not|never|no longer|can't|cannot)"
_AGAIN = r"(?: any ?more| at all| very much| (?:so|that) much| a lot| either| too)?"
_CONDITION = (
    r"(?:vegan|vegetarian|pescatarian|co?eliac|diabetic|teetotal(?:er|ler)?|sober|(?:lactose|gluten)[- ]intolerant|"
    r"colou?r[- ]?blind|blind|deaf|hard of hearing|dyslexic|autistic|left-handed|muslim|jewish|hindu|buddhist)"
)
_DIET = r"(?:halal|kosher|vegan|vegetarian|plant-based|gluten-free|low-carb)"
_KIND = r"(?:(?!(?:a|an|the|about|for|of|on|to|in|with|from|and|or|at|no|any)\b)[\w-]+ )"
_AILMENT = rf"{_KIND}{{0,2}}(?:allergy|allergies|intolerance|diabetes|asthma|co?eliac disease|dyslexia|adhd|migraines?)"
_HABIT = (
    r"(?:eat|drink|cook|travel|fly|drive|cycle|walk|work|read|watch|listen to|play|wear|buy|shop|use|sleep|get up|"
    r"wake up|"
    r"order|go to bed|run|swim|hike|dance|bake|camp|study)"
)
_TASTE = r"(?:like|love|enjoy|adore|prefer|favou?r|hate|dislike|detest|loathe|despise|avoid)"

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
    (None, 0.8, rf"{_AM} an? (?:\w+ )?(?:beginner|novice|morning person|night owl|early bird)"),
)  # fmt: skip
STATEMENTS = tuple(Rule(_pattern(pattern), scope, confidence) for scope, confidence, pattern in _STATED)

ABOUT_ANSWERS = _pattern(
    r"\b(?:answers?|repl(?:y|ies)|responses?|explanations?|summar(?:y|ies)|examples|tables?|bullet|emojis?|units|"
    r"spelling|"
    r"jargon|disclaimers?)\b"
)

# -- what the assistant shall do from now on ---------------------------------------------------------------------------

_MANNER = (
    r"(?:(?:brief|concise|short|polite|formal|informal|casual|honest|direct|friendly|blunt|kind|patient|specific|"
    r"precise|"
    r"critical|encouraging|simple|gentle|neutral|objective|to the point)(?:,? and (?=\w))?)+"
)
_VERB = (
    r"(?:answer|reply|respond|(?:write|speak|talk) (?:in|to me|with me|like|as|without|{_MANNER})|(?:use|include|add|"
    r"give me|"
    r"provide|cite|quote|list|mention|skip|omit|avoid|explain|spell|format|recommend|suggest|write|show me)(?= )|"
    r"(?:give|show)"
    r"(?= (?!up\b|in\b|way\b|back\b))|(?:start|begin|end|finish) (?:with|by|your|each|every|answers|replies)|(?:call|"
    r"address|"
    r"ask|remind|warn) me|refer to me)"
).replace("{_MANNER}", _MANNER)
_ORDER = (
    rf"(?:{_VERB}{_REST}?|be (?:more |very |really )?{_MANNER}|keep (?:it|things|your \w+|\w+s) (?:\w+ )?{_MANNER})"
)
_LASTING = r"(?:from now on|from here on|going forward|henceforth)"
_SHUNNED = (
    r"(?:emojis?|emoticons|bullet points|bullets|lists|tables|headings|headers|jargon|slang|disclaimers|apologies|"
    r"exclamation "
    r"marks|markdown|acronyms|abbreviations|metaphors|sarcasm|puns|jokes|caveats|filler|small talk|links)"
)

ORDERS = tuple(
    Rule(_pattern(pattern), "always", 0.95)
    for pattern in (
        rf"(?:always|never|don't ever|do not ever) {_ORDER}",
        rf"(?:can|could|would|will) you (?:please )?(?P<text>(?:always|never) {_ORDER})",
        rf"i(?:'d| would)? (?:want|need|like|prefer) you to (?:always|never) {_ORDER}",
        rf"(?:{_LASTING}|in (?:the )?future),? (?:please )?(?P<text>(?:(?:always|don't|do not|never) )?{_ORDER})",
        rf"(?P<text>(?:(?:don't|do not|never) )?{_ORDER}?),? {_LASTING}",
        rf"(?:don't|do not) {_ORDER},? (?:again|any ?more|ever|ever again)",
        rf"(?:whenever|every time|each time|any ?time|when) (?:i|you) {_ORDERED}{_REST}?, (?:(?:always|don't|never) )?{_ORDER}",
        rf"(?:no more|stop (?:using|adding|including|giving me)|no(?= .* ever$)) (?:\w+ )?{_SHUNNED},?(?: ever)?",
        r"stop apologi[sz]ing|stop calling me \w+",
        r"call me (?!maybe|back|later)(?-i:[A-Z][\w'-]+(?: [A-Z][\w'-]+)?)",
    )
)

# -- what may stand around them ----------------------------------------------------------------------------------------

LEAD = _pattern(
    r"(?:(?:oh|ah|well|also|and|but|so|actually|honestly|frankly|personally|hi|hello|hey|thanks|thank you|ok|okay|"
    r"yes|no(?=,)|"
    r"nope|great|sure|sorry|please|kindly|by the way|btw|just so you know|fyi|for the record|as i said|in general|"
    r"for future reference)(?: there)?,? |(?:remember|note|know|keep in mind) (?:that )?(?=i\b))"
)
_NEXT = (
    r"(?=(?:i|i'm|i've|my|please|always|never|don't|stop|what|which|where|when|how|can|could|any|suggest|recommend|"
    r"find|"
    r"book|plan)\b)"
)
JOINT = _pattern(rf",? (?:and|but|so) (?:also )?{_NEXT}|, {_NEXT}|; +")
COURTESY = _pattern(
    r"(?:(?:hi|hello|hey|good (?:morning|afternoon|evening|day)|thanks|thank you|many thanks|cheers|ok|okay|yes|no|"
    r"sure|"
    r"great|perfect|please|sorry|bye)(?: (?:there|again|a lot|so much|very much|in advance|everyone))?,? ?)+"
)
_WANTED = (
    r"(?:restaurants?|recipes?|meals?|dinners?|lunch|breakfasts?|snacks?|dish(?:es)?|desserts?|drinks?|wines?|films?|"
    r"movies?|"
    r"series|shows?|books?|novels?|podcasts?|albums?|playlists?|games?|trips?|holidays?|vacations?|weekends?|flights?|"
    r"hotels?|trains?|tours?|hikes?|walks?|museums?|bars?|caf[eé]s?|gifts?|presents?|hobb(?:y|ies)|sports?|workouts?|"
    r"cakes?|seats?|tables?|concerts?|places?|cit(?:y|ies)|menus?|plants?|toys?|jackets?|shoes)"
)
_ABOUT_TEXT = (
    r"(?!say|translate|write|spell|pronounce|put|phrase|word|conjugate|reply|respond|answer|read|parse|understand|"
    r"interpret|"
    r"correct|fix|improve|rewrite|rephrase|express|call|ask|tell|mean|take|make|know)"
)
_MORE = rf"(?: (?!{_one_of('this that these those it says said')})[\w'-]+)"
ASKING = _pattern(
    rf"(?:what|which|where|when|how)(?: \w+){{0,2}} (?:should|can|could|do|shall|might|would) (?:i|we) {_ABOUT_TEXT}\w+"
    rf"{_MORE}{{0,12}}|(?:(?:can|could|would|will) you )?(?:please )?(?:help me )?(?:find|book|suggest|recommend|plan|"
    rf"choose|pick)(?: me)?{_MORE}{{0,4}} {_WANTED}{_MORE}{{0,8}}|any (?:good )?(?:ideas|suggestions|recommendations|"
    rf"tips) "
    rf"for{_MORE}{{0,4}} {_WANTED}{_MORE}{{0,8}}"
)
"""Requests about the user's own life: they are about no text, so not about the sentence that stands beside them."""

AWAITING = _pattern(
    r"\b(?:translat|proofread|rewrit|re-?phras|paraphras|grammar|sentence|text|paste|pasting|lyric|poem|quot|"
    r"role-?play|"
    r"pretend|character|stor(?:y|ies)\b|script|dialog|practi[cs]|interview|essay|email|letter|draft|send (?:me|it)\b)"
    r"|\bor\b[^.?!\n]*\?\s*$"
)
"""In what was said just before: what comes may be the material of a task, or a choice of the moment."""
