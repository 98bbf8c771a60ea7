"""Function words of sixteen languages, by which evidence is checked: who speaks, and with which polarity.

They are listed in `languages.json`: closed classes only, such as pronouns and particles, the most common words for
liking, disliking and relatives, and verbs in the first person where these need no pronoun. Any other word is content.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.resources import files

__all__ = ["LANGUAGES", "Language", "content_of", "language_of", "may_state", "polarity_of", "script_of", "words_of"]


@dataclass(frozen=True, slots=True)
class Language:
    """Words of one language, folded.

    Attributes:
        own: Users refer to themselves or to the assistant with these.
        mine: Possessives, which make the next word somebody or something of the user's.
        others: People other than the user, and verbs that report what these say.
        denials: One or more of them negate.
        aversions: Each of them inverts the meaning.
        supposed: Mark a supposition rather than a statement.
        answers: Begin the answer to a question.
        tasks: Introduce a text to work on.
        small: Further words without content.
        pointing: Point at something that lies there, such as a text: "this", "the following".
        known: All of them.
        script: As `script_of` names it.
        is_spaced: Whether words are separated by spaces.
    """

    own: frozenset[str]
    mine: frozenset[str]
    others: frozenset[str]
    denials: frozenset[str]
    aversions: frozenset[str]
    supposed: frozenset[str]
    answers: frozenset[str]
    tasks: frozenset[str]
    small: frozenset[str]
    pointing: frozenset[str]
    known: frozenset[str]
    script: str = "LATIN"
    is_spaced: bool = True


def _read() -> dict[str, Language]:
    listed = json.loads((files(__package__) / "languages.json").read_text(encoding="utf-8"))
    languages = {}
    for name, words in listed.items():
        script, is_spaced = words.pop("script", "LATIN"), words.pop("is_spaced", True)
        kinds = {kind: frozenset(unicodedata.normalize("NFKC", listing).split()) for kind, listing in words.items()}
        known = frozenset().union(*kinds.values())
        languages[name] = Language(**kinds, known=known, script=script, is_spaced=is_spaced)
    return languages


LANGUAGES = _read()
_SPOKEN_OUT = tuple(LANGUAGES[name] for name in ("en", "de", "fr", "nl"))
"""Those in which nobody speaks of themselves, or says that an order lasts, without one of the listed words."""

_SAYING = frozenset[str]().union(*(each.own | each.mine | each.denials | each.aversions for each in LANGUAGES.values()))
_LEAST_KNOWN = 0.3
_FRAGMENT = re.compile(r"(?:^|[.!?])\s*[^\s.!?][^.!?]{0,30}(?:[.!]|$)")

_MARKS = (
    "\u0300-\u036f\u0591-\u05c7\u0610-\u061a\u064b-\u065f\u0670\u0900-\u0903\u093a-\u094f\u0951-\u0957\u0962\u0963\u0980-\u0983"
    "\u09bc-\u09d7\u0a01-\u0a51\u0b3c-\u0b57\u0bbe-\u0bd7\u0c3e-\u0c56\u0cbc-\u0cd6\u0d3e-\u0d57\u0e31\u0e34-\u0e3a\u0e47-\u0e4e"
)
_LETTERS = rf"(?:[^\W\d_][{_MARKS}]*)+"
_WORD = re.compile(rf"{_LETTERS}n't|{_LETTERS}|\d+")
_UNSPACED = {
    name: re.compile("|".join(sorted(map(re.escape, language.known), key=len, reverse=True)) + rf"|\w[{_MARKS}]*")
    for name, language in LANGUAGES.items()
    if not language.is_spaced
}


def words_of(text: str, language: Language | None) -> list[str]:
    """The words of a folded text; in languages without spaces, the known words and single characters."""
    name = next((name for name, each in LANGUAGES.items() if each is language), None)
    return (_UNSPACED.get(name, _WORD) if name else _WORD).findall(text)


def content_of(text: str, language: Language | None) -> frozenset[str]:
    """The content words of a folded text."""
    return frozenset(words_of(text, language)) - (language.known if language else frozenset())


def polarity_of(text: str, language: Language) -> int:
    """-1 if a folded text is negative, else 1."""
    words = words_of(text, language)
    turns = sum(word in language.aversions for word in words) + any(word in language.denials for word in words)
    return -1 if turns % 2 else 1


def script_of(text: str) -> str:
    """The script of most letters, by the first word of their Unicode names: LATIN, CJK, HIRAGANA, CYRILLIC, ..."""
    names = [*_scripts(text)]
    return max(sorted({*names}), key=names.count) if names else ""


def _scripts(text: str) -> Iterator[str]:
    for character in text:
        if character.isalpha():
            name = unicodedata.name(character, "?").split()[0]
            yield "CJK" if name in ("HIRAGANA", "KATAKANA", "KATAKANA-HIRAGANA") else name


def language_of(text: str, context: str = "") -> Language | None:
    """The language of a folded text, by its function words and, in doubt, by those of its surroundings.

    None if it is another language or cannot be determined.
    """
    script = script_of(text)
    if script == "CJK":
        return LANGUAGES["ja" if re.search(r"[\u3040-\u30ff]", text) else "zh"]
    words, around = _WORD.findall(text), _WORD.findall(context)
    hits = {
        name: (sum(word in each.known for word in words), sum(word in each.known for word in around))
        for name, each in LANGUAGES.items()
        if each.script == script
    }
    best = max(hits, key=lambda name: hits[name], default="")  # the first of equals: English
    return LANGUAGES[best] if best and (any(hits[best]) or not LANGUAGES[best].is_spaced) else None


def may_state(text: str) -> bool:
    """Whether a message may contain a lasting statement about its author.

    False only if it certainly is in one of these languages and has no word with which one could say such a thing; a few
    words that are no question may ("Tea over coffee.").
    """
    folded = " ".join(unicodedata.normalize("NFKC", text).replace("’", "'").casefold().split())
    language = language_of(folded)
    words = words_of(folded, language)
    if language is None or language not in _SPOKEN_OUT:
        return True
    is_sure = sum(word in language.known for word in words) >= _LEAST_KNOWN * len(words)
    return not is_sure or not _SAYING.isdisjoint(words) or bool(_FRAGMENT.search(folded))
