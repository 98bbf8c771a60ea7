"""Structured output: `response_format` and `with_structured_output` as grammars and parsers."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from operator import itemgetter
from typing import Any, Literal, get_args, get_origin

from langchain_core.exceptions import OutputParserException
from langchain_core.language_models import BaseChatModel
from langchain_core.output_parsers import BaseOutputParser, JsonOutputParser, PydanticOutputParser
from langchain_core.output_parsers.openai_tools import JsonOutputKeyToolsParser, PydanticToolsParser
from langchain_core.runnables import Runnable, RunnableMap, RunnablePassthrough
from langchain_core.tools import BaseTool
from langchain_core.utils.function_calling import convert_to_json_schema
from langchain_core.utils.pydantic import is_basemodel_subclass
from pydantic import BaseModel, PydanticUndefinedAnnotation, PydanticUserError, TypeAdapter, ValidationError
from typing_extensions import TypeAliasType, is_typeddict

from la_agents.errors import ConfigurationError, GenerationError
from la_agents.requests import Grammar
from la_agents.requests.checks import check_choice
from la_agents.requests.grammar import first_lines
from la_agents.structure.json_schema import SCHEMA_KEYWORDS, Narrowed, without_titles
from la_agents.structure.schema.readable import ReadableSchema, typed_dict_schema
from la_agents.structure.tool_calling import as_tool_dicts, is_tool

__all__ = ["Method", "ResponseFormat", "schema_of", "structured"]

Method = Literal["json_schema", "function_calling", "json_mode"]
_FORMATS = "text, json_object, json_schema, regex, choice, lark"


@dataclass(frozen=True)
class ResponseFormat:
    """What a whole answer must look like.

    Attributes:
        grammar: Its grammar, by itself.
        schema: The JSON schema that is decoded, if it is one.
        instructions: What the model is told about it.
        checked: The schema that a finished answer is checked by, where decoding does not keep all of it.
    """

    grammar: Grammar
    schema: Mapping[str, Any] | None = None
    instructions: str = ""
    checked: Narrowed | None = None

    @classmethod
    def of(cls, value: Any) -> ResponseFormat | None:
        """A call's `response_format`: a type or a dict with a `type`.

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
        check = not isinstance(value, Mapping) or value.get("check", True)
        if kind == "json_schema":
            return cls.json(schema_of(value), told=True, check=check)
        if kind == "json_object":
            schema = value.get("schema")
            return cls.json({"type": "object"} if schema is None else schema_of(schema), told=False, check=check)
        if kind == "regex" and isinstance(value.get("regex"), str):
            return cls(Grammar.regex(value["regex"]))
        if kind == "choice":
            return cls(Grammar.choice(value.get("choice", ())))
        if kind == "lark" and isinstance(value.get("lark"), str):
            return cls(Grammar.lark(value["lark"]))
        msg = f"Expected response_format to be a pydantic class or a dict of type {_FORMATS}, got {value!r}."
        raise ConfigurationError(msg)

    @classmethod
    def json(cls, schema: Any, *, told: bool, check: bool = True) -> ResponseFormat:
        """An answer that is JSON of this schema; `check`: whether to check it when it is finished."""
        exact = Narrowed.of(schema)
        said = json.dumps(without_titles(exact.given), ensure_ascii=False) if told else ""
        instructions = f"Answer with JSON that follows this schema:\n{said}" if told else ""
        checked = exact if check and exact.unkept else None
        return cls(Grammar.json_schema(exact.schema), exact.schema, instructions, checked)

    def check(self, text: str) -> None:
        """Check the keywords that decoding did not keep.

        Raises:
            GenerationError: the answer breaks a keyword of the schema.
        """
        broken = self.checked.broken(text) if self.checked is not None else ""
        if broken:
            msg = (
                f"Expected an answer that keeps to {broken!r} of its schema, got another; that keyword is beyond "
                "decoding and only checked: ask again, or leave it out of the schema."
            )
            raise GenerationError(msg)


def schema_of(schema: Any) -> dict[str, Any]:
    """The JSON schema of a class or type, of a dict that holds one for a vendor's interface, or a JSON schema itself.

    Raises:
        ConfigurationError: it is none of these.
    """
    if isinstance(schema, Mapping):
        return _within(schema)
    if isinstance(schema, type) and is_basemodel_subclass(schema):
        # With its $defs: LangChain's own conversion would unfold a model that holds itself.
        if issubclass(schema, BaseModel):
            return dict(_described(schema, lambda: schema.model_json_schema(schema_generator=ReadableSchema)))
        return dict(_described(schema, schema.schema))  # type: ignore[attr-defined]
    if is_typeddict(schema):
        return dict(_described(schema, lambda: typed_dict_schema(schema)))
    if isinstance(schema, BaseTool) or inspect.isroutine(schema):
        return _converted(schema)
    if _is_type(schema):
        return dict(_described(schema, lambda: TypeAdapter(schema).json_schema(schema_generator=ReadableSchema)))
    msg = f"Expected a pydantic class, a TypedDict, another type or a JSON schema, got {type(schema).__name__}."
    raise ConfigurationError(msg)


def _within(schema: Mapping[str, Any]) -> dict[str, Any]:
    """The schema in a dict: itself, or what OpenAI's, Anthropic's, MCP's and Bedrock's forms hold."""
    said = schema.keys() & SCHEMA_KEYWORDS - {"type"}
    for key in ("json_schema", "function", "toolSpec", "schema", "parameters", "input_schema", "inputSchema", "json"):
        if isinstance(schema.get(key), (Mapping, type)) and not said:
            return schema_of(schema[key])
    if schema.get("type") == "function" and "name" in schema:
        return {"type": "object", "properties": {}}
    if schema and not said and ("type" not in schema or schema["type"] == "json_schema"):
        keys = ", ".join(sorted(map(repr, schema)))
        msg = f"Expected a JSON schema, got a dict without any keyword of one (its keys: {keys}); see json-schema.org."
        raise ConfigurationError(msg)
    return dict(schema)


