"""Methods: what the evaluation compares, each as the settings that it is run with. No model here.

A method says which prompts a question gets (none with principles, all principles in one, or one each), which rule
turns the logits of those branches into a policy, and what of it is varied. The policy itself is the engine's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from la_agents.errors import ConfigurationError
from la_agents.guidance import Rule
from la_agents.prompts.builder import Compose, Placing
from la_agents.requests import Alignment, Sampling

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["METHODS", "POLICIES", "Method", "Setting", "log_policy", "methods_named", "policy_of"]

GREEDY_MASK_TEMPERATURE = 0.5
"""T_m of the nucleus where decoding is greedy and none is given: the authors'."""


@dataclass(frozen=True, slots=True)
class Setting:
    """One point of a method: everything but the question that an answer depends on.

    Attributes:
        method: Its name in `METHODS`.
        strength: As `Alignment.strength`; None where the method has none.
        max_divergence: Nats per token; None for no budget.
        fluency: Nats per token; None for no bound.
        num_samples: Answers that are drawn for one to be picked.
    """

    method: str
    strength: float | None = None
    max_divergence: float | None = None
    fluency: float | None = None
    num_samples: int = 1

    @property
    def key(self) -> str:
        """Stable name of the point: "base", "linear strength=2", "linear+budget budget=0.5", "best-of-n n=4"."""
        parts = [self.method]
        if self.strength is not None:
            parts.append(f"strength={self.strength:g}")
        if self.max_divergence is not None:
            parts.append(f"budget={self.max_divergence:g}")
        if self.fluency is not None:
            parts.append(f"fluency={self.fluency:g}")
        if self.num_samples > 1:
            parts.append(f"n={self.num_samples}")
        return " ".join(parts)

    @property
    def compose(self) -> Compose:
        return METHODS[self.method].compose

    @property
    def placing(self) -> Placing:
        return METHODS[self.method].placing

    @property
    def calibrated(self) -> bool:
        """Whether the model's calibration says the strength, and where principles are named."""
        return METHODS[self.method].calibrated

    @property
    def aligned(self) -> bool:
        """Whether the principles take part at all."""
        return METHODS[self.method].aligned

    def alignment(self) -> Alignment:
        """How the engine decodes it; without principles no alignment takes place, whatever this says."""
        rule = METHODS[self.method].rule
        if self.strength is None:  # plain prompting: no push, and no mask either
            return Alignment(method=rule, strength=0.0, support="all", push="uniform")
        return Alignment(method=rule, strength=self.strength, max_divergence=self.max_divergence, fluency=self.fluency)

    def sampling(self, *, max_tokens: int, seed: int, stop: tuple[str, ...] = ()) -> Sampling:
        """How its tokens are chosen: greedily, but for answers of which one is picked."""
        temperature = 1.0 if self.num_samples > 1 else 0.0
        return Sampling(temperature=temperature, seed=seed, max_tokens=max_tokens, stop=stop)


@dataclass(frozen=True, slots=True)
class Method:
    """A way to make a model follow principles.

    Attributes:
        varies: What a sweep goes over.
        rule: Which point of the line it takes (`la_agents.guidance`).
        compose: One branch for all principles, or one each.
        aligned: Whether the principles take part at all.
        num_samples: Answers that are drawn for one to be picked.
        placing: Where and how the prompt names the principles.
        calibrated: Whether the model's calibration says that and the strength, as it does for the faces by default.
        candidate: Whether a calibration tries it, beside prompting.
    """

    name: str
    summary: str
    varies: Literal["nothing", "strength", "budget", "fluency"] = "nothing"
    rule: Rule = "linear"
    compose: Compose = "joint"
    aligned: bool = True
    num_samples: int = 1
    placing: Placing = field(default_factory=Placing)
    calibrated: bool = False
    candidate: bool = False

    @property
    def is_policy(self) -> bool:
        """Whether a text can be scored under it: the usual prompt, and each token's policy known by itself."""
        return self.placing == Placing() and not self.calibrated and self.varies != "fluency"

    def points(self, strengths: Sequence[float] = (1.0,), budgets: Sequence[float] = (0.5,)) -> list[Setting]:
        """The settings to run, in ascending order.

        A budget, of divergence or of fluency, is tried with the greatest of the strengths as its cap. Strength 0 is the
        method `prompt` for all rules without a mask, and is left out of them; Amulet's strength is its alpha over the
        published one, which is always among its points, and beyond it the policy soon degenerates
        (`la_agents.guidance`).
        """
        if self.varies in ("budget", "fluency"):
            cap, divergence = max(strengths, default=1.0), self.varies == "budget"
            return [
                Setting(self.name, cap, max_divergence=budget)
                if divergence
                else Setting(self.name, cap, fluency=budget)
                for budget in sorted(set(budgets))
            ]
        if self.varies == "nothing":
            return [Setting(self.name, num_samples=self.num_samples)]
        chosen = set(strengths)
        if self.rule != "linear":
            chosen -= {0.0}
        if self.rule == "amulet":
            chosen = {s for s in chosen if 0 < s < 1} | {1.0}
        return [Setting(self.name, strength) for strength in sorted(chosen)]


