"""Repetition: whether an answer has fallen into a loop, as small models do under greedy decoding.

What people write repeats itself, too: choruses, rows of a table, lines of code, "ha ha ha". A loop is longer than
those: a run of up to 64 tokens that came 20 times in a row, over 120 tokens or more. What holds no letter, such as
rules, empty table rows and arrays of zeros, may come twice as often.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from la_agents.requests import TokenRecord

__all__ = ["is_loop"]

_MAX_PERIOD = 64
_MIN_TIMES = 20
_MIN_TOKENS = 120


def is_loop(records: Sequence[TokenRecord], decode: Callable[[list[int]], object]) -> bool:
    """Whether an answer of these tokens ends in a loop.

    Args:
        records: Its tokens so far.
        decode: Text of token ids.
    """
    for period in range(1, _MAX_PERIOD + 1):
        if not _repeats(records, period, 1):
            continue
        text = str(decode([record.token_id for record in records[-period:]]))
        return any(map(str.isalpha, text)) or _repeats(records, period, 2)
    return False


def _repeats(records: Sequence[TokenRecord], period: int, factor: int) -> bool:
    """Whether the last `period` tokens are the end of a run of the least length, times `factor`."""
    num_tokens = factor * max(_MIN_TIMES * period, _MIN_TOKENS)
    return len(records) >= num_tokens and all(
        records[-i].token_id == records[-i - period].token_id for i in range(1, num_tokens - period + 1)
    )
