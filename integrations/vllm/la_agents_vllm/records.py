"""Records: what alignment did to each token, sent in the place of the token's logprobs.

vLLM streams one channel of numbers beside tokens: the likeliest tokens' logprobs. Served with
`--logprobs-mode processed_logits` they are what a logits processor leaves, so a request with `la_record` gets back, for
each token, its id with a huge value, and facts in the places of other ids, in order:

    reference id, divergence (-1 where logits were not finite), scale, one contribution a branch,
    then with la_record=2 candidates as (id, probability under the reference, probability when aligned)

The facts stand at the ids 0, 1, ... or, where the chosen token is one of those, from the number of facts on.
`la_agents.vllm` reads them.
"""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["NUM_CANDIDATES", "num_facts", "write"]

NUM_CANDIDATES = 5
"""How many of each policy's likeliest tokens are listed."""
_CHOSEN = 1e30
_LIMIT = 9e3
"""vLLM's servers cut logprobs off at -9999."""


def num_facts(num_branches: int, record: int) -> int:
    """Facts of a token's record."""
    return 3 + num_branches + (3 * (2 * NUM_CANDIDATES + 1) if record == 2 else 0)


def write(logits: Tensor, rows: Tensor, tokens: Tensor, facts: Tensor) -> None:
    """Leave nothing in these rows of the logits but the chosen tokens and the facts.

    Args:
        rows: [n].
        tokens: [n].
        facts: [n, most facts], padded with nan.
    """
    size = facts.shape[1]
    first = torch.where(tokens < size, size, 0)
    places = first.unsqueeze(1) + torch.arange(size, device=logits.device)
    facts = facts.clamp(-_LIMIT, None).nan_to_num(float("-inf"), posinf=_LIMIT)
    logits.index_fill_(0, rows, float("-inf"))
    logits[rows.unsqueeze(1), places] = facts.to(logits.dtype)
    logits[rows, tokens] = _CHOSEN
