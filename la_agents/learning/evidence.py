"""Evidence: checks that a proposed preference is supported by the user's own words.

The words must occur in a human message, outside quotations, in a statement by the user about themselves, with the same
polarity and the same topic as the preference. The checks are formal, for the languages of `languages.py`; in other
languages only the presence of the words is checked. If words and preference are in different languages, the topic is
not compared here (`Evidence.is_read` is False). Whether users mean what they say cannot be checked: the model that
proposes and the user who approves decide that.
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

__all__ = ["Evidence", "find_evidence"]

_MIN_WORDS = 2
_MIN_LETTERS = 6
_UNSPACED = dict.fromkeys(("THAI", "LAO", "KHMER", "MYANMAR", "TIBETAN"), 6) | {"CJK": 3}
_LEAST_SHARE = 0.6
_MAX_PLACES = 20  # of the same words in one message
_MAX_AROUND = 2_000  # characters before and after them, in which a quotation may begin or end
_MIN_STEM = 4
_STEM_SHARE = 0.6

_SHOWN = re.compile(
    r"```.*?(?:```|\Z)|`[^`\n]*`|^[ \t]*>[^\n]*|\"[^\"]*\"|“[^”]*”|„[^“”]*[“”]|«[^»]*»|「[^」]*」|『[^』]*』|‘[^’]*’"
    r"|(?<!\w)'(?=\w)[^'\n]*(?:'\w[^'\n]*)*'(?!\w)",
    re.DOTALL | re.MULTILINE,
)
_END = re.compile(r"[.!?;\n。]")
_PERSON = (
    r"(?=(?:i|my|he|she|they|we|ich|mein|meine|er|sie|je|mon|ma|il|elle|yo|mi|él|ella|io|mio|mia|lui|lei|eu|meu|minha|ele|"
    r"ela|ik|mijn|hij|zij)\b)"
)
_CLAUSE = re.compile(
    r",?\s+(?:but|so|while|whereas|although|though|aber|sondern|während|mais|pero|sino|ma|mas|maar)\s+"
    rf"|,?\s+(?:and|und|et|y|e|en)\s+{_PERSON}|,\s+{_PERSON}|,\s+(?=(?:what|which|where|how|can|could|any)\b)"
    r"|,\s*(?=[\u3040-\u9fff])|(?:但是|但|可是|不过)"
)
_COMPARING = re.compile(
    r"\b(?:prefer\w*|more|better|rather|lieber|mehr|bevorzug\w*|préfèr\w*|plus|mieux|prefier\w*|más|mejor|preferisc\w*|più|"
    r"meglio|prefir\w*|prefere|mais|melhor|liever|meer)\b.*?\b(?P<than>to|than|over|als|statt|à|aux?|que|a|al|che|di|do|dan|"
    r"boven)\b",
    re.DOTALL,
)
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
    text: str
    is_asked: bool


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
        is_read = _is_read(_folded(text), wanted, str(message.text), before) if is_said(wanted, [message]) else None
        if is_read is not None:
            return Evidence(message, is_read)
    return None


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
        language = language_of(message[begin:stop], message)
        if language is not None and language.supposed & {*words_of(message[begin:stop], language)}:
            continue
        clauses = _clauses_around(message, start, end, begin, stop)
        if _is_foreign(clauses, language, text):
            if _is_stated(clauses, language, text):
                return False
        elif _says(clauses, language, text) and not _is_turned(clauses, language, text):
            return True
        elif language is None and _shared(content_of(text, None), words_of(message[begin:stop], None)):
            return False  # a language that is not read at all
        if _answers(clauses, language, text, before):
            return True
    return None


def _is_shown(message: str, start: int) -> bool:
    """Whether this place is quoted, code, or introduced by a colon: "Translate into Italian: ..."."""
    if any(found.start() < start < found.end() for found in _SHOWN.finditer(message)):
        return True
    before = message[:start]
    return bool(re.search(r":(?:\s|$)", before.rpartition("\n\n")[2])) or before.rstrip().endswith(":")


def _is_material(before: str, after: str) -> bool:
    """Whether another line gives a task for the text: "Translate into Italian."."""
    lines = before.rpartition("\n")[0], after.partition("\n")[2]
    return any(each.tasks & {*words_of(line, each)} for line in lines for each in LANGUAGES.values())


def _sentence_around(message: str, start: int, end: int) -> tuple[int, int]:
    """Start and end of the sentences that contain the words."""
    begin = max((found.end() for found in _END.finditer(message, 0, start)), default=0)
    stop = _END.search(message, max(start, end - 1))
    return begin, stop.end() if stop else len(message)


def _clauses_around(message: str, start: int, end: int, begin: int, stop: int) -> list[_Clause]:
    """The clauses of a sentence that the words touch."""
    clauses, position = [], begin
    for joint in [*_CLAUSE.finditer(message, begin, stop), None]:
        until = joint.start() if joint else stop
        if position < end and start < until:
            clause = message[position:until]
            clauses.append(_Clause(clause, clause.rstrip().endswith("?") and not _ASKED_TO.match(clause)))
        position = joint.end() if joint else until
    return clauses


def _stated(clauses: Sequence[_Clause]) -> list[str]:
    return [clause.text for clause in clauses if not clause.is_asked]


def _is_foreign(clauses: Sequence[_Clause], theirs: Language | None, text: str) -> bool:
    """Whether the statement is in another language than the preference."""
    own = language_of(text)
    is_other = theirs is not None and own is not None and theirs is not own
    return is_other or script_of(text) != script_of(" ".join(_stated(clauses)))


def _is_stated(clauses: Sequence[_Clause], theirs: Language | None, text: str) -> bool:
    """Whether the user states something, with the polarity of the preference in the other language."""
    own = language_of(text)
    return any(_is_own(clause, theirs) and _agree(clause, theirs, text, own) for clause in _stated(clauses))


def _says(clauses: Sequence[_Clause], theirs: Language | None, text: str) -> bool:
    own, stated = language_of(text), _stated(clauses)
    content, said = content_of(text, own), ", ".join(stated)
    shared = _shared(content, words_of(said, theirs))
    if not _is_most(shared, content):
        return False
    about = [clause for clause in stated if _shared(shared, words_of(clause, theirs))]
    if not all(_is_own(clause, theirs, shared) for clause in about):
        return False
    everything = content_of(said, theirs)
    if _is_most(_shared(everything, words_of(text, own)), everything):
        return _agree(said, theirs, text, own)
    return all(_agree(clause, theirs, text, own) for clause in about)


def _is_turned(clauses: Sequence[_Clause], language: Language | None, text: str) -> bool:
    """Whether the comparison is reversed: "I prefer dogs to cats", "Likes cats more than dogs"."""
    said = _compared(", ".join(_stated(clauses)), language)
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
    return polarity_of(question, language) * polarity_of(said, language) == polarity_of(text, own)


def _is_own(clause: str, language: Language | None, about: frozenset[str] = frozenset()) -> bool:
    """Whether the clause is about its author: nobody but the author is named before the topic."""
    if language is None:
        return True
    words = words_of(clause, language)
    place = _first(words, about) if about else None
    before = words if place is None else words[:place]
    if before and before[-1] in language.mine and place is not None:
        before = before[:-1]  # "I love my garden"
    foreign = language.others | language.mine
    owned = [word for word in before if word in language.own or word in foreign]
    if any(before[n] in language.mine and before[n + 1] in language.own for n in range(len(before) - 1)):
        owned = [word for word in owned if word not in language.mine]  # "my favourite ..."
    if owned:
        return not any(word in foreign for word in owned)
    said = language.own if language.is_spaced else language.own | language.denials | language.aversions
    return bool(said & {*words})


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
    if one == other or one + "s" == other or other + "s" == one:
        return True
    common = next((n for n, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))
    return common >= _MIN_STEM and common >= _STEM_SHARE * max(len(one), len(other))


def _folded(text: str, *, keep_lines: bool = False) -> str:
    text = unicodedata.normalize("NFKC", text).replace("’", "'").casefold()
    if keep_lines:
        return "\n".join(" ".join(line.split()) for line in text.splitlines())
    return " ".join(text.split())
