"""Messages and principles -> the reference prompt and the principle prompts.

The prompts differ by the principle alone: same turns, same system text. Where the caller gives no system
text, the template's own default, or a neutral one, stands in all of them, and the principle comes after it.

A conversation that ends with an AIMessage is continued: the answer goes on from its text.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import takewhile
from statistics import fmean
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, get_args

from la_agents.errors import ConfigurationError, PromptError
from la_agents.models.turn_end import turn_end
from la_agents.principles import Principle
from la_agents.prompts.call_format import HERMES, CallFormat
from la_agents.prompts.chat_template import FALLBACK_LABELS, ChatTemplate
from la_agents.prompts.tokenization import DataGuard, check_text
from la_agents.prompts.turns import Turn, split_thought, to_turns, with_name
from la_agents.requests.checks import check_choice

if TYPE_CHECKING:
    from langchain_core.messages import BaseMessage
    from transformers import PreTrainedTokenizerBase

__all__ = [
    "DEFAULT_PLACEMENT",
    "TURN",
    "Compose",
    "Placement",
    "Placing",
    "Prompt",
    "PromptBuilder",
    "Prompts",
    "Wording",
]

Placement = Literal["system", "user", "both"]
DEFAULT_PLACEMENT: Placement = "both"
TURN = "{message}\n\n{principles}"
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
        turn: The last human turn where it names principles; `{message}` is what the human wrote, `{principles}` the
            text of `one` or `many`.
        neutral_system: The system text where neither the caller nor the template has one.
    """

    one: str = "{principle}"
    many: str = "{principles}"
    item: str = "{principle}"
    turn: str = TURN
    neutral_system: str = "You are a helpful assistant."

    def __post_init__(self) -> None:
        for name, placeholder in (("one", "{principle}"), ("many", "{principles}"), ("item", "{principle}")):
            _check_template(f"the wording {name!r}", getattr(self, name), placeholder)
        _check_template("the wording 'turn'", self.turn, "{message}", "{principles}")
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


@dataclass(frozen=True, slots=True)
class Placing:
    """Where and how a prompt names a principle.

    Attributes:
        placement: "system", the end of the system text; "user", the last human turn (or the system text, if there is no
            human turn); or "both".
        turn: That human turn, as in `Wording`.
    """

    placement: Placement = DEFAULT_PLACEMENT
    turn: str = TURN

    def __post_init__(self) -> None:
        check_choice("placement", self.placement, get_args(Placement))
        _check_template("turn", self.turn, "{message}", "{principles}")


