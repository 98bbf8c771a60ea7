"""Narrower: reads a JSON schema as shapes, in the keywords that llguidance knows."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal

from la_agents.errors import ConfigurationError
from la_agents.structure.schema.exclusion import exclusive
from la_agents.structure.schema.lists import equal_form, whole, without_repetition
from la_agents.structure.schema.logic import complement, conditional, containing, dependencies
from la_agents.structure.schema.references import References, as_list, type_of
from la_agents.structure.schema.shapes import EVERYTHING, KEYWORDS, TYPES, All, Shape, assumed
from la_agents.structure.schema.values import NothingLeftError

__all__ = ["SCHEMA_KEYWORDS", "Narrower"]

_log = logging.getLogger(__name__)

_ANNOTATIONS = frozenset({"title", "description", "default", "examples", "deprecated", "readOnly", "writeOnly", "$defs",
                          "definitions", "$schema", "$id", "id"})  # fmt: skip
_LOGIC = frozenset({"if", "then", "else", "not", "dependentRequired", "dependentSchemas", "dependencies"})
_LISTS = frozenset({"contains", "minContains", "maxContains", "uniqueItems"})
_IN_PLACE = _LOGIC | _LISTS | {"$ref", "allOf", "anyOf", "oneOf"}
"""What is said of a value by other schemas of it."""
_OWN = frozenset({"type", "const", "enum", "additionalItems"}).union(*KEYWORDS.values())
_COUNTS = frozenset(least + what for least in ("min", "max") for what in ("Length", "Items", "Properties", "Contains"))
_KNOWN = _OWN | _IN_PLACE | {"unevaluatedItems", "unevaluatedProperties"}
SCHEMA_KEYWORDS = frozenset({*_KNOWN, "$defs", "definitions", "$schema", "$id", "$dynamicRef"})
"""A dict with none of these is no schema."""

MAX_ALTERNATIVES = 4096
"""Of one value: unions that all hold multiply, and llguidance compiles no more."""

How = Literal["whole", "part", "allowed"]
_FEW: Mapping[str, list[Any]] = {"boolean": [True, False], "null": [None]}


class Narrower:
    """Reads the schemas of one document.

    `how`, everywhere: "whole" reads a schema by itself, and assumes the types that its keywords are about; "part" reads
    one beside others of the same value. Both give what is decoded, which may be less than what the schema allows;
    "allowed" gives at least that, for what has to be excluded.

    Attributes:
        unkept: Keywords of which not all is kept.
    """

    def __init__(self, root: Mapping[str, Any]) -> None:
        self.references = References(root)
        self.unkept: set[str] = set()
        # Each with what the ids are of, so that nothing else gets them.
        self._read: dict[tuple[int, How], tuple[Any, list[Shape]]] = {}
        self._values: dict[tuple[Any, ...], tuple[Shape, list[Any]]] = {}
        self._depth = 0

    def keep(self, keyword: str, kept: bool) -> None:
        """Note whether all of a keyword is kept; what is not is checked after decoding."""
        if not kept:
            self.unkept.add(keyword)

    def shapes(self, schemas: All, *, decoded: bool = True) -> list[Shape]:
        """The alternatives for a value of which all these schemas hold.

        Args:
            decoded: Whether only what is decoded counts.
        """
        if len(schemas) == 1:
            return self._shapes(schemas[0], "whole" if decoded else "allowed", ())
        out = list(EVERYTHING)
        for schema in schemas:
            out = self._meet(out, self._shapes(schema, "part" if decoded else "allowed", ()))
        return assumed(out) if decoded else out

    def types(self, schemas: All, *, decoded: bool = True) -> set[str]:
        """The types that a value may have of which all these schemas hold."""
        return {shape.type for shape in self.shapes(schemas, decoded=decoded)}

    def values(self, shape: Shape) -> list[Any] | None:
        """The only values of a shape, if its schemas list some."""
        listed = [own for own in shape.own if "const" in own or "enum" in own]
        if not listed:
            return None
        key = (shape.type, *map(id, shape.own))
        if key not in self._values:
            candidates = min(([own["const"]] if "const" in own else as_list(own["enum"]) for own in listed), key=len)
            of_type = [value for value in candidates if type_of(value) == shape.type]
            found = [v for v in of_type if all(self.references.allows(own, v) for own in shape.own)]
            self._values[key] = shape, found
        return self._values[key][1]

    def constants(self, schemas: All, *, decoded: bool = True) -> list[Any] | None:
        """All values of which these schemas hold, if they are listed."""
        out: list[Any] = []
        for shape in self.shapes(schemas, decoded=decoded):
            values = self.values(shape)
            if values is None and shape.type not in _FEW:
                return None
            out += _FEW[shape.type] if values is None else values
        return out

    def _shapes(self, schema: Any, how: How, above: tuple[int, ...]) -> list[Shape]:
        if isinstance(schema, bool):
            return list(EVERYTHING) if schema else []
        if not isinstance(schema, Mapping):
            msg = f"Expected a JSON schema as a dict, got {type(schema).__name__}."
            raise ConfigurationError(msg)
        if id(schema) in above:
            msg = "Expected references that lead to a schema, got some that lead to themselves."
            raise NothingLeftError(msg)
        key = (id(schema), how)
        if key not in self._read:
            self._read[key] = schema, self._all_of(schema, how, (*above, id(schema)))
        return self._read[key][1]

    def _all_of(self, schema: Mapping[str, Any], how: How, above: tuple[int, ...]) -> list[Shape]:
        given = self._known(schema)
        own, is_decoded = _own(given), how != "allowed"
        unions = [*self._unions(given), *(self._narrowing(given) if is_decoded else ())]
        is_alone = len(unions) + ("oneOf" in given) + bool(own) == 1
        inside: How = "part" if how == "whole" and not is_alone else how
        out = self._possible(own)
        for union in unions:
            out = self._meet(out, itertools.chain(*self._options(union, inside, above)))
        if "oneOf" in given:
            out = self._one_of(out, given, schema.get("discriminator"), inside, above)
        if is_decoded and given.get("unevaluatedItems") is False and "items" not in given:
            self.keep("unevaluatedItems", not _IN_PLACE & given.keys())  # what other parts are about is evaluated
        if is_decoded and given.get("unevaluatedProperties", True) is not True:
            self.keep("unevaluatedProperties", not _LOGIC & given.keys())
            out = [_without_others(shape, given["unevaluatedProperties"]) for shape in out]
        return assumed(out) if how == "whole" else out

    def _known(self, schema: Mapping[str, Any]) -> dict[str, Any]:
        given = {key: whole(value) if key in _COUNTS else value for key, value in schema.items() if key in _KNOWN}
        ignored = schema.keys() - given.keys() - _ANNOTATIONS
        if ignored & {"$dynamicRef", "$recursiveRef"}:
            given.setdefault("$ref", schema.get("$dynamicRef", schema.get("$recursiveRef")))
        if ignored:
            _log.debug("a schema's keywords that exclude nothing are ignored: %s", ", ".join(sorted(ignored)))
        return given

    def _possible(self, own: Mapping[str, Any]) -> list[Shape]:
        """The types that a schema's own keywords leave."""
        if not own:
            return list(EVERYTHING)
        declared = own.get("type", TYPES)
        types = {declared} if isinstance(declared, str) else set(declared)
        if unknown := types - {*TYPES, "integer"}:
            msg = f"Expected a type among {', '.join(TYPES)} and integer, got {', '.join(map(repr, sorted(unknown)))}."
            raise ConfigurationError(msg)
        if "const" in own or "enum" in own:
            values = [own["const"]] if "const" in own else as_list(own["enum"])
            named = {type_of(value) for value in values}
            types = {t for t in types if t in named or (t == "integer" and "number" in named)}
        typed = bool({"type", "const", "enum"} & own.keys())
        shapes = [Shape(type_, (own,), typed) for type_ in TYPES if type_ in types]
        if "integer" in types and "number" not in types:
            shapes.append(Shape("number", ({**own, "type": "integer"},), typed))
        return shapes

    def _meet(self, ones: Iterable[Shape], others: Iterable[Shape]) -> list[Shape]:
        out: list[Shape] = []
        for one, other in itertools.product(ones, others):
            met = one & other if one.type == other.type else None
            if met is not None and (len(met.own) < 2 or not self._is_empty(met)):
                out.append(met)
            if len(out) > MAX_ALTERNATIVES:
                msg = f"Expected unions that leave at most {MAX_ALTERNATIVES} alternatives for a value, got more."
                raise ConfigurationError(msg)
        return out

    def _is_empty(self, shape: Shape) -> bool:
        """Whether it is plain that nothing is of a shape: no constant, or none for a required property."""
        if self.values(shape) == []:
            return True
        if shape.type != "object" or self._depth > 1:
            return False
        properties = shape.keywords.get("properties", {})
        required = [properties[name] for name in shape.keywords.get("required", ()) if name in properties]
        self._depth += 1
        try:
            return not all(self.shapes(schemas, decoded=False) for schemas in required if len(schemas) > 1)
        except NothingLeftError:
            return True
        finally:
            self._depth -= 1

    def _options(self, options: Sequence[Any], how: How, above: tuple[int, ...]) -> list[list[Shape]]:
        """The shapes of each option; an empty list for one of which nothing can be decoded."""
        out: list[list[Shape]] = []
        failed: NothingLeftError | None = None
        for option in options:
            try:
                out.append(self._shapes(option, how, above))
            except NothingLeftError as error:
                _log.debug("an option is left out, since nothing can be of it: %s", error)
                failed = error
                out.append([])
        if failed is not None and not any(out):
            raise failed
        return out

    def _unions(self, given: Mapping[str, Any]) -> list[list[Any]]:
        """The other schemas of the value: one of each list holds."""
        out = [[self.references.target(given["$ref"])]] if "$ref" in given else []
        out += [[member] for member in as_list(given.get("allOf"))]
        out += dependencies(given)
        return [*out, _listed(given, "anyOf")] if "anyOf" in given else out

    def _narrowing(self, given: Mapping[str, Any]) -> Iterator[list[Any]]:
        """Further such schemas, which may leave less than their keywords allow."""
        rest = ({key: value for key, value in given.items() if key not in _LOGIC},)
        if "not" in given:
            inverse = complement(given["not"], rest, self)
            self.keep("not", inverse is not None)
            yield from [] if inverse is None else [[inverse]]
        if "if" in given:
            options, exact = conditional(given, rest, self)
            self.keep("if", exact)
            yield options
        if "contains" in given:
            first, most = containing(given), given.get("maxContains")
            self.keep("contains", first is not None)
            self.keep("maxContains", most is None or given.get("maxItems", most + 1) <= most)
            yield from [[first]] if first else []
        if given.get("uniqueItems"):
            unions, exact = without_repetition(given, self)
            self.keep("uniqueItems", exact)
            yield from unions

    def _one_of(
        self, base: list[Shape], given: Mapping[str, Any], discriminator: Any, how: How, above: tuple[int, ...]
    ) -> list[Shape]:
        options = [self._with_tag(option, discriminator) for option in _listed(given, "oneOf")]
        allowed = self._options(options, "allowed", above)
        if how == "allowed":
            return self._meet(base, itertools.chain(*allowed))
        texts = [self._text(option) for option in options]
        different = [i for i, text in enumerate(texts) if texts.count(text) == 1]  # equal ones are always both met
        if not different:
            msg = "Expected options of oneOf of which a value can be of exactly one, got only duplicates."
            raise NothingLeftError(msg)
        if "properties" in given and any(shape.type == "object" for shapes in allowed for shape in shapes):
            base = assumed(base)
        types = {shape.type for shape in base}
        read = self._options([options[i] for i in different], how, above)
        others = [
            [s for j, shapes in enumerate(allowed) if j != i for s in shapes if s.type in types] for i in different
        ]
        found = exclusive(read, others, self)
        self.keep("oneOf", found is not None)
        return self._meet(base, itertools.chain(*read) if found is None else found)

    def _text(self, option: Any) -> str:
        """A text that equal options share: a value of two of them is of no `oneOf`."""
        schema = self.references.resolved(option)
        is_schema = isinstance(schema, Mapping)
        return equal_form({k: v for k, v in schema.items() if k not in _ANNOTATIONS} if is_schema else schema)

    def _with_tag(self, option: Any, discriminator: Any) -> Any:
        """An option that requires the discriminator's property, which in JSON Schema is a mere annotation."""
        tag = discriminator.get("propertyName") if isinstance(discriminator, Mapping) else None
        schema = self.references.resolved(option)
        if not isinstance(tag, str) or not isinstance(schema, Mapping) or tag not in (schema.get("properties") or {}):
            return option
        required = as_list(schema.get("required"))
        return option if tag in required else {**schema, "required": [*required, tag]}


