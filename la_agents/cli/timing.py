"""How long `la-agents ask` takes to its first token, stage by stage, in a fresh process."""

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


def report(settings: Settings) -> None:
    """Measure twice and print the second: by then the disk is warm and the model converted.

    The store is a temporary one with two preferences, so that the first token is an aligned one.
    """
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
    command = [sys.executable, "-m", "la_agents.cli.first_token", settings.location, settings.model or ""]
    arguments = [_USER, _QUESTION, repr(time.time())]
    done = subprocess.run([*command, *arguments], stdout=subprocess.PIPE, text=True, check=True)
    stages: dict[str, float] = json.loads(done.stdout)
    return stages
