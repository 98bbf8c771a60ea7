"""Engine: a loaded model behind a thread; callers from any thread or event loop share one running batch."""

from __future__ import annotations

import dataclasses
import functools
import logging
import os
import threading
import time
import weakref
from collections.abc import Iterable
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

import torch

from la_agents.engine.constraint import Constraint, GrammarCompiler
from la_agents.engine.loop import Loop
from la_agents.engine.memory import tokens_that_fit
from la_agents.engine.prefix_cache import PrefixCache
from la_agents.engine.scheduler import Limits, Scheduler
from la_agents.engine.sequence import Sequence
from la_agents.engine.stats import Stats
from la_agents.errors import ConfigurationError, EngineClosedError
from la_agents.forks import Undivided, renew_in_child
from la_agents.models.fingerprint import fingerprint
from la_agents.requests import Completion, Generation, Request

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from la_agents.models import LoadedModel

__all__ = ["Engine", "engine_for"]

_log = logging.getLogger(__name__)
_STATS_EVERY = 256


class Engine:
    """Runs requests in one continuously batched loop.

    State lives in this process only: another process, a forked one too, has its own engine, and its own copy of the
    model. An engine without references closes itself and frees its model.

    Args:
        loaded: The model; its attention is switched to the engine's.
        limits: What to take on at once; its context is never longer than the model's.
        prefix_cache_bytes: Bound of the prefix cache; 0 switches it off.
        share_prefixes: Whether rows of one request compute their common prefix once.
        static_shapes: Decode in fixed shapes; None does so on CUDA, as graphs.
    """

    def __init__(
        self,
        loaded: LoadedModel,
        limits: Limits | None = None,
        *,
        prefix_cache_bytes: int = 256 * 2**20,
        share_prefixes: bool = True,
        static_shapes: bool | None = None,
    ) -> None:
        self.loaded = loaded
        self.limits = _limits_of(loaded, limits)
        self._options: dict[str, Any] = {
            "prefix_cache_bytes": prefix_cache_bytes,
            "share_prefixes": share_prefixes,
            "static_shapes": static_shapes,
        }
        self._vocab_size = int(loaded.model.config.get_text_config().vocab_size)
        here = _limits_here(self.limits, loaded, prefix_cache_bytes)
        scheduler, condition = Scheduler(here), threading.Condition()
        prefix_cache = PrefixCache(prefix_cache_bytes)
        loop = Loop(
            loaded,
            scheduler,
            condition,
            prefix_cache,
            share_prefixes=share_prefixes,
            static_shapes=static_shapes,
        )
        self._compiler: GrammarCompiler | None = None
        self._compiler_lock = threading.Lock()
        self._worker = _Worker(loop, scheduler, condition)
        # Runs at exit too: a daemon thread inside torch while the interpreter goes down would crash it.
        self._finalizer = weakref.finalize(self, self._worker.close)

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickled as its arguments: where it is unpickled, a new engine runs the model that is loaded there."""
        return functools.partial(Engine, **self._options), (self.loaded, self.limits)

    @property
    def name(self) -> str:
        """The model's."""
        return self.loaded.name

    @property
    def tokenizer(self) -> PreTrainedTokenizerBase:
        """The model's."""
        return self.loaded.tokenizer

    @property
    def context(self) -> int:
        """Tokens at most, prompt and answer together."""
        return self.limits.max_positions

    @property
    def fingerprint(self) -> str:
        """The model by its content; the first call reads all weights."""
        return fingerprint(self.loaded)

    def submit(self, request: Request) -> Generation:
        """Queue a request; returns at once.

        Raises:
            ConfigurationError: a token id is not one of the model's, or the grammar is invalid or too long for
                `max_tokens`.
            RequestTooLargeError: it could never run within the limits.
            EngineBusyError: the queue is full.
            EngineClosedError: the engine was closed or its loop died.
        """
        self._check_tokens(request)
        deadline = None if request.timeout is None else time.monotonic() + request.timeout
        return self._worker.submit(Sequence(request, deadline=deadline, constraint=self._constraint(request)))

    def submit_all(self, requests: Iterable[Request]) -> list[Generation]:
        """Queue requests together: none begins before all are queued, so an idle engine batches them alike each time.

        Raises what `submit` raises; those queued before the one that was refused are cancelled.
        """
        generations: list[Generation] = []
        with self._worker.queueing():
            try:
                for request in requests:
                    generations.append(self.submit(request))
            except BaseException:
                for generation in generations:
                    generation.cancel()
                raise
        return generations

    def complete(self, request: Request) -> Completion:
        """`submit` and wait for the whole answer; an interrupted wait cancels the request."""
        generation = self.submit(request)
        try:
            return generation.completion
        finally:
            generation.cancel()

    def _constraint(self, request: Request) -> Constraint | None:
        room = self.limits.max_positions - max(map(len, request.prompts))
        if request.grammar is None or room < 1:  # the scheduler refuses a prompt that fills the context
            return None
        with self._compiler_lock:
            self._compiler = self._compiler or GrammarCompiler(self.loaded, self._vocab_size)
        return self._compiler.compile(request.grammar, min(request.sampling.max_tokens, room))

    def _check_tokens(self, request: Request) -> None:
        # On a GPU an id out of range does not fail alone: it takes the whole device context down.
        for prompt in request.prompts:
            for token in (min(prompt), max(prompt)):
                if not 0 <= token < self._vocab_size:
                    msg = (
                        f"Expected token ids from 0 to {self._vocab_size - 1}, got {token}; "
                        "encode the prompt with the model's own tokenizer."
                    )
                    raise ConfigurationError(msg)

    def stats(self) -> Stats:
        """What the engine has done so far."""
        return self._worker.stats()

    def close(self, timeout: float | None = 10.0) -> None:
        """Refuse new requests, end those under way with `EngineClosedError`, stop the thread."""
        self._worker.close(timeout)

    def __enter__(self) -> Engine:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def closed(self) -> bool:
        """Whether it takes no more requests in this process; one that a parent process made takes none."""
        return not self._worker.alive


