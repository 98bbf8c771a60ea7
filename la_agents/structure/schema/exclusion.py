"""Exclusion: the options of a `oneOf`, narrowed so that a value of any is of exactly one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations, product
from typing import TYPE_CHECKING, Any

from la_agents.structure.schema.shapes import All, Shape
from la_agents.structure.schema.values import NothingLeftError, narrow_numbers

if TYPE_CHECKING:
    from la_agents.structure.schema.narrower import Narrower

__all__ = ["exclusive"]

_DEEPEST = 6
Need = tuple[int, Mapping[str, Any]]
"""Which of two shapes is to keep which keywords."""


def exclusive(options: Sequence[Sequence[Shape]], narrower: Narrower, types: set[str]) -> list[Shape] | None:
    """The shapes of all options, each narrowed to exclude those of the other options; None if that is unknown.

    Args:
        types: Those that the rest of the schema allows.
    """
    out = [list(shapes) for shapes in options]
    for i, j in combinations(range(len(out)), 2):
        for (a, one), (b, other) in product(enumerate(options[i]), enumerate(options[j])):
            needs = _apart(one, other, narrower, 0) if one.type in types else []
            if needs is None:
                return None
            for which, keywords in needs:
                shapes, at = ((out[i], a), (out[j], b))[which]
                shapes[at] = shapes[at].keeping(keywords)
    return [shape for shapes in out for shape in shapes]


def _apart(one: Shape, other: Shape, narrower: Narrower, depth: int) -> list[Need] | None:
    """What the two have to keep so that a value of either is never of the other; None if unknown."""
    if one.type != other.type:
        return []
    both = one & other
    if narrower.values(both) is not None:
        return None if narrower.values(both) else []
    if one.type == "number":
        return [] if _has_no_number(both) else None
    a, b, limits = one.keywords, other.keywords, both.keywords
    for least, most in (("minItems", "maxItems"), ("minLength", "maxLength")):
        if least in limits and limits[least] > limits.get(most, limits[least]):
            return []
    if one.type == "array" and "items" in a and "items" in b and _disjoint(a["items"], b["items"], narrower, depth):
        return [(which, {"minItems": 1}) for which in (0, 1)]  # an empty list is of both
    return _objects_apart(a, b, narrower, depth) if one.type == "object" else None


def _has_no_number(shape: Shape) -> bool:
    try:
        narrow_numbers(dict(shape.keywords), whole=shape.is_integer)
    except NothingLeftError:
        return True
    return False


def _disjoint(ones: All, others: All, narrower: Narrower, depth: int) -> bool:
    """Whether no value is of both, without narrowing either."""
    if depth > _DEEPEST:
        return False
    pairs = product(narrower.shapes(ones), narrower.shapes(others))
    return all(_apart(one, other, narrower, depth + 1) == [] for one, other in pairs)


def _objects_apart(a: Mapping[str, Any], b: Mapping[str, Any], narrower: Narrower, depth: int) -> list[Need] | None:
    ones, others = a.get("properties", {}), b.get("properties", {})
    for name in (name for name in ones if name in others):
        if _disjoint(ones[name], others[name], narrower, depth):
            sides = enumerate((a, b))
            return [(which, {"required": [name]}) for which, own in sides if name not in own.get("required", ())]
    needs = _told_from(a, b), _told_from(b, a)
    return None if needs[0] is None or needs[1] is None else [(0, needs[0]), (1, needs[1])]


def _told_from(a: Mapping[str, Any], b: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """What `a` has to keep so that its objects are not of `b`: lack what `b` requires, or have what it refuses."""
    own, known, required = a.get("properties", {}), b.get("properties", {}), a.get("required", [])
    missing = sorted(set(b.get("required", ())) - set(required), key=lambda name: (name in own, name))
    if missing:
        return {"properties": {missing[0]: False}}
    foreign = sorted(own.keys() - known.keys(), key=lambda name: (name not in required, name))
    is_closed = False in b.get("additionalProperties", ()) and not {"patternProperties", "propertyNames"} & b.keys()
    return {"required": [foreign[0]]} if foreign and is_closed else None
