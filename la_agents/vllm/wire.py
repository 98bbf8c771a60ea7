"""Wire: a request as the body that vLLM's `/v1/completions` takes, and what it streams as records.

`vllm_xargs` are the arguments of the plugin (`la_agents_vllm.arguments`). Each token's record comes in the place of its
logprobs (`la_agents_vllm.records`): facts, in the order of the ids that they stand at.
"""

from __future__ import annotations

import hashlib
import json
import math
import uuid
from collections.abc import Iterator, Mapping
from typing import Any

from la_agents.errors import ConfigurationError, GenerationError
from la_agents.requests import Alignment, Candidate, Grammar, Request, TokenRecord

__all__ = ["arguments_of", "body_of", "branches_of", "num_facts", "records_of"]

_NUM_CANDIDATES = 11
_CHOSEN, _ABSENT = 1e29, -9998.0


def branches_of(request: Request) -> tuple[tuple[int, ...], ...]:
    """The branches that have to be decoded: none where a grammar's whole answer is not aligned."""
    grammar = request.grammar
    is_unaligned = grammar is not None and not grammar.aligned and grammar.trigger is None
    return () if is_unaligned else request.branches


def num_facts(request: Request) -> int:
    """Facts of each token's record."""
    return 3 + len(branches_of(request)) + (3 * _NUM_CANDIDATES if request.list_candidates else 0)


def body_of(request: Request, model: str, max_tokens: int, ends: frozenset[int]) -> dict[str, Any]:
    """What to post.

    Args:
        max_tokens: Those of the request, as far as the context has room for them.
        ends: Token ids that end the answer.
    """
    sampling = request.sampling
    body = {
        "model": model,
        "prompt": list(request.reference),
        "max_tokens": max_tokens,
        "temperature": 0,  # the plugin's arguments say how tokens are drawn, without vLLM's limits
        "seed": None if sampling.seed is None else sampling.seed % 2**63,
        "ignore_eos": True,  # these ends, and no others
        "stop_token_ids": sorted(ends),
        "stream": True,
        "logprobs": 1 + num_facts(request),
        "return_tokens_as_token_ids": True,
        "return_token_ids": True,
        "skip_special_tokens": False,
        "vllm_xargs": arguments_of(request),
        "cache_salt": _salt(request.salt),
        # A server may have other defaults, from its model's generation config.
        "top_k": 0,
        "min_p": 0.0,
        "repetition_penalty": 1.0,
        "presence_penalty": 0.0,
        "frequency_penalty": 0.0,
    }
    if request.grammar is not None:
        body["structured_outputs"] = {"grammar": _lark(request.grammar)}
    return {name: value for name, value in body.items() if value is not None}


def arguments_of(request: Request) -> dict[str, Any]:
    """The plugin's arguments."""
    branches, weights = branches_of(request), request.weights
    found: dict[str, Any] = {
        "record": 2 if request.list_candidates else 1,
        "branches": [token for branch in branches for token in branch],
        "lengths": [len(branch) for branch in branches],
        "weights": list(weights[: len(branches)]),
        "temperature": request.sampling.temperature,
        "top_p": request.sampling.top_p,
    }
    if branches:
        found |= _alignment(request.alignment)
        grammar = request.grammar
        if grammar is not None and grammar.trigger is not None and not grammar.aligned:
            found["trigger"] = grammar.trigger
    return {f"la_{name}": value for name, value in found.items() if value is not None}


def _alignment(alignment: Alignment) -> dict[str, Any]:
    return {
        "scale": alignment.scale,
        "taper": alignment.kappa,
        "adaptive": int(alignment.chosen_push == "adaptive"),
        "support_p": alignment.support_p,
        "mask_temperature": alignment.mask_temperature,
        "plausibility": math.exp(alignment.log_plausibility),
        "fluency": alignment.fluency,
        "max_divergence": alignment.max_divergence,
    }


def _salt(salt: str | None) -> str | None:
    """Keeps a server's prefix cache apart; of a caller who is not known nothing is found again."""
    if salt is None:
        return uuid.uuid4().hex
    return hashlib.sha256(f"la_agents {salt}".encode()).hexdigest() if salt else None


def _lark(grammar: Grammar) -> str:
    """A grammar in the one notation that vLLM takes."""
    if not grammar.source.lstrip().startswith("{"):
        return grammar.source
    parts = json.loads(grammar.source).get("grammars", [])
    source = parts[0].get("lark_grammar") if len(parts) == 1 else None
    if not source:
        msg = "Expected a grammar in lark's notation for vLLM, got one in JSON of several parts; write it as one."
        raise ConfigurationError(msg)
    return source if source.startswith("%llguidance") else f"%llguidance {{}}\n{source}"


def records_of(choice: Mapping[str, Any], request: Request) -> Iterator[TokenRecord]:
    """The tokens of one streamed piece."""
    listed = (choice.get("logprobs") or {}).get("top_logprobs") or []
    for token, entries in zip(choice.get("token_ids") or [], listed, strict=True):
        yield _record(token, entries, request)


def _record(token: int, entries: Mapping[str, float], request: Request) -> TokenRecord:
    by_id = {int(name.removeprefix("token_id:")): value for name, value in entries.items()}
    facts = [by_id[place] for place in sorted(by_id) if _ABSENT < by_id[place] < _CHOSEN]
    num_decoded = len(branches_of(request))
    if len(facts) < 3 + num_decoded:
        msg = "Expected a record of each token, got a token without one; ask a server that runs la-agents-vllm."
        raise GenerationError(msg)
    reference_id, divergence, scale, *rest = facts
    if divergence < 0:
        msg = "Expected finite logits, got nan or inf; serve the model with --dtype float32, or lower strength."
        raise GenerationError(msg)
    return TokenRecord(
        token_id=token,
        reference_id=int(reference_id),
        divergence=divergence,
        scale=scale,
        # Branches that were not decoded contributed nothing.
        contributions=tuple(rest[:num_decoded]) or (0.0,) * len(request.branches),
        candidates=_candidates(rest[num_decoded:]) if request.list_candidates else (),
    )


def _candidates(facts: list[float]) -> tuple[Candidate, ...]:
    """Each token once; the chosen one and the reference's come first, then those of the aligned policy."""
    found = [Candidate(int(i), before, after) for i, before, after in zip(*[iter(facts)] * 3, strict=True)]
    first = (len(found) + 1) // 2
    listed = {c.token_id: c for place, c in enumerate(found) if place < first or c.aligned > 0}
    return tuple(sorted(listed.values(), key=lambda c: (-c.aligned, -c.reference)))
