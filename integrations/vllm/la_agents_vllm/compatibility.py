"""Compatibility: what this package overrides in vLLM's scheduler, and what it cannot work beside; checked at start."""

from __future__ import annotations

import inspect
from typing import Any

from vllm import __version__ as vllm_version
from vllm.v1.core.sched.scheduler import Scheduler

__all__ = ["MODEL_SUFFIX", "check_configuration", "check_hooks"]

MODEL_SUFFIX = "-aligned"
"""What the name of a model ends in that is served aligned: where this package is missing, nobody answers to it."""

_HOOKS = {
    "add_request": ("self", "request"),
    "get_grammar_bitmask": ("self", "scheduler_output"),
    "update_from_output": ("self", "scheduler_output", "model_runner_output"),
    "_free_request": ("self", "request", "delay_free_blocks"),
    "_get_local_prefix_cache_hit": ("self", "request"),
    "_preempt_request": ("self", "request", "timestamp", "drop_stale_output"),
    "_reserve_prefill_lookahead": ("self", "request", "num_computed_tokens", "num_new_tokens"),
    "_update_after_schedule": ("self", "scheduler_output"),
}


def check_hooks(scheduler: type[Any] = Scheduler) -> None:
    """Refuse a vLLM whose scheduler is another than this package was tested with.

    Raises:
        RuntimeError: it is.
    """
    for name, parameters in _HOOKS.items():
        hook = getattr(scheduler, name, None)
        found = () if hook is None else tuple(inspect.signature(hook).parameters)
        if found != parameters:
            msg = (
                f"Expected vLLM's Scheduler.{name}({', '.join(parameters)}), got {', '.join(found) or 'none'} in vLLM "
                f"{vllm_version}; install vLLM 0.31 or 0.32, or a newer la-agents-vllm."
            )
            raise RuntimeError(msg)


def check_configuration(config: Any, scheduler: Any) -> None:
    """Refuse by name what aligned decoding cannot work with.

    Raises:
        ValueError: some of it is on.
    """
    parallel = config.parallel_config
    refused = {
        "speculative decoding": config.speculative_config is not None,
        "batch-sharded sampling": getattr(parallel, "enable_batch_sharded_sampling", False),
        "a KV connector": scheduler.connector is not None,
        "an encoder connector": scheduler.ec_connector is not None,
        "decode context parallelism": scheduler.dcp_world_size > 1,
        "a pooling model": config.model_config.runner_type == "pooling",
    }
    if named := [name for name, is_on in refused.items() if is_on]:
        msg = f"Expected an engine without {', '.join(named)}: aligned decoding does not work with it; switch it off."
        raise ValueError(msg)
    served = config.model_config.served_model_name
    if not str(served).endswith(MODEL_SUFFIX):
        msg = (
            f"Expected a --served-model-name that ends in {MODEL_SUFFIX!r}, got {served!r}: so a replica without "
            "la-agents-vllm answers 404 in the place of text that is not aligned."
        )
        raise ValueError(msg)