class _Worker:
    """The engine's thread, and what it shares with callers: a queue, a condition, and the reason why it ended."""

    def __init__(self, loop: Loop, scheduler: Scheduler, condition: threading.Condition) -> None:
        self.ended: BaseException | None = None
        self._loop = loop
        self._scheduler = scheduler
        self._condition = condition
        self._pid = os.getpid()
        self._thread: threading.Thread | None = None
        self._step = Undivided()

    def submit(self, sequence: Sequence) -> Generation:
        generation = Generation(sequence.cancel)
        self._check_process()  # before the lock: in a fork, a thread that is not there may hold it
        with self._condition:
            self._check_alive()
            self._scheduler.submit(sequence)
            self._loop.register(sequence, generation)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="la_agents-engine", daemon=True)
                self._thread.start()
            self._condition.notify()
        return generation

    def queueing(self) -> AbstractContextManager[object]:
        """Held, it keeps the loop from admitting anything."""
        self._check_process()  # before the lock: in a fork, a thread that is not there may hold it
        return self._condition

    def stats(self) -> Stats:
        meter, cache, scheduler = self._loop.meter, self._loop.prefix_cache, self._scheduler
        busy = meter.seconds["step"]
        return Stats(
            num_rows=scheduler.num_rows,
            num_waiting=len(scheduler.waiting),
            num_running=len(scheduler.admitted),
            **{f"num_{name}": number for name, number in meter.counts.items()},
            prefix_hit_rate=cache.num_hit_tokens / max(cache.num_looked_up_tokens, 1),
            prefix_bytes=cache.num_bytes,
            row_bytes=self._loop.runner.num_bytes,
            prefill_seconds=meter.seconds["prefill"],
            decode_seconds=meter.seconds["decode"],
            sampler_seconds=meter.seconds["sampler"],
            rest_seconds=meter.rest_seconds,
            tokens_per_second=meter.counts["generated_tokens"] / busy if busy else 0.0,
        )

    def close(self, timeout: float | None = 10.0) -> None:
        if self._pid != os.getpid():
            return
        with self._condition:
            self.ended = self.ended or EngineClosedError("it was closed; create a new one.")
            self._condition.notify()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(timeout)

    @property
    def alive(self) -> bool:
        return self.ended is None and self._pid == os.getpid()

    def _check_process(self) -> None:
        if self._pid != os.getpid():
            msg = "Expected the process that made this engine, got a fork of it; make another one here, or use spawn."
            raise EngineClosedError(msg)

    def _check_alive(self) -> None:
        if self.ended is not None:
            msg = f"Expected a running engine, and it ended: {self.ended}"
            raise EngineClosedError(msg) from self.ended

    def _run(self) -> None:
        device = self._loop.runner.device
        if device.type == "cuda":
            torch.cuda.set_device(device)  # for this thread: what names no device is made there
        # For this thread alone: probabilities below 1e-38 cost a processor a hundred times what others do.
        torch.set_flush_denormal(True)
        if self._loop.runner.has_own_threads:
            _compute_alone()
        try:
            while self._wait_for_work():
                with self._step:
                    self._loop.step()
                if _log.isEnabledFor(logging.DEBUG) and self._loop.meter.counts["steps"] % _STATS_EVERY == 0:
                    _log.debug("engine %s", self.stats().as_dict())
        except Exception as error:  # noqa: BLE001  # nothing is swallowed: every caller, now and later, gets it
            self.ended = error
        finally:
            with self._condition:
                self.ended = cause = self.ended or EngineClosedError("its thread was stopped.")
            self._loop.fail_all(cause)

    def _wait_for_work(self) -> bool:
        with self._condition:
            self._condition.wait_for(lambda: self.ended is not None or not self._loop.idle)
            return self.ended is None


