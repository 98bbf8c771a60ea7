"""The logits processor: it finds the rows of each request in the batch, and has one token chosen for all of them.

One class for both of vLLM's model runners, which tell a processor of the batch in different ways: the first runner
through `update_state`, the second by slots (`add_request`) and each step's `LogitsContext`. Nothing is described anew
unless the batch changed.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from vllm.v1.sample.logits_processor import BatchUpdate
from vllm.v1.sample.logits_processor import LogitsProcessor as FirstInterface
from vllm.v1.sample.logits_processor.builtin import process_dict_updates
from vllm.v1.worker.gpu.sample.logits_processor import LogitsContext
from vllm.v1.worker.gpu.sample.logits_processor import LogitsProcessor as SecondInterface

from la_agents_vllm.arguments import ROW, Arguments, Row, check_parameters
from la_agents_vllm.buckets import Buckets
from la_agents_vllm.choosing import Gangs, choose, describe
from la_agents_vllm.draws import key_of, uniforms

__all__ = ["AlignmentProcessor"]

_TOGETHER = 4
"""Requests at a time on a CPU: what lies between two operations then stays in the processor's cache."""


class AlignmentProcessor(FirstInterface, SecondInterface):
    """The entry point of `vllm.logits_processors`.

    Raises:
        ValueError: vLLM was not started with the scheduler that keeps rows together; answers would not be aligned.
    """

    @classmethod
    def validate_params(cls, params: Any) -> None:
        """Refuse a request that is malformed; the server answers 400."""
        extra = params.extra_args or {}
        if ROW in extra:
            msg = f"Expected no {ROW}: it is the scheduler's own."
            raise ValueError(msg)
        given = Arguments.of(extra)
        if given is not None:
            check_parameters(params, given)

    def __init__(self, vllm_config: Any, *args: Any) -> None:
        _check_scheduler(vllm_config)
        is_second = len(args) == 1
        self._states: Any = args[0] if is_second else None
        self._device = torch.device(args[0].device if is_second else args[0])
        if self._device.type == "cpu":
            torch.set_flush_denormal(True)  # probabilities below 1e-38 cost a processor a hundred times what others do
        self._buckets = Buckets(4 * vllm_config.scheduler_config.max_num_seqs, self._device)
        self._rows: dict[int, tuple[Row, Sequence[int]]] = {}  # by their place in the batch, or by slot
        self._parts: list[Gangs] = []
        self._keys = np.empty(0, dtype=np.uint64)
        self._leaders: list[int] = []  # the references' keys in `_rows`
        self._slots = np.empty(0, dtype=np.int64)  # of the last step, in order
        self._changed = True

    def is_argmax_invariant(self) -> bool:
        return False

    # -- the first runner ------------------------------------------------------------------------------------------

    def update_state(self, batch_update: BatchUpdate | None) -> None:
        """Follow the batch."""
        process_dict_updates(self._rows, batch_update, _row_of)
        self._changed |= batch_update is not None

    # -- the second runner -----------------------------------------------------------------------------------------

    def add_request(self, req_idx: int, sampling_params: Any) -> bool:
        """Take note of who has a slot now."""
        row = Row.of(sampling_params.extra_args)
        self._rows.pop(req_idx, None)
        if row is not None:
            self._rows[req_idx] = (row, ())
        self._changed = True
        return row is not None

    # -- both ------------------------------------------------------------------------------------------------------

    @torch.inference_mode()
    def apply(self, logits: Tensor, ctx: LogitsContext | None = None) -> Tensor:
        """Choose a token for each request whose rows are all here, and leave its rows no other."""
        if not self._rows:
            return logits
        if ctx is None:
            self._regroup(self._rows)
            places = np.fromiter((len(self._rows[i][1]) for i in self._leaders), np.int64, len(self._leaders))
            self._choose(logits, self._parts, places)
            return logits
        slots = np.sort(ctx.idx_mapping_np)
        self._changed |= not np.array_equal(slots, self._slots)
        self._slots = slots
        self._regroup(set(slots.tolist()) & self._rows.keys() if self._changed else ())
        if not self._parts:
            return logits
        numbers = torch.empty(self._states.max_num_reqs, dtype=torch.long, device=logits.device)
        numbers[ctx.idx_mapping.long()] = torch.arange(len(slots), device=logits.device)
        lengths = np.empty(self._states.max_num_reqs, dtype=np.int64)
        lengths[ctx.idx_mapping_np] = ctx.seq_lens_upper_bound_np
        places = (lengths - self._states.prompt_len.np)[self._leaders]
        self._choose(logits, [part.at(numbers) for part in self._parts], places)
        return logits

    def _choose(self, logits: Tensor, parts: list[Gangs], places: NDArray[np.int64]) -> None:
        if not parts:
            return
        places = np.maximum(places, 0)
        drawn = torch.from_numpy(uniforms(self._keys, places)).to(logits.device)
        counted, first = torch.from_numpy(places).to(logits.device), 0
        for part in parts:
            those = slice(first, first + len(part.reference))
            choose(logits, part, drawn[:, those], counted[those], self._buckets)
            first = those.stop

    def _regroup(self, present: Iterable[int]) -> None:
        """Find the requests whose rows are all in the batch; others are at their prompts still."""
        if not self._changed:
            return
        self._changed = False
        found: dict[str, dict[int, int]] = {}
        for place in present:
            row, _ = self._rows[place]
            found.setdefault(row.gang, {})[row.role] = place
        gangs = []
        for roles in found.values():
            leader = self._rows[next(iter(roles.values()))][0]
            if len(roles) == leader.size:
                gangs.append(([roles[role] for role in range(leader.size)], self._rows[roles[0]][0]))
        self._leaders = [rows[0] for rows, _ in gangs]
        self._keys = np.array([key_of(row.seed) for _, row in gangs], dtype=np.uint64)
        size = _TOGETHER if self._device.type == "cpu" else max(len(gangs), 1)
        self._parts = [describe(gangs[i : i + size], self._buckets, self._device) for i in range(0, len(gangs), size)]


def _row_of(params: Any, prompt: Any, output: Sequence[int]) -> tuple[Row, Sequence[int]] | None:
    row = Row.of(params.extra_args)
    return None if row is None else (row, output)


def _check_scheduler(vllm_config: Any) -> None:
    from la_agents_vllm import gang_scheduler

    chosen = vllm_config.scheduler_config.scheduler_cls
    if chosen is not gang_scheduler and chosen != f"{gang_scheduler.__module__}.{gang_scheduler.__name__}":
        msg = (
            f"Expected vLLM to be started with --scheduler-cls la_agents_vllm.gang_scheduler, got {chosen!r}; without "
            "it rows of one request drift apart. To run vLLM without alignment, uninstall la-agents-vllm."
        )
        raise ValueError(msg)
