"""Loop: one step of continuous batching: admit, prefill a piece, decode a token for every row, sample, hand out.

Single-threaded; `Engine` runs it. An error on one sequence ends that sequence alone.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from la_agents.engine.detokenizer import Detokenizer
from la_agents.engine.generation import Chunk, Completion, Generation
from la_agents.engine.kv_cache import concatenate
from la_agents.engine.prefill import Prefill, PrefillRow, plan_prefill
from la_agents.engine.prefix_cache import PrefixCache
from la_agents.engine.runner import Piece, Runner
from la_agents.engine.sampler import Sampler
from la_agents.engine.scheduler import Scheduler
from la_agents.engine.sequence import Sequence, Status, TokenRecord
from la_agents.engine.stats import Meter
from la_agents.errors import DeadlineExceededError, GenerationError, LaAgentsError, RequestTooLargeError

if TYPE_CHECKING:
    from la_agents.models import LoadedModel

__all__ = ["Loop"]


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
        self.runner = Runner(loaded, static_shapes=static_shapes)
        self.sampler = Sampler()
        self.meter = Meter()
        self.prefix_cache = prefix_cache
        self._loaded = loaded
        self._scheduler = scheduler
        self._lock = lock
        self._share_prefixes = share_prefixes
        self._active: dict[Sequence, _Active] = {}
        self._prefills: list[Prefill] = []
        self._running: list[Sequence] = []

    def register(self, sequence: Sequence, generation: Generation) -> None:
        """Make a sequence known before it is submitted to the scheduler."""
        detokenizer = Detokenizer(self._loaded.tokenizer, sequence.request.sampling.stop)
        self._active[sequence] = _Active(sequence, generation, detokenizer)

    def forget(self, sequence: Sequence) -> None:
        """Undo `register` for a sequence that the scheduler refused."""
        self._active.pop(sequence, None)

    @property
    def idle(self) -> bool:
        return not self._scheduler.waiting and not self._scheduler.admitted

    @torch.inference_mode()
    def step(self) -> None:
        """Advance everything by one token, or one piece of prompt."""
        with self.meter.timed("step"):
            self.meter.add("steps")
            self._drop_ended()
            self._admit()
            logits, rows = self._decode()
            for sequence, first in self._prefill():
                logits.append(first)
                rows.append(sequence)
            if rows:
                self._hand_out(rows, self._sample(logits, rows))

    def fail_all(self, error: BaseException) -> None:
        """End every sequence with `error`: the loop cannot go on."""
        for active in list(self._active.values()):
            active.generation.post(error)
            self._forget(active.sequence)
        self._prefills, self._running = [], []

    # -- admission -------------------------------------------------------------------------------------------------

    def _drop_ended(self) -> None:
        now = time.monotonic()
        for active in list(self._active.values()):
            sequence = active.sequence
            if sequence.cancelled:
                self.meter.add("cancelled")
                self._finish([(active, "cancelled")])
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
            request = sequence.request
            cached = []
            for prompt in request.prompts:
                # The last token is always computed: its logits are what prefill is for.
                blocks = self.prefix_cache.find(prompt[:-1], salt=request.salt, num_public=request.num_public_tokens)
                cached.append((blocks, len(blocks) * self.prefix_cache.block_size))
            self._prefills.append(Prefill(sequence, cached, share=self._share_prefixes))

    # -- forwards --------------------------------------------------------------------------------------------------

    def _prefill(self) -> list[tuple[Sequence, Tensor]]:
        """Compute one budget's worth of prompts; the sequences that are ready, with their rows' first logits."""
        plan = plan_prefill(self._prefills, self._scheduler.limits.prefill_budget)
        if not plan:
            return []
        with self.meter.timed("prefill"):
            try:
                self._run_pieces(plan)
            except Exception as error:  # noqa: BLE001  # whatever it is, it reaches the caller it belongs to
                self._run_pieces_apart(plan, error)
        ready = [p for p in self._prefills if p.done]
        self._prefills = [p for p in self._prefills if not p.done]
        return [(p.sequence, logits) for p in ready if (logits := self._join(p)) is not None]

    def _run_pieces(self, plan: list[tuple[PrefillRow, int]]) -> None:
        pieces = [Piece(row.tokens[row.num_done : row.num_done + n], row.parts, row.num_done) for row, n in plan]
        logits, new = self.runner.prefill(pieces)
        for i, ((row, n), key_values) in enumerate(zip(plan, new, strict=True)):
            row.advance(n, key_values)
            row.logits = logits[i]
            row.sequence.num_computed_tokens += n
            self.meter.add("prefilled_tokens", n)

    def _run_pieces_apart(self, plan: list[tuple[PrefillRow, int]], error: Exception) -> None:
        """Find out which sequence's pieces failed: run each sequence alone, unless it was alone already."""
        sequences = list(dict.fromkeys(row.sequence for row, _ in plan))
        if len(sequences) == 1:
            self._fail(sequences[0], self._explain(sequences[0], error))
            return
        for sequence in sequences:
            try:
                self._run_pieces([(row, n) for row, n in plan if row.sequence is sequence])
            except Exception as own:  # noqa: BLE001  # as above
                self._fail(sequence, self._explain(sequence, own))

    def _join(self, prefill: Prefill) -> Tensor | None:
        """Move a prefilled sequence into the batch; its rows' logits, or None if there was no room after all."""
        sequence = prefill.sequence
        try:
            rows = [concatenate(row.parts) for row in prefill.rows]
            self._remember(sequence, [(row.tokens, kv) for row, kv in zip(prefill.rows, rows, strict=True)])
            sequence.rows = self.runner.join(rows)
        except Exception as error:  # noqa: BLE001  # as above
            self._fail(sequence, self._explain(sequence, error))
            return None
        sequence.status = Status.RUNNING
        self._running.append(sequence)
        return torch.stack([row.logits for row in prefill.rows])

    def _decode(self) -> tuple[list[Tensor], list[Sequence]]:
        """The next logits of every running sequence."""
        if not self._running:
            return [], []
        tokens = [0] * self.runner.num_rows
        for sequence in self._running:
            for row in sequence.rows:
                tokens[row] = sequence.records[-1].token_id
        self.meter.add("decoded_rows", len(tokens))
        with self.meter.timed("decode"):
            try:
                logits = self.runner.decode(tokens)
            except Exception:  # noqa: BLE001  # as above: each sequence is tried alone and keeps its own error
                return self._decode_apart()
        return [logits[s.rows] for s in self._running], list(self._running)

    def _decode_apart(self) -> tuple[list[Tensor], list[Sequence]]:
        alive: list[tuple[Tensor, Sequence]] = []
        failed: list[tuple[Sequence, LaAgentsError]] = []
        for sequence in self._running:
            try:
                alive.append((self.runner.decode_alone(sequence.rows, sequence.records[-1].token_id), sequence))
            except Exception as error:  # noqa: BLE001  # as above
                failed.append((sequence, self._explain(sequence, error)))
        for sequence, explained in failed:
            self._fail(sequence, explained)
        return [logits for logits, _ in alive], [sequence for _, sequence in alive]

    # -- tokens ----------------------------------------------------------------------------------------------------

    def _sample(self, logits: list[Tensor], sequences: list[Sequence]) -> list[TokenRecord]:
        with self.meter.timed("sampler"):
            members, first = [], 0
            for sequence in sequences:
                members.append((sequence, range(first, first + sequence.num_rows)))
                first += sequence.num_rows
            return self.sampler.sample(torch.cat(logits), members)

    def _hand_out(self, sequences: list[Sequence], records: list[TokenRecord]) -> None:
        finished = []
        for sequence, record in zip(sequences, records, strict=True):
            active = self._active[sequence]
            try:
                reason = self._extend(active, record)
            except Exception as error:  # noqa: BLE001  # as above
                self._fail(sequence, self._explain(sequence, error))
                continue
            if reason is not None:
                finished.append((active, reason))
        self._finish(finished)

    def _extend(self, active: _Active, record: TokenRecord) -> str | None:
        """Give a token to its caller; why the answer ends with it, if it does."""
        sequence, request = active.sequence, active.sequence.request
        if math.isnan(record.divergence):
            msg = "Expected finite logits, got nan or inf; load the model with dtype='float32', or lower strength."
            raise GenerationError(msg)
        if record.token_id in self._loaded.eos_token_ids:
            return "stop"
        sequence.records.append(record)
        self.meter.add("generated_tokens")
        active.generation.post(Chunk(active.detokenizer.push(record.token_id), record))
        if active.detokenizer.stopped:
            return "stop"
        longest = max(map(len, request.prompts)) + sequence.num_generated
        if sequence.num_generated >= request.sampling.max_tokens or longest >= self._scheduler.limits.max_positions:
            return "length"
        return None

    # -- endings ---------------------------------------------------------------------------------------------------

    def _finish(self, endings: Iterable[tuple[_Active, str]]) -> None:
        for active, reason in endings:
            sequence = active.sequence
            if sequence.rows and reason != "cancelled":
                self._remember_rows(sequence)
            active.generation.post(self._completion(active, reason))
            self.meter.add("finished", reason != "cancelled")
            self._forget(sequence)

    def _completion(self, active: _Active, reason: str) -> Completion:
        sequence, tail = active.sequence, active.detokenizer.flush()
        return Completion(
            tail=tail,
            finish_reason=reason,
            records=tuple(sequence.records),
            num_rows=sequence.num_rows,
            num_prompt_tokens=len(sequence.request.reference),
            num_computed_tokens=sequence.num_computed_tokens,
            num_cached_tokens=sequence.num_cached_tokens,
        )

    def _fail(self, sequence: Sequence, error: LaAgentsError) -> None:
        self.meter.add("failed")
        self._active[sequence].generation.post(error)
        self._forget(sequence)

    def _forget(self, sequence: Sequence) -> None:
        """Take a sequence out of everything and close the gap its rows leave."""
        self._active.pop(sequence, None)
        self._prefills = [p for p in self._prefills if p.sequence is not sequence]
        if sequence in self._running:
            self._running.remove(sequence)
            moved = self.runner.leave(sequence.rows)
            for other in self._running:
                other.rows = [moved.get(row, row) for row in other.rows]
        with self._lock:
            self._scheduler.remove(sequence)

    def _remember_rows(self, sequence: Sequence) -> None:
        """Keep prompt and answer for the conversation's next turn, as far as keys and values reach."""
        answer = tuple(record.token_id for record in sequence.records)
        rows = []
        for prompt, row in zip(sequence.request.prompts, sequence.rows, strict=True):
            tokens = (prompt + answer)[: self.runner.lengths[row]]
            if self._missing(sequence, tokens):
                rows.append((tokens, self.runner.read(row, len(tokens))))
        self._remember(sequence, rows)

    def _remember(
        self, sequence: Sequence, rows: Iterable[tuple[tuple[int, ...], list[tuple[Tensor, Tensor]]]]
    ) -> None:
        request = sequence.request
        for tokens, key_values in rows:
            self.prefix_cache.insert(tokens, key_values, salt=request.salt, num_public=request.num_public_tokens)

    def _missing(self, sequence: Sequence, tokens: tuple[int, ...]) -> bool:
        request = sequence.request
        return self.prefix_cache.missing(tokens, salt=request.salt, num_public=request.num_public_tokens)

    def _explain(self, sequence: Sequence, error: Exception) -> LaAgentsError:
        """The error for the caller, with the cause chained; what the prompt holds is not repeated."""
        if isinstance(error, LaAgentsError):
            return error
        size = f"{sequence.num_rows} rows of up to {max(map(len, sequence.request.prompts))} prompt tokens"
        explained: LaAgentsError
        if _out_of_memory(error):
            msg = f"Expected {size} to fit the memory of {self.runner.device}, and it ran out; shorten the prompt."
            explained = RequestTooLargeError(msg)
        else:
            msg = f"Expected the model to run on {size}, got {type(error).__name__}: {error}"
            explained = GenerationError(msg)
        explained.__cause__ = error
        return explained


def _out_of_memory(error: Exception) -> bool:
    # On a CPU torch raises a plain RuntimeError that only its text tells from others.
    return isinstance(error, (MemoryError, torch.OutOfMemoryError)) or "DefaultCPUAllocator" in str(error)
