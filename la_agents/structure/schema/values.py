"""Values: the numbers and strings of a JSON schema in keywords that llguidance keeps exactly."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from fractions import Fraction
from typing import Any

from la_agents.errors import ConfigurationError
from la_agents.requests.grammar import json_problem
from la_agents.structure.schema.formats import FORMATS

__all__ = ["LIMIT", "NothingLeftError", "narrow_numbers", "narrow_strings", "writable"]

LIMIT = 2**53 - 1
"""The greatest bound: larger numbers are rounded by llguidance, and by other readers of JSON."""

_COARSE = 10**9
"""From here on bounds become whole numbers: 53 bits leave too few for fractions."""

_OTHERS = {
    "\\W": r" -/:-@\[-\^`{-~",
    "\\D": r"\t\n\r -/:-~\xa0-\u065f\u3000-\ua61f",
    "\\S": r"!-~\xa1-\u167f\u1681-\u1fff\u2010-\u2027\u2030-\u205e\u2060-\u2fff\u3001-\ud7ff",
}
"""Characters that every validator counts to the class; some count ASCII's letters and digits alone."""

_MORE = {"\\w": r"\x80-\U0010ffff", "\\d": r"\u0660-\u2fff\ua620-\U0010ffff", "\\s": r"\x1c-\x1f\x85\ufeff"}
"""Characters beyond ASCII that some validators count to the class."""

_LARGEST_FACTOR = 2**32 - 1
_CHARACTER = r"(\[\^?(?:\\.|[^\]\\])+\]|\\[sdwSDW]|\\[^a-zA-Z0-9]|[^\\\[\](){}.*+?^$|])"
_TOKEN = re.compile(r"\\.|\[\^?(?:\\.|[^\]\\])*\]|\(\?<?[=!]|.", re.DOTALL)
"""A part of a pattern: an escape, a class, the beginning of a look-around, or a character."""
_ONLY = re.compile(rf"\^?{_CHARACTER}([*+])\$")
_ANYWHERE = re.compile(rf"\.\*\??{_CHARACTER}")
_ONE = re.compile(_CHARACTER)


class NothingLeftError(ConfigurationError):
    """No value that can be decoded validates against a schema."""


def writable(value: Any) -> bool:
    """Whether llguidance keeps a constant exactly; it rounds numbers to 53 bits."""
    if isinstance(value, Mapping):
        return all(map(writable, value.values()))
    if isinstance(value, (list, tuple)):
        return all(map(writable, value))
    return not isinstance(value, (int, float)) or (math.isfinite(value) and abs(value) <= LIMIT)


def narrow_numbers(schema: dict[str, Any], *, whole: bool) -> None:
    """Replace bounds by the nearest that llguidance keeps exactly; by whole numbers for integers.

    Raises:
        ConfigurationError: no number is left.
    """
    low, above = _bound(schema, "minimum", "exclusiveMinimum", -1)
    high, below = _bound(schema, "maximum", "exclusiveMaximum", 1)
    multiple = schema.pop("multipleOf", None)
    room = Fraction(1) if low is None or high is None else high - low
    if room >= 1 and not whole and all(bound is None or abs(bound) < _COARSE for bound in (low, high)):
        names = ("exclusiveMinimum" if above else "minimum", "exclusiveMaximum" if below else "maximum")
    else:  # between two bounds less than 1 apart llguidance reads exclusive ones as inclusive
        names = ("minimum", "maximum")
        low = low if low is None else _inside(low, above, room, whole=whole)
        high = high if high is None else -_inside(-high, below, room, whole=whole)
    factor = None if multiple is None else _factor(multiple, whole=whole)
    if low is not None and high is not None and (low if factor is None else math.ceil(low / factor) * factor) > high:
        msg = f"Expected a number that keeps to the schema's bounds, got none from {float(low)} to {float(high)}."
        raise NothingLeftError(msg)
    for name, bound in zip(names, (low, high), strict=True):
        if bound is not None:
            schema[name] = int(bound) if bound.denominator == 1 else float(bound)
    if factor is not None and factor != (1 if whole else 0):
        schema["multipleOf"] = int(factor) if factor.denominator == 1 else multiple


def _bound(schema: dict[str, Any], inclusive: str, exclusive: str, sign: int) -> tuple[Fraction | None, bool]:
    """The tightest bound, and whether it is exclusive; `sign` is -1 for a lower one."""
    included, excluded = schema.pop(inclusive, None), schema.pop(exclusive, None)
    bounds = [
        (sign * _fraction(value), not out)
        for value, out in ((included, False), (excluded, True))
        if value is not None and value != sign * math.inf  # which excludes nothing
    ]
    if not bounds:
        return None, False
    bound, is_included = min(bounds)
    if bound < -LIMIT:
        msg = f"Expected bounds up to {LIMIT} in size, got one beyond; numbers there are not written exactly."
        raise NothingLeftError(msg)
    return (sign * bound, not is_included) if bound <= LIMIT else (Fraction(sign * LIMIT), False)


def _fraction(value: Any) -> Fraction:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        msg = f"Expected a number as a bound, got {value!r}."
        raise ConfigurationError(msg)
    return Fraction(str(value))


def _inside(low: Fraction, excluded: bool, room: Fraction, *, whole: bool) -> Fraction:
    """The least number that a lower bound allows; a little above it where that is a fraction."""
    if whole or abs(low) > _COARSE:
        return Fraction(math.floor(low) + 1 if excluded else math.ceil(low))
    step = Fraction(1, 10**6)
    while room and step * 4 > room:
        step /= 10
    while float(low + step) == float(low):
        step *= 10
    return low + step if excluded else low


