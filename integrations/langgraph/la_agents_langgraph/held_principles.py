"""HeldPrinciples: principles on their way through a run, which whatever records runs cannot read."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from la_agents.principles import Principle

__all__ = ["HeldPrinciples"]


class HeldPrinciples:
    """Principles in order. A tracer, a stream of updates and a debugger print how many they are, and no text.

    Args:
        principles: The principles.
    """

    __slots__ = ("_principles",)

    def __init__(self, principles: Iterable[Principle] = ()) -> None:
        self._principles = tuple(principles)

    def __iter__(self) -> Iterator[Principle]:
        return iter(self._principles)

    def __len__(self) -> int:
        return len(self._principles)

    def __repr__(self) -> str:
        return f"<{len(self)} principles>"
