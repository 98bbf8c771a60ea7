"""Alignment: how far a request asks for its principles to move the logits."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import get_args

from la_agents import guidance
from la_agents.errors import ConfigurationError
from la_agents.requests.checks import MAX_FACTOR, check, check_choice, check_temperature

__all__ = ["Alignment"]

PRINCIPLE_TOP_P = 0.8
"""Mass of the nucleus in the authors' code of Linear Alignment."""
PLAUSIBILITY = 0.1
"""alpha of contrastive decoding's support, as published."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Alignment:
    """How far the principles move the logits (`la_agents.alignment`). None takes the method's own (`guidance.PRESETS`).

    Attributes:
        method: The rule that says how far (`la_agents.guidance`).
        strength: gamma from -1 to 1e6; 0 is prompting alone, -1 the reference inside the support. For "amulet" the
            factor on its alpha, from 0 to 2; 1 is as published.
        support: Which tokens may be chosen: "nucleus", "plausible" or "all" (`la_agents.alignment.support`). None takes
            the one whose number is given below, else the method's own.
        principle_top_p: Mass of the nucleus of f(1), 0.8 by default; 1 keeps all.
        mask_temperature: T_m of that nucleus; None takes the sampling temperature, or the authors' 0.5 if that is 0.
        plausibility: alpha of "plausible", from 0 (keeps all) to 1, 0.1 by default.
        push: How each token is moved beyond prompting: "uniform", "tapered" or "adaptive" (`la_agents.alignment.push`).
            None is "tapered" where `taper` is given, else the method's own.
        taper: kappa >= 0: 1 by default for "tapered", 0 for "adaptive".
        fluency: Nats per token by which an answer may be less likely under the principles than their own choice, as a
            running mean; None for no bound. See `Fluency`.
        max_divergence: delta in nats per token, or None for no budget.
    """

    method: guidance.Rule = guidance.DEFAULT_METHOD
    strength: float | None = None
    support: guidance.Support | None = None
    principle_top_p: float | None = None
    mask_temperature: float | None = None
    plausibility: float | None = None
    push: guidance.Push | None = None
    taper: float | None = None
    fluency: float | None = None
    max_divergence: float | None = None

    def __post_init__(self) -> None:
        check_choice("method", self.method, get_args(guidance.Rule))
        check_choice("support", self.support, (*get_args(guidance.Support), None))
        check_choice("push", self.push, (*get_args(guidance.Push), None))
        if self.strength is not None:
            if self.method == "amulet":
                check("strength of amulet", self.strength, low=0.0, high=guidance.AMULET_MAX_STRENGTH)
            check("strength", self.strength, low=-1.0, high=MAX_FACTOR)
        if self.principle_top_p is not None:
            check("principle_top_p", self.principle_top_p, low=0.0, high=1.0, above=True)
        if self.mask_temperature is not None:
            check_temperature("mask_temperature", self.mask_temperature)
        if self.plausibility is not None:
            check("plausibility", self.plausibility, low=0.0, high=1.0)
        for name in ("taper", "fluency"):
            if getattr(self, name) is not None:
                check(name, getattr(self, name), low=0.0, high=MAX_FACTOR)
        if self.max_divergence is not None:
            check("max_divergence", self.max_divergence, low=0.0)
        self._check_used()

    def _check_used(self) -> None:
        """Refuse a number that the support or the push asked for beside it would not look at."""
        belongs = {
            "principle_top_p": ("support", self.support, ("nucleus",)),
            "mask_temperature": ("support", self.support, ("nucleus",)),
            "plausibility": ("support", self.support or self.chosen_support, ("plausible",)),
            "taper": ("push", self.push, ("tapered", "adaptive")),
        }
        for name, (what, asked, fitting) in belongs.items():
            if getattr(self, name) is not None and asked not in (None, *fitting):
                msg = f"Expected {name} beside {what}={fitting[0]!r}, got it beside {asked!r}; leave one of them out."
                raise ConfigurationError(msg)

    @property
    def chosen_support(self) -> guidance.Support:
        """The support that is taken, whether it was asked for or not."""
        if self.support is not None:
            return self.support
        if self.principle_top_p is not None or self.mask_temperature is not None:
            return "nucleus"
        return "plausible" if self.plausibility is not None else guidance.PRESETS[self.method].support

    @property
    def chosen_push(self) -> guidance.Push:
        """The push that is taken, whether it was asked for or not."""
        if self.push is not None:
            return self.push
        return "tapered" if self.taper is not None else guidance.PRESETS[self.method].push

    @property
    def chosen_strength(self) -> float:
        """gamma, the method's own where none was asked for."""
        return guidance.PRESETS[self.method].strength if self.strength is None else self.strength

    @property
    def scale(self) -> float:
        """The s of `f(s)` that is aimed at; a budget may stop short of it."""
        return guidance.scale(self.method, self.chosen_strength)

    @property
    def support_p(self) -> float:
        """Mass of the nucleus; 1 where the support is another."""
        if self.chosen_support != "nucleus":
            return 1.0
        return PRINCIPLE_TOP_P if self.principle_top_p is None else self.principle_top_p

    @property
    def log_plausibility(self) -> float:
        """log alpha; -inf where the support is another."""
        alpha = PLAUSIBILITY if self.plausibility is None else self.plausibility
        return math.log(alpha) if self.chosen_support == "plausible" and alpha > 0 else -math.inf

    @property
    def kappa(self) -> float:
        """The taper; 0 where all tokens of a step are moved alike."""
        if self.chosen_push == "uniform":
            return 0.0
        return float(self.chosen_push == "tapered") if self.taper is None else self.taper
