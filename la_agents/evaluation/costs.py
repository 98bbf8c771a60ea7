"""Costs: what alignment may do to an answer beside making it follow a principle.

distinct_2    different pairs of neighbouring words over all pairs; 1 is none twice
repetition    share of the words that stand in a run of four words that was there before; 0 is none
nll           mean negative log-likelihood of the answer's tokens under the model without principles, nats;
              exp(nll) is the perplexity. Greedy decoding of that model itself is far below ordinary text.
nll_prompted  the same under f_1, the prompt with the principles: the fluency that a reader sees, where nll also
              counts what following itself makes unlikely (French is, to a model that was asked in English)
relevance     cosine of question and answer in the bundled sentence embedding, which knows English only
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from la_agents.evaluation.text import distinct_bigrams, words

if TYPE_CHECKING:
    from langchain_core.embeddings import Embeddings
    from langchain_core.messages import BaseMessage

    from la_agents.models import LoadedModel
    from la_agents.prompts.builder import PromptBuilder, Prompts

__all__ = ["Costs", "distinct_2", "repetition"]

_RUN = 4


def distinct_2(text: str) -> float | None:
    """Different pairs of neighbouring words over all pairs; None for fewer than two words."""
    own = words(text)
    return distinct_bigrams(own) / (len(own) - 1) if len(own) > 1 else None


def repetition(text: str) -> float | None:
    """Share of the words in runs of four that stood before in the text; None for fewer than four words."""
    own = words(text)
    if len(own) < _RUN:
        return None
    seen: set[tuple[str, ...]] = set()
    again: set[int] = set()
    for start in range(len(own) - _RUN + 1):
        run = tuple(own[start : start + _RUN])
        again.update(range(start, start + _RUN) if run in seen else ())
        seen.add(run)
    return len(again) / len(own)


class Costs:
    """Measures answers of one model.

    Args:
        loaded: The model that answered; its likelihoods are computed beside whatever engine runs it.
        builder: Makes the prompt without principles.
        embeddings: For relevance; the bundled ones by default.
    """

    def __init__(self, loaded: LoadedModel, builder: PromptBuilder, embeddings: Embeddings | None = None) -> None:
        from la_agents.evaluation.likelihood import ModelScorer
        from la_agents.preferences.embedding.bundled import BundledEmbeddings

        self._scorer = ModelScorer(loaded)
        self._builder = builder
        self._embeddings = embeddings or BundledEmbeddings()
        self._asked: dict[str, np.ndarray] = {}

    def of(
        self,
        question: str | Sequence[BaseMessage],
        text: str,
        token_ids: Sequence[int],
        prompts: Prompts | None = None,
    ) -> dict[str, float | None]:
        """All costs by name, rounded; None where an answer is too short to tell.

        Args:
            question: A text, or a conversation that ends with one.
            prompts: That the answer was decoded from, for `nll_prompted`; None for one without principles.
        """
        asked = question if isinstance(question, str) else str(question[-1].text)
        nll, nll_prompted = self.nlls(question, token_ids, prompts)
        values = {
            "distinct_2": distinct_2(text),
            "repetition": repetition(text),
            "nll": nll,
            "nll_prompted": nll_prompted,
            "relevance": self.relevance(asked, text),
        }
        return {name: None if value is None else round(value, 4) for name, value in values.items()}

    def nlls(
        self, question: str | Sequence[BaseMessage], token_ids: Sequence[int], prompts: Prompts | None = None
    ) -> tuple[float | None, float | None]:
        """Mean negative log-likelihood a token in nats: without principles, and under `prompts`' branches.

        One answer at a time: what shares a batch may touch the last bits, and a row is to be the same in every run.
        """
        from la_agents.evaluation.methods import Setting

        if not token_ids:
            return None, None
        plain = self._builder.build_text(question) if isinstance(question, str) else self._builder.build(question)
        # The same reference for all settings, wherever they name their principles.
        rows = plain if prompts is None else replace(prompts, reference=plain.reference)
        (continuation,) = self._scorer.continuations(rows, [token_ids])
        nll, prompted = (-float(continuation.log_probabilities(Setting(name)).mean()) for name in ("base", "prompt"))
        return nll, prompted if rows.branches else None

    def relevance(self, question: str, text: str) -> float:
        """Cosine of question and answer, 0 for no answer."""
        if not text.strip():
            return 0.0
        if question not in self._asked:
            self._asked[question] = _unit(self._embeddings.embed_query(question))
        return float(self._asked[question] @ _unit(self._embeddings.embed_query(text)))


def _unit(vector: Sequence[float]) -> np.ndarray:
    array = np.asarray(vector, dtype=np.float64)
    length = float(np.linalg.norm(array))
    return array / length if length else array
