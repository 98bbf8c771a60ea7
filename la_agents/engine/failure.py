"""Failure: what the caller of a request is told when something in the engine went wrong with it."""

from __future__ import annotations

import logging
import traceback

import torch

from la_agents.engine.sequence import Sequence
from la_agents.errors import GenerationError, LaAgentsError, RequestTooLargeError

__all__ = ["explain"]

_log = logging.getLogger(__name__)


def explain(error: Exception, sequence: Sequence, device: torch.device) -> LaAgentsError:
    """The error for the caller, with the cause chained; what the prompt holds is not repeated."""
    if isinstance(error, LaAgentsError):
        return error.with_traceback(None)
    size = f"{sequence.num_rows} rows of up to {max(map(len, sequence.request.prompts))} prompt tokens"
    explained: LaAgentsError
    if _out_of_memory(error):
        msg = f"Expected {size} to fit the memory of {device}, and it ran out; shorten the prompt."
        explained = RequestTooLargeError(msg)
    else:
        msg = f"Expected the model to run on {size}, got {type(error).__name__}: {error}"
        explained = GenerationError(msg)
    # Where it happened goes to the log: frames would keep the model, and other people's prompts, with the error.
    _log.warning("a request failed: %s\n%s", msg, "".join(traceback.format_exception(error)))
    explained.__cause__ = error.with_traceback(None)
    return explained


def _out_of_memory(error: Exception) -> bool:
    # On a CPU torch raises a plain RuntimeError that only its text tells from others.
    return isinstance(error, (MemoryError, torch.OutOfMemoryError)) or "DefaultCPUAllocator" in str(error)
