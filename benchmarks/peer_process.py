"""The peers in a process of their own, which sleeps while ours runs and the other way round.

Two threads of one process that compute with PyTorch slow each other down even when they take turns: OpenMP's workers
go to sleep between operations once there are more of them than cores. Apart, each side runs as it would alone.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

from benchmarks import peers
from benchmarks.quality import token_loss
from benchmarks.timing import Clock, Run, to_run
from la_agents.models import LoadedModel, load_model

_loaded: LoadedModel
_llama: peers.LlamaCpp | None = None


class PeerProcess:
    """The float32 model with transformers and, where it is installed, llama.cpp on the bundled file."""

    def __init__(self, gguf: Path | None, num_threads: int) -> None:
        self.has_llama = gguf is not None and peers.LlamaCpp.installed()
        self._pool = ProcessPoolExecutor(
            max_workers=1,
            mp_context=multiprocessing.get_context("spawn"),
            initializer=_load,
            initargs=(gguf if self.has_llama else None, num_threads),
        )

    def run(self, peer: Callable[..., Clock], *arguments: Any) -> Run:
        """One answer of a peer of `benchmarks.peers` on the shared model."""
        return self.run_all(peer, [arguments])

    def run_all(self, peer: Callable[..., Clock], answers: Sequence[Sequence[Any]]) -> Run:
        """Several, one after another."""
        return to_run(self._pool.submit(_answer, peer, answers).result())

    def llama(self, prompt: Sequence[int], num_tokens: int) -> Run:
        return to_run([self._pool.submit(_answer_llama, prompt, num_tokens).result()])

    def loss(self) -> float:
        """Mean loss of the float32 model; last of all, because it switches the model's attention to our engine's."""
        return self._pool.submit(_loss).result()

    def __enter__(self) -> PeerProcess:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown()


def _load(gguf: Path | None, num_threads: int) -> None:
    global _llama, _loaded  # what an initializer makes has no other way to the tasks
    _loaded = load_model(device="cpu", quantize=None)
    if gguf is not None:
        _llama = peers.LlamaCpp(gguf, num_threads)


def _answer(peer: Callable[..., Clock], answers: Sequence[Sequence[Any]]) -> list[Clock]:
    return [peer(_loaded.model, *arguments) for arguments in answers]


def _answer_llama(prompt: Sequence[int], num_tokens: int) -> Clock:
    assert _llama is not None
    return _llama.plain(prompt, num_tokens)


def _loss() -> float:
    return token_loss(_loaded)
