"""Structured output: what `response_format` and `with_structured_output` ask for, as a rule to decode by."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from operator import itemgetter
from typing import Any, Literal, get_args

from langchain_core.language_models import BaseChatModel
from langchain_core.output_parsers import BaseOutputParser, JsonOutputParser, PydanticOutputParser
from langchain_core.output_parsers.openai_tools import JsonOutputKeyToolsParser, PydanticToolsParser
from langchain_core.runnables import Runnable, RunnableMap, RunnablePassthrough
from langchain_core.utils.function_calling import convert_to_json_schema, convert_to_openai_tool
from langchain_core.utils.pydantic import is_basemodel_subclass

from la_agents.engine.grammar import Grammar
from la_agents.errors import ConfigurationError
from la_agents.json_schema import narrowed
from la_agents.tool_calling import as_tool_dicts

__all__ = ["Method", "ResponseFormat", "schema_of", "structured"]

Method = Literal["json_schema", "function_calling", "json_mode"]
_FORMATS = "text, json_object, json_schema, regex, choice, lark"


@dataclass(frozen=True)
class ResponseFormat:
    """What a whole answer must look like.

    Attributes:
        grammar: Its grammar, by itself.
        schema: The JSON schema, if it is one.
        instructions: What the model is told about it.
    """

    grammar: Grammar
    schema: Mapping[str, Any] | None = None
    instructions: str = ""

    @classmethod
    def of(cls, value: Any) -> ResponseFormat | None:
        """A call's `response_format`: a pydantic class or a dict with a `type`.

            {"type": "json_schema", "json_schema": {"schema": {...}}}   the model is told the schema, too
            {"type": "json_object"}                                     any JSON object
            {"type": "json_object", "schema": {...}}                    follows it without being told
            {"type": "regex", "regex": "[0-9]+"}
            {"type": "choice", "choice": ["yes", "no"]}
            {"type": "lark", "lark": "start: ..."}

        Raises:
            ConfigurationError: it is of another form, or cannot be decoded with.
        """
        if value is None:
            return None
        if isinstance(value, type):
            return cls.json(schema_of(value), told=True)
        kind = value.get("type") if isinstance(value, Mapping) else None
        if kind == "text":
            return None
        if kind == "json_schema":
            given = value.get("json_schema")
            return cls.json(given.get("schema") if isinstance(given, Mapping) else None, told=True)
        if kind == "json_object":
            return cls.json(value.get("schema") or {"type": "object"}, told=False)
        if kind == "regex" and isinstance(value.get("regex"), str):
            return cls(Grammar.regex(value["regex"]))
        if kind == "choice":
            return cls(Grammar.choice(value.get("choice", ())))
        if kind == "lark" and isinstance(value.get("lark"), str):
            return cls(Grammar.lark(value["lark"]))
        msg = f"Expected response_format to be a pydantic class or a dict of type {_FORMATS}, got {value!r}."
        raise ConfigurationError(msg)

    @classmethod
    def json(cls, schema: Any, *, told: bool) -> ResponseFormat:
        """An answer that is JSON of this schema."""
        exact = narrowed(schema)
        said = f"Answer with JSON that follows this schema:\n{json.dumps(exact, ensure_ascii=False)}" if told else ""
        return cls(Grammar.json_schema(exact), exact, said)


def schema_of(schema: Any) -> dict[str, Any]:
    """The JSON schema of a pydantic class, a TypedDict, a tool's dict, or a JSON schema itself.

    Raises:
        ConfigurationError: it is none of these.
    """
    if isinstance(schema, type) and is_basemodel_subclass(schema):
        # With its $defs: LangChain's own conversion would unfold a model that holds itself.
        describe = getattr(schema, "model_json_schema", None) or schema.schema  # type: ignore[attr-defined]
        return dict(describe())
    if isinstance(schema, Mapping) and schema.get("type") != "function" and "parameters" not in schema:
        return dict(schema)
    return _converted(schema)


def _traced(schema: Any, method: Method) -> dict[str, Any]:
    """What LangSmith shows of the call."""
    shown = _converted({"title": "answer", **schema} if isinstance(schema, Mapping) else schema)
    return {"kwargs": {"method": method}, "schema": shown}


def _converted(schema: Any) -> dict[str, Any]:
    try:
        return convert_to_json_schema(schema)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        msg = f"Expected a pydantic class, a TypedDict or a JSON schema, got {type(schema).__name__}: {error}"
        raise ConfigurationError(msg) from error


def structured(
    model: BaseChatModel,
    schema: Any,
    method: Method,
    *,
    include_raw: bool,
    strict: bool | None,
    arguments: Mapping[str, Any],
) -> Runnable[Any, Any]:
    """The model with answers that are objects of a schema; see `ChatLinearAlignment.with_structured_output`."""
    if method not in get_args(Method):
        msg = f"Expected method to be one of {', '.join(map(repr, get_args(Method)))}, got {method!r}."
        raise ConfigurationError(msg)
    if schema is None:
        if method != "json_mode":
            msg = f"Expected a schema for the method {method!r}, got None; any JSON object is 'json_mode'."
            raise ConfigurationError(msg)
        llm = model.bind(response_format={"type": "json_object"}, **arguments)
        return _with_parser(llm, JsonOutputParser(), include_raw=include_raw)
    traced = {"ls_structured_output_format": _traced(schema, method), **arguments}
    if method == "function_calling":
        (tool,) = as_tool_dicts([schema], strict)
        calling = model.bind_tools([tool], tool_choice=tool["function"]["name"], **traced)
        return _with_parser(calling, _call_parser(schema), include_raw=include_raw)
    exact = schema_of(schema)
    response_format: dict[str, Any] = {"type": "json_object", "schema": exact}
    if method == "json_schema":
        response_format = {"type": "json_schema", "json_schema": {"name": "answer", "schema": exact}}
    ResponseFormat.of(response_format)
    llm = model.bind(response_format=response_format, **traced)
    return _with_parser(llm, _answer_parser(schema), include_raw=include_raw)


def _answer_parser(schema: Any) -> BaseOutputParser[Any]:
    """Reads the answer's text: an object of a pydantic class, else a dict."""
    if isinstance(schema, type) and is_basemodel_subclass(schema):
        return PydanticOutputParser(pydantic_object=schema)
    return JsonOutputParser()


def _call_parser(schema: Any) -> BaseOutputParser[Any]:
    """Reads the arguments of the answer's call."""
    if isinstance(schema, type) and is_basemodel_subclass(schema):
        return PydanticToolsParser(tools=[schema], first_tool_only=True)
    name = convert_to_openai_tool(schema)["function"]["name"]
    return JsonOutputKeyToolsParser(key_name=name, first_tool_only=True)


def _with_parser(llm: Runnable[Any, Any], parser: BaseOutputParser[Any], *, include_raw: bool) -> Runnable[Any, Any]:
    """The model followed by its parser; `include_raw` gives raw, parsed and parsing_error as LangChain does."""
    if not include_raw:
        return llm | parser
    parsed = RunnablePassthrough.assign(parsed=itemgetter("raw") | parser, parsing_error=lambda _: None)
    failed = RunnablePassthrough.assign(parsed=lambda _: None)
    return RunnableMap(raw=llm) | parsed.with_fallbacks([failed], exception_key="parsing_error")
