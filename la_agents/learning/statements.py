"""The English clauses in which users say what they are, need, like or do, as patterns of whole clauses. Data only."""

from __future__ import annotations

from la_agents.learning.phrases import DOING, SUBSTANCE, THINGS, Rule, one_of, pattern
from la_agents.preferences.preference import Scope

__all__ = ["ABOUT_ANSWERS", "STATEMENTS"]

_AM = r"i(?:'m| am)"
_ADVERB = one_of(
    """really, absolutely, truly, definitely, generally, usually, mostly, strongly, particularly, also, still, just,
    always, much, strictly, greatly"""
)
_HOW = rf"(?:{_ADVERB} ){{0,2}}"
_NOT = r"(?:don't|do not|never|no longer|can't|cannot)"
_AGAIN = r"(?: any ?more| these days| at all| very much| (?:so|that) much| a lot| either| too)?"
_DEGREE = one_of(
    r"""strictly, strict, fully, severely, mostly, lifelong, practi[cs]ing, observant, committed, ethical, legally,
    partially, profoundly, slightly, mildly, highly, very, really, quite, deathly, also, not, no longer, a bit,
    extremely, type [12]"""
)
_CONDITION = one_of(
    r"""vegan, vegetarian, pescatarian, co?eliac, diabetic, teetotal(?:er|ler)?, sober,
    (?:lactose|gluten).intolerant, colou?r[- ]?blind, blind, deaf, hard of hearing, dyslexic, autistic, left-handed,
    muslim, jewish, hindu, buddhist"""
)
_DIET = one_of("halal, kosher, vegan, vegetarian, plant-based, gluten-free, low-carb")
_FOOD = one_of("gluten, dairy, lactose, milk, nuts, sugar, alcohol, caffeine, eggs, soy, shellfish, wheat")
_DISEASE = one_of("diabetes, asthma, co?eliac disease, dyslexia, adhd, migraines, allergies")
_OF_DISEASE = one_of("severe, mild, bad, chronic, frequent, seasonal, food, nut, pollen, skin, multiple, type [12]")
_KIND = r"(?!(?:a|an|the|about|for|of|on|to|in|with|from|and|or|at|no|any)\b)[\w-]+ "
_HABIT = one_of(
    """eat, drink, consume, cook, travel, fly, drive, cycle, walk, work, read, watch, listen to, play, wear, buy,
    shop, use, take, sleep, get up, wake up, order, go to bed, run, swim, hike, dance, bake, camp, study"""
)
_TASTE = one_of("like, love, enjoy, adore, prefer, favou?r, hate, dislike, detest, loathe, despise, avoid")
_LEANING = one_of(
    "dislike for, dislike of, aversion to, aversion towards, preference for, passion for, fear of, phobia of"
)
_FOND = r"(?:into|fond of|keen on|(?<=not )interested in|an? (?:big |huge |great )?fan of)"
_FAVOURITES = one_of(
    r"""colou?rs?, foods?, dish(?:es)?, cuisines?, authors?, writers?, books?, novels?, films?, movies?, bands?,
    singers?, artists?, songs?, sports?, games?, teams?, cit(?:y|ies), countr(?:y|ies), seasons?, animals?, drinks?,
    teas?, wines?, genres?, music, languages?, numbers?, fruits?, vegetables?, desserts?"""
)
_PERSON = one_of("beginner, novice, morning person, night owl, early bird")

_STATED: tuple[tuple[Scope | None, float, str], ...] = (
    ("always", 0.95, rf"{_AM} (?:an? )?(?:{_DEGREE} ){{0,2}}(?:an? )?{_CONDITION}(?: and {_CONDITION})?{_AGAIN}"),
    ("always", 0.95, rf"i(?:'ve| have) been (?:an? )?{_CONDITION} (?:for|since) [\w ]{{1,20}}"),
    ("always", 0.95, rf"{_AM} (?:{_DEGREE} ){{0,2}}(?:allergic|intolerant|sensitive) to {SUBSTANCE}"),
    ("always", 0.9, rf"i have an? (?:{_KIND}){{1,3}}(?:allergy|intolerance)(?: to {SUBSTANCE})?"),
    ("always", 0.9, rf"i (?:have|suffer from|live with) (?:{_OF_DISEASE} ){{0,2}}{_DISEASE}(?: to {SUBSTANCE})?"),
    ("always", 0.95, r"i use an? (?:wheelchair|screen reader|hearing aid|guide dog|braille display)"),
    ("always", 0.9, r"i use (?:metric|imperial) units|i use \w+/\w+ pronouns|my pronouns are \w+/\w+"),
    ("always", 0.9, rf"i {_HOW}{_NOT} {_HOW}(?:eat|drink|consume|digest) {THINGS}{_AGAIN}"),
    ("always", 0.9, rf"i (?:can't|cannot) (?:have|tolerate) {_FOOD}(?: (?:and|or) {_FOOD})?|i don't (?:drink|smoke)"),
    ("always", 0.9, rf"i (?:strictly )?(?:only |keep |follow )(?:eat |a )?(?:strict )?{_DIET}(?: food| diet| meat)?"),
    (None, 0.9, rf"i {_HOW}(?:{_TASTE} {THINGS}|prefer {THINGS} to {THINGS}){_AGAIN}"),
    (None, 0.9, rf"i {_HOW}(?:{_NOT} {_HOW}(?:{_TASTE}|care for)|(?:can't|cannot) (?:stand|bear)) {THINGS}{_AGAIN}"),
    (None, 0.9, rf"i have an? (?:strong |deep |great |intense )?{_LEANING} {THINGS}"),
    (None, 0.9, rf"i {_HOW}(?:like|love|hate) to {_HABIT} {DOING}"),
    (None, 0.9, rf"{_AM} (?:not )?{_HOW}{_FOND} {THINGS}{_AGAIN}"),
    (None, 0.95, rf"my (?:\w+ )?favou?rite (?:\w+ )?{_FAVOURITES} (?:is|are) (?!\w+(?:ed|ing)\b){THINGS}"),
    (None, 0.8, rf"i (?:always|usually|never|mostly|normally|generally|only) {_HABIT} {DOING}"),
    (None, 0.8, rf"i {_HOW}(?:don't|do not|refuse to|prefer not to) {_HABIT} {DOING}"),
    (None, 0.8, r"i usually take the (?:train|bus|stairs|car|tram|metro|subway|bike)"),
    (None, 0.8, rf"{_AM} an? (?:complete |total |absolute )?{_PERSON}"),
)
STATEMENTS = tuple(Rule(pattern(clause), scope, confidence) for scope, confidence, clause in _STATED)

ABOUT_ANSWERS = pattern(
    r"\b(?:answers?|repl(?:y|ies)|responses?|explanations?|summar(?:y|ies)|examples|tables?|bullet|emojis?|units|"
    r"spelling|jargon|disclaimers?)\b"
)
