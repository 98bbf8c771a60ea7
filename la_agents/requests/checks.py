"""Checks: numbers and choices of a request, refused by name before any work."""

from __future__ import annotations

import math
import sys

from la_agents.errors import ConfigurationError

__all__ = ["MAX_FACTOR", "check", "check_choice", "check_integer", "check_temperature"]

MIN_TEMPERATURE = 1e-10
"""The smallest that is not 0. What is left is greedy long before, and logits divided by much less overflow float32."""
MAX_FACTOR = 1e6
"""Of temperatures, strengths and weights: far beyond any use, and `f(s) / T` stays finite in float32."""
_LARGEST = sys.float_info.max


def check_choice(name: str, value: object, choices: tuple[object, ...]) -> None:
    if value not in choices:
        msg = f"Expected {name} to be one of {', '.join(str(c) for c in choices)}, got {value!r}."
        raise ConfigurationError(msg)


def check_temperature(name: str, value: float, *, or_zero: bool = False) -> None:
    if or_zero and type(value) in (int, float) and value == 0:
        return
    if type(value) in (int, float) and 0 < value < MIN_TEMPERATURE:
        msg = f"Expected {name} to be at least {MIN_TEMPERATURE:g}, got {value!r}; temperature=0 is greedy decoding."
        raise ConfigurationError(msg)
    check(name, value, low=0.0, high=MAX_FACTOR, above=not or_zero)


def check_integer(name: str, value: int, *, low: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value < low:
        msg = f"Expected {name} to be an integer of at least {low}, got {_shown(value)}."
        raise ConfigurationError(msg)


def check(name: str, value: float, *, low: float, high: float = math.inf, above: bool = False) -> None:
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    # An integer too large for a float compares all the same, and is none that a tensor could hold.
    if not number or not -_LARGEST <= value <= _LARGEST or not low <= value <= high or (above and value == low):
        bound = f"{'above' if above else 'at least'} {low:g}" + (f" and at most {high:g}" if high < math.inf else "")
        msg = f"Expected {name} to be a number {bound}, got {_shown(value)}."
        raise ConfigurationError(msg)


def _shown(value: object) -> str:
    """As Python writes it; an integer of thousands of digits cannot be written."""
    return f"an integer of {value.bit_length()} bits" if isinstance(value, int) and abs(value) >= 2**64 else repr(value)
