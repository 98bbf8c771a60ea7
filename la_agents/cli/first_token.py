"""A program for `timing`: does what `ask` does up to its first token, and prints the seconds of each stage as JSON.

Arguments: the store, the model or nothing, the user, the question, and when it was started, by `time.time`.
"""

from __future__ import annotations

import json
import sys
import time

__all__: list[str] = []


class Stopwatch:
    """Seconds per stage, from a given start on the clock of `time.time`."""

    def __init__(self, started: float) -> None:
        self.stages: dict[str, float] = {}
        self._last = started

    def lap(self, stage: str) -> None:
        """End a stage."""
        now = time.time()
        self.stages[stage] = now - self._last
        self._last = now


def _ask(location: str, model: str, user: str, question: str, started: float) -> dict[str, float]:
    watch = Stopwatch(started)
    from la_agents.cli import answering
    from la_agents.cli.options import Decoding, Settings

    watch.lap("Python and command line")
    import chromadb  # noqa: F401
    import torch  # noqa: F401
    import transformers  # noqa: F401

    import la_agents.chat_models  # noqa: F401

    watch.lap("imports")
    settings = Settings(location, model or None)
    store = settings.open_store()
    store.count(user)
    watch.lap("open the store")
    store.retrieve(user, question)
    watch.lap("retrieve preferences")
    loaded = answering.load(settings)
    watch.lap("load the model")
    llm = answering.chat_model(loaded, store, Decoding(max_tokens=1))
    for _ in llm.stream(question, config=answering.as_user(user)):
        break
    watch.lap("prefill and first token")
    return watch.stages


if __name__ == "__main__":
    place, name, who, what, began = sys.argv[1:]
    print(json.dumps(_ask(place, name, who, what, float(began))))
