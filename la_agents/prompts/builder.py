"""Messages and principles -> the reference prompt and the principle prompts.

The prompts differ by the principle alone: same turns, same system text. Where the caller gives no system
text, the template's own default, or a neutral one, stands in all of them, and the principle comes after it.

A conversation that ends with an AIMessage is continued: the answer goes on from its text.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import takewhile
from statistics import fmean
from typing import TYPE_CHECKING, Any, Literal, get_args

from la_agents.errors import ConfigurationError, PromptError
from la_agents.models.turn_end import turn_end
from la_agents.principles import Principle
from la_agents.prompts.call_format import HERMES, CallFormat
from la_agents.prompts.chat_template import FALLBACK_LABELS, ChatTemplate
from la_agents.prompts.tokenization import DataGuard, check_text
from la_agents.prompts.turns import Turn, split_thought, to_turns, with_name

if TYPE_CHECKING:
    from langchain_core.messages import BaseMessage
    from transformers import PreTrainedTokenizerBase

__all__ = ["DEFAULT_PLACEMENT", "Compose", "Placement", "Prompt", "PromptBuilder", "Prompts", "Wording"]

Placement = Literal["system", "user", "both"]
DEFAULT_PLACEMENT: Placement = "both"
Compose = Literal["joint", "sum"]


@dataclass(frozen=True)
class Prompt:
    """A prompt exactly as the model sees it, as text and as token ids."""

    text: str
    token_ids: tuple[int, ...] = field(repr=False)


@dataclass(frozen=True)
class Prompts:
    """The branches of one request.

    Attributes:
        reference: The prompt without principles: f_0.
        branches: The prompts with principles: f_1..f_k; empty if there is nothing to align with.
        branch_principles: For each branch, the positions of its principles in the list that was given.
        weights: For each branch its w_i.
    """

    reference: Prompt
    branches: tuple[Prompt, ...] = ()
    branch_principles: tuple[tuple[int, ...], ...] = ()
    weights: tuple[float, ...] = ()


@dataclass(frozen=True)
class Wording:
    """How principles are put to the model. `{principle}` and `{principles}` are replaced, other braces stay.

    The default is the principle itself: in a first, small trial the bundled model followed it more often so than behind
    a lead-in such as "Please adhere to the following principles.". Other models may profit from one.

    Attributes:
        one: The text for a single principle.
        many: The text for several; `{principles}` becomes one `item` a line.
        item: A line of that list.
        neutral_system: The system text where neither the caller nor the template has one.
    """

    one: str = "{principle}"
    many: str = "{principles}"
    item: str = "{principle}"
    neutral_system: str = "You are a helpful assistant."

    def __post_init__(self) -> None:
        for name, placeholder in (("one", "{principle}"), ("many", "{principles}"), ("item", "{principle}")):
            text = getattr(self, name)
            if not isinstance(text, str) or placeholder not in text:
                msg = f"Expected the wording {name!r} to contain {placeholder}, got {text!r}."
                raise ConfigurationError(msg)
            check_text(text, f"the wording {name!r}", ConfigurationError)
        if not isinstance(self.neutral_system, str) or not self.neutral_system.strip():
            msg = "Expected a neutral_system text, got a blank one; it stands in the prompts of all branches."
            raise ConfigurationError(msg)
        check_text(self.neutral_system, "neutral_system", ConfigurationError)

    def of(self, texts: Sequence[str]) -> str:
        """The words for these principles, at least one."""
        if len(texts) == 1:
            return self.one.replace("{principle}", texts[0])
        lines = "\n".join(self.item.replace("{principle}", text) for text in texts)
        return self.many.replace("{principles}", lines)


@dataclass(frozen=True)
class _Conversation:
    """What all branches share: the system text, the turns after it, the answer's beginning, if given, and tools."""

    system: str
    turns: tuple[Turn, ...]
    answer: str = ""
    tools: tuple[Mapping[str, Any], ...] = ()


