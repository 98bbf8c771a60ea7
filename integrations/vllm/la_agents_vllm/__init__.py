"""Aligned decoding inside vLLM: the rows of one request, without and with its principles, decoded in step.

    arguments     what a client sends with a request, and what a row's worker has to know
    scheduling    the rows of a request prefill, decode, are preempted and end together
    processor     their logits become one token, on either of vLLM's model runners
    choosing      the arithmetic of that, vectorised over the batch
    alignment/    the method itself: a copy of `la_agents.alignment`

Start vLLM with `--scheduler-cls la_agents_vllm.gang_scheduler`.
"""

from __future__ import annotations

from typing import Any

__all__ = ["gang_scheduler"]

__version__ = "0.1.0"


def gang_scheduler(vllm_config: Any, **kwargs: Any) -> Any:
    """What `--scheduler-cls` names: the scheduler that fits the engine's mode."""
    from la_agents_vllm.scheduling import AsyncGangScheduler, GangScheduler

    kind = AsyncGangScheduler if vllm_config.scheduler_config.async_scheduling else GangScheduler
    return kind(vllm_config=vllm_config, **kwargs)
