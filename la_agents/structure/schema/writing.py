"""Writing: shapes as a JSON schema in the keywords and values that llguidance keeps exactly."""

from __future__ import annotations

import itertools
import json
import logging
from collections.abc import Sequence
from typing import Any

from la_agents.errors import ConfigurationError
from la_agents.structure.schema.endless import without_endless
from la_agents.structure.schema.narrower import Narrower
from la_agents.structure.schema.objects import count_properties, disjoint
from la_agents.structure.schema.shapes import TYPES, All, Shape, of_name
from la_agents.structure.schema.values import LIMIT, NothingLeftError, narrow_numbers, narrow_strings, writable

__all__ = ["written"]

_log = logging.getLogger(__name__)


def written(root: Any, narrower: Narrower) -> dict[str, Any]:
    """The schema that is decoded for a document.

    Raises:
        ConfigurationError: nothing can be decoded that the document allows.
    """
    writer = _Writer(narrower)
    out = writer.value((root,))
    if out is False:
        msg = "Expected a JSON schema that allows something, got one that allows nothing."
        raise ConfigurationError(msg)
    return without_endless(out if isinstance(out, dict) else {}, writer.definitions)


class _Writer:
    def __init__(self, narrower: Narrower) -> None:
        self._narrower = narrower
        self.definitions: dict[str, Any] = {}
        self._open: dict[frozenset[int], str] = {}
        self._done: dict[frozenset[int], tuple[All, dict[str, Any] | bool]] = {}  # with what the ids are of

    def value(self, schemas: All) -> dict[str, Any] | bool:
        """A schema of the values of which all these schemas hold; what is referred to becomes a definition, and what
        holds itself."""
        resolved = {id(found): found for found in map(self._narrower.references.resolved, schemas) if found is not True}
        key = frozenset(resolved)
        if key in self._open:
            self._open[key] = name = self._open[key] or self._name()
            return {"$ref": f"#/$defs/{name}"}
        if key not in self._done:
            is_named = len(schemas) == 1 and resolved and schemas[0] is not next(iter(resolved.values()))
            self._open[key] = self._name() if is_named else ""
            out: dict[str, Any] | bool = False
            try:
                out = self._any_of(self._narrower.shapes(tuple(resolved.values())))
            finally:
                name = self._open.pop(key)
                if name:
                    self.definitions[name] = out
            self._done[key] = (schemas, {"$ref": f"#/$defs/{name}"} if name and isinstance(out, dict) else out)
        return self._done[key][1]

    def _name(self) -> str:
        taken = {*self.definitions, *self._open.values()}
        return next(name for i in itertools.count(1) if (name := f"schema_{i}") not in taken)

    def _any_of(self, shapes: Sequence[Shape]) -> dict[str, Any] | bool:
        free = [s for s in shapes if not (s.keywords or s.is_integer or self._narrower.values(s) is not None)]
        if len({shape.type for shape in free}) == len(TYPES):
            return True
        out: dict[str, dict[str, Any]] = {}
        failed: NothingLeftError | None = None
        for shape in shapes:
            try:
                found = self._shape(shape)
                out[json.dumps(found)] = found
            except NothingLeftError as error:
                _log.debug("an option is left out, since nothing can be of it: %s", error)
                failed = error
        if failed is not None and not out:
            raise failed
        options = list(out.values())
        return {"anyOf": options} if len(options) > 1 else options[0] if options else False

    def _child(self, schemas: All, *, required: bool) -> dict[str, Any] | bool:
        """The schema of an item or a property; one that can have no value is left out if it need not be there."""
        try:
            found = self.value(schemas)
        except NothingLeftError as error:
            if required:
                raise
            _log.debug("an item or a property is left out, since it can have no value: %s", error)
            return False
        if required and found is False:
            msg = "Expected a value for everything that is required, got a schema of it that allows nothing."
            raise NothingLeftError(msg)
        return found

    def _shape(self, shape: Shape) -> dict[str, Any]:
        values = self._narrower.values(shape)
        if values is not None:
            return _constants(values)
        out = {"type": "integer" if shape.is_integer else shape.type, **shape.keywords}
        if shape.type == "number":
            narrow_numbers(out, whole=shape.is_integer)
        elif shape.type == "string":
            patterns, exact = narrow_strings(out)
            self._narrower.keep("pattern", exact)
            out |= {"pattern": patterns[0]} if patterns else {}
            out |= {"allOf": [{"type": "string", "pattern": p} for p in patterns[1:]]} if patterns[1:] else {}
        elif shape.type == "array":
            self._array(out)
        elif shape.type == "object":
            self._object(out)
        return out

    def _array(self, out: dict[str, Any]) -> None:
        prefix, least = out.get("prefixItems", ()), out.get("minItems", 0)
        if prefix:
            out["prefixItems"] = [self._child(item, required=i < least) for i, item in enumerate(prefix)]
            if "items" not in out and least <= len(prefix):
                out["items"] = False
        if out.get("items"):
            out["items"] = self._child(out["items"], required=least > len(prefix))

    def _object(self, out: dict[str, Any]) -> None:
        required = out.get("required", [])
        named, listed = out.get("patternProperties", {}), dict(out.get("properties", {}))
        kept, exact = disjoint(named)
        self._narrower.keep("patternProperties", exact)
        for name in required if named else ():  # a required name may match a pattern that is left out, or none
            found = of_name(name, named)
            if name not in listed and (len(kept) < len(named) if found else "additionalProperties" not in out):
                listed[name] = sum(found, ()) or (True,)
        properties = {name: self._child(schemas, required=name in required) for name, schemas in listed.items()}
        if "additionalProperties" in out:
            out["additionalProperties"] = self._child(out["additionalProperties"], required=False)
        if "patternProperties" in out:
            out["patternProperties"] = {name: self._child(schemas, required=False) for name, schemas in kept.items()}
            out.setdefault("additionalProperties", False)
        if properties or "properties" in out:
            out["properties"] = properties
        if "propertyNames" in out:
            self._property_names(out, out.pop("propertyNames"))
        if "properties" in out and not {"additionalProperties", "patternProperties"} & out.keys():
            out["additionalProperties"] = False
            out["properties"] = {**out["properties"], **{n: {} for n in required if n not in out["properties"]}}
        self._narrower.keep("minProperties", count_properties(out, required))

    def _property_names(self, out: dict[str, Any], names: All) -> None:
        """`propertyNames` as a pattern, or as a list of properties."""
        narrower = self._narrower
        shapes = [shape for shape in narrower.shapes(names) if shape.type == "string"]
        if len(shapes) != 1:
            narrower.keep("propertyNames", False)
            return
        values, said, more = narrower.values(shapes[0]), dict(shapes[0].keywords), out.get("additionalProperties", True)
        if values is None and not said:
            return
        listed = {n: p if all(narrower.references.allows(s, n) for s in names) else False
                  for n, p in out.get("properties", {}).items()}  # fmt: skip
        if "patternProperties" in out:
            narrower.keep("propertyNames", False)
        elif values is not None:
            listed |= {name: more for name in values if name not in listed}
            out["additionalProperties"] = False
        elif more is not False:
            patterns, exact = narrow_strings(said)
            least, most = said.get("minLength", 0), said.get("maxLength", "")
            patterns += [f"^[\\s\\S]{{{least},{most}}}$"] if least or most != "" else []
            narrower.keep("propertyNames", exact and len(patterns) < 2)
            out.update({"patternProperties": {patterns[0]: more}, "additionalProperties": False} if patterns else {})
        if listed:
            out["properties"] = listed


def _constants(values: Sequence[Any]) -> dict[str, Any]:
    kept = [value for value in values if writable(value)]
    if not kept:
        msg = (
            f"Expected constants that are written exactly, got only numbers beyond {LIMIT}; make them strings."
            if values
            else "Expected constants that keep to the schema's other keywords, got none: it allows nothing."
        )
        raise NothingLeftError(msg)
    return {"enum": kept}