class _Named(NamedTuple):
    """A principle's text in one branch, and where it goes."""

    text: str
    placing: Placing


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
        placement: Where principles go that no `Placing` is given for.
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
        self._wording = wording or Wording()
        self._placing = Placing(placement, self._wording.turn)
        self._template = ChatTemplate(tokenizer, variables)
        labels = FALLBACK_LABELS if self._template.is_fallback else ()
        # What calls are written in is marked up too, whether or not the template knows it.
        self._guard = DataGuard(tokenizer, self._template.source + HERMES.opening + HERMES.closing, labels)
        ends = [f"\n{label}" for label in labels if label != "Assistant:"] or [turn_end(tokenizer).text]
        self.stop = tuple(end for end in ends if end)

    def build(
        self,
        messages: Sequence[BaseMessage],
        principles: Sequence[Principle] = (),
        compose: Compose = "joint",
        *,
        placings: Sequence[Placing] | None = None,
        tools: Sequence[Mapping[str, Any]] = (),
        instructions: str = "",
    ) -> Prompts:
        """The prompts for an answer to `messages`.

        Principles of weight 0 are left out. "joint" puts the others in one branch, weighted with their mean
        weight; "sum" gives each a branch and its own weight. `placings` has one for each principle. `tools` in OpenAI's
        form are told to the model in its template's words, or in `call_format`'s; `instructions` come after the system
        text, in every branch.

        Raises:
            PromptError: no messages, content that is not text, or a conversation the template refuses.
        """
        named = self._named(principles, placings)
        conversation = replace(self._conversation(to_turns(messages), named, instructions), tools=tuple(tools))
        return _compose(principles, compose, lambda group: self._chat_prompt(conversation, [named[i] for i in group]))

    def build_text(
        self,
        text: str,
        principles: Sequence[Principle] = (),
        compose: Compose = "joint",
        *,
        placings: Sequence[Placing] | None = None,
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
        named = self._named(principles, placings)
        if raw:
            return _compose(principles, compose, lambda group: self._raw_prompt(text, [named[i].text for i in group]))
        conversation = self._conversation([{"role": "user", "content": text}], named)
        return _compose(principles, compose, lambda group: self._chat_prompt(conversation, [named[i] for i in group]))

    @cached_property
    def frame(self) -> tuple[int, ...]:
        """The tokens that a human text without a system text is preceded by, whatever it says."""
        texts = ("a", "1")
        rows = [self._chat_prompt(self._conversation([{"role": "user", "content": text}], ()), ()) for text in texts]
        first, second = (row.token_ids for row in rows)
        return tuple(token for token, _ in takewhile(lambda pair: pair[0] == pair[1], zip(first, second, strict=False)))

    @property
    def call_format(self) -> CallFormat:
        """How this model writes tool calls."""
        return self._template.call_format

    def _named(self, principles: Sequence[Principle], placings: Sequence[Placing] | None) -> list[_Named]:
        found = [self._placing] * len(principles) if placings is None else placings
        return [_Named(principle.text.strip(), placing) for principle, placing in zip(principles, found, strict=True)]

    def _conversation(self, turns: list[Turn], named: Sequence[_Named], instructions: str = "") -> _Conversation:
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
        placements = [one.placing.placement for one in named] or [self._placing.placement]
        if not system and any(placement != "user" for placement in placements):
            system = self._template.default_system or self._wording.neutral_system
        if instructions:
            system = _join(system, instructions)
        return _Conversation(system, tuple(rest), answer)

    def _chat_prompt(self, conversation: _Conversation, named: Sequence[_Named]) -> Prompt:
        """The prompt with these principles, none for the reference."""
        turns = self._place(conversation, named)
        (turns, answer, tools), breaker = self._guard.protect([turns, conversation.answer, conversation.tools])
        return self._encode(self._template.render(turns, answer, tools), breaker)

    def _place(self, conversation: _Conversation, named: Sequence[_Named]) -> list[Turn]:
        turns = list(conversation.turns)
        last = max((index for index, turn in enumerate(turns) if turn["role"] == "user"), default=-1)
        system = conversation.system
        if texts := [one.text for one in named if last < 0 or one.placing.placement != "user"]:
            system = _join(system, self._wording.of(texts))
        for form in dict.fromkeys(one.placing.turn for one in named if one.placing.placement != "system"):
            texts = [one.text for one in named if one.placing.placement != "system" and one.placing.turn == form]
            if last >= 0:
                content = _worded(form, turns[last]["content"], self._wording.of(texts))
                turns[last] = {**turns[last], "content": content}
        return [{"role": "system", "content": system}, *turns] if system else turns

    def _raw_prompt(self, text: str, texts: Sequence[str]) -> Prompt:
        content, breaker = self._guard.protect(_join(self._wording.of(texts), text) if texts else text)
        return self._encode(self._template.bos + content, breaker)

    def _encode(self, marked: str, breaker: str) -> Prompt:
        text = marked.replace(breaker, "") if breaker else marked
        return Prompt(text, tuple(self._guard.encode(marked, breaker)))


def _compose(principles: Sequence[Principle], compose: Compose, build: Callable[[Sequence[int]], Prompt]) -> Prompts:
    """The reference and one branch for each group of principles, of which `build` is given the positions."""
    check_choice("compose", compose, get_args(Compose))
    active = [index for index, principle in enumerate(principles) if principle.weight > 0]
    groups = [tuple(active)] if compose == "joint" and active else [(index,) for index in active]
    return Prompts(
        reference=build(()),
        branches=tuple(build(group) for group in groups),
        branch_principles=tuple(groups),
        weights=tuple(fmean(principles[index].weight for index in group) for group in groups),
    )


def _beginning(turn: Turn) -> str:
    if turn.get("tool_calls"):
        names = ", ".join(call["function"]["name"] for call in turn["tool_calls"])
        msg = f"Expected the results of the tool calls ({names}) after the last AIMessage; add ToolMessages."
        raise PromptError(msg)
    text: str = turn["content"]
    return text


def _join(first: str, second: str) -> str:
    return f"{first}\n\n{second}" if first.strip() else second


def _worded(form: str, message: str, principles: str) -> str:
    """A human turn; placeholders in inserted texts stay as they are. With a blank message, the principles alone."""
    if not message.strip():
        return principles
    parts = {"{message}": message, "{principles}": principles}
    return re.sub(r"\{message\}|\{principles\}", lambda found: parts[found[0]], form)


def _check_template(what: str, text: object, *placeholders: str) -> None:
    if not isinstance(text, str) or not all(placeholder in text for placeholder in placeholders):
        msg = f"Expected {what} to contain {' and '.join(placeholders)}, got {text!r}."
        raise ConfigurationError(msg)
    check_text(text, what, ConfigurationError)