METHODS: Mapping[str, Method] = {
    method.name: method
    for method in (
        Method("base", "the model without the principles", aligned=False),
        Method("prompt", "the principles in the prompt (s = 1), in the system text and the user's turn"),
        Method("prompt-system", "the principles in the system text alone", placing=Placing("system")),
        Method("prompt-user", "the principles in the user's turn alone", placing=Placing("user")),
        Method(
            "calibrated",
            "the library's default: tapered, as the model's calibration says",
            rule="tapered",
            calibrated=True,
        ),
        Method("tapered", "Linear Alignment, each token by its plausibility", "strength", "tapered", candidate=True),
        *(
            Method(f"tapered-{name}", f"the same, {what}", "strength", "tapered", placing=placing, candidate=True)
            for name, what, placing in (
                ("user", "after the question alone", Placing("user")),
                ("first", "before the question alone", Placing("user", "{principles}\n\n{message}")),
                (
                    "both-first",
                    "in the system text and before the question",
                    Placing("both", "{principles}\n\n{message}"),
                ),
                (
                    "reminder",
                    "after the question as a reminder",
                    Placing("both", "{message}\n\nRemember when you answer: {principles}"),
                ),
                (
                    "wish",
                    "after the question as a wish",
                    Placing("both", "{message}\n\nFollow this preference in your whole answer: {principles}"),
                ),
            )
        ),
        Method("tapered+fluency", "the same with at most a given loss of fluency a token", "fluency", "tapered"),
        Method("linear", "Linear Alignment as published", "strength"),
        Method("linear+budget", "Linear Alignment with at most a given divergence a token", "budget"),
        Method("linear-sum", "Linear Alignment with a branch for each principle", "strength", compose="sum"),
        Method("amulet", "Amulet: online learning of each token, alpha times the strength", "strength", "amulet"),
        Method("cfg", "classifier-free guidance, scale 1 + strength", "strength", "cfg"),
        Method("context-steering", "Context Steering, lambda = strength", "strength", "context-steering"),
        Method("best-of-n", "sampled prompted answers, the one that the principles raise most", num_samples=4),
    )
}

POLICIES = tuple(name for name, method in METHODS.items() if method.is_policy and name != "context-steering")
"""Context Steering's policy is classifier-free guidance's at the same strength, so measuring it tells nothing new."""


def methods_named(names: Sequence[str]) -> list[Method]:
    """The methods of these names, in the order of `METHODS`, each once.

    Raises:
        ConfigurationError: there is no method of one of the names.
    """
    unknown = [name for name in names if name not in METHODS]
    if unknown:
        msg = f"Expected methods among {', '.join(METHODS)}, got {', '.join(map(repr, unknown))}."
        raise ConfigurationError(msg)
    return [method for name, method in METHODS.items() if name in names]


def log_policy(setting: Setting, reference: Tensor, branches: Tensor, weights: Tensor) -> Tensor:
    """Logits of the branches in, policy out: `log pi`, [batch, vocab], of what the engine decodes with this setting.

    At temperature 1 and before the support mask, so that every token has a likelihood: the mask says which tokens
    decoding may choose, and a text that leaves it anywhere would be impossible as a whole.

    Args:
        reference: f_0 [batch, vocab].
        branches: f_i [batch, k, vocab]; of the method's composition, and k = 0 where there are no principles.
        weights: w_i [batch, k].
    """
    aligned = branches if setting.aligned else branches[:, :0]
    return policy_of(setting.alignment(), reference, aligned, weights)


def policy_of(
    settings: Alignment, reference: Tensor, branches: Tensor, weights: Tensor, *, masked: bool = False
) -> Tensor:
    """`log pi` [batch, vocab] of what the engine decodes at temperature 1 with these settings, whatever the answer's
    `fluency` has left; -inf outside the support if `masked`. Without branches it is the reference's.
    """
    import torch

    from la_agents import alignment

    if not branches.shape[1]:
        return alignment.policy(reference)
    adaptive = settings.chosen_push == "adaptive"
    logits, _ = alignment.pushed(reference, branches, weights, settings.scale, settings.kappa, adaptive=adaptive)
    allowed = torch.ones_like(logits, dtype=torch.bool)
    if masked:
        f_1 = alignment.prompted(reference, branches, weights)
        mask_temperature = settings.mask_temperature or GREEDY_MASK_TEMPERATURE
        allowed = alignment.plausible(f_1, settings.log_plausibility)
        allowed &= alignment.nucleus(f_1, settings.support_p, mask_temperature)
    if settings.max_divergence is not None:
        _, logits = alignment.within_budget(reference, logits, allowed, settings.max_divergence)
        return alignment.policy(logits)  # on its way to the reference it leaves the support
    return alignment.policy(logits.masked_fill(~allowed, float("-inf")))
