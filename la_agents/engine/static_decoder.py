"""Static decoder: decoding steps of fixed shapes, replayed as CUDA graphs.

On a GPU a step of one token a row is a thousand small kernels, and launching them costs more than running them. A
graph launches them all at once, but only for the same shapes at the same addresses: so rows and visible keys are
rounded up to powers of two, inputs live in buffers that are filled anew for each step, and rows beyond the real ones
compute into the scratch slot. A graph is captured when its shapes are first met, and again when the slot cache has
moved.

On a CPU the same buffers feed the model directly: slower than exact shapes, there to test this path without a GPU.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from la_agents.engine.attention import AttentionMetadata
from la_agents.engine.kv_cache import SlotCache

__all__ = ["StaticDecoder"]

Forward = Callable[[Tensor, AttentionMetadata, SlotCache], Tensor]

_MIN_KEYS = 256
_WARM_UP_RUNS = 2


@dataclass
class _Shape:
    """One captured shape: its input buffers, and how to run it."""

    ids: Tensor  # [rows, 1]
    positions: Tensor  # [rows, 1]
    slots: Tensor  # [rows, 1]
    run: Callable[[], Tensor]  # logits [rows, vocab]


class StaticDecoder:
    """Runs decoding steps of `forward` in fixed shapes.

    Args:
        forward: Logits [rows, vocab] of ids [rows, 1]; must not synchronise with the host.
    """

    def __init__(self, forward: Forward) -> None:
        self._forward = forward
        self._shapes: dict[tuple[int, int], _Shape] = {}
        self._captured_at = -1
        self._pool: Any = None

    def decode(self, tokens: Sequence[int], lengths: Sequence[int], cache: SlotCache) -> Tensor:
        """The logits after `tokens`, one a row of `lengths` tokens so far; [rows, vocab].

        The result is a view that the next step overwrites. The cache must have room for one token more a row.
        """
        num_rows = 1 << (len(tokens) - 1).bit_length()
        num_keys = min(max(_MIN_KEYS, 1 << max(lengths).bit_length()), cache.num_slots)
        if self._captured_at != cache.num_moves:
            self._shapes, self._captured_at = {}, cache.num_moves
        shape = self._shapes.get((num_rows, num_keys))
        if shape is None:
            shape = self._shapes[num_rows, num_keys] = self._capture(num_rows, num_keys, cache)
        spare = num_rows - len(tokens)
        inputs = torch.tensor(
            [[*tokens, *[0] * spare], [*lengths, *[0] * spare], [*lengths, *[cache.scratch_slot] * spare]]
        ).to(shape.ids.device, non_blocking=True)
        for buffer, values in zip((shape.ids, shape.positions, shape.slots), inputs, strict=True):
            buffer[:, 0] = values
        return shape.run()[: len(tokens)]

    def _capture(self, num_rows: int, num_keys: int, cache: SlotCache) -> _Shape:
        device = cache.device
        ids, positions = torch.zeros((2, num_rows, 1), dtype=torch.long, device=device).unbind()
        slots = torch.full((num_rows, 1), cache.scratch_slot, dtype=torch.long, device=device)

        def forward() -> Tensor:
            # A new AttentionMetadata each time: its mask must be computed inside the graph, from the buffers' contents.
            return self._forward(ids, AttentionMetadata(positions, slots, num_keys), cache)

        run = self._graph(forward) if device.type == "cuda" else forward
        return _Shape(ids, positions, slots, run)

    def _graph(self, forward: Callable[[], Tensor]) -> Callable[[], Tensor]:
        """`forward` captured as a CUDA graph; running it replays the graph and returns its output buffer."""
        side = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(_WARM_UP_RUNS):
                forward()
        torch.cuda.current_stream().wait_stream(side)
        # One pool for all graphs: only one runs at a time, and its output is read before the next.
        self._pool = self._pool or torch.cuda.graph_pool_handle()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=self._pool):
            logits = forward()

        def replay() -> Tensor:
            graph.replay()
            return logits

        return replay
