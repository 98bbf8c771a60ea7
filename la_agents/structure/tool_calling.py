"""Tools of a call: what LangChain binds, checked, and the rules by which calls of them are decoded."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from langchain_core.tools import BaseTool
from langchain_core.utils.function_calling import convert_to_openai_tool
from pydantic import PydanticUserError
from typing_extensions import is_typeddict

from la_agents.errors import ConfigurationError
from la_agents.prompts.call_format import HERMES, CallFormat
from la_agents.requests import Grammar
from la_agents.requests.grammar import json_rule
from la_agents.structure.json_schema import Narrowed
from la_agents.structure.schema.readable import typed_dict_schema

__all__ = ["MAX_PARALLEL_CALLS", "ToolBox", "as_tool_dicts", "as_tool_name", "is_tool"]

MAX_PARALLEL_CALLS = 8
"""Calls in one answer at most; a small model would otherwise repeat itself until `max_tokens`."""

_NAME = re.compile(r"[\w.:/-]{1,128}")
_KEYWORDS = {"auto": "auto", "any": "any", "required": "any", "none": "none", True: "any", False: "none", None: "auto"}

ToolLike = Mapping[str, Any] | type | Callable[..., Any] | BaseTool


@dataclass(frozen=True)
class ToolBox:
    """Checked tools and how they may be called.

    Attributes:
        tools: In OpenAI's form, names unique.
        choice: "auto", "any", or a tool's name.
        parallel: Whether an answer may hold several calls; None: where the model's own template knows calls.
    """

    tools: tuple[Mapping[str, Any], ...]
    choice: str
    parallel: bool | None

    @classmethod
    def of(cls, tools: Any, choice: Any = None, parallel: bool | None = None) -> ToolBox | None:
        """The tools of a call's arguments; None if there are none to be called.

        Raises:
            ConfigurationError: a tool or its schema is unusable, two share a name, or the choice names none of them.
        """
        given = _distinct(as_tool_dicts(tools or ()))
        names = [_checked(tool) for tool in given]
        if len(set(names)) < len(names):
            msg = f"Expected tools of different names, got {', '.join(names)}; rename one."
            raise ConfigurationError(msg)
        resolved = _choice(choice, names)
        if not given or resolved == "none":
            return None
        return cls(tuple(given), resolved, parallel if resolved in ("auto", "any") else False)

    @property
    def called(self) -> list[Mapping[str, Any]]:
        """The functions that an answer may call."""
        functions = [tool["function"] for tool in self.tools]
        return functions if self.choice in ("auto", "any") else [f for f in functions if f["name"] == self.choice]

    def rules(self, format_: CallFormat, literal: Callable[[str], str]) -> str:
        """Lark rules; `calls` is all of them from the first name to the closing."""
        lines, bodies = [], []
        for i, function in enumerate(self.called):
            lines.append(f"args{i}: {json_rule(_parameters(function))}")
            bodies.append(f"{literal(function['name'] + format_.middle)} args{i}")
        more = ""
        several = format_ is not HERMES if self.parallel is None else self.parallel
        if several and format_.separator is not None:
            more = f" ({literal(format_.separator)} one_call){{0,{MAX_PARALLEL_CALLS - 1}}}"
        lines += [f"one_call: {' | '.join(bodies)}", f"calls: one_call{more} {literal(format_.closing)}"]
        return "\n".join(lines)


def as_tool_dicts(tools: Sequence[ToolLike], strict: bool | None = None) -> list[dict[str, Any]]:
    """Tools in OpenAI's form.

    Raises:
        ConfigurationError: something is no tool.
    """
    if isinstance(tools, (str, Mapping)) or not isinstance(tools, Sequence):
        msg = f"Expected tools to be a list, got {type(tools).__name__}."
        raise ConfigurationError(msg)
    return [_as_tool_dict(tool, strict) for tool in tools]


def _distinct(tools: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The tools without duplicates, such as a class and that class's schema."""
    kept: list[tuple[Any, dict[str, Any]]] = []
    for tool in tools:
        function = tool["function"]
        identity = (function.get("name"), _decoded(function))
        if identity not in [known for known, _ in kept]:
            kept.append((identity, tool))
    return [tool for _, tool in kept]


