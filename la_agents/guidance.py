"""Guidance: other rules for the same branches, each as the point of the line that it takes; plain numbers, no tensors.

Linear Alignment, classifier-free guidance, Context Steering and Amulet are given the same logits, f_0 without the
principles and f_i with them, and all of them answer with a policy on one line (`la_agents.alignment`):

    f(s) = f_0 + s * sum_i w_i (f_i - f_0)          pi = softmax(f(s) / T)

They differ in s, in how each token is moved beyond s = 1 (the push), and in which tokens may be chosen (the support):

    tapered            s = 1 + gamma, each token by its own plausibility; V_0.1    this library's default
    linear             s = 1 + gamma; the nucleus of f(1)     Gao et al., ICML 2024, arXiv 2401.11458
    cfg                s = the guidance scale; all tokens     Sanchez et al., arXiv 2306.17806; as in transformers
    context-steering   s = 1 + lambda; all tokens             He et al., ICLR 2025, arXiv 2405.01768
    amulet             s = s_T (`amulet_scale`); all tokens   Zhang et al., ICLR 2025, arXiv 2502.19148

The last three combine log-probabilities instead of logits, which moves all tokens of a step alike and so changes no
policy. For the reader's ease all take `strength`, where 0 is prompting alone: gamma, the guidance scale less one,
lambda, and for Amulet the factor on its alpha (1: as published). Several branches enter through their sum, as in
multi-context Context Steering; for Amulet, whose paper has one, softmax(f(1)) is the prompted policy it starts from.
The divergence along the line grows with s whatever the rule, so a budget means the same for all of them.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

__all__ = [
    "AMULET_MAX_STRENGTH",
    "DEFAULT_METHOD",
    "PRESETS",
    "Preset",
    "Push",
    "Rule",
    "Support",
    "amulet_scale",
    "scale",
]

Rule = Literal["tapered", "linear", "amulet", "cfg", "context-steering"]
Support = Literal["nucleus", "plausible", "all"]
Push = Literal["uniform", "tapered", "adaptive"]

DEFAULT_METHOD: Rule = "tapered"


class Preset(NamedTuple):
    """What a method takes where nothing else is asked for."""

    support: Support
    push: Push
    strength: float


PRESETS: dict[Rule, Preset] = {
    "tapered": Preset("plausible", "tapered", 2.0),
    "linear": Preset("nucleus", "uniform", 0.5),
    "amulet": Preset("all", "uniform", 1.0),
    "cfg": Preset("all", "uniform", 1.0),
    "context-steering": Preset("all", "uniform", 1.0),
}

AMULET_MAX_STRENGTH = 2.0
"""Twice the published alpha takes s from 5.6 to 118, far beyond where anything but the likeliest token is left."""


def scale(rule: Rule, strength: float) -> float:
    """The s of `f(s)` that a rule takes at `strength`; 1, prompting alone, at 0."""
    return amulet_scale(alpha=2.0 * strength) if rule == "amulet" else 1.0 + strength


def amulet_scale(*, alpha: float = 2.0, eta: float = 10.0, lambda_: float = 2.0, iterations: int = 60) -> float:
    """The s at which Amulet's online learning arrives, 5.65 with the published settings.

    Each token is a problem of its own: from the prompted policy pi_1, iteration t follows the regularised leader of the
    utilities `u_i = alpha (log pi_i - log pi_0)` seen so far, at once in closed form (log-probabilities, up to a
    constant that normalisation removes; the update of the authors' published code, `amulet_game`):

        log pi_{t+1} = (lambda log pi_1 + mean_{i<=t} u_i + log pi_t / (eta t)) / (lambda + 1 / (eta t))

    Every term is affine in log pi_0 and log pi_1 with coefficients that sum to 1, for each token of the vocabulary the
    same. So all policies on the way are `log pi_t = log pi_0 + s_t (log pi_1 - log pi_0)`, and the T iterations over
    the vocabulary are T iterations of one number:

        s_{t+1} = (lambda + alpha mean_{i<=t} s_i + s_t / (eta t)) / (lambda + 1 / (eta t)),   s_1 = 1
    """
    s, total = 1.0, 0.0
    for t in range(1, iterations + 1):
        total += s
        s = (lambda_ + alpha * total / t + s / (eta * t)) / (lambda_ + 1.0 / (eta * t))
    return s
