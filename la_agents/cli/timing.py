"""How long `la-agents ask` takes to its first token, stage by stage, in a fresh process.

`report` starts this file as a program and prints what it measured. A first run warms the disk and converts
the model; the store is a temporary one with two preferences, so that the step is an aligned one.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time

from la_agents.cli.options import Settings
from la_agents.cli.terminal import answer, spinner

__all__ = ["report"]

_USER = "somebody"
_QUESTION = "How do plants drink?"


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


def report(settings: Settings) -> None:
    """Measure twice and print the second: by then the disk is warm and the model converted."""
    with tempfile.TemporaryDirectory() as folder, spinner("Measuring start-up to first token"):
        with Settings(folder).open_store() as store:
            store.add(_USER, "Answer in one sentence.", scope="always")
            store.add(_USER, "I like gardening.", scope="relevant")
        here = Settings(folder, settings.model)
        _measure(here)
        stages = _measure(here)
    answer("\nStart-up to first token of `la-agents ask`, seconds")
    for stage, seconds in (*stages.items(), ("total", sum(stages.values()))):
        answer(f"  {stage:<26} {seconds:6.2f}")


def _measure(settings: Settings) -> dict[str, float]:
    command = [sys.executable, "-m", "la_agents.cli.timing", settings.location, settings.model or ""]
    done = subprocess.run([*command, repr(time.time())], stdout=subprocess.PIPE, text=True, check=True)
    stages: dict[str, float] = json.loads(done.stdout)
    return stages


def _ask(settings: Settings, started: float) -> dict[str, float]:
    """Do what `ask` does up to its first token; the stages in seconds."""
    watch = Stopwatch(started)
    from la_agents.cli import answering, app  # noqa: F401

    watch.lap("Python and command line")
    import chromadb  # noqa: F401
    import torch  # noqa: F401
    import transformers  # noqa: F401

    import la_agents.chat_models  # noqa: F401

    watch.lap("imports")
    store = settings.open_store()
    store.count(_USER)
    watch.lap("open the store")
    store.retrieve(_USER, _QUESTION)
    watch.lap("retrieve preferences")
    loaded = answering.load(settings)
    watch.lap("load the model")
    llm = answering.chat_model(loaded, store, answering.Decoding(max_tokens=1))
    for _ in llm.stream(_QUESTION, config=answering.as_user(_USER)):
        break
    watch.lap("prefill and first token")
    return watch.stages


if __name__ == "__main__":
    place, name, began = sys.argv[1:]
    print(json.dumps(_ask(Settings(place, name or None), float(began))))
