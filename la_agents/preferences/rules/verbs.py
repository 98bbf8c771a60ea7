"""Verbs by which an English preference is read: what they say of whoever is spoken of. Data only."""

from __future__ import annotations

from typing import Literal

from la_agents.preferences.rules.lexicon import words

__all__ = [
    "ANSWERING",
    "AUXILIARIES",
    "BE",
    "CONSUMING",
    "IMPERATIVES",
    "OTHERS_VERBS",
    "PARTICIPLES",
    "SKIPPED",
    "VERBS",
    "Stance",
]

BE = words("am is are was were be been being")
"""Behind these stands what somebody or something is."""

SKIPPED = words(
    """
    do does did will would should could must may might only now often sometimes still a an also just well of to there
    something
    """
)
"""What stands between "I" and the verb."""

Stance = Literal["likes", "prefers", "wants", "needs", "can", "has", "done", "is", "does", "asks", "open"]
"""What is said of the user: `done` is what they have seen or been to, `asks` a wish for answers, `open` unclear."""

_BY_STANCE: dict[Stance, str] = {
    "likes": "love loves loved adore like likes liked enjoy enjoys hate hates hated dislike detest loathe despise",
    "prefers": "prefer prefers preferred favorite choose",
    "wants": "want wants wanted wish hope dream",
    "needs": "need needs require",
    "can": "can able understand know speak",
    "has": "own owns possess",
    "does": "avoid avoids avoiding skip refuse stop stopped quit omit drop exclude use using",
}
VERBS = {verb: stance for stance, verbs in _BY_STANCE.items() for verb in verbs.split()}
"""What kind of thing a verb says after "I": that the user likes, prefers, wants, needs, can, has or does something."""

PARTICIPLES = words("been seen done gone eaten drunk tried read met heard had owned visited made taken flown written")
"""After "I have" they say what was, not what the user has."""

OTHERS_VERBS = words(
    """
    love loves like likes hate hates want wants prefer prefers enjoy enjoys dislike dislikes need needs avoid avoids eat
    eats drink drinks do does adore adores
    """
)
"""What says that somebody who is named before it likes or wants something."""

AUXILIARIES = words(
    """
    do does did am is are was were be been can could will would shall should may might must have has had i we you they
    he she it or if why whether better to
    """
)
"""After these "not" denies the whole sentence, after other words only what follows: "tabs, not spaces"."""

ANSWERING = words("answer write explain tell talk speak say")
"""Words that add nothing to how the assistant shall be: "be brief", "answer briefly"."""

CONSUMING = words("eat drink take have go use buy over instead")
"""Words that add nothing to a choice: "I'd rather drink tea than coffee"."""

IMPERATIVES = words(
    """
    address always answer call explain give include keep list make mention name offer recommend reply respond show speak
    suggest talk tell use write
    """
)
"""How wishes about answers begin."""
