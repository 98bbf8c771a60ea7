"""An `lm-eval` model (EleutherAI's evaluation harness): any of its tasks, answered by an aligned model.

    python -m la_agents.evaluation.lm_eval run --tasks gsm8k --apply_chat_template --model la_agents \\
        --model_args '{"model": "x.gguf", "principles": ["Be concise."], "strength": 2}'

What a task asks is put as the LangChain faces put it. With `--apply_chat_template` the task's messages are those of
`ChatLinearAlignment`; without, its context is the text that `LinearAlignmentLLM` gets: one human turn where the model
has a chat template, else a text to go on with. The principles take part in every request, in the likelihoods too.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any

import torch
from langchain_core.messages import BaseMessage, convert_to_messages
from lm_eval.api.instance import Instance
from lm_eval.api.model import LM
from lm_eval.api.registry import register_model
from lm_eval.utils import get_rolling_token_windows, make_disjoint_window

from la_agents.calls.builder import CallBuilder
from la_agents.chat_models import ChatLinearAlignment
from la_agents.engine.engine import Engine
from la_agents.errors import ConfigurationError, RequestTooLargeError
from la_agents.evaluation.likelihood import ModelScorer
from la_agents.llms import LinearAlignmentLLM
from la_agents.principles import as_principles
from la_agents.prompts.builder import Prompt, Prompts, Wording
from la_agents.requests import Alignment

__all__ = ["LinearAlignmentLM"]

_GENERATION = {"until", "max_gen_toks", "do_sample", "temperature", "top_p", "seed"}


class _Conversation(str):
    """A task's messages as JSON: lm-eval passes contexts on as text."""

    __slots__ = ()

    def messages(self) -> list[BaseMessage]:
        return convert_to_messages(json.loads(self))


