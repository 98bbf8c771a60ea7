"""A second engine: what the protocol names and nothing else; requests go to another engine through a queue."""

from __future__ import annotations

import threading
from concurrent.futures import Future
from queue import SimpleQueue

from transformers import PreTrainedTokenizerBase

from la_agents.requests import Engine, Generation, Request

__all__ = ["QueueEngine"]


class QueueEngine:
    """Runs what `inner` runs; chunks arrive from threads of its own."""

    def __init__(self, inner: Engine, name: str | None = None) -> None:
        self.name = name or f"queued {inner.name}"
        self._inner = inner
        self._asked: SimpleQueue[tuple[Request, Future[Generation]] | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    @property
    def tokenizer(self) -> PreTrainedTokenizerBase:
        return self._inner.tokenizer

    @property
    def context(self) -> int:
        return self._inner.context

    def submit(self, request: Request) -> Generation:
        answered: Future[Generation] = Future()
        self._asked.put((request, answered))
        return answered.result()

    def stop(self) -> None:
        self._asked.put(None)
        self._thread.join()

    def _run(self) -> None:
        while (asked := self._asked.get()) is not None:
            request, answered = asked
            try:
                inner = self._inner.submit(request)
            except Exception as error:  # noqa: BLE001  # whoever submitted gets it
                answered.set_exception(error)
                continue
            generation = Generation(inner.cancel)
            threading.Thread(target=_forward, args=(inner, generation), daemon=True).start()
            answered.set_result(generation)


def _forward(inner: Generation, generation: Generation) -> None:
    try:
        for chunk in inner:
            generation.post(chunk)
        generation.post(inner.completion)
    except Exception as error:  # noqa: BLE001  # whoever reads gets it
        generation.post(error)
