"""Pending: tokens that are being chosen, and that a GPU may go on with before the host has seen them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from torch import Tensor

from la_agents.engine.sequence import Sequence
from la_agents.requests import TokenRecord

__all__ = ["Chosen", "Pending"]

Chosen = list[tuple[Sequence, TokenRecord]]


@dataclass
class Pending:
    """What one step chooses.

    Attributes:
        finish: Waits for the records.
        tokens: [sequences], on the device, where the next step may start before they are known; else None.
        places: Where among them each sequence's is.
    """

    finish: Callable[[], Chosen] = list
    tokens: Tensor | None = None
    places: dict[Sequence, int] = field(default_factory=dict)
