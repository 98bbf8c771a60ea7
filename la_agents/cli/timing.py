"""How long `la-agents ask` takes to its first token, stage by stage; as a program, this file is what is measured."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time

__all__ = ["report"]

_USER = "somebody"
_QUESTION = "How do plants drink?"


def report(model: str | None) -> None:
    """Measure twice and print the second: by then the disk is warm and the model converted.

    The store is a temporary one with two preferences, so that the first token is an aligned one.
    """
    from la_agents.cli.options import Settings
    from la_agents.cli.terminal import answer, spinner

    with tempfile.TemporaryDirectory() as folder, spinner("Measuring start-up to first token"):
        with Settings(folder).open_store() as store:
            store.add(_USER, "Answer in one sentence.", scope="always")
            store.add(_USER, "I like gardening.", scope="relevant")
        stages: dict[str, float] = {}
        for _ in range(2):
            command = [sys.executable, "-m", __name__, folder, model or "", repr(time.time())]
            done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
            stages = json.loads(done.stdout)
    answer("\nStart-up to first token of `la-agents ask`, seconds")
    for stage, seconds in (*stages.items(), ("total", sum(stages.values()))):
        answer(f"  {stage:<26} {seconds:6.2f}")


def _measure(location: str, model: str | None, started: float) -> dict[str, float]:
    """Do what `ask` does up to its first token; the seconds of each stage since `started`, by `time.time`."""
    ends: dict[str, float] = {}
    from la_agents.cli import answering
    from la_agents.cli.options import Decoding, Settings

    ends["Python and command line"] = time.time()
    import chromadb  # noqa: F401
    import torch  # noqa: F401
    import transformers  # noqa: F401

    import la_agents.chat_models  # noqa: F401

    ends["imports"] = time.time()
    settings = Settings(location, model)
    store = settings.open_store()
    store.count(_USER)
    ends["open the store"] = time.time()
    store.retrieve(_USER, _QUESTION)
    ends["retrieve preferences"] = time.time()
    loaded = answering.load(settings)
    ends["load the model"] = time.time()
    llm = answering.chat_model(loaded, store, Decoding(max_tokens=1))
    for _ in llm.stream(_QUESTION, config=answering.as_user(_USER)):
        break
    ends["prefill and first token"] = time.time()
    return {stage: end - start for (stage, end), start in zip(ends.items(), [started, *ends.values()], strict=False)}


if __name__ == "__main__":
    print(json.dumps(_measure(sys.argv[1], sys.argv[2] or None, float(sys.argv[3]))))
