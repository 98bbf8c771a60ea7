"""Encode a rendered prompt so that only the chat template can speak in special tokens.

Text of users, tools and preferences is data. Before it goes through the template, every special token and
role marker in it is broken by a private-use character; the whole rendered prompt is then encoded in one go,
as it would be anyway, and the tokens of the breaking character are dropped. Ordinary text is never touched:
it has the very ids the tokenizer gives it, merges and prefix spaces included.

Templates that spell their role markers in plain text (Llama 2's [INST], the fallback's "User:") have no
token that only they could write. There, a marker in somebody's text is encoded character by character: the
same text, but other ids than the template's.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from la_agents.errors import LaAgentsError, PromptError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

__all__ = ["DataGuard", "check_text"]

# Role markers that a template may spell in plain text: [INST], <<SYS>>, <|user|>, <start_of_turn>, ### Human:
_PLAIN_MARKER = re.compile(r"\[/?[A-Z_]{2,}\]|<</?[A-Z]+>>|<\|?/?[a-zA-Z_]{3,}\|?>|###? ?[A-Z][a-z]+:")
_NO_MATCH = re.compile(r"(?!)")
_BREAKERS = range(0x100000, 0x10FFFE)  # private-use plane 16: in no text, in no learned merge
_MAX_REPAIRS = 8


def check_text(text: str, what: str = "text", error: type[LaAgentsError] = PromptError) -> None:
    """Refuse halves of characters, which Python's str may hold (from broken JSON, say) and no tokenizer reads.

    Raises:
        PromptError: or another `error`; it says where, and repeats nothing of the text.
    """
    try:
        text.encode()
    except UnicodeEncodeError as broken:
        msg = (
            f"Expected {what} of whole characters, got a lone surrogate (U+{ord(text[broken.start]):04X} at place "
            f"{broken.start}); drop it, or use text.encode(errors='replace').decode()."
        )
    else:
        return
    raise error(msg)  # out here, because Python's own error holds the text


class DataGuard:
    """Tells the template's special tokens from the same characters in somebody's text, for one tokenizer.

    Args:
        tokenizer: A fast one keeps its merges around a broken marker; another is encoded part by part.
        template: Source of the chat template, searched for the markers it uses.
        line_markers: Role labels that count at the start of a line only, such as "User:".
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, template: str, line_markers: tuple[str, ...] = ()) -> None:
        self._tokenizer = tokenizer
        self._control = _control_tokens(tokenizer, template)
        tokens = set(self._control.values())
        added = tokenizer.added_tokens_decoder.values()
        self._normalized = any(token.normalized for token in added if token.content in tokens)
        self._single = {ord(token): None for token in tokens if len(token) == 1}
        plain = set(_PLAIN_MARKER.findall(template)) - tokens
        self._tokens = _any_of(tokens - {chr(code) for code in self._single})
        self._plain = _any_of(plain, line_markers)

    def protect(self, data: Any) -> tuple[Any, str]:
        """Break every marker in the strings of `data` (lists and dicts, keys too); return it and the breaker.

        The breaker is a character that occurs nowhere in `data`, or "" if nothing had to be broken.

        Raises:
            PromptError: some text holds a lone surrogate.
        """
        texts: list[str] = []

        def note(text: str) -> str:
            check_text(text)
            texts.append(text)
            return text

        _map_strings(data, note)
        if not any(self._is_suspect(text) for text in texts):
            return data, ""
        used = set().union(*texts)
        breaker = next((chr(code) for code in _BREAKERS if chr(code) not in used), None)
        if breaker is None:
            msg = "Expected text that leaves some private-use character free, got one that uses them all."
            raise PromptError(msg)
        return _map_strings(data, lambda text: self._break(text, breaker)), breaker

    def encode(self, text: str, breaker: str) -> list[int]:
        """Token ids of a rendered prompt whose data went through `protect`; the breaker leaves no trace.

        Raises:
            PromptError: the tokenizer normalises some text into a special token, however it is broken; or a lone
                surrogate came from the template or its variables.
        """
        check_text(text)
        for _ in range(_MAX_REPAIRS):
            encoding = self._encode_whole(text)
            if encoding is None:
                return self._encode_parts(text, breaker)
            forged = self._forged_at(encoding, text) if self._normalized else None
            if forged is None:
                return self._without(encoding, text, breaker) if breaker else list(encoding.ids)
            breaker = breaker or chr(_BREAKERS[0])
            text = text[: forged + 1] + breaker + text[forged + 1 :]
        msg = "Expected text, got a special token in disguise; remove unusual characters around '<' and '['."
        raise PromptError(msg)

    def _is_suspect(self, text: str) -> bool:
        return bool(
            self._tokens.search(text) or self._plain.search(text) or not self._single.keys().isdisjoint(map(ord, text))
        )

    def _break(self, text: str, breaker: str) -> str:
        """Cut special tokens once (no token any more), plain markers between all characters (other ids)."""
        text = text.translate(self._single)
        cuts = {match.start() + 1 for match in _overlapping(self._tokens, text)}
        for match in _overlapping(self._plain, text):
            cuts.update(range(match.start() + 1, match.end(1)))
        edges = [0, *sorted(cuts), len(text)]
        return breaker.join(text[start:end] for start, end in pairwise(edges))

    def _encode_whole(self, text: str) -> Any:
        encoded = self._tokenizer(text, add_special_tokens=False, verbose=False)
        return encoded.encodings[0] if encoded.encodings else None

    def _encode_parts(self, text: str, breaker: str) -> list[int]:
        parts = text.split(breaker) if breaker else [text]
        ids: list[int] = []
        for part in parts:
            ids += self._tokenizer.encode(part, add_special_tokens=False)
        return ids

    def _forged_at(self, encoding: Any, text: str) -> int | None:
        """Start of the first control token that is not spelled out in `text`: normalisation made it."""
        unknown = self._tokenizer.unk_token_id  # stands for any unknown character, and means nothing
        for index, (start, end) in zip(encoding.ids, encoding.offsets, strict=True):
            token = self._control.get(index)
            if token is not None and index != unknown and text[start:end].strip() != token.strip():
                return int(start)
        return None

    def _without(self, encoding: Any, text: str, breaker: str) -> list[int]:
        """The ids, less those of the breaking character."""
        ids = []
        for index, (start, end) in zip(encoding.ids, encoding.offsets, strict=True):
            span = text[start:end]
            if breaker not in span:
                ids.append(index)
            elif span != breaker:  # merged with a neighbour
                return self._encode_parts(text, breaker)
        return ids