def _factor(multiple: Any, *, whole: bool) -> Fraction:
    value = abs(_fraction(multiple))
    factor = Fraction(value.numerator) if whole else value  # the least common multiple with 1
    if not factor or factor.numerator > _LARGEST_FACTOR:
        msg = f"Expected multipleOf above 0 and of at most 9 digits, got {multiple!r}."
        raise ConfigurationError(msg)
    return factor


def narrow_strings(schema: dict[str, Any]) -> tuple[list[str], bool]:
    """Take formats and patterns out of joined keywords: patterns without look-around, and whether those are exact."""
    read = [
        (given, p) for given in schema.pop("pattern", ()) for p in _without_look_around(_with_common_classes(given))
    ]
    kept = [pattern for given, pattern in read if pattern is not None and not _refused(pattern, given)]
    bounds: dict[str, Any] = {key: schema[key] for key in ("minLength", "maxLength") if key in schema}
    own = []
    for ways in (FORMATS[name] for name in schema.pop("format", ()) if isinstance(name, str) and name in FORMATS):
        fitting = ways if len(ways) == 1 else [way for way in ways if not _impossible([way, *kept], bounds)]
        own.append([*fitting, *ways][0])
    return [*dict.fromkeys([*own, *kept])], len(kept) == len(read)


def _impossible(patterns: list[str], bounds: Mapping[str, Any]) -> bool:
    parts = [{"pattern": pattern} for pattern in patterns]
    return "nsatisfiable" in json_problem({"type": "string", **bounds, "allOf": parts})


def _refused(pattern: str, given: str) -> bool:
    """Whether llguidance cannot read a pattern that is valid as it was given (one with back-references, say)."""
    try:
        re.compile(given)
    except re.error:
        return False  # llguidance's own message says what is wrong
    problem = json_problem({"type": "string", "pattern": pattern})
    return bool(problem) and "nsatisfiable" not in problem


def _without_look_around(pattern: str) -> Iterator[str | None]:
    """Patterns that together mean this one; None stands for a part that cannot be expressed."""
    rest = pattern
    while rest.startswith(("^(?=", "^(?!")):
        end = _end_of_group(rest, 1)
        positive, inner, rest = rest[3] == "=", rest[4 : end - 1], "^" + rest[end:]
        yield f"^(?:{inner.removeprefix('^')})" if positive else _not_ahead(inner)
    if rest != pattern and "|" in re.sub(r"\\.|\[(?:\\.|[^\]\\])*\]|\([^()]*\)", "", rest):
        yield None  # an alternative that the anchor does not reach
    elif (free := _without_assertions(rest)) != rest:
        yield None
        yield free
    elif rest not in ("^", "^.*", "^.*$"):
        yield rest


def _with_common_classes(pattern: str) -> str:
    """A pattern without the characters on whose class validators, or llguidance and JSON's escapes, disagree."""

    def common(token: str) -> str:
        if token[0] != "[" or len(token) < 2:
            return f"[{_OTHERS[token]}]" if token in _OTHERS else token
        negated = token[1] == "^"
        also = (lambda e: e[0] + _MORE.get(e[0], "")) if negated else (lambda e: _OTHERS.get(e[0], e[0]))
        inside = re.sub(r"\\.", also, token[:-1])
        return inside + ((r"\x00" if negated else r"&&[^\x00]") if _misread(inside + "]") else "") + "]"

    return _TOKEN.sub(lambda found: common(found[0]), pattern)


def _misread(class_: str) -> bool:
    """Whether llguidance adds JSON's quote and backslash to a class: it does where all control characters are in."""
    try:
        missing = [chr(code) for code in (*range(32), 34, 92) if not re.match(class_, chr(code))]
    except re.error:
        return False
    return bool(missing) and not any(character < " " for character in missing)


def _without_assertions(pattern: str) -> str:
    """A pattern without look-around and word boundaries; it matches at least what the pattern matches."""
    out, at = "", 0
    while found := _TOKEN.match(pattern, at):
        is_group = re.fullmatch(r"\(\?<?[=!]", found[0])
        at = _end_of_group(pattern, at) if is_group else found.end()
        out += "" if is_group or found[0] in ("\\b", "\\B") else found[0]
    return out


def _not_ahead(inner: str) -> str | None:
    """`^(?!inner)` without look-around, for the three common forms."""
    if found := _ONLY.fullmatch(inner):
        return _inverse(found[1]) if found[2] == "*" else f"^$|{_inverse(found[1])}"
    if found := _ANYWHERE.fullmatch(inner):
        return f"^{_inverse(found[1])}*$"
    if found := _ONE.fullmatch(inner.removeprefix("^")):
        return f"^(?:{_inverse(found[1])}|$)"
    return None


def _inverse(character: str) -> str:
    """The class of all other characters."""
    if character.startswith("["):
        return "[" + character[2:] if character.startswith("[^") else "[^" + character[1:]
    if character[0] == "\\" and character[1] in "sdwSDW":
        return character.swapcase()
    return f"[^{character}]"


def _end_of_group(pattern: str, start: int) -> int:
    """Where the group that opens at `start` is over."""
    depth = 0
    for found in _TOKEN.finditer(pattern, start):
        depth += (found[0][0] == "(") - (found[0] == ")")
        if not depth:
            return found.end()
    return len(pattern)
