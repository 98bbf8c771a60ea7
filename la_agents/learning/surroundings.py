"""What may stand around a statement without owning it, in English, as patterns of whole clauses. Data only."""

from __future__ import annotations

from la_agents.learning.phrases import LANGUAGE, one_of, pattern, stems

__all__ = [
    "ASKING",
    "AWAITING",
    "COURTESY",
    "FOLLOWING",
    "FRAME",
    "JOINT",
    "LEAD",
    "OF_ONESELF",
    "POINTING_BACK",
    "QUESTION",
    "REQUEST",
    "RETRACTION",
    "TAIL",
    "TEXTUAL",
]

_LEADING = one_of(
    """oh, ah, well, also, and, but, so, actually, honestly, frankly, personally, hi, hello, hey, thanks, thank you,
    ok, okay, yes, nope, great, sure, sorry, please, kindly, by the way, btw, just so you know, fyi, for the record,
    as i said, anyway, realistically, in general, for future reference"""
)
LEAD = pattern(rf"{_LEADING}(?: there)?,? |no, |(?:remember|note|know|keep in mind) (?:that )?(?=i\b|i'm\b)")
"""What leads to a clause."""

TAIL = pattern(r",? (?:please|thanks|thank you|by the way|btw|though)$")
"""What follows a clause."""

_NEXT = one_of(
    """i, i'm, i've, my, please, always, never, don't, stop, what, which, where, when, how, can, could, any,
    suggest, recommend, find, book, plan"""
)
JOINT = pattern(rf",? (?:and|but) (?:also )?(?={_NEXT})|,? (?=so {_NEXT})|, (?={_NEXT}|so )|; +")
"""Where one clause ends and another begins."""

_GREETING = one_of(
    """hi, hello, hey, good (?:morning|afternoon|evening|day), thanks, thank you, many thanks, cheers, ok, okay,
    yes, no, sure, great, perfect, please, sorry, bye"""
)
COURTESY = pattern(
    r"[:;]-?[()]|(?:(?:much|way|far|a bit) )?too (?:(?:much|many) )?\w+"
    rf"|(?:{_GREETING}(?: (?:there|again|a lot|so much|very much|in advance|everyone))?,? ?)+"
)
"""Greetings, thanks and complaints."""

_POINTING = one_of(
    "this, that, these, those, it, its, he, she, they, him, her, them, here, so, am, tone, tense, story, stories"
)
_OF_TEXTS = stems(
    """sai, say, mean, translat, writ, wrot, spell, sentenc, phras, text, word, grammar, correct, right, wrong,
    mistake, error, noun, verb, subject, mood, sentiment, emotion, feel, speak, speech, author, character, narrat,
    quot, line, sing, sung, song, lyric, poem, languag, exampl, true, false, positiv, negativ, sound, above, below,
    rewrit, rephras, opposit, antonym, synonym, titl, devic, repl, respon, read, express, paragraph, passage,
    document, call"""
)
_TEXTUAL = rf"(?:{_POINTING}|{_OF_TEXTS}|{LANGUAGE})"
TEXTUAL = pattern(rf"\b(?:{_OF_TEXTS}|article|review|tag|rate|shorter|in this\b|of this\b)")
"""In another line of a message: it speaks of a text, so this one may be that text."""

_WORD = rf"(?: (?!{_TEXTUAL})[\w'-]+)"
_OWN_VERB = (
    rf"(?!{_TEXTUAL}|{one_of('put, parse, interpret, fix, improve, ask, tell, take, make, know, understand')})\w+"
)
_WANTED = one_of(
    r"""restaurants?, recipes?, meals?, dinners?, lunch, breakfasts?, snacks?, dish(?:es)?, desserts?, drinks?,
    wines?, films?, movies?, series, shows?, books?, novels?, podcasts?, albums?, playlists?, games?, trips?,
    holidays?, vacations?, weekends?, flights?, hotels?, trains?, tours?, hikes?, walks?, museums?, bars?,
    caf[eé]s?, gifts?, presents?, hobb(?:y|ies), sports?, workouts?, cakes?, seats?, tables?, concerts?, places?,
    cit(?:y|ies), menus?, plants?, toys?, jackets?, shoes"""
)
REQUEST = pattern(
    r"(?:what|which|where|when|how)(?: \w+){0,2} (?:should|can|could|do|shall|might|would) (?:i|we) "
    rf"{_OWN_VERB}{_WORD}{{0,12}}"
    r"|(?:(?:can|could|would|will) you )?(?:please )?(?:help me )?"
    rf"(?:find|book|suggest|recommend|plan|choose|pick)(?: me)?{_WORD}{{0,4}} {_WANTED}{_WORD}{{0,8}}"
    rf"|any (?:good )?(?:ideas|suggestions|recommendations|tips) for{_WORD}{{0,4}} {_WANTED}{_WORD}{{0,8}}"
)
"""What is asked for the user's own life: about no text, so not about the sentence that stands beside it."""