class PromptBuilder:
    """Builds the prompts for one tokenizer; keeps nothing between calls, may be used from several threads.

    Args:
        tokenizer: Its chat template is used; without one, the plain format of `chat_template.FALLBACK`.
        placement: "system" puts principles at the end of the system text, "user" at the end of the last human
            turn (or of the system text, if there is no human turn), "both" at both places.
        wording: The words around principles.
        variables: Variables of the chat template.

    Attributes:
        stop: Strings at which an answer should end because the format has no special token for it.
    """

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerBase,
        *,
        placement: Placement = DEFAULT_PLACEMENT,
        wording: Wording | None = None,
        variables: Mapping[str, Any] | None = None,
    ) -> None:
        _check("placement", placement, get_args(Placement))
        self._placement = placement
        self._wording = wording or Wording()
        self._template = ChatTemplate(tokenizer, variables)
        labels = FALLBACK_LABELS if self._template.is_fallback else ()
        # What calls are written in is marked up too, whether or not the template knows it.
        self._guard = DataGuard(tokenizer, self._template.source + HERMES.opening + HERMES.closing, labels)
        ends = [f"\n{label}" for label in labels if label != "Assistant:"] or [turn_end(tokenizer).text]
        self.stop = tuple(end for end in ends if end)

    def placed(self, placement: Placement) -> PromptBuilder:
        """The same builder with principles at another place."""
        _check("placement", placement, get_args(Placement))
        other = copy.copy(self)
        other._placement = placement
        other.__dict__.pop("frame", None)
        return other

    def build(
        self,
        messages: Sequence[BaseMessage],
        principles: Sequence[Principle] = (),
        compose: Compose = "joint",
        *,
        tools: Sequence[Mapping[str, Any]] = (),
        instructions: str = "",
    ) -> Prompts:
        """The prompts for an answer to `messages`.

        Principles of weight 0 are left out. "joint" puts the others in one branch, weighted with their mean
        weight; "sum" gives each a branch and its own weight. `tools` in OpenAI's form are told to the model in its
        template's words, or in `call_format`'s; `instructions` come after the system text, in every branch.

        Raises:
            PromptError: no messages, content that is not text, or a conversation the template refuses.
        """
        conversation = replace(self._conversation(to_turns(messages), instructions), tools=tuple(tools))
        return _compose(principles, compose, lambda texts: self._chat_prompt(conversation, texts))

    def build_text(
        self,
        text: str,
        principles: Sequence[Principle] = (),
        compose: Compose = "joint",
        *,
        raw: bool | None = None,
    ) -> Prompts:
        """The prompts for a plain text: as one human turn, or (`raw`) as text to be continued as it stands.

        `raw=None` is raw for a tokenizer without a chat template (a base model), one human turn otherwise. In
        a raw prompt the principles stand in front of the text, whatever the placement.

        Raises:
            PromptError: the text is blank.
        """
        if not text.strip():
            msg = "Expected some text to answer or to continue, got a blank one."
            raise PromptError(msg)
        if raw is None:
            raw = self._template.is_fallback
        if raw:
            return _compose(principles, compose, lambda texts: self._raw_prompt(text, texts))
        conversation = self._conversation([{"role": "user", "content": text}])
        return _compose(principles, compose, lambda texts: self._chat_prompt(conversation, texts))

    @cached_property
    def frame(self) -> tuple[int, ...]:
        """The tokens that a human text without a system text is preceded by, whatever it says."""
        rows = [self._chat_prompt(self._conversation([{"role": "user", "content": text}]), ()) for text in ("a", "1")]
        first, second = (row.token_ids for row in rows)
        return tuple(token for token, _ in takewhile(lambda pair: pair[0] == pair[1], zip(first, second, strict=False)))

    @property
    def call_format(self) -> CallFormat:
        """How this model writes tool calls."""
        return self._template.call_format

    def _conversation(self, turns: list[Turn], instructions: str = "") -> _Conversation:
        """Take the leading system text and the beginning of the answer off `turns`."""
        shown = self._template.takes_names
        turns = [turn if shown and turn["role"] != "system" else with_name(turn) for turn in turns]
        first = next((index for index, turn in enumerate(turns) if turn["role"] != "system"), len(turns))
        system = "\n\n".join(turn["content"] for turn in turns[:first] if turn["content"].strip())
        rest = turns[first:]
        answer = ""
        if rest and rest[-1]["role"] == "assistant":
            answer = _beginning(rest.pop())
        if self._template.knows_thoughts:
            rest = [split_thought(turn) for turn in rest]
        if not rest and not system:
            msg = "Expected a human or system message to answer, got only AI messages; add a HumanMessage."
            raise PromptError(msg)
        if not system and self._placement != "user":
            system = self._template.default_system or self._wording.neutral_system
        if instructions:
            system = _join(system, instructions)
        return _Conversation(system, tuple(rest), answer)

    def _chat_prompt(self, conversation: _Conversation, texts: Sequence[str]) -> Prompt:
        """The prompt with the principles `texts`, none for the reference."""
        turns = self._place(conversation, self._wording.of(texts)) if texts else _turns(conversation)
        (turns, answer, tools), breaker = self._guard.protect([turns, conversation.answer, conversation.tools])
        return self._encode(self._template.render(turns, answer, tools), breaker)

    def _place(self, conversation: _Conversation, words: str) -> list[Turn]:
        last = max((index for index, turn in enumerate(conversation.turns) if turn["role"] == "user"), default=-1)
        if self._placement != "user" or last < 0:
            conversation = replace(conversation, system=_join(conversation.system, words))
        if self._placement != "system" and last >= 0:
            turns = list(conversation.turns)
            turns[last] = {**turns[last], "content": _join(turns[last]["content"], words)}
            conversation = replace(conversation, turns=tuple(turns))
        return _turns(conversation)

    def _raw_prompt(self, text: str, texts: Sequence[str]) -> Prompt:
        content, breaker = self._guard.protect(_join(self._wording.of(texts), text) if texts else text)
        return self._encode(self._template.bos + content, breaker)

    def _encode(self, marked: str, breaker: str) -> Prompt:
        text = marked.replace(breaker, "") if breaker else marked
        return Prompt(text, tuple(self._guard.encode(marked, breaker)))


