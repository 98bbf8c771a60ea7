"""Arguments: what a client sends with a request (`vllm_xargs`), and what the worker has to know of each of its rows."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import astuple, dataclass
from typing import Any, NamedTuple

__all__ = ["MAX_BRANCHES", "PREFIX", "ROW", "Arguments", "Row", "check_parameters"]

PREFIX = "la_"
ROW = "la_row"
"""What the scheduler tells the worker of a row; from outside it is refused."""

MAX_BRANCHES = 16
MAX_FACTOR = 1e6
_GREEDY = 1e-5
"""Temperatures below are greedy to vLLM."""
_GREEDY_MASK_TEMPERATURE = 0.5


class _Number(NamedTuple):
    low: float
    high: float = MAX_FACTOR
    above: bool = False  # whether `low` itself is out of range


_NUMBERS = {
    "temperature": _Number(0.0),
    "top_p": _Number(0.0, 1.0, above=True),
    "scale": _Number(0.0, 1e6 + 1),
    "taper": _Number(0.0),
    "adaptive": _Number(0, 1),
    "support_p": _Number(0.0, 1.0, above=True),
    "mask_temperature": _Number(0.0, above=True),
    "plausibility": _Number(0.0, 1.0),
    "fluency": _Number(0.0),
    "max_divergence": _Number(0.0, math.inf),
    "record": _Number(0, 2),
    "probe": _Number(0, 1),
}
_WHOLE = ("record", "probe")
_KNOWN = {"branches", "lengths", "weights", "trigger", *_NUMBERS}


@dataclass(frozen=True)
class Arguments:
    """One aligned request; on the wire each field is `la_` and its name.

    Attributes:
        branches: Token ids of the prompts with principles; on the wire one list, and `la_lengths` beside it. None
            decodes the reference, the request's own prompt, alone, with the same random numbers.
        weights: One a branch, 1 by default.
        temperature: The request's own by default, which vLLM keeps between 0.01 and 2.
        top_p: The request's own by default.
        scale: s of f(s), 1 + strength.
        taper: kappa of the push; 0 moves all tokens of a step alike.
        adaptive: 1 for a push that follows each step's conflict.
        support_p: Mass of the nucleus support; 1 keeps all.
        mask_temperature: T_m of that nucleus; by default the temperature, or 0.5 where that is 0.
        plausibility: alpha of the plausible support; 0 keeps all.
        fluency: Nats per token that an answer may be less likely under the principles than their own choice.
        max_divergence: delta in nats per token.
        trigger: Text from which on a grammar's answer is not aligned any more.
        record: 1 for a record of each token in the place of its logprobs, 2 for one that lists candidates as well.
        probe: 1 to be told what this server is.
    """

    branches: tuple[tuple[int, ...], ...]
    weights: tuple[float, ...]
    temperature: float | None = None
    top_p: float | None = None
    scale: float = 1.0
    taper: float = 0.0
    adaptive: float = 0.0
    support_p: float = 1.0
    mask_temperature: float | None = None
    plausibility: float = 0.0
    fluency: float | None = None
    max_divergence: float = math.inf
    trigger: str | None = None
    record: int = 0
    probe: int = 0

    @classmethod
    def of(cls, extra: Mapping[str, Any] | None) -> Arguments | None:
        """What a request carries; None for a request that is not for this package.

        Raises:
            ValueError: it is not understood.
        """
        given = {k.removeprefix(PREFIX): v for k, v in (extra or {}).items() if k.startswith(PREFIX)}
        given.pop(ROW.removeprefix(PREFIX), None)
        if not given:
            return None
        if unknown := sorted(set(given) - _KNOWN):
            msg = f"Expected arguments among {_names(_KNOWN)}, got {_names(unknown)}."
            raise ValueError(msg)
        branches = _branches(given.get("branches", []), given.get("lengths", []))
        weights = given.get("weights", [1.0] * len(branches))
        if not isinstance(weights, list) or len(weights) != len(branches):
            msg = f"Expected la_weights to be a list of one weight a branch, for {len(branches)} branches."
            raise ValueError(msg)
        for weight in weights:
            _check("la_weights", weight, _Number(0.0))
        numbers: dict[str, Any] = {}
        for name, allowed in _NUMBERS.items():
            if name in given:
                _check(PREFIX + name, given[name], allowed)
                numbers[name] = int(given[name]) if name in _WHOLE else float(given[name])
        if branches and "scale" not in numbers:
            msg = "Expected la_scale (1 + strength) beside la_branches."
            raise ValueError(msg)
        trigger = given.get("trigger")
        if trigger is not None and not (isinstance(trigger, str) and trigger):
            msg = "Expected la_trigger to be a text."
            raise ValueError(msg)
        return cls(branches, tuple(map(float, weights)), **numbers, trigger=trigger)


def _branches(flat: Any, lengths: Any) -> tuple[tuple[int, ...], ...]:
    if not _natural(flat) or not _natural(lengths):
        msg = "Expected la_branches and la_lengths to be lists of token ids and of the branches' lengths."
        raise ValueError(msg)
    if len(lengths) > MAX_BRANCHES:
        msg = f"Expected at most {MAX_BRANCHES} branches, got {len(lengths)}."
        raise ValueError(msg)
    if any(n < 2 for n in lengths) or sum(lengths) != len(flat):
        msg = f"Expected la_lengths to be lengths of at least 2 that add up to la_branches' {len(flat)}."
        raise ValueError(msg)
    branches, at = [], 0
    for n in lengths:
        branches.append(tuple(flat[at : at + n]))
        at += n
    return tuple(branches)


def _natural(values: Any) -> bool:
    return isinstance(values, list) and all(type(v) is int and v >= 0 for v in values)


def _check(name: str, value: Any, allowed: _Number) -> None:
    try:
        number = float(value) if type(value) in (int, float) else math.nan
    except OverflowError:  # an integer that no float can hold
        number = math.nan
    if not allowed.low <= number <= allowed.high or (allowed.above and number == allowed.low):
        bounds = f"{'above' if allowed.above else 'from'} {allowed.low:g} to {allowed.high:g}"
        msg = f"Expected {name} to be a number {bounds}, got {value!r:.40}."
        raise ValueError(msg)


def _names(names: Any) -> str:
    return ", ".join(PREFIX + name for name in sorted(names))


@dataclass(frozen=True)
class Row:
    """What the worker has to know of a row.

    Attributes:
        gang: The request it belongs to, by a name that no client knows.
        role: 0 for the reference, i for branch i.
        size: Rows of the request.
        seed: Of its random numbers.
        temperature: 0 where greedy.
    """

    gang: str
    role: int
    size: int
    seed: int
    temperature: float
    top_p: float
    weights: tuple[float, ...]
    scale: float
    taper: float
    adaptive: float
    support_p: float
    mask_temperature: float
    plausibility: float
    fluency: float | None
    max_divergence: float
    record: int

    @classmethod
    def first(cls, gang: str, given: Arguments, seed: int, temperature: float, top_p: float) -> Row:
        """The reference's; temperature and top_p are vLLM's own."""
        temperature = 0.0 if temperature < _GREEDY else temperature
        temperature = temperature if given.temperature is None else given.temperature
        return cls(
            gang=gang,
            role=0,
            size=1 + len(given.branches),
            seed=seed,
            temperature=temperature,
            top_p=top_p if given.top_p is None else given.top_p,
            weights=given.weights,
            scale=given.scale,
            taper=given.taper,
            adaptive=given.adaptive,
            support_p=given.support_p,
            mask_temperature=given.mask_temperature or temperature or _GREEDY_MASK_TEMPERATURE,
            plausibility=given.plausibility,
            fluency=given.fluency,
            max_divergence=given.max_divergence,
            record=given.record,
        )

    @classmethod
    def of(cls, extra: Mapping[str, Any] | None) -> Row | None:
        """The row that the scheduler described in a request's extra arguments, if it did."""
        wire = (extra or {}).get(ROW)
        if wire is None:
            return None
        values: list[Any] = [tuple(x) if isinstance(x, list) else x for x in wire]
        return cls(*values)

    @property
    def wire(self) -> list[Any]:
        return list(astuple(self))


def check_parameters(params: Any, given: Arguments) -> None:
    """Refuse by name what an aligned request cannot have.

    Raises:
        ValueError: it has some of it.
    """
    used = {
        "presence_penalty": bool(params.presence_penalty),
        "frequency_penalty": bool(params.frequency_penalty),
        "repetition_penalty": params.repetition_penalty not in (None, 1.0),
        "top_k": params.top_k not in (0, -1, None),
        "min_p": bool(params.min_p),
        "logit_bias": bool(params.logit_bias),
        "prompt_logprobs": params.prompt_logprobs is not None,
        "thinking_token_budget": bool(getattr(params, "thinking_token_budget", None)),
        "watermarking": bool(getattr(params, "watermarking", None)),
    }
    if refused := [name for name, is_used in used.items() if is_used]:
        msg = f"Expected an aligned request without {', '.join(refused)}; leave it out."
        raise ValueError(msg)
    if given.trigger is not None and params.structured_outputs is None:
        msg = "Expected la_trigger beside structured_outputs, got it without; leave it out, or give the grammar."
        raise ValueError(msg)
