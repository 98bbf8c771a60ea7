"""Logic: `if`, `not`, dependencies and the like of a JSON schema as unions and intersections.

The schemas that a function returns imply the keyword; None where it cannot be expressed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from la_agents.structure.schema.references import ALL_TYPES, References, as_list, type_of

__all__ = ["complement", "conditional", "containing", "dependencies", "most_distinct"]

_OPPOSITE = {
    "minimum": "exclusiveMaximum",
    "exclusiveMinimum": "maximum",
    "maximum": "exclusiveMinimum",
    "exclusiveMaximum": "minimum",
}
_TYPES = ("null", "boolean", "string", "array", "object")


def complement(schema: Any, context: Mapping[str, Any], references: References, depth: int = 0) -> Any:
    """A schema of values of the context that are not of the schema, not always all of them; None if unknown."""
    schema = references.resolved(schema)
    if isinstance(schema, bool):
        return not schema
    if not isinstance(schema, Mapping) or depth > 6:
        return None
    said = schema.keys() - {"title", "description", "default", "$comment", "examples"}
    if len(said) > 1:
        parts = [complement({key: schema[key]}, context, references, depth + 1) for key in sorted(said)]
        known = [part for part in parts if part is not None]
        return {"anyOf": known} if known else None
    if not said:
        return False
    (key,) = said
    return _complement_of(key, schema[key], context, references, depth)


def _complement_of(key: str, value: Any, context: Mapping[str, Any], references: References, depth: int) -> Any:
    if key == "type":
        left = ALL_TYPES - references.types({"type": value})
        names = [name for name in _TYPES if name in left]
        names += ["number"] if "fraction" in left and "integer" in left else ["integer"] if "integer" in left else []
        return {"type": names} if names else False
    if key in ("const", "enum"):
        return _without([value] if key == "const" else as_list(value), context, references)
    if key == "required":
        without = [{"type": "object", "properties": {name: False}} for name in as_list(value)]
        return {"anyOf": without} if without else False
    if key == "not":
        return value
    if key in ("anyOf", "allOf"):
        parts = [complement(part, context, references, depth + 1) for part in as_list(value)]
        if key == "anyOf":
            return None if None in parts else {"allOf": parts}
        known = [part for part in parts if part is not None]
        return {"anyOf": known} if known else None
    if key == "properties" and isinstance(value, Mapping):
        options = []
        for name, property_ in value.items():
            own = _property(context, name, references)
            other = complement(property_, own, references, depth + 1)
            if other is not None and other is not False:
                options.append({"type": "object", "properties": {name: other}, "required": [name]})
        return {"anyOf": options} if options else None
    if key in _OPPOSITE and references.types(context) <= {"integer", "fraction"} and not isinstance(value, bool):
        return {_OPPOSITE[key]: value}
    return None


def _without(values: list[Any], context: Mapping[str, Any], references: References) -> Any:
    """The context's constants without these, or its types without theirs."""
    known: list[Any] | None = None
    for part in references.parts(context):
        if isinstance(part, Mapping) and ("const" in part or "enum" in part):
            known = [part["const"]] if "const" in part else as_list(part["enum"])
    types = references.types(context)
    if known is None and types <= {"boolean", "null"}:
        known = [value for value in (True, False, None) if type_of(value) in types]
    if known is not None:
        left = [value for value in known if not any(_same(value, other) for other in values)]
        return {"enum": left} if left else False
    return (
        complement({"type": sorted({_type_name(value) for value in values})}, context, references, 1)
        if (types - {type_of(value) for value in values}) and types != ALL_TYPES
        else None
    )


def _type_name(value: Any) -> str:
    return "number" if type_of(value) in ("integer", "fraction") else type_of(value)


def _same(one: Any, other: Any) -> bool:
    return bool(one == other) and isinstance(one, bool) == isinstance(other, bool)


def _property(context: Mapping[str, Any], name: str, references: References) -> Mapping[str, Any]:
    found = [
        part["properties"][name]
        for part in references.parts(context)
        if isinstance(part, Mapping) and isinstance(part.get("properties"), Mapping) and name in part["properties"]
    ]
    return {"allOf": found} if found else {}


def conditional(schema: Mapping[str, Any], references: References) -> tuple[Any, bool]:
    """`if`, `then` and `else` as a union, and whether that is exact."""
    condition, then, otherwise = schema["if"], schema.get("then", True), schema.get("else", True)
    context = {key: value for key, value in schema.items() if key not in ("if", "then", "else")}
    inverse = complement(condition, context, references)
    options = [part for part in ([condition, then], [inverse, otherwise]) if False not in part]
    if inverse is None:
        options = [[condition, then], [otherwise]] if otherwise is not False else [[condition, then]]
    union = {"anyOf": [{"allOf": option} for option in options]} if options else False
    return union, inverse is not None or otherwise is False


def dependencies(schema: Mapping[str, Any]) -> list[Any]:
    """`dependentRequired`, `dependentSchemas`, `dependencies` as unions: no such property, or what it needs."""
    out: list[Any] = []
    required = as_list(schema.get("required"))
    for key in ("dependentRequired", "dependentSchemas", "dependencies"):
        for name, asked in (schema.get(key) or {}).items():
            wanted = {"required": [*dict.fromkeys([name, *asked])]} if isinstance(asked, (list, tuple)) else asked
            if isinstance(asked, (list, tuple)) and (not asked or name in required):
                out += [wanted] if asked else []
            elif name in required:
                out.append(asked)
            else:
                with_it = wanted if isinstance(asked, (list, tuple)) else {"required": [name], "allOf": [asked]}
                out.append({"anyOf": [{"properties": {name: False}}, with_it]})
    return out


def containing(schema: Mapping[str, Any]) -> dict[str, Any] | None:
    """`contains` as a schema of the first items; None where other keywords are about those."""
    least = schema.get("minContains", 1)
    if not least:
        return {}
    if "prefixItems" in schema or isinstance(schema.get("items"), (list, tuple)) or not isinstance(least, int):
        return None
    items = schema.get("items", True)
    first = schema["contains"] if items is True else {"allOf": [items, schema["contains"]]}
    return {"prefixItems": [first] * least, "minItems": max(least, schema.get("minItems", 0))}


def most_distinct(columns: Sequence[Sequence[str] | None]) -> int:
    """How many columns, from the first, can hold values that all differ; None is a column of any value.

    A bipartite matching, by augmenting paths.
    """
    holder: dict[str, int] = {}

    def place(at: int, tried: set[str]) -> bool:
        for value in columns[at] or ():
            if value not in tried:
                tried.add(value)
                if value not in holder or place(holder[value], tried):
                    holder[value] = at
                    return True
        return False

    for at, column in enumerate(columns):
        if column is not None and not place(at, set()):
            return at
    return len(columns)