def _control_tokens(tokenizer: PreTrainedTokenizerBase, template: str) -> dict[int, str]:
    """Tokens with a meaning, by id: the special ones, and added ones that the template writes (`<tool_call>`)."""
    tokens = dict(zip(tokenizer.all_special_ids, tokenizer.all_special_tokens, strict=True))
    for index, token in tokenizer.added_tokens_decoder.items():
        if token.special or token.content in template:
            tokens[index] = token.content
    return {index: token for index, token in tokens.items() if token.strip()}


def _any_of(literals: set[str], at_line_start: tuple[str, ...] = ()) -> re.Pattern[str]:
    choices = [re.escape(text) for text in sorted(literals, key=len, reverse=True)]
    choices += [rf"^{re.escape(text)}" for text in at_line_start]
    return re.compile("|".join(choices), re.MULTILINE) if choices else _NO_MATCH


def _overlapping(pattern: re.Pattern[str], text: str) -> Iterator[re.Match[str]]:
    """Matches at every position, each as group 1, overlapping ones too."""
    return re.finditer(rf"(?=({pattern.pattern}))", text, re.MULTILINE)


def _map_strings(data: Any, change: Callable[[str], str]) -> Any:
    if isinstance(data, str):
        return change(data)
    if isinstance(data, dict):
        return {_map_strings(key, change): _map_strings(value, change) for key, value in data.items()}
    if isinstance(data, (list, tuple)):
        return [_map_strings(value, change) for value in data]
    return data
