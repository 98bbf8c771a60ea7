"""Words by which an English preference is read: function words, liking, negation, numbers. Data only.

What excludes and what equals what is in `thesaurus`, names of languages are in `languages`.
"""

from __future__ import annotations

__all__ = [
    "ATTRIBUTES",
    "BEFORE_THINGS",
    "BEFORE_TIMES",
    "CONTRACTIONS",
    "COUNTRIES",
    "FILLER",
    "FREQUENT",
    "HEDGES",
    "JUDGEMENTS",
    "LIGHT",
    "NEGATIONS",
    "NEGATIVE",
    "NO_CHOICE",
    "NO_PLACE",
    "NO_VALUE",
    "NUMBERS",
    "PHRASES",
    "POSITIVE",
    "QUANTITIES",
    "RELATIVES",
    "pairs",
    "words",
]


def words(text: str) -> frozenset[str]:
    """The words of a list, separated by spaces."""
    return frozenset(text.split())


def pairs(text: str) -> tuple[tuple[str, str], ...]:
    """One pair a line, the two parts separated by ` = `."""
    lines = (line.strip().split(" = ") for line in text.strip().splitlines())
    return tuple((left, right) for left, right in lines)


CONTRACTIONS = (
    (r"\bcan(?:'t|not)\b", "can not"),
    (r"\bwon't\b", "will not"),
    (r"n't\b", " not"),
    (r"(?<=\w)'m\b", " am"),
    (r"(?<=\w)'re\b", " are"),
    (r"(?<=\w)'ve\b", " have"),
    (r"(?<=\w)'d\b", " would"),
    (r"(?<=\w)'ll\b", " will"),
    (r"\b(it|that)'s\b", r"\1 is"),
    (r"\be-(?=\w)", "e"),
)
"""Replaced in this order, before punctuation is dropped."""

PHRASES = pairs(
    r"""
    colour(s?) = color\1
    favourite(s?) = favorite\1
    can not (?:stand|bear) = hate
    can not eat = can avoid eating
    (?:no|not any) longer = not
    not (.+) any ?more = not \1
    no more (?!than) = no
    nothing but = only
    (?:after|at) all = really
    feel free to = use
    step by step = stepwise
    at length = detailed
    in (?:great |more |full )?detail = detailed
    big fan of = love
    fond of = love
    stay away from = avoid
    steer clear of = avoid
    have got = have
    do not (?:like|enjoy|love|care for) = dislike
    am not (?:a fan of|into|keen on|fond of|love) = dislike
    am (?:very )?(?:into|keen on) = love
    would (?:rather|prefer to) = prefer
    would (?:like|love)(?: to)? = want
    (is|are) (?:fine|ok|okay|welcome) = \1 allowed
    (use|like|love|enjoy|have|a|the|my) (skip|drop|omit|exclude|quit)(?= \w) = \1 \2ing
    gluten free = without gluten
    dairy free = without dairy
    sugar free = without sugar
    alcohol free = without alcohol
    """
)
"""Regular expressions over words in lower case, each with what it means."""

