"""Evidence: checks that a proposed preference is supported by the user's own words.

The words must occur in a human message, outside quotations and pasted text, in a statement by the user about themselves
or an order to the assistant, with the same polarity and the same topic as the preference. Who speaks is shown by what
stands before the topic: nothing but words for the user, words without content, and words of the preference itself. So
whoever else is named there owns the statement ("Max is allergic to nuts"), and so does whatever restricts it ("For this
essay I prefer long answers"), unless the preference says so, too.

The checks are formal, for the languages of `languages.py`; in others only the presence of the words is checked. There,
and if words and preference are in different languages, the topic is not compared (`Evidence.is_read` is False). Whether
users mean what they say cannot be checked: the model that proposes and the user who approves decide that.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import islice

from langchain_core.messages import BaseMessage

from la_agents.learning.languages import LANGUAGES, Language, content_of, language_of, polarity_of, script_of, words_of
from la_agents.learning.proposal import is_said
from la_agents.learning.surroundings import ASKING, LEAD, RETRACTION, TEXTUAL

__all__ = ["Evidence", "find_evidence"]

_MIN_WORDS = 2
_MIN_LETTERS = 6
_UNSPACED = dict.fromkeys(("THAI", "LAO", "KHMER", "MYANMAR", "TIBETAN"), 6) | {"CJK": 3}
_LEAST_SHARE = 0.6
_MAX_PLACES = 20  # of the same words in one message
_MAX_AROUND = 2_000  # characters before and after them, in which a quotation may begin or end
_MIN_STEM = 4
_MAX_DESCRIBING = 2
_STEM_SHARE = 0.6

_SHOWN = re.compile(
    r"```.*?(?:```|\Z)|`[^`\n]*`|^[ \t]*>[^\n]*|\"[^\"]*\"|“[^”]*”|„[^“”]*[“”]|«[^»]*»|「[^」]*」|『[^』]*』|‘[^’]*’"
    r"|‹[^›]*›|<(?P<tag>\w+)[^>]*>.*?</(?P=tag)>|^[ \t]*(?P<rule>---+|===+|\*\*\*+)[ \t]*$.*?^[ \t]*(?P=rule)[ \t]*$"
    r"|(?<!\w)'(?=\w)[^'\n]*(?:'\w[^'\n]*)*'(?!\w)",
    re.DOTALL | re.MULTILINE,
)
_PASTED = re.compile(r"\b(?:past(?:e|ing)|translate|proofread|rewrite|repeat after|say after)\b", re.IGNORECASE)
_MAX_ASKED = 300
_END = re.compile(r"[.!?;\n。]")
_PERSON = (
    r"(?=(?:i|my|he|she|they|we|ich|mein|meine|er|sie|je|mon|ma|il|elle|yo|mi|él|ella|io|mio|mia|lui|lei|eu|meu|minha|ele|"
    r"ela|ik|mijn|hij|zij)\b)"
)
_CLAUSE = re.compile(
    r",?\s+(?:but|so|while|whereas|although|though|aber|sondern|während|mais|pero|sino|ma|mas|maar)\s+"
    rf"|,?\s+(?:and|und|et|y|e|en)\s+{_PERSON}|,\s+{_PERSON}|,\s+(?=(?:what|which|where|how|can|could|any)\b)"
    r"|,\s*(?=[\u3040-\u9fff])|(?:但是|但|可是|不过)|(?<=[!?;。])\s+|(?<=[^\W\d_]{3}\.)\s+|\n"
)
_COMPARING = re.compile(
    r"\b(?:prefer\w*|more|better|rather|lieber|mehr|bevorzug\w*|préfèr\w*|plus|mieux|prefier\w*|más|mejor|preferisc\w*|più|"
    r"meglio|prefir\w*|prefere|mais|melhor|liever|meer)\b.*?\b(?P<than>to|than|over|als|statt|à|aux?|que|a|al|che|di|do|dan|"
    r"boven)\b",
    re.DOTALL,
)
_LETTER = re.compile(r"^(?:dear|liebe[rs]?|chère?|estimad[oa]|car[oa]|subject|betreff|objet)\b[^\n]*$", re.MULTILINE)
_DENYING = re.compile(r"\s*no (?!wait\b)")
_ADVERB = re.compile(r"\w{3,}(?:ly|mente|ment)")
_ASKED_TO = re.compile(r"\s*(?:can|could|would|will) you (?:please )?(?:always|never)\b")


@dataclass(frozen=True, slots=True)
class Evidence:
    """Words that support a preference.

    Attributes:
        message: The human message in which they stand.
        is_read: Whether their topic was compared and is the same; False if the two are in different languages.
    """

    message: BaseMessage
    is_read: bool


@dataclass(frozen=True, slots=True)
class _Clause:
    """A clause of the user's, with what leads to it, up to a comma: "In general, I prefer tea"."""

    text: str
    is_asked: bool
    lead: str = ""


