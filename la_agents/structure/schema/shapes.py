"""Shapes: the values of one JSON type that a schema allows. A schema is read as alternatives, each of them a shape."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from typing import Any, Protocol

from la_agents.structure.schema.references import References

__all__ = ["EVERYTHING", "KEYWORDS", "TYPES", "All", "Reader", "Shape", "assumed", "of_name"]

All = tuple[Any, ...]
"""Schemas that all hold of one value."""

KEYWORDS: Mapping[str, frozenset[str]] = {
    "null": frozenset(),
    "boolean": frozenset(),
    "number": frozenset({"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"}),
    "string": frozenset({"pattern", "format", "minLength", "maxLength"}),
    "array": frozenset({"items", "prefixItems", "minItems", "maxItems"}),
    "object": frozenset({"properties", "required", "additionalProperties", "patternProperties", "propertyNames",
                         "minProperties", "maxProperties"}),
}  # fmt: skip
TYPES = tuple(KEYWORDS)


@dataclass(frozen=True)
class Shape:
    """The values of one type that keep to the keywords of several schemas.

    Attributes:
        own: The keywords of each schema, without those that stand for other schemas about the same value.
        typed: Whether some schema says the type; a schema without one allows all.
    """

    type: str
    own: tuple[Mapping[str, Any], ...] = ()
    typed: bool = False

    def __and__(self, other: Shape) -> Shape:
        return Shape(self.type, self.own + other.own, self.typed or other.typed)

    def keeping(self, keywords: Mapping[str, Any]) -> Shape:
        """The shape with further keywords."""
        return Shape(self.type, (*self.own, keywords), self.typed)

    @property
    def is_integer(self) -> bool:
        return any(own.get("type") == "integer" for own in self.own)

    @cached_property
    def keywords(self) -> dict[str, Any]:
        """The keywords of this type, joined: patterns, formats and `propertyNames` as tuples, schemas of items and
        properties as `All`."""
        out: dict[str, Any] = {}
        for own in self.own:
            for key in (key for key in own if key in KEYWORDS[self.type]):
                if key in _LISTED:
                    out[key] = (*out.get(key, ()), own[key])
                elif key in _JOINED:
                    out[key] = _JOINED[key](out[key], own[key]) if key in out else own[key]
        return {**out, **_CHILDREN[self.type](self.own)} if self.type in _CHILDREN else out


_LISTED = ("pattern", "format", "propertyNames")
_JOINED: Mapping[str, Callable[[Any, Any], Any]] = {
    **dict.fromkeys(("minimum", "exclusiveMinimum", "minLength", "minItems", "minProperties"), max),
    **dict.fromkeys(("maximum", "exclusiveMaximum", "maxLength", "maxItems", "maxProperties"), min),
    "multipleOf": lambda one, other: _common_multiple(Fraction(str(one)), Fraction(str(other))),
    "required": lambda one, other: [*dict.fromkeys([*one, *other])],
}
EVERYTHING = tuple(Shape(type_) for type_ in TYPES)


def _common_multiple(one: Fraction, other: Fraction) -> int | float:
    scale = math.lcm(one.denominator, other.denominator)
    found = Fraction(math.lcm(int(one * scale), int(other * scale)), scale)
    return int(found) if found.denominator == 1 else float(found)


def _items(parts: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    first = [own.get("prefixItems", ()) for own in parts]
    rest = [(own["items"],) if "items" in own else () for own in parts]
    prefix = [
        sum((tuple(given[i : i + 1]) or more for given, more in zip(first, rest, strict=True)), ())
        for i in range(max(map(len, first), default=0))
    ]
    return {**({"prefixItems": prefix} if prefix else {}), **({"items": sum(rest, ())} if any(rest) else {})}


def _properties(parts: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """A name's schemas are those of the property and of the patterns that it matches, else that of all others."""
    others = [(own["additionalProperties"],) if "additionalProperties" in own else () for own in parts]
    out: dict[str, Any] = {"additionalProperties": sum(others, ())} if any(others) else {}
    for key, find in (("properties", _of_property), ("patternProperties", _of_pattern)):
        if any(key in own for own in parts):
            names = dict.fromkeys(name for own in parts for name in own.get(key) or ())
            out[key] = {n: sum((find(own, n) or o for own, o in zip(parts, others, strict=True)), ()) for n in names}
    return out


_CHILDREN = {"array": _items, "object": _properties}


def _of_property(own: Mapping[str, Any], name: str) -> All:
    properties = own.get("properties") or {}
    said = (properties[name],) if name in properties else ()
    return said + tuple(of_name(name, own.get("patternProperties") or {}))


def _of_pattern(own: Mapping[str, Any], pattern: str) -> All:
    patterns = own.get("patternProperties") or {}
    return (patterns[pattern],) if pattern in patterns else ()


def of_name(name: str, patterns: Mapping[str, Any]) -> list[Any]:
    """What the patterns have that a property's name matches."""
    try:
        return [found for pattern, found in patterns.items() if re.search(pattern, name)]
    except re.error:
        return []


def assumed(shapes: list[Shape]) -> list[Shape]:
    """The shapes without those types that no keyword speaks of, where a schema says no type: `{"minimum": 1}` is about
    numbers."""
    spoken = [s for s in shapes if not s.typed and any(own.keys() & KEYWORDS[s.type] for own in s.own)]
    return [Shape(s.type, s.own, True) for s in shapes if s.typed or s in spoken] if spoken else shapes


class Reader(Protocol):
    """What reads the schemas of one document as shapes: `Narrower`, which says what the methods do."""

    references: References

    def shapes(self, schemas: All, *, decoded: bool = True) -> list[Shape]: ...

    def types(self, schemas: All, *, decoded: bool = True) -> set[str]: ...

    def values(self, shape: Shape) -> list[Any] | None: ...

    def constants(self, schemas: All, *, decoded: bool = True) -> list[Any] | None: ...
