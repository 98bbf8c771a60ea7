"""Together: a block of answers decoded as one batch that depends on nothing but the block.

Sums of floating-point numbers come out differently in batches of different sizes, and prompts differently if their
beginning was found in a cache. That can turn a choice between two tokens that are nearly equally likely. Here every
block starts on an idle engine, all of it at once, and finds in the cache what it has itself put there: so a block gives
the same answers in every run on one machine, whatever was or was not done before it.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from la_agents.evaluation.answers import Answer, Desk, Job
from la_agents.requests import Request, Sampling

if TYPE_CHECKING:
    from la_agents.engine.engine import Engine
    from la_agents.prompts.builder import PromptBuilder
    from la_agents.requests import Generation

__all__ = ["BLOCK", "answer_together"]

BLOCK = 24
"""Jobs at a time: two branches each, and a few with four samples, fit the engine's 64 rows."""


def answer_together(engine: Engine, builder: PromptBuilder, jobs: Sequence[Job]) -> list[Answer]:
    """The answers to a block of jobs, in their order. Nobody else may use the engine meanwhile.

    Raises:
        LaAgentsError: the first job that failed; the others are given up.
    """
    desk, salt = Desk(engine, builder), uuid.uuid4().hex
    planned = [(job, prompts, desk.requests(job, prompts)) for job in jobs for prompts in [desk.prompts(job)]]
    requests = [replace(request, salt=salt, num_public_tokens=0) for *_, own in planned for request in own]
    _remember(engine, requests)
    generations = engine.submit_all(requests)
    try:
        waiting = iter(generations)
        answered = [(job, prompts, [desk.read(job, next(waiting)) for _ in own]) for job, prompts, own in planned]
    finally:
        _cancel(generations)
    return [desk.pick(prompts, own) for _, prompts, own in answered]


def _remember(engine: Engine, requests: Sequence[Request]) -> None:
    """Compute each prompt once, so that the requests that share it find it in the cache."""
    by_prompt = {request.prompts: request for request in requests}
    short = Sampling(max_tokens=1)
    generations = engine.submit_all(replace(request, sampling=short) for request in by_prompt.values())
    try:
        for generation in generations:
            assert generation.completion.num_rows
    finally:
        _cancel(generations)


def _cancel(generations: Sequence[Generation]) -> None:
    for generation in generations:
        generation.cancel()
