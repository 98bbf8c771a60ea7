"""Records: what an engine answers with: a chunk a token, then the completion."""

from __future__ import annotations

from dataclasses import dataclass, field

__all__ = ["Candidate", "Chunk", "Completion", "TokenRecord"]


@dataclass(frozen=True, slots=True)
class Candidate:
    """A token that could have been chosen, with its probability under the reference and under the aligned policy.

    Both at the sampling temperature (1 where greedy), before `top_p`; 0 outside the aligned policy's support.
    """

    token_id: int
    reference: float
    aligned: float


@dataclass(frozen=True, slots=True)
class TokenRecord:
    """What alignment did to one token.

    Attributes:
        token_id: The token chosen.
        reference_id: What the reference alone would have chosen here, with the same randomness.
        divergence: KL(pi || pi_0) of this step in nats, of the policy that the token was chosen from, support and push
            included and before `top_p`; 0 for an unaligned sequence.
        scale: The s at which the chosen token stands: `1 + strength`, less where the push is tapered and the token not
            the principles' likeliest, and less under a divergence budget.
        contributions: For each branch, `s w_i (g_i[token] - E_pi_0[g_i]) / T`: the nats by which it raised the token.
        candidates: The likeliest tokens of either policy and the chosen one, if the request asks for them.
    """

    token_id: int
    reference_id: int
    divergence: float
    scale: float
    contributions: tuple[float, ...] = ()
    candidates: tuple[Candidate, ...] = ()


@dataclass(frozen=True, slots=True)
class Chunk:
    """Text that became certain with one token; may be empty while a character or a stop string is incomplete."""

    text: str
    record: TokenRecord


@dataclass(frozen=True, slots=True)
class Completion:
    """A finished answer.

    Attributes:
        tail: Text released only at the end: the chunks' texts and this make the answer.
        finish_reason: "stop" (end of sequence or a stop string), "length", "repetition" or "cancelled".
        records: One a generated token, end of sequence not counted.
        num_rows: Rows decoded side by side.
        num_prompt_tokens: Tokens of the reference prompt.
        num_computed_tokens: Prompt tokens computed over all rows.
        num_cached_tokens: Prompt tokens found in the prefix cache, over all rows.
    """

    tail: str
    finish_reason: str
    records: tuple[TokenRecord, ...] = field(repr=False)
    num_rows: int
    num_prompt_tokens: int
    num_computed_tokens: int
    num_cached_tokens: int