def find_evidence(text: str, evidence: str, messages: Sequence[BaseMessage]) -> Evidence | None:
    """The first human message in which these words support the preference, or None.

    Case and spacing do not count.
    """
    wanted = _folded(evidence).strip(" .,!?;:\"'“”„«»。")
    if not _is_long_enough(wanted):
        return None
    spoken = [message for message in messages if message.type in ("human", "ai")]
    for place, message in enumerate(spoken):
        before = str(spoken[place - 1].text) if place and spoken[place - 1].type == "ai" else ""
        if not is_said(wanted, [message]) or _is_dictated(wanted, str(message.text), before):
            continue
        is_read = _is_read(_folded(text), wanted, str(message.text), before)
        if is_read is not None:
            return Evidence(message, is_read)
    return None


def _is_dictated(wanted: str, said: str, before: str) -> bool:
    """Whether the message is nothing but these words, and the assistant has asked for a text, or about others."""
    is_asked_for = ASKING.search(before[-_MAX_ASKED:]) or _PASTED.search(before[-_MAX_ASKED:])
    return bool(is_asked_for) and len(_folded(said)) <= len(wanted) + 2


def _is_long_enough(words: str) -> bool:
    letters, script = sum(character.isalnum() for character in words), script_of(words)
    if script in _UNSPACED:
        return letters >= _UNSPACED[script]
    return letters >= _MIN_LETTERS and len(words.split()) >= _MIN_WORDS


def _is_read(text: str, wanted: str, said: str, before: str) -> bool | None:
    """`Evidence.is_read` for a message; None if it does not support the preference."""
    whole = _folded(said, keep_lines=True)
    words = r"\s+".join(re.escape(word) for word in wanted.split())
    places = re.finditer(rf"(?<!\w){words}(?!\w)" if script_of(wanted) not in _UNSPACED else words, whole)
    for place in islice(places, _MAX_PLACES):
        message = whole[max(0, place.start() - _MAX_AROUND) : place.end() + _MAX_AROUND]
        start = min(place.start(), _MAX_AROUND)
        end = start + len(place[0])
        begin, stop = _sentence_around(message, start, end)
        if _is_shown(message, start) or _is_material(message[:begin], message[stop:]):
            continue
        if RETRACTION.match(message[stop:]) and not _DENYING.match(message[stop:]):
            continue
        language = language_of(message[begin:stop], message)
        if language is not None and not _is_meant({*words_of(message[begin:stop], language)}, language, text):
            continue
        clauses = _clauses_around(message, start, end, begin, stop)
        if _is_foreign(clauses, language, text):
            if _is_stated(clauses, language, text):
                return False
        elif language is not None and _says(clauses, language, text) and not _is_turned(clauses, language, text):
            return True
        elif language is None and _shared(content_of(text, None), words_of(message[begin:stop], None)):
            return False  # a language that is not read at all
        if _answers(clauses, language, text, before):
            return True
    return None


def _is_meant(words: set[str], language: Language, text: str) -> bool:
    """Whether a sentence supposes nothing, and gives no task that the preference does not speak of."""
    return not language.supposed & words and not language.tasks & words - {*words_of(text, language)}


def _is_shown(message: str, start: int) -> bool:
    """Whether this place is quoted, code, or introduced by a colon: "Translate into Italian: ..."."""
    if any(found.start() < start < found.end() for found in _SHOWN.finditer(message)):
        return True
    before = message[:start]
    if before.rpartition("\n")[2].count('"') % 2:  # a quotation that is not closed
        return True
    return bool(re.search(r":(?:\s|$)", before.rpartition("\n\n")[2])) or before.rstrip().endswith(":")


