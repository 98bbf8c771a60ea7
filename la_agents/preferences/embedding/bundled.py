"""Sentence embeddings without torch: the bundled all-MiniLM-L6-v2, and how any other model is told apart."""

from __future__ import annotations

import threading
from collections import Counter
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from langchain_core.embeddings import Embeddings

from la_agents.errors import ModelNotFoundError
from la_agents.forks import renew_in_child
from la_agents.preferences.words import english_share
from la_agents.wheels import EMBEDDING_MODEL, SETUP_COMMAND

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from onnxruntime import InferenceSession
    from tokenizers import Tokenizer

__all__ = ["BundledEmbeddings", "embeddings_identity"]

_MAX_TOKENS = 256  # as the model's own sentence_bert_config.json says
_BATCH_SIZE = 32
_LEAST_KNOWN_SHARE = 0.7
_ENGLISH_SHARE = 0.3
_MAX_KNOWN_CHARS = 2_000
_MODEL_ATTRIBUTES = ("model_name", "model", "model_id", "repo_id", "deployment")


class BundledEmbeddings(Embeddings):
    """all-MiniLM-L6-v2 on the CPU through onnxruntime: text to unit vectors of 384 floats.

    The model is loaded at the first text, once for the process, and shared by all objects and threads.
    Text beyond 256 tokens is cut, as the model was made.
    """

    name = "sentence-transformers/all-MiniLM-L6-v2"

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """Return one vector a text, in the order given.

        Raises:
            ModelNotFoundError: the model is not here yet; `la-agents setup` fetches it.
        """
        if not texts:
            return []
        rows: list[list[float]] = _shared_encoder().encode(texts).tolist()
        return rows

    def embed_query(self, text: str) -> list[float]:
        """Return the vector of one text; queries and documents are embedded alike."""
        return self.embed_documents([text])[0]

    def knows(self, text: str) -> bool:
        """Whether a text looks like English, the language that the model was trained on.

        Most English words are one entry of its vocabulary, and some are function words; words of other languages are
        put together from pieces, and of other scripts it knows single letters only.
        """
        start = text[:_MAX_KNOWN_CHARS]
        share = english_share(start)
        if share is not None and (share >= _ENGLISH_SHARE or share == 0.0):
            return share > 0.0
        return _shared_encoder().known_share(start) >= _LEAST_KNOWN_SHARE


def embeddings_identity(embeddings: Embeddings) -> str:
    """Name an embedding model so that a store can tell whether it was written with the same one.

    The object's `name` if it has one, else its class and the first attribute that names a model.
    """
    name = getattr(embeddings, "name", None)
    if isinstance(name, str) and name:
        return name
    kind = type(embeddings).__name__
    for attribute in _MODEL_ATTRIBUTES:
        model = getattr(embeddings, attribute, None)
        if isinstance(model, str) and model:
            return f"{kind}:{model}"
    return kind


class _Encoder:
    """The tokenizer and the session, both safe to call from several threads."""

    def __init__(self, session: InferenceSession, tokenizer: Tokenizer) -> None:
        self._session = session
        self._tokenizer = tokenizer

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return [len(texts), 384]; texts of similar length share a batch, so little is spent on padding."""
        by_length = sorted(range(len(texts)), key=lambda index: len(texts[index]))
        vectors: NDArray[np.float32] | None = None
        for start in range(0, len(texts), _BATCH_SIZE):
            rows = by_length[start : start + _BATCH_SIZE]
            batch = self._encode_batch([texts[row] for row in rows])
            if vectors is None:
                vectors = np.empty((len(texts), batch.shape[1]), dtype=np.float32)
            vectors[rows] = batch
        assert vectors is not None  # the caller gives at least one text
        return vectors

    def known_share(self, text: str) -> float:
        """The share of a text's words, in [0, 1], that are one entry of the vocabulary, in Latin letters."""
        encoding = self._tokenizer.encode(text, add_special_tokens=False)
        pieces = Counter(encoding.word_ids)
        spans = dict(zip(encoding.word_ids, encoding.offsets, strict=True))
        words = {word: text[slice(*spans[word])] for word in pieces if word is not None}
        letters = {word: each for word, each in words.items() if any(map(str.isalpha, each))}
        known = [word for word, each in letters.items() if pieces[word] == 1 and each < "\u0250"]
        return len(known) / len(letters) if letters else 1.0

    def _encode_batch(self, texts: list[str]) -> NDArray[np.float32]:
        encodings = self._tokenizer.encode_batch(texts)
        feed = {
            "input_ids": np.array([encoding.ids for encoding in encodings], dtype=np.int64),
            "mask": np.array([encoding.attention_mask for encoding in encodings], dtype=np.int64),
        }
        (vectors,) = self._session.run(None, feed)
        return np.asarray(vectors, dtype=np.float32)


_LOADING = threading.Lock()


def _shared_encoder() -> _Encoder:
    with _LOADING:  # functools.cache alone would let two threads load at once
        return _load_encoder()


@cache
def _load_encoder() -> _Encoder:
    from tokenizers import Tokenizer

    from la_agents.preferences.embedding.minilm import load_session

    folder = _model_folder()
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.enable_truncation(_MAX_TOKENS)
    tokenizer.enable_padding()
    return _Encoder(load_session(folder), tokenizer)


def _forget_encoder() -> None:
    """The session's threads stayed in the parent."""
    global _LOADING
    _LOADING = threading.Lock()
    _load_encoder.cache_clear()


renew_in_child(_forget_encoder)


def _model_folder() -> Path:
    folder = EMBEDDING_MODEL.find()
    if folder is None:
        msg = (
            f"Expected the embedding model in {EMBEDDING_MODEL.kept_in} or in the installed package "
            f"{EMBEDDING_MODEL.package}, found none; run `{SETUP_COMMAND}`, or give another LangChain Embeddings as "
            "`embeddings=`."
        )
        raise ModelNotFoundError(msg)
    return folder