def _decoded(function: Mapping[str, Any]) -> Any:
    """The schema of arguments, for comparison; an invalid one as it is, to be refused later with its tool's name."""
    try:
        return _parameters(function)
    except ConfigurationError:
        return function.get("parameters")


def _as_tool_dict(tool: Any, strict: bool | None) -> dict[str, Any]:
    try:
        converted = convert_to_openai_tool(_in_known_form(tool), strict=strict)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError, PydanticUserError) as error:
        msg = (
            f"Expected a tool (a function, a BaseTool, a pydantic model or a dict), got {type(tool).__name__}: {error}"
        )
        raise ConfigurationError(msg) from error
    if not isinstance(converted.get("function"), Mapping):
        msg = f"Expected a function tool, got one of type {converted.get('type')!r}, which only its vendor can run."
        raise ConfigurationError(msg)
    return converted


def is_tool(value: Mapping[str, Any]) -> bool:
    """Whether a dict is a tool in one of the forms that vendors give it, and no bare schema."""
    named = "name" in value and value.keys() & {"parameters", "input_schema", "inputSchema"}
    return value.get("type") == "function" or "toolSpec" in value or bool(named)


def _in_known_form(tool: Any) -> Any:
    """A tool in a form that LangChain converts; given in OpenAI's Responses form, in MCP's, or as a TypedDict."""
    if is_typeddict(tool):
        schema = typed_dict_schema(tool)
        parameters = {key: value for key, value in schema.items() if key not in ("title", "description")}
        return {"name": tool.__name__, "description": schema.get("description", ""), "parameters": parameters}
    if not isinstance(tool, Mapping):
        return tool
    if isinstance(tool.get("function"), Mapping):
        return {"type": "function", "function": dict(tool["function"])}
    if tool.get("type") in ("function", "custom") and "name" in tool and "format" not in tool:
        return {key: value for key, value in tool.items() if key != "type"}
    if "name" in tool and "inputSchema" in tool:
        return {**{k: v for k, v in tool.items() if k in ("name", "description")}, "parameters": tool["inputSchema"]}
    return dict(tool)


def as_tool_name(choice: Any) -> Any:
    """A tool choice as a keyword or a name, out of OpenAI's and Anthropic's dicts as well."""
    if isinstance(choice, Mapping):
        function = choice.get("function")
        named = function.get("name") if isinstance(function, Mapping) else function
        name = choice.get("name") or named or choice.get("type")
        return name if isinstance(name, str) else choice  # refused later, as it was given
    return choice


def _choice(choice: Any, names: list[str]) -> str:
    wanted = as_tool_name(choice)
    if isinstance(wanted, (str, bool, type(None))) and wanted in _KEYWORDS:
        resolved = _KEYWORDS[wanted]
        if resolved == "any" and not names:
            msg = f"Expected tools to choose from with tool_choice={choice!r}, got none."
            raise ConfigurationError(msg)
        return resolved
    if wanted in names:
        return str(wanted)
    known = ", ".join(map(repr, ["auto", "any", "none", *names]))
    msg = f"Expected tool_choice to be one of {known}, got {choice!r}."
    raise ConfigurationError(msg)


def _checked(tool: Mapping[str, Any]) -> str:
    name = tool["function"].get("name")
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        msg = f"Expected a tool's name of letters, digits, and _ . : / -, got {name!r}."
        raise ConfigurationError(msg)
    try:
        Grammar.json_schema(_parameters(tool["function"]))
    except ConfigurationError as error:
        msg = f"Expected arguments of the tool {name!r} that can be decoded. {error}"
        raise ConfigurationError(msg) from error
    return name


def _parameters(function: Mapping[str, Any]) -> dict[str, Any]:
    """The schema by which arguments are decoded; they are always an object."""
    given = function.get("parameters") or {"type": "object", "properties": {}}
    exact = Narrowed.of(given)
    if "object" not in exact.types:
        msg = f"Expected parameters of type 'object', got a schema of {', '.join(sorted(exact.types))}."
        raise ConfigurationError(msg)
    return exact.schema if exact.types == {"object"} else Narrowed.of({**given, "type": "object"}).schema
