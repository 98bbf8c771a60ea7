"""JSON schemas by the hundred, of the kinds that public suites and libraries have, for tests that try them all.

The kinds of JSON Schema's own test suite written anew, pydantic's, zod's and OpenAPI's shapes, and combinations of
small schemas; every one of them allows something.
"""

from __future__ import annotations

import datetime
import decimal
import enum
import itertools
import uuid
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Discriminator, Field, HttpUrl, RootModel, Tag, TypeAdapter
from typing_extensions import TypedDict

__all__ = ["SCHEMAS", "tagged"]

Schema = dict[str, Any]

_A: Schema = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}
_B: Schema = {"type": "object", "properties": {"b": {"type": "boolean"}}, "required": ["b"]}
_NULLS: Schema = {name: {"type": "null"} for name in "xyz"}
_DEFS: Schema = {"A": _A, "B": _B}


def tagged(value: Any, **properties: Any) -> Schema:
    """An object told from others by its `kind`."""
    return {"type": "object", "properties": {"kind": {"const": value}, **properties}, "required": ["kind"]}


def _keywords() -> dict[str, Schema]:
    """One or a few keywords each, as JSON Schema's suite goes through them."""
    types = ["null", "boolean", "integer", "number", "string", "array", "object"]
    out: dict[str, Schema] = {f"type {name}": {"type": name} for name in types}
    out |= {f"type {a} or {b}": {"type": [a, b]} for a, b in itertools.combinations(types, 2) if b != "number"}
    numbers = {"minimum": 2, "maximum": 9, "exclusiveMinimum": 2, "exclusiveMaximum": 9, "multipleOf": 3}
    for type_, (a, b) in itertools.product(["integer", "number"], itertools.combinations(numbers, 2)):
        out[f"{type_} {a} {b}"] = {"type": type_, a: numbers[a], b: numbers[b]}
    for low, high in [(2, 2.5), (-0.5, 0), (0, 1e-3), (-1e19, 1e19), (1e15, 1e15 + 8), (-3.25, -3), (9.99, 10.01)]:
        out[f"between {low} and {high}"] = {"type": "number", "exclusiveMinimum": low, "exclusiveMaximum": high}
    out |= {
        f"pattern {p}": {"type": "string", "pattern": p}
        for p in [
            "a",
            "^a",
            "^a*$",
            "^(a|b)+c?$",
            "[0-9]",
            "^[^@]+@[^@]+$",
            r"^\d{3}-\d{4}$",
            "^[A-Z]{2}",
            r"^(?!x)[a-z]+$",
            r"^(?=.*[A-Z])(?=.*\d)[A-Za-z\d]{4,}$",
            r"^(?!\s*$).+",
            r"^(?!^[-+.]*$)[+-]?0*\d*\.?\d*$",
        ]
    }
    formats = [
        "date",
        "time",
        "date-time",
        "duration",
        "email",
        "hostname",
        "ipv4",
        "ipv6",
        "uuid",
        "uri",
        "password",
        "int32",
        "binary",
        "regex",
        "iri",
    ]
    out |= {f"format {name}": {"type": "string", "format": name} for name in formats}
    constants = [0, 1, -1.5, "", "x", 'a "b"', "é", True, False, None, [], [1], {}, {"a": {"b": [None]}}]
    out |= {f"const {value!r}": {"const": value} for value in constants}
    out |= {f"enum {a!r} {b!r}": {"enum": [a, b]} for a, b in itertools.combinations(constants[:9], 2)}
    out |= {f"length {low} to {high}": {"minLength": low, "maxLength": high} for low, high in [(0, 0), (1, 3), (4, 4)]}
    out |= {
        f"items {low} to {high}": {"type": "array", "minItems": low, "maxItems": high, "items": {"type": "null"}}
        for low, high in [(0, 0), (1, 2), (3, 3)]
    }
    for n, (least, most) in itertools.product([1, 3], [(0, 1), (1, 1), (1, 2), (2, 3)]):
        names = dict(itertools.islice(_NULLS.items(), n))
        out[f"{least} to {most} of {n}"] = {
            "type": "object",
            "properties": names,
            "maxProperties": most,
            "minProperties": min(least, n),
        }
    return out


