"""Static decoder: decoding steps of fixed shapes, replayed as CUDA graphs.

On a GPU a step of one token a row is hundreds of small kernels, and launching them costs more than running them. A
graph launches them all at once, but only for the same shapes at the same addresses: so rows are rounded up to powers of
two, inputs live in buffers that are filled anew for each step, and rows beyond the real ones compute into the scratch
slot. A graph is captured when its shape is first met.

On a CPU the same buffers feed the model directly: slower than exact shapes, there to test this path without a GPU.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from la_agents.engine.attention import AttentionMetadata
from la_agents.engine.token_pool import TokenPool

__all__ = ["GraphCapture", "StaticDecoder"]

Forward = Callable[[Tensor, AttentionMetadata, TokenPool], Tensor]

_MIN_KEYS = 512
_MIN_ROWS = 2
"""One row alone is computed no faster than two."""
_WARM_UP_RUNS = 2


class GraphCapture:
    """Captures functions of fixed tensors as CUDA graphs, whose memory is one pool: only one of them runs at a time.

    All captures of a process take turns on one stream: cuBLAS keeps 32 MiB for every stream that it has ever seen.
    """

    _turn = threading.Lock()
    _streams = staticmethod(functools.cache(torch.cuda.Stream))  # by device

    def __init__(self) -> None:
        self._pool: Any = None

    def __call__(self, function: Callable[[], Any]) -> Callable[[], Any]:
        """`function` as a graph; running it replays the graph and returns its output buffers, overwritten each time.

        `function` must not synchronise with the host. What other threads do on the GPU meanwhile does not disturb it.
        """
        graph = torch.cuda.CUDAGraph()
        self._pool = self._pool or torch.cuda.graph_pool_handle()
        with self._turn:
            side = self._streams(torch.cuda.current_device())
            side.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(side):
                for _ in range(_WARM_UP_RUNS):
                    function()
            torch.cuda.current_stream().wait_stream(side)
            with torch.cuda.graph(graph, pool=self._pool, stream=side, capture_error_mode="thread_local"):
                out = function()

        def replay() -> Any:
            graph.replay()
            return out

        return replay


@dataclass
class _Shape:
    """One captured shape: its inputs on the device, and how to run it."""

    inputs: Tensor  # [3, rows]: token ids, positions, slots
    run: Callable[[], Tensor]  # logits [rows, vocab]


class StaticDecoder:
    """Runs decoding steps of `forward` in fixed shapes.

    Args:
        forward: Logits [rows, vocab] of ids [rows, 1]; must not synchronise with the host.
    """

    def __init__(self, forward: Forward, device: torch.device) -> None:
        self._forward = forward
        self._device = device
        self._shapes: dict[tuple[int, int], _Shape] = {}
        self._capture = GraphCapture()

    def decode(
        self, tokens: Sequence[int] | Tensor, positions: Sequence[int], slots: Sequence[int], pool: TokenPool
    ) -> Tensor:
        """The logits after `tokens`, one a row; [rows, vocab].

        The result is a view that the next step overwrites; on a GPU it may not be there yet.

        Args:
            tokens: One a row; a tensor stays on the device, where it may not be there yet either.
            positions: Of the tokens in their rows.
            slots: Where in the pool their keys are stored.
        """
        num_rows = max(_MIN_ROWS, 1 << (len(tokens) - 1).bit_length())
        num_keys = max(_MIN_KEYS, 1 << max(positions).bit_length())
        shape = self._shapes.get((num_rows, num_keys))
        if shape is None:
            shape = self._shapes[num_rows, num_keys] = self._make(num_rows, num_keys, pool)
        spare = num_rows - len(tokens)
        known = [0] * len(tokens) if isinstance(tokens, Tensor) else tokens
        inputs = [[*known, *[0] * spare], [*positions, *[0] * spare], [*slots, *[pool.scratch_slot] * spare]]
        # A new buffer each step: what the last one holds may still be on its way.
        shape.inputs.copy_(torch.tensor(inputs, pin_memory=shape.inputs.is_cuda), non_blocking=True)
        if isinstance(tokens, Tensor):
            shape.inputs[0, : len(tokens)] = tokens
        return shape.run()[: len(tokens)]

    def _make(self, num_rows: int, num_keys: int, pool: TokenPool) -> _Shape:
        inputs = torch.zeros((3, num_rows), dtype=torch.long, device=self._device)
        inputs[2] = pool.scratch_slot
        ids, positions, slots = (column.unsqueeze(1) for column in inputs)

        def forward() -> Tensor:
            # A new AttentionMetadata each time: what it derives must be computed inside the graph.
            return self._forward(ids, AttentionMetadata(positions, slots, num_keys), pool)

        return _Shape(inputs, self._capture(forward) if inputs.is_cuda else forward)
