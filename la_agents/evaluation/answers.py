"""Answers: a block of questions under many settings, decoded as one batch that depends on nothing but the block.

Sums of floating-point numbers come out differently in batches of different sizes, and prompts differently if their
beginning was found in a cache. That can turn a choice between two tokens that are nearly equally likely. Here every
block starts on an idle engine, all of it at once, and finds in the cache what it has itself put there: so a block gives
the same answers in every run on one machine, whatever was or was not done before it.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import fmean
from typing import TYPE_CHECKING

from la_agents.calibration import shipped_calibration
from la_agents.evaluation.methods import Setting
from la_agents.principles import Principle
from la_agents.requests import Request, Sampling, TokenRecord

if TYPE_CHECKING:
    from langchain_core.messages import BaseMessage

    from la_agents.engine.engine import Engine
    from la_agents.evaluation.likelihood import Scorer
    from la_agents.prompts.builder import PromptBuilder, Prompts
    from la_agents.requests import Generation

__all__ = ["BLOCK", "Answer", "Answerer", "Job"]

BLOCK = 24
"""Jobs at a time: two branches each, and a few with four samples, fit the engine's 64 rows."""


@dataclass(frozen=True, slots=True)
class Job:
    """A question to answer under a setting.

    Attributes:
        question: A text, or the messages of a conversation.
        seed: Of the draws; answers of greedy settings do not depend on it.
        key: The caller's own name for it, by which the answer is known again.
    """

    question: str | tuple[BaseMessage, ...]
    principles: tuple[Principle, ...]
    setting: Setting
    max_tokens: int = 64
    seed: int = 0
    key: str = ""


@dataclass(frozen=True, slots=True)
class Answer:
    """A finished job.

    Attributes:
        token_ids: Of the answer, without the end of sequence.
        mean_divergence: KL(pi || pi_0) of the policy that was decoded, nats a token; 0 without principles.
        changed: Share of tokens that the reference alone would have chosen otherwise.
        finish_reason: "stop" or "length".
    """

    job: Job
    text: str
    token_ids: tuple[int, ...]
    mean_divergence: float
    changed: float
    finish_reason: str

    @property
    def num_tokens(self) -> int:
        return len(self.token_ids)


class Answerer:
    """Answers blocks of jobs on one engine, which no other caller may use meanwhile."""

    def __init__(self, engine: Engine, builder: PromptBuilder) -> None:
        self._engine = engine
        self._calibration = shipped_calibration(engine.loaded.name)
        self._builder = builder
        self._scorer: Scorer | None = None

    def answer(self, jobs: Sequence[Job]) -> list[Answer]:
        """The answers to a block, in the order of its jobs.

        Raises:
            LaAgentsError: the first job that failed; the others are given up.
        """
        salt = uuid.uuid4().hex
        planned = [(job, prompts, self._requests(job, prompts)) for job in jobs for prompts in [self.prompts(job)]]
        requests = [replace(request, salt=salt, num_public_tokens=0) for *_, own in planned for request in own]
        self._compute_prompts(requests)
        generations = self._engine.submit_all(requests)
        try:
            waiting = iter(generations)
            answered = [(prompts, [_answer(job, next(waiting)) for _ in own]) for job, prompts, own in planned]
        finally:
            _cancel(generations)
        return [self._best(prompts, own) for prompts, own in answered]

    def prompts(self, job: Job) -> Prompts:
        """The branches that a job's setting is decoded from."""
        setting, principles = job.setting, job.principles if job.setting.aligned else ()
        fixed = [setting.placing] * len(principles)
        placings = self._calibration.placings(principles) if setting.calibrated else fixed
        if isinstance(job.question, str):
            return self._builder.build_text(job.question, principles, setting.compose, placings=placings)
        return self._builder.build(job.question, principles, setting.compose, placings=placings)

    def _requests(self, job: Job, prompts: Prompts) -> list[Request]:
        """One for each sample."""
        setting = job.setting
        if setting.calibrated:
            setting = replace(setting, strength=self._calibration.strength(job.principles))
        seeds = [job.seed]
        if setting.num_samples > 1:  # neighbouring jobs have neighbouring seeds: their samples must not be the same
            seeds = [job.seed * 1_000_003 + number for number in range(setting.num_samples)]
        return [
            Request(
                reference=prompts.reference.token_ids,
                branches=tuple(branch.token_ids for branch in prompts.branches),
                weights=prompts.weights,
                sampling=setting.sampling(max_tokens=job.max_tokens, seed=seed, stop=self._builder.stop),
                alignment=setting.alignment(),
            )
            for seed in seeds
        ]

    def _compute_prompts(self, requests: Sequence[Request]) -> None:
        """Compute each prompt once, so that the requests that share it find it in the cache."""
        by_prompt = {request.prompts: request for request in requests}
        short = Sampling(max_tokens=1)
        generations = self._engine.submit_all(replace(request, sampling=short) for request in by_prompt.values())
        try:
            for generation in generations:
                assert generation.completion.num_rows
        finally:
            _cancel(generations)

    def _best(self, prompts: Prompts, answers: Sequence[Answer]) -> Answer:
        """The answer that the principles make likelier than the reference by most; an empty one is made no likelier."""
        from la_agents.evaluation.likelihood import ModelScorer

        written = [answer for answer in answers if answer.token_ids]
        if len(answers) == 1 or not written or not prompts.branches:
            return answers[0]
        self._scorer = self._scorer or ModelScorer(self._engine.loaded)
        texts = [answer.token_ids for answer in written]
        ratios = [one.log_ratio() for one in self._scorer.continuations(prompts, texts)]
        return max(zip(ratios, written, strict=True), key=lambda pair: pair[0])[1]


def _cancel(generations: Sequence[Generation]) -> None:
    for generation in generations:
        generation.cancel()


def _answer(job: Job, generation: Generation) -> Answer:
    text = "".join(chunk.text for chunk in generation)
    completion = generation.completion
    records: Sequence[TokenRecord] = completion.records
    return Answer(
        job=job,
        text=text + completion.tail,
        token_ids=tuple(record.token_id for record in records),
        mean_divergence=fmean(record.divergence for record in records) if records else 0.0,
        changed=fmean(record.token_id != record.reference_id for record in records) if records else 0.0,
        finish_reason=completion.finish_reason,
    )