def _compose(principles: Sequence[Principle], compose: Compose, build: Callable[[Sequence[str]], Prompt]) -> Prompts:
    """The reference and one branch for each group of principles."""
    _check("compose", compose, get_args(Compose))
    active = [index for index, principle in enumerate(principles) if principle.weight > 0]
    groups = [tuple(active)] if compose == "joint" and active else [(index,) for index in active]
    return Prompts(
        reference=build(()),
        branches=tuple(build([principles[index].text.strip() for index in group]) for group in groups),
        branch_principles=tuple(groups),
        weights=tuple(fmean(principles[index].weight for index in group) for group in groups),
    )


def _turns(conversation: _Conversation) -> list[Turn]:
    system = [{"role": "system", "content": conversation.system}] if conversation.system else []
    return [*system, *conversation.turns]


def _beginning(turn: Turn) -> str:
    if turn.get("tool_calls"):
        names = ", ".join(call["function"]["name"] for call in turn["tool_calls"])
        msg = f"Expected the results of the tool calls ({names}) after the last AIMessage; add ToolMessages."
        raise PromptError(msg)
    text: str = turn["content"]
    return text


def _join(first: str, second: str) -> str:
    return f"{first}\n\n{second}" if first.strip() else second


def _check(name: str, value: str, choices: Sequence[str]) -> None:
    if value not in choices:
        msg = f"Expected {name} to be one of {', '.join(map(repr, choices))}, got {value!r}."
        raise ConfigurationError(msg)
