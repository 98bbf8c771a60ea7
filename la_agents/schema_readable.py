"""Readable schema: a pydantic class's JSON schema with what pydantic reads but its schemas do not say."""

from __future__ import annotations

from typing import Any

from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue

__all__ = ["ReadableSchema"]

_KEYS = {"int": "^(0|-?[1-9][0-9]{0,14})$", "float": "^-?(0|[1-9][0-9]{0,8})(\\.[0-9]{1,6})?$", "bool": "^(true|false)$"}


class ReadableSchema(GenerateJsonSchema):
    """Decimals as numbers, since not every text is one; keys of dicts as their type is written."""

    def decimal_schema(self, schema: Any) -> JsonSchemaValue:
        described = super().decimal_schema(schema)
        options = [part for part in described.get("anyOf", ()) if part.get("type") == "number"]
        return options[0] if options else described

    def dict_schema(self, schema: Any) -> JsonSchemaValue:
        described = super().dict_schema(schema)
        pattern = _KEYS.get(schema.get("keys_schema", {}).get("type"))
        return described if pattern is None else {**described, "propertyNames": {"pattern": pattern}}