@register_model("la_agents")
class LinearAlignmentLM(LM):  # type: ignore[misc]
    """A model with principles, as lm-eval asks models.

    Args:
        principles: One, or several.
        device: As of `ChatLinearAlignment`; lm-eval's default, a GPU, is "auto" where there is none.
        batch_size, max_batch_size: lm-eval's own; the engine sizes its batches itself.
        settings: Of `ChatLinearAlignment`: model, method, strength, placement, max_divergence and so on.
    """

    def __init__(
        self,
        principles: str | Sequence[str] = (),
        device: str | None = None,
        batch_size: Any = None,
        max_batch_size: Any = None,
        **settings: Any,
    ) -> None:
        super().__init__()
        given = {**settings, "principles": [principles] if isinstance(principles, str) else principles}
        if device is not None and (torch.cuda.is_available() or not device.startswith("cuda")):
            given["device"] = device
        self._chat, self._text = ChatLinearAlignment(**given), LinearAlignmentLLM(**given)
        self._principles = as_principles(given["principles"])
        engine = self._chat.engine
        if not isinstance(engine, Engine):
            msg = f"Expected a model that runs in this process, got the engine {type(engine).__name__}; give model=."
            raise ConfigurationError(msg)
        self._loaded = engine.loaded
        self._scorer = ModelScorer(self._loaded)
        if self._chat.fluency is not None:
            msg = "Expected no fluency bound: it depends on what was decoded before, so a given text has no likelihood."
            raise ConfigurationError(msg)

    @property
    def tokenizer_name(self) -> str:
        return self._loaded.name

    def apply_chat_template(self, chat_history: list[dict[str, str]], add_generation_prompt: bool = True) -> str:
        """The messages as they are; one of the assistant at the end, if no new turn is asked for, is continued."""
        return _Conversation(json.dumps(chat_history, ensure_ascii=False))

    def generate_until(self, requests: list[Instance], disable_tqdm: bool = False) -> list[str]:
        answers: list[str] = []
        for (is_chat, arguments), own in groupby(requests, key=_kind):
            contexts = [request.args[0] for request in own]
            if is_chat:
                chats = [context.messages() for context in contexts]
                answers += [str(answer.text) for answer in self._chat.batch(chats, **arguments)]
            else:
                answers += self._text.batch(contexts, **arguments)
        return answers

    def loglikelihood(self, requests: list[Instance], disable_tqdm: bool = False) -> list[tuple[float, bool]]:
        found: list[tuple[float, bool]] = []
        for context, own in groupby(requests, key=lambda request: request.args[0]):
            texts = [request.args[1] for request in own]
            if not context:
                found += [self._of_text(self._scorer.encode(text)) for text in texts]
                continue
            prompts, alignment = self._asked(context)
            found += self._scores(prompts, alignment, [self._continuation(context, prompts, text) for text in texts])
        return found

    def loglikelihood_rolling(self, requests: list[Instance], disable_tqdm: bool = False) -> list[float]:
        return [self._of_text(self._scorer.encode(request.args[0]))[0] for request in requests]

    def _asked(self, context: str) -> tuple[Prompts, Alignment]:
        """The prompts of a context and how they are aligned, as the faces make them."""
        if isinstance(context, _Conversation):
            call = CallBuilder.of(self._chat, {}).build(context.messages())
        else:
            call = CallBuilder.of(self._text, {}).build(context)
        return call.prompts, call.request.alignment

    def _continuation(self, context: str, prompts: Prompts, text: str) -> list[int]:
        """The tokens of a text after a context: those that go on in one text with it, or those of an answer."""
        before = prompts.reference.token_ids
        if isinstance(context, _Conversation) or not prompts.reference.text.endswith(context):
            return self._scorer.encode(
                text.lstrip(" ")
            )  # what parts the two in a text is not said in a turn of its own
        whole = self._asked(context + text)[0].reference.token_ids
        return list(whole[len(before) :] if whole[: len(before)] == before else self._scorer.encode(text))

    def _of_text(self, tokens: Sequence[int]) -> tuple[float, bool]:
        """Of a text without a context, in windows as long as the model's; each branch begins with its principles."""
        prompts, alignment = self._asked("-")
        words, tokenizer = self._chat.wording or Wording(), self._loaded.tokenizer
        start = tokenizer.eos_token_id if tokenizer.bos_token_id is None else tokenizer.bos_token_id
        texts = [principle.text.strip() for principle in self._principles]
        preambles = [
            [start, *self._scorer.encode(words.of([texts[i] for i in group]) + "\n\n")]
            for group in prompts.branch_principles
        ]
        room = self._loaded.max_positions - max(map(len, preambles), default=1)
        total, greedy = 0.0, True
        for window in get_rolling_token_windows(list(tokens), start, room, 1):
            before, told = make_disjoint_window(window)
            rest = before[1:] if before[:1] == [start] else before
            rows = [Prompt("", (*row, *rest)) for row in ([start], *preambles)]
            own = Prompts(rows[0], tuple(rows[1:]), prompts.branch_principles, prompts.weights)
            ((value, is_greedy),) = self._scores(own, alignment, [told])
            total, greedy = total + value, greedy and is_greedy
        return total, greedy

    def _scores(
        self, prompts: Prompts, alignment: Alignment, texts: Sequence[Sequence[int]]
    ) -> list[tuple[float, bool]]:
        longest = max(len(row.token_ids) for row in (prompts.reference, *prompts.branches)) + max(map(len, texts))
        if longest - 1 > self._loaded.max_positions:  # the last token is predicted, not read
            msg = f"Expected at most {self._loaded.max_positions} tokens of context and continuation, got {longest}."
            raise RequestTooLargeError(msg)
        found = []
        for one in self._scorer.continuations(prompts, texts):
            chosen = one.policy(alignment, masked=True).argmax(dim=-1)
            total = one.policy(alignment).gather(-1, one.token_ids.unsqueeze(-1)).double().sum()
            found.append((float(total), bool(torch.equal(chosen, one.token_ids))))
        return found


def _kind(request: Instance) -> tuple[bool, dict[str, Any]]:
    """What requests that are answered together have in common."""
    return isinstance(request.args[0], _Conversation), _arguments(request.args[1])


def _arguments(given: Mapping[str, Any]) -> dict[str, Any]:
    """A call's arguments out of a task's `generation_kwargs`."""
    unknown = set(given) - _GENERATION
    if unknown:
        msg = f"Expected generation settings among {', '.join(sorted(_GENERATION))}, got {', '.join(sorted(unknown))}."
        raise ConfigurationError(msg)
    until = given.get("until") or []
    arguments: dict[str, Any] = {"stop": [until] if isinstance(until, str) else [text for text in until if text]}
    arguments["max_tokens"] = int(given.get("max_gen_toks", 256))
    sampled = given.get("do_sample", bool(given.get("temperature")))
    arguments["temperature"] = float(given.get("temperature", 1.0)) if sampled else 0.0
    return arguments | {name: given[name] for name in ("top_p", "seed") if name in given and sampled}


if __name__ == "__main__":
    from lm_eval.__main__ import cli_evaluate

    cli_evaluate()