def _compositions() -> dict[str, Schema]:
    """`allOf`, `anyOf`, `oneOf`, `$ref`, `not`, `if` and dependencies, alone and beside other keywords."""
    null = {"type": "null"}
    both: dict[str, Any] = {"ref": {"$ref": "#/$defs/A"}, "inline": _B, "open": {"properties": {"c": null}}}
    out: dict[str, Schema] = {}
    for (left, a), (right, b) in itertools.permutations(both.items(), 2):
        for key in ("allOf", "anyOf"):
            out[f"{key} {left} {right}"] = {"$defs": _DEFS, key: [a, b]}
            out[f"{key} {left} {right} beside"] = {
                "$defs": _DEFS,
                "type": "object",
                "properties": {"x": null},
                "required": ["x"],
                key: [a, b],
            }
    pairs = [
        ({"type": "null"}, {"$ref": "#/$defs/A"}),
        (tagged(1), tagged(2)),
        (tagged(True), tagged(False)),
        (tagged(None), tagged("x")),
        (tagged(1), tagged(True)),
        (_A, _B),
        ({"type": "string"}, {"type": "array", "items": _A}),
        ({"type": "integer", "maximum": 3}, {"type": "integer", "minimum": 5}),
        ({"type": "array", "items": {"type": "string"}}, {"type": "array", "items": {"type": "integer"}}),
        ({"type": "string", "maxLength": 2}, {"type": "string", "minLength": 4}),
        ({"enum": ["a", "b"]}, {"enum": ["c", 1]}),
        ({"oneOf": [tagged("a"), tagged("b")]}, tagged("c", d={"type": "null"})),
    ]
    for i, (a, b) in enumerate(pairs):
        out[f"oneOf {i}"] = {"$defs": _DEFS, "oneOf": [a, b]}
        out[f"oneOf {i} in a list"] = {"$defs": _DEFS, "type": "array", "items": {"oneOf": [b, a]}}
    required = [{"required": ["x"]}, {"required": ["y"]}, {"required": ["x", "z"]}]
    for key, (a, b) in itertools.product(["anyOf", "oneOf", "allOf"], itertools.permutations(required, 2)):
        if not (key == "oneOf" and "x" in a["required"] and "x" in b["required"]):
            out[f"{key} {a} {b}"] = {"type": "object", "properties": _NULLS, key: [a, b]}
    object_: Schema = {"type": "object", "properties": {"k": {"enum": ["u", "v"]}, **_NULLS}, "required": ["k"]}
    is_u = {"properties": {"k": {"const": "u"}}}
    for then, otherwise in itertools.product([{"required": ["x"]}, {"properties": {"x": False}}, True], repeat=2):
        out[f"if {then} {otherwise}"] = {**object_, "if": is_u, "then": then, "else": otherwise}
    out["if required"] = {**object_, "if": {"required": ["x"]}, "then": {"required": ["y"]}}
    out |= {f"not {part}": {"not": part} for part in [{"type": "null"}, {"type": ["object", "array"]}, False]}
    out |= {f"not among {part}": {"enum": [1, "a", None], "not": part} for part in [{"const": 1}, {"type": "string"}]}
    out |= {f"object not {part}": {**object_, "not": part} for part in [is_u, {"required": ["x"]}]}
    for key, asked in itertools.product(["dependentRequired", "dependencies"], [["y"], ["y", "z"], []]):
        out[f"{key} {asked}"] = {**object_, key: {"x": asked}}
    out["dependentSchemas"] = {**object_, "dependentSchemas": {"x": {"required": ["z"]}}}
    node = {
        "type": "object",
        "properties": {"v": null, "n": {"anyOf": [{"$ref": "#/$defs/N"}, null]}},
        "required": ["v"],
    }
    out["a chain"] = {"$defs": {"N": node}, "$ref": "#/$defs/N"}
    out["a tree of itself"] = {"type": "object", "properties": {"children": {"type": "array", "items": {"$ref": "#"}}}}
    out["an anchor"] = {"$id": "https://a.b/c", "$defs": {"A": {"$anchor": "here", **null}}, "$ref": "#here"}
    out["an endless option"] = {
        "$defs": {"E": {"type": "object", "properties": {"e": {"$ref": "#/$defs/E"}}, "required": ["e"]}},
        "anyOf": [{"$ref": "#/$defs/E"}, null],
    }
    return out