def _is_material(before: str, after: str) -> bool:
    """Whether the text is pasted: another line gives a task for it, speaks of a text or begins a letter, or another
    sentence of its line gives a task that points at it ("Translate that")."""
    above, same_before = before.rpartition("\n")[::2]
    same_after, below = after.partition("\n")[::2]
    lines = [line for line in (*above.splitlines(), *below.splitlines()) if line.strip()]
    if any(_LETTER.match(line) or TEXTUAL.search(line) for line in lines):
        return True
    for each in LANGUAGES.values():
        beside = [{*words_of(part, each)} for part in (same_before, same_after)]
        if any(not each.tasks.isdisjoint(words_of(line, each)) for line in lines):
            return True
        if any(each.tasks & words and each.pointing & words for words in beside):
            return True
    return False


def _sentence_around(message: str, start: int, end: int) -> tuple[int, int]:
    """Start and end of the sentences that contain the words."""
    begin = max((found.end() for found in _END.finditer(message, 0, start)), default=0)
    stop = _END.search(message, max(start, end - 1))
    return begin, stop.end() if stop else len(message)


def _clauses_around(message: str, start: int, end: int, begin: int, stop: int) -> list[_Clause]:
    """The clauses of a sentence that the words touch."""
    clauses, position, lead = [], begin, ""
    for joint in [*_CLAUSE.finditer(message, begin, stop), None]:
        until = joint.start() if joint else stop
        clause = message[position:until]
        if position < end and start < until:
            clauses.append(_Clause(clause, clause.rstrip().endswith("?") and not _ASKED_TO.match(clause), lead))
        position = joint.end() if joint else until
        lead = clause if joint and joint[0].strip() == "," else ""
    return clauses


def _stated(clauses: Sequence[_Clause]) -> list[_Clause]:
    return [clause for clause in clauses if not clause.is_asked]


def _text_of(clauses: Sequence[_Clause]) -> str:
    return ", ".join(clause.text for clause in _stated(clauses))


def _is_foreign(clauses: Sequence[_Clause], theirs: Language | None, text: str) -> bool:
    """Whether the statement is in another language than the preference."""
    own = language_of(text)
    is_other = theirs is not None and own is not None and theirs is not own
    return is_other or script_of(text) != script_of(_text_of(clauses))


def _is_stated(clauses: Sequence[_Clause], theirs: Language | None, text: str) -> bool:
    """Whether the user states something, with the polarity of the preference in the other language."""
    own = language_of(text)
    return any(_is_own(clause, theirs) and _agree(clause.text, theirs, text, own) for clause in _stated(clauses))


def _says(clauses: Sequence[_Clause], theirs: Language, text: str) -> bool:
    own, told = language_of(text), words_of(text, language_of(text))
    content = content_of(text, own) or theirs.others & {*told}  # "My pronouns are she/her"
    about = _shared(content, words_of(_text_of(clauses), theirs))
    owned = [clause for clause in _stated(clauses) if _is_own(clause, theirs, about, told)]
    owned = [each for each in owned if _is_most(_shared(content, words_of(each.text, theirs)), content)] or owned
    said = _text_of(owned)
    shared = _shared(content, words_of(said, theirs))
    if not _is_most(shared, content) or any(word.isdecimal() for word in content - shared):
        return False
    everything = content_of(said, theirs)
    if _is_most(_shared(everything, told), everything):
        return _agree(said, theirs, text, own)
    on_topic = [clause.text for clause in owned if _shared(shared, words_of(clause.text, theirs))]
    return all(_agree(each, theirs, text, own) for each in on_topic)


def _is_turned(clauses: Sequence[_Clause], language: Language | None, text: str) -> bool:
    """Whether the comparison is reversed: "I prefer dogs to cats", "Likes cats more than dogs"."""
    said = _compared(_text_of(clauses), language)
    told = _compared(text, language_of(text))
    return all(_shared(said[side], [*told[1 - side]]) for side in (0, 1))


def _compared(text: str, language: Language | None) -> tuple[frozenset[str], frozenset[str]]:
    """The content before and after "to" or "than", if the sentence compares."""
    found = _COMPARING.search(text)
    sides = (text[: found.start("than")], text[found.end("than") :]) if found else ("", "")
    return content_of(sides[0], language), content_of(sides[1], language)


