"""What decoding makes of a JSON schema, keyword by keyword: which values can be written, and which cannot."""

from __future__ import annotations

import json
import logging
import re
from typing import Any

import pytest

from la_agents.errors import ConfigurationError
from la_agents.requests import Grammar
from la_agents.structure.json_schema import Narrowed, narrowed, without_titles
from tests.grammar_walks import accepts, walks
from tests.schemas import tagged

A = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}
B = {"type": "object", "properties": {"b": {"type": "boolean"}}}
NULLS = {name: {"type": "null"} for name in "xyz"}
DEFS = {"A": A, "B": B}
DECIMAL = r"^(?!^[-+.]*$)[+-]?0*\d*\.?\d*$"  # as pydantic 2.13 writes it


def _has(*names: str) -> dict[str, None]:
    return dict.fromkeys(names)


@pytest.mark.parametrize(
    ("schema", "allowed", "refused"),
    [
        # Closed as a whole, not part by part.
        ({"allOf": [{"$ref": "#/$defs/A"}, B]}, [{"a": 1}, {"a": 1, "b": True}], [{}, {"a": 1, "c": 2}, {"b": True}]),
        ({"$ref": "#/$defs/A", "properties": {"x": {}}, "required": ["x"]}, [{"x": [], "a": 1}], [{"a": 1}, {"x": 1}]),
        ({"$ref": "#/$defs/A", "properties": {"x": {}}}, [{"x": 1, "a": 1}, {"a": 1}], [{"a": 1, "z": 1}]),
        (
            {"type": "object", "properties": {"x": {"type": "null"}}, "anyOf": [A, {"$ref": "#/$defs/B"}]},
            [{"x": None, "a": 1}, {"x": None, "b": True}, {"a": 1}],
            [{"a": "1", "b": True}, {"a": 1, "c": 1}],
        ),
        (
            {"type": "object", "properties": NULLS, "anyOf": [{"required": ["x"]}, {"required": ["y"]}]},
            [_has("x"), _has("y", "z")],
            [{}, _has("z"), _has("x", "w")],
        ),
        ({"allOf": [A, {"properties": {"x": {}}, "additionalProperties": True}]}, [{"a": 1, "more": 2}], [{"more": 2}]),
        ({"allOf": [A], "description": "d"}, [{"a": 1}], [{"a": 1, "b": 2}]),
        (
            {"allOf": [A], "properties": {"q": {}}, "unevaluatedProperties": False},
            [{"q": 1, "a": 1}],
            [{"a": 1, "r": 1}],
        ),
        ({"properties": {"a": {"type": "null"}}, "required": ["a", "z"]}, [{"a": None, "z": 5}], [{"a": None}, 7]),
        # Inside each other, too.
        (
            {"allOf": [{"properties": {"o": A}}, {"properties": {"o": B}}], "type": "object", "required": ["o"]},
            [{"o": {"a": 1}}, {"o": {"a": 1, "b": True}}],
            [{}, {"o": {"b": True}}, {"o": {"a": 1, "c": 1}}],
        ),
        (
            {"type": "array", "items": A, "allOf": [{"items": {"$ref": "#/$defs/B"}}]},
            [[], [{"a": 1, "b": True}, {"a": 2}]],
            [[{"b": True}], [{"a": 1, "c": 1}]],
        ),
        (
            {"$defs": {"N": {"properties": {"n": {"$ref": "#/$defs/N"}}}}, "$ref": "#/$defs/N", "properties": {"n": A}},
            [{}, {"n": {"a": 1}}, {"n": {"a": 1, "n": {}}}, {"n": {"a": 1, "n": {"n": {}}}}],
            [{"n": {}}, {"n": {"a": 1, "n": {"a": 1}}}, 5],
        ),
        (
            {"unevaluatedProperties": False, "anyOf": [A, B], "properties": {"x": {"type": "null"}}},
            [{"x": None, "a": 1}, {"x": None, "b": True}, {"a": 2}],
            [{"x": None, "c": 1}, {"a": "1"}],
        ),
    ],
)
def test_objects_are_closed_as_a_whole(schema: dict[str, Any], allowed: list[Any], refused: list[Any]) -> None:
    _check({"$defs": DEFS, **schema}, allowed, refused)