def _is_type(value: Any) -> bool:
    """A class, or one of typing's forms: list[int], int | None, Annotated[...], Literal[...]."""
    return isinstance(value, (type, TypeAliasType)) or get_origin(value) is not None


def _is_plain(schema: Any) -> bool:
    """A type whose values are read by pydantic, and that is no class of fields."""
    return (
        not isinstance(schema, (Mapping, BaseTool))
        and not is_typeddict(schema)
        and _is_type(schema)
        and not (isinstance(schema, type) and is_basemodel_subclass(schema))
    )


def _described(schema: Any, describe: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    try:
        return describe()
    except (PydanticUserError, PydanticUndefinedAnnotation, RecursionError, TypeError) as error:
        name = getattr(schema, "__name__", repr(schema))
        msg = f"Expected a type with a JSON schema, got {name}, for which pydantic has none: {first_lines(str(error))}."
        raise ConfigurationError(msg) from error


def _converted(schema: Any) -> dict[str, Any]:
    try:
        return convert_to_json_schema(schema)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
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
    check_choice("method", method, get_args(Method))
    if schema is None:
        if method != "json_mode":
            msg = f"Expected a schema for the method {method!r}, got None; any JSON object is 'json_mode'."
            raise ConfigurationError(msg)
        llm = model.bind(response_format={"type": "json_object"}, **arguments)
        return _with_parser(llm, JsonOutputParser(), include_raw=include_raw)
    exact = schema_of(schema)
    Narrowed.of(exact)  # before anything walks through it
    inner = exact if isinstance(schema, Mapping) else without_titles(exact)
    told = {"title": "answer", **inner, **({"title": exact["title"]} if "title" in exact else {})}
    shown = {"kwargs": {"method": method}, "schema": told}  # what LangSmith shows of the call, in LangChain's form
    traced = {"ls_structured_output_format": shown, **arguments}
    if method == "function_calling":
        (tool,) = as_tool_dicts([_named(schema, exact)], strict)
        calling = model.bind_tools([tool], tool_choice=tool["function"]["name"], **traced)
        return _with_parser(calling, _call_parser(schema, tool), include_raw=include_raw)
    # A class checks what is read into it.
    check: dict[str, Any] = {"check": False} if not isinstance(schema, Mapping) and not is_typeddict(schema) else {}
    response_format: dict[str, Any] = {"type": "json_object", "schema": exact, **check}
    if method == "json_schema":
        response_format = {"type": "json_schema", "json_schema": {"name": "answer", "schema": exact}, **check}
    ResponseFormat.of(response_format)
    llm = model.bind(response_format=response_format, **traced)
    return _with_parser(llm, _answer_parser(schema), include_raw=include_raw)


def _named(schema: Any, exact: dict[str, Any]) -> Any:
    """A schema as a tool; one without a name is the answer's."""
    if isinstance(schema, Mapping) and "title" not in schema and not is_tool(schema):
        name = (schema.get("json_schema") or schema).get("name", "answer")
        return {"name": name, "description": exact.get("description", ""), "parameters": exact}
    if _is_plain(schema):
        if Narrowed.of(exact).types != {"object"}:
            msg = f"Expected a class with fields for 'function_calling', got {_name_of(schema)}; use 'json_schema'."
            raise ConfigurationError(msg)
        return {"name": _name_of(schema), "parameters": exact}
    return schema


def _name_of(schema: Any) -> str:
    return str(getattr(schema, "__name__", "answer"))


class _TypeParser(BaseOutputParser[Any]):
    """Reads the answer's text as a value of a type."""

    adapter: Any

    def parse(self, text: str) -> Any:
        try:
            return self.adapter.validate_json(text)
        except ValidationError as error:
            msg = f"Expected an answer that is a value of its type, got another: {error.error_count()} errors."
            raise OutputParserException(msg, llm_output=text) from error


def _answer_parser(schema: Any) -> BaseOutputParser[Any]:
    """Reads the answer's text: an object of a pydantic class, else a dict."""
    if isinstance(schema, type) and is_basemodel_subclass(schema):
        return PydanticOutputParser(pydantic_object=schema)
    if _is_plain(schema):
        return _TypeParser(adapter=TypeAdapter(schema))
    return JsonOutputParser()


def _call_parser(schema: Any, tool: Mapping[str, Any]) -> Runnable[Any, Any]:
    """Reads the arguments of the answer's call."""
    if isinstance(schema, type) and is_basemodel_subclass(schema):
        return PydanticToolsParser(tools=[schema], first_tool_only=True)
    arguments = JsonOutputKeyToolsParser(key_name=tool["function"]["name"], first_tool_only=True)
    return arguments | TypeAdapter(schema).validate_python if _is_plain(schema) else arguments


def _with_parser(llm: Runnable[Any, Any], parser: Runnable[Any, Any], *, include_raw: bool) -> Runnable[Any, Any]:
    """The model followed by its parser; `include_raw` gives raw, parsed and parsing_error as LangChain does."""
    if not include_raw:
        return llm | parser
    parsed = RunnablePassthrough.assign(parsed=itemgetter("raw") | parser, parsing_error=lambda _: None)
    failed = RunnablePassthrough.assign(parsed=lambda _: None)
    return RunnableMap(raw=llm) | parsed.with_fallbacks([failed], exception_key="parsing_error")
