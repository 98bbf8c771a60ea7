"""Runtime: the engine and the prompt builder that the settings of a face ask for, made on first use and kept.

A call may name another model or other template variables, and settings may change between calls: what is kept belongs
to the settings it was made for, and is never used for others.
"""

from __future__ import annotations

import json
import os
import threading
import uuid
import weakref
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from la_agents.forks import renew_in_child
from la_agents.models import LoadedModel, load_model
from la_agents.prompts.builder import PromptBuilder, Wording

if TYPE_CHECKING:
    from la_agents.requests import Engine

__all__ = ["Ready", "Runtime", "Setup"]

_KEPT = 4
"""The face's own setup and a few that calls named; each may hold a model in memory."""


class Ready(NamedTuple):
    """What a call needs to run."""

    engine: Engine
    builder: PromptBuilder
    key: str
    """Stands for the engine in cache keys where it has no `fingerprint`; random."""
    loaded: LoadedModel | None = None
    """The model of an engine in this process, for another engine once that one is closed."""

    @property
    def fingerprint(self) -> str:
        """Identifies the model in cache keys."""
        found: str = getattr(self.engine, "fingerprint", None) or self.key
        return found


@dataclass(frozen=True)
class Setup:
    """What an engine and a prompt builder are made of; `variables` are JSON text, `engine` is one that was given."""

    engine: Engine | None = field(compare=False)
    engine_id: int = field(init=False)  # engines are compared as objects, whatever they say of equality
    model: Any
    device: str
    dtype: str
    quantize: str | None
    end_token_ids: tuple[int, ...] | None
    placement: Any
    wording: Wording | None
    variables: str
    process: int = field(default_factory=os.getpid)
    """A fork has no threads of its own: it makes an engine anew."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "engine_id", id(self.engine))

    def load(self, progress: Callable[[str, float], None] | None = None) -> LoadedModel:
        """The model, loaded or found loaded."""
        return load_model(
            self.model,
            device=self.device,
            dtype=self.dtype,
            quantize=self.quantize,
            end_token_ids=self.end_token_ids,
            progress=progress,
        )

    def make(self, progress: Callable[[str, float], None] | None) -> Ready:
        """All that a call needs."""
        loaded = self.load(progress) if self.engine is None else None
        engine = self.engine if loaded is None else _local_engine(loaded)
        assert engine is not None
        builder = PromptBuilder(
            engine.tokenizer,
            placement=self.placement,
            wording=self.wording,
            variables=json.loads(self.variables),
        )
        return Ready(engine, builder, uuid.uuid4().hex, loaded)


def _local_engine(loaded: LoadedModel) -> Engine:
    from la_agents.engine.engine import engine_for

    return engine_for(loaded)


class Runtime:
    """What is ready, by setup; safe to use from several threads.

    A copy shares what is ready and nothing else; what is pickled comes back empty, and loads again.
    """

    def __init__(self, ready: dict[Setup, Ready] | None = None) -> None:
        self._ready = dict(ready or {})
        self._renew_locks()
        _runtimes.add(self)

    def _renew_locks(self) -> None:
        self._lock = threading.Lock()
        self._making = threading.Lock()

    def get(self, setup: Setup, progress: Callable[[str, float], None] | None = None) -> Ready:
        """What was made for `setup`, or is made now; a closed engine is replaced by a new one."""
        if (ready := self._find(setup)) is not None:
            return ready
        with self._making:  # of many first calls one loads, and the others wait for it
            ready = self._find(setup) or setup.make(progress)
            with self._lock:
                self._ready[setup] = ready
                while len(self._ready) > _KEPT:
                    del self._ready[next(iter(self._ready))]
        return ready

    def _find(self, setup: Setup) -> Ready | None:
        with self._lock:
            ready = self._ready.pop(setup, None)
            if ready is None:
                return None
            if ready.loaded is not None and getattr(ready.engine, "closed", False):
                ready = ready._replace(engine=_local_engine(ready.loaded))
            self._ready[setup] = ready  # the one used last goes last
            return ready

    def __copy__(self) -> Runtime:
        with self._lock:
            return Runtime(self._ready)

    def __deepcopy__(self, memo: Any) -> Runtime:
        return self.__copy__()

    def __reduce__(self) -> tuple[type[Runtime], tuple[()]]:
        return Runtime, ()


_runtimes: weakref.WeakSet[Runtime] = weakref.WeakSet()


def _renew_all() -> None:
    for runtime in list(_runtimes):
        runtime._renew_locks()


renew_in_child(_renew_all)  # a thread that stayed in the parent may have been loading
