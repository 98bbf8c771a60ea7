"""Logic: `if`, `not`, dependencies and `contains` of a JSON schema as other schemas of the same value.

What a function returns implies the keyword; None where it cannot be expressed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from la_agents.structure.schema.references import as_list, type_of
from la_agents.structure.schema.shapes import TYPES, All, Reader

__all__ = ["complement", "conditional", "containing", "dependencies"]

_OPPOSITE = {
    "minimum": "exclusiveMaximum",
    "exclusiveMinimum": "maximum",
    "maximum": "exclusiveMinimum",
    "exclusiveMaximum": "minimum",
}
_DEEPEST = 6


def complement(schema: Any, context: All, reader: Reader, depth: int = 0) -> Any:
    """A schema of values of the context that are not of the schema, not always all of them; None if unknown."""
    schema = reader.references.resolved(schema)
    if isinstance(schema, bool):
        return not schema
    if not isinstance(schema, Mapping) or depth > _DEEPEST:
        return None
    said = sorted(schema.keys() - {"title", "description", "default", "$comment", "examples"})
    parts = [_complement_of(key, schema[key], context, reader, depth) for key in said]
    return _any_of(parts) if said else False


def _any_of(parts: list[Any]) -> Any:
    known = [part for part in parts if part is not None]
    return {"anyOf": known} if len(known) > 1 else known[0] if known else None


def _complement_of(key: str, value: Any, context: All, reader: Reader, depth: int) -> Any:
    if key == "type":
        return _of_other_types([value] if isinstance(value, str) else as_list(value))
    if key in ("const", "enum"):
        return _without([value] if key == "const" else as_list(value), context, reader)
    if key == "required":
        return _any_of([{"type": "object", "properties": {name: False}} for name in as_list(value)]) or False
    if key == "not":
        return value
    if key in ("anyOf", "allOf"):
        parts = [complement(part, context, reader, depth + 1) for part in as_list(value)]
        return _any_of(parts) if key == "allOf" else None if None in parts else {"allOf": parts}
    if key == "properties" and isinstance(value, Mapping):
        objects = [shape for shape in reader.shapes(context, decoded=False) if shape.type == "object"]
        known = objects[0].keywords.get("properties", {}) if objects else {}
        inverse = {n: complement(p, known.get(n, ()), reader, depth + 1) for n, p in value.items()}
        return _any_of([
            None if other is None or other is False else
            {"type": "object", "properties": {name: other}, "required": [name]}
            for name, other in inverse.items()
        ])  # fmt: skip
    if key in _OPPOSITE and reader.types(context, decoded=False) <= {"number"} and not isinstance(value, bool):
        return {_OPPOSITE[key]: value}
    return None


def _of_other_types(types: list[str]) -> Any:
    left = [name for name in TYPES if name not in types and not (name == "number" and "integer" in types)]
    return {"type": left} if left else False


def _without(values: list[Any], context: All, reader: Reader) -> Any:
    """The context's constants without these, or its types without theirs."""
    known = reader.constants(context, decoded=False)
    if known is not None:
        left = [value for value in known if not any(_same(value, other) for other in values)]
        return {"enum": left} if left else False
    types, all_types = {type_of(value) for value in values}, reader.types(context, decoded=False)
    return _of_other_types(sorted(types)) if all_types - types and all_types != set(TYPES) else None


def _same(one: Any, other: Any) -> bool:
    return bool(one == other) and isinstance(one, bool) == isinstance(other, bool)


def conditional(given: Mapping[str, Any], context: All, reader: Reader) -> tuple[list[Any], bool]:
    """`if`, `then` and `else` as options, and whether they are all there are."""
    condition, then, otherwise = given["if"], given.get("then", True), given.get("else", True)
    inverse = complement(condition, context, reader)
    other = [otherwise] if inverse is None else [inverse, otherwise]
    options = [{"allOf": option} for option in ([condition, then], other) if False not in option]
    return options, inverse is not None or otherwise is False


def dependencies(given: Mapping[str, Any]) -> list[list[Any]]:
    """`dependentRequired`, `dependentSchemas`, `dependencies` as unions: no such property, or what it needs."""
    out: list[list[Any]] = []
    required = as_list(given.get("required"))
    for key in ("dependentRequired", "dependentSchemas", "dependencies"):
        for name, asked in (given.get(key) or {}).items():
            wanted = {"required": list(asked)} if isinstance(asked, (list, tuple)) else asked
            if name in required:
                out.append([wanted])
            elif asked != []:
                out.append([{"properties": {name: False}}, {"required": [name], "allOf": [wanted]}])
    return out


def containing(given: Mapping[str, Any]) -> dict[str, Any] | None:
    """`contains` as a schema of the first items; None where other keywords are about those."""
    least = given.get("minContains", 1)
    if not least:
        return {}
    if "prefixItems" in given or isinstance(given.get("items"), (list, tuple)) or not isinstance(least, int):
        return None
    return {"prefixItems": [given["contains"]] * least, "items": True, "minItems": least}
