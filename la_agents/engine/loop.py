"""Loop: a step of continuous batching: admit, prefill a chunk of prompts, decode a token a row, sample, hand out.

Single-threaded; `Engine` runs it. An error on one sequence ends that sequence alone.
"""

from __future__ import annotations

import functools
import logging
import math
import time
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from la_agents.engine.detokenizer import Detokenizer
from la_agents.engine.failure import explain
from la_agents.engine.kv_cache import KeyValues, concatenate
from la_agents.engine.pending import Chosen, Pending
from la_agents.engine.prefill import Prefill, PrefillRow, fair_order, plan_prefill
from la_agents.engine.prefix_cache import PrefixCache
from la_agents.engine.repetition import is_loop
from la_agents.engine.runner import PrefillChunk, Runner
from la_agents.engine.sampler import Sampler, Started
from la_agents.engine.scheduler import Scheduler
from la_agents.engine.sequence import Sequence, Status
from la_agents.engine.stats import Meter
from la_agents.errors import (
    DeadlineExceededError,
    EngineClosedError,
    GenerationError,
)
from la_agents.requests import Chunk, Generation, TokenRecord

if TYPE_CHECKING:
    from la_agents.models import LoadedModel

__all__ = ["Loop"]

_log = logging.getLogger(__name__)

_Ready = tuple[Tensor, list[tuple[Sequence, list[int]]]]
"""Logits [rows, vocab], and where in them the rows of each sequence stand."""


@dataclass
class _Active:
    """A sequence and the two ends it talks to."""

    sequence: Sequence
    generation: Generation
    detokenizer: Detokenizer