def _containers() -> dict[str, Schema]:
    """Lists and objects around small schemas."""
    leaves: dict[str, Any] = {
        "integer": {"type": "integer"},
        "enum": {"enum": ["a", 1, None]},
        "pattern": {"type": "string", "pattern": "^[a-f]{2,4}$"},
        "date": {"type": "string", "format": "date"},
        "ref": {"$ref": "#/$defs/A"},
        "union": {"anyOf": [{"type": "string", "maxLength": 3}, {"$ref": "#/$defs/B"}]},
    }
    wrap: dict[str, Any] = {
        "list": lambda s: {"type": "array", "items": s, "maxItems": 3},
        "tuple": lambda s: {"type": "array", "prefixItems": [s, {"type": "boolean"}], "minItems": 2},
        "containing": lambda s: {"type": "array", "items": {"anyOf": [s, {"type": "boolean"}]}, "contains": s},
        "contains nothing": lambda s: {"type": "array", "items": s, "contains": {"type": "null"}, "minContains": 0},
        "no repetition asked": lambda s: {"type": "array", "items": s, "uniqueItems": False},
        "map": lambda s: {"type": "object", "additionalProperties": s, "maxProperties": 2},
        "map of strings": lambda s: {"type": "object", "propertyNames": {"type": "string"}, "additionalProperties": s},
        "named map": lambda s: {"type": "object", "propertyNames": {"enum": ["p", "q"]}, "additionalProperties": s},
        "patterned map": lambda s: {
            "type": "object",
            "propertyNames": {"pattern": "^[a-z]$"},
            "additionalProperties": s,
        },
        "patterns": lambda s: {"type": "object", "patternProperties": {"^n_": s}, "additionalProperties": False},
        "optional": lambda s: {"type": "object", "properties": {"o": s}},
        "required": lambda s: {"type": "object", "properties": {"r": s}, "required": ["r", "unlisted"]},
        "nullable": lambda s: {"anyOf": [s, {"type": "null"}]},
        "wrapped": lambda s: {"allOf": [s], "description": "wrapped"},
        "unevaluated": lambda s: {"allOf": [_B], "properties": {"u": s}, "unevaluatedProperties": False},
    }
    return {
        f"{how} of {name}": {"$defs": _DEFS, **make(leaf)}
        for how, make in wrap.items()
        for name, leaf in leaves.items()
    }


def _zod() -> dict[str, Schema]:
    """What zod's conversion writes: closed objects, unions of constants, draft 7 or 2020-12."""
    closed: Schema = {"type": "object", "additionalProperties": False}
    dialect = "http://json-schema.org/draft-07/schema#"
    safe = {"type": "integer", "minimum": -(2**53) + 1, "maximum": 2**53 - 1}
    return {
        "zod object": {
            "$schema": dialect,
            **closed,
            "properties": {"n": safe, "o": {"type": "string"}},
            "required": ["n"],
        },
        "zod union": {"$schema": dialect, "anyOf": [{**closed, **tagged("a")}, {**closed, **tagged("b", v=safe)}]},
        "zod discriminated": {"oneOf": [{**closed, **tagged("a")}, {**closed, **tagged("b", v=safe)}]},
        "zod tuple": {
            "$schema": dialect,
            "type": "array",
            "items": [{"type": "string"}, safe],
            "minItems": 2,
            "maxItems": 2,
        },
        "zod record": {"type": "object", "propertyNames": {"type": "string"}, "additionalProperties": safe},
        "zod intersection": {"allOf": [_A, {"type": "object", "properties": {"b": safe}, "required": ["b"]}]},
        "zod nullish": {**closed, "properties": {"n": {"anyOf": [{"type": "string"}, {"type": "null"}]}}},
        "zod email": {"type": "string", "format": "email", "pattern": r"^[^\s@]+@[^\s@]+\.[a-z]{2,}$"},
        "zod literal": {"type": "string", "const": "on"},
        "zod default": {**closed, "properties": {"d": {"type": "number", "default": 3}}, "required": ["d"]},
    }


