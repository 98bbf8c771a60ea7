"""Which items a search's filter lets through, and which namespaces a condition names. Pure functions."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from langgraph.store.base import MatchCondition

from la_agents.errors import ConfigurationError

__all__ = ["matches_condition", "passes"]

_ORDERINGS: Mapping[str, Callable[[float, float], bool]] = {
    "$gt": lambda value, limit: value > limit,
    "$gte": lambda value, limit: value >= limit,
    "$lt": lambda value, limit: value < limit,
    "$lte": lambda value, limit: value <= limit,
}


def passes(value: Mapping[str, Any], filter: Mapping[str, Any] | None) -> bool:
    """Whether an item's value meets every condition of a filter.

    A condition is a plain value (equal), a mapping (each of its keys meets its own condition), or operators: `$eq`,
    `$ne`, and on numbers `$gt`, `$gte`, `$lt`, `$lte`; what is no number meets none of those four.

    Raises:
        ConfigurationError: the operator is another one.
    """
    return all(_meets(value.get(key), condition) for key, condition in (filter or {}).items())


def _meets(value: Any, condition: Any) -> bool:
    if isinstance(condition, Mapping):
        if any(str(key).startswith("$") for key in condition):
            return all(_compares(value, operator, operand) for operator, operand in condition.items())
        return isinstance(value, Mapping) and all(_meets(value.get(key), each) for key, each in condition.items())
    if isinstance(condition, (list, tuple)):
        same_length = isinstance(value, (list, tuple)) and len(value) == len(condition)
        return same_length and all(_meets(one, each) for one, each in zip(value, condition, strict=True))
    return bool(value == condition)


def _compares(value: Any, operator: str, operand: Any) -> bool:
    if operator == "$eq":
        return bool(value == operand)
    if operator == "$ne":
        return bool(value != operand)
    if operator not in _ORDERINGS:
        msg = f"Expected the operator $eq, $ne, $gt, $gte, $lt or $lte, got {operator!r}."
        raise ConfigurationError(msg)
    try:
        return _ORDERINGS[operator](float(value), float(operand))
    except (TypeError, ValueError):
        return False


def matches_condition(namespace: tuple[str, ...], condition: MatchCondition) -> bool:
    """Whether a namespace begins, or ends, as the condition's path says; `*` stands for any label."""
    path = tuple(condition.path)
    if len(namespace) < len(path):
        return False
    part: Sequence[str]
    if condition.match_type == "prefix":
        part = namespace[: len(path)]
    elif condition.match_type == "suffix":
        part = namespace[len(namespace) - len(path) :]
    else:
        msg = f"Expected the match type prefix or suffix, got {condition.match_type!r}."
        raise ConfigurationError(msg)
    return all(wanted in ("*", label) for wanted, label in zip(path, part, strict=True))