class Loop:
    """State of the running batch and how it advances.

    Args:
        loaded: The model.
        scheduler: Shared with the thread that submits.
        lock: Held while the scheduler's queues change.
        prefix_cache: Where prompts' prefixes are found again.
        share_prefixes: Whether rows of one sequence compute their common prefix once.
        static_shapes: See `Runner`.
    """

    def __init__(
        self,
        loaded: LoadedModel,
        scheduler: Scheduler,
        lock: AbstractContextManager[object],
        prefix_cache: PrefixCache,
        *,
        share_prefixes: bool = True,
        static_shapes: bool | None = None,
    ) -> None:
        limit = scheduler.limits
        self.runner = Runner(loaded, num_tokens=limit.max_cached_tokens + limit.max_rows, static_shapes=static_shapes)
        self.runner.prepare()
        self.sampler = Sampler()
        self.sampler.prepare(loaded.model.config.get_text_config().vocab_size, loaded.device)
        self.meter = Meter()
        self.prefix_cache = prefix_cache
        self._loaded = loaded
        self._scheduler = scheduler
        self._lock = lock
        self._share_prefixes = share_prefixes
        self._active: dict[Sequence, _Active] = {}
        self._prefills: list[Prefill] = []
        self._turn = 0
        self._running: list[Sequence] = []
        self._pending = Pending()
        self._held: Chosen = []  # chosen on a GPU, and not handed out yet

    def register(self, sequence: Sequence, generation: Generation) -> None:
        """Make a sequence known before it is submitted to the scheduler."""
        request = sequence.request
        # A grammar lets no special tokens through but those that it asks for: what tool calls are marked with.
        detokenizer = Detokenizer(
            self._loaded.tokenizer, request.sampling.stop, skip_special_tokens=request.grammar is None
        )
        self._active[sequence] = _Active(sequence, generation, detokenizer)

    @property
    def idle(self) -> bool:
        return not self._scheduler.waiting and not self._scheduler.admitted

    @torch.inference_mode()
    def step(self) -> None:
        """Advance everything by one token, or one chunk of prompt.

        A GPU is never left waiting for the host: it decodes the tokens that it has just chosen before the host has seen
        them. Where one of them turns out to end its answer, what was decoded after it is nobody's.
        """
        with self.meter.timed("step"):
            self.meter.add("steps")
            self._drop_ended()
            self._admit()
            decoded = self._decode()
            self._settle()
            prefilled = self._prefill()
            self._pending = self._sample([*decoded, *prefilled], stays=not prefilled)
            if not self.runner.is_asynchronous:
                self._settle()
            # On a GPU the step above has only been started: meanwhile the tokens of the step before go out.
            self._hand_out_held()

    def fail_all(self, cause: BaseException) -> None:
        """End every sequence, because the loop cannot go on; whatever state it is in, every caller is told."""
        for active in self._snapshot():
            # Each its own: an error raised in several threads at once would mix up their tracebacks.
            error = EngineClosedError(f"Expected an answer, and the engine ended: {cause}")
            error.__cause__ = cause
            with self._lock:
                self._scheduler.remove(active.sequence)
                del self._active[active.sequence]
            active.generation.post(error)
        self._prefills, self._running, self._held, self._pending = [], [], [], Pending()
        self.runner.reset()

    # -- admission -------------------------------------------------------------------------------------------------

    def _drop_ended(self) -> None:
        now = time.monotonic()
        for active in self._snapshot():
            sequence = active.sequence
            if sequence.cancelled:
                self._finish(active, "cancelled")
            elif sequence.deadline is not None and now > sequence.deadline:
                msg = (
                    f"Expected an answer within {sequence.request.timeout:g} s, got {sequence.num_generated} tokens "
                    "by then; raise timeout, lower max_tokens, or send fewer requests at once."
                )
                self._fail(sequence, DeadlineExceededError(msg))

    def _admit(self) -> None:
        with self._lock:
            admitted = self._scheduler.admit()
        for sequence in admitted:
            try:
                cached = [self._find(sequence, prompt) for prompt in sequence.request.prompts]
            except Exception as error:  # noqa: BLE001  # whatever it is, it reaches the caller it belongs to
                self._fail(sequence, error)
                continue
            self._prefills.append(Prefill(sequence, cached, share=self._share_prefixes))

    def _find(self, sequence: Sequence, prompt: tuple[int, ...]) -> tuple[list[KeyValues], int]:
        """Cached parts of a prompt and how many tokens they cover."""
        request = sequence.request
        # The last token is always computed: its logits are what prefill is for.
        known = prompt[:-1][: request.max_kept_tokens]
        blocks = self.prefix_cache.find(known, salt=request.salt or "", num_public=request.num_public_tokens)
        return blocks, len(blocks) * self.prefix_cache.block_size

    def _snapshot(self) -> list[_Active]:
        with self._lock:
            return list(self._active.values())

    # -- forwards --------------------------------------------------------------------------------------------------

    def _prefill(self) -> list[_Ready]:
        """Compute one budget's worth of prompts; the sequences that are ready, with their rows' first logits."""
        if not self._prefills:
            return []
        self._turn += 1
        plan = plan_prefill(fair_order(self._prefills, self._turn), self._scheduler.limits.prefill_budget)
        with self.meter.timed("prefill"):
            self._run_chunks_or_fail(plan)
        ready = [p for p in self._prefills if p.done]
        self._prefills = [p for p in self._prefills if not p.done]
        return [
            (logits, [(p.sequence, list(range(len(logits))))])
            for p in ready
            if (logits := self._start_decoding(p)) is not None
        ]

    def _run_chunks(self, plan: list[tuple[PrefillRow, int]]) -> None:
        chunks = [PrefillChunk(row.tokens[row.num_done : row.num_done + n], row.parts, row.num_done) for row, n in plan]
        logits, new = self.runner.prefill(chunks)
        for i, ((row, n), key_values) in enumerate(zip(plan, new, strict=True)):
            row.advance(n, key_values)
            row.logits = logits[i]
            row.sequence.num_computed_tokens += n
            self.meter.add("prefilled_tokens", n)

    def _run_chunks_or_fail(self, plan: list[tuple[PrefillRow, int]]) -> None:
        """Run the chunks together; if that fails, each sequence's apart, to find out whose failed."""
        sequences = list(dict.fromkeys(row.sequence for row, _ in plan))
        try:
            self._run_chunks(plan)
            return
        except Exception as error:  # noqa: BLE001  # as above
            if len(sequences) == 1:
                self._fail(sequences[0], error)
                return
        # Outside the handler, so that no error has another sequence's as its context.
        for sequence in sequences:
            self._run_chunks_or_fail([(row, n) for row, n in plan if row.sequence is sequence])

    def _start_decoding(self, prefill: Prefill) -> Tensor | None:
        """Move a prefilled sequence into the batch; its rows' logits, or None if there was no room after all."""
        sequence = prefill.sequence
        try:
            parts = [concatenate(row.parts) for row in prefill.rows]
            room_for = sum(s.num_rows for s in self._scheduler.admitted if s.lane == sequence.lane)
            capacity = self._scheduler.reserved_length(sequence) + 1
            sequence.rows = self.runner.add_rows(parts, lane=sequence.lane, room_for=room_for, capacity=capacity)
        except Exception as error:  # noqa: BLE001  # as above
            self._fail(sequence, error)
            return None
        sequence.status = Status.RUNNING
        self._running.append(sequence)
        return torch.stack([row.logits for row in prefill.rows])

    def _last_tokens(self) -> dict[Sequence, int]:
        held = {sequence: record.token_id for sequence, record in self._held}
        return {s: held[s] if s in held else s.records[-1].token_id for s in self._running}

    def _decode(self) -> list[_Ready]:
        """The next logits of every running sequence."""
        running = self._running
        # A grammar follows each token, and may put another in its place; where all answers are full, none goes on.
        if (
            self._pending.tokens is None
            or any(s.constraint is not None for s in running)
            or all(self._is_full(s, s.num_generated + 1) for s in running)
        ):
            self._settle()
        if not self._running:
            return []
        self.meter.add("decoded_rows", self.runner.num_rows)
        with self.meter.timed("decode"):
            try:
                return [(self.runner.decode(self._next_tokens()), [(s, list(s.rows)) for s in self._running])]
            except Exception as error:  # noqa: BLE001  # as above
                _log.debug("a decoding step failed, and is tried again a sequence at a time: %s", error)
            self._settle()
            self._hand_out_held()  # what came before a failure is its caller's
            return self._decode_apart()

    def _next_tokens(self) -> list[int] | Tensor:
        """The token that each row goes on with; on the device where the host has not seen it yet."""
        tokens, places = self._pending.tokens, self._pending.places
        last = self._last_tokens() if tokens is None else places
        by_row = [0] * self.runner.num_rows
        for sequence in self._running:
            for row in sequence.rows:
                by_row[row] = last[sequence]
        if tokens is None:
            return by_row
        places_by_row = torch.tensor(by_row, pin_memory=tokens.is_cuda).to(tokens.device, non_blocking=True)
        return tokens.index_select(0, places_by_row)

    def _decode_apart(self) -> list[_Ready]:
        alive: list[_Ready] = []
        failed: list[tuple[Sequence, Exception]] = []
        for sequence, token in self._last_tokens().items():
            try:
                logits = self.runner.decode_alone(sequence.rows, token)
                alive.append((logits, [(sequence, list(range(len(logits))))]))
            except Exception as error:  # noqa: BLE001  # as above
                failed.append((sequence, error))
        for sequence, own in failed:
            self._fail(sequence, own)
        return alive

    # -- tokens ----------------------------------------------------------------------------------------------------

    def _sample(self, ready: list[_Ready], *, stays: bool) -> Pending:
        """Start choosing the next token of each sequence.

        Sequences that cannot be sampled fail one by one.

        Args:
            stays: See `Sampler.start`.
        """
        members, first = [], 0
        for logits, sequences in ready:
            members += [
                (sequence, [first + row for row in rows])
                for sequence, rows in sequences
                if sequence.status is not Status.FINISHED
            ]
            first += len(logits)
        if not members:
            return Pending()
        logits = ready[0][0] if len(ready) == 1 else torch.cat([logits for logits, _ in ready])
        try:
            with self.meter.timed("sampler"):
                steps = self.sampler.start(logits, members, stays=stays)
                tokens = torch.cat([step.tokens for step in steps]) if self.runner.is_asynchronous else None
        except Exception as error:  # noqa: BLE001  # as above
            chosen = self._sample_apart(logits, members, error)  # now: the next step overwrites these logits
            return Pending(lambda: chosen)
        finish = functools.partial(self._finish_sampling, logits, members, steps)
        return Pending(finish, tokens, {sequence: i for i, (sequence, _) in enumerate(members)})

    def _finish_sampling(
        self, logits: Tensor, members: list[tuple[Sequence, list[int]]], steps: list[Started]
    ) -> Chosen:
        try:
            with self.meter.timed("sampler"):
                records = self.sampler.finish(steps)
        except Exception as error:  # noqa: BLE001  # as above
            if not self.runner.is_asynchronous:
                return self._sample_apart(logits, members, error)
            # Nobody knows whose it was: on a GPU the logits are the next step's by now. Each gets an error of its own.
            _log.warning("a step failed, and all answers in it", exc_info=error)
            msg = f"Expected the device to choose the next tokens, got {type(error).__name__}: {error}; ask again."
            for sequence, _ in members:
                if sequence.status is not Status.FINISHED:
                    self._fail(sequence, GenerationError(msg))
            return []
        return [(sequence, record) for (sequence, _), record in zip(members, records, strict=True)]

    def _sample_apart(self, logits: Tensor, members: list[tuple[Sequence, list[int]]], error: Exception) -> Chosen:
        if len(members) > 1:
            return [chosen for one in members for chosen in self._sample([(logits, [one])], stays=False).finish()]
        sequence = members[0][0]
        if sequence.status is not Status.FINISHED:
            self._fail(sequence, error)
        return []

    def _settle(self) -> None:
        """Wait for what is being chosen; what ends an answer goes out at once, the rest is held."""
        pending, self._pending = self._pending, Pending()
        self._held += pending.finish()
        self._hand_out_what_decides()

    def _hand_out_held(self) -> None:
        held, self._held = self._held, []
        self._hand_out(held)

    def _hand_out_what_decides(self) -> None:
        """Hand out held tokens that the next step depends on: they end the answer, or a grammar follows them."""
        deciding: Chosen = []
        rest: Chosen = []
        for sequence, record in self._held:
            decides = (
                sequence.constraint is not None
                or record.token_id in self._loaded.eos_token_ids
                or math.isnan(record.divergence)
                or self._is_full(sequence, sequence.num_generated + 1)
            )
            (deciding if decides else rest).append((sequence, record))
        self._held = rest
        self._hand_out(deciding)

    def _is_full(self, sequence: Sequence, num_generated: int) -> bool:
        """Whether an answer of so many tokens has no room for another."""
        longest = max(map(len, sequence.request.prompts)) + num_generated
        most = sequence.request.sampling.max_tokens
        return num_generated >= most or longest >= self._scheduler.limits.max_positions

    def _hand_out(self, chosen: Chosen) -> None:
        # What was chosen for one that has failed or been cancelled since is nobody's.
        chosen = [(sequence, record) for sequence, record in chosen if sequence.status is not Status.FINISHED]
        for sequence, record in chosen:
            if math.isnan(record.divergence):
                # Before any row moves: slots that hold nan would reach the sequence that gets them next.
                self.runner.clear(sequence.rows)
        for sequence, record in chosen:
            active = self._active[sequence]
            try:
                reason = self._extend(active, record)
            except Exception as error:  # noqa: BLE001  # as above
                self._fail(sequence, error)
                continue
            if reason is not None:
                self._finish(active, reason)
            elif sequence.num_generated == 1:
                self._remember(sequence)

    def _extend(self, active: _Active, record: TokenRecord) -> str | None:
        """Give a token to its caller; why the answer ends with it, if it does."""
        sequence, request = active.sequence, active.sequence.request
        if math.isnan(record.divergence):
            msg = "Expected finite logits, got nan or inf; load the model with dtype='float32', or lower strength."
            raise GenerationError(msg)
        if record.token_id in self._loaded.eos_token_ids:
            return "stop"
        constraint = sequence.constraint
        followed = record if constraint is None else constraint.follow(record)
        if followed is None:
            return "length"
        if constraint is not None and constraint.structured:
            active.detokenizer.ignore_stops()
        sequence.records.append(followed)
        self.meter.add("generated_tokens")
        active.generation.post(Chunk(active.detokenizer.push(followed.token_id), followed))
        if active.detokenizer.stopped:
            return "stop"
        if constraint is not None and constraint.complete:
            return "length" if constraint.cut_short else "stop"
        if self._is_full(sequence, sequence.num_generated):
            return "length"
        if request.sampling.stop_repetition and constraint is None:
            return "repetition" if is_loop(sequence.records, self._loaded.tokenizer.decode) else None
        return None

    # -- endings ---------------------------------------------------------------------------------------------------

    def _finish(self, active: _Active, reason: str) -> None:
        sequence = active.sequence
        try:
            completion = sequence.completion(active.detokenizer.flush(), reason)
        except Exception as error:  # noqa: BLE001  # as above
            self._fail(sequence, error)
            return
        if reason != "cancelled":
            self._remember(sequence)
        self.meter.add("cancelled" if reason == "cancelled" else "finished")
        self._forget(sequence)
        active.generation.post(completion)

    def _fail(self, sequence: Sequence, error: Exception) -> None:
        explained = explain(error, sequence, self.runner.device)
        self.meter.add("failed")
        generation = self._active[sequence].generation
        self._forget(sequence)
        generation.post(explained)

    def _forget(self, sequence: Sequence) -> None:
        """Take a sequence out of everything and close the gap its rows leave."""
        self._prefills = [p for p in self._prefills if p.sequence is not sequence]
        if sequence in self._running:
            self._running.remove(sequence)
            moved = self.runner.remove_rows(sequence.rows)
            for other in self._running:
                other.rows = [moved.get(row, row) for row in other.rows]
        with self._lock:
            self._scheduler.remove(sequence)
            del self._active[sequence]

    def _remember(self, sequence: Sequence) -> None:
        """Keep a running sequence's prompts, and its answer for the conversation's next turn, as far as rows reach."""
        request, answer = sequence.request, tuple(record.token_id for record in sequence.records)
        for prompt, row in zip(request.prompts, sequence.rows, strict=True):
            tokens = (*prompt, *answer)[: min(self.runner.lengths[row], request.max_kept_tokens)]
            read = functools.partial(self.runner.read, row)
            try:
                self.prefix_cache.insert(tokens, read, salt=request.salt or "", num_public=request.num_public_tokens)
            except Exception as error:  # noqa: BLE001  # the answer is worth more than the cache
                _log.warning("the prefix cache was emptied: %s", error)
                self.prefix_cache.clear()
