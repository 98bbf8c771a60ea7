"""Readable schema: a pydantic class's JSON schema, narrowed to what pydantic reads back."""

from __future__ import annotations

from typing import Any

from langchain_core.utils.function_calling import convert_to_json_schema
from pydantic import TypeAdapter
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue

from la_agents.structure.schema.formats import address_pattern

__all__ = ["ReadableSchema", "typed_dict_schema"]

_KEYS = {
    "int": "^(0|-?[1-9][0-9]{0,14})$",
    "float": "^-?(0|[1-9][0-9]{0,8})(\\.[0-9]{1,6})?$",
    "bool": "^(true|false)$",
}


class ReadableSchema(GenerateJsonSchema):
    """Decimals and finite floats as numbers without exponents; keys of dicts as their type is written."""

    def decimal_schema(self, schema: Any) -> JsonSchemaValue:
        described = super().decimal_schema(schema)
        options = [part for part in described.get("anyOf", ()) if part.get("type") == "number"]
        if not options:
            return described
        places, digits = schema.get("decimal_places"), schema.get("max_digits")
        places = min(places, digits) if places is not None and digits is not None else places
        places = 0 if places is None and digits is not None else places  # the digits of a fraction count, too
        most = 10 ** min(15 if digits is None else digits - (places or 0), 15) - 1
        number = dict(options[0])
        if places and digits == places and number.get("maximum", 1) > 0:  # a 0 would be a digit too much
            step = 10**-places
            return {"maximum": 1 - step, **number, "minimum": max(number.get("minimum", 0), step), "multipleOf": step}
        if not number.keys() & {"minimum", "exclusiveMinimum"}:
            number["minimum"] = -most
        if not number.keys() & {"maximum", "exclusiveMaximum"}:
            number["maximum"] = most
        return number if places is None else {**number, "multipleOf": 10**-places if places else 1}

    def float_schema(self, schema: Any) -> JsonSchemaValue:
        described = super().float_schema(schema)
        if schema.get("allow_inf_nan", True):
            return described
        bounded = described.keys() & {"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"}
        return described if bounded else {**described, "minimum": -(10**15), "maximum": 10**15}  # without exponents

    def url_schema(self, schema: Any) -> JsonSchemaValue:
        return _of_schemes(super().url_schema(schema), schema)

    def multi_host_url_schema(self, schema: Any) -> JsonSchemaValue:
        return _of_schemes(super().multi_host_url_schema(schema), schema)

    def dict_schema(self, schema: Any) -> JsonSchemaValue:
        described = super().dict_schema(schema)
        pattern = _KEYS.get(schema.get("keys_schema", {}).get("type"))
        return described if pattern is None else {**described, "propertyNames": {"pattern": pattern}}


def _of_schemes(described: JsonSchemaValue, schema: Any) -> JsonSchemaValue:
    schemes = schema.get("allowed_schemes") or ["http"]
    return described if "http" in schemes else {**described, "pattern": address_pattern(schemes)}


def typed_dict_schema(type_: Any) -> dict[str, Any]:
    """LangChain's schema of a TypedDict, with what `Annotated` describes; pydantic's where its qualifiers need that."""
    try:
        return convert_to_json_schema(type_)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return TypeAdapter(type_).json_schema(schema_generator=ReadableSchema)
