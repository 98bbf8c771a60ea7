"""A tokenizer's chat template: which features it supports, found by probing, and rendering within them.

Templates differ without saying so: some refuse a system role, some drop it in silence, some insist on turns
that alternate, few know tools. Each ability is probed once, by rendering a short conversation; `render`
then changes a conversation into one the template takes: a refused system text goes in front of the first
human turn, neighbours of one role are merged, tool calls and results become plain text. A tokenizer without
a template gets `FALLBACK`:

    System: {system text}

    User: {text}
    Assistant: {text}

    User: {text}
    Assistant:
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from la_agents.errors import ConfigurationError, PromptError
from la_agents.models.turn_end import template_errors
from la_agents.prompts.call_format import HERMES, CallFormat, instructions, read_format
from la_agents.prompts.turns import Turn

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

__all__ = ["FALLBACK", "FALLBACK_LABELS", "ChatTemplate"]

FALLBACK = (
    "{{ bos }}{% for message in messages %}"
    "{% if message.role == 'system' %}{{ 'System: ' + message.content + '\n\n' }}"
    "{% elif message.role == 'user' %}{{ 'User: ' + message.content + '\n' }}"
    "{% elif message.role == 'assistant' %}{{ 'Assistant: ' + message.content + '\n\n' }}"
    "{% else %}{{ raise_exception('only system, user and assistant turns') }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}Assistant:{% endif %}"
)
FALLBACK_LABELS = ("System:", "User:", "Assistant:")
OPENING = "Hello."  # the user's, where the assistant opens the conversation and the template forbids that

_GENERATION_TAG = re.compile(r"\{%[-+]?\s*(?:end)?generation\s*[-+]?%\}")

_SYSTEM: Turn = {"role": "system", "content": "Qsystemq"}
_USER: Turn = {"role": "user", "content": "Quserq"}
_ASSISTANT: Turn = {"role": "assistant", "content": "Qassistantq"}
_FUNCTION = {"name": "qcallq", "arguments": {"city": "Qargumentq"}}
_CALL: Turn = {
    "role": "assistant",
    "content": "",
    "tool_calls": [{"id": "call00000", "type": "function", "function": _FUNCTION}],
}
_TOOL = {
    "name": "qtoolq",
    "description": "Qdescriptionq",
    "parameters": {"type": "object", "properties": {"qpropertyq": {"type": "string"}}, "required": ["qpropertyq"]},
}
_RESULT: Turn = {"role": "tool", "name": "qcallq", "tool_call_id": "call00000", "content": "Qresultq"}


class ChatTemplate:
    """The template of one tokenizer, and its abilities.

    Attributes:
        source: All its text, named variants included.
        bos: The beginning-of-sequence token as text, if the tokenizer puts one before plain text, else "".
        is_fallback: Whether the tokenizer has none and `FALLBACK` stands in.
        takes_system: A leading system turn reaches the prompt.
        takes_later_system: So does one between other turns.
        knows_thoughts: It does something about `</think>` in an assistant's text.
        takes_tools: Tool calls and tool results reach the prompt.
        offers_tools: So do the tools that may be called, and `call_format` was read off the template.
        call_format: How calls are written; `HERMES` where the template does not show it.
        alternates: It insists on user, assistant, user, ...
        default_system: The system text it puts in by itself when it is given none, or "".
        takes_names: The name of who speaks in a human turn reaches the prompt.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, variables: Mapping[str, Any] | None = None) -> None:
        self._tokenizer = tokenizer
        template = tokenizer.chat_template
        self.is_fallback = not template
        self.bos = _leading_bos(tokenizer)
        self._options: dict[str, Any] = {"chat_template": FALLBACK, "bos": self.bos} if self.is_fallback else {}
        sources = template.values() if isinstance(template, dict) else [template or FALLBACK]
        self.source = "\n".join(sources)
        self._options |= self._known(variables or {})
        self.knows_thoughts = "</think>" in self.source
        self.takes_system = self._shows([_SYSTEM, _USER], "Qsystemq", "Quserq")
        later = [_USER, _ASSISTANT, _SYSTEM, _USER]
        self.takes_later_system = self.takes_system and self._shows(later, "Qsystemq", "Quserq")
        called = [_USER, _CALL, _RESULT, _ASSISTANT, _USER]
        self.takes_tools = self._shows(called, "qcallq", "Qargumentq", "Qresultq")
        native = self._find_call_format() if self.takes_tools else None
        self.offers_tools = native is not None
        self.call_format = native or HERMES
        self.alternates = not (self._shows([_USER, _USER], "Quserq") and self._shows([_ASSISTANT, _USER], "Quserq"))
        self.default_system = self._find_default_system() if self.takes_system else ""
        named = {**_USER, "name": "qnameq"}
        self.takes_names = not self.alternates and self._shows([named], "qnameq", "Quserq")

    def render(self, turns: list[Turn], answer: str = "", tools: Sequence[Mapping[str, Any]] = ()) -> str:
        """The prompt for an answer to `turns`, any list that `to_turns` gives, and that answer's beginning.

        Args:
            tools: What may be called, in OpenAI's form; in the template's own words, or in those of `call_format`.

        Raises:
            PromptError: the template refuses them even in the plainest form; the message is its own.
        """
        native = [dict(tool) for tool in tools] if self.offers_tools else None
        instructed = turns if native is not None or not tools else _tell(turns, instructions(tools))
        attempts = [
            self._fit(instructed, native_tools=is_native) for is_native in (native is not None or not tools, False)
        ]
        for attempt in attempts[:1] if attempts[0] == attempts[1] else attempts:
            try:
                return self._apply(attempt, native) + self._begun(answer)
            except template_errors() as error:
                refusal: Exception = error
        msg = f"Expected messages that the model's chat template accepts, it says: {refusal}"
        raise PromptError(msg) from refusal

    def _known(self, variables: Mapping[str, Any]) -> Mapping[str, Any]:
        """`variables`, if the template reads them all; what it would pass over in silence is refused."""
        own = {"messages", *inspect.signature(self._tokenizer.apply_chat_template).parameters}
        read = _variables(self._tokenizer.chat_template) if variables else set()
        for name in variables:
            if name in own:
                msg = f"Expected template_variables of the template's own, got {name!r}, which is set by the call."
                raise ConfigurationError(msg)
            if self.is_fallback or name not in read:
                msg = f"Expected template_variables that the model's chat template reads, it has none named {name!r}."
                raise ConfigurationError(msg)
        return variables

    def _begun(self, answer: str) -> str:
        """`answer` as it follows the generation prompt; the fallback has a space after its label."""
        return f" {answer}" if answer and self.is_fallback and not answer[0].isspace() else answer

    def _apply(self, turns: list[Turn], tools: list[dict[str, Any]] | None = None) -> str:
        options = {**self._options, "tokenize": False, "add_generation_prompt": True}
        if tools:
            options["tools"] = tools
        return str(self._tokenizer.apply_chat_template(turns, **options))

    def _shows(self, turns: list[Turn], *expected: str) -> bool:
        try:
            rendered = self._apply(turns)
        except template_errors():
            return False
        return all(text in rendered for text in expected)

    def _find_call_format(self) -> CallFormat | None:
        try:
            offered = self._apply([_USER], [{"type": "function", "function": _TOOL}])
            if not all(text in offered for text in ("qtoolq", "Qdescriptionq", "qpropertyq", "Quserq")):
                return None
            ends = [str(token.content) for token in self._tokenizer.added_tokens_decoder.values()]
            return read_format(self._apply, _USER, _ASSISTANT, ends)
        except template_errors():
            return None

    def _find_default_system(self) -> str:
        """What stands where a given system text would, when none is given; checked by giving just that."""
        try:
            given, default = self._apply([_SYSTEM, _USER]), self._apply([_USER])
        except template_errors():
            return ""
        before, _, after = given.partition(_SYSTEM["content"])
        if len(default) < len(before) + len(after) or not (default.startswith(before) and default.endswith(after)):
            return ""
        text = default[len(before) : len(default) - len(after)]
        same = bool(text.strip()) and self._apply([{**_SYSTEM, "content": text}, _USER]) == default
        return text if same else ""

    def _fit(self, turns: list[Turn], *, native_tools: bool) -> list[Turn]:
        """`turns` without what this template cannot take."""
        fitted = list(turns) if native_tools and self.takes_tools else [self._without_tools(turn) for turn in turns]
        if not self.takes_system:
            fitted = _fold_system(fitted)
        if not self.takes_later_system:
            fitted = fitted[:1] + [_as_user(turn) for turn in fitted[1:]]
        return _alternating(fitted) if self.alternates else fitted

    def _without_tools(self, turn: Turn) -> Turn:
        if turn["role"] == "tool":
            return {"role": "user", "content": f"Result of the tool {turn['name']}:\n{turn['content']}"}
        kept = {key: value for key, value in turn.items() if key != "tool_calls"}  # some templates ask if it is there
        calls = turn.get("tool_calls")
        texts = [turn["content"], self.call_format.write(calls) if calls else ""]
        return {**kept, "content": "\n".join(text for text in texts if text)}