NUMBERS = dict(
    pairs(
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

POSITIVE = words(
    """
    love loves loved adore adores like likes liked enjoy enjoys prefer prefers preferred want wants wanted favorite use
    using include includes including add give keep
    """
)
"""Words of liking and of asking for: they say that something is wished, not what."""

NEGATIVE = words(
    """
    hate hates hated dislike dislikes disliked avoid avoids avoiding detest loathe despise skip refuse stop stopped quit
    without omit drop exclude bores
    """
)
"""Words of dislike and avoiding."""

NEGATIONS = words("not no never nor neither none nothing cease")

HEDGES = words(
    "always just only usually often generally simply necessarily entirely completely quite merely exactly even"
)
"""What right after a negation leaves some of it: "not always"."""

QUANTITIES = words("too much many some every all enough more less fewer most")
"""What anywhere after a negation or a dislike leaves some of it: "avoid too many", "no more than"."""

FILLER = words(
    """
    please thanks thank you really very quite truly strongly simply just also actually always absolutely totally
    generally usually definitely especially particularly whenever know
    """
)
"""Politeness and intensity."""

FREQUENT = words(
    """
    i me my mine myself we our you your it its he she they them their this that these those a an the and or but if when
    while where what which who how than as of in on at to for from by with about into am is are was were be been being
    have has had do does did can could will would should must may might need only own so too there here some any all
    lot more most much many get make something thing things way out up now again best rather awful great s re
    """
)
"""Words that carry no subject."""

RELATIVES = words(
    """
    wife husband partner girlfriend boyfriend fiance spouse mother mom mum father dad parents brother brothers sister
    sisters son sons daughter daughters grandmother grandfather grandma grandpa grandparents aunt uncle cousin cousins
    nephew niece friend friends colleague colleagues roommate flatmate neighbour neighbor
    """
)
"""Those of whom "my ..." says something that is not about the user."""

NO_VALUE = words(
    """
    a an the my our at on in by to with from for about when if while before after until during every each back later
    again only tomorrow today sometimes often not never no always very so too really quite rather more less pretty still
    actually one what where whatever anything everything none
    """
)
"""What follows "call me", "I live in" or "my favourite ... is" where no value does."""

NO_CHOICE = words("or and but not because although though which who except unless if than")
"""What makes of a value more than one, or none."""

JUDGEMENTS = words(
    """
    fun boring cheap expensive easy hard difficult good bad nice great fine awesome amazing awful dangerous popular
    relaxing broken old new closed open sold gone missing important overrated underrated delicious tasty beautiful
    healthy unhealthy rare famous common long short small big hot cold warm sweet savory spicy mild dark light quiet
    loud slow fast late early
    """
)
"""What is said of a favourite thing rather than which it is."""

NO_PLACE = words(
    """
    linux windows mac macos ubuntu android ios iphone firefox chrome safari edge opera brave gmail outlook slack teams
    notion obsidian vim emacs git github gitlab python rust java typescript kotlin spotify netflix whatsapp signal
    telegram mastodon sales marketing engineering hr finance management
    """
)
"""Where people only say that they live."""

COUNTRIES = words(
    """
    germany france spain italy portugal england scotland wales ireland britain uk usa america canada mexico brazil
    argentina chile peru colombia netherlands belgium switzerland austria poland czechia slovakia hungary romania
    bulgaria greece turkey sweden norway denmark finland iceland estonia latvia lithuania ukraine russia croatia serbia
    slovenia egypt morocco tunisia kenya nigeria ghana ethiopia india pakistan bangladesh nepal china japan korea
    vietnam thailand indonesia malaysia philippines australia zealand israel iran iraq africa europe asia
    texas california florida oregon nevada arizona utah colorado montana idaho wyoming kansas oklahoma nebraska
    minnesota iowa missouri arkansas louisiana wisconsin illinois michigan indiana ohio kentucky tennessee alabama
    mississippi georgia virginia carolina dakota pennsylvania maryland delaware jersey connecticut massachusetts vermont
    maine hawaii alaska bavaria saxony hesse tuscany sicily catalonia andalusia ontario quebec alberta
    """
)
"""Who lives in one of these lives in one of its towns, too."""

ATTRIBUTES = words("favorite name budget birthday age email phone number bank home address diet goal job")
"""Of these "my ..." still speaks of the user."""

BEFORE_TIMES = words("at a an on in of aged")
"""A number after these counts nothing that one has or does: there may be one at three and another at four."""

LIGHT = words("mistake allowed tone way something follow")
"""What a preference is about does not change with these."""

BEFORE_THINGS = POSITIVE | NEGATIVE | NEGATIONS | words("a an the of in with by as to for from at or and than over")
"""After these a lone symbol is what the sentence is about: "I like 🐶", "prices in €"."""
