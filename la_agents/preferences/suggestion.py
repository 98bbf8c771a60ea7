"""A suggestion of scope: what may matter to a whole field of questions is missed by likeness to any one of them.

"I'm vegetarian." does not resemble "Which restaurant should I try?". Who stores such a preference is told that `always`
may be meant. A closed list, English: of diet, health, money, access, and of how to answer.
"""

from __future__ import annotations

import re
from typing import Literal

__all__ = ["suggested_scope"]

_FIELDS = re.compile(
    r"\b(?:vegetarian|vegan|pescatarian|halal|kosher|allerg(?:y|ies|ic)|intoleran(?:t|ce)|c(?:o)?eliac|diabet(?:es|ic)"
    r"|gluten|lactose|pregnant|asthma(?:tic)?|epilep(?:sy|tic)|wheelchair|blind|deaf|dyslexi(?:a|c)|dementia"
    r"|(?:don't|do not|never|can't|cannot) (?:eat|drink|drive|fly)|budget|afford)\b"
    r"|^(?:please |always |never |don't |do not )*(?:answer|reply|respond|write|speak|explain|address|call me|use|avoid"
    r"|keep|be|give)\b",
    re.IGNORECASE,
)
_OTHERS = re.compile(r"\bmy (?!(?:budget|answers?|diet|allerg(?:y|ies))\b)\w+", re.IGNORECASE)


def suggested_scope(text: str) -> Literal["always", "relevant"]:
    """Return `always` for what matters to a whole field of questions, unless it is said of others."""
    return "always" if _FIELDS.search(text) and not _OTHERS.search(text) else "relevant"