@pytest.mark.parametrize(
    ("options", "allowed", "refused"),
    [
        ([{"type": "null"}, {"$ref": "#/$defs/A"}], [None, {"a": 1}], [{}, 1]),
        ([{"$ref": "#/$defs/C"}, {"$ref": "#/$defs/D"}], [{"kind": "c"}, {"kind": "d"}], [{"kind": "e"}, {}]),
        ([tagged(1), tagged(2)], [{"kind": 1}, {"kind": 2}], [{"kind": 3}]),
        ([tagged(True), tagged(False), tagged(1)], [{"kind": True}, {"kind": 1}], [{"kind": None}]),
        ([tagged(None), tagged([1]), tagged({"k": 1})], [{"kind": [1]}, {"kind": {"k": 1}}], [{"kind": [2]}]),
        ([{"oneOf": [tagged("a"), tagged("b")]}, tagged("c")], [{"kind": "b"}, {"kind": "c"}], [{"kind": "d"}]),
        ([tagged("a", v={"type": "null"}), {**tagged("b"), "required": []}], [{"kind": "b"}], [{}]),
        ([A, {**B, "required": ["b"]}], [{"a": 1}, {"b": True}], [{"a": 1, "b": True}]),
        ([A, {"type": "array", "items": A}], [{"a": 1}, [{"a": 1}]], [[1]]),
        (
            [{"type": "array", "items": {"type": "string"}}, {"type": "array", "items": {"type": "null"}}],
            [["a"]],
            [[], [1]],
        ),
        ([{"type": "integer", "maximum": 3}, {"type": "integer", "minimum": 5}], [3, 5], [4]),
        ([{"enum": ["a", "b"]}, {"enum": ["c"]}, {"const": 1}], ["a", "c", 1], ["d"]),
        (
            [{"type": "object", "properties": {"h": tagged(i)}, "required": ["h"]} for i in "ab"],
            [{"h": {"kind": "b"}}],
            [{}],
        ),
    ],
)
def test_options_that_exclude_each_other(options: list[Any], allowed: list[Any], refused: list[Any]) -> None:
    schema = {"$defs": {**DEFS, "C": tagged("c"), "D": tagged("d")}, "oneOf": options}
    assert not Narrowed.of(schema).unkept
    _check(schema, allowed, refused)


def test_options_beside_properties_that_only_ask_for_some() -> None:
    options = [{"required": ["x"]}, {"required": ["y"]}]
    schema = {"type": "object", "properties": NULLS, "oneOf": options}
    _check(schema, [_has("x"), _has("y"), _has("y", "z")], [_has("x", "y"), _has("z"), {}])


def test_a_discriminator_asks_for_the_tag_that_pydantic_gives_a_default() -> None:
    options = [{**tagged("a"), "required": []}, {**tagged("b", v={}), "required": ["v"]}]
    schema = {"oneOf": options, "discriminator": {"propertyName": "kind", "mapping": {"a": "#/nowhere"}}}
    _check(schema, [{"kind": "a"}, {"kind": "b", "v": 1}], [{}, {"v": 1}, {"kind": "b"}])


@pytest.mark.parametrize(
    ("schema", "allowed", "refused"),
    [
        ({"type": "object", "propertyNames": {"type": "string"}}, [{}, {"é": 1}], []),
        ({"type": "object", "propertyNames": True, "additionalProperties": {"type": "null"}}, [_has("q")], [{"q": 1}]),
        ({"type": "array", "uniqueItems": False, "items": {"type": "null"}}, [[None, None]], [[1]]),
        ({"type": "array", "contains": {"type": "null"}, "minContains": 0}, [[], [1]], []),
        ({"type": "integer", "minimum": -(2**63), "maximum": 2**63 - 1}, [-7, 2**53 - 1], ["7"]),
        ({"type": "integer", "minimum": -1e19, "maximum": 1e19}, [5], [0.5]),
        ({"type": "number", "maximum": 1e300}, [-5, 2**53 - 1], []),
        ({"type": "number", "minimum": float("-inf"), "exclusiveMaximum": float("inf")}, [-5, 0.5], []),
        ({"type": "integer", "exclusiveMinimum": float("-inf"), "maximum": 3}, [-5], [4]),
        ({"type": "string", "format": "int32", "nullable": True, "x-order": 1, "xml": {}}, ["a"], [None]),
        ({"type": "string", "if": True, "not": False, "dependentRequired": {}}, ["a"], []),
        ({"anyOf": [{"type": "number"}, {"type": "string", "pattern": DECIMAL}]}, [1.5, "1.5", "+.0"], ["+", "", "."]),
    ],
)
def test_keywords_that_exclude_nothing_are_no_reason_to_refuse(
    schema: dict[str, Any], allowed: list[Any], refused: list[Any]
) -> None:
    assert not Narrowed.of(schema).unkept
    _check(schema, allowed, refused)


