"""Exclusion: whether the options of a `oneOf` exclude each other, so that a value of any is of exactly one."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from la_agents.structure.schema.references import ALL_TYPES, References, as_list, type_of

__all__ = ["exclusive_options"]

_NUMBERS = frozenset({"integer", "fraction"})
_DEEPEST = 6


@dataclass(frozen=True)
class _Need:
    """How one of two options is to be narrowed: a property "required" or "forbidden", or "items"."""

    how: str
    other: bool  # the second of the two
    name: str = ""


@dataclass
class _Shape:
    """What the parts of one option require together, as far as options differ by it."""

    types: frozenset[str]
    values: list[Any] | None = None
    properties: dict[str, list[Any]] = field(default_factory=dict)
    required: set[str] = field(default_factory=set)
    items: list[Any] = field(default_factory=list)
    bounds: dict[str, float] = field(default_factory=dict)
    closed: bool = False  # by `additionalProperties`
    open: bool = False  # to properties that it does not list


def exclusive_options(
    options: list[Any], references: References, types: frozenset[str] = ALL_TYPES
) -> list[Any] | None:
    """The options, each narrowed by what tells it from the others, if no value is of two of them.

    Args:
        options: Of one `oneOf`.
        references: Of its document.
        types: Those that the rest of the schema allows.
    """
    groups = [_alternatives(option, references, 0) for option in options]
    narrowed = [group if len(group) > 1 else [options[i]] for i, group in enumerate(map(list, groups))]
    exclusion = _Exclusion(references)
    for i, first in enumerate(groups):
        for j, second in enumerate(groups[:i]):
            for a, one in enumerate(first):
                for b, other in enumerate(second):
                    needs = exclusion.apart(one, other, types, 0)
                    if needs is None:
                        return None
                    for need in needs:
                        group, at, option = (narrowed[j], b, other) if need.other else (narrowed[i], a, one)
                        group[at] = _narrow(option if group[at] is options[j if need.other else i] else group[at], need)
    return [option for group in narrowed for option in group]


def _alternatives(option: Any, references: References, depth: int) -> list[Any]:
    """The option, or, where it is a union and nothing else, the options of that."""
    schema = references.resolved(option)
    if isinstance(schema, Mapping) and depth < _DEEPEST:
        said = schema.keys() - {"title", "description", "default", "discriminator", "$comment", "$defs"}
        if said in ({"anyOf"}, {"oneOf"}):
            inner = as_list(schema.get("anyOf")) or exclusive_options(as_list(schema["oneOf"]), references)
            if inner is not None:
                return [leaf for part in inner for leaf in _alternatives(part, references, depth + 1)]
    return [schema]


def _narrow(option: Mapping[str, Any], need: _Need) -> dict[str, Any]:
    if need.how == "items":  # an empty list is of any type
        return {**option, "minItems": max(option.get("minItems", 0), 1)}
    if need.how == "required":
        return {**option, "required": [*dict.fromkeys([*as_list(option.get("required")), need.name])]}
    return {**option, "properties": {**(option.get("properties") or {}), need.name: False}}


class _Exclusion:
    def __init__(self, references: References) -> None:
        self._references = references

    def apart(self, one: Any, other: Any, types: frozenset[str], depth: int) -> list[_Need] | None:
        """How to narrow the two so that a value of either, so narrowed, is never of the other; None if unknown."""
        if depth > _DEEPEST:
            return None
        a, b = self._shape(one), self._shape(other)
        common = a.types & b.types & types
        if not common:
            return []
        if a.values is not None or b.values is not None:
            return None if self._share_a_constant(a, b, one, other) else []
        if common <= {"object"}:
            return self._objects_apart(a, b, depth)
        if common <= {"array"}:
            if a.items and b.items and self._always_apart(a.items, b.items, depth):
                return [_Need("items", False), _Need("items", True)]
            return _ranges_apart(a, b, "minItems", "maxItems")
        if common <= {"string"}:
            return _ranges_apart(a, b, "minLength", "maxLength")
        return _ranges_apart(a, b, "minimum", "maximum") if common <= _NUMBERS else None

    def _always_apart(self, ones: list[Any], others: list[Any], depth: int) -> bool:
        """Whether some two of them exclude each other without being narrowed."""
        return any(self.apart(one, other, ALL_TYPES, depth + 1) == [] for one in ones for other in others)

    def _objects_apart(self, a: _Shape, b: _Shape, depth: int) -> list[_Need] | None:
        for name in a.properties.keys() & b.properties.keys():
            if self._always_apart(a.properties[name], b.properties[name], depth):
                tagged = name in a.required & b.required
                return [] if tagged else [_Need("required", other, name) for other in (False, True)]
        needs = _told_from(a, b, False), _told_from(b, a, True)
        return None if needs[0] is None or needs[1] is None else [needs[0], needs[1]]

    def _share_a_constant(self, a: _Shape, b: _Shape, one: Any, other: Any) -> bool:
        values, against = (a.values, other) if a.values is not None else (b.values, one)
        own = one if a.values is not None else other
        return any(all(self._references.allows(schema, value) for schema in (against, own)) for value in values or ())

    def _shape(self, schema: Any) -> _Shape:
        shape = _Shape(self._references.types(schema))
        for part in self._references.parts(schema):
            if isinstance(part, Mapping):
                _add(shape, part)
        if shape.values is None and shape.types <= {"null", "boolean"}:
            shape.values = [v for v in (None, False, True) if type_of(v) in shape.types]
        return shape


def _add(shape: _Shape, part: Mapping[str, Any]) -> None:
    if "const" in part or isinstance(part.get("enum"), (list, tuple)):
        values = [part["const"]] if "const" in part else list(part["enum"])
        shape.values = values if shape.values is None or len(values) < len(shape.values) else shape.values
    if isinstance(part.get("properties"), Mapping):
        for name, property_ in part["properties"].items():
            shape.properties.setdefault(name, []).append(property_)
    shape.required |= {name for name in as_list(part.get("required")) if isinstance(name, str)}
    if isinstance(part.get("items"), (Mapping, bool)):
        shape.items.append(part["items"])
    more = part.get("additionalProperties")
    shape.closed |= more is False
    shape.open |= bool(more) or bool({"patternProperties", "propertyNames", "anyOf", "oneOf"} & part.keys())
    for kind, tighter in (("min", max), ("max", min)):
        for name in (f"{kind}Items", f"{kind}Length", f"{kind}imum"):
            given = [part.get(key) for key in (name, f"exclusive{name.capitalize()}")]
            bounds: list[Any] = [v for v in (*given, shape.bounds.get(name)) if type(v) in (int, float)]
            if bounds:
                shape.bounds[name] = tighter(bounds)


def _ranges_apart(a: _Shape, b: _Shape, least: str, most: str) -> list[_Need] | None:
    apart = any(one.bounds.get(least, -math.inf) > other.bounds.get(most, math.inf) for one, other in ((a, b), (b, a)))
    return [] if apart else None


def _told_from(a: _Shape, b: _Shape, other: bool) -> _Need | None:
    """How to narrow `a` so that its objects are not of `b`: without what `b` requires, or with what `b` refuses."""
    missing = sorted(b.required - a.required, key=lambda name: (name in a.properties, name))
    if missing:
        return _Need("forbidden", other, missing[0])
    foreign = sorted(a.properties.keys() - b.properties.keys(), key=lambda name: (name not in a.required, name))
    return _Need("required", other, foreign[0]) if foreign and b.closed and not b.open else None
