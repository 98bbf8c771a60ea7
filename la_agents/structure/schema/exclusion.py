"""Exclusion: the options of a `oneOf`, narrowed so that a value of any is of exactly one."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any

from la_agents.structure.schema.shapes import All, Reader, Shape
from la_agents.structure.schema.values import NothingLeftError, narrow_numbers

__all__ = ["exclusive"]

_DEEPEST = 6


def exclusive(
    options: Sequence[Sequence[Shape]], others: Sequence[Sequence[Shape]], reader: Reader
) -> list[Shape] | None:
    """The shapes of all options, narrowed to exclude what the others allow; None if that is unknown of an option."""
    out: list[Shape] = []
    for shapes, excluded in zip(options, others, strict=True):
        needs = [(shape, [_apart(shape, other, reader, 0) for other in excluded]) for shape in shapes]
        kept = [
            functools.reduce(Shape.keeping, filter(None, asked), shape) for shape, asked in needs if None not in asked
        ]
        if shapes and not kept:
            return None
        out += kept
    return out


def _apart(one: Shape, other: Shape, reader: Reader, depth: int) -> Mapping[str, Any] | None:
    """What the first has to keep so that no value of it is of the other; None if unknown."""
    if one.type != other.type:
        return {}
    both = one & other
    if reader.values(both) is not None:
        return None if reader.values(both) else {}
    if one.type == "number":
        return {} if _has_no_number(both) else None
    a, b, limits = one.keywords, other.keywords, both.keywords
    for least, most in (("minItems", "maxItems"), ("minLength", "maxLength")):
        if least in limits and limits[least] > limits.get(most, limits[least]):
            return {}
    if one.type == "array" and "items" in a and "items" in b and _disjoint(a["items"], b["items"], reader, depth):
        return {"minItems": 1}  # an empty list is of both
    return _objects_apart(a, b, reader, depth) if one.type == "object" else None


def _has_no_number(shape: Shape) -> bool:
    try:
        narrow_numbers(dict(shape.keywords), whole=shape.is_integer)
    except NothingLeftError:
        return True
    return False


def _disjoint(ones: All, others: All, reader: Reader, depth: int) -> bool:
    """Whether nothing that is decoded for the first schemas is of the others."""
    if depth > _DEEPEST:
        return False
    pairs = product(reader.shapes(ones), reader.shapes(others, decoded=False))
    return all(_apart(one, other, reader, depth + 1) == {} for one, other in pairs)


def _objects_apart(a: Mapping[str, Any], b: Mapping[str, Any], reader: Reader, depth: int) -> Mapping[str, Any] | None:
    own, known, required = a.get("properties", {}), b.get("properties", {}), a.get("required", [])
    for name in (name for name in own if name in known):
        if _disjoint(own[name], known[name], reader, depth):
            return {} if name in required else {"required": [name]}
    missing = sorted(set(b.get("required", ())) - set(required), key=lambda name: (name in own, name))
    if missing:
        return {"properties": {missing[0]: False}}
    foreign = sorted(own.keys() - known.keys(), key=lambda name: (name not in required, name))
    is_closed = False in b.get("additionalProperties", ()) and not {"patternProperties", "propertyNames"} & b.keys()
    return {"required": [foreign[0]]} if foreign and is_closed else None
