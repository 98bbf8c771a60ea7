"""Sampling: how a token is chosen among the aligned logits, and when an answer stops."""

from __future__ import annotations

from dataclasses import dataclass

from la_agents.errors import ConfigurationError
from la_agents.requests.checks import check, check_integer, check_temperature

__all__ = ["Sampling"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """How a token is chosen among the aligned logits, and when to stop.

    Attributes:
        temperature: T, 0 for greedy or from 1e-10 to 1e6.
        top_p: Mass of the nucleus that sampling draws from, in (0, 1]; its likeliest token is always in it.
        seed: An integer >= 0. Same seed, same tokens, whatever else shares the batch; None draws a fresh one.
        max_tokens: Most tokens to generate, >= 1.
        stop: Strings that end the answer; they are not part of it.
        stop_repetition: Whether an answer without a grammar ends where it only repeats itself, with the finish reason
            "repetition"; an engine that cannot tell decodes on.
    """

    temperature: float = 0.0
    top_p: float = 1.0
    seed: int | None = None
    max_tokens: int = 256
    stop: tuple[str, ...] = ()
    stop_repetition: bool = False

    def __post_init__(self) -> None:
        check_temperature("temperature", self.temperature, or_zero=True)
        check("top_p", self.top_p, low=0.0, high=1.0, above=True)
        check_integer("max_tokens", self.max_tokens, low=1)
        if self.seed is not None:
            check_integer("seed", self.seed, low=0)
        if isinstance(self.stop, str) or not all(isinstance(s, str) and s for s in self.stop):
            msg = f"Expected stop to be a list of non-empty strings, got {self.stop!r}."
            raise ConfigurationError(msg)
