"""Where an assistant's turn ends: what a chat template writes after it, found by rendering a short conversation.

Configurations lie: a model fine-tuned on `<|im_end|>` often still names `<|endoftext|>`, or nothing. What the template
writes after an assistant's text is what the model learned to write there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

__all__ = ["TurnEnd", "template_errors", "turn_end"]

_ANSWER = "Qassistantq"
_HUMAN = {"role": "user", "content": "Quserq"}
_AI = {"role": "assistant", "content": _ANSWER}
_LATER = {"role": "user", "content": "Qlaterq"}
_MIN_CHARACTERS = 3  # a shorter text, such as a line that begins with "#", stands in ordinary answers too


@dataclass(frozen=True)
class TurnEnd:
    """What follows an assistant's text.

    Attributes:
        token_id: The first token there that stands for no text, or None.
        text: Plain text before that token, such as the next turn's label, or ""; it works as a stop string.
    """

    token_id: int | None = None
    text: str = ""


def turn_end(tokenizer: PreTrainedTokenizerBase) -> TurnEnd:
    """The end of a turn by the tokenizer's template; nothing for one without a template.

    After the last turn if the template writes something there, else up to the next human text.
    """
    if not tokenizer.chat_template:
        return TurnEnd()
    after_last = _after(tokenizer, [_HUMAN, _AI], _ANSWER)
    between = _after(tokenizer, [_HUMAN, _AI, _LATER], _ANSWER).partition(_LATER["content"])[0]
    if not between.startswith(after_last):  # some templates open the next answer whether or not they are asked to
        after_last = after_last.removesuffix(_after(tokenizer, [_HUMAN], _HUMAN["content"]))
    return _read(tokenizer, after_last if after_last.strip() else between)


def template_errors() -> tuple[type[Exception], ...]:
    """What a template raises: on purpose, or by tripping over content it did not expect."""
    from jinja2 import TemplateError

    return (TemplateError, TypeError, ValueError, LookupError, AttributeError, ArithmeticError, RecursionError)


def _after(tokenizer: PreTrainedTokenizerBase, turns: list[dict[str, str]], content: str) -> str:
    """What the template writes after the turn of this content; "" if it refuses the turns or does not show it."""
    try:
        text = str(tokenizer.apply_chat_template(turns, tokenize=False))
    except template_errors():
        return ""
    return text.rpartition(content)[2] if content in text else ""


def _read(tokenizer: PreTrainedTokenizerBase, text: str) -> TurnEnd:
    markers = {
        token.content: index
        for index, token in tokenizer.added_tokens_decoder.items()
        # Some vocabularies add words and runs of spaces, which are text.
        if token.content.strip() and (token.special or not token.content.strip().isalnum())
    }
    starts = {marker: text.find(marker) for marker in markers if marker in text}
    first = min(starts, key=lambda marker: (starts[marker], -len(marker)), default=None)
    plain = text if first is None else text[: starts[first]]
    return TurnEnd(None if first is None else markers[first], _as_stop(plain))


def _as_stop(text: str) -> str:
    """The first line of a text with the character before it, so that a label counts at the start of a line only."""
    line = text.strip().partition("\n")[0].rstrip()
    before = text[: len(text) - len(text.lstrip())][-1:]
    return before + line if line and len(before + line) >= _MIN_CHARACTERS else ""
