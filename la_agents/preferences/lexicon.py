"""Word lists for `statements.py`: English, everyday preferences. Data only."""

from __future__ import annotations

__all__ = [
    "ANTONYMS",
    "CONTRACTIONS",
    "ELSEWHERE",
    "FILLER",
    "FREQUENT",
    "IMPERATIVES",
    "LANGUAGES",
    "NEGATIONS",
    "NEGATIVE",
    "NO_VALUE",
    "NUMBERS",
    "PHRASES",
    "POSITIVE",
    "RELATIVES",
    "SYNONYMS",
]


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


def _pairs(text: str) -> tuple[tuple[str, str], ...]:
    """One pair a line, the two parts separated by ` = `."""
    lines = (line.strip().split(" = ") for line in text.strip().splitlines())
    return tuple((left, right) for left, right in lines)


CONTRACTIONS = (
    ("can't", "can not"),
    ("cannot", "can not"),
    ("won't", "will not"),
    ("n't", " not"),
    ("'m", " am"),
    ("'re", " are"),
    ("'ve", " have"),
    ("'d", " would"),
    ("'ll", " will"),
    ("it's", "it is"),
    ("that's", "that is"),
)
"""Replaced in this order, before punctuation is dropped."""

PHRASES = _pairs(
    r"""
    colour(s?) = color\1
    favourite(s?) = favorite\1
    can not (?:stand|bear) = hate
    can not eat = avoid eating
    (?:no|not any) longer = not
    not (.+) any ?more = not \1
    step by step = stepwise
    at length = detailed
    in (?:great |more |full )?detail = detailed
    big fan of = love
    fond of = love
    stay away from = avoid
    steer clear of = avoid
    have got = have
    do not (?:like|enjoy|love|want|care for) = dislike
    am not (?:a fan of|into|keen on|fond of|love) = dislike
    am (?:very )?(?:into|keen on) = love
    would (?:rather|prefer to|like to) = prefer
    gluten free = avoid gluten
    dairy free = avoid dairy
    sugar free = avoid sugar
    alcohol free = avoid alcohol
    """
)
"""Regular expressions over words in lower case, each with what it means."""

NUMBERS = dict(
    _pairs(
        """
        zero = 0
        one = 1
        two = 2
        three = 3
        four = 4
        five = 5
        six = 6
        seven = 7
        eight = 8
        nine = 9
        ten = 10
        eleven = 11
        twelve = 12
        twenty = 20
        hundred = 100
        """
    )
)

POSITIVE = _words(
    """
    love loves loved adore adores like likes liked enjoy enjoys prefer prefers preferred want wants favorite use using
    include includes including add give keep
    """
)
"""Words of liking and of asking for: they say that something is wished, not what."""

NEGATIVE = _words(
    """
    hate hates hated dislike dislikes disliked avoid avoids avoiding detest loathe despise skip refuse stop stopped quit
    without omit drop exclude bores
    """
)
"""Words of dislike and avoiding."""

NEGATIONS = _words("not no never nor neither none nothing cease")

FILLER = _words(
    """
    please thanks thank you really very quite truly strongly simply just also actually always absolutely totally
    generally usually definitely especially particularly whenever know
    """
)
"""Politeness and intensity."""

FREQUENT = _words(
    """
    i me my mine myself we our you your it its he she they them their this that these those a an the and or but if when
    while where what which who how than as of in on at to for from by with about into am is are was were be been being
    have has had do does did can could will would should must may might need only own so too there here some any all
    more most much many get make something thing things way out up now again best rather awful great s re
    """
)
"""Words that carry no subject."""

RELATIVES = _words(
    """
    wife husband partner girlfriend boyfriend fiance spouse mother mom mum father dad parents brother brothers sister
    sisters son sons daughter daughters grandmother grandfather grandma grandpa grandparents aunt uncle cousin cousins
    nephew niece friend friends colleague colleagues roommate flatmate neighbour neighbor
    """
)
"""Those of whom "my ..." says something that is not about the user."""

NO_VALUE = _words(
    """
    a an the my our at on in by to with from for about when if while before after until during every each back later
    again only tomorrow today sometimes often
    """
)
"""What follows "call me" or "I live in" where no name and no place does."""

LANGUAGES = _words(
    """
    english french german spanish italian portuguese dutch polish swedish danish norwegian finnish greek turkish russian
    ukrainian czech hungarian romanian arabic hebrew hindi bengali urdu chinese mandarin cantonese japanese korean
    vietnamese thai indonesian swahili latin catalan
    """
)

_SYNONYM_GROUPS = """
    film films movie movies
    kid kids child children
    food cuisine dishes
    concise brief briefly short succinct
    detailed long lengthy elaborate verbose thorough
    informal casual casually informally
    formal formally
    holiday vacation trip
    cheap inexpensive affordable
    expensive pricey luxurious luxury
    large big
    small little tiny
    answer answers reply replies respond response responses
    source sources reference references citation
    allergy allergic allergies
    intolerant intolerance
    scary horror
    meal meals
    meat meats
    emoji emojis
    metric celsius
    beginner novice newbie
    expert pro
    home house
    cite quote
    simple plain easy
    restaurant restaurants
    visual visuals diagram diagrams
    mountain mountains
    hike hiking
    eat eating
    fly flying
    cook cooking
    drink drinking
    read reading
    parent parents
    ebook ebooks
    loud noisy
    quiet silent
    evening evenings
    morning mornings
    spoiler spoilers spoil
    learn learner learning learners
    place places venue venues
    study studying studies
    accessible accessibly
"""
SYNONYMS = {word: group.split()[0] for group in _SYNONYM_GROUPS.strip().splitlines() for word in group.split()}
"""Words that mean the same here, by the first of their group."""

ANTONYMS = frozenset(
    frozenset(pair)
    for pair in _pairs(
        """
        concise = detailed
        formal = informal
        small = large
        cheap = expensive
        morning = evening
        early = late
        window = aisle
        metric = imperial
        british = american
        dark = light
        hot = cold
        sweet = savory
        spicy = mild
        simple = technical
        beginner = expert
        rare = well
        quiet = loud
        vegetarian = meat
        vegan = meat
        indoor = outdoor
        paper = ebook
        black = milk
        alone = group
        urban = rural
        modern = classic
        fast = slow
        alcohol = wine
        alcohol = beer
        """
    )
)
"""Pairs of which a person can hardly want both of the same thing."""

IMPERATIVES = _words(
    """
    address always answer call explain give include keep list make mention name offer recommend reply respond show speak
    suggest talk tell use write
    """
)
"""How wishes about answers begin."""

ELSEWHERE = _words("a also am an as do he in it me no on so was")
"""English words that other languages have, too: by them alone a text is not taken for English."""
