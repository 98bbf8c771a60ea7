"""Repetition: whether an answer has fallen into a loop, as small models do under greedy decoding.

What people write repeats itself, too: choruses, rows of a table, lines of code, "ha ha ha". A loop is longer: the same
run of up to 100 tokens 20 times in a row and over 120 tokens, or 5 times and over 300 tokens. Runs that are not mostly
letters, such as rules, empty rows of a table, markup and arrays of zeros, may come twice as often.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from la_agents.requests import TokenRecord

__all__ = ["is_loop"]

_MAX_PERIOD = 100
_PROSE = 0.5
"""Share of letters from which a run counts as words: not as code, markup or numbers."""


def is_loop(records: Sequence[TokenRecord], decode: Callable[[list[int]], object]) -> bool:
    """Whether an answer of these tokens ends in a loop.

    Args:
        records: Its tokens so far.
        decode: Text of token ids.
    """
    for period in range(1, _MAX_PERIOD + 1):
        num_tokens = max(120, min(20 * period, max(5 * period, 300)))
        if not _repeats(records, period, num_tokens):
            continue
        text = "".join(str(decode([record.token_id for record in records[-period:]])).split())
        is_prose = sum(map(str.isalpha, text)) >= max(_PROSE * len(text), 1)
        return is_prose or _repeats(records, period, 2 * num_tokens)
    return False


def _repeats(records: Sequence[TokenRecord], period: int, num_tokens: int) -> bool:
    """Whether the last `num_tokens` tokens are the same run of `period` tokens again and again."""
    return len(records) >= num_tokens and all(
        records[-i].token_id == records[-i - period].token_id for i in range(1, num_tokens - period + 1)
    )
