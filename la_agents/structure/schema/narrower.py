"""Narrower: rewrites a JSON schema in the keywords and values that llguidance keeps exactly."""

from __future__ import annotations

import itertools
import logging
import re
from collections.abc import Iterator, Mapping
from typing import Any

from jsonschema.validators import Draft202012Validator

from la_agents.errors import ConfigurationError
from la_agents.structure.schema.endless import without_endless
from la_agents.structure.schema.exclusion import exclusive_options
from la_agents.structure.schema.lists import constants, equal_form, whole, without_repetition
from la_agents.structure.schema.logic import complement, conditional, containing, dependencies
from la_agents.structure.schema.objects import (
    UNIONS,
    closed,
    count_properties,
    disjoint,
    listed_properties,
    of_name,
    takes_others,
)
from la_agents.structure.schema.references import References, as_list
from la_agents.structure.schema.values import NothingLeftError, narrow_numbers, narrow_strings, writable

__all__ = ["SCHEMA_KEYWORDS", "Narrower"]

_log = logging.getLogger(__name__)

_SAID = ("description", "default", "examples", "deprecated", "readOnly", "writeOnly")
_LOGIC = frozenset({"if", "then", "else", "not", "dependentRequired", "dependentSchemas", "dependencies"})
_OF_TYPE = {
    "object": ("properties", "required", "additionalProperties", "patternProperties", "propertyNames", "minProperties",
               "maxProperties", "unevaluatedProperties"),
    "array": ("items", "prefixItems", "additionalItems", "minItems", "maxItems", "uniqueItems", "contains",
              "minContains", "maxContains", "unevaluatedItems"),
    "string": ("pattern", "format", "minLength", "maxLength"),
    "number": ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"),
}  # fmt: skip
_KEYWORDS = frozenset({"type", "const", "enum"}).union(*_OF_TYPE.values())
_KNOWN = _KEYWORDS | _LOGIC | {"$ref", "allOf", *UNIONS}
_SIMPLE = ("enum", "type", "minimum", "maximum", "minLength", "maxLength")
SCHEMA_KEYWORDS = frozenset({*_KNOWN, "$defs", "definitions", "$schema", "$id", "$dynamicRef"})
"""A dict with none of these is no schema."""

_COUNTS = frozenset({"minLength", "maxLength", "minItems", "maxItems", "minProperties", "maxProperties", "minContains",
                     "maxContains"})  # fmt: skip