def _compute_alone() -> None:
    """PyTorch's operations in this thread use no other threads from now on.

    Once two threads of a process have used OpenMP, its workers no longer wait awake for the next operation, and waking
    them costs more than the sampler's small operations: one thread alone is two to three times as fast.
    """
    wanted = torch.get_num_threads()
    torch.set_num_threads(1)
    # It also set what threads to come start with; each thread that is there has a number of its own.
    restorer = threading.Thread(target=torch.set_num_threads, args=(wanted,))
    restorer.start()
    restorer.join()


def _limits_of(loaded: LoadedModel, limits: Limits | None) -> Limits:
    limits = limits or Limits()
    return dataclasses.replace(limits, max_positions=min(limits.max_positions, loaded.max_positions))


def _limits_here(limits: Limits, loaded: LoadedModel, prefix_cache_bytes: int) -> Limits:
    """The limits that the memory of the model's device allows; prefixes that are kept are there as well."""
    if loaded.device.type != "cuda":
        return limits
    fitting = tokens_that_fit(loaded, limits.gpu_memory, prefix_cache_bytes) - limits.max_rows
    if fitting < 1:
        msg = f"Expected free memory on {loaded.device} beside the model, got none; free some, or raise gpu_memory."
        raise ConfigurationError(msg)
    return dataclasses.replace(limits, max_cached_tokens=min(limits.max_cached_tokens, fitting))


_engines: weakref.WeakValueDictionary[int, Engine] = weakref.WeakValueDictionary()
_engines_lock = threading.Lock()


def _forget_engines() -> None:
    global _engines, _engines_lock
    _engines, _engines_lock = weakref.WeakValueDictionary(), threading.Lock()


renew_in_child(_forget_engines)


def engine_for(loaded: LoadedModel, limits: Limits | None = None) -> Engine:
    """The one engine of a loaded model, made on first use; every LangChain object on that model shares it.

    Raises:
        ConfigurationError: the engine exists with other limits.
    """
    with _engines_lock:
        # An engine holds its model, so the id stays its own for as long as the entry lives.
        engine = _engines.get(id(loaded))
        if engine is None or engine.closed:
            engine = _engines[id(loaded)] = Engine(loaded, limits)
        elif limits is not None and _limits_of(loaded, limits) != engine.limits:
            msg = f"Expected the limits of the model's running engine, {engine.limits}, got {limits}; close it first."
            raise ConfigurationError(msg)
        return engine
