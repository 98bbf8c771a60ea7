"""A forked process loads its own model, embeds and answers, or is told at once what it cannot do; it never waits."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from la_agents.forks import Undivided
from tests.tiny import save_tiny_model

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this platform")

_PARENT = """
import gc, os, sys, threading, warnings
warnings.simplefilter("ignore")
import torch
import la_agents.engine.engine as engines
import la_agents.models.loading as models
from la_agents import ChatLinearAlignment
from la_agents.engine.engine import engine_for
from la_agents.requests import Grammar
from la_agents.requests import Request, Sampling
from la_agents.errors import EngineClosedError
from la_agents.models import load_model

torch.set_num_threads(2)
torch.randn(600, 600) @ torch.randn(600, 600)  # OpenMP's pool runs

folder, quantize = sys.argv[1], sys.argv[2] if sys.argv[2] != "None" else None

def face():
    return ChatLinearAlignment(
        model=folder, device="cpu", quantize=quantize, end_token_ids=[], max_tokens=8, principles=["Be brief."]
    )

def answer(chat):
    return chat.invoke("What should I cook tonight? " * 20).usage_metadata["output_tokens"]

def request(num_tokens):
    return Request(reference=tuple(range(10, 60)), sampling=Sampling(max_tokens=num_tokens))

def choose(engine):
    "Two constraints in one step: their tokens are found in a pool of threads."
    two = [Request(reference=(5, 6, 7), grammar=Grammar.choice(["yes", "no"])) for _ in range(2)]
    assert [g.completion.finish_reason for g in engine.submit_all(two)] == ["stop", "stop"]

def forked(work):
    "The exit status of a child that does `work`, exits as any program does, and may have children itself."
    sys.stdout.flush()
    pid = os.fork()
    if pid:
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    work()
    gc.collect()
    sys.exit(0)

def in_a_thread():
    numbers = []
    thread = threading.Thread(target=lambda: numbers.append(answer(face())))
    thread.start()
    thread.join()
    assert numbers == [8]

def own_model_and_a_childs():
    assert answer(face()) == 8
    assert forked(in_a_thread) == 0

def refused(call):
    try:
        call()
    except EngineClosedError as error:
        assert "fork" in str(error) and "load the model after" not in str(error), error
    else:
        raise AssertionError("no error")

def told_at_once():
    refused(lambda: engine.submit(request(2)))
    refused(lambda: engine.submit_all([request(2)]))
    refused(lambda: generation.completion)
    refused(lambda: next(iter(generation)))
    refused(lambda: list(begun))
    assert engine.closed
    engine.close()

def with_the_parents_model():
    own = engine_for(loaded)
    assert own is not engine
    assert len(own.complete(request(8)).records) == 8
    choose(own)
    assert answer(held) == 8, "an object of the parent's takes the engine of this process"

held = face()
assert answer(held) == 8
loaded = held.engine.loaded
engine = held.engine
choose(engine)
generation = engine.submit(request(60))  # under way while the process forks
begun = iter(generation)
next(begun)
for work in (own_model_and_a_childs, told_at_once, with_the_parents_model):
    assert forked(work) == 0, work
with models._lock, engines._engines_lock, held._runtime._making, held._runtime._lock:  # as if threads were loading
    assert forked(lambda: answer(held)) == 0
assert len(generation.completion.records) == 60
assert engine_for(loaded) is engine and not engine.closed, "the parent goes on"
del begun, generation, engine, loaded, held
gc.collect()
assert forked(lambda: answer(face())) == 0, "the parent let its model go"
print("done", flush=True)
"""

_EMBEDDINGS = """
import os, sys, threading
from la_agents.preferences.embedding.bundled import BundledEmbeddings
here = BundledEmbeddings().embed_query("I like tea.")
for _ in range(2):
    pid = os.fork()
    if not pid:
        there = BundledEmbeddings().embed_query("I like tea.")
        sys.exit(0 if max(abs(a - b) for a, b in zip(here, there)) < 1e-4 else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
print("done", flush=True)
"""


def run(script: str, *arguments: str) -> str:
    """Its output; one that waits for ever is ended, and fails."""
    done = subprocess.run(
        [sys.executable, "-c", script, *arguments],
        capture_output=True,
        text=True,
        timeout=300,
        cwd=Path(__file__).parents[2],
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("quantize", ["None", "int8"])
def test_a_fork_answers_with_a_model_of_its_own(quantize: str, tmp_path: Path) -> None:
    assert run(_PARENT, str(save_tiny_model("llama", tmp_path / "m")), quantize).strip().endswith("done")


def test_a_fork_embeds_with_a_session_of_its_own_and_exits() -> None:
    assert run(_EMBEDDINGS).strip().endswith("done")


@pytest.mark.filterwarnings("ignore:This process.*is multi-threaded:DeprecationWarning")
def test_a_fork_waits_for_the_step_that_is_under_way_and_falls_between_two() -> None:
    undivided, stop, begun, seen = Undivided(), threading.Event(), threading.Event(), []

    def work() -> None:  # step after step, without a pause
        while not stop.is_set():
            with undivided:
                seen.append("begins")
                begun.set()
                time.sleep(0.02)
                seen.append("ends")

    thread = threading.Thread(target=work)
    thread.start()
    begun.wait()
    try:
        for _ in range(3):
            pid = os.fork()
            if not pid:
                with undivided:  # free in the child, and nobody works there
                    os._exit(0 if seen.count("begins") == seen.count("ends") else 1)
            assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    finally:
        stop.set()
        thread.join()
    assert seen.count("begins") == seen.count("ends") > 3


@pytest.mark.filterwarnings("ignore:This process.*is multi-threaded:DeprecationWarning")
def test_a_step_that_forks_itself_waits_for_nobody_and_its_child_can_fork_again() -> None:
    undivided = Undivided()
    with undivided:
        assert not undivided.pause()
        pid = os.fork()
        if not pid:
            again = os.fork()
            os._exit(0 if not again else os.waitstatus_to_exitcode(os.waitpid(again, 0)[1]))
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert undivided.pause()
    undivided.resume()