def _tell(turns: list[Turn], text: str) -> list[Turn]:
    """Put a text at the end of the system text."""
    if turns and turns[0]["role"] == "system":
        return [{**turns[0], "content": f"{turns[0]['content']}\n\n{text}"}, *turns[1:]]
    return [{"role": "system", "content": text}, *turns]


def _variables(template: str | dict[str, str] | None) -> set[str]:
    """What a template reads without having set it: words of its text, its roles and fields are none of it."""
    from jinja2 import Environment, TemplateError, meta

    environment = Environment(extensions=["jinja2.ext.loopcontrols"])  # for parsing alone
    found: set[str] = set()
    for source in template.values() if isinstance(template, dict) else [template or ""]:
        try:
            # Transformers' own tags, which mark what the assistant wrote.
            found |= meta.find_undeclared_variables(environment.parse(_GENERATION_TAG.sub("", source)))
        except TemplateError:  # rendering will say so
            continue
    return found - {"raise_exception", "strftime_now"}


def _leading_bos(tokenizer: PreTrainedTokenizerBase) -> str:
    """The beginning-of-sequence token as text, if the tokenizer puts it before plain text."""
    ids = tokenizer("").input_ids
    return str(tokenizer.bos_token) if ids and ids[0] == tokenizer.bos_token_id else ""


