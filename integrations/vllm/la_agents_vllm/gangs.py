"""Gangs: the rows of one request, the client's own and those of its branches, which no client knows."""

from __future__ import annotations

import copy
import secrets
import uuid
from typing import Any

from vllm.v1.request import Request, RequestStatus

from la_agents_vllm.arguments import PREFIX, ROW, Arguments, Row

__all__ = ["Gang", "rows_of"]


class Gang:
    """The rows of one request, the client's own first.

    Attributes:
        together: Whether its rows decode, in step; else they are at their prompts, or wait for each other.
        given: What its client asked for.
        is_past_trigger: Whether the answer holds the text from which on it is not aligned.
        num_cached_tokens: Tokens of prompts that the prefix cache held, over all rows.
    """

    def __init__(self, rows: list[Request], given: Arguments) -> None:
        self.rows = rows
        self.given = given
        self.together = False
        self.is_past_trigger = False
        self.num_cached_tokens = 0

    @property
    def leader(self) -> Request:
        """The client's own row."""
        return self.rows[0]

    @property
    def is_ready(self) -> bool:
        """Whether each row has all but its last token behind it."""
        return all(
            row.status == RequestStatus.RUNNING
            and row.num_computed_tokens == row.num_tokens - 1
            and not row.num_output_placeholders
            for row in self.rows
        )


def rows_of(request: Request, given: Arguments, most: int, prefix: str) -> list[Request]:
    """The request itself, and one more a branch.

    Args:
        most: Tokens that all rows have room for.
        prefix: Of the other rows' ids.
    """
    params = copy.copy(request.sampling_params)  # children of one request may share theirs
    # The branches' prompts may be long, and are copied to no row.
    params.extra_args = {k: v for k, v in (params.extra_args or {}).items() if not k.startswith(PREFIX)}
    name = uuid.uuid4().hex
    seed = secrets.randbits(63) if params.seed is None else params.seed
    first = Row.first(name, given, seed, params.temperature, params.top_p)
    rows = []
    for role, prompt in enumerate([request.prompt_token_ids, *given.branches]):
        own = copy.deepcopy(params)
        # The processor draws the token; for vLLM's own sampler there is one choice.
        own.max_tokens, own.temperature, own.top_p, own.seed = most, 0.0, 1.0, None
        own.extra_args |= {ROW: Row(**{**vars(first), "role": role}).wire}
        if role == 0:
            request.max_tokens, request.sampling_params = most, own
            rows.append(request)
        else:
            own.logprobs = None
            rows.append(_branch(request, f"{prefix}{name}-{role}", list(prompt), own))
    return rows


def _branch(request: Request, request_id: str, prompt: list[int], params: Any) -> Request:
    structured = request.structured_output_request
    return Request(
        request_id=request_id,
        prompt_token_ids=prompt,
        sampling_params=params,
        pooling_params=None,
        client_index=request.client_index,
        arrival_time=request.arrival_time,
        lora_request=request.lora_request,
        cache_salt=request.cache_salt,
        priority=request.priority,
        block_hasher=request._block_hasher,
        reasoning_ended=None if structured is None else structured.reasoning_ended,
    )
