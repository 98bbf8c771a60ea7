"""In the place of vLLM's workers and grammars: a cache of hashes, and one grammar that takes its time to compile.

A slot's hash is made of the one before it and the token: a row that reads a slot which was not written, or goes on from
a token that another row of its request did not get, ends up with another answer.
"""

from __future__ import annotations

import random
import zlib
from concurrent.futures import Future
from typing import Any

import numpy as np
import torch
from vllm.v1.outputs import ModelRunnerOutput

from la_agents_vllm.arguments import Row

VOCAB, END, BLOCK = 211, 7, 8


def digest(*parts: Any) -> int:
    return zlib.crc32(repr(parts).encode())


def folded(tokens: list[int]) -> int:
    """What the last slot of these tokens holds."""
    x = 1
    for place, token in enumerate(tokens):
        x = digest(x, token, place)
    return x


def is_allowed(token: int, num_accepted: int) -> bool:
    """The one grammar there is."""
    return token == END or (token + num_accepted) % 3 != 0


def chosen(states: list[int], num_accepted: int | None = None) -> int:
    """The token that these rows' last slots say."""
    token = digest("token", *states) % VOCAB
    while num_accepted is not None and not is_allowed(token, num_accepted):
        token = (token + 1) % VOCAB
    return token


class Grammar:
    """A grammar's state, as vLLM's manager knows it."""

    def __init__(self) -> None:
        self.num_accepted = 0

    def accept_tokens(self, request_id: str, tokens: list[int]) -> bool:
        for token in tokens:
            if not is_allowed(token, self.num_accepted):
                return False
            self.num_accepted += 1
        return True

    def fill_bitmask(self, bitmask: torch.Tensor, index: int) -> None:
        flags = np.array([is_allowed(token, self.num_accepted) for token in range(VOCAB)] + [False] * (-VOCAB % 32))
        bitmask[index] = torch.from_numpy(np.packbits(flags, bitorder="little").view(np.int32))

    def is_terminated(self) -> bool:
        return False


class Backend:
    """Compiles to the one grammar there is."""

    def compile_grammar(self, *_: Any, **__: Any) -> Grammar:
        return Grammar()

    def allocate_token_bitmask(self, size: int) -> torch.Tensor:
        return torch.zeros((size, -(-VOCAB // 32)), dtype=torch.int32)


class Slow:
    """An executor whose work is done some steps later."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._open: list[tuple[int, Future[Any], Any]] = []
        self._now = 0

    def submit(self, work: Any, *arguments: Any) -> Future[Any]:
        future: Future[Any] = Future()
        self._open.append((self._now + self._rng.randrange(6), future, lambda: work(*arguments)))
        return future

    def step(self) -> None:
        self._now += 1
        for entry in [entry for entry in self._open if entry[0] <= self._now]:
            self._open.remove(entry)
            entry[1].set_result(entry[2]())


class Words:
    """A tokenizer, as far as triggers need one."""

    def decode(self, tokens: list[int], **_: Any) -> str:
        return "".join(f"<{token}>" for token in tokens)


class Worker:
    """Sequences as vLLM's runners keep them, the first's way or the second's."""

    def __init__(self, *, is_second: bool, is_async: bool) -> None:
        self._is_second, self._is_async = is_second, is_async
        self._slots: dict[tuple[int, int], Any] = {}
        self._requests: dict[str, dict[str, Any]] = {}
        self._last: set[str] = set()
        self._rng = random.Random(0)

    def execute(self, out: Any, masks: dict[str, Any]) -> ModelRunnerOutput:
        gone = set(out.finished_req_ids) | (set(out.preempted_req_ids or ()) if self._is_second else set())
        for name in gone:
            self._requests.pop(name, None)
        for new in out.scheduled_new_reqs:
            tokens = list(new.prefill_token_ids if self._is_second else new.prompt_token_ids)
            assert not self._is_second or new.req_id not in self._requests, "a request has two slots"
            self._requests[new.req_id] = {
                "tokens": tokens,
                "prompt": len(new.prompt_token_ids),
                "blocks": list(new.block_ids[0]),
                "computed": new.num_computed_tokens,
                "row": Row.of(new.sampling_params.extra_args),
            }
        self._update_cached(out.scheduled_cached_reqs)
        self._last = set(out.num_scheduled_tokens)
        work = []
        for name, n in out.num_scheduled_tokens.items():
            request = self._requests[name]
            assert request["computed"] + n <= len(request["tokens"]), "tokens are scheduled that are not there"
            work.append((name, request, request["computed"], n))
        for _ in range(4):  # rows read what others write in this very step, as attention does layer by layer
            for _, request, done, n in work:
                for place in range(done, done + n):
                    before = 1 if place == 0 else self._read(request, place - 1)
                    slot = request["blocks"][place // BLOCK], place % BLOCK
                    self._slots[slot] = digest(before, request["tokens"][place], place)
        states = {
            name: self._read(request, done + n - 1)
            for name, request, done, n in work
            if done + n == len(request["tokens"])
        }
        tokens = self._sample(states, masks)
        for name, token in tokens.items():
            self._requests[name]["tokens"].append(token)
        names = list(out.num_scheduled_tokens)
        return ModelRunnerOutput(
            req_ids=names,
            req_id_to_index={name: i for i, name in enumerate(names)},
            sampled_token_ids=[[tokens[name]] if name in tokens else [] for name in names],
        )

    def _update_cached(self, cached: Any) -> None:
        for i, name in enumerate(cached.req_ids):
            request = self._requests[name]
            request["computed"] = cached.num_computed_tokens[i]
            new_blocks, num_output = cached.new_block_ids[i], cached.num_output_tokens[i]
            if self._is_second:
                assert name not in cached.resumed_req_ids
                request["blocks"] += new_blocks[0] if new_blocks else []
                continue
            if num_output < len(request["tokens"]) - request["prompt"]:
                del request["tokens"][request["prompt"] + num_output :]
            if name in cached.resumed_req_ids:
                request["blocks"] = list(new_blocks[0])
            elif new_blocks:
                request["blocks"] += new_blocks[0]
            is_fresh = name in cached.resumed_req_ids or name not in self._last
            if self._is_async and is_fresh and num_output > 0:
                output = list(cached.all_token_ids[name][-num_output:])
                request["tokens"] = request["tokens"][: request["prompt"]] + output

    def _read(self, request: dict[str, Any], place: int) -> Any:
        return self._slots.get((request["blocks"][place // BLOCK], place % BLOCK), ("never written", place))

    def _sample(self, states: dict[str, Any], masks: dict[str, Any]) -> dict[str, int]:
        gangs: dict[str, dict[int, str]] = {}
        for name in states:
            if (row := self._requests[name]["row"]) is not None:
                gangs.setdefault(row.gang, {})[row.role] = name
        tokens = {}
        for name, state in states.items():
            row = self._requests[name]["row"]
            if row is None:
                tokens[name] = self._masked([state], masks.get(name))
                continue
            rows = gangs[row.gang]
            if len(rows) < row.size:
                tokens[name] = self._rng.randrange(VOCAB)  # has to be thrown away
                continue
            is_aligned = all(masks.get(rows[role]) is None or masks[rows[role]].any() for role in range(1, row.size))
            counted = range(row.size) if is_aligned else (0,)
            tokens[name] = self._masked([states[rows[role]] for role in counted], masks.get(rows[0]))
        return tokens

    @staticmethod
    def _masked(states: list[Any], mask: Any) -> int:
        token = chosen(states)
        while mask is not None and not mask[token]:
            token = (token + 1) % VOCAB
        return token