FOLLOWING = pattern(rf"so{_WORD}{{2,20}}|(?:plan|book|schedule|order|reserve){_WORD}{{2,20}}")
"""After a statement: what it is a reason for, or an errand."""

QUESTION = pattern(
    r"(?:what|what's|which|who|where|where's|when|why|how|is|are|do|does|can|could|would|will|should|have|has)"
    rf"{_WORD}{{3,20}}|what else|got (?:some|any)|any (?:ideas|tips|suggestions|recommendations|advice)"
)
"""A question that speaks of no text and points at nothing: after an order it is about another thing."""

OF_ONESELF = pattern(
    r"\b(?:i|me|my|we|us|our|you|got|else|any)\b(?! (?:like|love|hate|prefer|eat|drink)\b)"
    r"|^(?:what is|what's|what goes|where is|where's|how do) "
    r"(?![^?]*\b(?:rhym|caption|headline|title|slogan|hashtag|post|tweet|typo|t?here\b|an? (?:more|less|\w+er) ))"
    r"[^?]*\ban? "
)
"""After a statement such a question has to be about the user or bring up a thing of its own ("What is a good salsa?"),
or it may be about the words: "Is a comma missing?"; a comparative, "a better ending", compares with them."""

_TASKS = stems(
    """translat, proofread, rewrit, re-phras, rephras, paraphras, grammar, sentence, text, paste, pasting, lyric, poem,
    quot, role-play, roleplay, repeat after, say after, pretend, character, story, stories, script, dialog, practic,
    practis, interview, essay, email, letter, draft, send me, send it"""
)
AWAITING = pattern(rf"\b{_TASKS}|\bor\b[^.?!\n]*\?\s*$")
"""In what was said just before: what comes may be the material of a task, or a choice of the moment."""

_BACK = one_of(
    """wait, no, sorry, actually, scratch, i meant, i was wrong, never ?mind, correction, forget, ignore, jk,
    not really, (?:(?:only|just|i was|i'm|i am) )*(?:kidding|joking), (?:that|it) was a joke, i lied,
    i made (?:that|it) up"""
)
RETRACTION = pattern(rf"\s*(?:oh,? |oops,? )?{_BACK}")
"""Words that take back what was said before."""

FRAME = pattern(
    r"\b(?:let's|let us|i'll|i will|you're|you are|you'll|will|whatever|each|every|until|wants to)\b"
    r"|^\W*(?:please )?(?:be|act|play|simulate|imagine|turn)\b"
)
"""In what the user said just before: it may give the two of them roles, or say what comes next."""

ASKING = pattern(
    r"\b(?:dictate|go ahead)\b"
    r"|(?:^|[.!\n] *)(?:and |so |ok(?:ay)?,? )*(?:what|what's|which|who|who's|how|where|when|why|does|did|is|are|was)\b"
    r"(?![^?]*\b(?:you|your|you're)\b)[^?]*\?\s*$"
    r"|(?:^|[.!\n] *)(?:please )?(?:give|write|say|send|type) [^.?!]*[.!]?\s*$"
)
"""In what the assistant said last: it asks for a text, or about something other than the user."""

POINTING_BACK = pattern(r"\b(?:that|that's|it|this|those|these)\b|\bi (?:mean|meant|was)\b|^\W*(?:\S+\W+){0,2}\S+\W*$")
"""In the message after a statement, if that is not understood: it may say what the statement was."""
