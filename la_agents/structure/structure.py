"""Structure: the tools and the response format of one call, and the grammar and prompt that follow from both."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from la_agents.errors import ConfigurationError
from la_agents.prompts.call_format import CallFormat
from la_agents.requests import Grammar
from la_agents.requests.grammar import json_rule, quoted
from la_agents.structure.structured_output import ResponseFormat
from la_agents.structure.tool_calling import ToolBox

__all__ = ["STRUCTURE_ARGUMENTS", "Structure"]

STRUCTURE_ARGUMENTS = frozenset({"align_structured", "parallel_tool_calls", "response_format", "tool_choice", "tools"})


@dataclass(frozen=True)
class Structure:
    """What an answer may hold besides free text.

    Attributes:
        box: The tools that may be called.
        format: What the answer looks like where it is no call.
        aligned: Whether alignment shapes calls and formats, too.
    """

    box: ToolBox | None
    format: ResponseFormat | None
    aligned: bool

    @classmethod
    def of(cls, arguments: Mapping[str, Any], *, aligned: bool) -> Structure:
        """From the arguments of a call.

        Raises:
            ConfigurationError: one of them cannot be used, or they contradict each other.
        """
        box = ToolBox.of(arguments.get("tools"), arguments.get("tool_choice"), arguments.get("parallel_tool_calls"))
        format_ = ResponseFormat.of(arguments.get("response_format"))
        if box is not None and format_ is not None and format_.schema is None:
            msg = "Expected a response_format of JSON beside tools, got another; leave one of them out."
            raise ConfigurationError(msg)
        chosen = arguments.get("align_structured")
        return cls(box, format_, aligned if chosen is None else bool(chosen))

    @property
    def whole(self) -> bool:
        """Whether no part of the answer is free text."""
        return self.format is not None or (self.box is not None and self.box.choice != "auto")

    @property
    def alignment_scope(self) -> str:
        """What of the answer alignment shapes: "answer", "text" (all but calls) or "nothing"."""
        if self.aligned or (self.box is None and self.format is None):
            return "answer"
        return "nothing" if self.whole else "text"

    @property
    def tools(self) -> list[Mapping[str, Any]]:
        return [] if self.box is None else list(self.box.tools)

    @property
    def instructions(self) -> str:
        return "" if self.format is None else self.format.instructions

    def grammar(self, format_: CallFormat, added_tokens: Mapping[str, int]) -> Grammar | None:
        """The grammar of the answer, for a model that writes calls so.

        Args:
            added_tokens: The tokenizer's tokens that are not spelled out, by their text.
        """
        if self.box is None:
            return None if self.format is None else replace(self.format.grammar, aligned=self.aligned)

        def literal(text: str) -> str:
            return _literal(text, added_tokens)

        rules = [self.box.rules(format_, literal)]
        if self.whole:
            start = f"{literal(format_.opening)} calls"
            if self.format is not None and self.box.choice == "auto":
                assert self.format.schema is not None
                rules.append(f"answer: {json_rule(self.format.schema)}")
                start += " | answer"
            return Grammar.lark("\n".join([f"start: {start}", *rules]), what="set of tools", aligned=self.aligned)
        rules += [*_heads(format_.trigger, added_tokens), "TEXT: /(.|\\n)*/"]
        start = f"start: TEXT | head {literal(format_.after_trigger)} calls"
        return Grammar.lark(
            "\n".join([start, *rules]), what="set of tools", trigger=format_.trigger, aligned=self.aligned
        )


def _heads(trigger: str, added_tokens: Mapping[str, int]) -> list[str]:
    """Free text up to the trigger, be it one token or spelled out."""
    spelled = f"head_text[lazy]: TEXT {quoted(trigger)}"
    if trigger not in added_tokens:
        return ["head: head_text", spelled]
    return ["head: head_text | head_token", spelled, f"head_token: TEXT <[{added_tokens[trigger]}]>"]


def _literal(text: str, added_tokens: Mapping[str, int]) -> str:
    """A text in lark, each added token in it by its id; "" is nothing."""
    if not added_tokens:
        return quoted(text) if text else ""
    pattern = "|".join(re.escape(token) for token in sorted(added_tokens, key=len, reverse=True))
    parts = [part for part in re.split(f"({pattern})", text) if part]
    return " ".join(f"<[{added_tokens[part]}]>" if part in added_tokens else quoted(part) for part in parts)
