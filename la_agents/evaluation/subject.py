"""Subject: the model under test, which answers blocks of cases; and what its answers cost.

Sums of floating-point numbers come out differently in batches of different sizes, and prompts differently if their
beginning was found in a cache. That can turn a choice between two tokens that are nearly equally likely. Here every
block starts on an idle engine, all of it at once, and finds in the cache what it has itself put there: so a block gives
the same answers in every run on one machine, whatever was or was not done before it.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from statistics import fmean
from typing import TYPE_CHECKING, Any

import numpy as np

from la_agents.calibration import shipped_calibration
from la_agents.engine.engine import engine_for
from la_agents.evaluation.cases import Answer, Case
from la_agents.evaluation.likelihood import ModelScorer
from la_agents.evaluation.methods import BASE, Setting
from la_agents.evaluation.text import distinct_2, repetition
from la_agents.preferences.embedding.bundled import BundledEmbeddings
from la_agents.prompts.builder import PromptBuilder, Prompts, Wording
from la_agents.requests import Generation, Request, Sampling

if TYPE_CHECKING:
    from langchain_core.embeddings import Embeddings

    from la_agents.models import LoadedModel

__all__ = ["Subject"]


class Subject:
    """A loaded model behind its engine, which no other caller may use meanwhile.

    Args:
        embeddings: For the relevance of answers; the bundled ones by default.
    """

    def __init__(self, loaded: LoadedModel, *, embeddings: Embeddings | None = None) -> None:
        self.loaded = loaded
        self.engine = engine_for(loaded)
        self.scorer = ModelScorer(loaded)
        self.builder = PromptBuilder(loaded.tokenizer)
        self._builders: dict[Wording | None, PromptBuilder] = {None: self.builder}
        self._calibration = shipped_calibration(loaded.name)
        self._embeddings = embeddings or BundledEmbeddings()
        self._questions: dict[str, np.ndarray] = {}

    def answer(self, cases: Sequence[Case]) -> list[Answer]:
        """The answers to a block of cases, in their order.

        Raises:
            LaAgentsError: the first case that failed; the others are cancelled.
        """
        salt = uuid.uuid4().hex
        planned = [(case, [replace(r, salt=salt, num_public_tokens=0) for r in self._requests(case)]) for case in cases]
        requests = [request for _, own in planned for request in own]
        # Each prompt is computed once first, so that the requests that share it find it in the cache.
        once = {request.prompts: replace(request, sampling=Sampling(max_tokens=1)) for request in requests}
        with self._running(list(once.values())) as generations:
            assert all(generation.completion.num_rows for generation in generations)
        with self._running(requests) as generations:
            waiting = iter(generations)
            answers = [[_answer(case, next(waiting)) for _ in own] for case, own in planned]
        return [self._best(case, own) for case, own in zip(cases, answers, strict=True)]

    def prompts(self, case: Case) -> Prompts:
        """The branches that a case's setting is decoded from."""
        setting, principles = case.setting, case.principles if case.setting.aligned else ()
        fixed = [setting.placing] * len(principles)
        placings = self._calibration.placings(principles) if setting.calibrated else fixed
        if case.wording not in self._builders:
            self._builders[case.wording] = PromptBuilder(self.loaded.tokenizer, wording=case.wording)
        builder = self._builders[case.wording]
        build: Any = builder.build_text if isinstance(case.question, str) else builder.build
        prompts: Prompts = build(case.question, principles, setting.compose, placings=placings)
        return prompts

    def decode(self, token_ids: list[int]) -> str:
        """The text of tokens; an answer cut to its first tokens."""
        return str(self.loaded.tokenizer.decode(token_ids, skip_special_tokens=True))

    def describe(self, answer: Answer) -> dict[str, Any]:
        """What every row says about an answer: its costs, divergence, length and text.

            distinct_2    different pairs of neighbouring words over all pairs; 1 is none twice
            repetition    share of the words that stand in a run of four words that was there before; 0 is none
            nll           mean negative log-likelihood of the answer's tokens under the model without principles, nats;
                          exp(nll) is the perplexity. Greedy decoding of that model itself is far below ordinary text.
            nll_prompted  the same under f_1, the prompt with the principles: the fluency that a reader sees, where nll
                          also counts what following itself makes unlikely (French is, to a model asked in English)
            relevance     cosine of question and answer in the bundled sentence embedding, which knows English only

        Costs are None where the answer is too short to tell.
        """
        nll, nll_prompted = self.nlls(answer)
        values = {
            "distinct_2": distinct_2(answer.text),
            "repetition": repetition(answer.text),
            "nll": nll,
            "nll_prompted": nll_prompted,
            "relevance": self.relevance(answer),
            "divergence": answer.mean_divergence,
            "changed": answer.changed,
        }
        return {
            **{name: None if value is None else round(value, 4) for name, value in values.items()},
            "num_tokens": len(answer.token_ids),
            "finish": answer.finish_reason,
            "answer": answer.text,
        }

    def nlls(self, answer: Answer) -> tuple[float | None, float | None]:
        """Mean negative log-likelihood a token in nats: without principles, and under the branches that have them.

        One answer at a time: batches of other sizes may change the last bits, and rows must be the same in every run.
        """
        if not answer.token_ids:
            return None, None
        # The same reference for all settings, wherever they name their principles.
        plain = self.prompts(replace(answer.case, setting=BASE, wording=None)).reference
        prompts = replace(self.prompts(answer.case), reference=plain)
        (continuation,) = self.scorer.continuations(prompts, [answer.token_ids])
        nll, prompted = (-float(continuation.log_probabilities(one).mean()) for one in (BASE, Setting("prompt")))
        return nll, prompted if prompts.branches else None

    def relevance(self, answer: Answer) -> float:
        """Cosine of the question, or the last one of a conversation, and the answer; 0 for no answer."""
        if not answer.text.strip():
            return 0.0
        question = answer.case.question
        asked = question if isinstance(question, str) else str(question[-1].text)
        if asked not in self._questions:
            self._questions[asked] = self._embedded(asked)
        return float(self._questions[asked] @ self._embedded(answer.text))

    def _embedded(self, text: str) -> np.ndarray:
        vector = np.asarray(self._embeddings.embed_query(text), dtype=np.float64)
        return vector / (np.linalg.norm(vector) or 1.0)

    def _requests(self, case: Case) -> list[Request]:
        """One for each sample."""
        setting, prompts = case.setting, self.prompts(case)
        if setting.calibrated:
            setting = replace(setting, strength=self._calibration.strength(case.principles))
        seeds = [case.seed]
        if setting.num_samples > 1:  # neighbouring cases have neighbouring seeds: their samples must not be the same
            seeds = [case.seed * 1_000_003 + number for number in range(setting.num_samples)]
        return [
            Request(
                reference=prompts.reference.token_ids,
                branches=tuple(branch.token_ids for branch in prompts.branches),
                weights=prompts.weights,
                sampling=setting.sampling(max_tokens=case.max_tokens, seed=seed, stop=self.builder.stop),
                alignment=setting.alignment(),
            )
            for seed in seeds
        ]

    @contextmanager
    def _running(self, requests: Sequence[Request]) -> Iterator[list[Generation]]:
        """Start requests together; cancel those that are unfinished at the end."""
        generations = self.engine.submit_all(requests)
        try:
            yield generations
        finally:
            for generation in generations:
                generation.cancel()

    def _best(self, case: Case, answers: Sequence[Answer]) -> Answer:
        """The answer whose likelihood the principles raise most, of those that are not empty."""
        written = [answer for answer in answers if answer.token_ids]
        if len(answers) == 1 or not written or not case.principles:
            return answers[0]
        along = self.scorer.continuations(self.prompts(case), [answer.token_ids for answer in written])
        ratios = [one.log_ratio() for one in along]
        return max(zip(ratios, written, strict=True), key=lambda pair: pair[0])[1]


def _answer(case: Case, generation: Generation) -> Answer:
    text = "".join(chunk.text for chunk in generation)
    completion = generation.completion
    records = completion.records
    return Answer(
        case=case,
        text=text + completion.tail,
        token_ids=tuple(record.token_id for record in records),
        mean_divergence=fmean(record.divergence for record in records) if records else 0.0,
        changed=fmean(record.token_id != record.reference_id for record in records) if records else 0.0,
        finish_reason=completion.finish_reason,
    )