def test_what_is_dropped_is_noted(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG, "la_agents.structure.schema.narrower"):
        narrowed({"type": "string", "x-noted-here": 1})
    assert "x-noted-here" in caplog.text


@pytest.mark.parametrize(
    ("schema", "allowed", "refused"),
    [
        ({"enum": [1234567890123456789, 5]}, [5], [1234567890123456768, 1234567890123456789]),
        ({"enum": [[2**60], [1]]}, [[1]], [[2**60]]),
        ({"type": "integer", "exclusiveMinimum": 2, "exclusiveMaximum": 4}, [3], [2, 4]),
        ({"type": "integer", "minimum": 2.5, "maximum": 4.5}, [3, 4], [2, 5]),
        ({"type": "number", "exclusiveMinimum": 2, "exclusiveMaximum": 2.5}, [2.1, 2.45], [2, 2.5]),
        ({"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 10}, [9, 0.1, 9.99], [0, 10, 0.0]),
        ({"type": "number", "exclusiveMinimum": -0.5, "exclusiveMaximum": 0}, [-0.25], [0, -0.5]),
        ({"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 0.001}, [0.0005], [0, 0.001]),
        ({"type": "number", "exclusiveMinimum": 1e15, "exclusiveMaximum": 1e15 + 8}, [10**15 + 1], [10**15 + 8]),
        ({"type": "number", "minimum": 0, "exclusiveMinimum": True}, [1], [0]),
        ({"type": "integer", "multipleOf": 1.5, "maximum": 9, "minimum": 1}, [3, 9], [1, 2, 4.5]),
        ({"type": "integer", "allOf": [{"multipleOf": 4}, {"multipleOf": 6}], "minimum": 1}, [12, 24], [4, 6, 18]),
        ({"type": "number", "allOf": [{"multipleOf": 0.2}, {"multipleOf": 0.5}], "minimum": 0.5}, [1, 3], [0.5, 1.2]),
        ({"anyOf": [{"type": "integer", "minimum": 9, "maximum": 1}, {"type": "null"}]}, [None], [9, 1]),
        ({"type": "object", "properties": {"o": {"const": 2**60}, "p": {"const": 1}}}, [{"p": 1}, {}], [{"o": 2**60}]),
    ],
)
def test_numbers_are_written_as_they_are_meant(schema: Any, allowed: list[Any], refused: list[Any]) -> None:
    _check(schema, allowed, refused)


@pytest.mark.parametrize(
    ("schema", "allowed", "refused"),
    [
        ({"not": {"type": "null"}}, [1, {}, "a"], [None]),
        ({"enum": ["a", "b"], "not": {"const": "a"}}, ["b"], ["a"]),
        ({**A, "not": {"required": ["b"]}}, [{"a": 1}], []),
        (
            {
                "type": "object",
                "properties": {"c": {"enum": ["US", "UK"]}, "zip": {"type": "string"}},
                "required": ["c"],
                "if": {"properties": {"c": {"const": "US"}}},
                "then": {"required": ["zip"]},
                "else": {"properties": {"zip": False}},
            },
            [{"c": "US", "zip": "1"}, {"c": "UK"}],
            [{"c": "US"}, {"c": "UK", "zip": "1"}],
        ),
        ({"properties": NULLS, "dependentRequired": {"x": ["y"]}}, [{}, _has("y"), _has("x", "y")], [_has("x")]),
        ({"type": "array", "items": {"enum": [1, 2]}, "contains": {"const": 2}}, [[2], [2, 1]], [[], [1]]),
        ({"type": "array", "items": {"enum": [1, 2]}, "uniqueItems": True}, [[], [2, 1], [1]], [[1, 1]]),
        ({"type": "object", "propertyNames": {"enum": ["p", "q"]}}, [{"p": 1}, {}], [{"r": 1}]),
        ({"type": "object", "propertyNames": {"maxLength": 2}}, [{"ab": 1}], [{"abc": 1}]),
        ({"type": "object", "properties": NULLS, "minProperties": 2}, [_has("x", "y")], [_has("x"), {}]),
        ({"type": "object", "properties": NULLS, "maxProperties": 1}, [{}, _has("x")], [_has("x", "y")]),
        ({"type": "array", "items": [{"type": "null"}], "additionalItems": False}, [[None]], [[1], [None, None]]),
        ({"type": "string", "pattern": r"^(?=.*\d)(?=.*[a-z]).{3,}$"}, ["a1b"], ["abc", "a1"]),
        ({"type": "string", "pattern": "^(?!x)[a-z]+$"}, ["ab"], ["xb"]),
        ({"type": "string", "format": "date"}, ["2024-02-29"], ["2023-02-29", "0000-01-01", "2023-04-31"]),
        ({"type": "string", "format": "email"}, ["a.b@c.de"], ["a@b", "a"]),
        ({"enum": ["a", "b", "ab"], "pattern": "^a"}, ["a", "ab"], ["b"]),
        ({"enum": [1, 2, 3, 4], "multipleOf": 2, "exclusiveMinimum": 2}, [4], [1, 2, 3]),
        ({"enum": [{"a": 1}, {"a": 2}], "properties": {"a": {"const": 1}}}, [{"a": 1}], [{"a": 2}]),
        ({"enum": [[1], [1, 2]], "maxItems": 1.0}, [[1]], [[1, 2]]),
        ({"oneOf": [A, {"type": "null"}, A, {"type": "string"}]}, [None, "a"], [{"a": 1}]),
        ({"type": "string", "pattern": r"^\W$"}, ["!", "^", " "], ["é", "ª", "a", "_"]),
        ({"type": "string", "pattern": r"^[\Wx]+$"}, ["x-"], ["é", "a"]),
        ({"type": "string", "pattern": r"^[^\w\s]$"}, ["-"], ["é", "a", " "]),
        ({"type": "string", "pattern": r"^\D+$"}, ["ä-b c", "日本", "\t"], ["٣", "5", "\uff15"]),
        ({"type": "string", "pattern": r"^[^\d]$"}, ["ä", "語"], ["٣", "5"]),
        ({"type": "string", "pattern": r"^[\D]$"}, ["ä"], ["٣", "5"]),
        ({"type": "string", "pattern": r"^\S+$"}, ["ä-9", "日本"], ["\x1c", "\u3000", " "]),
        ({"type": "string", "pattern": r"^[^\s]$"}, ["ä", "9"], ["\x1c", "\u3000", "\x85"]),
        ({"type": "string", "pattern": r"^[^\\]$"}, ["a", "\n", '"'], ["\\"]),
        ({"type": "string", "pattern": '^[^"]+$'}, ["a\n", "\\"], ['"', 'a"']),
        ({"type": "string", "pattern": "^[\x00-\x1f]$"}, ["\n", "\x01"], ['"', "\\", "a"]),
        ({"type": "string", "pattern": r"^[^\x20-\x7e]$"}, ["\n", "ä"], ['"', "\\", "a"]),
        ({"type": "string", "format": "uri"}, ["https://a.de/b?c#d"], ["ftp://a.de", "mailto:a@b.de"]),
        ({"type": "string", "format": "uri", "pattern": "^ftp://"}, ["ftp://a.de/b"], ["http://a.de", "ftp://"]),
        ({"type": "string", "format": "uri", "pattern": "^mailto:"}, ["mailto:a@b.de"], ["mailto:", "http://a.de"]),
        ({"type": "string", "format": "email", "maxLength": 5}, ["a@b.c", "a@b"], ["ab.c", "a@b.de", "@b"]),
        ({"type": "string", "format": "idn-email"}, ["a@b.de"], ["a"]),
        ({"type": "string", "format": "json-pointer"}, ["", "/a/~0b/0"], ["a", "/~2"]),
        ({"type": "string", "format": "relative-json-pointer"}, ["0#", "1/a"], ["a", "01"]),
        ({"type": "string", "format": "uri-reference"}, ["/a", "https://a.de"], ["//", "\\"]),
        (
            {"patternProperties": {"^a": {"type": "null"}, "b$": {"type": "null"}, "^c$": {"const": 1}}},
            [{"ab": None, "a": None, "xb": None, "c": 1}],
            [{"ab": 1}, {"xb": 1}, {"c": None}],
        ),
        (
            {"type": "object", "properties": {"ab": {"type": "integer"}}, "patternProperties": {"^a": {"minimum": 4}}},
            [{"ab": 5}, {"ax": 4}],
            [{"ab": 2}, {"ax": 3}],
        ),
        ({"type": "string", "minLength": 1.0, "maxLength": 2.0}, ["a"], ["", "abc"]),
    ],
)
def test_what_can_be_said_otherwise_is(schema: dict[str, Any], allowed: list[Any], refused: list[Any]) -> None:
    assert not Narrowed.of(schema).unkept
    _check(schema, allowed, refused)


@pytest.mark.parametrize(
    ("schema", "keyword", "good", "bad"),
    [
        ({"type": "array", "items": {"type": "string"}, "uniqueItems": True}, "uniqueItems", ["a", "b"], ["a", "a"]),
        ({"type": "string", "pattern": "^(?!.*ab)[a-c]+$"}, "pattern", "ba", "cab"),
        ({"type": "string", "pattern": r"^([ab])\1$"}, "pattern", "aa", "ab"),
        ({"oneOf": [{"type": "integer"}, {"type": "number"}]}, "oneOf", 1.5, 1),
        ({"type": "string", "not": {"pattern": "^a"}}, "not", "b", "a"),
        (
            {"type": "array", "allOf": [{"prefixItems": [{"type": "null"}]}], "unevaluatedItems": False},
            "unevaluatedItems",
            [None],
            [None, 1],
        ),
        (
            {"prefixItems": [{"enum": [1, 2]}, {"const": 2}, {"const": 2}], "uniqueItems": True},
            "uniqueItems",
            [1, 2],
            [2, 2],
        ),
    ],
)
def test_what_cannot_be_said_is_checked(schema: dict[str, Any], keyword: str, good: Any, bad: Any) -> None:
    exact = Narrowed.of(schema)
    assert exact.unkept == {keyword}
    assert accepts(schema, good)
    assert exact.broken(json.dumps(good)) == ""
    assert exact.broken(json.dumps(bad)) == keyword


@pytest.mark.parametrize(
    ("pattern", "kept", "left"),
    [
        (r"^(?!-)[a-z-]+(?<!-)$", "a-b", "A"),
        (r"^[a-z](?:[a-z]|-(?=[a-z])){0,8}$", "a-b", "-a"),
        (r"\bword\b", "a word", "a wor"),
        (r"^[(?=]\(\?[a-z](?!x)$", "((?a", "((?1"),
    ],
)
def test_a_pattern_holds_but_for_its_assertions(pattern: str, kept: str, left: str) -> None:
    schema = {"type": "string", "pattern": pattern}
    assert Narrowed.of(schema).unkept == {"pattern"}
    _check(schema, [kept], [left])


@pytest.mark.parametrize(
    ("schema", "reason"),
    [
        ({"const": 1234567890123456789}, "written exactly"),
        ({"type": "integer", "exclusiveMinimum": 2, "exclusiveMaximum": 3}, "none from 3.0 to 2.0"),
        ({"type": "array", "items": {"type": "boolean"}, "uniqueItems": True, "minItems": 3}, "uniqueItems"),
        ({"not": {}}, "allows nothing"),
        ({"$ref": "#/$defs/Nobody"}, "Nobody"),
        ({"$ref": "other.json"}, r"other\.json"),
        (
            {"$defs": {"A": {"$ref": "#/$defs/B"}, "B": {"$ref": "#/$defs/A"}}, "$ref": "#/$defs/A"},
            "lead to each other",
        ),
        ({"$defs": {"A": {"allOf": [{"$ref": "#/$defs/A"}]}}, "$ref": "#/$defs/A"}, "lead to themselves"),
        ({"type": "object", "properties": {"me": {"$ref": "#"}}, "required": ["me"]}, "asks for itself"),
        ({"enum": [object()]}, "not JSON"),
        ({"properties": {"a": 7}}, "int"),
        ({"properties": ["a"]}, "one whose properties is of another kind"),
        ({"type": "array", "minItems": "1"}, "one whose minItems is of another kind"),
        ({"const": "b", "pattern": "^a"}, "allows nothing"),
        ({"type": "object", "additionalProperties": {"$ref": "#"}, "minProperties": 1}, "asks for itself"),
        ({"type": "array", "contains": {"$ref": "#"}}, "asks for itself"),
        ({"prefixItems": [{"const": 1}, {}, {"const": 1.0}], "minItems": 3, "uniqueItems": True}, "uniqueItems"),
        ({"prefixItems": [{"enum": [1, 2]}] * 3, "minItems": 3, "uniqueItems": True}, "uniqueItems"),
        ({"oneOf": [{"type": "string"}, {"type": "string", "title": "T"}]}, "oneOf"),
        ({"$defs": DEFS, "oneOf": [{"$ref": "#/$defs/A"}, A]}, "oneOf"),
        ({"type": "number", "minimum": float("inf")}, "inf"),
        ({"type": "object", "dependentRequired": {f"a{i}": [f"b{i}"] for i in range(20)}}, "alternatives"),
        ({"allOf": [{"anyOf": [{"required": [f"{a}{b}"]} for b in range(20)]} for a in range(3)]}, "alternatives"),
        ({"type": "anything"}, "anything"),
        ([], "dict"),
    ],
)
def test_what_can_never_be_kept_is_refused_by_name(schema: Any, reason: str) -> None:
    with pytest.raises(ConfigurationError, match=reason):
        narrowed(schema)


@pytest.mark.parametrize("key", ["properties", "items", "allOf", "anyOf"])
def test_what_is_nested_too_deeply_is_refused(key: str) -> None:
    schema: Any = {"type": "null"}
    for _ in range(250):
        inner = {"properties": {"a": schema}, "items": schema}.get(key, [schema])
        schema = {key: inner}
    with pytest.raises(ConfigurationError, match="levels"):
        narrowed(schema)


def test_schemas_that_lead_back_to_themselves_stay_so() -> None:
    next_ = {"oneOf": [{"type": "null"}, {"$ref": "#/$defs/N"}]}
    beside = {"allOf": [{"$ref": "#/$defs/N"}, {"properties": {"w": {"type": "null"}}}]}
    for inner in (next_, beside):
        node = {"type": "object", "properties": {"v": {"type": "null"}, "next": inner}}
        schema = {"$defs": {"N": node}, "$ref": "#/$defs/N"}
        assert accepts(schema, {"v": None, "next": {"v": None, "next": {"v": None}}})
        assert not accepts(schema, {"next": {"next": 1}})


def test_an_optional_place_that_could_never_be_finished_is_left_out() -> None:
    endless = {"type": "object", "properties": {"e": {"$ref": "#/$defs/E"}}, "required": ["e"]}
    schema = {
        "$defs": {"E": endless},
        "type": "object",
        "properties": {"o": {"$ref": "#/$defs/E"}, "p": {"type": "null"}},
    }
    assert set(walks(Grammar.json_schema(narrowed(schema)), 20)) == {"{}", '{"p": null}'}


def test_the_model_is_told_the_schema_without_titles() -> None:
    schema = {
        "title": "T",
        "properties": {"title": {"title": "Title", "enum": [{"title": "kept"}]}},
        "items": [{"title": "x"}],
    }
    assert without_titles(schema) == {"properties": {"title": {"enum": [{"title": "kept"}]}}, "items": [{}]}


def test_patterns_of_names_that_may_share_a_name_are_checked() -> None:
    exact = Narrowed.of({"type": "object", "patternProperties": {"^a": {"type": "integer"}, "b$": {"minimum": 3}}})
    assert exact.unkept == {"patternProperties"}
    assert exact.broken('{"ab": 3, "ac": 1}') == ""
    assert exact.broken('{"ab": 2}') == "minimum"
    assert all(list(json.loads(text)) == [] or '{"a' in text for text in walks(Grammar.json_schema(exact.schema), 20))


def test_what_has_to_be_there_is_there_whatever_patterns_share_it() -> None:
    named = {"^a": {"type": "integer"}, "b$": {"type": "string"}}
    schema = {"type": "object", "patternProperties": named, "required": ["xb", "ac"]}
    _check(schema, [{"xb": "", "ac": 1}], [{"xb": 1, "ac": 1}, {"ac": 1}])
    for required in ({"required": ["ab"]}, {"required": ["z"], "additionalProperties": False}):
        with pytest.raises(ConfigurationError):
            Grammar.json_schema(narrowed({**schema, **required}))
    _check({"patternProperties": {"^a": {"type": "null"}}, "required": ["z"]}, [{"z": 1}, {"z": 1, "a": None}], [{}])


def test_regular_expressions_compile() -> None:
    texts = list(walks(Grammar.json_schema(narrowed({"type": "string", "format": "regex"})), 200))
    assert len(texts) > 100
    for text in texts:
        re.compile(json.loads(text))


@pytest.mark.parametrize("beside", [{"maxLength": 5}, {"pattern": "x"}])
def test_a_format_that_nothing_beside_it_allows_is_refused(beside: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match="Unsatisfiable"):
        Grammar.json_schema(narrowed({"type": "string", "format": "uuid", **beside}))


def _check(schema: dict[str, Any], allowed: list[Any], refused: list[Any]) -> None:
    assert [value for value in allowed if not accepts(schema, value)] == []
    assert [value for value in refused if accepts(schema, value)] == []