def _fold_system(turns: list[Turn]) -> list[Turn]:
    """Put a leading system text in front of the first human turn's own text."""
    if not turns or turns[0]["role"] != "system":
        return turns
    system, *rest = turns
    if rest and rest[0]["role"] == "user":
        return [_merge(_as_user(system), rest[0]), *rest[1:]]
    return [_as_user(system), *rest]


def _as_user(turn: Turn) -> Turn:
    return {**turn, "role": "user"} if turn["role"] == "system" else turn


def _alternating(turns: list[Turn]) -> list[Turn]:
    """Merge neighbours of one role, and open with the user (a leading system turn stays in front)."""
    merged: list[Turn] = []
    for turn in turns:
        if merged and merged[-1]["role"] == turn["role"] and turn["role"] != "tool":
            merged[-1] = _merge(merged[-1], turn)
        else:
            merged.append(turn)
    opening = 1 if merged and merged[0]["role"] == "system" else 0
    if len(merged) > opening and merged[opening]["role"] == "assistant":
        merged.insert(opening, {"role": "user", "content": OPENING})
    return merged


def _merge(first: Turn, second: Turn) -> Turn:
    texts = [turn["content"] for turn in (first, second) if turn["content"]]
    calls = [*first.get("tool_calls", ()), *second.get("tool_calls", ())]
    return {**first, "content": "\n\n".join(texts), **({"tool_calls": calls} if calls else {})}
