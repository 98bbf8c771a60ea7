"""How a model writes tool calls: the four texts around names and arguments, read off its own chat template.

    {opening}NAME{middle}{"city": "Rome"}{separator}NAME{middle}{...}{closing}

A template that renders tools, calls and results shows these texts when it renders calls we know. One that does not
gets `HERMES`, the format that most open models were trained on, with `instructions` in the system text:

    <tool_call>
    {"name": "NAME", "arguments": {"city": "Rome"}}
    </tool_call>
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

__all__ = ["HERMES", "CallFormat", "instructions", "read_format"]

_TAG = re.compile(r"<[^<>\s]+>|\[[A-Z_]+\]")


@dataclass(frozen=True, slots=True)
class CallFormat:
    """The text around calls.

    Attributes:
        opening: Before the first call's name.
        middle: Between a name and its arguments, a JSON object.
        separator: Between one call's arguments and the next one's name; None: one call an answer.
        closing: After the last call's arguments.
    """

    opening: str
    middle: str
    separator: str | None
    closing: str

    @property
    def trigger(self) -> str:
        """The text at which a call begins: the opening's first tag, or all of it."""
        text = self.opening.lstrip()
        tag = _TAG.match(text)
        return tag.group() if tag else text

    @property
    def after_trigger(self) -> str:
        return self.opening.lstrip()[len(self.trigger) :]

    def write(self, calls: Sequence[Mapping[str, Any]]) -> str:
        """Calls, as templates get them, as the model would write them."""
        functions = [call["function"] for call in calls]
        written = [
            f["name"] + self.middle + json.dumps(f["arguments"], ensure_ascii=False, default=str) for f in functions
        ]
        if self.separator is None:
            return "\n".join(self.opening + one + self.closing for one in written)
        return self.opening + self.separator.join(written) + self.closing


HERMES = CallFormat(
    opening='<tool_call>\n{"name": "',
    middle='", "arguments": ',
    separator='}\n</tool_call>\n<tool_call>\n{"name": "',
    closing="}\n</tool_call>",
)


def instructions(tools: Sequence[Mapping[str, Any]]) -> str:
    """The system text about tools, for templates that have none of their own."""
    listed = "\n".join(json.dumps(tool["function"], ensure_ascii=False) for tool in tools)
    return (
        "You can call tools. To call one, write its name and its arguments, and nothing after them:\n"
        '<tool_call>\n{"name": "tool", "arguments": {"argument": "value"}}\n</tool_call>\n'
        f"You will be given the result. These are the tools:\n{listed}"
    )


def read_format(
    render: Callable[[list[dict[str, Any]]], str], user: dict[str, Any], assistant: dict[str, Any], ends: Sequence[str]
) -> CallFormat | None:
    """The format in which a template renders calls; None if the template does not show it.

    Args:
        render: Renders turns, with what comes before an answer at the end.
        user: A human turn.
        assistant: An assistant turn whose content occurs once.
        ends: Tokens of which one ends every assistant turn.
    """
    before = render([user])
    plain = render([user, assistant, user])
    after_plain = plain[plain.find(assistant["content"]) + len(assistant["content"]) :]
    end = min((e for e in ends if e and e in after_plain), key=after_plain.find, default="")
    single = _texts_around(render(_conversation(user, 1)), before, end, 1)
    if single is None or not single[0].strip():
        return None
    opening, middle, closing = single
    separator = None
    if _id(0) not in "".join(single):
        double = _rendered_twice(render, user)
        around = _texts_around(double, before, end, 2) if double else None
        if around and (around[0], around[1], around[3], around[4]) == (opening, middle, middle, closing):
            separator = around[2]
    return CallFormat(opening, middle, separator, closing)


def _rendered_twice(render: Callable[[list[dict[str, Any]]], str], user: dict[str, Any]) -> str:
    from la_agents.models.turn_end import template_errors

    try:
        return render(_conversation(user, 2))
    except template_errors():
        return ""


def _conversation(user: dict[str, Any], num_calls: int) -> list[dict[str, Any]]:
    """Calls, their results, an answer and a question: what was thought before the last question is not rendered."""
    calls = [{"id": _id(i), "type": "function", "function": _function(i)} for i in range(num_calls)]
    results = [
        {"role": "tool", "name": _function(i)["name"], "tool_call_id": _id(i), "content": "Qresultq"}
        for i in range(num_calls)
    ]
    return [
        user,
        {"role": "assistant", "content": "", "tool_calls": calls},
        *results,
        {"role": "assistant", "content": "Qdoneq"},
        user,
    ]


def _id(index: int) -> str:
    return f"call{index:05d}"


def _function(index: int) -> dict[str, Any]:
    return {"name": f"qcall{index}q", "arguments": {f"qkey{index}q": f"Qvalue{index}q"}}


def _texts_around(text: str, before: str, end: str, num_calls: int) -> list[str] | None:
    """The texts around the names and arguments of calls: before, between each two, and after the last."""
    if not end or not text.startswith(before):
        return None
    rest, around = text[len(before) :], []
    for i in range(num_calls):
        function = _function(i)
        head, found, rest = rest.partition(function["name"])
        start = rest.find("{")
        if not found or start < 0:
            return None
        try:
            arguments, length = json.JSONDecoder().raw_decode(rest[start:])
        except ValueError:
            return None
        if arguments != function["arguments"]:
            return None
        around += [head, rest[:start]]
        rest = rest[start + length :]
    closing, found, _ = rest.partition(end)
    return [*around, closing] if found else None