def _answers(clauses: Sequence[_Clause], language: Language | None, text: str, before: str) -> bool:
    """Whether a reply such as "No, never." follows a question about the topic: "Do you eat meat?"."""
    asked = re.split(r"(?<=[.!?。])\s*", _folded(before).strip())[-2:]
    question = next((part for part in reversed(asked) if part.endswith("?")), "")
    own = language_of(text)
    said = " ".join(clause.text for clause in clauses)
    answer = words_of(said, language)
    if not question or language is None or not answer or answer[0] not in language.answers:
        return False
    words = words_of(question, language)
    if language is not language_of(question) or language is not own or language.others & {*words, *answer}:
        return False
    content = content_of(text, own)
    if not content or _shared(content, [*words, *answer]) != content:
        return False
    if content_of(question, language) - _shared(content_of(question, language), [*content, "anything"]):
        return False  # it asks about somebody else
    return polarity_of(question, language) * polarity_of(said, language) == polarity_of(text, own)


def _is_own(
    clause: _Clause, language: Language | None, about: frozenset[str] = frozenset(), told: Sequence[str] = ()
) -> bool:
    """Whether the clause is its author's: before its topic, or before the author, nothing and nobody else is named.

    Up to two words may describe the topic: "I love old maps".

    Args:
        clause: The clause.
        language: Its language; None if it is not known, and then every clause is.
        about: Its topic, if that is known.
        told: The words of the preference, which may stand there.
    """
    if language is None:
        return True
    own = language.own if language.is_spaced else language.own | language.denials | language.aversions

    def is_plain(word: str) -> bool:
        known = word in language.known - language.others or _ADVERB.fullmatch(word)
        return bool(known) or _first(told, {word}) is not None

    lead, words = words_of(_without_lead(f"{clause.lead}, "), language), words_of(_without_lead(clause.text), language)
    if not all(map(is_plain, lead[: _first(lead, own)])):
        return False
    place = _first(words, about or own)
    if place is None or (not about and not language.others.isdisjoint(words)):
        return False
    before, after = words[:place], words[place:]
    if language.others & {*re.findall(r", (\w+)", clause.text)} & {*after}:  # "I hate cruises, says Tom"
        return False
    if own.isdisjoint(before):
        return not own.isdisjoint(after) and all(map(is_plain, words if about else before))
    for _ in range(_MAX_DESCRIBING if language.is_spaced else 0):
        if before and not is_plain(before[-1]):
            before = before[:-1]
    return all(map(is_plain, before)) and language.others.isdisjoint(words[:place])


def _without_lead(clause: str) -> str:
    """An English clause without "by the way", "remember that" and the like."""
    clause = clause.lstrip()
    while lead := LEAD.match(clause):
        clause = clause[lead.end() :]
    return clause


def _agree(clause: str, theirs: Language | None, text: str, own: Language | None) -> bool:
    """Whether both have the same polarity; not checked for unknown languages."""
    if theirs is None or own is None:
        return True
    return polarity_of(clause, theirs) == polarity_of(text, own)


def _shared(content: frozenset[str], words: Sequence[str]) -> frozenset[str]:
    return frozenset(word for word in content if _first(words, {word}) is not None)


def _is_most(part: frozenset[str], whole: frozenset[str]) -> bool:
    return bool(whole) and len(part) / len(whole) >= _LEAST_SHARE


def _first(words: Sequence[str], about: Collection[str]) -> int | None:
    return next((n for n, word in enumerate(words) if any(_alike(word, other) for other in about)), None)


def _alike(one: str, other: str) -> bool:
    """Whether two words share a stem, judged by their letters: "allergic" and "allergy", "cats" and "cat"."""
    if one == other or any(one + end == other or other + end == one for end in ("s", "ing")):
        return True
    common = next((n for n, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))
    return common >= _MIN_STEM and common >= _STEM_SHARE * max(len(one), len(other))


def _folded(text: str, *, keep_lines: bool = False) -> str:
    text = unicodedata.normalize("NFKC", text).replace("’", "'").casefold()
    if keep_lines:
        return "\n".join(" ".join(line.split()) for line in text.splitlines())
    return " ".join(text.split())
