"""Answers: many questions under many settings, decoded side by side in one engine."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, replace
from itertools import zip_longest
from statistics import fmean
from typing import TYPE_CHECKING

from la_agents.calibration import shipped_calibration
from la_agents.evaluation.methods import Setting
from la_agents.principles import Principle
from la_agents.requests import Request, TokenRecord

if TYPE_CHECKING:
    from langchain_core.messages import BaseMessage

    from la_agents.engine.engine import Engine
    from la_agents.evaluation.likelihood import Scorer
    from la_agents.prompts.builder import PromptBuilder, Prompts
    from la_agents.requests import Generation

__all__ = ["Answer", "Desk", "Job", "answer_all"]


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


def answer_all(
    engine: Engine, builder: PromptBuilder, jobs: Iterable[Job], *, num_in_flight: int = 16
) -> Generator[Answer, None, None]:
    """Answer all jobs, `num_in_flight` of them at a time in the engine's batch; in the order in which they finish.

    A caller who stops early, by an error of its own or by closing the iterator, cancels what is under way.

    Raises:
        LaAgentsError: the first job that failed; those after it are given up.
    """
    desk = Desk(engine, builder)
    pending: set[Future[Answer]] = set()
    pool = ThreadPoolExecutor(num_in_flight, thread_name_prefix="la_agents-evaluation")
    try:
        for job in _spread(jobs, num_in_flight):
            pending.add(pool.submit(desk.answer, job))
            if len(pending) >= 2 * num_in_flight:  # as many again wait, so that no worker idles
                done, pending = wait(pending, return_when=FIRST_COMPLETED)
                yield from (future.result() for future in done)
        while pending:
            done, pending = wait(pending, return_when=FIRST_COMPLETED)
            yield from (future.result() for future in done)
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
        desk.close()
        pool.shutdown()


def _spread(jobs: Iterable[Job], num_prompts: int) -> Iterator[Job]:
    """Jobs about the same prompt apart from each other, within blocks of `num_prompts` prompts.

    The engine finds a prompt computed once an answer to it is finished. So jobs that differ in their setting alone come
    in turns: when a prompt's second one begins, its first is done, as a rule. A block is small enough for the cache.
    """
    block: dict[tuple[str, tuple[Principle, ...]], list[Job]] = {}
    for job in jobs:
        prompt = (str(job.question), job.principles)
        if prompt not in block and len(block) == num_prompts:
            yield from _in_turn(block.values())
            block = {}
        block.setdefault(prompt, []).append(job)
    yield from _in_turn(block.values())


def _in_turn(queues: Iterable[Sequence[Job]]) -> Iterator[Job]:
    return (job for turn in zip_longest(*queues) for job in turn if job is not None)


class Desk:
    """Answers one job at a time, from several threads; knows what is under way, to be able to cancel it."""

    def __init__(self, engine: Engine, builder: PromptBuilder) -> None:
        self._engine = engine
        self._calibration = shipped_calibration(engine.loaded.name)
        self._builder = builder
        self._open: set[Generation] = set()
        self._closed = False
        self._scorer: Scorer | None = None

    def close(self) -> None:
        self._closed = True
        for generation in tuple(self._open):
            generation.cancel()

    def answer(self, job: Job) -> Answer:
        """Decode a job's samples side by side, and pick one."""
        prompts = self.prompts(job)
        generations = [self._engine.submit(request) for request in self.requests(job, prompts)]
        self._open.update(generations)
        try:
            if self._closed:  # between the submission above and now
                self.close()
            return self.pick(prompts, [self.read(job, generation) for generation in generations])
        finally:
            for generation in generations:
                generation.cancel()
            self._open.difference_update(generations)

    def prompts(self, job: Job) -> Prompts:
        """The branches that a job's setting is decoded from."""
        principles = job.principles if job.setting.aligned else ()
        placings = (
            self._calibration.placings(principles)
            if job.setting.calibrated
            else [job.setting.placing for _ in principles]
        )
        if isinstance(job.question, str):
            return self._builder.build_text(job.question, principles, job.setting.compose, placings=placings)
        return self._builder.build(job.question, principles, job.setting.compose, placings=placings)

    def requests(self, job: Job, prompts: Prompts) -> list[Request]:
        """One for each sample."""
        setting = job.setting
        if setting.calibrated:
            setting = replace(setting, strength=self._calibration.strength(job.principles))
        if setting.num_samples == 1:
            return [_request(job, setting, prompts, job.seed, self._builder.stop)]
        # Neighbouring jobs have neighbouring seeds: their samples must not be the same draws.
        seeds = [job.seed * 1_000_003 + number for number in range(setting.num_samples)]
        return [_request(job, setting, prompts, seed, self._builder.stop) for seed in seeds]

    def read(self, job: Job, generation: Generation) -> Answer:
        """Wait for an answer."""
        return _answer(job, generation)

    def pick(self, prompts: Prompts, answers: Sequence[Answer]) -> Answer:
        """The answer that the principles make likelier than the reference by most; an empty one is made no likelier."""
        from la_agents.evaluation.likelihood import Scorer

        written = [answer for answer in answers if answer.token_ids]
        if len(answers) == 1 or not written or not prompts.branches:
            return answers[0]
        self._scorer = self._scorer or Scorer(self._engine.loaded)
        texts = [answer.token_ids for answer in written]
        ratios = [one.log_ratio() for one in self._scorer.continuations(prompts, texts)]
        return max(zip(ratios, written, strict=True), key=lambda pair: pair[0])[1]


def _request(job: Job, setting: Setting, prompts: Prompts, seed: int, stop: tuple[str, ...]) -> Request:
    return Request(
        reference=prompts.reference.token_ids,
        branches=tuple(branch.token_ids for branch in prompts.branches),
        weights=prompts.weights,
        sampling=setting.sampling(max_tokens=job.max_tokens, seed=seed, stop=stop),
        alignment=setting.alignment(),
    )


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
