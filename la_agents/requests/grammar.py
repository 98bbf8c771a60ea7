"""Grammar: what the text of an answer must look like; a plain description that any engine can compile.

Nothing here depends on a model. `engine/constraint.py` turns a grammar into the tokens allowed next; llguidance parses.
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from la_agents.errors import ConfigurationError

__all__ = ["Grammar"]

JSON_STYLE = {"whitespace_flexible": False, "item_separator": ", ", "key_separator": ": "}
"""One spelling, `json.dumps`'s own: a model cannot lose itself in white space, and the tokens of keys are forced."""

_QUOTED_LINE = re.compile(r"\d+ \||\^")


@dataclass(frozen=True, slots=True)
class Grammar:
    """A language of texts, in llguidance's notation.

    Attributes:
        source: Lark with llguidance's extensions, or its JSON form.
        trigger: The text at which the structured part begins; None: the whole answer is structured.
        aligned: Whether alignment shapes the structured part too. What comes before `trigger` is always aligned.
    """

    source: str
    trigger: str | None = None
    aligned: bool = False

    @classmethod
    def json_schema(cls, schema: Mapping[str, Any], *, aligned: bool = False) -> Grammar:
        """JSON that validates against a schema, spelled as `json.dumps` does.

        Raises:
            ConfigurationError: the schema is invalid, cannot be satisfied, or uses a keyword that is not supported.
        """
        return cls.lark(f"start: {json_rule(schema)}", what="JSON schema", aligned=aligned)

    @classmethod
    def regex(cls, pattern: str, *, aligned: bool = False) -> Grammar:
        """Texts that match a regular expression as a whole (Rust's syntax: no look-around, no back-references).

        Raises:
            ConfigurationError: it is not one.
        """
        from llguidance import LLMatcher

        return cls(LLMatcher.grammar_from_regex(pattern), aligned=aligned).checked("regular expression")

    @classmethod
    def choice(cls, choices: Sequence[str], *, aligned: bool = False) -> Grammar:
        """One of these texts.

        Raises:
            ConfigurationError: there is none, or one is blank.
        """
        if isinstance(choices, str) or not choices or not all(isinstance(c, str) and c for c in choices):
            msg = f"Expected choices to be a list of non-empty strings, got {choices!r}."
            raise ConfigurationError(msg)
        return cls.lark("start: " + " | ".join(map(quoted, choices)), what="list of choices", aligned=aligned)

    @classmethod
    def lark(
        cls, source: str, *, what: str = "lark grammar", trigger: str | None = None, aligned: bool = False
    ) -> Grammar:
        """A context-free grammar; its start symbol is `start`.

        Raises:
            ConfigurationError: it is not one.
        """
        return cls(f"%llguidance {{}}\n{source}", trigger, aligned).checked(what)

    def checked(self, what: str) -> Grammar:
        """The grammar itself, if llguidance can use it.

        Raises:
            ConfigurationError: it cannot; the message says why.
        """
        problem = _problem(self.source)
        if problem:
            msg = f"Expected a {what} that can be decoded with, got one that cannot: {first_lines(problem)}."
            raise ConfigurationError(msg)
        return self


@functools.lru_cache(maxsize=256)  # every call of a bound model checks the same ones
def _problem(source: str) -> str:
    from llguidance import LLMatcher

    failed, messages = LLMatcher.validate_grammar_with_warnings(source, None)
    return messages[0] if failed else ""


def json_problem(schema: Mapping[str, Any]) -> str:
    """Why a schema cannot be decoded with; "" if it can."""
    return _problem(f"%llguidance {{}}\nstart: {json_rule(schema)}")


def json_rule(schema: Mapping[str, Any]) -> str:
    """A schema as the right side of a lark rule."""
    try:
        return "%json " + json.dumps({**schema, "x-guidance": JSON_STYLE})
    except (TypeError, ValueError) as error:
        msg = f"Expected a JSON schema, got a value that is not JSON: {error}."
        raise ConfigurationError(msg) from error


def quoted(text: str) -> str:
    """A text as a lark literal."""
    return json.dumps(text, ensure_ascii=False)


def first_lines(message: str, limit: int = 300) -> str:
    """A parser's message in one line, without the source that it repeats."""
    lines = [line.strip() for line in message.splitlines()]
    said = [line for line in lines if line and not _QUOTED_LINE.match(line)]
    return " ".join(said)[:limit].rstrip(".")
