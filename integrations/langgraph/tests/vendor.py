"""A stand-in for a vendor's chat model: no aligned decoding, tools by name, answers that show what it was given."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from langchain_core.callbacks import CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage, ToolMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from langchain_core.runnables import Runnable

__all__ = ["VendorModel"]


class VendorModel(BaseChatModel):
    """Calls the tool that the last human message orders ("call NAME: TEXT"), and else recites what it was given."""

    @property
    def _llm_type(self) -> str:
        return "vendor"

    def bind_tools(self, tools: Sequence[Any], **kwargs: Any) -> Runnable[Any, AIMessage]:
        return self.bind(tool_names=[tool.name for tool in tools])

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        return ChatResult(generations=[ChatGeneration(message=self._answer(messages))])

    def _answer(self, messages: list[BaseMessage]) -> AIMessage:
        last = messages[-1]
        if isinstance(last, ToolMessage):
            return AIMessage(f"Tool said ({last.status}): {last.text}")
        if order := re.match(r"call (\w+)(?:: (.*))?$", str(last.text), re.DOTALL):
            name, text = order.groups()
            args = {"text": text} if name == "remember_preference" else {"query": text or ""}
            return AIMessage("", tool_calls=[{"name": name, "args": args, "id": "1"}])
        system = "".join(str(message.text) for message in messages if message.type == "system")
        return AIMessage(f"<{system}> {last.text}")