class Narrower:
    """Walks one document.

    `part`, everywhere: whether other schemas are about the same value, so that this one must not be closed by itself.

    Attributes:
        unkept: Keywords that the rewritten schema does not keep.
    """

    def __init__(self, root: Mapping[str, Any]) -> None:
        self._root = root
        self._references = References(root)
        self._names: dict[int, str] = {}
        self._open: dict[int, str] = {}
        self._definitions: dict[str, Any] = {}
        self.unkept: set[str] = set()

    def document(self) -> dict[str, Any]:
        out = self.narrow(self._root)
        if out is False:
            msg = "Expected a JSON schema that allows something, got one that allows nothing."
            raise ConfigurationError(msg)
        schema = out if isinstance(out, dict) else {}
        for name in self._definitions:
            self._check_circle(name)
        return without_endless(schema, self._definitions)

    def _check_circle(self, name: str) -> None:
        """Refuse a definition that only refers to itself."""
        seen, at = {name}, self._definitions[name]
        while isinstance(at, dict) and "$ref" in at:
            name = at["$ref"].rsplit("/", 1)[-1]
            if name in seen:
                msg = f"Expected references that lead to a schema, got some that lead to themselves: {name!r}."
                raise ConfigurationError(msg)
            seen.add(name)
            at = self._definitions[name]

    def narrow(self, schema: Any, *, part: bool = False) -> dict[str, Any] | bool:
        if isinstance(schema, bool):
            return schema
        if not isinstance(schema, Mapping):
            msg = f"Expected a JSON schema as a dict, got {type(schema).__name__}."
            raise ConfigurationError(msg)
        return self._narrow(schema, part=True) if part else self._narrow_once(schema)

    def _narrow_once(self, schema: Mapping[str, Any]) -> dict[str, Any] | bool:
        """A recursive schema becomes a definition."""
        key = id(schema)
        if key in self._open:
            self._open[key] = name = self._open[key] or self._name("recursive")
            return {"$ref": f"#/$defs/{name}"}
        self._open[key] = ""
        out: dict[str, Any] | bool = False
        try:
            out = self._narrow(schema, part=False)
        finally:
            name = self._open.pop(key)
            if name:
                self._definitions[name] = out
        return {"$ref": f"#/$defs/{name}"} if name else out

    def _narrow(self, schema: Mapping[str, Any], *, part: bool) -> dict[str, Any] | bool:
        given = self._plain(schema)
        own = {key: value for key, value in given.items() if key in _KEYWORDS}
        composed = [key for key in ("$ref", "allOf", *UNIONS) if key in given]
        number = sum(len(as_list(given[key])) if key == "allOf" else 1 for key in composed) + bool(own)
        alone = number <= 1
        out: dict[str, Any] = {key: schema[key] for key in _SAID if key in schema}
        parts: list[Any] = [*self._own(own, part=part or not alone, alone=alone)] if own else []
        only = given.get("unevaluatedProperties") is False
        closing = None if alone or (part and not only) else listed_properties(given, self._references)
        if only and not alone:
            self._left_to_check("unevaluatedProperties", closing is not None and not {*UNIONS, *_LOGIC} & schema.keys())
        unions = [key for key in UNIONS if key in given]
        for key in composed:
            if key == "$ref":
                parts.append(self._reference(given[key], part=part or not alone))
            elif key == "allOf":
                parts += [self.narrow(member, part=part or not alone) for member in as_list(given[key])]
            else:
                parts.append({key: self._options(given, key, part, alone, closing if len(unions) == 1 else None)})
        if closing is not None and len(unions) != 1:
            parts.append(closed(closing, given, self._references))
        if False in parts:
            return False
        parts = [member for member in parts if member is not True]
        if len(parts) == 1 and not out.keys() & parts[0].keys():
            return {**out, **parts[0]}
        return {**out, "allOf": parts} if parts else out

    def _options(
        self, given: Mapping[str, Any], key: str, part: bool, alone: bool, closing: dict[str, bool] | None
    ) -> list[Any]:
        options = as_list(given[key])
        if not options:
            msg = f"Expected {key} to be a list of schemas, got {given[key]!r}."
            raise ConfigurationError(msg)
        out: list[Any] = []
        rest = {name: value for name, value in given.items() if name != key}
        base = listed_properties(rest, self._references) if closing else None
        for option in options:
            try:
                narrow = self.narrow(option, part=part or not alone)
            except NothingLeftError as error:
                if not out and option is options[-1]:
                    raise
                _log.debug("an option is left out, since nothing can be of it: %s", error)
                continue
            listed = listed_properties(option, self._references) if closing is not None else None
            if closing is not None and narrow is not False and not takes_others(option, self._references):
                names = {**(base or {}), **(listed or {})}
                inner = [] if narrow is True else [narrow]
                narrow = {"allOf": [*inner, closed(names, given, self._references)]} if names else narrow
            if narrow is not False or len(options) == 1:
                out.append(narrow)
        return out or [False]

    # -- keywords that llguidance does not know --------------------------------------------------------------------

    def _plain(self, schema: Mapping[str, Any]) -> dict[str, Any]:
        """The schema in the keywords that llguidance knows."""
        given = {key: whole(value) if key in _COUNTS else value for key, value in schema.items() if key in _KNOWN}
        dropped = schema.keys() - given.keys() - {*_SAID, "title", "$defs", "definitions", "$schema", "$id", "id"}
        if "$dynamicRef" in dropped or "$recursiveRef" in dropped:
            given["$ref"] = given.get("$ref", schema.get("$dynamicRef", schema.get("$recursiveRef")))
        if dropped:
            _log.debug("a schema's keywords that exclude nothing are ignored: %s", ", ".join(sorted(dropped)))
        extra: list[Any] = []
        if "not" in given:
            context = {key: value for key, value in given.items() if key not in _LOGIC}
            inverse = complement(given["not"], context, self._references)
            self._left_to_check("not", inverse is not None)
            extra += [] if inverse is None else [inverse]
        if "if" in given:
            union, exact = conditional(given, self._references)
            self._left_to_check("if", exact)
            extra.append(union)
        extra += dependencies(given)
        if "oneOf" in given:
            extra += self._one_of({**given, "discriminator": schema.get("discriminator")})
        if "contains" in given:
            extra += self._contains(given)
        if given.get("uniqueItems"):
            unique, exact = without_repetition(given, self._references)
            self._left_to_check("uniqueItems", exact)
            extra += unique
        out = {key: value for key, value in given.items() if key not in _LOGIC and key not in ("contains", "oneOf")}
        for key in ("uniqueItems", "minContains", "maxContains"):
            out.pop(key, None)
        return {**out, "allOf": [*as_list(given.get("allOf")), *extra]} if extra else out

    def _left_to_check(self, keyword: str, kept: bool) -> None:
        if not kept:
            self.unkept.add(keyword)

    def _one_of(self, given: Mapping[str, Any]) -> list[Any]:
        options = [self._with_tag(option, given.get("discriminator")) for option in as_list(given["oneOf"])]
        meant = [self._meant(option) for option in options]
        options = [option for option, one in zip(options, meant, strict=True) if meant.count(one) == 1]
        if not options and meant:
            msg = "Expected options of oneOf of which a value can be of exactly one, got only such as are there twice."
            raise NothingLeftError(msg)
        rest = {key: value for key, value in given.items() if key != "oneOf"}
        types = self._references.types(rest)
        assumed = "properties" in given and "type" not in given and "object" in self._references.types(given)
        if assumed:
            types &= {"object"}
        exclusive = exclusive_options(options, self._references, types)
        self._left_to_check("oneOf", exclusive is not None)
        return [{"anyOf": options if exclusive is None else exclusive}, *([{"type": "object"}] if assumed else [])]

    def _meant(self, option: Any) -> str:
        """A text that equal options share: a value of two of them is of no `oneOf`."""
        schema = self._references.resolved(option)
        said = (
            {k: v for k, v in schema.items() if k not in (*_SAID, "title")} if isinstance(schema, Mapping) else schema
        )
        return equal_form(said)

    def _with_tag(self, option: Any, discriminator: Any) -> Any:
        """An option that requires the discriminator's property, which in JSON Schema is a mere annotation."""
        tag = discriminator.get("propertyName") if isinstance(discriminator, Mapping) else None
        schema = self._references.resolved(option)
        if not isinstance(tag, str) or not isinstance(schema, Mapping) or tag not in (schema.get("properties") or {}):
            return option
        required = as_list(schema.get("required"))
        return option if tag in required else {**schema, "required": [*required, tag]}

    def _contains(self, given: Mapping[str, Any]) -> list[Any]:
        first = containing(given)
        self._left_to_check("contains", first is not None)
        most = given.get("maxContains")
        self._left_to_check("maxContains", most is None or given.get("maxItems", most + 1) <= most)
        return [first] if first else []

    # -- objects, arrays, strings, numbers -------------------------------------------------------------------------

    def _own(self, given: dict[str, Any], *, part: bool, alone: bool) -> Iterator[Any]:
        """A schema's own keywords, in as many schemas as they take."""
        out = dict(given)
        if not part and not {"type", "const", "enum"} & out.keys():
            types = [type_ for type_, keys in _OF_TYPE.items() if out.keys() & set(keys)]
            out["type"] = types[0] if len(types) == 1 else types
        if "const" in out or "enum" in out:
            yield self._constants_of(out)
            return
        more: list[Any] = []
        if out.keys() & set(_OF_TYPE["number"]):
            self._numbers(out)
        if {"pattern", "format"} & out.keys():
            patterns, exact = narrow_strings(out)
            self._left_to_check("pattern", exact)
            out.update({"pattern": patterns[0]} if patterns else {})
            more += [{"pattern": pattern} for pattern in patterns[1:]]
        if out.keys() & set(_OF_TYPE["object"]):
            self._object(out, part=part, alone=alone)
        if out.keys() & set(_OF_TYPE["array"]):
            self._array(out, part=part, alone=alone)
        if out:
            yield out
        yield from more

    def _constants_of(self, out: dict[str, Any]) -> dict[str, Any] | bool:
        """The constants that the schema's other keywords allow and that llguidance keeps exactly."""
        values = [out["const"]] if "const" in out else as_list(out["enum"])
        rest = {key: value for key, value in out.items() if key != "const"}
        allowed = [value for value in values if self._references.allows(rest, value)]
        kept = [value for value in allowed if writable(value)]
        if allowed and not kept:
            msg = (
                f"Expected constants that are written exactly, got only numbers beyond {2**53 - 1}; make them strings."
            )
            raise NothingLeftError(msg)
        return {"enum": kept} if kept else False

    def _numbers(self, out: dict[str, Any]) -> None:
        types = as_list(out.get("type")) or [out.get("type")]
        whole = "integer" in types and "number" not in types
        narrow_numbers(out, whole=whole)

    def _object(self, out: dict[str, Any], *, part: bool, alone: bool) -> None:
        required = [name for name in as_list(out.get("required")) if isinstance(name, str)]
        named = out.get("patternProperties") or {}
        kept, exact = disjoint(named)
        self._left_to_check("patternProperties", exact)
        listed = dict(out.get("properties") or {})
        is_closed = part or out.get("additionalProperties", out.get("unevaluatedProperties")) is not None
        for name in required if named else ():  # a required name may match a pattern that is left out, or none
            found = of_name(name, named)
            if name not in listed and (len(kept) < len(named) if found else not is_closed):
                listed[name] = {"allOf": found} if found else {}
        properties = {name: self._property(name, value, name in required) for name, value in listed.items()}
        if properties or "properties" in out:
            out["properties"] = properties
        if "additionalProperties" in out:
            out["additionalProperties"] = self.narrow(out["additionalProperties"])
        if "patternProperties" in out:
            out.update({} if part else {"additionalProperties": out.get("additionalProperties", False)})
            out["patternProperties"] = {key: self.narrow(value) for key, value in kept.items()}
        if out.pop("unevaluatedProperties", None) is False and "additionalProperties" not in out and alone:
            out["additionalProperties"] = False
        self._property_names(out)
        if not part and "properties" in out and not {"additionalProperties", "patternProperties"} & out.keys():
            out["additionalProperties"] = False
            out["properties"] = {**out["properties"], **{n: {} for n in required if n not in out["properties"]}}
        self._left_to_check("minProperties", count_properties(out, required))

    def _property(self, name: str, schema: Any, required: bool) -> dict[str, Any] | bool:
        try:
            return self.narrow(schema)
        except NothingLeftError as error:
            if required:
                raise
            _log.debug("a property is left out, since it can have no value: %s: %s", name, error)
            return False

    def _property_names(self, out: dict[str, Any]) -> None:
        """`propertyNames` as a pattern, or as a list of properties."""
        names = self._references.resolved(out.pop("propertyNames", True))
        if not isinstance(names, Mapping) or not names.keys() & _KEYWORDS - {"type"}:
            self._left_to_check("propertyNames", names is True or not names.keys() & _KNOWN - {"type"})
            return
        listed, more = out.get("properties") or {}, out.get("additionalProperties", True)
        exact = Draft202012Validator(
            {key: value for key, value in names.items() if key in (*_SIMPLE, "const", "pattern")}
        )
        listed = {name: schema if exact.is_valid(name) else False for name, schema in listed.items()}
        listed_names = constants(names, self._references)
        if "patternProperties" in out:
            self._left_to_check("propertyNames", False)
        elif listed_names is not None:
            listed = {**listed, **{n: more for n in listed_names if isinstance(n, str) and n not in listed}}
            out["additionalProperties"] = False
        elif more is not False:
            said = {key: value for key, value in names.items() if key in _OF_TYPE["string"]}
            patterns, all_said = narrow_strings(said)
            least, most = said.get("minLength", 0), said.get("maxLength", "")
            patterns += [f"^[\\s\\S]{{{least},{most}}}$"] if least or most != "" else []
            only = names.keys() & _KNOWN <= {"type", *_OF_TYPE["string"]}
            self._left_to_check("propertyNames", all_said and only and len(patterns) < 2)
            if patterns:
                out.update(patternProperties={patterns[0]: more}, additionalProperties=False)
        if listed:
            out["properties"] = listed

    def _array(self, out: dict[str, Any], *, part: bool, alone: bool) -> None:
        items = out.get("items")
        if isinstance(items, (list, tuple)):  # before draft 2020-12
            out["prefixItems"] = list(items)
            out.pop("items")
            if "additionalItems" in out:
                out["items"] = out["additionalItems"]
        out.pop("additionalItems", None)
        unevaluated = out.pop("unevaluatedItems", None)
        if unevaluated is False and "items" not in out:
            self._left_to_check("unevaluatedItems", alone)  # the items that other parts are about are evaluated
            out.update({"items": False} if alone else {})
        if "prefixItems" in out:
            out["prefixItems"] = [self.narrow(item) for item in as_list(out["prefixItems"])]
            if "items" not in out and not part and out.get("minItems", 0) <= len(out["prefixItems"]):
                out["items"] = False
        if "items" in out:
            out["items"] = self.narrow(out["items"])

    # -- references and closing ------------------------------------------------------------------------------------

    def _reference(self, reference: Any, *, part: bool) -> dict[str, Any] | bool:
        target = self._references.target(reference)
        if isinstance(target, bool):
            return target
        if part:
            return self.narrow(target, part=True)
        if id(target) not in self._names:
            self._names[id(target)] = name = self._name(str(reference).rsplit("/", 1)[-1])
            self._definitions[name] = True  # the name is taken
            self._definitions[name] = self.narrow(target)
        return {"$ref": f"#/$defs/{self._names[id(target)]}"}

    def _name(self, wanted: str) -> str:
        """A name for a definition that no other has."""
        stem = re.sub(r"\W+", "_", wanted).strip("_") or "root"
        taken = {*self._names.values(), *self._open.values()}
        return next(n for i in itertools.count(1) if (n := f"{stem}_{i}" if i > 1 else stem) not in taken)
