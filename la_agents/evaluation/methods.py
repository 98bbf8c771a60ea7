"""Methods: what the evaluation compares, each as the settings that it is run with. No model here.

A method says which prompts a question gets (none with principles, all principles in one, or one each), which rule
turns the logits of those branches into a policy, and what of it is varied. The policy itself is the engine's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from la_agents.errors import ConfigurationError
from la_agents.guidance import Rule
from la_agents.prompts.builder import Compose, Placing
from la_agents.requests import Alignment, Sampling

__all__ = ["BASE", "METHODS", "POLICIES", "Method", "Setting", "methods_named", "settings_of"]


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
        varied = {"strength": self.strength, "budget": self.max_divergence, "fluency": self.fluency}
        varied["n"] = self.num_samples if self.num_samples > 1 else None
        return " ".join([self.method, *(f"{name}={x:g}" for name, x in varied.items() if x is not None)])

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


BASE = Setting("base")
"""The model without principles."""


@dataclass(frozen=True, slots=True)
class Method:
    """A way to make a model follow principles.

    Attributes:
        varies: What a sweep goes over; a budget, of divergence or of fluency, with the greatest strength as its cap.
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
    varies: Literal["nothing", "strength", "max_divergence", "fluency"] = "nothing"
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

        Strength 0 is the method `prompt` for all rules without a mask, and is left out of them. Amulet's strength is
        its alpha over the published one, which is always among its points; beyond it the policy soon degenerates.
        """
        if self.varies == "nothing":
            return [Setting(self.name, num_samples=self.num_samples)]
        if self.varies != "strength":
            cap, bound = max(strengths, default=1.0), self.varies
            bounds: list[dict[str, Any]] = [{bound: budget} for budget in sorted(set(budgets))]
            return [Setting(self.name, cap, **bounded) for bounded in bounds]
        chosen = set(strengths) - ({0.0} if self.rule != "linear" else set())
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
        Method("linear+budget", "Linear Alignment with at most a given divergence a token", "max_divergence"),
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


def settings_of(names: Sequence[str], strengths: Sequence[float], budgets: Sequence[float]) -> list[Setting]:
    """The points of the named methods, without the unaligned model, which always takes part.

    Raises:
        ConfigurationError: there is no method of one of the names, or a strength or budget is out of range.
    """
    points = [point for method in methods_named(names) for point in method.points(strengths, budgets)]
    for point in points:
        point.alignment()
    return [point for point in points if point.aligned]
