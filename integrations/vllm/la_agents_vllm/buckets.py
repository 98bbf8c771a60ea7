"""Buckets: what each answer may still give away of its fluency; see `la_agents.engine.sequence.Fluency`.

A step may be taken again: vLLM drops what rows in flight decoded when it preempts them. So an answer's last few states
are kept, and each step goes on from the state of its own place.
"""

from __future__ import annotations

from collections import OrderedDict

import torch
from torch import Tensor

__all__ = ["Buckets"]

_BURST = 3.0
_DEPTH = 16  # more than vLLM has in flight


class Buckets:
    """The last states of the latest answers, on the device.

    Args:
        capacity: Answers that are remembered; of those that have not decoded for longest, the next ones take the place.
    """

    def __init__(self, capacity: int, device: torch.device) -> None:
        self._left = torch.full((capacity + 1, _DEPTH), _BURST, device=device)  # the first is nobody's
        self._slots: OrderedDict[str, int] = OrderedDict()

    def slot_of(self, name: str) -> int:
        """Where an answer's bucket is; full if it is new."""
        slot = self._slots.pop(name, None)
        if slot is None:
            is_full = len(self._slots) + 1 == len(self._left)
            slot = self._slots.popitem(last=False)[1] if is_full else len(self._slots) + 1
            self._left[slot] = _BURST
        self._slots[name] = slot
        return slot

    def left(self, slots: Tensor, places: Tensor) -> Tensor:
        """Nats that the tokens at these places may cost."""
        return self._left[slots, places % _DEPTH]

    def spend(self, slots: Tensor, places: Tensor, cost: Tensor, rate: Tensor) -> None:
        """Account for those tokens."""
        left = (self.left(slots, places) - cost.nan_to_num(0.0)).clamp_min(0.0) + rate
        self._left[slots, (places + 1) % _DEPTH] = left.clamp_max(_BURST)
