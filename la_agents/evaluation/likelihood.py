"""Likelihood of given texts: the logits of all branches along them, from which every method's policy is read.

The branches are computed once for a question, whatever the number of methods and strengths: those differ only in what
they make of the logits.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from la_agents import alignment
from la_agents.engine.runner import PrefillChunk, Runner
from la_agents.evaluation.methods import BASE, Setting
from la_agents.models import LoadedModel
from la_agents.prompts.builder import Prompts
from la_agents.requests import Alignment

__all__ = ["Continuation", "ModelScorer", "Scorer"]

_ROWS_AT_ONCE = 16
_GREEDY_MASK_TEMPERATURE = 0.5
"""T_m of the nucleus where decoding is greedy and none is given: the authors'."""


@dataclass(frozen=True)
class Continuation:
    """One text after a question's prompts.

    Attributes:
        token_ids: [n], the text.
        logits: [1 + k, n, vocab], what each branch, the reference first, says before each of its tokens.
        weights: [k], of the principle branches.
    """

    token_ids: Tensor
    logits: Tensor
    weights: Tensor

    def policy(self, settings: Alignment, *, aligned: bool = True, masked: bool = False) -> Tensor:
        """`log pi` [n, vocab] of what the engine decodes at temperature 1, whatever `fluency` the answer has left.

        Without `masked` it is the policy before the support mask, under which every text has a likelihood; with it,
        -inf outside the support. Without branches, or if not `aligned`, it is the reference's.
        """
        reference, branches = self.logits[0], self.logits[1:].transpose(0, 1)
        if not (aligned and len(self.weights)):
            return alignment.policy(reference)
        weights, adaptive = self.weights.expand(len(reference), -1), settings.chosen_push == "adaptive"
        logits, _ = alignment.pushed(reference, branches, weights, settings.scale, settings.kappa, adaptive=adaptive)
        allowed = torch.ones_like(logits, dtype=torch.bool)
        if masked:
            f_1 = alignment.prompted(reference, branches, weights)
            allowed = alignment.plausible(f_1, settings.log_plausibility)
            allowed &= alignment.nucleus(f_1, settings.support_p, settings.mask_temperature or _GREEDY_MASK_TEMPERATURE)
        if settings.max_divergence is not None:
            _, logits = alignment.within_budget(reference, logits, allowed, settings.max_divergence)
            return alignment.policy(logits)  # on its way to the reference it leaves the support
        return alignment.policy(logits.masked_fill(~allowed, float("-inf")))

    def log_probabilities(self, setting: Setting) -> Tensor:
        """`log pi(token | what comes before)` of each token under a setting's policy, [n]."""
        log_pi = self.policy(setting.alignment(), aligned=setting.aligned)
        return log_pi.gather(-1, self.token_ids.unsqueeze(-1)).squeeze(-1)

    def log_ratio(self) -> float:
        """`sum log pi_1 / pi_0` in nats: by how much the principles together raise the text."""
        return float((self.log_probabilities(Setting("prompt")) - self.log_probabilities(BASE)).sum())


class Scorer(Protocol):
    """What evaluation asks of whatever computes the logits of given texts; engines answer other questions."""

    def encode(self, text: str) -> list[int]:
        """Token ids of a text that stands after a prompt; what looks like a special token in it stays text."""
        ...

    def continuations(self, prompts: Prompts, texts: Sequence[Sequence[int]]) -> Iterator[Continuation]:
        """Each text, of at least one token, after the same prompts, in order; the prompts are computed once."""
        ...


class ModelScorer:
    """Computes continuations with a model; beside an engine on the same model, in whatever thread."""

    def __init__(self, loaded: LoadedModel) -> None:
        self._tokenizer = loaded.tokenizer
        self._runner = Runner(loaded, static_shapes=True)  # decodes nothing, so nothing is packed for decoding

    def encode(self, text: str) -> list[int]:
        """As `Scorer.encode`."""
        ids: list[int] = self._tokenizer.encode(text, add_special_tokens=False, split_special_tokens=True)
        return ids

    def continuations(self, prompts: Prompts, texts: Sequence[Sequence[int]]) -> Iterator[Continuation]:
        """As `Scorer.continuations`."""
        rows = [prompt.token_ids for prompt in (prompts.reference, *prompts.branches)]
        # All but the last token: the texts' chunks begin with that, so that its logits are there too.
        begun = [row[:-1] for row in rows if len(row) > 1]
        _, computed = self._runner.prefill([PrefillChunk(row, [], 0) for row in begun]) if begun else (None, ())
        queue = iter(computed)
        past = [[next(queue)] if len(row) > 1 else [] for row in rows]
        weights = torch.tensor(prompts.weights, dtype=torch.float32, device=self._runner.device)
        at_once = max(1, _ROWS_AT_ONCE // len(rows))
        for start in range(0, len(texts), at_once):
            part = texts[start : start + at_once]
            chunks = [
                PrefillChunk([row[-1], *text[:-1]], key_values, len(row) - 1)
                for text in part
                for row, key_values in zip(rows, past, strict=True)
            ]
            logits = self._runner.continue_with(chunks)
            logits = logits.view(len(part), len(rows), *logits.shape[1:])
            for text, own in zip(part, logits, strict=True):
                tokens = torch.tensor(text, device=logits.device)
                yield Continuation(tokens, own[:, -len(text) :], weights)