def _listed(given: Mapping[str, Any], key: str) -> list[Any]:
    options = as_list(given[key])
    if not options:
        msg = f"Expected {key} to be a list of schemas, got {given[key]!r}."
        raise ConfigurationError(msg)
    return options


def _own(given: Mapping[str, Any]) -> dict[str, Any]:
    """The keywords that no other schema of the value stands for, in the words of the newest draft."""
    own = {key: value for key, value in given.items() if key in _OWN}
    if "required" in own:
        own["required"] = [name for name in as_list(own["required"]) if isinstance(name, str)]
    more = own.pop("additionalItems", None)
    if isinstance(own.get("items"), (list, tuple)):
        own["prefixItems"] = list(own.pop("items"))
        own |= {} if more is None else {"items": more}
    if given.get("unevaluatedItems") is False and not ({"items"} | _IN_PLACE) & given.keys():
        own["items"] = False
    for inclusive, exclusive_ in (("minimum", "exclusiveMinimum"), ("maximum", "exclusiveMaximum")):
        if isinstance(own.get(exclusive_), bool):
            is_excluded = own.pop(exclusive_)
            own |= {exclusive_: own.pop(inclusive)} if is_excluded and inclusive in own else {}
    return own


def _without_others(shape: Shape, others: Any) -> Shape:
    """A shape whose properties that no keyword is about are of a schema."""
    known = shape.keywords
    if shape.type != "object" or "additionalProperties" in known:
        return shape
    names = {key: dict.fromkeys(known.get(key, ()), True) for key in ("properties", "patternProperties")}
    return shape.keeping({**names, "additionalProperties": others})
