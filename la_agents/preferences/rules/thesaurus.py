"""Which words mean the same and which exclude each other, in English, everyday preferences. Data only."""

from __future__ import annotations

from la_agents.preferences.rules.lexicon import pairs

__all__ = ["EXCLUSIVE", "POLES", "POLES_OF_ANSWERS", "SYNONYMS"]

_SYNONYM_GROUPS = """
    film films movie movies
    kid kids child children
    food cuisine
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
    parent parents
    ebook ebooks
    loud noisy
    quiet silent
    evening evenings
    morning mornings
    spoiler spoilers spoil
    learn learner learning learners
    place places venue venues
    accessible accessibly
    euro euros €
    dollar dollars $
    pound pounds £
    yen ¥
"""
SYNONYMS = {word: group.split()[0] for group in _SYNONYM_GROUPS.strip().splitlines() for word in group.split()}
"""Words that mean the same here, by the first of their group."""

POLES_OF_ANSWERS = frozenset(
    frozenset(pair)
    for pair in pairs(
        """
        concise = detailed
        formal = informal
        metric = imperial
        british = american
        simple = technical
        beginner = expert
        """
    )
)
"""Of these nobody asks for both in the same answers, or is both."""

POLES = POLES_OF_ANSWERS | frozenset(
    frozenset(pair)
    for pair in pairs(
        """
        small = large
        cheap = expensive
        morning = evening
        early = late
        window = aisle
        dark = light
        hot = cold
        sweet = savory
        spicy = mild
        rare = well
        quiet = loud
        indoor = outdoor
        paper = ebook
        alone = group
        urban = rural
        modern = classic
        fast = slow
        """
    )
)
"""Of these a person can hardly prefer both of the same thing; liking both, or asking for both, is common."""

EXCLUSIVE = frozenset(frozenset(pair) for pair in pairs("vegetarian = meat\nvegan = meat\nblack = milk"))
"""Of these a person can hardly live by both."""