def _openapi() -> dict[str, Schema]:
    """Components as OpenAPI documents have them."""
    pet: Schema = {
        "type": "object",
        "required": ["id", "petType"],
        "properties": {
            "id": {"type": "integer", "format": "int64", "minimum": -(2**63), "maximum": 2**63 - 1, "readOnly": True},
            "petType": {"type": "string"},
            "tag": {"type": "string", "nullable": True, "example": "x", "xml": {"name": "t"}},
        },
        "discriminator": {"propertyName": "petType", "mapping": {"cat": "#/$defs/Cat"}},
    }
    cat = {
        "allOf": [{"$ref": "#/$defs/Pet"}, {"type": "object", "properties": {"petType": {"const": "cat"}, "claws": {}}}]
    }
    dog = {"allOf": [{"$ref": "#/$defs/Pet"}, tagged("big", petType={"const": "dog"})]}
    definitions = {"Pet": pet, "Cat": cat, "Dog": dog}
    refs = [{"$ref": "#/$defs/Cat"}, {"$ref": "#/$defs/Dog"}]
    return {
        "openapi object": pet,
        "openapi inheritance": {"$defs": definitions, **refs[0]},
        "openapi oneOf": {"$defs": definitions, "oneOf": refs, "discriminator": {"propertyName": "petType"}},
        "openapi anyOf": {"$defs": definitions, "anyOf": refs},
        "openapi page": {
            "$defs": definitions,
            "type": "object",
            "properties": {
                "items": {"type": "array", "items": refs[0]},
                "next": {"type": ["string", "null"], "format": "uri"},
            },
            "required": ["items"],
        },
        "openapi file": {
            "type": "object",
            "properties": {"f": {"type": "string", "format": "binary"}},
            "deprecated": True,
        },
        "openapi draft 4": {
            "type": "number",
            "minimum": 0,
            "exclusiveMinimum": True,
            "maximum": 1,
            "$schema": "http://json-schema.org/draft-04/schema#",
        },
    }


class _Colour(enum.Enum):
    RED = "red"
    BLUE = 2


class _Cat(BaseModel):
    kind: Literal["cat"] = "cat"
    lives: int = Field(ge=1, le=9)


class _Dog(BaseModel):
    kind: Literal["dog"]
    owner: _Cat | None = None


class _Tree(BaseModel):
    value: Annotated[float, Field(gt=2, lt=2.5)]
    children: list[_Tree] = []


class _Stay(BaseModel):
    begin: datetime.date
    at: datetime.datetime | None
    price: decimal.Decimal = Field(gt=0, decimal_places=2)
    id: uuid.UUID
    colours: set[_Colour]
    pet: Annotated[_Cat | _Dog, Field(discriminator="kind")]


class _Trip(TypedDict, total=False):
    days: int
    rooms: dict[_Colour, int]


def _called(value: Any) -> str:
    return str(value["kind"])


def _pydantic() -> dict[str, Schema]:
    types: list[Any] = [
        _Cat,
        _Dog,
        _Tree,
        _Stay,
        _Trip,
        _Colour,
        RootModel[list[_Cat]],
        HttpUrl,
        datetime.timedelta,
        datetime.time,
        bytes,
        tuple[int, str],
        tuple[int, ...],
        dict[str, int],
        dict[int, str],
        frozenset[Literal["a", "b"]],
        list[_Tree] | None,
        Literal[1, "a", True, None],
        decimal.Decimal,
        uuid.UUID,
        int | str | None,
        Annotated[str, Field(pattern="^[a-z]+$")],
        Annotated[_Cat | _Dog, Field(discriminator="kind")],
        Annotated[Annotated[_Cat, Tag("cat")] | Annotated[_Dog, Tag("dog")], Discriminator(_called)],
    ]
    return {f"pydantic {i} {type_}": TypeAdapter(type_).json_schema() for i, type_ in enumerate(types)}


SCHEMAS: dict[str, Schema] = {**_keywords(), **_compositions(), **_containers(), **_zod(), **_openapi(), **_pydantic()}
