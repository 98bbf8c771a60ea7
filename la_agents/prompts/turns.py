"""LangChain messages as plain turns: dicts with `role` and `content`, the shape chat templates read.

Knows LangChain and no template: what a template cannot take is changed in `chat_template`, not here.
Nothing is lost silently; content that a text model cannot read raises.

| message                     | turn                                                                        |
|-----------------------------|-----------------------------------------------------------------------------|
| SystemMessage               | system                                                                      |
| HumanMessage                | user                                                                        |
| AIMessage                   | assistant, with `tool_calls` and `reasoning_content` if it has any           |
| ToolMessage, FunctionMessage| tool, with the name of the function that answered                           |
| ChatMessage                 | by its role: system, developer, user, human, assistant, ai, tool, function  |

A message's `name` is kept in the turn. `with_name` writes it in front of the text for templates that do not show it;
an assistant's stays out of the text, for the model would go on writing it in front of its answers.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from langchain_core.messages import (
    AIMessage,
    BaseMessage,
    ChatMessage,
    FunctionMessage,
    HumanMessage,
    SystemMessage,
    ToolMessage,
)

from la_agents.errors import PromptError

__all__ = ["Turn", "is_blank", "split_thought", "to_turns", "with_name"]

Turn = dict[str, Any]

_ROLES = {"developer": "system", "human": "user", "ai": "assistant", "function": "tool"}
_TEXT_BLOCKS = ("text", "text-plain", "input_text", "output_text")
_OWN_BLOCKS = ("reasoning", "thinking", "redacted_thinking", "tool_call", "tool_use", "function_call")


def to_turns(messages: Sequence[BaseMessage]) -> list[Turn]:
    """Convert `messages`, in order; tool calls and their results get the same short ids.

    Raises:
        PromptError: no messages, none with any text, a message of another kind, or content that is not text.
    """
    if not messages:
        msg = "Expected at least one message, got an empty list; pass the user's question as a HumanMessage."
        raise PromptError(msg)
    names: dict[str, tuple[str, str]] = {}
    turns = [_to_turn(message, names) for message in messages]
    if all(is_blank(turn) for turn in turns):
        msg = "Expected a message with some text, got blank ones; pass the user's question as a HumanMessage."
        raise PromptError(msg)
    return turns


def is_blank(turn: Turn) -> bool:
    return not turn["content"].strip() and not turn.get("tool_calls")


def with_name(turn: Turn) -> Turn:
    """The turn with its speaker's name in front of the text; an assistant's name is left out."""
    if turn["role"] == "tool" or "name" not in turn:
        return turn
    named = {key: value for key, value in turn.items() if key != "name"}
    if turn["role"] == "assistant" or is_blank(turn):
        return named
    return {**named, "content": f"{turn['name']}: {turn['content']}"}


def split_thought(turn: Turn) -> Turn:
    """Move what an assistant wrote up to `</think>` into `reasoning_content`, where templates look for it."""
    if turn["role"] != "assistant" or "</think>" not in turn["content"]:
        return turn
    thought, _, content = turn["content"].rpartition("</think>")
    return {**turn, "reasoning_content": thought.split("<think>")[-1].strip("\n"), "content": content.lstrip("\n")}


def _to_turn(message: BaseMessage, names: dict[str, tuple[str, str]]) -> Turn:
    """One turn. `names` maps a call's id to its function and short id; calls add to it, results read it."""
    role = _role(message)
    turn: Turn = {"role": role, "content": _text(message, role)}
    if message.name and message.name.strip() and role != "tool":
        turn["name"] = " ".join(message.name.split())
    if isinstance(message, AIMessage):
        if thought := _thought(message):
            turn["reasoning_content"] = thought
        if message.tool_calls:
            turn["tool_calls"] = [_call(call, names) for call in message.tool_calls]
        for broken in message.invalid_tool_calls:
            turn["content"] += f"\nTool call: {broken['name']}({broken['args']})"
    elif role == "tool":
        call_id = getattr(message, "tool_call_id", None) or ""
        name, short_id = names.get(call_id, ("tool", _short_id(len(names))))
        turn |= {"name": message.name or name, "tool_call_id": short_id}
    return turn


def _role(message: BaseMessage) -> str:
    if isinstance(message, ChatMessage):
        role = _ROLES.get(message.role.lower(), message.role.lower())
        if role in ("system", "user", "assistant", "tool"):
            return role
        msg = f"Expected a ChatMessage with the role user, assistant, system or tool, got {message.role!r}."
        raise PromptError(msg)
    if isinstance(message, (ToolMessage, FunctionMessage)):
        return "tool"
    for kind, role in ((HumanMessage, "user"), (AIMessage, "assistant"), (SystemMessage, "system")):
        if isinstance(message, kind):
            return role
    msg = f"Expected human, AI, system or tool messages, got a {type(message).__name__}; convert or drop it."
    raise PromptError(msg)


def _call(call: Any, names: dict[str, tuple[str, str]]) -> dict[str, Any]:
    """A tool call as templates expect it; ids get nine letters and digits: some templates insist."""
    short_id = _short_id(len(names))
    names[call["id"] or short_id] = (call["name"], short_id)
    return {"id": short_id, "type": "function", "function": {"name": call["name"], "arguments": call["args"]}}


def _short_id(index: int) -> str:
    return f"call{index:05d}"


def _text(message: BaseMessage, role: str) -> str:
    if isinstance(message.content, str):
        return message.content
    return "".join(_block_texts(message.content, role))


def _block_texts(blocks: Iterable[str | dict[str, Any]], role: str) -> Iterable[str]:
    """Text blocks as they are, without an assistant's own reasoning and call blocks; anything else raises."""
    for block in blocks:
        if isinstance(block, str):
            yield block
            continue
        kind = block.get("type", "text" if "text" in block else "unknown")
        if kind in _TEXT_BLOCKS and isinstance(block.get("text"), str):
            yield block["text"]
        elif not (role == "assistant" and kind in _OWN_BLOCKS):
            msg = (
                f"Expected text content, got a block of type {kind!r} in a {role} message; "
                "this model reads text only: describe the content in words, or leave the block out."
            )
            raise PromptError(msg)


def _thought(message: AIMessage) -> str:
    blocks = message.content if isinstance(message.content, list) else []
    thoughts = (block.get("reasoning") or block.get("thinking") for block in blocks if isinstance(block, dict))
    return "".join(thought for thought in thoughts if isinstance(thought, str))
